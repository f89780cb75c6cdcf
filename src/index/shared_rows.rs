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
use super::existing::Mode;
use super::known::Rows;
use super::known_row::Patient;
use super::names::{self, Name};
use super::patient_group::PatientGroups;
use super::row_corrections::RowCorrections;
use super::settle::Decided;
use super::settlement::{Finding, FindingReason, PatientRow, Settlement, State};
use super::study_patients::ByPatient;
use super::{Existing, Failure, LinkedStudy, Look, Show, View};
use crate::dicom::{Level, Table};

const LOOK: Look = Look { view: View::Begun, show: Show::Nothing };

impl Rows {
    /// Whether a study has a part in the decision about the name of the patient that the study is linked to: the study is of this
    /// program, or this run has read files of the study.
    fn is_accounted_for(&self, study: &LinkedStudy) -> bool {
        self.is_ours(Level::Study, &study.study) || self.is_linked(&study.study, &study.patient)
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
    /// The patients of this run whose rows a PACS uses, by identity, with the names in the rows.
    pub(super) fn shared_patients(
        &mut self,
        patients: &foldhash::HashMap<Arc<str>, Patient>,
    ) -> Result<HashMap<String, Option<Name>>, Failure> {
        let completes = self.policy.mode == Mode::Complete;
        let is_checked =
            |patient: &&Patient| patient.may_be_renamed() || patient.ours && completes && patient.history.is_none();
        let ids: Vec<&str> = patients.values().filter(is_checked).map(|patient| &*patient.id).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let studies = self.index.studies_of(&ids, View::Begun)?;
        let known = self.known.clone();
        let foreign = self.foreign_studies(&studies, &|study| known.lock().is_accounted_for(study))?;
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
            let known = self.known.clone();
            match self.foreign_studies(&studies, &|study| known.lock().is_accounted_for(study))?.is_empty() {
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
        let bases = self.identities_of(rows.iter().map(|row| names::base(&row.key)))?;
        let bases: HashSet<&str> = bases.values().map(|base| &**base).collect();
        let by_identity: HashMap<&str, &Existing> = rows.iter().map(|row| (row.identity.as_str(), row)).collect();
        let mut again = DecidedAgain::default();
        if let Some(groups) = settlement.groups.clone() {
            let decide = |groups| self.decide_again(groups, &by_identity, &mut again);
            groups.for_each(|base| bases.contains(base), decide)?;
        }
        settlement.replace(again);
        Ok(true)
    }

    /// Decides again about those patients of some groups whose rows a PACS uses.
    fn decide_again(
        &mut self,
        mut groups: PatientGroups,
        shared: &HashMap<&str, &Existing>,
        again: &mut DecidedAgain,
    ) -> Result<(), Failure> {
        self.learn_identities_of(&mut groups)?;
        let mut patients = std::mem::take(&mut groups.patients);
        let studies = ByPatient::of(&groups);
        let (variants, _) = self.patiently(|writer| writer.variants(&patients, &studies, &groups))?;
        patients.retain(|identity, patient| shared.contains_key(&**identity) && patient.may_be_renamed());
        for (identity, mut patient) in patients {
            (patient.ours, patient.name) = (false, shared[&*identity].name.clone().map(Arc::new));
            patient.is_completed |= self.policy.mode == Mode::Complete;
            let about = studies.about(&identity, &patient, &groups, &variants);
            again.studies.extend(studies.of_patient(&identity).cloned());
            again.patients.insert(patient.id.clone());
            again.patients.insert(patient.final_id(&groups.identities));
            self.settle_patient(&identity, patient, &about, &groups, &mut again.decided);
        }
        Ok(())
    }
}

/// The patients about whom the run has decided again.
#[derive(Default)]
pub(super) struct DecidedAgain {
    /// The IDs in their rows.
    patients: BTreeSet<Arc<str>>,
    pub(super) studies: BTreeSet<Arc<str>>,
    pub(super) decided: Decided,
}

impl DecidedAgain {
    /// Whether a row that was to be inserted or changed is replaced by the new decision.
    pub(super) fn replaces(&self, row: &PatientRow) -> bool {
        let id = if matches!(row.state, State::New) { names::base(&row.id) } else { &row.id };
        self.patients.contains(id)
    }

    /// Whether a finding is about names that were decided about again.
    pub(super) fn replaces_finding(&self, finding: &Finding) -> bool {
        matches!(finding.reason, FindingReason::PatientNames | FindingReason::PatientIdSpelling)
            && self.studies.contains(finding.uid.as_str())
    }

    /// Adds the patients of another decision.
    pub(super) fn extend(&mut self, later: DecidedAgain) {
        self.patients.extend(later.patients);
        self.studies.extend(later.studies);
        self.decided.extend(later.decided);
    }
}
