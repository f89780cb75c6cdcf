//! Rows that look unfinished and are not in the ledger. A PACS leaves the derived columns NULL, and
//! so does a run of this program that was interrupted and whose state was lost. Such rows are
//! counted, and `--existing complete` finishes them.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::finding::{Finding, FindingReason};
use super::known_row::{Row, Series, Study};
use super::known_rows::Rows;
use super::own_rows;
use super::own_values::OwnValues;
use super::patient_group::{GroupedStudy, PatientGroups};
use super::patient_row::{PatientRow, State};
use super::row_corrections::RowCorrections;
use super::writer::Writer;
use crate::dicom::{Level, Table};
use crate::index::{Failure, Look, Show, Tables, Value, View, patient_name};

impl Row {
    /// Returns whether the row looks unfinished, is not in the ledger as a row of this program, and
    /// is to be completed.
    pub fn is_to_be_completed(&self) -> bool {
        matches!(self.own, Some(OwnValues::OfFiles))
    }
}

impl Study {
    /// Returns whether the row is completed. A study that the PACS edits, or that it has moved to
    /// another patient, is only filled.
    pub fn is_completed(&self) -> bool {
        self.row.is_to_be_completed() && self.link_agrees && !self.edited
    }

    /// Returns whether the row looks unfinished, was not inserted by this program and is not
    /// completed.
    pub fn is_left_unfinished(&self) -> bool {
        self.is_unfinished && !self.row.is_ours() && !self.is_completed()
    }
}

impl Series {
    /// Returns whether the row is completed. A series of a study that is only filled is itself only
    /// filled.
    pub fn is_completed(&self, known: &Rows) -> bool {
        self.row.is_to_be_completed() && self.link_agrees && known.may_be_completed(&self.study)
    }
}

impl PatientRow {
    /// Returns the final values of a row that is completed. A name that does not occur in the files
    /// is fixed.
    pub(super) fn completion<'a>(&'a self, tables: &'a Tables, shape: &[usize]) -> RowCorrections<'a> {
        let mut row = RowCorrections::of_attributes(tables, &self.id, &OwnValues::OfFiles, shape, &self.fold)
            .replacing(&self.said);
        if self.is_renamed {
            row.leave_name();
        }
        row.add(tables.of(Table::Patient).column("charset"), Value::Null, Value::Text(tables.charset_term()));
        row
    }
}

impl PatientGroups {
    /// Returns the number of patients in `patients` whose rows this program did not insert and that
    /// have a linked study that looks unfinished and remains so.
    pub(super) fn left_unfinished(&self, patients: &[PatientRow]) -> u64 {
        let studies = self.studies.values().filter(|study| study.is_left_unfinished);
        let linked: HashSet<_> = studies.filter_map(|study| self.identities.get(&study.patient)).collect();
        let is_there = |patient: &&PatientRow| matches!(patient.state, State::There);
        let patients = patients.iter().filter(is_there).filter_map(|patient| self.identities.get(&patient.id));
        patients.filter(|patient| linked.contains(patient)).collect::<HashSet<_>>().len() as u64
    }
}

/// Returns findings for series and studies that look unfinished and are named only by files that
/// were not chosen. The images of these files are linked to other rows.
pub(super) fn rows_of_files_not_chosen(writer: &mut Writer) -> Result<Vec<Finding>, Failure> {
    let unlinked = std::mem::take(&mut writer.known.lock().unlinked);
    let mut findings = Vec::new();
    for (level, keys) in [(Level::Study, &unlinked[0]), (Level::Series, &unlinked[1])] {
        let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
        let mut found = writer.index.find(level.table(), &keys, Look { view: View::Begun, show: Show::Nothing })?;
        own_rows::learn_histories(writer, level, &mut found)?;
        let unfinished = found.into_iter().filter(|row| row.is_unfinished && row.history.is_none());
        findings.extend(unfinished.map(|row| Finding {
            reason: FindingReason::FileNotChosen,
            uid: row.key,
            detail: "the row looks unfinished and stays so: the files that name it are not indexed".to_owned(),
            is_note: true,
        }));
    }
    Ok(findings)
}

/// Returns findings for studies in rows that are completed and whose Patient ID is shared by
/// several patients. The run that was lost has decided which of these patients has the ID without a
/// suffix.
pub(super) fn studies_with_contested_ids(writer: &mut Writer, groups: &PatientGroups) -> Result<Vec<Finding>, Failure> {
    let identity = |id: &str| groups.identities.get(patient_name::base(id));
    let completed = groups.studies.values().filter(|study| study.is_to_be_completed);
    let completed: HashSet<&Arc<str>> = completed.filter_map(|study| identity(&study.patient)).collect();
    if completed.is_empty() {
        return Ok(Vec::new());
    }
    // Studies with other IDs belong to other groups.
    let is_earlier = |study: &GroupedStudy| {
        !study.is_of_this_run() && identity(&study.patient).is_some_and(|base| groups.bases.contains(base))
    };
    let earlier = groups.studies.iter().filter(|(_, study)| is_earlier(study));
    let bases: BTreeSet<&str> = earlier.clone().map(|(_, study)| patient_name::base(&study.patient)).collect();
    let variants = writer.index.variants(&Vec::from_iter(bases))?;
    let variants: Vec<&str> = variants.iter().map(|row| patient_name::base(&row.key)).collect();
    let contested: HashSet<String> = writer.index.identities(&variants)?.into_iter().collect();
    let has_contested_id = |study: &GroupedStudy| {
        let has_suffix = patient_name::has_own_suffix(&study.patient);
        identity(&study.patient)
            .is_some_and(|base| completed.contains(base) && (has_suffix || contested.contains(&**base)))
    };
    let detail = "several patients have its Patient ID; the study stays with the patient in its row";
    let finding = |uid: &str| Finding {
        reason: FindingReason::PatientKept,
        uid: uid.to_owned(),
        detail: detail.to_owned(),
        is_note: true,
    };
    Ok(earlier.filter(|(_, study)| has_contested_id(study)).map(|(uid, _)| finding(uid)).collect())
}
