//! The rows that a run knows: which of them this program inserted, and the values of the instances
//! below them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use foldhash::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::fold::{Fold, Shape};
use super::identity_cache::Identities;
use super::known_row::{Patient, Row, Series, Study};
use super::order;
use super::own_values::OwnValues;
use crate::dicom::Level;
use crate::disk::aggregate::{Aggregate, Part};
use crate::index::existing::Mode;
use crate::index::hashes::Hashes;
use crate::index::outcome::Reach;
use crate::index::patient_name::{self, Name};
use crate::index::{Entry, Existing, Failure, Tables};

/// The number of bytes of rows of each kind that are kept in memory.
const ROWS_IN_MEMORY: usize = 4 << 20;

/// The approximate size of a row in bytes.
const ROW: usize = 1024;

/// The number of Patient IDs whose collation key is cached, in each of the two generations of the
/// cache.
const IDENTITIES_IN_MEMORY: usize = 50_000;

/// The number of names and studies of one Patient ID that are decided about in memory.
const MEMBERS_IN_MEMORY: usize = 5000;

/// The number of hashes, and of collation keys, in memory for each file of a portion whose size is
/// fixed.
const HASHES_OF_FILE: usize = 16;
const IDENTITIES_OF_FILE: usize = 4;

/// The rows of a level that this program inserted, as hashes of their keys.
struct OwnRows {
    of_this_run: Hashes,
    of_earlier_runs: Hashes,
}

/// The rows that a run has found or inserted. Rows that were not touched lately are on disk. Until
/// all instances are read, the run knows of these only whether this program inserted them.
pub struct Rows {
    pub shapes: [Shape; 3],
    /// Whether rows that look unfinished and that this program did not insert are completed.
    pub completes: bool,
    /// The studies and the series of files whose images are linked to other series. Filled only if
    /// rows are completed.
    pub unlinked: [BTreeSet<Box<str>>; 2],
    /// The patients, by the collation key of their ID.
    pub patients: Aggregate<Patient>,
    /// The values of instances, by the collation key of the Patient ID and by the name.
    pub people: Aggregate<Row>,
    pub studies: Aggregate<Study>,
    pub series: Aggregate<Series>,
    pub identities: Identities,
    /// The number of names and studies of one Patient ID that are decided about in memory.
    pub members_in_memory: usize,
    own_rows: [OwnRows; 3],
    /// Whether a patient was found or inserted whose ID has a suffix.
    pub has_suffixed_patients: bool,
    /// Whether a row was found that an earlier run inserted, or that looks unfinished.
    pub has_earlier_rows: bool,
    /// The keys of rows that transactions of this run are inserting, with the number of these
    /// transactions. A writer whose insert conflicts with a claimed row knows that this run
    /// inserted the row.
    claims: [HashMap<Box<str>, u32>; 3],
    /// The images that this run inserted.
    inserted: Hashes,
    /// The existing images whose path this run has corrected.
    corrected: Hashes,
    /// The images whose title this run has inserted.
    titled: Hashes,
    /// The studies of other programs whose files name the patient in the row, together with that
    /// patient.
    linked: Hashes,
    /// The IDs that the killed run has given to patients.
    given: Hashes,
    /// The studies of other programs that are edited, or whose files name another patient.
    kept: Hashes,
    /// The studies whose series are not completed because the study is edited, or because no file
    /// names the patient in the row.
    not_completed: Hashes,
    /// The studies below which series were inserted or withdrawn, as determined by the closing
    /// step.
    reopened: Hashes,
    /// The series of images that were pointed to a better file. The rows above these images contain
    /// values of the former files.
    pub displaced: BTreeSet<Box<str>>,
    /// The keys of the rows whose values are recomputed, by level, and by the collation key of the
    /// Patient ID or by the UID.
    pub folded_again: [BTreeMap<Box<str>, Box<str>>; 3],
    /// The series and studies in `folded_again` that an image may have left in this run.
    pub(super) moved_from: BTreeSet<Box<str>>,
    scratch: (Vec<u8>, Vec<u8>),
}

/// Returns the hash of an image's key: the keys of ten million images would not fit into memory.
fn hash(key: &str) -> u64 {
    xxh3_64(key.as_bytes())
}

fn hash_of_path(key: &str, path: &str) -> u64 {
    xxh3_64([key, path].join("\0").as_bytes())
}

