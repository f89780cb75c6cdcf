//! A log in which most records were superseded is written anew with those that count.
//!
//! Files that are read again, as `--force` and refreshing do, and files that change leave their former records behind.

use std::io;
use std::path::Path;

use super::batch::{self, put_files};
use super::claim::sync_directory;
use super::log::{Frame, HEAD, Kind, Log};
use super::record::{Record, encode};
use super::run::Noted;
use super::states::{Fate, SIZE, State};
use super::{Begun, Journal, LOG, NEW_LOG, meaning};
use crate::sorted::{Cursor, Table};

/// A log with fewer superseded records is left alone, whatever their share.
const FEW: u64 = 256;

/// Files in a frame.
const PORTION: usize = 512;

impl Journal {
    /// Writes the log anew if more than half of it is of no use, and no run is to be continued.
    pub(super) fn compact(&mut self) -> io::Result<()> {
        let is_due = |table: &Table<SIZE>| table.note[Noted::Appended as usize] > 2 * table.count + FEW;
        if self.is_continued() || !self.states.as_ref().is_some_and(is_due) {
            return Ok(());
        }
        let path = self.directory.join(NEW_LOG);
        let _ = std::fs::remove_file(&path);
        let written = self.write_anew(&path);
        let Ok(new) = written.and_then(|new| std::fs::rename(&path, self.directory.join(LOG)).map(|()| new)) else {
            // Without room for another log the old one does as well.
            let _ = std::fs::remove_file(&path);
            return Ok(());
        };
        sync_directory(&self.directory)?;
        self.log = new;
        self.left_open.clear();
        (self.states, self.distrusted, self.frames) = (None, 0, self.log.frames(HEAD)?);
        self.add_to_states()?;
        self.append_begun(self.begun.clone());
        Ok(())
    }

    fn write_anew(&self, path: &Path) -> io::Result<Log> {
        let Some(table) = &self.states else { return Err(io::ErrorKind::NotFound.into()) };
        let new = Log::open(path, meaning())?;
        new.append(Kind::Begun, &encode(&Begun { settings: self.walk_settings, ..Begun::default() }));
        let (mut states, mut records, mut cursor) = (Vec::new(), Vec::<Vec<u8>>::new(), Cursor::default());
        let flush = |states: &mut Vec<State>, records: &mut Vec<Vec<u8>>| {
            if !states.is_empty() {
                let mut payload = Vec::new();
                put_files(std::mem::take(states), &std::mem::take(records), &mut payload);
                new.append(Kind::Kept, &payload);
            }
        };
        for frame in self.log.frames(HEAD)? {
            for (state, record) in self.files(&frame).unwrap_or_default() {
                let known = table.find(&state.key, &mut cursor)?.map(|known| State::decode(&known));
                if known.is_some_and(|known| (known.at, known.member) == (state.at, state.member)) {
                    let fate =
                        if state.at < self.distrusted || self.is_left_open(&state) { Fate::NoRow } else { state.fate };
                    states.push(State { fate, ..state });
                    records.push(record.encode());
                }
                if states.len() == PORTION {
                    flush(&mut states, &mut records);
                }
            }
        }
        flush(&mut states, &mut records);
        new.append(Kind::Closed, &[]);
        new.sync();
        match new.failure() {
            Some(error) => Err(error),
            None => Ok(new),
        }
    }

    fn files(&self, frame: &Frame) -> io::Result<Vec<(State, Record)>> {
        if !frame.kind.has_files() {
            return Ok(Vec::new());
        }
        let states: Vec<State> = batch::states(&self.log, frame)?;
        let mut files = Vec::with_capacity(states.len());
        for states in states.chunk_by(|a, b| a.at == b.at) {
            let records = batch::block(&self.log, states[0].at)?;
            files.extend(states.iter().copied().zip(records));
        }
        Ok(files)
    }
}
