//! Decides again about the people with the Patient IDs of rows that a PACS has begun to use.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use super::decided::DecidedAgain;
use super::group_source::Gathered;
use super::patient_group::{self, PatientGroups};
use super::settlement::Settlement;
use super::shared_rows::LOOK;
use super::study_patients::ByPatient;
use super::writer::Writer;
use super::{identities, settle};
use crate::dicom::Table;
use crate::index::existing::Mode;
use crate::index::{Existing, Failure, patient_name};

/// Decides again about the people with the Patient IDs of rows that a PACS has begun to use.
/// Returns whether there are any.
pub fn settle_shared(writer: &mut Writer, settlement: &mut Settlement) -> Result<bool, Failure> {
    let shared = std::mem::take(settlement.shared.get_mut().unwrap_or_else(PoisonError::into_inner));
    if shared.is_empty() {
        return Ok(false);
    }
    let keys: Vec<&str> = shared.iter().map(String::as_str).collect();
    let rows = writer.patiently(|writer| writer.index.find(Table::Patient, &keys, LOOK))?;
    let bases = identities::identities_of(writer, rows.iter().map(|row| patient_name::base(&row.key)))?;
    let bases: HashSet<&str> = bases.values().map(|base| &**base).collect();
    let by_identity: HashMap<&str, &Existing> = rows.iter().map(|row| (row.identity.as_str(), row)).collect();
    let mut again = DecidedAgain::default();
    if let Some(groups) = settlement.groups.clone() {
        let decide = |gathered| match gathered {
            Gathered::Few(groups) => decide_again(writer, groups, &by_identity, &mut again),
            // A PACS rarely begins to use a row at this time, so it is acceptable to keep all
            // patients with one ID in memory.
            Gathered::Crowd(crowd) => {
                decide_again(writer, crowd.into_groups().map_err(Failure::of_temporary_file)?, &by_identity, &mut again)
            }
        };
        groups.for_each(|base| bases.contains(base), decide)?;
    }
    settlement.replace(again);
    Ok(true)
}

/// Decides again about the patients of some groups whose rows a PACS uses.
pub(super) fn decide_again(
    writer: &mut Writer,
    mut groups: PatientGroups,
    shared: &HashMap<&str, &Existing>,
    again: &mut DecidedAgain,
) -> Result<(), Failure> {
    patient_group::learn_identities_of(writer, &mut groups)?;
    let mut patients = std::mem::take(&mut groups.patients);
    let studies = ByPatient::of(&groups);
    let (variants, _) = writer.patiently(|writer| settle::variants(writer, &patients, &studies, &groups))?;
    patients.retain(|identity, patient| shared.contains_key(&**identity) && patient.may_be_renamed());
    for (identity, mut patient) in patients {
        (patient.ours, patient.name) = (false, shared[&*identity].name.clone().map(Arc::new));
        patient.is_completed |= writer.policy.mode == Mode::Complete;
        let about = studies.about(&identity, &patient, &groups, &variants);
        again.studies.extend(studies.of_patient(&identity).cloned());
        again.patients.insert(patient.id.clone());
        again.patients.insert(patient.final_id(&groups.identities));
        settle::settle_patient(writer, &identity, patient, &about, &groups, &mut again.decided)
            .map_err(Failure::of_temporary_file)?;
    }
    Ok(())
}
