//! Batches in the log: the records of their files, and what the transaction was to do. [`Journal`] is what a writer
//! tells of them.

use std::io::{self, ErrorKind};

use serde::{Deserialize, Serialize};

use super::Journal;
use super::log::{Frame, Kind, Log};
use super::record::{PER_BLOCK, Reading, Record, decode, encode, inflate, put_block, records, take_block, take_length};
use super::states::{self, Fate, State};
use crate::dicom::Level;
use crate::index::Entry;
use crate::index::batch::{Attempt, Outcome};
use crate::index::recorder::Recorder;

/// A batch as it was written.
pub struct Batch {
    pub writer: u32,
    pub records: Vec<Record>,
    pub attempt: Attempt,
    rows: Vec<u64>,
}

/// Behind the records of a batch.
#[derive(Serialize, Deserialize)]
struct Done<A> {
    attempt: A,
    /// Of each file the hash of the row of its instance.
    rows: Vec<u64>,
}

impl Recorder for Journal {
    fn intends(&self, writer: u32, entries: &[Entry], attempt: &Attempt) {
        let records: Vec<&[u8]> = entries.iter().map(|entry| entry.record.as_slice()).collect();
        let rows = entries.iter().zip(attempt.row_paths(entries));
        let rows = rows.map(|(entry, path)| states::row(entry.key(Level::Instance), path)).collect();
        self.append_batch(writer, &records, &Done { attempt, rows });
    }

    fn is_committed(&self, writer: u32) {
        self.log.append(Kind::Committed, &writer.to_le_bytes());
    }
}

impl Journal {
    /// Of a batch that nobody knew to be committed these files are.
    pub fn is_done(&self, batch: &Batch, kept: &[usize], attempt: &Attempt) {
        let records: Vec<Vec<u8>> = kept.iter().map(|n| encode(&batch.records[*n])).collect();
        let rows = kept.iter().map(|n| batch.rows[*n]).collect();
        self.append_batch(batch.writer, &records, &Done { attempt, rows });
        self.is_committed(batch.writer);
    }

    fn append_batch(&self, writer: u32, records: &[impl AsRef<[u8]>], done: &Done<&Attempt>) {
        let mut payload = Vec::with_capacity(64 * 1024);
        payload.extend(writer.to_le_bytes());
        put_records(records, &mut payload);
        put_block(&encode(done), &mut payload);
        self.log.append(Kind::Batch, &payload);
    }
}

fn put_records(records: &[impl AsRef<[u8]>], payload: &mut Vec<u8>) {
    payload.extend((records.len().div_ceil(PER_BLOCK) as u32).to_le_bytes());
    for part in records.chunks(PER_BLOCK) {
        let block: Vec<u8> = part.iter().flat_map(|record| record.as_ref()).copied().collect();
        put_block(&block, payload);
    }
}

/// A frame of files without an entry.
pub fn noted(records: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::new();
    put_records(records, &mut payload);
    payload
}

impl Batch {
    pub fn decode(payload: &[u8]) -> io::Result<Self> {
        let mut rest = payload;
        let writer = take_length(&mut rest)? as u32;
        let all = take_records(&mut rest)?;
        let Done { attempt, rows } = decode::<Done<Attempt>>(&take_block(&mut rest)?)?;
        if attempt.outcomes.len() != all.len() || rows.len() != all.len() {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(Batch { writer, records: all, attempt, rows })
    }
}

/// The records in a frame of files without an entry.
pub fn noted_records(mut payload: &[u8]) -> io::Result<Vec<Record>> {
    take_records(&mut payload)
}

fn take_records(from: &mut &[u8]) -> io::Result<Vec<Record>> {
    let mut all = Vec::new();
    for _ in 0..take_length(from)? {
        all.extend(records(&take_block(from)?)?);
    }
    Ok(all)
}

/// The records of the block at a place of the log.
pub fn block(log: &Log, at: u64) -> io::Result<Vec<Record>> {
    let length = log.read(at, 4)?;
    let length = take_length(&mut length.as_slice())?;
    records(&inflate(&log.read(at + 4, length)?)?)
}

/// The states of the files in a frame.
pub fn states(log: &Log, frame: &Frame) -> io::Result<Vec<State>> {
    let payload = log.payload(frame)?;
    let mut rest = payload.as_slice();
    if frame.kind == Kind::Batch {
        take_length(&mut rest)?;
    }
    let mut all = Vec::new();
    for _ in 0..take_length(&mut rest)? {
        let at = frame.at + (payload.len() - rest.len()) as u64;
        let records = records(&take_block(&mut rest)?)?;
        let state = |(member, record): (usize, &Record)| State {
            key: states::key(record.path.as_ref()),
            at,
            member: member as u16,
            fate: Fate::NoRow,
            file: record.state,
            row: 0,
        };
        all.extend(records.iter().enumerate().map(state));
    }
    if frame.kind == Kind::Batch {
        let Done { attempt, rows } = decode::<Done<Attempt>>(&take_block(&mut rest)?)?;
        for ((state, outcome), row) in all.iter_mut().zip(&attempt.outcomes).zip(rows) {
            (state.fate, state.row) = (fate(outcome), row);
        }
    }
    Ok(all)
}

fn fate(outcome: &Outcome) -> Fate {
    match outcome {
        Outcome::Inserted => Fate::Inserted,
        Outcome::Updated { .. } => Fate::Updated,
        Outcome::Unchanged => Fate::Unchanged,
        Outcome::Duplicate { .. } => Fate::Duplicate,
        Outcome::Refused(_) => Fate::NoRow,
    }
}

impl Record {
    /// The instance, if the file holds one.
    pub fn into_instance(self) -> Option<crate::dicom::Instance> {
        match self.reading {
            Reading::Instance(instance) => Some(instance),
            _ => None,
        }
    }
}
