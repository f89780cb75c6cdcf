//! Finds out which transactions in a log were committed.

use std::collections::HashMap;

use super::log::{Frame, Kind, Log};

/// Returns the frames of rows and groups, and whether their transaction was committed.
pub fn commits_of(log: &Log, frames: &[Frame]) -> Vec<(Frame, bool)> {
    let mut all: Vec<(Frame, bool)> = Vec::new();
    // The frames of the open transaction of each writer, each with the number of the attempt.
    let mut pending: HashMap<Vec<u8>, Vec<(usize, u32)>> = HashMap::new();
    for frame in frames {
        match (frame.kind, log.read(frame.at, 4)) {
            (Kind::Rows, Ok(writer)) => {
                let attempt = log.read(frame.at + 4, 4).ok().and_then(|number| number.try_into().ok());
                let attempt = attempt.map_or(0, u32::from_le_bytes);
                pending.entry(writer).or_default().push((all.len(), attempt));
                all.push((*frame, false));
            }
            (Kind::Committed, Ok(writer)) => {
                // Attempts that failed precede the one that was committed.
                let tried = pending.remove(&writer).unwrap_or_default();
                let last = tried.last().map(|(_, attempt)| *attempt);
                let of_last = tried.iter().rev().take_while(|(_, attempt)| Some(*attempt) == last);
                of_last.for_each(|(n, _)| all[*n].1 = true);
            }
            (Kind::RowsCommitted, _) => {
                let place = log.payload(frame).ok().and_then(|place| place.try_into().ok());
                let place = place.map(u64::from_le_bytes);
                all.iter_mut().filter(|(rows, _)| Some(rows.at) == place).for_each(|(_, done)| *done = true);
                all.push((*frame, true));
            }
            (Kind::Groups, _) => all.push((*frame, true)),
            // Each run numbers its writers from the start.
            (Kind::Begun | Kind::Closed | Kind::Distrusted, _) => pending.clear(),
            _ => {}
        }
    }
    all
}
