//! Where the log has what belongs together: the rows of the ledger by their keys, and the records of files by patient,
//! study and series. A sorted table that is built from the log when a run begins.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::batch;
use super::claim::sync_directory;
use super::log::{Frame, HEAD, Kind};
use super::record::Record;
use super::{Cursors, Journal};
use crate::dicom::Level;
use crate::index::row_history::IntendedRows;
use crate::sorted::{Cursor, Note, Sorter, Table};

pub const PLACES: &str = "places";

/// A hash of eight bytes, and a place of eight.
const SIZE: usize = 16;

/// The bit of a place that says that the transaction was committed. No log is 2^63 bytes long.
const COMMITTED: u64 = 1 << 63;

/// The subject of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'t> {
    /// A row of the ledger, by its key in a table.
    Row(&'t str),
    /// Blocks of records of a patient, by the identity of the ID.
    Patient,
    /// By the UID.
    Study,
    /// By the UID.
    Series,
}

impl Topic<'_> {
    /// The records of files that belong to a row of a level.
    pub fn of_level(level: Level) -> Self {
        match level {
            Level::Patient => Topic::Patient,
            Level::Study => Topic::Study,
            Level::Series | Level::Instance => Topic::Series,
        }
    }

    pub fn hash(self, key: &str) -> u64 {
        let seed = match self {
            Topic::Row(table) => 16 + xxh3_64_with_seed(table.as_bytes(), 0) / 2,
            Topic::Patient => 1,
            Topic::Study => 2,
            Topic::Series => 3,
        };
        xxh3_64_with_seed(key.as_bytes(), seed)
    }
}

/// A place in the log, and whether its transaction was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub at: u64,
    pub is_committed: bool,
}

pub struct Places(Table<SIZE>);

/// The notes of the table, by their position.
const LOG: usize = 0;
const COVERED: usize = 1;

impl Places {
    pub fn open(file: File, log: u64) -> Option<Self> {
        Table::open(file).ok().filter(|table| table.note[LOG] == log).map(Places)
    }

    /// The place of the log up to which the table covers it.
    pub fn covered(&self) -> u64 {
        self.0.note[COVERED]
    }

    /// The places of the hash of a key, in the order of the log.
    pub fn of_hash(&self, hash: u64) -> io::Result<Vec<Place>> {
        let mut places = Vec::new();
        self.0.scan(&hash.to_be_bytes(), &mut Cursor::default(), |record| {
            let place = u64::from_be_bytes(record[8..].try_into().unwrap_or_default());
            places.push(Place { at: place & !COMMITTED, is_committed: place & COMMITTED != 0 });
        })?;
        // A commit that was in doubt first is recorded later.
        places.sort_by_key(|place| (place.at, !place.is_committed));
        places.dedup_by_key(|place| place.at);
        Ok(places)
    }
}

fn record(hash: u64, place: u64) -> [u8; SIZE] {
    let mut record = [0; SIZE];
    record[..8].copy_from_slice(&hash.to_be_bytes());
    record[8..].copy_from_slice(&place.to_be_bytes());
    record
}

impl Journal {
    /// The places of the blocks of records that belong to a group.
    pub fn blocks_of(&self, topic: u64) -> io::Result<Vec<u64>> {
        let places = self.places.as_ref().map_or(Ok(Vec::new()), |places| places.of_hash(topic))?;
        Ok(places.into_iter().map(|place| place.at).collect())
    }

    /// The records of a block that are the last ones of their files, and whether an earlier run inserted the row of the
    /// instance for the file. A block that is damaged has none: its files are read again.
    pub fn current_records(&self, block: u64) -> Vec<(Record, bool)> {
        let mut cursors = Cursors::default();
        let records = batch::block(&self.log, block).unwrap_or_default();
        let current = records.into_iter().enumerate().filter_map(|(member, record)| {
            let state = self.state(record.path.as_ref(), &mut cursors)?;
            let is_last = (state.at, usize::from(state.member)) == (block, member);
            let is_current = is_last && record.instance().is_some() && !self.is_written_again(&record.path);
            is_current.then_some((record, state.has_own_row()))
        });
        current.collect()
    }

