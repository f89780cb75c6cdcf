//! Writes a batch into the index: parents first, each level sorted by key, only missing rows, in one short transaction.
//!
//! First the writer looks up, from the images upwards, which rows exist and which of them each file belongs to;
//! then missing rows are inserted, from the patients downwards. After a deadlock with the PACS, the transaction is repeated.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::companion_rows::Companions;
use super::duplicates::FileChoice;
use super::existing::{Mode, Pending};
use super::known::{Known, PARENTS};
use super::lookup::{Batch, RowOf};
use super::missing::{Missing, NewRow, Presence};
use super::names::{self, Conflicts};
use super::outcome::{Attempt, Outcome, Written};
use super::patience::{Patience, Tried};
use super::recorder::Recorder;
use super::settlement::Finding;
use super::undo::Undo;
use super::withdraw::Reference;
use super::{Derive, Entry, Failure, Index, LEVELS};
use crate::dicom::{Level, Table};

/// How many other instances are asked when a parent's row is refused.
const OTHERS: usize = 3;

/// Rows that were inserted above the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parents {
    pub patients: u64,
    pub studies: u64,
    pub series: u64,
}

/// The rules by which conflicts of files and names are decided, and which values of existing rows may change.
#[derive(Clone)]
pub struct Policy {
    pub mode: Mode,
    pub files: FileChoice,
    pub conflicts: Conflicts,
    /// Others write other parts of the archive, and nothing is settled yet.
    pub in_slice: bool,
    pub undo: Option<Arc<Undo>>,
    pub patience: Patience,
}

/// Writes batches through one connection.
pub struct Writer {
    /// Among those of its run.
    pub(super) number: u32,
    /// The log in which the writer records batches and rows. `None` in a dry run.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// A run that was killed is continued.
    pub continues: bool,
    /// Other runs have written since the killed one.
    pub is_interleaved: bool,
    /// IDs that the killed run has given to patients.
    pub given: HashSet<String>,
    pub(super) index: Box<dyn Index + Send>,
    pub(super) known: Known,
    pub(super) policy: Policy,
    /// A table that was empty is inserted into without looking first.
    pub(super) look_first: [bool; 4],
    /// The number of attempts at transactions so far.
    pub(super) attempts: u32,
    /// How often the transaction was done again because it ran into a row.
    pub(super) collisions: u32,
    /// Tables that had no row when the run began.
    pub(super) was_empty: [bool; 4],
    /// Rows that this writer is inserting.
    claims: Vec<(Level, Box<str>)>,
    /// Images whose path this batch corrects.
    pub(super) corrections: Vec<Box<str>>,
    pub(super) pending: Option<Pending>,
    /// The number of connections that were made in place of lost ones.
    pub reconnections: u64,
    /// Rows that attempts of this transaction left behind, where tables know none.
    pub(super) left: HashSet<Tried>,
    /// Changes that the database refused.
    pub refused: Vec<Finding>,
    pub inserted: Parents,
    /// Rows above the images that were there before and were changed.
    pub updated: Parents,
    pub companions: Companions,
    /// The columns of other tables that may refer to rows of each level, once they were asked for.
    pub(super) references: [Option<Arc<[Reference]>>; 4],
}

impl Writer {
    pub fn new(number: u32, mut index: Box<dyn Index + Send>, known: Known, policy: Policy) -> Result<Self, Failure> {
        let mut was_empty = [false; 4];
        for level in LEVELS {
            index.probe(level)?;
            was_empty[level as usize] = index.is_empty(level)?;
        }
        let pending = policy.undo.clone().map(|undo| Pending { undo, lines: String::new() });
        Ok(Writer {
            number,
            recorder: None,
            continues: false,
            is_interleaved: false,
            given: HashSet::new(),
            pending,
            index,
            known,
            policy,
            look_first: was_empty.map(|was_empty| !was_empty),
            // No other run counts from the same number.
            attempts: first_attempt(),
            collisions: 0,
            was_empty,
            claims: Vec::new(),
            corrections: Vec::new(),
            reconnections: 0,
            left: HashSet::new(),
            refused: Vec::new(),
            inserted: Parents::default(),
            updated: Parents::default(),
            companions: Companions::default(),
            references: Default::default(),
        })
    }

