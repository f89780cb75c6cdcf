//! The patients with one Patient ID and their studies, as the closing step decides about them: the
//! ID in the files, and that ID with the suffixes that a PACS or this program has added. These
//! patients are decided about together, and independently of all others, so that only a few
//! patients at a time are in memory.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::sync::Arc;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use super::fold::Fold;
use super::identities::identities_of;
use super::known_row::Patient;
use super::writer::Writer;
use crate::disk::aggregate::decode;
use crate::disk::key;
use crate::disk::runs::Entry;
use crate::index::Failure;
use crate::index::patient_name::{self, Name};

/// The program that inserted a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Inserter {
    ThisRun,
    EarlierRun,
    Another,
}

/// The properties of a study on which the decision about its patient depends.
#[derive(Clone, Serialize, Deserialize)]
pub struct GroupedStudy {
    /// The collation key of the ID of the patient whose names include the name of this study.
    pub of: Option<Arc<str>>,
    /// The name in the last file that has one.
    pub name: Name,
    pub inserter: Inserter,
    /// The Patient ID in the row.
    pub patient: Arc<str>,
    pub is_to_be_completed: bool,
    /// Whether the row looks unfinished, was not inserted by this program and is not completed.
    pub is_left_unfinished: bool,
}

impl GroupedStudy {
    pub fn is_ours(&self) -> bool {
        self.inserter != Inserter::Another
    }

    pub fn is_of_this_run(&self) -> bool {
        self.inserter == Inserter::ThisRun
    }

    /// Returns whether the name of the study takes part in the decision which names its patient
    /// has. If this program may not change the name of a patient, studies of earlier runs stay with
    /// that patient.
    pub(super) fn is_bearer(&self, patient: &Patient) -> bool {
        self.is_of_this_run() || patient.ours && self.is_ours()
    }
}

/// Patients that are decided about together, and their studies.
#[derive(Default)]
pub struct PatientGroups {
    /// The patients, by collation key. Their order determines the order of the decisions, which
    /// must be deterministic.
    pub patients: BTreeMap<Arc<str>, Patient>,
    pub studies: BTreeMap<Arc<str>, GroupedStudy>,
    /// The IDs of patients whose values are recomputed, by collation key.
    pub displaced: BTreeMap<Arc<str>, Arc<str>>,
    /// The collation keys of the IDs that occur.
    pub identities: HashMap<Arc<str>, Arc<str>>,
    /// The collation keys of the IDs without a suffix. Each of them identifies a group.
    pub bases: HashSet<Arc<str>>,
}

/// A patient or a study of the patients with one Patient ID.
#[derive(Serialize, Deserialize)]
pub(super) enum Member {
    Patient(Box<Patient>),
    /// The values of the files with one name.
    Person(Name, Fold),
    Study(GroupedStudy),
    Displaced(Arc<str>),
}

impl Member {
    /// Returns the sort key of a member: within each `group` a patient comes before the values of
    /// the files, and these before the studies. `key` is the collation key of the patient's ID, or
    /// the UID of the study.
    pub(super) fn sort_key(&self, group: &str, key: &str) -> Vec<u8> {
        let (kind, name) = match self {
            Member::Patient(_) => ("0", None),
            Member::Person(name, _) => ("1", Some(name)),
            Member::Study(_) => ("2", None),
            Member::Displaced(_) => ("3", None),
        };
        let name = name.into_iter().flat_map(|name| name.0.iter().map(|part| &**part));
        key::encode([group, kind, key].into_iter().chain(name))
    }

    /// Returns the group by which an entry was sorted.
    pub(super) fn group_of(entry: &Entry) -> Arc<str> {
        key::decode(entry.key()).into_iter().next().unwrap_or_default().into()
    }

    /// Decodes the key and the member of an entry.
    pub(super) fn read(entry: &Entry) -> io::Result<(Arc<str>, Member)> {
        let key = key::decode(entry.key()).into_iter().nth(2).unwrap_or_default();
        Ok((key.into(), decode(entry.value())?))
    }
}

impl PatientGroups {
    /// Creates an empty group for an ID without a suffix, by the collation key of the ID.
    pub(super) fn of(base: &Arc<str>) -> Self {
        PatientGroups { bases: HashSet::from([base.clone()]), ..PatientGroups::default() }
    }

    /// Adds a member. `key` is the collation key of the patient's ID, or the UID of the study.
    pub(super) fn add(&mut self, key: Arc<str>, member: Member) {
        match member {
            Member::Patient(patient) => drop(self.patients.insert(key, *patient)),
            Member::Person(name, fold) => {
                let patient = self.patients.get_mut(&key);
                patient.into_iter().for_each(|patient| *patient.named.entry(Arc::new(name.clone())) = fold.clone());
            }
            Member::Study(study) => drop(self.studies.insert(key, study)),
            Member::Displaced(id) => drop(self.displaced.insert(key, id)),
        }
    }

    /// Converts the groups to their members.
    pub(super) fn into_members(self) -> impl Iterator<Item = (Arc<str>, Member)> {
        let patients = self.patients.into_iter().flat_map(|(identity, mut patient)| {
            let named = std::mem::take(&mut patient.named);
            let of_name =
                |(name, fold): (&Arc<Name>, &Fold)| (identity.clone(), Member::Person((**name).clone(), fold.clone()));
            let people: Vec<_> = named.iter().map(of_name).collect();
            [(identity, Member::Patient(Box::new(patient)))].into_iter().chain(people)
        });
        let studies = self.studies.into_iter().map(|(uid, study)| (uid, Member::Study(study)));
        let displaced = self.displaced.into_iter().map(|(identity, id)| (identity, Member::Displaced(id)));
        patients.chain(studies).chain(displaced)
    }

    pub(super) fn extend(&mut self, other: PatientGroups) {
        self.patients.extend(other.patients);
        self.studies.extend(other.studies);
        self.displaced.extend(other.displaced);
        self.bases.extend(other.bases);
    }

    /// Returns the IDs that occur, with and without their suffixes, except those whose collation
    /// key is known from the patients' rows.
    fn other_ids(&self) -> BTreeSet<&str> {
        let spelled = self.patients.values().flat_map(|patient| patient.spellings.keys().chain([&patient.id]));
        let linked = self.studies.values().map(|study| &study.patient);
        let all = spelled.chain(linked).chain(self.displaced.values());
        all.flat_map(|id| [&**id, patient_name::base(id)]).filter(|id| !self.identities.contains_key(*id)).collect()
    }
}

/// Queries the collation keys of the IDs in groups.
pub(super) fn learn_identities_of(writer: &mut Writer, groups: &mut PatientGroups) -> Result<(), Failure> {
    let of_rows = groups.patients.iter().map(|(identity, patient)| (patient.id.clone(), identity.clone()));
    groups.identities = of_rows.collect();
    let others = identities_of(writer, groups.other_ids())?;
    groups.identities.extend(others);
    Ok(())
}