impl Rows {
    /// Creates the state of a run that has just begun. Rows and hashes that exceed the memory limit
    /// are written to temporary files in a directory. `portion` is the number of files in a
    /// transaction, if it is fixed. Then only a few rows, hashes and collation keys for each file
    /// are kept in memory.
    pub(super) fn new(tables: &Tables, directory: &Path, mode: Mode, portion: Option<usize>) -> Self {
        let hashes = || match portion {
            Some(files) => Hashes::with_limit(directory, files.saturating_mul(HASHES_OF_FILE).max(100)),
            None => Hashes::new(directory),
        };
        let identities = portion.map_or(IDENTITIES_IN_MEMORY, |files| files.saturating_mul(IDENTITIES_OF_FILE));
        let in_memory = portion.map_or(ROWS_IN_MEMORY, |files| files.saturating_mul(ROW));
        Rows {
            shapes: [Level::Patient, Level::Study, Level::Series].map(|level| Shape::of(tables, level)),
            completes: mode == Mode::Complete,
            unlinked: Default::default(),
            patients: Aggregate::new(directory, in_memory),
            people: Aggregate::new(directory, in_memory),
            studies: Aggregate::new(directory, in_memory),
            series: Aggregate::new(directory, in_memory),
            identities: Identities::new(identities),
            members_in_memory: portion.unwrap_or(MEMBERS_IN_MEMORY),
            own_rows: [(); 3].map(|()| OwnRows { of_this_run: hashes(), of_earlier_runs: hashes() }),
            has_suffixed_patients: false,
            has_earlier_rows: false,
            claims: Default::default(),
            inserted: hashes(),
            corrected: hashes(),
            titled: hashes(),
            linked: hashes(),
            given: hashes(),
            kept: hashes(),
            not_completed: hashes(),
            reopened: hashes(),
            displaced: BTreeSet::new(),
            folded_again: Default::default(),
            moved_from: BTreeSet::new(),
            scratch: Default::default(),
        }
    }

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

    /// Returns whether this program inserted a row that a lookup or an insert found: this run, or,
    /// above the images, an earlier run.
    pub fn is_ours(&self, level: Level, key: &str) -> bool {
        self.is_of_this_run(level, key)
            || level != Level::Instance && self.own_rows[level as usize].of_earlier_runs.contains(hash(key))
    }

    /// Returns whether this run inserted a row, rather than an earlier run or another program.
    pub fn is_of_this_run(&self, level: Level, key: &str) -> bool {
        let of_this_run = match level {
            Level::Instance => &self.inserted,
            _ => &self.own_rows[level as usize].of_this_run,
        };
        of_this_run.contains(hash(key)) || level != Level::Instance && self.claims[level as usize].contains_key(key)
    }

    pub fn knows(&self, level: Level, key: &str) -> bool {
        let is_in_memory = match level {
            Level::Patient => self.patients.get(key).is_some_and(|patient| patient.is_row),
            Level::Study => self.studies.get(key).is_some_and(|study| study.is_row),
            Level::Series => self.series.get(key).is_some_and(|series| series.is_row),
            Level::Instance => return false,
        };
        is_in_memory || self.own_rows[level as usize].of_this_run.contains(hash(key))
    }

    /// Writes rows to disk if there are many of them. Must not be called while the rows of a batch
    /// are being recorded.
    pub fn relieve(&mut self) {
        self.patients.relieve();
        self.people.relieve();
        self.studies.relieve();
        self.series.relieve();
        self.identities.relieve();
    }

    /// Records that a transaction is about to commit this path in the row of an image.
    pub fn image_names(&mut self, key: &str, path: &str) {
        self.inserted.insert(hash_of_path(key, path));
    }

    /// Returns whether this run may have written the path into the row of the image.
    pub fn has_named(&self, key: &str, path: &str) -> bool {
        self.inserted.contains(hash_of_path(key, path))
    }

    pub fn image_was_inserted(&mut self, key: &str) {
        self.inserted.insert(hash(key));
    }

    pub fn image_was_corrected(&mut self, key: &str) {
        self.corrected.insert(hash(key));
    }

    /// Records that the transaction that was to correct the image has failed.
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

    /// Records the properties of a study that the decisions about its patient and its series depend
    /// on. Called when all files are read.
    pub fn learn_study(&mut self, key: &str, study: &Study) {
        if !study.row.is_ours() && study.link_agrees {
            self.linked.insert(hash_of_path(key, &study.patient));
        }
        if study.edited || study.link_differs {
            self.kept.insert(hash(key));
        }
        if study.edited || !study.link_agrees {
            self.not_completed.insert(hash(key));
        }
    }

    pub fn note_given(&mut self, id: &str) {
        self.given.insert(hash(id));
    }

