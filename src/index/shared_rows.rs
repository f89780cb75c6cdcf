//! Patient rows of this program that a PACS uses: it has filed studies under them that this program does not know.
//!
//! The name in such a row is fixed, because the PACS took it for the name of its study. Other people with the same Patient ID
//! get rows with a suffix. Names are decided before the closing step, which therefore looks again before it changes a row.
//! A study is taken into account if its transaction has inserted it before the statement that changes the name: the look waits
//! for transactions that are open, and the statement counts the studies. The program cannot protect a study that a PACS files
//! later under a name that it has read before.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use super::batch::Writer;
use super::known::Rows;
use super::known_row::Patient;
use super::names::{self, Name};
use super::row_corrections::RowCorrections;
use super::settle::Decided;
use super::settlement::{PatientRow, Settlement, State};
use super::study_patients::ByPatient;
use super::{Existing, Failure, LinkedStudy, Look, Show, View};
use crate::dicom::Table;

const LOOK: Look = Look { view: View::Begun, show: Show::Nothing };

impl Rows {
    /// Whether a study has a part in the decision about the name of the patient that the study is linked to: the study is of this
    /// program, or this run has read files of the study.
    fn is_accounted_for(&self, study: &LinkedStudy) -> bool {
        let known = self.studies.get(study.study.as_str());
        known.is_some_and(|known| known.row.is_ours() || known.link_agrees && *known.patient == *study.patient)
    }
}

impl Patient {
    /// Whether the closing step may change the name or the ID in the row.
    pub(super) fn may_be_renamed(&self) -> bool {
        let has_several = self.named.iter().nth(1).is_some() || self.spellings.keys().nth(1).is_some();
        self.ours && (has_several || self.history.is_some())
    }
}

impl Writer {
    /// The patients of this run whose rows a PACS uses, by identity, with the names in the rows. `rows` is all that the run knows.
    pub(super) fn shared_patients(
        &mut self,
        patients: &foldhash::HashMap<Arc<str>, Patient>,
        rows: &Rows,
    ) -> Result<HashMap<String, Option<Name>>, Failure> {
        let is_checked = |patient: &&Patient| {
            patient.may_be_renamed() || patient.ours && rows.completes && patient.history.is_none()
        };
        let ids: Vec<&str> = patients.values().filter(is_checked).map(|patient| &*patient.id).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let studies = self.index.studies_of(&ids, View::Begun)?;
        let foreign = self.foreign_studies(&studies, &|study| rows.is_accounted_for(study))?;
        let links = studies.iter().filter(|study| foreign.contains(&study.study));
        let links: Vec<&str> = links.map(|study| study.patient.as_str()).collect();
        let shared = self.index.find(Table::Patient, &links, LOOK)?;
        Ok(shared.into_iter().map(|row| (row.identity, row.name)).collect())
    }

    /// Looks who uses the rows whose names or IDs corrections may change. Leaves out the corrections of rows that a PACS uses, and
    /// returns the keys of these rows. The other corrections depend on the number of studies that link to the row.
    ///
    /// The look precedes all changes of the transaction, so that it waits for a PACS without keeping the PACS waiting.
    pub(super) fn guard_names(
        &mut self,
        settlement: &Settlement,
        corrections: &mut Vec<RowCorrections<'_>>,
    ) -> Result<HashSet<String>, Failure> {
        let mut shared = HashSet::new();
        for row in corrections.iter_mut().filter(|row| row.may_rename()) {
            let studies = self.index.studies_of(&[row.key], View::Now)?;
            match self.foreign_studies(&studies, &|study| settlement.rows.is_accounted_for(study))?.is_empty() {
                true => row.studies = Some(studies.len()),
                false => drop(shared.insert(row.key.to_owned())),
            }
        }
        corrections.retain(|row| !shared.contains(row.key));
        let mut all = settlement.shared.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(shared.iter().cloned());
        Ok(shared)
    }

    /// Fails if the number of studies of a patient is not the expected one. The transaction is then done again.
    pub(super) fn expect_studies(&mut self, patient: &str, expected: usize) -> Result<(), Failure> {
        match self.index.studies_of(&[patient], View::Now)?.len() == expected {
            true => Ok(()),
            false => Err(Failure::Busy("studies are filed under a patient whose name is about to change".into())),
        }
    }

    /// Decides again about the people with the Patient IDs of rows that a PACS has begun to use. Returns whether there are any.
    pub fn settle_shared(&mut self, settlement: &mut Settlement) -> Result<bool, Failure> {
        let shared = std::mem::take(settlement.shared.get_mut().unwrap_or_else(PoisonError::into_inner));
        if shared.is_empty() {
            return Ok(false);
        }
        let keys: Vec<&str> = shared.iter().map(String::as_str).collect();
        let rows = self.patiently(|writer| writer.index.find(Table::Patient, &keys, LOOK))?;
        let mut decided = Decided::default();
        let mut replaced = ReplacedPlans::default();
        let studies = ByPatient::of(&settlement.rows);
        for Existing { identity, name, .. } in rows {
            let Some(mut patient) = settlement.contested.remove(identity.as_str()) else { continue };
            (patient.ours, patient.name) = (false, name.map(Arc::new));
            patient.is_completed |= settlement.rows.completes;
            let about = studies.about(&identity, &patient, &settlement.rows, &settlement.variants);
            replaced.studies.extend(studies.of_patient(&identity).cloned());
            replaced.patients.insert(identity.clone());
            self.settle_patient(patient, &about, &settlement.rows, &mut decided);
        }
        settlement.replace(&replaced, decided);
        Ok(true)
    }
}

/// The patients about whom the run decides again.
#[derive(Default)]
struct ReplacedPlans {
    /// By identity.
    patients: BTreeSet<String>,
    studies: BTreeSet<Arc<str>>,
}

impl Settlement {
    /// Replaces the decision about some patients. Rows of the new decision follow those that are settled already.
    fn replace(&mut self, replaced: &ReplacedPlans, decided: Decided) {
        let identities = &self.rows.identities;
        let is_of = |id: &str| {
            let identity = identities.get(id).map_or(id, |identity| &**identity);
            replaced.patients.contains(identity)
        };
        let is_replaced = |row: &PatientRow| match row.state {
            State::New => is_of(names::base(&row.id)),
            State::Ours { .. } | State::There => is_of(&row.id),
        };
        self.existing_patients -= self.patients[..self.existing_patients].iter().filter(|row| is_replaced(row)).count();
        self.patients.retain(|row| !is_replaced(row));
        let of_earlier_runs: HashSet<Arc<str>> = self.patients.iter().map(|row| row.id.clone()).collect();
        let is_needed = |row: &PatientRow| !matches!(row.state, State::New) || !of_earlier_runs.contains(&row.id);
        self.patients.extend(decided.patients.into_iter().filter(is_needed));
        self.patient_of.retain(|study, _| !replaced.studies.contains(study));
        self.patient_of.extend(decided.patient_of);
        let is_of_names = |reason: &str| matches!(reason, "patient-names" | "patient-id-spelling");
        self.findings
            .retain(|finding| !is_of_names(finding.reason) || !replaced.studies.contains(finding.uid.as_str()));
        self.findings.extend(decided.findings);
        self.findings.sort();
    }
}
