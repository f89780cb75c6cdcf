//! Frames of files in the log: first what is known of each, then their records, and behind those of a batch what the
//! transaction did. [`Journal`] is what a writer tells of it.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::log::{Frame, Kind, Log};
use super::record::{BLOCK_HEAD, PER_BLOCK, Record, decode, encode, put_block, records, take_block, take_length};
use super::states::{self, Fate, SIZE, State};
use super::{Cursors, Journal, Topic, rows};
use crate::dicom::{Instance, Level, PackedForm, Table};
use crate::index::entry::FileRecord;
use crate::index::outcome::{Attempt, Outcome};
use crate::index::recorder::{RecordedInstance, Recorder};
use crate::index::row_history::{IntendedRows, RowHistory};
use crate::index::{Entry, Failure};

/// A batch as it was written.
pub struct Batch {
    /// The place in the log.
    pub at: u64,
    pub writer: u32,
    pub records: Vec<Record>,
    pub attempt: Attempt,
    states: Vec<State>,
}

impl Recorder for Journal {
    fn record_batch(&self, writer: u32, entries: &[Entry], attempt: &Attempt) {
        let state = |(n, (entry, path)): (usize, (&Entry, &str))| {
            let uids = [Level::Instance, Level::Series, Level::Study].map(|level| entry.key(level));
            let row = states::row(uids, path);
            let now = state(&entry.file.path, &entry.record, fate(attempt, n), row);
            // A row that names the file still is the one that an earlier run inserted. A row that names another file had
            // been pointed to this one.
            let is_kept = matches!(now.fate, Fate::Updated | Fate::Unchanged | Fate::LinkDiffers | Fate::Duplicate);
            let was_own = || self.state(&entry.file.path, &mut Cursors::default()).is_some_and(|before| before.is_own);
            let is_repointed = matches!(attempt.outcomes[n], Outcome::Repointed { .. });
            State { is_own: now.is_own || is_repointed || is_kept && was_own(), ..now }
        };
        let states = entries.iter().zip(attempt.row_paths(entries)).enumerate().map(state).collect();
        let records: Vec<&[u8]> = entries.iter().map(|entry| entry.record.bytes.as_slice()).collect();
        self.write_again(entries.iter().map(|entry| entry.file.path.as_path()));
        let at = self.append_batch(writer, states, &records, attempt);
        let topics = |(n, entry): (usize, &Entry)| topics_of(&entry.instance, attempt.reach[n].patient.as_deref());
        self.append_groups(at, entries.iter().enumerate().map(topics));
    }

    fn record_rows(&self, writer: u32, attempt: u32, rows: &[IntendedRows]) {
        self.append_rows(writer, attempt, rows);
    }

    fn begin_sync(&self) {
        self.log.sync_ahead();
    }

    fn make_durable(&self) -> Result<(), Failure> {
        self.sync().map_err(Failure::Unrecorded)
    }

    fn record_commit(&self, writer: u32) {
        self.log.append(Kind::Committed, &writer.to_le_bytes());
    }

    fn histories(&self, table: Table, keys: &[&str]) -> Result<Vec<Option<Arc<RowHistory>>>, Failure> {
        self.histories_of(table, keys).map_err(|error| rows::unreadable(self, &error))
    }

    fn learn_own_rows(&self, rows: &[(Table, &str)]) -> Result<(), Failure> {
        self.learn_appended_rows(rows).map_err(|error| rows::unreadable(self, &error))
    }

    fn indexed_instance(&self, file: &Path, sop_instance_uid: &str) -> Option<RecordedInstance> {
        let mut cursors = Cursors::default();
        let state = self.state(file, &mut cursors).filter(State::has_own_row)?;
        let instance = self.record(&state, file, &mut cursors)?.into_instance()?;
        // The state of a file that another version of this program has read is unknown.
        let has_all_attributes = state.file.is_known();
        let recorded = RecordedInstance { instance, has_all_attributes };
        Some(recorded).filter(|recorded| recorded.instance.sop_instance_uid() == sop_instance_uid)
    }

    fn was_pointed(&self, entry: &Entry, other: &Path) -> bool {
        let state = |path: &Path| {
            let state = self.state(path, &mut Cursors::default()).filter(|state| state.is_own)?;
            (state.at >= self.distrusted && !self.was_lost(&state) && !self.is_left_open(&state)).then_some(state)
        };
        let (Some(own), Some(other)) = (state(&entry.file.path), state(other)) else { return false };
        // The file may have been missing in a later run, which pointed the row to the other file.
        let is_pointed_away = other.at > own.at && matches!(other.fate, Fate::Inserted | Fate::Updated | Fate::Won);
        own.file == entry.record.state && !is_pointed_away
    }

