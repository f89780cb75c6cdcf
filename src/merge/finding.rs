//! Findings about rows that a person should review: a conflict, a row that stays unchanged, a
//! change that the database rejected.

use serde::{Deserialize, Serialize};

use crate::disk::key;

/// A fact about a row that a person should know. It names columns and UIDs, never values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    pub reason: FindingReason,
    /// The UID of a study or a series. Empty for a patient.
    pub uid: String,
    pub detail: String,
    /// Whether no review is necessary: instances of one study often disagree.
    pub is_note: bool,
}

/// The subject of a finding, in the order of the codes.
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
    /// Returns the key by which findings are sorted.
    pub(super) fn sort_key(&self) -> Vec<u8> {
        key::encode([self.reason.code(), &self.uid, &self.detail])
    }
}

impl FindingReason {
    /// Returns the code of the reason in lists of findings.
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
