//! The patients with one Patient ID, if there are too many of them for memory: a placeholder in
//! place of an ID may have millions of names. Names and studies are sorted on disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fold::Fold;
use super::known_row::Patient;
use super::patient_group::{GroupedStudy, Member, PatientGroups};
use crate::disk::aggregate::{decode, put};
use crate::disk::key;
use crate::disk::runs::{Runs, Sorter};
use crate::index::Failure;
use crate::index::patient_name::{self, Name};

/// The number of bytes of members of each kind that are sorted in memory.
pub(super) const SORTED_IN_MEMORY: usize = 2 << 20;

/// The patients with one Patient ID.
pub(super) struct Crowd {
    /// The collation key of the ID without a suffix.
    pub(super) base: Arc<str>,
    /// The patient whose ID has no suffix, without the values of files.
    pub(super) patient: Option<Patient>,
    /// The ID without a suffix, if the values of that patient were recomputed.
    pub(super) displaced: Option<Arc<str>>,
    /// Whether an indexed file has the ID without a suffix.
    pub(super) has_values: bool,
    pub(super) has_studies: bool,
    /// Names and studies of the patient whose ID has no suffix, by name.
    members: Sorter,
    /// The patients whose ID has a suffix, and their studies, by the collation key of the ID.
    others: Sorter,
    directory: PathBuf,
}

/// A crowd to which all members have been added.
pub(super) struct SortedCrowd {
    pub(super) base: Arc<str>,
    pub(super) displaced: Option<Arc<str>>,
    pub(super) has_studies: bool,
    members: Runs,
    others: Runs,
    pub(super) directory: PathBuf,
}

/// A name of the patient whose ID has no suffix, with the values of its files or with one of its
/// studies.
pub(super) struct NameMember {
    /// The position of the name in the order of the names.
    pub(super) n: u32,
    pub(super) name: Name,
    pub(super) of_name: OfName,
}

#[derive(Serialize, Deserialize)]
pub(super) enum OfName {
    Values(Fold),
    Study(Arc<str>, GroupedStudy),
}

impl Crowd {
    /// Creates a crowd from the members that were gathered so far.
    pub(super) fn new(groups: PatientGroups, directory: &Path) -> io::Result<Self> {
        let sorter = || Sorter::new(directory, SORTED_IN_MEMORY);
        let mut crowd = Crowd {
            base: groups.bases.iter().next().cloned().unwrap_or_default(),
            patient: None,
            displaced: None,
            has_values: false,
            has_studies: false,
            members: sorter(),
            others: sorter(),
            directory: directory.to_owned(),
        };
        for (key, member) in groups.into_members() {
            crowd.add(key, member)?;
        }
        Ok(crowd)
    }

    /// Adds a member. If the patient whose ID has no suffix has a row, this patient must be added
    /// first.
    pub(super) fn add(&mut self, key: Arc<str>, member: Member) -> io::Result<()> {
        let is_of_base = self.patient.is_some()
            && match &member {
                Member::Study(study) => self.is_of_base(study),
                Member::Person(..) => key == self.base,
                Member::Patient(_) | Member::Displaced(_) => false,
            };
        match member {
            Member::Patient(patient) if key == self.base => self.patient = Some(*patient),
            Member::Displaced(id) if key == self.base => self.displaced = Some(id),
            Member::Person(name, fold) if is_of_base => {
                self.has_values |= !fold.is_empty();
                push(&mut self.members, &name, "", &OfName::Values(fold))?;
            }
            Member::Study(study) if is_of_base => {
                self.has_studies = true;
                let name = study.name.clone();
                push(&mut self.members, &name, &key.clone(), &OfName::Study(key, study))?;
            }
            member => {
                let group = match &member {
                    Member::Study(study) => study.of.as_ref().unwrap_or(&study.patient).clone(),
                    _ => key.clone(),
                };
                self.others.push_with(&member.sort_key(&group, &key), |bytes| put(&member, bytes))?;
            }
        }
        Ok(())
    }

    /// Returns whether a study belongs to the patient whose ID has no suffix, or is only linked to
    /// that patient.
    fn is_of_base(&self, study: &GroupedStudy) -> bool {
        match &study.of {
            Some(of) => *of == self.base,
            None => patient_name::base(&study.patient) == &*study.patient,
        }
    }

    /// Completes the crowd. Returns the patient whose ID has no suffix separately from the other
    /// patients.
    pub(super) fn finish(self) -> (Option<Patient>, SortedCrowd) {
        let Crowd { base, patient, displaced, has_studies, members, others, directory, .. } = self;
        let (members, others) = (members.finish(), others.finish());
        (patient, SortedCrowd { base, displaced, has_studies, members, others, directory })
    }

    /// Reads all members into memory.
    pub(super) fn into_groups(self) -> io::Result<PatientGroups> {
        let (patient, crowd) = self.finish();
        let mut groups = PatientGroups::of(&crowd.base);
        if let Some(patient) = patient {
            groups.add(crowd.base.clone(), Member::Patient(Box::new(patient)));
        }
        groups.displaced.extend(crowd.displaced.clone().map(|id| (crowd.base.clone(), id)));
        for member in crowd.members()? {
            let NameMember { name, of_name, .. } = member?;
            match of_name {
                OfName::Values(fold) => groups.add(crowd.base.clone(), Member::Person(name, fold)),
                OfName::Study(uid, study) => groups.add(uid, Member::Study(study)),
            }
        }
        for entry in crowd.others.entries()? {
            let (key, member) = Member::read(&entry?)?;
            groups.add(key, member);
        }
        Ok(groups)
    }
}

fn push(members: &mut Sorter, name: &Name, uid: &str, of_name: &OfName) -> io::Result<()> {
    let parts = name.0.iter().map(|part| &**part);
    members.push_with(&key::encode(parts.chain([uid])), |bytes| put(of_name, bytes))
}

impl SortedCrowd {
    /// Returns the names of the patient whose ID has no suffix, in order. Each name comes first
    /// with the values of its files, if there are any, and then with each study in the order of the
    /// UIDs.
    pub(super) fn members(&self) -> io::Result<impl Iterator<Item = io::Result<NameMember>> + use<>> {
        let mut last: Option<Name> = None;
        let mut n = 0;
        Ok(self.members.entries()?.map(move |entry| {
            let entry = entry?;
            let mut parts = key::decode(entry.key()).into_iter().map(String::into_boxed_str);
            let name = Name([(); 3].map(|()| parts.next().unwrap_or_default()));
            n += u32::from(last.as_ref().is_some_and(|last| *last != name));
            last = Some(name.clone());
            Ok(NameMember { n, name, of_name: decode(entry.value())? })
        }))
    }

    /// Calls a function with the patients whose ID has a suffix and with their studies, about
    /// `limit` members at a time.
    pub(super) fn for_each_other(
        &self,
        limit: usize,
        mut each: impl FnMut(PatientGroups) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut groups, mut size, mut last) = (PatientGroups::of(&self.base), 0, None);
        for entry in self.others.entries().map_err(Failure::of_temporary_file)? {
            let entry = entry.map_err(Failure::of_temporary_file)?;
            let group = Member::group_of(&entry);
            if size >= limit && last.as_ref() != Some(&group) {
                each(std::mem::replace(&mut groups, PatientGroups::of(&self.base)))?;
                size = 0;
            }
            let (key, member) = Member::read(&entry).map_err(Failure::of_temporary_file)?;
            groups.add(key, member);
            (size, last) = (size + 1, Some(group));
        }
        each(groups)
    }
}