    fn was_named(&self, entry: &Entry, stored: &str) -> bool {
        let uids = [Level::Instance, Level::Series, Level::Study].map(|level| entry.key(level));
        let names_the_file = |state: &State| {
            matches!(state.fate, Fate::Inserted | Fate::Updated | Fate::Unchanged | Fate::Won)
                && state.row == states::row(uids, stored)
        };
        self.state(&entry.file.path, &mut Cursors::default()).as_ref().is_some_and(names_the_file)
    }
}

impl Journal {
    /// Records that a batch whose commit was in doubt is committed, as far as these of its files go.
    pub fn record_done(&self, batch: &Batch, kept: &[usize], attempt: &Attempt) {
        let records: Vec<Vec<u8>> = kept.iter().map(|n| batch.records[*n].encode()).collect();
        let state = |(n, kept): (usize, &usize)| {
            let (before, fate) = (batch.states[*kept], fate(attempt, n));
            // A record that another version of this program has written lacks attributes: the state of its file is unknown.
            let file = batch.records[*kept].state;
            State { fate, file, is_own: before.is_own && fate != Fate::NoRow, ..before }
        };
        let states = kept.iter().enumerate().map(state).collect();
        self.append_rows_committed(batch.writer, batch.at);
        let blocks = self.append_batch(batch.writer, states, &records, attempt);
        let topics = |(n, kept): (usize, &usize)| {
            let identity = attempt.reach[n].patient.as_deref();
            batch.records[*kept].instance().map_or([0; 3], |instance| topics_of(instance, identity))
        };
        self.append_groups(blocks, kept.iter().enumerate().map(topics));
        self.record_commit(batch.writer);
    }

    /// Returns the places of the blocks of records.
    fn append_batch(
        &self,
        writer: u32,
        states: Vec<State>,
        records: &[impl AsRef<[u8]>],
        attempt: &Attempt,
    ) -> Vec<u64> {
        let mut payload = Vec::with_capacity(128 * 1024);
        payload.extend(writer.to_le_bytes());
        let blocks = put_files(states, records, &mut payload);
        put_block(&encode(attempt), &mut payload);
        let at = self.log.append(Kind::Batch, &payload);
        blocks.into_iter().map(|block| at + block).collect()
    }

    /// Records which blocks belong to which groups. `topics` are the hashes of the groups of each record.
    pub(super) fn append_groups(&self, blocks: Vec<u64>, topics: impl Iterator<Item = [u64; 3]>) {
        let mut groups: Vec<(u64, u64)> = Vec::new();
        let mut last = None;
        for (n, topics) in topics.enumerate() {
            // The records of a series follow each other.
            let block = blocks[n / PER_BLOCK];
            if last.replace((topics, block)) != Some((topics, block)) {
                groups.extend(topics.map(|topic| (topic, block)));
            }
        }
        groups.sort_unstable();
        groups.dedup();
        self.append_group_list(&groups);
    }

    pub(super) fn append_group_list(&self, groups: &[(u64, u64)]) {
        self.log.append(Kind::Groups, &group_bytes(groups));
    }

    /// Files without an entry.
    pub fn note(&self, files: &[(&Path, &FileRecord)]) {
        if files.is_empty() {
            return;
        }
        self.write_again(files.iter().map(|(path, _)| *path));
        let mut payload = Vec::new();
        let states = files.iter().map(|(path, record)| state(path, record, Fate::NoRow, 0)).collect();
        let records: Vec<&[u8]> = files.iter().map(|(_, record)| record.bytes.as_slice()).collect();
        put_files(states, &records, &mut payload);
        self.log.append(Kind::Noted, &payload);
    }
}

/// Where its record lies is not known yet.
fn state(path: &Path, record: &FileRecord, fate: Fate, row: u64) -> State {
    let is_own = matches!(fate, Fate::Inserted | Fate::Won);
    State { key: states::key(path), at: 0, member: 0, fate, leads_on: record.leads_on, is_own, file: record.state, row }
}

fn fate(attempt: &Attempt, entry: usize) -> Fate {
    match &attempt.outcomes[entry] {
        Outcome::Updated { .. } | Outcome::Repointed { .. } | Outcome::PathMapped { .. } | Outcome::Unchanged
            if !attempt.reach[entry].series =>
        {
            Fate::LinkDiffers
        }
        Outcome::Inserted => Fate::Inserted,
        Outcome::Updated { .. } | Outcome::Repointed { .. } | Outcome::PathMapped { .. } => Fate::Updated,
        Outcome::Unchanged => Fate::Unchanged,
        Outcome::Duplicate { loser: None } => Fate::Duplicate,
        Outcome::Duplicate { loser: Some(_) } => Fate::Won,
        Outcome::Refused(_) => Fate::NoRow,
    }
}

