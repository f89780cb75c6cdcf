//! Frames with rows of the ledger: the values of patients, studies, series and companions that a
//! transaction was about to commit.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::HashMap;

use super::log::{Frame, Kind, Log};
use super::record::{BLOCK_HEAD, decode, encode, put_block, take_block, take_length};
use super::topic::Topic;
use crate::index::row_history::{IntendedRow, IntendedRows};

/// The maximum number of decoded frames in the cache. Rows that are looked up together were mostly
/// written together.
const CACHED_FRAMES: usize = 64;

/// The size of the header in bytes: the number of the writer and the number of its attempt.
const HEAD: usize = 8;

/// The rows of one frame.
pub struct RowFrame {
    pub tables: Vec<FrameTable>,
}

pub struct FrameTable {
    pub table: String,
    pub columns: Arc<[String]>,
    pub rows: HashMap<String, Vec<IntendedRow>>,
}

/// A cache of decoded frames.
#[derive(Default)]
pub struct RowFrameCache(Mutex<HashMap<u64, Arc<RowFrame>>>);

impl RowFrameCache {
    /// Returns the rows of the frame at an offset of the log.
    pub fn frame(&self, log: &Log, at: u64) -> io::Result<Arc<RowFrame>> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = cache.get(&at) {
            return Ok(frame.clone());
        }
        let frame = Arc::new(RowFrame::of(rows_at(log, at)?));
        if cache.len() >= CACHED_FRAMES {
            cache.clear();
        }
        cache.insert(at, frame.clone());
        Ok(frame)
    }
}

/// Appends a frame with rows.
pub fn append_rows(log: &Log, writer: u32, attempt: u32, rows: &[IntendedRows]) {
    // A frame without rows is appended too, because the mark of a commit belongs to the last frame
    // of its writer.
    let mut payload = [writer, attempt].map(u32::to_le_bytes).concat();
    put_block(&encode(&rows), &mut payload);
    log.append(Kind::Rows, &payload);
}

/// Records that a transaction whose commit was in doubt has succeeded. `at` is the offset of its
/// batch, which is among `frames`.
pub fn append_rows_committed(log: &Log, frames: &[Frame], writer: u32, at: u64) {
    let is_of_writer = |frame: &Frame| log.read(frame.at, 4).is_ok_and(|number| number == writer.to_le_bytes());
    let before = frames.iter().rev().skip_while(|frame| frame.at >= at);
    let mut of_transaction = before.take_while(|frame| frame.kind != Kind::Begun).filter(|frame| is_of_writer(frame));
    let rows = of_transaction.find(|frame| matches!(frame.kind, Kind::Rows | Kind::Committed));
    if let Some(rows) = rows.filter(|frame| frame.kind == Kind::Rows) {
        log.append(Kind::RowsCommitted, &rows.at.to_le_bytes());
    }
}

/// Returns the rows of the frame whose payload is at an offset of the log.
fn rows_at(log: &Log, at: u64) -> io::Result<Vec<IntendedRows>> {
    let head = log.read(at, HEAD + 4)?;
    let length = take_length(&mut &head[HEAD..])?;
    let payload = log.read(at, length.saturating_add(HEAD + BLOCK_HEAD))?;
    rows_of(&payload)
}

/// Returns the hashes of the rows in the frame at an offset.
pub fn row_hashes_at(log: &Log, at: u64) -> io::Result<Vec<u64>> {
    let tables = rows_at(log, at)?;
    let hashes = |table: &IntendedRows| {
        let topic = Topic::Row(&table.table);
        table.rows.iter().map(|row| topic.hash(&row.key)).collect::<Vec<_>>()
    };
    Ok(tables.iter().flat_map(hashes).collect())
}

/// Decodes the rows of a frame from its payload.
fn rows_of(payload: &[u8]) -> io::Result<Vec<IntendedRows>> {
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
