//! What a batch finds in the index before it writes: from the images upwards, which rows are there, and of which of
//! them each file says something.
//!
//! A file says nothing of a series, study or patient that the index does not link it to: the PACS may have moved the
//! study to another patient, and what the file says of the former one is then nobody's.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use super::batch::Writer;
use super::duplicates::{Contender, FileChoice};
use super::existing::Mode;
use super::known::{Known, Reach, Rows};
use super::names::{self, Name};
use super::outcome::Outcome;
use super::{Entry, Existing, Failure, Look, Refusal, Show, View};
use crate::dicom::{Instance, Level, Table};

/// A batch while it is written.
#[derive(Clone)]
pub struct Batch<'a> {
    pub entries: &'a [Entry],
    /// By instance, and of each the best first.
    files: Vec<usize>,
    /// Image rows that were there.
    pub there: HashMap<Box<str>, Existing>,
    pub reach: Vec<Reach>,
    /// Of each entry whether this program has inserted the row of its instance in an earlier run.
    pub are_own_images: Vec<bool>,
    /// The ID in the row of the patient that an entry reaches, where it is another than the file's.
    patients: Vec<Option<Box<str>>>,
    /// Rows above the images that this batch found or inserted.
    pub rows: [HashMap<Box<str>, RowOf>; 3],
    /// Rows above the images that the run knew when the batch looked.
    pub known: KnownAbove,
    pub outcomes: Vec<Outcome>,
    /// The entries whose file may become that of their instance. Rows above the images are inserted for these alone.
    pub(super) candidates: Vec<bool>,
    /// Series below which images were inserted.
    pub opened_series: BTreeSet<Box<str>>,
    /// Studies that the PACS has edited.
    pub edited: HashSet<String>,
    /// The instance in the file that a row named before, for each entry to which a row below an unfinished series was pointed.
    pub replaced: HashMap<usize, Instance>,
}

/// What a run knew of rows above the images when a batch looked. The run may write rows to disk while the batch is written.
#[derive(Clone, Default)]
pub struct KnownAbove {
    /// The studies of series.
    studies: HashMap<Box<str>, Arc<str>>,
    /// The patients of studies.
    patients: HashMap<Box<str>, Arc<str>>,
    /// The IDs and names in the rows of patients, by the identities of the IDs.
    people: HashMap<Box<str>, (Arc<str>, Option<Name>)>,
    /// Series that are to be completed.
    pub completed_series: HashSet<Box<str>>,
}

/// A row above the images.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowOf {
    There(Existing),
    Inserted {
        /// As this entry says.
        member: usize,
        patient: Box<str>,
    },
}

impl RowOf {
    pub fn link(&self) -> Option<&str> {
        match self {
            RowOf::There(row) => Some(&row.link),
            RowOf::Inserted { .. } => None,
        }
    }

    /// The link of a row that this program has not inserted.
    fn foreign_link(&self) -> Option<&str> {
        match self {
            RowOf::There(row) if row.history.is_none() => Some(&row.link),
            _ => None,
        }
    }

    /// It was inserted as this entry says.
    pub fn is_told_by(&self, entry: usize) -> bool {
        matches!(self, RowOf::Inserted { member, .. } if *member == entry)
    }
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

    /// Each instance, and its files, the best first.
    pub(super) fn images(&self) -> impl Iterator<Item = (&'a str, &[usize])> {
        let key = |n: usize| self.entries[n].key(Level::Instance);
        self.files.chunk_by(move |a, b| key(*a) == key(*b)).map(move |files| (key(files[0]), files))
    }

    /// Of each instance that has no row the best file whose rows above are there.
    pub fn without_row(&self) -> impl Iterator<Item = usize> {
        let images = self.images().filter(|(key, _)| !self.there.contains_key(*key));
        images.filter_map(|(_, files)| files.iter().copied().find(|n| !self.is_refused(*n)))
    }

    /// Each instance that has a row, its files whose rows above are there, the best first, and the row.
    pub fn with_row(&self) -> Vec<(&'a str, Vec<usize>, Existing)> {
        let images = self.images().filter_map(|(key, files)| {
            let row = self.there.get(key)?;
            let files: Vec<usize> = files.iter().copied().filter(|n| !self.is_refused(*n)).collect();
            (!files.is_empty()).then(|| (key, files, row.clone()))
        });
        images.collect()
    }

    /// The ID in the row of the patient that an entry reaches.
    pub fn patient_id(&self, member: usize) -> &str {
        self.patients[member].as_deref().unwrap_or(self.entries[member].key(Level::Patient))
    }

    pub(super) fn is_refused(&self, member: usize) -> bool {
        matches!(self.outcomes[member], Outcome::Refused(_))
    }

    pub fn refuse(&mut self, member: usize, refusal: &Refusal) {
        self.outcomes[member] = Outcome::Refused(refusal.clone());
    }

    /// The row of an image was inserted.
    pub fn inserted(&mut self, member: usize) {
        self.outcomes[member] = Outcome::Inserted;
        let series = self.entries[member].key(Level::Series);
        if !self.opened_series.contains(series) {
            self.opened_series.insert(series.into());
        }
    }

