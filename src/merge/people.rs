//! The people whose patient rows `--existing complete` finishes, and the files of each person.
//!
//! Files with one Patient ID may belong to several people, each with a row. Studies keep their
//! links, so a row belongs to the person named by the last file of each of its studies. All files
//! with that name and ID determine the values of the row, whichever study they belong to. Files
//! with other names belong to other people.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::mem::take;
use std::sync::Arc;

use foldhash::HashMap;

use super::fold::Fold;
use super::known_row::Patient;
use super::patient_group::PatientGroups;
use super::patient_row::{PatientRow, State};
use super::writer::Writer;
use super::{names, own_rows};
use crate::index::patient_name::{self, Name};
use crate::index::{Failure, View};

/// The people of all Patient IDs that have a row which is completed.
#[derive(Default)]
pub struct People {
    /// The people by the collation key of the ID without its suffix.
    namesakes: HashMap<Arc<str>, Namesakes>,
    /// The collation keys of rows that are not completed. These are rows linked to studies that
    /// this run has not found, since their names are fixed, and rows of an earlier run of this
    /// program, which are reused for a name or withdrawn.
    left: HashSet<String>,
}

/// The people with one Patient ID.
#[derive(Default)]
struct Namesakes {
    /// The values of files, by the name in the file.
    said: BTreeMap<Name, Fold>,
    /// The smallest Study Instance UID for each name that the last file of a study has.
    studies: BTreeMap<Name, Arc<str>>,
    /// The names of the studies that are linked to each row, by the ID in the row.
    linked: BTreeMap<Arc<str>, BTreeSet<Name>>,
}

impl People {
    fn of(patients: &BTreeMap<Arc<str>, Patient>, groups: &PatientGroups) -> Self {
        let base = |id: &str| groups.identities.get(patient_name::base(id)).cloned();
        let completed = patients.values().filter(|patient| patient.is_completed && !patient.ours);
        let mut namesakes: HashMap<Arc<str>, Namesakes> =
            completed.filter_map(|patient| Some((base(&patient.id)?, Namesakes::default()))).collect();
        if namesakes.is_empty() {
            return People::default();
        }
        for patient in patients.values() {
            let Some(people) = base(&patient.id).and_then(|base| namesakes.get_mut(&base)) else { continue };
            for (name, of_name) in patient.named.iter() {
                let fold = people.said.entry((**name).clone()).or_default();
                fold.keep_all();
                fold.merge(of_name.clone());
            }
        }
        for (uid, study) in groups.studies.iter().filter(|(_, study)| !study.is_of_this_run()) {
            let Some(people) = base(&study.patient).and_then(|base| namesakes.get_mut(&base)) else { continue };
            let name = study.name.clone();
            let smallest = people.studies.entry(name.clone()).or_insert_with(|| uid.clone());
            *smallest = uid.min(smallest).clone();
            people.linked.entry(study.patient.clone()).or_default().insert(name);
        }
        People { namesakes, left: HashSet::new() }
    }

    /// Returns the IDs in the rows that the existing studies of these people are linked to.
    fn ids(&self) -> Vec<&str> {
        self.namesakes.values().flat_map(|people| people.linked.keys()).map(|id| &**id).collect()
    }

    /// Leaves rows unchanged, given the collation keys of their IDs.
    pub fn leave_rows(&mut self, identities: impl IntoIterator<Item = String>) {
        self.left.extend(identities);
    }

    /// Sets the values of rows that are completed to those of the files of the person. Adds rows
    /// with a suffix that studies are linked to and that no file belongs to.
    pub fn set_values(self, patients: &mut Vec<PatientRow>, groups: &PatientGroups) -> io::Result<()> {
        let identity = |id: &Arc<str>| groups.identities.get(id).unwrap_or(id).clone();
        let mut folds: HashMap<Arc<str>, (&Arc<str>, Fold)> = HashMap::default();
        for people in self.namesakes.values() {
            folds.extend(people.folds()?.into_iter().map(|(id, fold)| (identity(id), (id, fold))));
        }
        folds.retain(|row, _| !self.left.contains(&**row));
        for row in patients.iter_mut() {
            let fold = folds.remove(&identity(&row.id)).map(|(_, fold)| fold);
            if row.is_completed {
                row.is_renamed = fold.is_none();
                row.fold = fold.unwrap_or_else(|| take(&mut row.fold));
                row.said.merge(self.said_of(&row.id, groups));
            }
        }
        for (id, fold) in folds.into_values() {
            let (id, said) = (id.clone(), self.said_of(id, groups));
            patients.push(PatientRow { is_completed: true, said, ..PatientRow::new(id, State::There, fold) });
        }
        Ok(())
    }

    /// Returns the values of all files with a Patient ID. A lost run may have written the values of
    /// another person with the same ID to a row.
    fn said_of(&self, id: &str, groups: &PatientGroups) -> Fold {
        let people = groups.identities.get(patient_name::base(id)).and_then(|base| self.namesakes.get(base));
        let mut said = Fold::default();
        people.into_iter().flat_map(|people| people.said.values()).for_each(|fold| said.merge(fold.clone()));
        said
    }
}

/// Returns the people of rows that are completed.
pub(super) fn people(
    writer: &mut Writer,
    patients: &BTreeMap<Arc<str>, Patient>,
    groups: &PatientGroups,
) -> Result<People, Failure> {
    let mut people = People::of(patients, groups);
    let studies = writer.index.studies_of(&people.ids(), View::Begun)?;
    let others = studies.iter().filter(|study| !groups.studies.contains_key(study.study.as_str()));
    people.left = own_rows::patients_of(writer, others)?;
    Ok(people)
}

impl Namesakes {
    /// Returns the values of the person of each row. The result does not contain rows whose studies
    /// name several people, because the names in these rows are fixed.
    fn folds(&self) -> io::Result<Vec<(&Arc<str>, Fold)>> {
        let smallest = |name: &Name| self.studies.get(name).map(|study| &**study);
        let named = self.said.iter().filter(|(_, said)| !said.is_empty());
        let borne: Vec<names::Borne<'_>> = named.map(|(name, _)| (name, smallest(name))).collect();
        let groups = names::group(&borne, None, &[])?;
        let mut folds = Vec::new();
        for (id, linked) in &self.linked {
            let mut of_row = groups.iter().filter(|group| group.names.iter().any(|name| linked.contains(*name)));
            if let (Some(group), None) = (of_row.next(), of_row.next()) {
                let mut fold = Fold::default();
                let said = group.names.iter().filter_map(|name| self.said.get(*name));
                said.for_each(|said| fold.merge(said.clone()));
                folds.push((id, fold));
            }
        }
        Ok(folds)
    }
}