    /// The index had no image when the run began.
    pub fn began_empty(&self) -> bool {
        self.was_empty[Level::Instance as usize]
    }

    /// The images take more room than the memory that the server keeps tables in.
    pub fn outgrows_memory(&mut self) -> Result<bool, Failure> {
        self.patiently(|writer| writer.index.outgrows_memory())
    }

    /// Closes the connection. Returns the changes that a dry run would have made.
    pub fn end(self) -> Vec<(String, super::dry_run::Changed)> {
        let changes = self.index.changes();
        self.index.close();
        changes
    }

    /// Writes a batch. Returns the outcome of each entry, in the order of the entries.
    pub fn write(&mut self, entries: &[Entry]) -> Result<Vec<Written>, Failure> {
        let recorder = self.recorder.clone();
        let done = self.in_transaction(|writer| writer.attempt(entries))?;
        recorder.iter().for_each(|recorder| recorder.record_commit(self.number));
        Ok(self.remember(entries, done))
    }

    /// Writes a batch and records it on disk, all but the commit.
    fn attempt(&mut self, entries: &[Entry]) -> Result<Attempt, Failure> {
        // Claims of an attempt that failed.
        for (level, identity) in std::mem::take(&mut self.claims) {
            self.known.lock().disclaim(level, &identity);
        }
        for key in self.corrections.drain(..) {
            self.known.lock().image_was_not_corrected(&key);
        }
        let mut batch = Batch::new(entries, &self.policy.files);
        self.look(&mut batch)?;
        if !self.index.tables().is_transactional {
            self.record_plan(&batch)?;
        }
        loop {
            for level in PARENTS {
                self.insert_parents(level, &mut batch)?;
            }
            if !batch.choose_next_candidates() {
                break;
            }
        }
        let foreseen = self.record_ahead(&batch);
        self.insert_images(&mut batch)?;
        let titles = self.write_titles(&batch)?;
        self.known.lock().check_images()?;
        let opened = batch.opened();
        self.recount(&opened)?;
        let attempt = Attempt::of(batch, opened, titles);
        self.record(entries, &attempt, foreseen.as_ref())?;
        Ok(attempt)
    }

    fn insert_parents(&mut self, level: Level, batch: &mut Batch<'_>) -> Result<(), Failure> {
        let wanted = Vec::from_iter(batch.wanted(level, &self.known));
        let patients: Vec<Box<str>> =
            wanted.iter().map(|(_, members)| self.patient_of(level, batch, members[0])).collect();
        let row = |n: usize, member: usize| NewRow {
            entry: &batch.entries[member],
            identity: &wanted[n].0,
            patient: &patients[n],
        };
        let rows: Vec<NewRow> = (0..wanted.len()).map(|n| row(n, wanted[n].1[0])).collect();
        {
            let mut known = self.known.lock();
            rows.iter().for_each(|row| known.claim(level, row.identity));
        }
        self.claims.extend(rows.iter().map(|row| (level, row.identity.into())));
        let presence = self.insert_missing(level, &rows)?;
        let mut settled = Vec::with_capacity(wanted.len());
        for (n, mut presence) in presence.into_iter().enumerate() {
            let mut member = 0;
            // The database may accept the row of a parent with the values of another instance.
            while matches!(presence, Presence::Refused(_)) && member < OTHERS.min(wanted[n].1.len() - 1) {
                member += 1;
                presence = self.insert_missing(level, &[row(n, wanted[n].1[member])])?.remove(0);
            }
            settled.push((presence, wanted[n].1[member]));
        }
        for (((identity, members), patient), (presence, member)) in wanted.into_iter().zip(patients).zip(settled) {
            match presence {
                Presence::Inserted => batch.put(level, identity, RowOf::Inserted { member, patient }),
                Presence::There(row) => {
                    self.disclaim(level, &identity);
                    batch.put(level, identity, RowOf::There(row));
                }
                Presence::Refused(refusal) => {
                    self.disclaim(level, &identity);
                    members.into_iter().for_each(|member| batch.refuse(member, &refusal));
                }
            }
        }
        Ok(())
    }

