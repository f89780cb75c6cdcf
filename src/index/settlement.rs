//! The work that is left for the closing step, once all instances are in the index.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::batch::Parents;
use super::closing_part::{Part, decode};
use super::fold::{Fold, Shape, is_empty};
use super::fold_again::Ghost;
use super::known::Known;
use super::known_row::{Series, Study};
use super::patient_group::GroupSource;
use super::row_history::RowHistory;
use super::shared_rows::DecidedAgain;
use super::{Existing, Value};
use crate::disk::aggregate::Aggregated;
use crate::disk::runs::Runs;
use crate::disk::{bytes, key};

/// Something that a person should know of a row. Names columns and UIDs, never values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    pub reason: FindingReason,
    /// The UID of a study or a series. Empty for a patient.
    pub uid: String,
    pub detail: String,
    /// Nothing to look at: instances of one study often disagree.
    pub is_note: bool,
}

/// What a finding is about, in the order of the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FindingReason {
    AbandonedPatient,
    FileNotChosen,
    InstancesDisagree,
    LinkDiffers,
    PatientIdSpelling,
    PatientKept,
    PatientNames,
    ReceivedLater,
    RefusedByIndex,
    RowWithoutFile,
    TwoPatients,
    TwoStudies,
}

impl Finding {
    /// The key by which findings are sorted.
    pub(super) fn sort_key(&self) -> Vec<u8> {
        key::encode([self.reason.code(), &self.uid, &self.detail])
    }
}

impl FindingReason {
    /// The reason in lists of findings.
    pub fn code(self) -> &'static str {
        match self {
            FindingReason::AbandonedPatient => "abandoned-patient",
            FindingReason::FileNotChosen => "file-not-chosen",
            FindingReason::InstancesDisagree => "instances-disagree",
            FindingReason::LinkDiffers => "link-differs",
            FindingReason::PatientIdSpelling => "patient-id-spelling",
            FindingReason::PatientKept => "patient-kept",
            FindingReason::PatientNames => "patient-names",
            FindingReason::ReceivedLater => "received-later",
            FindingReason::RefusedByIndex => "refused-by-index",
            FindingReason::RowWithoutFile => "row-without-file",
            FindingReason::TwoPatients => "two-patients",
            FindingReason::TwoStudies => "two-studies",
        }
    }
}

/// A patient's row at the end.
#[derive(Clone, Serialize, Deserialize)]
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
    /// The row was folded again, so that a code in it may be that of a file which is not indexed any more.
    pub is_displaced: bool,
}

impl PatientRow {
    pub fn new(id: Arc<str>, state: State, fold: Fold) -> Self {
        let said = Fold::default();
        PatientRow { id, state, fold, is_renamed: false, is_completed: false, said, is_displaced: false }
    }
}

/// The values by which this program recognizes its own in a row.
#[derive(Clone, Serialize, Deserialize)]
pub enum OwnValues {
    /// The values that this run inserted the row with.
    ThisRun(#[serde(with = "bytes")] Arc<[u8]>),
    /// The ledger has the row. A patient is unfinished while one of the studies is.
    EarlierRun {
        history: Arc<RowHistory>,
        is_unfinished: bool,
        /// The values that this run inserted the row with, after the index had lost the row.
        #[serde(with = "bytes::optional")]
        inserted: Option<Arc<[u8]>>,
    },
    /// The row is not this program's, as far as the ledger knows, and looks unfinished: values that files of the row contain
    /// may be replaced, because `--existing complete` asks for it.
    OfFiles,
}

impl OwnValues {
    /// About the bytes that the values take in memory.
    pub fn weight(&self) -> usize {
        let of_history = |history: &RowHistory| history.versions.iter().map(|version| version.values.len() + 64).sum();
        match self {
            OwnValues::ThisRun(values) => values.len(),
            OwnValues::EarlierRun { history, inserted, .. } => {
                let of_history: usize = of_history(history);
                of_history + inserted.as_ref().map_or(0, |values| values.len())
            }
            OwnValues::OfFiles => 0,
        }
    }

    /// The values that this run inserted the row with.
    pub fn inserted(&self) -> Option<&Arc<[u8]>> {
        match self {
            OwnValues::ThisRun(inserted) => Some(inserted),
            OwnValues::EarlierRun { inserted, .. } => inserted.as_ref(),
            OwnValues::OfFiles => None,
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub enum State {
    /// This program inserted it; its ID may have been spelled otherwise.
    Ours {
        values: OwnValues,
        spelled: Arc<str>,
    },
    There,
    New,
}

/// All that is left to do. Rows are on disk, in the order of their keys.
pub struct Settlement {
    /// The closing step makes all rows final. Otherwise it leaves them provisional.
    pub in_full: bool,
    pub shapes: Arc<[Shape; 3]>,
    pub known: Known,
    pub(super) series: Aggregated<Series>,
    pub(super) studies: Aggregated<Study>,
    /// The patients and their studies, if these were decided about.
    pub(super) groups: Option<Arc<GroupSource>>,
    /// Rows that exist come first: whether a PACS uses one of them decides which new rows are needed.
    pub(super) patients: Runs,
    /// The Patient ID of each study whose row has another.
    pub(super) patient_of: Runs,
    pub(super) findings: Runs,
    /// The decision about patients whose rows a PACS uses, which replaces the former one.
    pub(super) again: DecidedAgain,
    /// The keys of rows that a PACS has begun to use.
    pub(super) shared: Mutex<BTreeSet<String>>,
    /// Rows of patients with a suffix that this program has inserted, and that no study needs any more.
    pub abandoned: Vec<Existing>,
    /// Rows of this program that no indexed file names.
    pub ghosts: Vec<Ghost>,
    /// The number of rows of patients, studies and series that there are to look at.
    pub counts: [u64; 3],
    /// Rows of others that look unfinished, and stay so.
    pub unfinished: Parents,
}

impl Settlement {
    /// Notes that the studies of a series are stale: the one that its row was linked to, and those that its files name.
    pub fn note_stale(&self, series: &Series) {
        let mut known = self.known.lock();
        series.others.iter().chain([&series.study]).for_each(|study| known.reopen(study));
    }

    /// How many rows there are to look at.
    pub fn len(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces the decision about some patients.
    pub(super) fn replace(&mut self, later: DecidedAgain) {
        self.again.extend(later);
    }

    /// Calls a function with each finding, in their order.
    pub fn for_each_finding(&self, mut each: impl FnMut(&Finding)) -> io::Result<()> {
        for entry in self.findings.entries()? {
            let finding = decode(entry?.value())?;
            if !self.again.replaces_finding(&finding) {
                each(&finding);
            }
        }
        self.again.decided.findings.iter().for_each(each);
        Ok(())
    }

    /// Calls a function with the IDs of patients that are to be inserted, some at a time.
    pub fn for_each_given<E: From<io::Error>>(&self, mut each: impl FnMut(&[&str]) -> Result<(), E>) -> Result<(), E> {
        for part in self.new_patients()? {
            let Part::Patients(patients) = part? else { continue };
            let new = patients.iter().filter(|patient| matches!(patient.state, State::New));
            each(&new.map(|patient| &*patient.id).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// Whether any of these values is not plain ASCII.
pub fn needs_charset(values: &[Value<'_>]) -> bool {
    values.iter().any(|value| !is_empty(*value) && matches!(value, Value::Text(text) if !text.is_ascii()))
}
