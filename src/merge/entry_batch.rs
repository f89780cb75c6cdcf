//! A batch of entries while it is written.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use foldhash::HashMap;

use super::duplicates::{Contender, FileChoice};
use super::known::Known;
use super::known_rows::Rows;
use crate::dicom::{Instance, Level};
use crate::index::companion_changes::Put;
use crate::index::outcome::{Attempt, Outcome, Reach, RowOf};
use crate::index::patient_name::Name;
use crate::index::{Entry, Existing, Refusal};

/// The state of a batch that is being written.
#[derive(Clone)]
pub struct Batch<'a> {
    pub entries: &'a [Entry],
    /// The indices of the entries, grouped by instance. The files of an instance are sorted from
    /// best to worst.
    files: Vec<usize>,
    /// The existing image rows, by SOP Instance UID.
    pub there: HashMap<Box<str>, Existing>,
    pub reach: Vec<Reach>,
    /// Whether this program inserted the row of the instance in an earlier run, for each entry.
    pub are_own_images: Vec<bool>,
    /// For each entry, the ID in the row of the patient that the entry belongs to, if that ID
    /// differs from the ID in the file.
    pub(super) patients: Vec<Option<Box<str>>>,
    /// The rows above the images that this batch found or inserted.
    pub rows: [HashMap<Box<str>, RowOf>; 3],
    /// The rows above the images that the run knew when the batch looked them up.
    pub known: KnownAbove,
    pub outcomes: Vec<Outcome>,
    /// Whether the file of each entry may become the indexed file of its instance. Rows above the
    /// images are inserted only for these files.
    pub(super) candidates: Vec<bool>,
    /// The series below which images were inserted.
    pub opened_series: BTreeSet<Box<str>>,
    /// The studies that the PACS has edited.
    pub edited: HashSet<String>,
    /// The instance in the file that a row named before, for each entry to whose file a row below
    /// an unfinished series was pointed.
    pub replaced: HashMap<usize, Instance>,
}

/// A snapshot of the rows above the images that the run knew when a batch looked them up. The run
/// may move these rows to disk while the batch is written.
#[derive(Clone, Default)]
pub struct KnownAbove {
    /// The study of each series.
    pub(super) studies: HashMap<Box<str>, Arc<str>>,
    /// The patient of each study.
    pub(super) patients: HashMap<Box<str>, Arc<str>>,
    /// The IDs and names in the rows of patients, by the collation keys of the IDs.
    pub(super) people: HashMap<Box<str>, (Arc<str>, Option<Name>)>,
    /// The series that are to be completed.
    pub completed_series: HashSet<Box<str>>,
}