    fn disclaim(&mut self, level: Level, identity: &str) {
        self.claims.retain(|(l, claimed)| !(*l == level && **claimed == *identity));
        self.known.lock().disclaim(level, identity);
    }

    /// The Patient ID that a new row bears until the closing step. A study whose patient's name conflicts with that in
    /// the patient's row is never shown under the wrong name, not even for the time of a run.
    pub(super) fn patient_of(&self, level: Level, batch: &Batch<'_>, member: usize) -> Box<str> {
        let entry = &batch.entries[member];
        if level != Level::Study {
            return batch.patient_id(member).into();
        }
        let id = batch.spelled_patient_id(member);
        if self.policy.conflicts == Conflicts::Separate {
            let name = entry.patient_name();
            let conflicts = batch.patient_name(member).is_some_and(|row| !row.agrees(&name));
            let suffixed = format!("{id}{}", names::suffix(&name));
            let holds = |column: &super::column::Column| column.holds(&suffixed);
            if conflicts && self.index.tables().of(Level::Study).column("patientid").is_some_and(holds) {
                return suffixed.into();
            }
        }
        id.into()
    }

    fn insert_images(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        let missing: Vec<usize> = batch.without_row().collect();
        let rows: Vec<NewRow> = missing.iter().map(|member| NewRow::of(&batch.entries[*member])).collect();
        let presence = self.insert_missing(Level::Instance, &rows)?;
        // Before the commit: another writer that then finds the row knows that this run inserted the row.
        let mut known = self.known.lock();
        for (member, presence) in missing.into_iter().zip(presence) {
            match presence {
                Presence::Inserted => {
                    let entry = &batch.entries[member];
                    known.image_was_inserted(entry.key(Level::Instance));
                    known.image_names(entry.key(Level::Instance), &entry.path);
                    batch.inserted(member);
                }
                Presence::There(row) => {
                    batch.there.insert(batch.entries[member].key(Level::Instance).into(), row);
                }
                Presence::Refused(refusal) => batch.refuse(member, &refusal),
            }
        }
        drop(known);
        self.settle_images(batch)
    }

