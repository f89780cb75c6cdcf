//! The studies of each patient, and the names in these studies.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use foldhash::HashMap;

use super::known_row::Patient;
use super::names;
use super::patient_group::PatientGroups;
use crate::index::patient_name::Name;

/// The names of one patient in studies and in other rows.
pub(super) struct About<'a> {
    /// The names in new studies.
    pub(super) bearers: Bearers<'a>,
    /// The names of studies that the index links to the patient.
    pub(super) linked: BTreeSet<Name>,
    /// The rows whose ID is the patient's ID with a suffix.
    variants: &'a [(String, Name)],
}

impl About<'_> {
    /// Returns the groups of the names of a patient. If studies of other programs are linked to a
    /// row of this program, the row receives the name in the files of these studies.
    pub(super) fn groups<'n>(
        &self,
        borne: &[names::Borne<'n>],
        patient: &Patient,
    ) -> io::Result<Vec<names::Group<'n>>> {
        if !patient.ours {
            return names::group(borne, patient.name.as_deref(), self.variants);
        }
        let groups = names::group(borne, None, self.variants)?;
        let base = |groups: &[names::Group<'n>]| {
            groups.iter().find(|group| group.patient == names::Patient::Base).map(|base| base.names.clone())
        };
        let has_all = |base: Vec<&Name>| self.linked.iter().all(|name| base.contains(&name));
        let Some(name) = self.linked.first().filter(|_| !base(&groups).is_some_and(has_all)) else { return Ok(groups) };
        let of_linked = names::group(borne, Some(name), self.variants)?;
        Ok(if base(&of_linked).is_some() { of_linked } else { groups })
    }
}

/// The names in the new studies of one patient, each with its studies.
pub(super) type Bearers<'a> = BTreeMap<Name, BTreeSet<&'a Arc<str>>>;

/// The studies of each patient: pairs of the patient's collation key and the UID of the study,
/// sorted.
pub(super) struct ByPatient<'r>(Vec<(&'r str, &'r Arc<str>)>);

impl<'r> ByPatient<'r> {
    pub(super) fn of(groups: &'r PatientGroups) -> Self {
        let studies = groups.studies.iter().filter_map(|(key, study)| Some((study.of.as_deref()?, key)));
        let mut studies: Vec<_> = studies.collect();
        studies.sort_unstable();
        ByPatient(studies)
    }

    pub(super) fn identities(&self) -> impl Iterator<Item = &'r str> {
        self.0.chunk_by(|a, b| a.0 == b.0).map(|studies| studies[0].0)
    }

    /// Returns the studies of one patient.
    pub(super) fn of_patient(&self, identity: &str) -> impl Iterator<Item = &'r Arc<str>> {
        let from = self.0.partition_point(|(other, _)| *other < identity);
        self.0[from..].iter().take_while(move |(other, _)| *other == identity).map(|(_, study)| *study)
    }

    /// Returns the names of a patient. If this program may not change the name of a patient,
    /// studies of earlier runs stay with that patient.
    pub(super) fn about<'v>(
        &self,
        identity: &str,
        patient: &Patient,
        groups: &'r PatientGroups,
        variants: &'v Variants,
    ) -> About<'v>
    where
        'r: 'v,
    {
        let (mut bearers, mut linked) = (Bearers::new(), BTreeSet::new());
        for key in self.of_patient(identity) {
            let study = &groups.studies[key];
            match study.is_bearer(patient) {
                true => drop(bearers.entry(study.name.clone()).or_default().insert(key)),
                false => drop(linked.insert(study.name.clone())),
            }
        }
        About { bearers, linked, variants: variants.get(identity).map_or(&[], Vec::as_slice) }
    }
}

/// The existing rows with a suffix, by the collation key of their ID without the suffix.
pub(super) type Variants = HashMap<String, Vec<(String, Name)>>;
