//! Rewrites a log in which most records are superseded, with the current records only.
//!
//! Files that change, and files that are read again because of `--force` or a refresh, leave their
//! former records behind.

use std::io;
use std::path::Path;

use super::claim::sync_directory;
use super::commits::commits_of;
use super::ledger::Ledger;
use super::log::{Frame, HEAD, Kind, Log};
use super::record::{PER_BLOCK, Record, encode};
use super::states::{Fate, Noted, SIZE, State};
use super::{Begun, Journal, LOG, NEW_LOG, frames};
use crate::sorted::{Cursor, Note, Sorter, Table};

/// The number of superseded records up to which a log is not rewritten, whatever their share.
const FEW: u64 = 256;

/// The number of files in a frame.
const PORTION: usize = 512;

/// Rewrites the log if more than half of its records are superseded and this run does not resume
/// another.
pub(super) fn compact(journal: &mut Journal) -> io::Result<()> {
    let is_due = |table: &Table<SIZE>| table.note[Noted::Appended as usize] > 2 * table.count + FEW;
    if journal.is_continued() || !journal.states.as_ref().is_some_and(is_due) {
        return Ok(());
    }
    let path = journal.directory.join(NEW_LOG);
    let _ = std::fs::remove_file(&path);
    let written = write_anew(journal, &path);
    let Ok(new) = written.and_then(|new| std::fs::rename(&path, journal.directory.join(LOG)).map(|()| new)) else {
        // If the disk has no room for another log, the run continues with the old one.
        let _ = std::fs::remove_file(&path);
        return Ok(());
    };
    sync_directory(&journal.directory)?;
    journal.log = new;
    journal.left_open.clear();
    (journal.states, journal.distrusted, journal.frames) = (None, 0, journal.log.frames(HEAD)?);
    journal.ledger = Ledger::default();
    journal.add_to_states()?;
    journal.ledger.add_appended(&journal.log, &journal.directory)?;
    journal.append_begun(journal.begun.clone());
    Ok(())
}

fn write_anew(journal: &Journal, path: &Path) -> io::Result<Log> {
    let mut new = Log::open(path)?;
    new.begin_form()?;
    new.append(Kind::Begun, &encode(&Begun { settings: journal.walk_settings, ..Begun::default() }));
    let frames = journal.log.frames(HEAD)?;
    copy_rows(journal, &frames, &new)?;
    copy_files(journal, &frames, &new, |state, _| {
        let is_decided = state.at >= journal.distrusted && !journal.is_left_open(&state);
        // A merge would take the record for one that was read with the present settings.
        if journal.is_of_shard && !is_decided {
            return None;
        }
        Some(State { fate: if is_decided { state.fate } else { Fate::NoRow }, ..state })
    })?;
    new.append(Kind::Closed, &[]);
    new.sync();
    match new.failure() {
        Some(error) => Err(error),
        None => Ok(new),
    }
}

/// Copies the last record of each file to another log, together with the groups that the records
/// belong to. `state` returns the state of a file in that log, or `None` to leave the file out.
fn copy_files(
    journal: &Journal,
    frames: &[Frame],
    to: &Log,
    state: impl Fn(State, &Record) -> Option<State>,
) -> io::Result<()> {
    let Some(table) = &journal.states else { return Ok(()) };
    let topics = topics_by_block(journal, frames)?;
    let (mut cursor, mut topic_cursor) = (Cursor::default(), Cursor::default());
    let (mut states, mut records) = (Vec::new(), Vec::<Vec<u8>>::new());
    // The blocks that the records of the next frame were read from.
    let mut from = Vec::new();
    let mut flush = |states: &mut Vec<State>, records: &mut Vec<Vec<u8>>, from: &mut Vec<u64>| {
        if states.is_empty() {
            return Ok(());
        }
        let mut payload = Vec::new();
        let blocks = frames::put_files(std::mem::take(states), &std::mem::take(records), &mut payload);
        let at = to.append(Kind::Kept, &payload);
        let mut groups = Vec::new();
        for (n, former) in from.drain(..).enumerate() {
            topics.scan(&former.to_be_bytes(), &mut topic_cursor, |pair| {
                let topic = u64::from_be_bytes(pair[8..].try_into().unwrap_or_default());
                groups.push((topic, at + blocks[n / PER_BLOCK]));
            })?;
        }
        groups.sort_unstable();
        groups.dedup();
        to.append(Kind::Groups, &frames::group_bytes(&groups));
        io::Result::Ok(())
    };
    for frame in frames {
        for (known, record) in files(journal, frame).unwrap_or_default() {
            let last = table.find(&known.key, &mut cursor)?.map(|last| State::decode(&last));
            let is_last = last.is_some_and(|last| (last.at, last.member) == (known.at, known.member));
            if let Some(new) = is_last.then(|| state(known, &record)).flatten() {
                from.push(known.at);
                states.push(State { file: record.state, ..new });
                records.push(record.encode());
            }
            if states.len() == PORTION {
                flush(&mut states, &mut records, &mut from)?;
            }
        }
    }
    flush(&mut states, &mut records, &mut from)
}

/// Returns the hashes of the groups that each block belongs to, by the offset of the block.
fn topics_by_block(journal: &Journal, frames: &[Frame]) -> io::Result<Table<16>> {
    let mut sorter = Sorter::new(&journal.directory);
    for frame in frames.iter().filter(|frame| frame.kind == Kind::Groups) {
        for (topic, block) in frames::groups(&journal.log, frame).unwrap_or_default() {
            let mut pair = [0; 16];
            pair[..8].copy_from_slice(&block.to_be_bytes());
            pair[8..].copy_from_slice(&topic.to_be_bytes());
            sorter.push(pair)?;
        }
    }
    sorter.finish(&[], 16, Note::default(), tempfile::tempfile_in(&journal.directory)?)
}

/// Copies the ledger of rows. Each frame becomes the transaction of a separate writer.
fn copy_rows(journal: &Journal, frames: &[Frame], new: &Log) -> io::Result<()> {
    let rows = commits_of(&journal.log, frames).into_iter().filter(|(frame, _)| frame.kind == Kind::Rows);
    for (writer, (frame, is_committed)) in rows.enumerate() {
        // The rows in a damaged frame count as rows of another program.
        let Ok(mut payload) = journal.log.payload(&frame) else { continue };
        let writer = (writer as u32).to_le_bytes();
        payload[..4].copy_from_slice(&writer);
        new.append(Kind::Rows, &payload);
        if is_committed {
            new.append(Kind::Committed, &writer);
        }
    }
    Ok(())
}

fn files(journal: &Journal, frame: &Frame) -> io::Result<Vec<(State, Record)>> {
    if !frame.kind.has_files() {
        return Ok(Vec::new());
    }
    let states: Vec<State> = frames::states(&journal.log, frame)?;
    let mut files = Vec::with_capacity(states.len());
    for states in states.chunk_by(|a, b| a.at == b.at) {
        let records = frames::block(&journal.log, states[0].at)?;
        files.extend(states.iter().copied().zip(records));
    }
    Ok(files)
}