    fn insert_missing(&mut self, level: Level, rows: &[NewRow<'_>]) -> Result<Vec<Presence>, Failure> {
        let looks_first = self.looks_first(level);
        let begins_anew = self.begins_anew();
        Missing::new(&mut *self.index, level.table(), rows, &self.left, begins_anew).insert(looks_first)
    }

    /// A table that was empty is inserted into without looking first, until a row is met there.
    pub(super) fn looks_first(&self, level: Level) -> bool {
        self.look_first[level as usize]
    }

    /// Derives the columns of rows that were there before, below which something was inserted, in the same transaction: a
    /// run that is killed leaves no wrong value. Rows of this run stay unfinished until the closing step, and so do those of
    /// earlier runs that are unfinished.
    fn recount(&mut self, opened: &[BTreeSet<Box<str>>; 2]) -> Result<(), Failure> {
        let foreign = |level: Level, opened: &BTreeSet<Box<str>>| -> Vec<Box<str>> {
            let known = self.known.lock();
            opened.iter().filter(|key| !known.is_of_this_run(level, key)).cloned().collect()
        };
        let studies = foreign(Level::Study, &opened[0]);
        let series = foreign(Level::Series, &opened[1]);
        self.index.count_instances(&texts(&series), Derive::WhereSet)?;
        let modalities = self.modalities(&texts(&studies), Derive::WhereSet)?;
        self.set_modalities(&modalities)
    }

    /// Learns from a batch that is committed. Returns the outcome of each entry.
    pub(super) fn remember(&mut self, entries: &[Entry], attempt: Attempt) -> Vec<Written> {
        self.learn_rows(entries, &attempt);
        self.learn_values(entries, attempt)
    }

    /// Adds the values of the files of a batch that are indexed to the rows above them, which must be known. Returns the outcome
    /// of each entry.
    pub(super) fn learn_values(&mut self, entries: &[Entry], attempt: Attempt) -> Vec<Written> {
        let claims = std::mem::take(&mut self.claims);
        let mut known = self.known.lock();
        claims.iter().for_each(|(level, identity)| known.disclaim(*level, identity));
        self.corrections.clear();
        for ((entry, reach), outcome) in entries.iter().zip(&attempt.reach).zip(&attempt.outcomes) {
            match outcome {
                Outcome::Refused(_) => {}
                outcome if outcome.is_indexed() => known.add(entry, reach),
                _ => known.add_unchosen(entry, reach),
            }
            if matches!(outcome, Outcome::Duplicate { .. }) {
                known.open_contended(entry);
            }
        }
        known.relieve();
        let written = attempt.outcomes.into_iter().zip(attempt.reach);
        written.map(|(outcome, reach)| Written::new(outcome, &reach)).collect()
    }

    /// The entries whose files are not indexed although rows were inserted for them: by an earlier run, or by this one before
    /// another writer had indexed a better file.
    fn displaced<'e>(&self, entries: &'e [Entry], attempt: &Attempt) -> Vec<&'e Entry> {
        let was_indexed = |entry: &Entry| {
            let indexed = |recorder: &Arc<dyn Recorder>| {
                recorder.indexed_instance(&entry.file.path, entry.key(Level::Instance)).is_some()
            };
            self.recorder.as_ref().is_some_and(indexed)
        };
        let is_displaced = |(n, entry): &(usize, &Entry)| {
            attempt.outcomes[*n] == Outcome::Duplicate { loser: None }
                && (attempt.has_inserted_for(*n) || was_indexed(entry))
        };
        entries.iter().enumerate().filter(is_displaced).map(|(_, entry)| entry).collect()
    }

    /// Learns which rows a transaction has found and inserted.
    pub(super) fn learn_rows(&mut self, entries: &[Entry], attempt: &Attempt) {
        let displaced = self.displaced(entries, attempt);
        let mut known = self.known.lock();
        for level in PARENTS {
            for (identity, row) in &attempt.rows[level as usize] {
                match row {
                    RowOf::There(existing) => known.found(level, identity, existing),
                    RowOf::Inserted { member, patient } => {
                        known.inserted(level, identity, &entries[*member], patient);
                        *self.inserted.of(level) += 1;
                    }
                }
            }
        }
        displaced.into_iter().for_each(|entry| known.note_displaced(entry));
        attempt.titles.inserted.iter().for_each(|key| known.title_was_inserted(key));
        self.companions.add(Table::ConceptName, &attempt.titles);
        attempt.opened[0].iter().for_each(|key| known.studies.part(&**key).open = true);
        attempt.opened[1].iter().for_each(|key| known.series.part(&**key).open = true);
        attempt.edited.iter().for_each(|key| known.studies.part(key).edited = true);
    }
}

fn first_attempt() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_micros() as u32).saturating_add(1)
}

impl Parents {
    pub(super) fn of(&mut self, level: Level) -> &mut u64 {
        match level {
            Level::Patient => &mut self.patients,
            Level::Study => &mut self.studies,
            Level::Series | Level::Instance => &mut self.series,
        }
    }
}

impl std::ops::Add for Parents {
    type Output = Parents;

    fn add(self, other: Parents) -> Parents {
        Parents {
            patients: self.patients + other.patients,
            studies: self.studies + other.studies,
            series: self.series + other.series,
        }
    }
}

fn texts(keys: &[Box<str>]) -> Vec<&str> {
    keys.iter().map(|key| &**key).collect()
}