    /// Adds the frames that were appended since the table was built.
    pub(super) fn add_to_places(&mut self) -> io::Result<()> {
        let covered = self.places.as_ref().map_or(HEAD, Places::covered);
        if covered >= self.log.end() {
            return Ok(());
        }
        let mut sorter = Sorter::new(&self.directory);
        let frames = self.log.frames(covered)?;
        for (frame, is_committed) in self.commits_of(&frames) {
            let mark = if is_committed { COMMITTED } else { 0 };
            match frame.kind {
                Kind::Rows => self.push_rows(frame.at, mark, &mut sorter)?,
                Kind::RowsCommitted => {
                    let place = self.log.payload(&frame).ok().and_then(|place| place.try_into().ok());
                    let place = place.map(u64::from_le_bytes);
                    place.map_or(Ok(()), |at| self.push_rows(at, COMMITTED, &mut sorter))?;
                }
                Kind::Groups => {
                    for (hash, at) in batch::groups(&self.log, &frame).unwrap_or_default() {
                        sorter.push(record(hash, at))?;
                    }
                }
                _ => {}
            }
        }
        let mut note = Note::default();
        (note[LOG], note[COVERED]) = (self.log.id, self.log.end());
        let new = tempfile::Builder::new().prefix(PLACES).tempfile_in(&self.directory)?;
        let former = self.places.as_ref().map(|places| std::slice::from_ref(&places.0)).unwrap_or_default();
        let table = sorter.finish(former, SIZE, note, new.reopen()?)?;
        new.as_file().sync_data()?;
        new.persist(self.directory.join(PLACES)).map_err(|error| error.error)?;
        sync_directory(&self.directory)?;
        self.places = Some(Places(table));
        Ok(())
    }

    /// Adds the rows of the frame at a place. A frame that is damaged is of rows that count as foreign.
    fn push_rows(&self, at: u64, mark: u64, sorter: &mut Sorter<SIZE>) -> io::Result<()> {
        self.row_hashes_at(at).unwrap_or_default().into_iter().try_for_each(|row| sorter.push(record(row, at | mark)))
    }

    /// The hashes of the rows in the frame at a place.
    pub(super) fn row_hashes_at(&self, at: u64) -> io::Result<Vec<u64>> {
        let tables = self.rows_at(at)?;
        let hashes = |table: &IntendedRows| {
            let topic = Topic::Row(&table.table);
            table.rows.iter().map(|row| topic.hash(&row.key)).collect::<Vec<_>>()
        };
        Ok(tables.iter().flat_map(hashes).collect())
    }

    /// Frames of rows and groups, and whether their transaction was committed.
    pub(super) fn commits_of(&self, frames: &[Frame]) -> Vec<(Frame, bool)> {
        let mut all: Vec<(Frame, bool)> = Vec::new();
        // The frames of the open transaction of each writer, each with the number of the attempt.
        let mut pending: HashMap<Vec<u8>, Vec<(usize, u32)>> = HashMap::new();
        for frame in frames {
            match (frame.kind, self.log.read(frame.at, 4)) {
                (Kind::Rows, Ok(writer)) => {
                    let attempt = self.log.read(frame.at + 4, 4).ok().and_then(|number| number.try_into().ok());
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
                    let place = self.log.payload(frame).ok().and_then(|place| place.try_into().ok());
                    let place = place.map(u64::from_le_bytes);
                    all.iter_mut().filter(|(rows, _)| Some(rows.at) == place).for_each(|(_, done)| *done = true);
                    all.push((*frame, true));
                }
                (Kind::Groups, _) => all.push((*frame, true)),
                // Numbers of writers begin anew.
                (Kind::Begun | Kind::Closed | Kind::Distrusted, _) => pending.clear(),
                _ => {}
            }
        }
        all
    }
}