/// The groups that an instance belongs to. `patient` is the identity of its patient, if the index has said so.
pub fn topics_of(instance: &Instance, patient: Option<&str>) -> [u64; 3] {
    [
        Topic::Patient.hash(patient.unwrap_or(instance.patient_id())),
        Topic::Study.hash(instance.study_instance_uid()),
        Topic::Series.hash(instance.series_instance_uid()),
    ]
}

/// The groups of blocks as a frame holds them.
pub fn group_bytes(groups: &[(u64, u64)]) -> Vec<u8> {
    groups.iter().flat_map(|(topic, block)| [topic.to_le_bytes(), block.to_le_bytes()].concat()).collect()
}

/// The groups in a frame: the hash of each, and the place of a block of records.
pub fn groups(log: &Log, frame: &Frame) -> io::Result<Vec<(u64, u64)>> {
    let payload = log.payload(frame)?;
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    Ok(payload.chunks_exact(16).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect())
}

/// States say where in the payload the blocks of their records lie. Returns the places of the blocks in the payload.
pub fn put_files(mut states: Vec<State>, records: &[impl AsRef<[u8]>], payload: &mut Vec<u8>) -> Vec<u64> {
    let mut blocks = Vec::new();
    payload.extend((states.len() as u32).to_le_bytes());
    let places = payload.len();
    payload.resize(places + states.len() * SIZE, 0);
    let mut block = Vec::new();
    for (states, records) in states.chunks_mut(PER_BLOCK).zip(records.chunks(PER_BLOCK)) {
        blocks.push(payload.len() as u64);
        for (member, state) in states.iter_mut().enumerate() {
            (state.at, state.member) = (payload.len() as u64, member as u16);
        }
        block.clear();
        records.iter().for_each(|record| block.extend_from_slice(record.as_ref()));
        put_block(&block, payload);
    }
    for (state, place) in states.iter().zip(payload[places..].chunks_mut(SIZE)) {
        place.copy_from_slice(&state.encode());
    }
    blocks
}

fn take_states(from: &mut &[u8]) -> io::Result<Vec<State>> {
    let count = take_length(from)?;
    let bytes = count.checked_mul(SIZE).and_then(|length| from.split_off(..length)).ok_or(ErrorKind::InvalidData)?;
    Ok(bytes.as_chunks().0.iter().map(State::decode).collect())
}

/// What is known of the files in a frame.
pub fn states(log: &Log, frame: &Frame) -> io::Result<Vec<State>> {
    let payload = log.payload(frame)?;
    let mut rest = payload.as_slice();
    if frame.kind == Kind::Batch {
        take_length(&mut rest)?;
    }
    let states = take_states(&mut rest)?;
    Ok(states.into_iter().map(|state| State { at: frame.at + state.at, ..state }).collect())
}

impl Batch {
    /// The payload of the frame at a place of the log.
    pub fn decode(payload: &[u8], at: u64, form: &PackedForm) -> io::Result<Self> {
        let mut rest = payload;
        let writer = take_length(&mut rest)? as u32;
        let mut states = take_states(&mut rest)?;
        let records = take_records(states.len(), &mut rest, form)?;
        states.iter_mut().for_each(|state| state.at += at);
        let attempt = decode::<Attempt>(&take_block(&mut rest)?)?;
        match attempt.is_of(records.len()) {
            true => Ok(Batch { at, writer, records, attempt, states }),
            false => Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// The records in a frame of files without an entry.
pub fn noted_records(mut payload: &[u8], form: &PackedForm) -> io::Result<Vec<Record>> {
    let count = take_states(&mut payload)?.len();
    take_records(count, &mut payload, form)
}

fn take_records(count: usize, from: &mut &[u8], form: &PackedForm) -> io::Result<Vec<Record>> {
    let mut all = Vec::new();
    for _ in 0..count.div_ceil(PER_BLOCK) {
        all.extend(records(&take_block(from)?, form)?);
    }
    if all.len() == count { Ok(all) } else { Err(ErrorKind::InvalidData.into()) }
}

/// The records of the block at a place of the log.
pub fn block(log: &Log, at: u64) -> io::Result<Vec<Record>> {
    let length = take_length(&mut log.read(at, 4)?.as_slice())?;
    let block = log.read(at, length.saturating_add(BLOCK_HEAD))?;
    records(&take_block(&mut block.as_slice())?, log.form_at(at)?)
}
