//! The patients, studies and series that a run has found or inserted, shared by all writers of the run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::existing::Mode;
use super::fold::{Fold, Shape};
use super::hashes::Hashes;
use super::known_row::{Patient, Row, Series, Study};
use super::patience::Tried;
use super::settlement::OwnValues;
use super::{Entry, Existing, Failure, LEVELS, Tables, order};
use crate::dicom::Level;

/// The rows that a run knows. The clones that its writers have share them.
#[derive(Clone)]
pub struct Known {
    rows: Arc<Mutex<Rows>>,
    /// Images of the last transaction that each writer has committed, by the number of the writer: a server that has none of
    /// the images of one writer has lost commits.
    witnesses: Arc<Mutex<BTreeMap<u32, Vec<Tried>>>>,
}

impl Known {
    /// Creates the knowledge of a run that has just begun. Hashes of images that exceed the memory go to temporary files in
    /// a directory.
    pub fn new(tables: &Tables, directory: &Path, mode: Mode) -> Self {
        let shapes = [Level::Patient, Level::Study, Level::Series].map(|level| Shape::of(tables, level));
        let [inserted, corrected, titled, contended] = [(); 4].map(|()| Hashes::new(directory));
        let rows = Rows {
            shapes,
            completes: mode == Mode::Complete,
            inserted,
            corrected,
            titled,
            contended,
            ..Rows::default()
        };
        Known { rows: Arc::new(Mutex::new(rows)), witnesses: Arc::default() }
    }

    /// Takes all rows out. The run knows none afterwards.
    pub fn take(&self) -> Rows {
        std::mem::take(&mut self.lock())
    }

