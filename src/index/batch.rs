//! A batch into the index: parents first, each level sorted by key, only what is missing, in one short transaction.
//!
//! First it is looked up, from the images upwards, which rows are there and which of them each file says something of;
//! then what is missing is inserted, from the patients downwards. A deadlock with the PACS is tried again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::companion_rows::{Companions, Put};
use super::duplicates::{Archive, Choice};
use super::existing::{Mode, Pending};
use super::known::{Known, PARENTS, Reach};
use super::lookup::{Batch, RowOf};
use super::missing::{Missing, NewRow, Presence};
use super::names::{self, Conflicts};
use super::patience::{Patience, Redone, Tried};
use super::recorder::Recorder;
use super::settlement::Finding;
use super::undo::Undo;
use super::{Entry, Failure, Index, LEVELS, Refusal};
use crate::dicom::{Level, Table};

/// The PACS may hold a lock for as long as its own statement takes; the pauses add up to about half a minute.
const ATTEMPTS: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// So often a transaction that ran into a row is done again, before it goes on beside it.
const COLLISIONS: u32 = 3;

/// How many other instances are asked when a parent's row is refused.
const OTHERS: usize = 3;

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Inserted,
    /// Its row was there, and was filled, refreshed or led to this file.
    Updated {
        /// The path that the row had, if that was corrected.
        corrected: Option<String>,
    },
    /// Its row was there, and names this file.
    Unchanged,
    /// One of the files of its instance, this or that of the path, is not the indexed one.
    Duplicate {
        loser: Option<String>,
    },
    /// It is tried again whenever it is come upon.
    Refused(#[serde(skip)] Refusal),
}

impl Outcome {
    /// The row names the file since.
    pub fn leads(&self) -> bool {
        matches!(
            self,
            Outcome::Inserted | Outcome::Updated { corrected: Some(_) } | Outcome::Duplicate { loser: Some(_) }
        )
    }
}

/// What became of an entry, and of its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub outcome: Outcome,
    /// The row links the image to another series than the file does.
    pub link_differs: bool,
}

/// Rows that were inserted above the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parents {
    pub patients: u64,
    pub studies: u64,
    pub series: u64,
}

/// What decides where files or names conflict, and what may be written of rows that were there before.
#[derive(Clone)]
pub struct Policy {
    pub mode: Mode,
    pub choice: Choice,
    pub conflicts: Conflicts,
    pub archive: Arc<dyn Archive>,
    /// Others write other parts of the archive, and nothing is settled yet.
    pub in_slice: bool,
    pub undo: Option<Arc<Undo>>,
    pub patience: Patience,
}

