//! The work that is left for the closing step, once all instances are in the index.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::HashMap;

use super::batch::Parents;
use super::fold::{Fold, is_empty};
use super::fold_again::Ghost;
use super::known::{PARENTS, Rows};
use super::known_row::{Patient, Series};
use super::row_history::RowHistory;
use super::study_patients::Variants;
use super::{Existing, Value};
use crate::dicom::Level;

/// Something that a person should know of a row. Names columns and UIDs, never values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub reason: &'static str,
    /// The UID of a study or a series. Empty for a patient.
    pub uid: String,
    pub detail: String,
    /// Nothing to look at: instances of one study often disagree.
    pub is_note: bool,
}

/// A patient's row at the end.
pub struct PatientRow {
    /// The ID in the row, which is still to be inserted if it is new.
    pub id: Arc<str>,
    pub state: State,
    pub fold: Fold,
    /// The index says that it is this patient, and files name another: the name was edited, and is not completed by
    /// parts of the former.
    pub is_renamed: bool,
    /// The row is not this program's, as far as the ledger knows, and is to be completed.
    pub is_completed: bool,
    /// The values of the files of a row that is completed, whichever person these name.
    pub said: Fold,
}

/// The values by which this program recognizes its own in a row.
#[derive(Clone)]
pub enum OwnValues {
    /// The values that this run inserted the row with.
    ThisRun(Arc<[u8]>),
    /// The ledger has the row. A patient is unfinished while one of the studies is.
    EarlierRun {
        history: Arc<RowHistory>,
        is_unfinished: bool,
        /// The values that this run inserted the row with, after the index had lost the row.
        inserted: Option<Arc<[u8]>>,
    },
    /// The row is not this program's, as far as the ledger knows, and looks unfinished: values that files of the row contain
    /// may be replaced, because `--existing complete` asks for it.
    OfFiles,
}

impl OwnValues {
    /// The values that this run inserted the row with.
    pub fn inserted(&self) -> Option<&Arc<[u8]>> {
        match self {
            OwnValues::ThisRun(inserted) => Some(inserted),
            OwnValues::EarlierRun { inserted, .. } => inserted.as_ref(),
            OwnValues::OfFiles => None,
        }
    }
}

pub enum State {
    /// This program inserted it; its ID may have been spelled otherwise.
    Ours {
        values: OwnValues,
        spelled: Arc<str>,
    },
    There,
    New,
}

/// All that is left to do.
pub struct Settlement {
    /// The closing step makes all rows final. Otherwise it leaves them provisional.
    pub in_full: bool,
    pub rows: Rows,
    /// Rows that exist come first: whether a PACS uses one of them decides which new rows are needed.
    pub patients: Vec<PatientRow>,
    /// The number of patients whose rows exist.
    pub existing_patients: usize,
    /// Patients of this program, by identity, of whom the run decides again if a PACS uses their rows.
    pub(super) contested: HashMap<Arc<str>, Patient>,
    pub(super) variants: Variants,
    /// The keys of rows that a PACS has begun to use.
    pub(super) shared: Mutex<BTreeSet<String>>,
    /// Rows of patients with a suffix that this program has inserted, and that no study needs any more.
    pub abandoned: Vec<Existing>,
    /// Rows of this program that no indexed file names.
    pub ghosts: Vec<Ghost>,
    /// The patient of each study that this run inserted, where it is another than the row has.
    pub patient_of: HashMap<Arc<str>, Arc<str>>,
    pub studies: Vec<Arc<str>>,
    pub series: Vec<Arc<str>>,
    /// Studies whose derived column does not hold any more, because a series of an earlier run was corrected.
    pub stale_studies: Mutex<HashSet<Arc<str>>>,
    pub findings: Vec<Finding>,
    /// Rows of others that look unfinished, and stay so.
    pub unfinished: Parents,
}

impl Settlement {
    /// Whether the patient's row is this program's and was folded again, so that a code in it may be that of a file which is not
    /// indexed any more.
    pub(super) fn is_displaced(&self, patient: &PatientRow) -> bool {
        let identity = self.rows.identities.get(&patient.id).unwrap_or(&patient.id);
        matches!(patient.state, State::Ours { .. }) && self.rows.displaced_patients.contains_key(&**identity)
    }

    /// Notes that the studies of a series are stale: the one that its row was linked to, and those that its files name.
    pub fn note_stale(&self, series: &Series) {
        let mut stale = self.stale_studies.lock().unwrap_or_else(PoisonError::into_inner);
        stale.extend(series.others.iter().chain([&series.study]).cloned());
    }

    pub fn is_stale(&self, study: &str) -> bool {
        self.stale_studies.lock().unwrap_or_else(PoisonError::into_inner).contains(study)
    }

    /// How many rows there are to look at.
    pub fn len(&self) -> usize {
        PARENTS.into_iter().map(|level| self.count(level)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn count(&self, level: Level) -> usize {
        match level {
            Level::Patient => self.patients.len(),
            Level::Study => self.studies.len(),
            Level::Series | Level::Instance => self.series.len(),
        }
    }
}

/// Whether any of these values is not plain ASCII.
pub fn needs_charset(values: &[Value<'_>]) -> bool {
    values.iter().any(|value| !is_empty(*value) && matches!(value, Value::Text(text) if !text.is_ascii()))
}
