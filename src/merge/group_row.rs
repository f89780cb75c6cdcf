//! The row for a group of names of one Patient ID that belong to the same patient, while the run
//! decides about it.

use std::sync::Arc;

use super::decided::Decided;
use super::finding::FindingReason;
use super::fold::Fold;
use super::names::{self, Conflicts};
use super::patient_group::GroupedStudy;
use super::patient_row::{PatientRow, State};
use super::writer::Writer;
use crate::dicom::Level;

/// A group of names, to which its studies and the values of its files are added.
pub(super) struct GroupRow {
    /// The ID in the row.
    id: Arc<str>,
    /// The conflict that is reported for each study.
    conflict: Option<String>,
    patient: names::Patient,
    fold: Fold,
    has_studies: bool,
}

/// The values of the files of the row of a Patient ID without a suffix.
#[derive(Default)]
pub(super) struct BaseValues {
    pub(super) fold: Fold,
    /// Whether the name in the row differs from the name in some of the files.
    pub(super) is_renamed: bool,
}

impl GroupRow {
    /// `id` is the Patient ID without a suffix.
    pub(super) fn new(writer: &Writer, id: &Arc<str>, patient: names::Patient) -> Self {
        let (row, conflict) = row_of(writer, id, &patient);
        GroupRow { id: row, conflict, patient, fold: Fold::default(), has_studies: false }
    }

    pub(super) fn add_study(&mut self, uid: &Arc<str>, study: &GroupedStudy, decided: &mut Decided) {
        self.has_studies = true;
        if study.patient != self.id {
            decided.patient_of.insert(uid.clone(), self.id.clone());
        }
        if let Some(detail) = &self.conflict {
            decided.find(FindingReason::PatientNames, uid, detail);
        }
    }

    pub(super) fn add_values(&mut self, fold: Fold) {
        self.fold.merge(fold);
    }

    /// Decides about the row, which may be the row of the ID without a suffix.
    pub(super) fn finish(self, id: &str, base: &mut BaseValues, decided: &mut Decided) {
        let state = match self.patient {
            _ if *self.id == *id => {
                base.fold.merge(self.fold);
                // Parts of the name of another person must not complete the name in the row.
                base.is_renamed |= self.patient != names::Patient::Base;
                return;
            }
            _ if !self.has_studies => return,
            names::Patient::Existing(_) => State::There,
            _ => State::New,
        };
        decided.patients.push(PatientRow::new(self.id, state, self.fold));
    }
}

/// Returns the ID in the row of a group, and the text of the conflict that is reported for its
/// studies.
fn row_of(writer: &Writer, id: &Arc<str>, patient: &names::Patient) -> (Arc<str>, Option<String>) {
    let detail =
        |what: &str| Some(format!("the name conflicts with that of another patient with this Patient ID; {what}"));
    match patient {
        names::Patient::Base => (id.clone(), None),
        names::Patient::Existing(row) => (row.as_str().into(), detail("its row was there already")),
        names::Patient::Suffixed(_) if writer.policy.conflicts == Conflicts::Merge => {
            (id.clone(), detail("merged, as was asked"))
        }
        names::Patient::Suffixed(suffix) => {
            let row = format!("{id}{suffix}");
            let tables = writer.index.tables();
            let holds = |level, column| tables.of(level).column(column).is_some_and(|column| column.holds(&row));
            match holds(Level::Patient, "origid") && holds(Level::Study, "patientid") {
                true => (row.into(), detail(&format!("kept apart by the suffix {suffix}"))),
                false => (id.clone(), detail("merged, since the column is too short for a suffix")),
            }
        }
    }
}