/// Writes batches through one connection.
pub struct Writer {
    /// Among those of its run.
    number: u32,
    /// Who writes down what it does.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// A run that was killed is continued.
    pub continues: bool,
    pub(super) index: Box<dyn Index + Send>,
    pub(super) known: Known,
    pub(super) policy: Policy,
    /// A table that was empty is inserted into without looking first.
    look_first: [bool; 4],
    /// How often the transaction was done again because it ran into a row.
    collisions: u32,
    /// Tables that had no row when the run began.
    pub(super) was_empty: [bool; 4],
    /// Rows that this writer is inserting.
    claims: Vec<(Level, Box<str>)>,
    /// Images whose path this batch corrects.
    pub(super) corrections: Vec<Box<str>>,
    pub(super) pending: Option<Pending>,
    /// An image that this writer has committed.
    pub(super) committed: Option<Tried>,
    /// Rows that attempts of this transaction left behind, where tables know none.
    pub(super) left: HashSet<Tried>,
    /// Changes that the database refused.
    pub refused: Vec<Finding>,
    pub inserted: Parents,
    /// Rows above the images that were there before and were changed.
    pub updated: Parents,
    pub companions: Companions,
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
            pending,
            index,
            known,
            policy,
            look_first: was_empty.map(|was_empty| !was_empty),
            collisions: 0,
            was_empty,
            claims: Vec::new(),
            corrections: Vec::new(),
            committed: None,
            left: HashSet::new(),
            refused: Vec::new(),
            inserted: Parents::default(),
            updated: Parents::default(),
            companions: Companions::default(),
        })
    }

    /// The index had no image when the run began.
    pub fn began_empty(&self) -> bool {
        self.was_empty[Level::Instance as usize]
    }

    /// Ends the connection in order. Tells what a dry run would have changed.
    pub fn end(self) -> Vec<(String, super::dry_run::Changed)> {
        let changes = self.index.changes();
        self.index.close();
        changes
    }

    /// Writes a batch; what became of the entries stands in their order.
    pub fn write(&mut self, entries: &[Entry]) -> Result<Vec<Written>, Failure> {
        let recorder = self.recorder.clone();
        let done = self.in_transaction(|writer| {
            let attempt = writer.attempt(entries)?;
            recorder.iter().for_each(|recorder| recorder.intends(writer.number, entries, &attempt));
            Ok(attempt)
        })?;
        recorder.iter().for_each(|recorder| recorder.is_committed(self.number));
        Ok(self.remember(entries, done))
    }

    /// One transaction, tried again while the database is busy or away.
    pub(super) fn in_transaction<T: Redone>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let refused = self.refused.len();
        // What was done, if nobody knows whether it is committed, and the rows that tell.
        let mut in_doubt: Option<(T, Vec<Tried>)> = None;
        let mut first: Option<T> = None;
        self.index.take_tried();
        self.left.clear();
        self.patiently(|writer| {
            let is_committed = in_doubt.as_ref().map(|(_, tried)| writer.was_committed(tried)).transpose()?;
            let (done, tried) = match (in_doubt.take(), is_committed) {
                (Some(committed), Some(true)) => committed,
                (former, _) => {
                    if let Some((done, tried)) = former {
                        writer.leave(tried);
                        first = Some(done.after(first.take()));
                    }
                    writer.transaction(refused, &mut work, &mut in_doubt)?
                }
            };
            let done = done.after(first.take());
            writer.committed = tried.into_iter().rfind(|row| row.0 == Table::Image).or(writer.committed.take());
            Ok(done)
        })
    }

    fn transaction<T>(
        &mut self,
        refused: usize,
        work: &mut impl FnMut(&mut Self) -> Result<T, Failure>,
        in_doubt: &mut Option<(T, Vec<Tried>)>,
    ) -> Result<(T, Vec<Tried>), Failure> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        self.collisions = 0;
        loop {
            // Of an attempt that failed.
            self.refused.truncate(refused);
            self.pending.iter_mut().for_each(|pending| pending.lines.clear());
            let tried = self.index.take_tried();
            self.leave(tried);
            let done = self.index.begin().and_then(|()| work(self)).and_then(|done| {
                self.pending.as_ref().map_or(Ok(()), |pending| pending.undo.write(&pending.lines))?;
                Ok(done)
            });
            let failure = match done.map(|done| (done, self.index.commit())) {
                Ok((done, Ok(()))) => return Ok((done, self.index.take_tried())),
                Ok((done, Err(failure))) => {
                    if matches!(failure, Failure::Unreachable(_)) {
                        *in_doubt = Some((done, self.index.take_tried()));
                    }
                    failure
                }
                Err(failure) => failure,
            };
            // Nothing is to be said on a connection that is gone.
            if !matches!(failure, Failure::Unreachable(_)) {
                // Where the database has rolled back already there is nothing to roll back. What went wrong first is
                // what is reported.
                let _ = self.index.roll_back();
            }
            match failure {
                // Somebody else inserts here as well: from now on rows are looked up.
                Failure::Duplicate if self.begins_anew() => {
                    self.look_first = [true; 4];
                    self.collisions += 1;
                }
                Failure::Busy(_) if attempt < ATTEMPTS => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    attempt += 1;
                }
                failure => return Err(failure),
            }
        }
    }

    /// What an attempt that failed was to insert is there in part, where nothing takes it back.
    fn leave(&mut self, tried: Vec<Tried>) {
        if !self.index.tables().is_transactional {
            self.left.extend(tried);
        }
    }

    /// Whether a row that is there was left behind by an attempt of the same transaction.
    pub(super) fn is_left(&self, table: Table, key: &str) -> bool {
        !self.left.is_empty() && self.left.contains(&(table, key.into()))
    }

    fn attempt(&mut self, entries: &[Entry]) -> Result<Attempt, Failure> {
        // Those of an attempt that failed.
        for (level, identity) in std::mem::take(&mut self.claims) {
            self.known.lock().disclaim(level, &identity);
        }
        for key in self.corrections.drain(..) {
            self.known.lock().image_was_not_corrected(&key);
        }
        let mut batch = Batch::new(entries, self.policy.choice);
        self.look(&mut batch)?;
        // Where nothing is taken back, rows are there before all is done.
        if let Some(recorder) = self.recorder.as_ref().filter(|_| !self.index.tables().is_transactional) {
            recorder.intends(self.number, entries, &self.plan(&batch));
        }
        for level in PARENTS {
            self.insert_parents(level, &mut batch)?;
        }
        self.insert_images(&mut batch)?;
        let titles = self.write_titles(&batch)?;
        self.known.lock().check_images()?;
        let opened = self.opened(&batch);
        self.take_back(&opened)?;
        Ok(self.attempt_of(batch, opened, titles))
    }

    /// What will be done of a batch if nothing comes in between.
    fn plan(&self, batch: &Batch<'_>) -> Attempt {
        let mut planned = batch.clone();
        for level in PARENTS {
            for (identity, members) in planned.wanted(level, &self.known) {
                let patient = self.patient_of(level, &planned, members[0]);
                planned.put(level, identity, RowOf::Inserted { member: members[0], patient });
            }
        }
        for member in planned.without_row().collect::<Vec<_>>() {
            planned.inserted(member);
        }
        let opened = self.opened(&planned);
        self.attempt_of(planned, opened, Put::default())
    }

    fn attempt_of(&self, batch: Batch<'_>, opened: [BTreeSet<Box<str>>; 2], titles: Put) -> Attempt {
        let winners = batch.winners();
        let Batch { rows, reach, outcomes, edited, .. } = batch;
        Attempt { rows, reach, outcomes, winners, opened, edited, titles }
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
            // The row of a parent that was refused as one instance tells of it may be held as another does.
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
    fn patient_of(&self, level: Level, batch: &Batch<'_>, member: usize) -> Box<str> {
        let entry = &batch.entries[member];
        let id: &str = batch.patient_id(member);
        if level == Level::Study && self.policy.conflicts == Conflicts::Separate {
            let name = entry.patient_name();
            let conflicts = batch.patient_name(member, &self.known).is_some_and(|row| !row.agrees(&name));
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
        // Before the commit: whoever then comes upon a row knows whose it is.
        let mut known = self.known.lock();
        for (member, presence) in missing.into_iter().zip(presence) {
            match presence {
                Presence::Inserted => {
                    known.image_was_inserted(batch.entries[member].key(Level::Instance));
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

    /// A row that an insert ran into stays locked, and to write to it then may end in a deadlock with whoever waits for
    /// it: the transaction is done again, with a look. What it still runs into then is a unique key of the site's own.
    pub(super) fn begins_anew(&self) -> bool {
        self.collisions < COLLISIONS
    }

    /// A table that was empty is inserted into without looking first, until a row is met there.
    pub(super) fn looks_first(&self, level: Level) -> bool {
        self.look_first[level as usize]
    }

    /// The studies and series below which something was inserted.
    fn opened(&self, batch: &Batch<'_>) -> [BTreeSet<Box<str>>; 2] {
        let new = batch.rows[Level::Series as usize].values().filter_map(|row| match row {
            RowOf::Inserted { member, .. } => Some(batch.entries[*member].key(Level::Study).into()),
            RowOf::There(_) => None,
        });
        [new.collect(), batch.opened_series.clone()]
    }

    /// Derived values of rows that were there before are out of date with the first row inserted below them. They
    /// are taken back until the closing step: a run that is killed leaves no wrong value, and the next one fills them.
    fn take_back(&mut self, opened: &[BTreeSet<Box<str>>; 2]) -> Result<(), Failure> {
        for (level, opened) in [Level::Study, Level::Series].into_iter().zip(opened) {
            let stale: Vec<&str> = {
                let known = self.known.lock();
                let is_stale = |key: &&str| !known.is_ours(level, key) && !known.is_open(level, key);
                opened.iter().map(|key| &**key).filter(is_stale).collect()
            };
            self.index.take_back(level, &stale)?;
        }
        Ok(())
    }

    /// After the commit: what is known now, and what became of each entry.
    pub(super) fn remember(&mut self, entries: &[Entry], attempt: Attempt) -> Vec<Written> {
        self.learn_rows(entries, &attempt);
        let claims = std::mem::take(&mut self.claims);
        let mut known = self.known.lock();
        claims.iter().for_each(|(level, identity)| known.disclaim(*level, identity));
        self.corrections.clear();
        for ((entry, reach), outcome) in entries.iter().zip(&attempt.reach).zip(&attempt.outcomes) {
            if !matches!(outcome, Outcome::Refused(_)) {
                known.add(entry, reach);
            }
        }
        let written = attempt.outcomes.into_iter().zip(attempt.reach);
        written.map(|(outcome, reach)| Written::new(outcome, &reach)).collect()
    }

    /// Which rows a transaction came upon, and what it did to them.
    pub(super) fn learn_rows(&mut self, entries: &[Entry], attempt: &Attempt) {
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
        attempt.titles.inserted.iter().for_each(|key| known.title_was_inserted(key));
        self.companions.add(Table::ConceptName, &attempt.titles);
        for key in &attempt.opened[0] {
            known.studies.get_mut(&**key).into_iter().for_each(|study| study.open = true);
        }
        for key in &attempt.opened[1] {
            known.series.get_mut(&**key).into_iter().for_each(|series| series.open = true);
        }
        for key in &attempt.edited {
            known.studies.get_mut(key.as_str()).into_iter().for_each(|study| study.edited = true);
        }
    }
}

impl Written {
    /// There is nothing to be said of it now.
    pub fn is_told_later(&mut self) {
        *self = Written { outcome: Outcome::Refused(Refusal::default()), link_differs: false };
    }

    pub(super) fn new(outcome: Outcome, reach: &Reach) -> Self {
        Written { link_differs: !reach.series && !matches!(outcome, Outcome::Refused(_)), outcome }
    }
}

/// What a transaction did, or is about to have done.
#[derive(Clone, Serialize, Deserialize)]
pub struct Attempt {
    /// Rows above the images that it found or inserted, by identity.
    pub(super) rows: [HashMap<Box<str>, RowOf>; 3],
    pub reach: Vec<Reach>,
    pub outcomes: Vec<Outcome>,
    /// Of files that are not indexed, the path of the one that is.
    pub(super) winners: Vec<Option<Box<str>>>,
    /// Studies and series below which something was inserted.
    pub(super) opened: [BTreeSet<Box<str>>; 2],
    pub(super) edited: HashSet<String>,
    pub(super) titles: Put,
}

impl Attempt {
    /// Whether it can be of so many entries: one that was read back may be anything.
    pub fn is_of(&self, entries: usize) -> bool {
        let is_within = |row: &RowOf| match row {
            RowOf::Inserted { member, .. } => *member < entries,
            RowOf::There(_) => true,
        };
        [self.reach.len(), self.outcomes.len(), self.winners.len()].iter().all(|length| *length == entries)
            && self.rows.iter().flat_map(HashMap::values).all(is_within)
    }

    /// Of each entry the path in the row of its instance.
    pub fn row_paths<'a>(&'a self, entries: &'a [Entry]) -> impl Iterator<Item = &'a str> {
        entries.iter().zip(&self.winners).map(|(entry, winner)| winner.as_deref().unwrap_or(&entry.path))
    }
}

impl Redone for Attempt {
    fn after(mut self, first: Option<Self>) -> Self {
        let Some(first) = first else { return self };
        for (outcome, first) in self.outcomes.iter_mut().zip(first.outcomes) {
            if *outcome == Outcome::Unchanged {
                *outcome = first;
            }
        }
        self.titles = self.titles.after(Some(first.titles));
        self
    }
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
