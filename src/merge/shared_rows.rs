//! Patient rows of this program that a PACS uses: the PACS has filed studies under them that are
//! unknown to this program.
//!
//! The name in such a row is fixed, because the PACS took it for the name of its study. Other
//! people with the same Patient ID get rows with a suffix. Names are decided before the closing
//! step, so the closing step checks again before it changes a row. A study is taken into account if
//! its transaction has inserted it before the statement that changes the name: the lookup waits for
//! open transactions, and the statement counts the studies. The program cannot protect a study that
//! a PACS files later under a name that it has read before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use super::known_row::Patient;
use super::known_rows::Rows;
use super::own_rows;
use super::row_corrections::RowCorrections;
use super::settlement::Settlement;
use super::writer::Writer;
use crate::dicom::{Level, Table};
use crate::index::existing::Mode;
use crate::index::patient_name::Name;
use crate::index::{Failure, LinkedStudy, Look, Show, View};

pub(super) const LOOK: Look = Look { view: View::Begun, show: Show::Nothing };

/// Returns whether a study takes part in the decision about the name of the patient that it is
/// linked to: this program inserted the study, or this run has read files of the study.
fn is_accounted_for(rows: &Rows, study: &LinkedStudy) -> bool {
    rows.is_ours(Level::Study, &study.study) || rows.is_linked(&study.study, &study.patient)
}

impl Patient {
    /// Returns whether the closing step may change the name or the ID in the row.
    pub(super) fn may_be_renamed(&self) -> bool {
        let has_several = self.has_several_names() || self.spellings.keys().nth(1).is_some();
        self.ours && (has_several || self.history.is_some())
    }
}

/// Returns the patients of this run whose rows a PACS uses, by collation key, with the names in the
/// rows.
pub(super) fn shared_patients(
    writer: &mut Writer,
    patients: &BTreeMap<Arc<str>, Patient>,
) -> Result<HashMap<String, Option<Name>>, Failure> {
    let completes = writer.policy.mode == Mode::Complete;
    let is_checked =
        |patient: &&Patient| patient.may_be_renamed() || patient.ours && completes && patient.history.is_none();
    let ids: Vec<&str> = patients.values().filter(is_checked).map(|patient| &*patient.id).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let studies = writer.index.studies_of(&ids, View::Begun)?;
    let known = writer.known.clone();
    let foreign = own_rows::foreign_studies(writer, &studies, &|study| is_accounted_for(&known.lock(), study))?;
    let links = studies.iter().filter(|study| foreign.contains(&study.study));
    let links: Vec<&str> = links.map(|study| study.patient.as_str()).collect();
    let shared = writer.index.find(Table::Patient, &links, LOOK)?;
    Ok(shared.into_iter().map(|row| (row.identity, row.name)).collect())
}

/// Checks which programs use the rows whose names or IDs corrections may change. Removes the
/// corrections of rows that a PACS uses, and returns the keys of these rows. The other corrections
/// are applied only while the number of studies that link to the row stays the same.
///
/// The lookup precedes all changes of the transaction, so that it waits for a PACS without making
/// the PACS wait.
pub(super) fn guard_names(
    writer: &mut Writer,
    settlement: &Settlement,
    corrections: &mut Vec<RowCorrections<'_>>,
) -> Result<HashSet<String>, Failure> {
    let mut shared = HashSet::new();
    for row in corrections.iter_mut().filter(|row| row.may_rename()) {
        let studies = writer.index.studies_of(&[row.key], View::Now)?;
        let known = writer.known.clone();
        match own_rows::foreign_studies(writer, &studies, &|study| is_accounted_for(&known.lock(), study))?.is_empty() {
            true => row.studies = Some(studies.len()),
            false => drop(shared.insert(row.key.to_owned())),
        }
    }
    corrections.retain(|row| !shared.contains(row.key));
    let mut all = settlement.shared.lock().unwrap_or_else(PoisonError::into_inner);
    all.extend(shared.iter().cloned());
    Ok(shared)
}

/// Returns [`Failure::Busy`] if the number of studies of a patient is not the expected one. The
/// transaction is then retried.
pub(super) fn expect_studies(writer: &mut Writer, patient: &str, expected: usize) -> Result<(), Failure> {
    match writer.index.studies_of(&[patient], View::Now)?.len() == expected {
        true => Ok(()),
        false => Err(Failure::Busy("studies are filed under a patient whose name is about to change".into())),
    }
}
