//! Appends to the log: batches of files with the outcome of their transactions, and files without
//! an entry.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::log::Kind;
use super::record::{PER_BLOCK, Record, decode, encode, put_block, take_block, take_length};
use super::states::{self, Fate, State};
use super::{Cursors, Journal, Topic, frames, row_frames};
use crate::dicom::{Instance, Level, PackedForm, Table};
use crate::index::entry::FileRecord;
use crate::index::outcome::{Attempt, Outcome};
use crate::index::recorder::{RecordedInstance, Recorder};
use crate::index::row_history::{IntendedRows, RowHistory};
use crate::index::{Entry, Failure};

/// A batch that was written to the log.
pub struct Batch {
    /// The offset of the payload in the log.
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
            // Ownership persists. A row that still names this file is the one that an earlier run
            // inserted. A row that names another file now was once inserted for this file or
            // pointed to it.
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
        row_frames::append_rows(&self.log, writer, attempt, rows);
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
        self.ledger.histories(&self.log, table, keys).map_err(|error| ledger_lost(self, &error))
    }

    fn learn_own_rows(&self, rows: &[(Table, &str)]) -> Result<(), Failure> {
        self.ledger.learn_appended(&self.log, rows).map_err(|error| ledger_lost(self, &error))
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
    /// Records that a batch whose commit was in doubt is committed. `kept` are the positions of the
    /// files in the batch for which this is true.
    pub fn record_done(&self, batch: &Batch, kept: &[usize], attempt: &Attempt) {
        let records: Vec<Vec<u8>> = kept.iter().map(|n| batch.records[*n].encode()).collect();
        let state = |(n, kept): (usize, &usize)| {
            let (before, fate) = (batch.states[*kept], fate(attempt, n));
            // A record that another version of this program has written lacks attributes, so the
            // state of its file is unknown.
            let file = batch.records[*kept].state;
            State { fate, file, is_own: before.is_own && fate != Fate::NoRow, ..before }
        };
        let states = kept.iter().enumerate().map(state).collect();
        row_frames::append_rows_committed(&self.log, &self.frames, batch.writer, batch.at);
        let blocks = self.append_batch(batch.writer, states, &records, attempt);
        let topics = |(n, kept): (usize, &usize)| {
            let identity = attempt.reach[n].patient.as_deref();
            batch.records[*kept].instance().map_or([0; 3], |instance| topics_of(instance, identity))
        };
        self.append_groups(blocks, kept.iter().enumerate().map(topics));
        self.record_commit(batch.writer);
    }

    /// Appends a batch. Returns the offsets of its blocks of records.
    fn append_batch(
        &self,
        writer: u32,
        states: Vec<State>,
        records: &[impl AsRef<[u8]>],
        attempt: &Attempt,
    ) -> Vec<u64> {
        let mut payload = Vec::with_capacity(128 * 1024);
        payload.extend(writer.to_le_bytes());
        let blocks = frames::put_files(states, records, &mut payload);
        put_block(&encode(attempt), &mut payload);
        let at = self.log.append(Kind::Batch, &payload);
        blocks.into_iter().map(|block| at + block).collect()
    }

    /// Records which blocks belong to which groups. `topics` contains the hashes of the groups of
    /// each record.
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
        self.log.append(Kind::Groups, &frames::group_bytes(groups));
    }

    /// Records files that have no entry.
    pub fn note(&self, files: &[(&Path, &FileRecord)]) {
        if files.is_empty() {
            return;
        }
        self.write_again(files.iter().map(|(path, _)| *path));
        let mut payload = Vec::new();
        let states = files.iter().map(|(path, record)| state(path, record, Fate::NoRow, 0)).collect();
        let records: Vec<&[u8]> = files.iter().map(|(_, record)| record.bytes.as_slice()).collect();
        frames::put_files(states, &records, &mut payload);
        self.log.append(Kind::Noted, &payload);
    }
}

/// Converts a ledger error to a fatal error of the index: without the ledger, the run cannot know
/// which rows this program inserted.
fn ledger_lost(journal: &Journal, error: &io::Error) -> Failure {
    Failure::Lost(format!("the ledger of rows in {} cannot be read: {error}", journal.directory.display()))
}

/// Returns the state of a file whose record has no offset yet.
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

/// Returns the groups that an instance belongs to. `patient` is the collation key of its patient,
/// if the index has returned one.
pub fn topics_of(instance: &Instance, patient: Option<&str>) -> [u64; 3] {
    [
        Topic::Patient.hash(patient.unwrap_or(instance.patient_id())),
        Topic::Study.hash(instance.study_instance_uid()),
        Topic::Series.hash(instance.series_instance_uid()),
    ]
}

impl Batch {
    /// Decodes the payload of the frame at an offset of the log.
    pub fn decode(payload: &[u8], at: u64, form: &PackedForm) -> io::Result<Self> {
        let mut rest = payload;
        let writer = take_length(&mut rest)? as u32;
        let mut states = frames::take_states(&mut rest)?;
        let records = frames::take_records(states.len(), &mut rest, form)?;
        states.iter_mut().for_each(|state| state.at += at);
        let attempt = decode::<Attempt>(&take_block(&mut rest)?)?;
        match attempt.is_of(records.len()) {
            true => Ok(Batch { at, writer, records, attempt, states }),
            false => Err(ErrorKind::InvalidData.into()),
        }
    }
}