    pub fn has_given(&self, id: &str) -> bool {
        self.given.contains(hash(id))
    }

    /// Returns whether files name the patient in the row of a study of another program.
    pub fn is_linked(&self, study: &str, patient: &str) -> bool {
        self.linked.contains(hash_of_path(study, patient))
    }

    /// Returns whether the values of a study and of its series are only filled.
    pub fn is_kept(&self, study: &str) -> bool {
        self.kept.contains(hash(study))
    }

    /// Returns whether the series of a study may be completed.
    pub fn may_be_completed(&self, study: &str) -> bool {
        !self.not_completed.contains(hash(study))
    }

    /// Marks the modalities of a study that are stale, or could be stale with another order of
    /// files.
    pub fn reopen(&mut self, study: &str) {
        self.reopened.insert(hash(study));
    }

    pub fn is_reopened(&self, study: &str) -> bool {
        self.reopened.contains(hash(study))
    }

    /// Returns an error if hashes could not be written to, or read from, a temporary file.
    pub fn check_images(&self) -> Result<(), Failure> {
        let images = [&self.inserted, &self.corrected, &self.titled];
        let studies = [&self.given, &self.linked, &self.kept, &self.not_completed, &self.reopened];
        let rows = self.own_rows.iter().flat_map(|rows| [&rows.of_this_run, &rows.of_earlier_runs]);
        let failure = images.into_iter().chain(studies).chain(rows).find_map(Hashes::failure);
        failure.map_or(Ok(()), |why| Err(Failure::Lost(format!("a temporary file cannot be read: {why}"))))
    }

    /// Drops the hashes of images.
    pub fn forget_images(&mut self) {
        (self.inserted, self.corrected, self.titled) = Default::default();
    }

    pub fn learn_identity(&mut self, id: &str, identity: &str) {
        self.identities.insert(id, identity);
    }

    /// Records the name in the row of a patient that this run has inserted.
    pub fn learn_name(&mut self, identity: &str, id: &str, name: Option<Name>) {
        let name = name.map(Arc::new);
        self.patients.part(identity).absorb(Patient {
            is_row: true,
            id: id.into(),
            name,
            ours: true,
            ..Patient::default()
        });
    }

    /// Records that a row exists. Earlier knowledge about the row remains valid.
    pub fn found(&mut self, level: Level, identity: &str, row: &Existing) {
        if row.history.is_some() && level != Level::Instance {
            self.own_rows[level as usize].of_earlier_runs.insert(hash(identity));
        }
        let is_unfinished = row.is_unfinished;
        self.has_earlier_rows |= is_unfinished || row.history.is_some();
        match level {
            Level::Patient => {
                self.has_suffixed_patients |= patient_name::base(&row.key) != row.key;
                let (id, name) = (row.key.as_str().into(), row.name.clone().map(Arc::new));
                let (history, ours) = (row.history.clone(), row.history.is_some());
                let is_completed = self.completes && !ours && is_unfinished;
                let patient = Patient {
                    is_row: true,
                    id,
                    name,
                    ours,
                    history,
                    is_unfinished,
                    is_completed,
                    ..Patient::default()
                };
                self.patients.part(identity).absorb(patient);
            }
            Level::Study => {
                let (row, patient) = (Row::found(row, self.completes), row.link.as_str().into());
                self.studies.part(identity).absorb(Study {
                    is_row: true,
                    row,
                    patient,
                    is_unfinished,
                    ..Study::default()
                });
            }
            Level::Series => {
                let (row, study) = (Row::found(row, self.completes), row.link.as_str().into());
                self.series.part(identity).absorb(Series {
                    is_row: true,
                    row,
                    study,
                    is_unfinished,
                    ..Series::default()
                });
            }
            Level::Instance => {}
        }
    }

    /// Records that a row was inserted with the values of an entry and with this Patient ID.
    /// Another writer may have found the row already.
    pub fn inserted(&mut self, level: Level, identity: &str, entry: &Entry, id: &str) {
        if level == Level::Instance {
            return;
        }
        let packed = &mut self.scratch.1;
        self.shapes[level as usize].pack(entry, packed);
        let values: Arc<[u8]> = Arc::from(packed.as_slice());
        self.own_rows[level as usize].of_this_run.insert(hash(identity));
        if level == Level::Patient {
            self.has_suffixed_patients |= patient_name::base(id) != id;
            let patient = self.patients.part(identity);
            (patient.is_row, patient.ours, patient.id, patient.written) = (true, true, id.into(), Some(values));
            patient.name = Some(Arc::new(entry.patient_name()));
        } else if level == Level::Study {
            let study = self.studies.part(identity);
            (study.is_row, study.row.own) = (true, Some(OwnValues::ThisRun(values)));
            (study.patient, study.received, study.open) = (id.into(), entry.received().into(), true);
        } else {
            let key = entry.key(Level::Study);
            self.open_study(key);
            let series = self.series.part(identity);
            (series.is_row, series.row.own) = (true, Some(OwnValues::ThisRun(values)));
            (series.study, series.open) = (key.into(), true);
        }
    }