    /// The studies and series below which something was inserted.
    pub fn opened(&self) -> [BTreeSet<Box<str>>; 2] {
        let new = self.rows[Level::Series as usize].values().filter_map(|row| match row {
            RowOf::Inserted { member, .. } => Some(self.entries[*member].key(Level::Study).into()),
            RowOf::There(_) => None,
        });
        [new.collect(), self.opened_series.clone()]
    }

    /// Of files that are not indexed, the path of the one that is.
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

    /// Notes what the run knows of the rows of a level that entries reach.
    fn note_known(&mut self, level: Level, known: &Rows) {
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

    /// The identities of a level that entries reach and nobody knows, and those entries, by path.
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

    /// The key by which a row is looked for.
    fn key(&self, level: Level, member: usize) -> &str {
        match level {
            Level::Patient => self.patient_id(member),
            _ => self.entries[member].key(level),
        }
    }

    /// The name in the row of the patient that an entry reaches.
    pub fn patient_name(&self, member: usize) -> Option<Name> {
        let identity = self.reach[member].patient.as_deref()?;
        match self.rows[Level::Patient as usize].get(identity) {
            Some(RowOf::There(row)) => row.name.clone(),
            Some(RowOf::Inserted { member, .. }) => Some(self.entries[*member].patient_name()),
            None => self.known.people.get(identity).and_then(|(_, name)| name.clone()),
        }
    }

    /// The ID of the patient that an entry reaches, as the patient's row spells the ID.
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

impl Writer {
    /// Which rows are there, and how far each entry reaches up.
    pub(super) fn look(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        let ids: Vec<&str> = batch.entries.iter().map(|entry| entry.key(Level::Patient)).collect();
        self.learn_identities(&ids)?;
        self.find_images(batch)?;
        self.choose_candidates(batch);
        self.learn_own_images(batch);
        self.look_above(batch)
    }

    /// Finds the rows of the instances of a batch.
    pub(super) fn find_images(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        if self.looks_first(Level::Instance) {
            let show = match self.policy.mode {
                Mode::Fill | Mode::Complete => Show::Nulls,
                Mode::Refresh => Show::Values,
            };
            let keys: Vec<&str> = batch.images().map(|(key, _)| key).collect();
            let found = self.index.find(Table::Image, &keys, Look { view: View::Begun, show })?;
            let found = found.into_iter().filter(|row| !self.is_left(Table::Image, &row.key));
            batch.there = found.map(|row| (row.key.as_str().into(), row)).collect();
        }
        Ok(())
    }

    /// Finds the rows above the images that the files of a batch may determine.
    pub(super) fn look_above(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        self.reach_series(batch);
        self.look_above_series(batch)
    }

    /// The same, if it is known which files may determine their series.
    pub(super) fn look_above_series(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        self.look_for(Level::Series, batch)?;
        self.reach_studies(batch);
        self.look_for(Level::Study, batch)?;
        self.reach_patients(batch)?;
        self.look_for(Level::Patient, batch)?;
        self.look_for_names(batch)
    }

    /// Looks up the names of patients that the run has inserted and written to disk since.
    fn look_for_names(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        let is_unknown = |n: &usize| {
            let identity = batch.reach[*n].patient.as_deref();
            identity.is_some_and(|identity| {
                !batch.known.people.contains_key(identity)
                    && !batch.rows[Level::Patient as usize].contains_key(identity)
                    && self.known.lock().knows(Level::Patient, identity)
            })
        };
        let unknown: BTreeSet<&str> =
            (0..batch.entries.len()).filter(is_unknown).map(|n| batch.patient_id(n)).collect();
        let look = Look { view: View::Begun, show: Show::Nothing };
        let found = self.index.find(Table::Patient, &Vec::from_iter(unknown), look)?;
        let mut known = self.known.lock();
        for Existing { key, identity, name, .. } in found {
            known.learn_name(&identity, &key, name.clone());
            batch.known.people.insert(identity.into(), (key.into(), name));
        }
        Ok(())
    }

    /// Looks up the rows of a level that entries reach and that are not known yet.
    fn look_for(&mut self, level: Level, batch: &mut Batch<'_>) -> Result<(), Failure> {
        batch.note_known(level, &self.known.lock());
        if !self.looks_first(level) {
            return Ok(());
        }
        let wanted = batch.wanted(level, &self.known);
        let keys: Vec<&str> = wanted.values().map(|members| batch.key(level, members[0])).collect();
        let found = self.find_rows(level, &keys)?;
        if level == Level::Study && self.policy.mode != Mode::Fill {
            let keys: Vec<&str> = found.iter().map(|row| row.key.as_str()).collect();
            batch.edited.extend(self.index.edited(Level::Study, &keys)?);
        }
        for row in found {
            batch.put(level, row.identity.as_str().into(), RowOf::There(row));
        }
        Ok(())
    }

    /// Finds rows of a level, and what the ledger has of them.
    pub(super) fn find_rows(&mut self, level: Level, keys: &[&str]) -> Result<Vec<Existing>, Failure> {
        let found = self.index.find(level.table(), keys, Look { view: View::Begun, show: Show::Nothing })?;
        let mut found = Vec::from_iter(found.into_iter().filter(|row| !self.is_left(level.table(), &row.key)));
        self.learn_histories(level, &mut found)?;
        if level == Level::Patient && self.policy.mode == Mode::Complete {
            self.learn_unfinished_patients(&mut found)?;
        }
        Ok(found)
    }

    fn reach_series(&self, batch: &mut Batch<'_>) {
        let known = self.known.lock();
        for ((entry, reach), is_own) in batch.entries.iter().zip(&mut batch.reach).zip(&batch.are_own_images) {
            let key = entry.key(Level::Instance);
            let row = batch.there.get(key).filter(|_| !is_own && !known.is_ours(Level::Instance, key));
            reach.series = row.is_none_or(|row| row.link == entry.link(Level::Instance));
        }
    }

    fn reach_studies(&self, batch: &mut Batch<'_>) {
        let known = self.known.lock();
        for (entry, reach) in batch.entries.iter().zip(&mut batch.reach).filter(|(_, reach)| reach.series) {
            let key = entry.key(Level::Series);
            let link = match batch.known.studies.get(key) {
                Some(study) => Some(&**study),
                None => batch.rows[Level::Series as usize].get(key).and_then(RowOf::foreign_link),
            };
            let link = link.filter(|_| !known.is_ours(Level::Series, key));
            reach.study = link.is_none_or(|link| link == entry.link(Level::Series));
        }
    }

    fn reach_patients(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        let links: Vec<&str> = batch.rows[Level::Study as usize].values().filter_map(RowOf::link).collect();
        let bases: Vec<&str> = links.iter().map(|link| names::base(link)).collect();
        let ids = batch.entries.iter().map(|entry| entry.key(Level::Patient)).collect();
        self.learn_identities(&[links, bases, ids].concat())?;
        let provisional = self.provisional_patients(batch)?;
        let known = self.known.lock();
        let identity = |id: &str| known.identities.get(id).cloned();
        for (n, entry) in batch.entries.iter().enumerate() {
            if !batch.reach[n].study {
                continue;
            }
            let key = entry.key(Level::Study);
            let link = match batch.known.patients.get(key) {
                Some(patient) => Some(&**patient),
                None => batch.rows[Level::Study as usize].get(key).and_then(RowOf::foreign_link),
            };
            let id = entry.key(Level::Patient);
            let patient = match link.filter(|_| !known.is_ours(Level::Study, key)) {
                None => Some(id),
                // Or it was there and lacks its patient: which, and who else it names, is known when slices are settled.
                Some(link) if provisional.contains(link) => (identity(names::base(link)) == identity(id)).then_some(id),
                // What the index calls the patient now.
                Some(link) => {
                    [link, names::base(link)].iter().any(|link| identity(link) == identity(id)).then_some(link)
                }
            };
            batch.reach[n].patient = patient.and_then(identity);
            batch.patients[n] = patient.filter(|patient| *patient != id).map(Into::into);
        }
        Ok(())
    }

    /// IDs with a suffix that studies bear until slices are settled: no patient has them yet, and one has the ID itself.
    fn provisional_patients(&mut self, batch: &Batch<'_>) -> Result<BTreeSet<String>, Failure> {
        if !self.policy.in_slice {
            return Ok(BTreeSet::new());
        }
        let mut suffixed: BTreeSet<String> = {
            let known = self.known.lock();
            let of_entry =
                |entry: &Entry| known.studies.get(entry.key(Level::Study)).map(|study| study.patient.to_string());
            let of_batch = batch.rows[Level::Study as usize].values().filter_map(RowOf::link).map(str::to_owned);
            batch.entries.iter().filter_map(of_entry).chain(of_batch).filter(|id| names::has_own_suffix(id)).collect()
        };
        let ids: Vec<&str> = suffixed.iter().flat_map(|id| [id, names::base(id)]).collect();
        self.learn_identities(&ids)?;
        let look = Look { view: View::Begun, show: Show::Nothing };
        let there: HashSet<String> =
            self.index.find(Table::Patient, &ids, look)?.into_iter().map(|row| row.identity).collect();
        let known = self.known.lock();
        let is_there = |id: &str| known.identities.get(id).is_some_and(|identity| there.contains(&**identity));
        suffixed.retain(|id| !is_there(id) && is_there(names::base(id)));
        Ok(suffixed)
    }

    /// Asks the database which Patient IDs are one key to it.
    pub(super) fn learn_identities(&mut self, ids: &[&str]) -> Result<(), Failure> {
        let unseen: BTreeSet<&str> = {
            let mut known = self.known.lock();
            ids.iter().copied().filter(|id| !known.identities.keep(id)).collect()
        };
        if unseen.is_empty() {
            return Ok(());
        }
        let unseen = Vec::from_iter(unseen);
        let identities = self.index.identities(&unseen)?;
        let mut known = self.known.lock();
        for (id, identity) in unseen.into_iter().zip(identities) {
            known.learn_identity(id, &identity);
        }
        Ok(())
    }
}