impl<'a> Batch<'a> {
    pub fn new(entries: &'a [Entry], choice: &FileChoice) -> Self {
        let mut files: Vec<(&str, usize)> =
            entries.iter().enumerate().map(|(n, entry)| (entry.key(Level::Instance), n)).collect();
        files.sort_unstable();
        for files in files.chunk_by_mut(|(a, _), (b, _)| a == b).filter(|files| files.len() > 1) {
            let mut contenders: Vec<(Contender<'_>, usize)> =
                files.iter().map(|(_, n)| (choice.contender(&entries[*n]), *n)).collect();
            contenders.sort_by(|(a, _), (b, _)| choice.choice.compare(b, a));
            files.iter_mut().zip(contenders).for_each(|(file, (_, n))| file.1 = n);
        }
        Batch {
            entries,
            files: files.into_iter().map(|(_, n)| n).collect(),
            there: HashMap::default(),
            reach: vec![Reach::default(); entries.len()],
            are_own_images: vec![false; entries.len()],
            patients: vec![None; entries.len()],
            rows: Default::default(),
            known: KnownAbove::default(),
            outcomes: vec![Outcome::Duplicate { loser: None }; entries.len()],
            candidates: vec![false; entries.len()],
            opened_series: BTreeSet::new(),
            edited: HashSet::new(),
            replaced: HashMap::default(),
        }
    }

    /// Returns each instance with its files, the best file first.
    pub(super) fn images(&self) -> impl Iterator<Item = (&'a str, &[usize])> {
        let key = |n: usize| self.entries[n].key(Level::Instance);
        self.files.chunk_by(move |a, b| key(*a) == key(*b)).map(move |files| (key(files[0]), files))
    }

    /// Returns the best file of each instance that has no row. Files whose parent rows were
    /// rejected are skipped.
    pub fn without_row(&self) -> impl Iterator<Item = usize> {
        let images = self.images().filter(|(key, _)| !self.there.contains_key(*key));
        images.filter_map(|(_, files)| files.iter().copied().find(|n| !self.is_refused(*n)))
    }

    /// Returns each instance that has a row, with its files, the best file first, and with the row.
    /// Files whose parent rows were rejected are skipped.
    pub fn with_row(&self) -> Vec<(&'a str, Vec<usize>, Existing)> {
        let images = self.images().filter_map(|(key, files)| {
            let row = self.there.get(key)?;
            let files: Vec<usize> = files.iter().copied().filter(|n| !self.is_refused(*n)).collect();
            (!files.is_empty()).then(|| (key, files, row.clone()))
        });
        images.collect()
    }

    /// Returns the ID in the row of the patient that an entry belongs to.
    pub fn patient_id(&self, member: usize) -> &str {
        self.patients[member].as_deref().unwrap_or(self.entries[member].key(Level::Patient))
    }

    pub(super) fn is_refused(&self, member: usize) -> bool {
        matches!(self.outcomes[member], Outcome::Refused(_))
    }

    pub fn refuse(&mut self, member: usize, refusal: &Refusal) {
        self.outcomes[member] = Outcome::Refused(refusal.clone());
    }

    /// Records that the row of an image was inserted.
    pub fn inserted(&mut self, member: usize) {
        self.outcomes[member] = Outcome::Inserted;
        let series = self.entries[member].key(Level::Series);
        if !self.opened_series.contains(series) {
            self.opened_series.insert(series.into());
        }
    }

    /// Converts the batch to the result of the transaction.
    pub(super) fn into_attempt(self, opened: [BTreeSet<Box<str>>; 2], titles: Put) -> Attempt {
        let winners = self.winners();
        let Batch { rows, reach, outcomes, edited, .. } = self;
        Attempt { rows, reach, outcomes, winners, opened, edited, titles }
    }

    /// Returns the studies and series below which something was inserted.
    pub fn opened(&self) -> [BTreeSet<Box<str>>; 2] {
        let new = self.rows[Level::Series as usize].values().filter_map(|row| match row {
            RowOf::Inserted { member, .. } => Some(self.entries[*member].key(Level::Study).into()),
            RowOf::There(_) => None,
        });
        [new.collect(), self.opened_series.clone()]
    }

    /// Returns for each file that is not indexed the path of the indexed file of its instance.
    pub fn winners(&self) -> Vec<Option<Box<str>>> {
        let mut winners = vec![None; self.entries.len()];
        let is_loser = |n: &usize| self.outcomes[*n] == Outcome::Duplicate { loser: None };
        for (key, files) in self.images().filter(|(_, files)| files.iter().any(is_loser)) {
            let own = files.iter().copied().find(|n| !is_loser(n) && !self.is_refused(*n));
            let path = own.map(|n| self.entries[n].path.as_str()).or_else(|| Some(&self.there.get(key)?.path));
            files.iter().copied().filter(is_loser).for_each(|n| winners[n] = path.map(Into::into));
        }
        winners
    }

    pub fn put(&mut self, level: Level, identity: Box<str>, row: RowOf) {
        self.rows[level as usize].insert(identity, row);
    }

    /// Copies the known rows of a level that the entries belong to.
    pub(super) fn note_known(&mut self, level: Level, known: &Rows) {
        for (n, entry) in self.entries.iter().enumerate() {
            let (reach, key) = (&self.reach[n], entry.key(level));
            match level {
                Level::Series if reach.series && !self.known.studies.contains_key(key) => {
                    let Some(series) = known.series.get(key).filter(|series| series.is_row) else { continue };
                    self.known.studies.insert(key.into(), series.study.clone());
                    if series.row.is_to_be_completed() {
                        self.known.completed_series.insert(key.into());
                    }
                }
                Level::Study if reach.study && !self.known.patients.contains_key(key) => {
                    let Some(study) = known.studies.get(key).filter(|study| study.is_row) else { continue };
                    self.known.patients.insert(key.into(), study.patient.clone());
                    if study.edited {
                        self.edited.insert(key.to_owned());
                    }
                }
                Level::Patient => {
                    let Some(identity) = reach.patient.as_deref() else { continue };
                    let patient = known.patients.get(identity).filter(|patient| patient.is_row);
                    let patient = patient.filter(|_| !self.known.people.contains_key(identity));
                    let Some(patient) = patient else { continue };
                    let person = (patient.id.clone(), patient.name.as_deref().cloned());
                    self.known.people.insert(identity.into(), person);
                }
                _ => {}
            }
        }
    }

    /// Returns the collation keys of the rows of a level that entries belong to and that are not
    /// known yet, each with these entries, sorted by path.
    pub fn wanted(&self, level: Level, known: &Known) -> BTreeMap<Box<str>, Vec<usize>> {
        let known = known.lock();
        let mut wanted: BTreeMap<Box<str>, Vec<usize>> = BTreeMap::new();
        let is_wanted = |n: usize| self.candidates[n] && !self.is_refused(n);
        for (n, entry) in self.entries.iter().enumerate().filter(|(n, _)| is_wanted(*n)) {
            let reach = &self.reach[n];
            let identity = match level {
                Level::Patient => reach.patient.as_deref(),
                Level::Study => reach.study.then(|| entry.key(level)),
                _ => reach.series.then(|| entry.key(level)),
            };
            let Some(identity) = identity else { continue };
            if !known.knows(level, identity) && !self.rows[level as usize].contains_key(identity) {
                match wanted.get_mut(identity) {
                    Some(members) => members.push(n),
                    None => drop(wanted.insert(identity.into(), vec![n])),
                }
            }
        }
        for members in wanted.values_mut() {
            members.sort_by_key(|n| &self.entries[*n].path);
        }
        wanted
    }

    /// Returns the key by which a row is looked up.
    pub(super) fn key(&self, level: Level, member: usize) -> &str {
        match level {
            Level::Patient => self.patient_id(member),
            _ => self.entries[member].key(level),
        }
    }

    /// Returns the name in the row of the patient that an entry belongs to.
    pub fn patient_name(&self, member: usize) -> Option<Name> {
        let identity = self.reach[member].patient.as_deref()?;
        match self.rows[Level::Patient as usize].get(identity) {
            Some(RowOf::There(row)) => row.name.clone(),
            Some(RowOf::Inserted { member, .. }) => Some(self.entries[*member].patient_name()),
            None => self.known.people.get(identity).and_then(|(_, name)| name.clone()),
        }
    }

    /// Returns the ID of the patient that an entry belongs to, in the spelling of the patient's
    /// row.
    pub fn spelled_patient_id(&self, member: usize) -> &str {
        let row = self.reach[member].patient.as_deref().and_then(|identity| {
            match self.rows[Level::Patient as usize].get(identity) {
                Some(RowOf::There(row)) => Some(row.key.as_str()),
                Some(RowOf::Inserted { patient, .. }) => Some(&**patient),
                None => self.known.people.get(identity).map(|(id, _)| &**id),
            }
        });
        row.unwrap_or_else(|| self.patient_id(member))
    }
}