    pub fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a writer has committed a transaction that inserted these images.
    pub fn set_witnesses(&self, writer: u32, images: Vec<Tried>) {
        self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).insert(writer, images);
    }

    /// The witnesses of all writers.
    pub fn witnesses(&self) -> Vec<Vec<Tried>> {
        self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Rows by their keys. An archive has a hundred thousand series and more: each key is in memory once.
#[derive(Default)]
pub struct Rows {
    pub shapes: [Shape; 3],
    /// Rows that look unfinished and are not this program's are completed.
    pub completes: bool,
    /// The studies, and the series, of files whose images are linked to other series; only if rows are completed.
    pub unlinked: [BTreeSet<Box<str>>; 2],
    /// Patients, by the identity of their ID.
    pub patients: HashMap<Arc<str>, Patient>,
    pub studies: HashMap<Arc<str>, Study>,
    pub series: HashMap<Arc<str>, Series>,
    /// The identity of each Patient ID, as far as the database was asked.
    pub identities: HashMap<Arc<str>, Arc<str>>,
    /// Keys of rows that transactions of this run are inserting, and how many: a writer that runs into one that another
    /// claims knows that it is ours.
    claims: [HashMap<Box<str>, u32>; 3],
    /// Images that this run inserted.
    inserted: Hashes,
    /// Images that were there before, and whose path this run has corrected.
    corrected: Hashes,
    /// Images whose title this run has inserted.
    titled: Hashes,
    /// Images of which slices had several files.
    contended: Hashes,
    /// The series of images that were pointed to a better file. The values of the former files are in the rows above.
    pub displaced: BTreeSet<Box<str>>,
    /// The keys of the rows whose values are folded again, by level, and by the identity of the patient or by the UID.
    pub folded_again: [BTreeMap<Box<str>, Box<str>>; 3],
    /// The IDs of patients that were folded again, by identity.
    pub displaced_patients: BTreeMap<Box<str>, Box<str>>,
    scratch: (Vec<u8>, Vec<u8>),
}

/// The hash of an image's key: ten million keys would not fit into memory.
fn hash(key: &str) -> u64 {
    xxh3_64(key.as_bytes())
}

fn hash_of_path(key: &str, path: &str) -> u64 {
    xxh3_64([key, path].join("\0").as_bytes())
}

impl Rows {
    pub fn claim(&mut self, level: Level, key: &str) {
        *self.claims[level as usize].entry(key.into()).or_default() += 1;
    }

    pub fn disclaim(&mut self, level: Level, key: &str) {
        let claims = &mut self.claims[level as usize];
        match claims.get_mut(key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(claims.remove(key)),
        }
    }

    /// A row that a lookup or an insert came upon was inserted by this run.
    pub fn is_ours(&self, level: Level, key: &str) -> bool {
        let known = match level {
            Level::Patient => self.patients.get(key).map(|patient| patient.ours),
            Level::Study => self.studies.get(key).map(|study| study.row.is_ours()),
            Level::Series => self.series.get(key).map(|series| series.row.is_ours()),
            Level::Instance => Some(self.inserted.contains(hash(key))),
        };
        known.unwrap_or(false) || (level != Level::Instance && self.claims[level as usize].contains_key(key))
    }

    /// A row was inserted by this run, and not by an earlier one or another program.
    pub fn is_of_this_run(&self, level: Level, key: &str) -> bool {
        let known = match level {
            Level::Patient => self.patients.get(key).map(|patient| patient.ours && patient.history.is_none()),
            Level::Study => self.studies.get(key).map(|study| study.row.is_of_this_run()),
            Level::Series => self.series.get(key).map(|series| series.row.is_of_this_run()),
            Level::Instance => Some(self.inserted.contains(hash(key))),
        };
        known.unwrap_or(false) || (level != Level::Instance && self.claims[level as usize].contains_key(key))
    }

    pub fn knows(&self, level: Level, key: &str) -> bool {
        match level {
            Level::Patient => self.patients.contains_key(key),
            Level::Study => self.studies.contains_key(key),
            Level::Series => self.series.contains_key(key),
            Level::Instance => false,
        }
    }

    /// Identity and key of each row of a level.
    pub fn keys(&self, level: Level) -> Vec<(String, String)> {
        let same = |key: &str| (key.to_owned(), key.to_owned());
        match level {
            Level::Patient => self.patients.iter().map(|(key, row)| (key.to_string(), row.id.to_string())).collect(),
            Level::Study => self.studies.keys().map(|key| same(key)).collect(),
            Level::Series => self.series.keys().map(|key| same(key)).collect(),
            Level::Instance => Vec::new(),
        }
    }

    /// A row is not there any more.
    pub fn forget(&mut self, level: Level, identity: &str) {
        match level {
            Level::Patient => drop(self.patients.remove(identity)),
            Level::Study => drop(self.studies.remove(identity)),
            Level::Series => drop(self.series.remove(identity)),
            Level::Instance => {}
        }
    }

    /// Something was inserted below a study or series.
    pub fn is_open(&self, level: Level, key: &str) -> bool {
        match level {
            Level::Study => self.studies.get(key).is_some_and(|study| study.open),
            _ => self.series.get(key).is_some_and(|series| series.open),
        }
    }

    /// A transaction is about to commit that the row of an image names this path.
    pub fn image_names(&mut self, key: &str, path: &str) {
        self.inserted.insert(hash_of_path(key, path));
    }

    /// This run may have written the path into the row of the image.
    pub fn has_named(&self, key: &str, path: &str) -> bool {
        self.inserted.contains(hash_of_path(key, path))
    }

    pub fn image_was_inserted(&mut self, key: &str) {
        self.inserted.insert(hash(key));
    }

    pub fn image_was_corrected(&mut self, key: &str) {
        self.corrected.insert(hash(key));
    }

    /// The transaction that was to correct it has failed.
    pub fn image_was_not_corrected(&mut self, key: &str) {
        self.corrected.remove(hash(key));
    }

    pub fn is_corrected(&self, key: &str) -> bool {
        self.corrected.contains(hash(key))
    }

    pub fn title_was_inserted(&mut self, key: &str) {
        self.titled.insert(hash(key));
    }

    pub fn is_titled(&self, key: &str) -> bool {
        self.titled.contains(hash(key))
    }

    pub fn image_was_contended(&mut self, key: &str) {
        self.contended.insert(hash(key));
    }

    pub fn is_contended(&self, key: &str) -> bool {
        self.contended.contains(hash(key))
    }

    /// Fails if hashes of images could not be kept.
    pub fn check_images(&self) -> Result<(), Failure> {
        let images = [&self.inserted, &self.corrected, &self.titled, &self.contended];
        let failure = images.into_iter().find_map(Hashes::failure);
        failure.map_or(Ok(()), |why| Err(Failure::Lost(format!("a temporary file cannot be read: {why}"))))
    }

    /// Drops the hashes of images.
    pub fn forget_images(&mut self) {
        (self.inserted, self.corrected, self.titled, self.contended) = Default::default();
    }

    pub fn learn_identity(&mut self, id: &str, identity: &str) {
        let id: Arc<str> = id.into();
        let identity = if *id == *identity { id.clone() } else { identity.into() };
        self.identities.insert(id, identity);
    }

    fn patient_id(&self, id: &str) -> Arc<str> {
        self.identities.get_key_value(id).map_or_else(|| id.into(), |(id, _)| id.clone())
    }

    fn study_key(&self, key: &str) -> Arc<str> {
        self.studies.get_key_value(key).map_or_else(|| key.into(), |(key, _)| key.clone())
    }

    /// The key of a patient with this ID.
    fn patient_key(&self, identity: &str, id: &str) -> Arc<str> {
        let known = self.identities.get(id).filter(|known| ***known == *identity);
        known.map_or_else(|| identity.into(), Arc::clone)
    }

    /// A row was there.
    pub fn found(&mut self, level: Level, identity: &str, row: &Existing) {
        match level {
            Level::Patient => {
                let (key, id) = (self.patient_key(identity, &row.key), self.patient_id(&row.key));
                let name = row.name.clone().map(Arc::new);
                let (history, ours) = (row.history.clone(), row.history.is_some());
                let is_unfinished = row.is_unfinished;
                let is_completed = self.completes && !ours && is_unfinished;
                let patient = || Patient { id, name, ours, history, is_unfinished, is_completed, ..Patient::default() };
                self.patients.entry(key).or_insert_with(patient);
            }
            Level::Study => {
                let patient = self.patient_id(&row.link);
                let (of_row, is_unfinished) = (Row::found(row, self.completes), row.is_unfinished);
                let study = || Study { row: of_row, patient, is_unfinished, ..Study::default() };
                self.studies.entry(identity.into()).or_insert_with(study);
            }
            Level::Series => {
                let study = self.study_key(&row.link);
                let (of_row, is_unfinished) = (Row::found(row, self.completes), row.is_unfinished);
                let series = || Series { row: of_row, study, is_unfinished, ..Series::default() };
                self.series.entry(identity.into()).or_insert_with(series);
            }
            Level::Instance => {}
        }
    }

    /// A row was inserted as an entry says, with this Patient ID. Another writer may have come upon it already.
    pub fn inserted(&mut self, level: Level, identity: &str, entry: &Entry, id: &str) {
        let packed = &mut self.scratch.1;
        self.shapes[level as usize].pack(entry, packed);
        let own = Some(OwnValues::ThisRun(Arc::from(packed.as_slice())));
        match level {
            Level::Patient => {
                let (key, id) = (self.patient_key(identity, id), self.patient_id(id));
                let patient = self.patients.entry(key).or_default();
                let name = Arc::new(entry.patient_name());
                patient.named.entry(name.clone()).own = own;
                (patient.ours, patient.id, patient.name) = (true, id, Some(name));
            }
            Level::Study => {
                let patient = self.patient_id(id);
                let study = self.studies.entry(identity.into()).or_default();
                study.row.own = own;
                (study.patient, study.received, study.open) = (patient, entry.received().into(), true);
            }
            Level::Series => {
                let key = self.study_key(entry.key(Level::Study));
                self.studies.get_mut(&key).into_iter().for_each(|study| study.open = true);
                let series = self.series.entry(identity.into()).or_default();
                series.row.own = own;
                (series.study, series.open) = (key, true);
            }
            Level::Instance => {}
        }
    }

    /// Opens the series of a file that is not indexed. The image may have been in this series before a better file took its
    /// place, or not: derived columns must not depend on the order.
    pub fn open_contended(&mut self, entry: &Entry) {
        if self.is_ours(Level::Instance, entry.key(Level::Instance)) {
            self.series.get_mut(entry.key(Level::Series)).into_iter().for_each(|series| series.open = true);
        }
    }

    /// Adds the values of an entry to the rows above it.
    pub fn add(&mut self, entry: &Entry, reach: &Reach) {
        let Rows { shapes, completes, unlinked, patients, studies, series, scratch: (order, scratch), .. } = self;
        order::of(entry, order);
        if *completes && !reach.series {
            note_unlinked(unlinked, entry);
        }
        if reach.series
            && let Some(series) = series.get_mut(entry.key(Level::Series))
        {
            series.row.add(&shapes[Level::Series as usize], entry, order, scratch);
            series.link_differs |= !reach.study;
            series.link_agrees |= reach.study;
            let study = entry.key(Level::Study);
            if reach.study && *series.study != *study {
                series.others.insert(study.into());
            }
        }
        if reach.study
            && let Some(study) = studies.get_mut(entry.key(Level::Study))
        {
            study.row.add(&shapes[Level::Study as usize], entry, order, scratch);
            study.link_differs |= reach.patient.is_none();
            study.link_agrees |= reach.patient.is_some();
        }
        if let Some(patient) = reach.patient.as_ref().and_then(|identity| patients.get_mut(&**identity)) {
            patient.note_spelling(entry, studies);
            let keeps_all = *completes && patient.keeps_all();
            let row = patient.named_by(entry);
            if keeps_all {
                row.fold.keep_all();
            }
            row.add(&shapes[Level::Patient as usize], entry, order, scratch);
        }
    }

    /// Notes a file that is not indexed, which determines no value. Only rows that are completed need its values: such a row may
    /// contain one of them, which a run that was lost had written before it met a better file.
    pub fn add_unchosen(&mut self, entry: &Entry, reach: &Reach) {
        // The file was read all the same: the run knows the study that a patient's row is linked to.
        let study = self.studies.get_mut(entry.key(Level::Study)).filter(|_| reach.study && reach.patient.is_some());
        study.into_iter().for_each(|study| study.link_agrees = true);
        if !self.completes {
            return;
        }
        let Rows { shapes, unlinked, patients, studies, series, scratch: (_, packed), .. } = self;
        if !reach.series {
            note_unlinked(unlinked, entry);
        }
        let mut add = |level: Level, fold: &mut Fold| {
            shapes[level as usize].pack(entry, packed);
            fold.add_unchosen(packed);
        };
        let of_series = series.get_mut(entry.key(Level::Series)).filter(|_| reach.series);
        of_series.into_iter().for_each(|series| add(Level::Series, &mut series.row.fold));
        let of_study = studies.get_mut(entry.key(Level::Study)).filter(|_| reach.study);
        of_study.into_iter().for_each(|study| add(Level::Study, &mut study.row.fold));
        if let Some(patient) = reach.patient.as_ref().and_then(|identity| patients.get_mut(&**identity))
            && patient.keeps_all()
        {
            let row = patient.named_by(entry);
            row.fold.keep_all();
            add(Level::Patient, &mut row.fold);
        }
    }
}

/// Notes the rows that a file names whose image is linked to another series.
fn note_unlinked(unlinked: &mut [BTreeSet<Box<str>>; 2], entry: &Entry) {
    unlinked[0].insert(entry.key(Level::Study).into());
    unlinked[1].insert(entry.key(Level::Series).into());
}

/// The rows above an image whose values its file may determine: not those that the index links otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    pub series: bool,
    pub study: bool,
    /// The identity of the patient.
    pub patient: Option<Arc<str>>,
}

/// The levels above the image.
pub const PARENTS: [Level; 3] = [LEVELS[0], LEVELS[1], LEVELS[2]];
