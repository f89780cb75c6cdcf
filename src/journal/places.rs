//! A sorted index of the log: the rows of the ledger by their keys, and the records of files by
//! patient, study and series. A run builds it from the log when the run begins.

use std::fs::File;
use std::io;
use std::path::Path;

use super::claim::sync_directory;
use super::commits::commits_of;
use super::log::{HEAD, Kind, Log};
use super::{frames, row_frames};
use crate::sorted::{Cursor, Note, Sorter, Table};

pub const PLACES: &str = "places";

/// The hash and the offset, 8 bytes each.
const SIZE: usize = 16;

/// The bit of an offset that marks a committed transaction. No log is 2^63 bytes long.
const COMMITTED: u64 = 1 << 63;

/// An offset in the log, and whether its transaction was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub at: u64,
    pub is_committed: bool,
}

pub struct Places(Table<SIZE>);

/// Positions in the metadata of the table.
const LOG: usize = 0;
const COVERED: usize = 1;

impl Places {
    pub fn open(file: File, log: u64) -> Option<Self> {
        Table::open(file).ok().filter(|table| table.note[LOG] == log).map(Places)
    }

    /// Returns the offset up to which the table covers the log.
    pub fn covered(&self) -> u64 {
        self.0.note[COVERED]
    }

    /// Returns the entries for the hash of a key, in the order of the log.
    pub fn of_hash(&self, hash: u64) -> io::Result<Vec<Place>> {
        let mut places = Vec::new();
        self.0.scan(&hash.to_be_bytes(), &mut Cursor::default(), |record| {
            let place = u64::from_be_bytes(record[8..].try_into().unwrap_or_default());
            places.push(Place { at: place & !COMMITTED, is_committed: place & COMMITTED != 0 });
        })?;
        // A commit that was in doubt at first is recorded later, so an offset can occur twice.
        places.sort_by_key(|place| (place.at, !place.is_committed));
        places.dedup_by_key(|place| place.at);
        Ok(places)
    }

    /// Adds the frames that were appended since the table was built. Returns the new table, or
    /// `None` if no frames were appended.
    pub fn extended(former: Option<&Places>, log: &Log, directory: &Path) -> io::Result<Option<Self>> {
        let covered = former.map_or(HEAD, Places::covered);
        if covered >= log.end() {
            return Ok(None);
        }
        let mut sorter = Sorter::new(directory);
        let frames = log.frames(covered)?;
        for (frame, is_committed) in commits_of(log, &frames) {
            let mark = if is_committed { COMMITTED } else { 0 };
            match frame.kind {
                Kind::Rows => push_rows(log, frame.at, mark, &mut sorter)?,
                Kind::RowsCommitted => {
                    let place = log.payload(&frame).ok().and_then(|place| place.try_into().ok());
                    let place = place.map(u64::from_le_bytes);
                    place.map_or(Ok(()), |at| push_rows(log, at, COMMITTED, &mut sorter))?;
                }
                Kind::Groups => {
                    for (hash, at) in frames::groups(log, &frame).unwrap_or_default() {
                        sorter.push(record(hash, at))?;
                    }
                }
                _ => {}
            }
        }
        let mut note = Note::default();
        (note[LOG], note[COVERED]) = (log.id, log.end());
        let new = tempfile::Builder::new().prefix(PLACES).tempfile_in(directory)?;
        let former = former.map(|places| std::slice::from_ref(&places.0)).unwrap_or_default();
        let table = sorter.finish(former, SIZE, note, new.reopen()?)?;
        new.as_file().sync_data()?;
        new.persist(directory.join(PLACES)).map_err(|error| error.error)?;
        sync_directory(directory)?;
        Ok(Some(Places(table)))
    }
}

fn record(hash: u64, place: u64) -> [u8; SIZE] {
    let mut record = [0; SIZE];
    record[..8].copy_from_slice(&hash.to_be_bytes());
    record[8..].copy_from_slice(&place.to_be_bytes());
    record
}

/// Adds the rows of the frame at an offset. The rows in a damaged frame count as rows of another
/// program.
fn push_rows(log: &Log, at: u64, mark: u64, sorter: &mut Sorter<SIZE>) -> io::Result<()> {
    row_frames::row_hashes_at(log, at)
        .unwrap_or_default()
        .into_iter()
        .try_for_each(|row| sorter.push(record(row, at | mark)))
}
