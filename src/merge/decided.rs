//! Decisions about the patients with some Patient IDs, and about their studies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::HashMap;

use super::finding::{Finding, FindingReason};
use super::own_values::OwnValues;
use super::patient_row::{PatientRow, State};
use crate::index::{Existing, patient_name};

#[derive(Default)]
pub(super) struct Decided {
    pub(super) patients: Vec<PatientRow>,
    /// The keys of rows with a suffix that no name needs any more.
    pub(super) abandoned: Vec<String>,
    pub(super) patient_of: HashMap<Arc<str>, Arc<str>>,
    pub(super) findings: Vec<Finding>,
}

/// Rows with a suffix that an earlier run inserted, by the collation key of their ID.
pub(super) type OwnSuffixed = BTreeMap<String, Existing>;

impl Decided {
    /// Treats patients with a suffix whose rows an earlier run inserted like those of this run. The
    /// other rows of that run are marked as abandoned, because they have no study. Returns the
    /// number of reused rows that were inserted by the killed run which this run resumes.
    pub(super) fn take_suffixed(
        &mut self,
        mut suffixed: OwnSuffixed,
        identity: impl Fn(&str) -> Option<String>,
        is_given: impl Fn(&str) -> bool,
    ) -> u64 {
        let mut given_again = 0;
        for patient in self.patients.iter_mut().filter(|patient| matches!(patient.state, State::New)) {
            let Some(row) = identity(&patient.id).and_then(|identity| suffixed.remove(&identity)) else { continue };
            if let Some(history) = row.history {
                given_again += u64::from(is_given(&row.key));
                let values = OwnValues::EarlierRun { history, is_unfinished: row.is_unfinished, inserted: None };
                patient.state = State::Ours { values, spelled: row.key.into() };
            }
        }
        self.abandoned = suffixed.into_values().map(|row| row.key).collect();
        given_again
    }

    /// Returns the number of decisions.
    pub(super) fn len(&self) -> usize {
        self.patients.len() + self.patient_of.len() + self.findings.len()
    }

    /// Adds the decisions about other patients.
    pub(super) fn extend(&mut self, other: Decided) {
        self.patients.extend(other.patients);
        self.abandoned.extend(other.abandoned);
        self.patient_of.extend(other.patient_of);
        self.findings.extend(other.findings);
    }

    pub(super) fn find(&mut self, reason: FindingReason, uid: &str, detail: &str) {
        self.findings.push(Finding { reason, uid: uid.to_owned(), detail: detail.to_owned(), is_note: false });
    }
}

/// The patients that the run has decided again.
#[derive(Default)]
pub(super) struct DecidedAgain {
    /// The IDs in their rows.
    pub(super) patients: BTreeSet<Arc<str>>,
    pub(super) studies: BTreeSet<Arc<str>>,
    pub(super) decided: Decided,
}

impl DecidedAgain {
    /// Returns whether the new decision replaces a row that was to be inserted or changed.
    pub(super) fn replaces(&self, row: &PatientRow) -> bool {
        let id = if matches!(row.state, State::New) { patient_name::base(&row.id) } else { &row.id };
        self.patients.contains(id)
    }

    /// Returns whether a finding is about names that were decided again.
    pub(super) fn replaces_finding(&self, finding: &Finding) -> bool {
        matches!(finding.reason, FindingReason::PatientNames | FindingReason::PatientIdSpelling)
            && self.studies.contains(finding.uid.as_str())
    }

    /// Adds the patients of a later decision.
    pub(super) fn extend(&mut self, later: DecidedAgain) {
        self.patients.extend(later.patients);
        self.studies.extend(later.studies);
        self.decided.extend(later.decided);
    }
}