    /// Records that something was inserted below a study.
    pub fn open_study(&mut self, key: &str) {
        if self.knows(Level::Study, key) {
            self.studies.part(key).open = true;
        }
    }

    /// Records that something was inserted below a series.
    pub fn open_series(&mut self, key: &str) {
        if self.knows(Level::Series, key) {
            self.series.part(key).open = true;
        }
    }

    /// Marks the series of a file that is not indexed for the recomputation of its derived columns.
    /// The image may have been in this series before a better file replaced this one, or not:
    /// derived columns must not depend on the order of the files.
    pub fn open_contended(&mut self, entry: &Entry) {
        if self.is_ours(Level::Instance, entry.key(Level::Instance)) {
            self.open_series(entry.key(Level::Series));
        }
    }

    /// Adds the values of an entry to the rows above it.
    pub fn add(&mut self, entry: &Entry, reach: &Reach) {
        let Rows { shapes, completes, unlinked, patients, people, studies, series, scratch: (order, scratch), .. } =
            self;
        order::of(entry, order);
        if *completes && !reach.series {
            note_unlinked(unlinked, entry);
        }
        if reach.series {
            let series = series.part(entry.key(Level::Series));
            series.row.add(&shapes[Level::Series as usize], entry, order, scratch, *completes);
            series.link_differs |= !reach.study;
            series.link_agrees |= reach.study;
            let study = entry.key(Level::Study);
            if reach.study && *series.study != *study {
                series.others.insert(study.into());
            }
        }
        if reach.study {
            let study = studies.part(entry.key(Level::Study));
            study.row.add(&shapes[Level::Study as usize], entry, order, scratch, *completes);
            study.link_differs |= reach.patient.is_none();
            study.link_agrees |= reach.patient.is_some();
        }
        if let Some(identity) = &reach.patient {
            patients.part(&**identity).note_spelling(entry);
            let person = people.part(person_key(identity, entry.patient_name_parts()));
            person.add(&shapes[Level::Patient as usize], entry, order, scratch, *completes);
        }
    }

    /// Records a file that is not indexed, which determines no value. Only rows that are completed
    /// need its values: a run that was lost may have written one of them to such a row before it
    /// found a better file.
    pub fn add_unchosen(&mut self, entry: &Entry, reach: &Reach) {
        // The file was read even though it is not indexed, so the run knows the study that is
        // linked to the patient's row.
        let key = entry.key(Level::Study);
        if reach.study && reach.patient.is_some() && self.knows(Level::Study, key) {
            self.studies.part(key).link_agrees = true;
        }
        if !self.completes {
            return;
        }
        if !reach.series {
            note_unlinked(&mut self.unlinked, entry);
        }
        let [of_series, of_study] = [(Level::Series, reach.series), (Level::Study, reach.study)]
            .map(|(level, is_reached)| is_reached && self.knows(level, entry.key(level)));
        let Rows { shapes, people, studies, series, scratch: (_, packed), .. } = self;
        let mut add = |level: Level, fold: &mut Fold| {
            shapes[level as usize].pack(entry, packed);
            fold.keep_all();
            fold.add_unchosen(packed);
        };
        if of_series {
            add(Level::Series, &mut series.part(entry.key(Level::Series)).row.fold);
        }
        if of_study {
            add(Level::Study, &mut studies.part(key).row.fold);
        }
        if let Some(identity) = &reach.patient {
            add(Level::Patient, &mut people.part(person_key(identity, entry.patient_name_parts())).fold);
        }
    }
}

/// Returns the key of a person: the collation key and the name, in an encoding that sorts by the
/// bytes of these parts.
fn person_key(identity: &str, [last, first, middle]: [&str; 3]) -> Vec<u8> {
    crate::disk::key::encode([identity, last, first, middle])
}

/// Records the rows that a file names whose image is linked to another series.
fn note_unlinked(unlinked: &mut [BTreeSet<Box<str>>; 2], entry: &Entry) {
    unlinked[0].insert(entry.key(Level::Study).into());
    unlinked[1].insert(entry.key(Level::Series).into());
}
