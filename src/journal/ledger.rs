//! The ledger of rows: the values that transactions of this program were about to commit to
//! patients, studies, series and companions.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::HashMap;

use super::commits::commits_of;
use super::log::{Frame, HEAD, Kind, Log};
use super::places::{PLACES, Place, Places};
use super::row_frames::{RowFrameCache, row_hashes_at};
use super::topic::Topic;
use crate::dicom::Table;
use crate::index::ImageRow;
use crate::index::row_history::{RowHistory, RowVersion};

/// Finds the values of rows and the records of groups in the log.
#[derive(Default)]
pub struct Ledger {
    /// The entries up to the beginning of the run.
    places: Option<Places>,
    row_frames: RowFrameCache,
    /// The offsets of the values that this run has written, for the rows that the run has asked
    /// for.
    appended_rows: Mutex<HashMap<u64, Vec<Place>>>,
}

impl Ledger {
    /// Opens the table of places in a directory, if the table belongs to this log.
    pub fn open(directory: &Path, log: &Log) -> Self {
        let places = File::open(directory.join(PLACES)).ok().and_then(|file| Places::open(file, log.id));
        Ledger { places, ..Ledger::default() }
    }

    /// Adds the frames that were appended since the table was built.
    pub fn add_appended(&mut self, log: &Log, directory: &Path) -> io::Result<()> {
        if let Some(places) = Places::extended(self.places.as_ref(), log, directory)? {
            self.places = Some(places);
        }
        Ok(())
    }

    /// Returns the offsets of the blocks of records that belong to a group, by the hash of the
    /// group.
    pub fn blocks_of(&self, topic: u64) -> io::Result<Vec<u64>> {
        let places = self.places.as_ref().map_or(Ok(Vec::new()), |places| places.of_hash(topic))?;
        Ok(places.into_iter().map(|place| place.at).collect())
    }

    /// Returns the frames that the table does not cover: those that this run has appended.
    pub fn appended(&self, log: &Log) -> io::Result<Vec<Frame>> {
        log.frames(self.places.as_ref().map_or(HEAD, Places::covered))
    }

    /// Returns the values that transactions have written to rows of a table, by the keys of the
    /// rows. `None` for a row that this program has not inserted.
    pub fn histories(&self, log: &Log, table: Table, keys: &[&str]) -> io::Result<Vec<Option<Arc<RowHistory>>>> {
        let mut histories = Vec::with_capacity(keys.len());
        for key in keys {
            histories.push(self.history(log, table, key)?.map(Arc::new));
        }
        Ok(histories)
    }

    /// Loads the values that this run has written to rows, by table and key.
    pub fn learn_appended(&self, log: &Log, rows: &[(Table, &str)]) -> io::Result<()> {
        let rows = rows.iter().map(|(table, key)| Topic::Row(table.name()).hash(key)).collect();
        let places = self.find_appended(log, &rows)?;
        self.appended_rows.lock().unwrap_or_else(PoisonError::into_inner).extend(places);
        Ok(())
    }

    /// Returns where the log contains the values that this run has written to these rows, by the
    /// hashes of the rows.
    fn find_appended(&self, log: &Log, rows: &HashSet<u64>) -> io::Result<HashMap<u64, Vec<Place>>> {
        let mut places: HashMap<u64, Vec<Place>> = HashMap::default();
        for (frame, is_committed) in commits_of(log, &self.appended(log)?) {
            if frame.kind == Kind::Rows {
                for row in row_hashes_at(log, frame.at)?.into_iter().filter(|row| rows.contains(row)) {
                    places.entry(row).or_default().push(Place { at: frame.at, is_committed });
                }
            }
        }
        Ok(places)
    }

    fn places_of(&self, table: Table, key: &str) -> io::Result<Vec<Place>> {
        let hash = Topic::Row(table.name()).hash(key);
        let mut places = self.places.as_ref().map_or(Ok(Vec::new()), |places| places.of_hash(hash))?;
        let appended = self.appended_rows.lock().unwrap_or_else(PoisonError::into_inner);
        places.extend(appended.get(&hash).into_iter().flatten());
        Ok(places)
    }

    fn history(&self, log: &Log, table: Table, key: &str) -> io::Result<Option<RowHistory>> {
        let mut history = RowHistory::default();
        for Place { at, is_committed } in self.places_of(table, key)? {
            // The rows in a damaged frame count as rows of another program.
            let Ok(frame) = self.row_frames.frame(log, at) else { continue };
            for part in frame.tables.iter().filter(|part| part.table == table.name()) {
                for row in part.rows.get(key).into_iter().flatten() {
                    let (columns, values) = (part.columns.clone(), row.values.as_slice().into());
                    history.versions.push(RowVersion { is_inserted: row.is_inserted, is_committed, columns, values });
                }
            }
        }
        Ok(history.versions.iter().any(|version| version.is_inserted).then_some(history))
    }
}

/// Caches whether unfinished series and studies of images were inserted by this program. NULL in
/// derived columns is not enough to know this, because a PACS also leaves them NULL.
#[derive(Default)]
pub struct UnfinishedOwnRows {
    /// Keyed by the hash of table and key.
    known: HashMap<u64, bool>,
}

/// The maximum number of cached answers.
const KNOWN_ROWS: usize = 100_000;

impl UnfinishedOwnRows {
    /// Returns whether the series or the study of an image is unfinished and was inserted by this
    /// program.
    pub fn are_above(&mut self, ledger: &Ledger, log: &Log, image: &ImageRow) -> io::Result<bool> {
        Ok(image.is_series_unfinished && self.has(ledger, log, Table::Series, &image.series)?
            || image.is_study_unfinished && self.has(ledger, log, Table::Study, &image.study)?)
    }

    fn has(&mut self, ledger: &Ledger, log: &Log, table: Table, key: &str) -> io::Result<bool> {
        let hash = Topic::Row(table.name()).hash(key);
        if let Some(is_own) = self.known.get(&hash) {
            return Ok(*is_own);
        }
        if self.known.len() >= KNOWN_ROWS {
            self.known.clear();
        }
        let is_own = ledger.history(log, table, key)?.is_some();
        self.known.insert(hash, is_own);
        Ok(is_own)
    }
}
