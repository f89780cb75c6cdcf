//! The ledger of rows in the log: the values of patients, studies, series and companions that transactions were about to
//! commit, and where the log has those of a row.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::HashMap;

use super::Journal;
use super::log::{Frame, Kind};
use super::places::{Place, Topic};
use super::record::{BLOCK_HEAD, decode, encode, put_block, take_block, take_length};
use crate::dicom::Table;
use crate::index::row_history::{IntendedRow, IntendedRows, RowHistory, RowVersion};
use crate::index::{Failure, ImageRow};

/// The maximum number of frames that are kept decoded. Rows that are looked up together were mostly written together.
const CACHED_FRAMES: usize = 64;

/// The number of the writer and that of its attempt.
const HEAD: usize = 8;

/// The rows of one frame.
pub struct RowFrame {
    tables: Vec<FrameTable>,
}

struct FrameTable {
    table: String,
    columns: Arc<[String]>,
    rows: HashMap<String, Vec<IntendedRow>>,
}

#[derive(Default)]
pub struct RowFrameCache(Mutex<HashMap<u64, Arc<RowFrame>>>);

impl Journal {
    /// Appends a frame with rows.
    pub(super) fn append_rows(&self, writer: u32, attempt: u32, rows: &[IntendedRows]) {
        // Also without rows: the mark of a commit belongs to the last frame of its writer.
        let mut payload = [writer, attempt].map(u32::to_le_bytes).concat();
        put_block(&encode(&rows), &mut payload);
        self.log.append(Kind::Rows, &payload);
    }

    /// Records that a transaction whose commit was in doubt has succeeded. `at` is the place of its batch.
    pub(super) fn append_rows_committed(&self, writer: u32, at: u64) {
        let is_of_writer =
            |frame: &Frame| self.log.read(frame.at, 4).is_ok_and(|number| number == writer.to_le_bytes());
        let before = self.frames.iter().rev().skip_while(|frame| frame.at >= at);
        let mut of_transaction =
            before.take_while(|frame| frame.kind != Kind::Begun).filter(|frame| is_of_writer(frame));
        let rows = of_transaction.find(|frame| matches!(frame.kind, Kind::Rows | Kind::Committed));
        if let Some(rows) = rows.filter(|frame| frame.kind == Kind::Rows) {
            self.log.append(Kind::RowsCommitted, &rows.at.to_le_bytes());
        }
    }

    pub(super) fn histories_of(&self, table: Table, keys: &[&str]) -> io::Result<Vec<Option<Arc<RowHistory>>>> {
        let mut histories = Vec::with_capacity(keys.len());
        for key in keys {
            histories.push(self.history(table, key)?.map(Arc::new));
        }
        Ok(histories)
    }

    /// Lets the ledger know what this run has written to rows, by table and key.
    pub(super) fn learn_appended_rows(&self, rows: &[(Table, &str)]) -> io::Result<()> {
        let rows = rows.iter().map(|(table, key)| Topic::Row(table.name()).hash(key)).collect();
        let places = self.find_appended_rows(&rows)?;
        self.appended_rows.lock().unwrap_or_else(PoisonError::into_inner).extend(places);
        Ok(())
    }

    fn places_of(&self, table: Table, key: &str) -> io::Result<Vec<Place>> {
        let hash = Topic::Row(table.name()).hash(key);
        let mut places = self.places.as_ref().map_or(Ok(Vec::new()), |places| places.of_hash(hash))?;
        let appended = self.appended_rows.lock().unwrap_or_else(PoisonError::into_inner);
        places.extend(appended.get(&hash).into_iter().flatten());
        Ok(places)
    }

    fn history(&self, table: Table, key: &str) -> io::Result<Option<RowHistory>> {
        let mut history = RowHistory::default();
        for Place { at, is_committed } in self.places_of(table, key)? {
            // A frame that is damaged is of rows that count as foreign.
            let Ok(frame) = self.row_frame(at) else { continue };
            for part in frame.tables.iter().filter(|part| part.table == table.name()) {
                for row in part.rows.get(key).into_iter().flatten() {
                    let (columns, values) = (part.columns.clone(), row.values.as_slice().into());
                    history.versions.push(RowVersion { is_inserted: row.is_inserted, is_committed, columns, values });
                }
            }
        }
        Ok(history.versions.iter().any(|version| version.is_inserted).then_some(history))
    }

    fn row_frame(&self, at: u64) -> io::Result<Arc<RowFrame>> {
        let mut cache = self.row_frames.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = cache.get(&at) {
            return Ok(frame.clone());
        }
        let frame = Arc::new(RowFrame::of(self.rows_at(at)?));
        if cache.len() >= CACHED_FRAMES {
            cache.clear();
        }
        cache.insert(at, frame.clone());
        Ok(frame)
    }

    /// The rows of the frame whose payload is at a place of the log.
    pub(super) fn rows_at(&self, at: u64) -> io::Result<Vec<IntendedRows>> {
        let head = self.log.read(at, HEAD + 4)?;
        let length = take_length(&mut &head[HEAD..])?;
        let payload = self.log.read(at, length.saturating_add(HEAD + BLOCK_HEAD))?;
        rows_of(&payload)
    }
}

/// Whether unfinished rows above images are rows of this program, as far as the ledger was asked. A PACS, too, leaves derived
/// columns NULL.
#[derive(Default)]
pub struct UnfinishedOwnRows {
    /// By the hash of table and key.
    known: HashMap<u64, bool>,
}

/// The maximum number of answers that are kept.
const KNOWN_ROWS: usize = 100_000;

impl UnfinishedOwnRows {
    /// Whether this program has inserted the series or the study of an image, and the row is unfinished.
    pub fn are_above(&mut self, journal: &Journal, image: &ImageRow) -> io::Result<bool> {
        Ok(image.is_series_unfinished && self.has(journal, Table::Series, &image.series)?
            || image.is_study_unfinished && self.has(journal, Table::Study, &image.study)?)
    }

    fn has(&mut self, journal: &Journal, table: Table, key: &str) -> io::Result<bool> {
        let hash = Topic::Row(table.name()).hash(key);
        if let Some(is_own) = self.known.get(&hash) {
            return Ok(*is_own);
        }
        if self.known.len() >= KNOWN_ROWS {
            self.known.clear();
        }
        let is_own = journal.history(table, key)?.is_some();
        self.known.insert(hash, is_own);
        Ok(is_own)
    }
}

/// The rows of a frame, by its payload.
pub fn rows_of(payload: &[u8]) -> io::Result<Vec<IntendedRows>> {
    let mut rest = payload.get(HEAD..).unwrap_or_default();
    decode(&take_block(&mut rest)?)
}

impl RowFrame {
    fn of(rows: Vec<IntendedRows>) -> Self {
        let table = |IntendedRows { table, columns, rows }: IntendedRows| {
            let mut by_key = HashMap::default();
            for row in rows {
                by_key.entry(row.key.clone()).or_insert_with(Vec::new).push(row);
            }
            FrameTable { table, columns: columns.into(), rows: by_key }
        };
        RowFrame { tables: rows.into_iter().map(table).collect() }
    }
}

/// An error of the ledger, for the index: without the ledger nothing is known of whose a row is.
pub fn unreadable(journal: &Journal, error: &io::Error) -> Failure {
    Failure::Lost(format!("the ledger of rows in {} cannot be read: {error}", journal.directory.display()))
}
