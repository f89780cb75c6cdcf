//! Decides about the patients with one Patient ID that are too many for memory, by the rules of
//! [`super::settle`]. Only the numbers of names are kept in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::crowd::{Crowd, NameMember, OfName, SORTED_IN_MEMORY, SortedCrowd};
use super::crowd_names::{CrowdNames, NameGroup, Survey};
use super::crowd_variants::CrowdVariants;
use super::decided::Decided;
use super::decisions::Decisions;
use super::ghost::Ghost;
use super::group_row::{BaseValues, GroupRow};
use super::identities::identities_of;
use super::known_row::Patient;
use super::patient_group::PatientGroups;
use super::patient_row::State;
use super::settle::{add_own_values, base_row, decide_about};
use super::shared_rows::shared_patients;
use super::writer::Writer;
use crate::dicom::Level;
use crate::disk::aggregate::{decode, put};
use crate::disk::runs::{Runs, Sorter};
use crate::index::Failure;
use crate::index::existing::Mode;
use crate::index::patient_name::{Name, has_own_suffix};

/// The number of decisions that are sorted together.
const PORTION: usize = 500;

/// Decides about the patients with one ID, and stores the decisions.
pub(super) fn decide_about_crowd(writer: &mut Writer, crowd: Crowd, decisions: &mut Decisions) -> Result<(), Failure> {
    if writer.policy.mode == Mode::Complete {
        // The decision which people have rows of a lost run is made in memory.
        return decide_about(writer, crowd.into_groups().map_err(Failure::of_temporary_file)?, decisions);
    }
    let has_values = crowd.has_values;
    let (patient, crowd) = crowd.finish();
    let is_ghost =
        |patient: &Patient| crowd.displaced.is_some() && patient.ours && !has_values && !has_own_suffix(&patient.id);
    match patient {
        Some(patient) if !is_ghost(&patient) => {
            decisions.displaced.extend(crowd.displaced.iter().map(|_| patient.id.clone()));
            decide_about_base(writer, &crowd, patient, decisions)?;
        }
        ghost => {
            let key = ghost.map(|patient| patient.id.to_string());
            decisions.ghosts.extend(key.map(|key| Ghost { level: Level::Patient, key }));
            let mut groups = PatientGroups::of(&crowd.base);
            groups.displaced.extend(crowd.displaced.clone().map(|id| (crowd.base.clone(), id)));
            decide_about(writer, groups, decisions)?;
        }
    }
    let limit = writer.known.lock().members_in_memory;
    crowd.for_each_other(limit, |groups| decide_about(writer, groups, decisions))
}

/// Decides about the patient whose ID has no suffix and about all others whose files have that ID.
fn decide_about_base(
    writer: &mut Writer,
    crowd: &SortedCrowd,
    mut patient: Patient,
    decisions: &mut Decisions,
) -> Result<(), Failure> {
    let spelled = patient.spellings.keys().chain([&patient.id]);
    let identities = identities_of(writer, spelled.map(|id| &**id))?;
    patient.is_crowd = true;
    let survey = Survey::of(crowd, &patient).map_err(Failure::of_temporary_file)?;
    let mut variants = CrowdVariants::read(writer, crowd, &patient, &survey.is_included)?;
    let patient = fix_name(writer, &crowd.base, patient)?;
    let survey = Survey::of(crowd, &patient).map_err(Failure::of_temporary_file)?;
    let names = CrowdNames { crowd, patient: &patient, survey: &survey, variants: &variants };
    let (members, mut base) = sort_by_group(&names, writer.policy.mode).map_err(Failure::of_temporary_file)?;
    let id = patient.final_id(&identities);
    let mut decided = Decided::default();
    let mut last: Option<(NameGroup, GroupRow)> = None;
    for member in members.entries().map_err(Failure::of_temporary_file)? {
        let member = member.map_err(Failure::of_temporary_file)?;
        let (group, name, of_name): GroupMember = decode(member.value()).map_err(Failure::of_temporary_file)?;
        let mut row = match last.take() {
            Some((of, row)) if of == group => row,
            other => {
                other.into_iter().for_each(|(_, row)| row.finish(&id, &mut base, &mut decided));
                GroupRow::new(writer, &id, group.patient(&name))
            }
        };
        match of_name {
            OfName::Values(fold) => row.add_values(fold),
            OfName::Study(uid, study) => row.add_study(&uid, &study, &mut decided),
        }
        last = Some((group, row));
        if decided.len() >= PORTION {
            keep(writer, &mut variants, std::mem::take(&mut decided), decisions)?;
        }
    }
    last.into_iter().for_each(|(_, row)| row.finish(&id, &mut base, &mut decided));
    let row = base_row(patient, id, base, crowd.displaced.is_some(), &mut decided);
    let is_left_unfinished = survey.has_unfinished_study && matches!(row.state, State::There);
    decisions.unfinished.patients += u64::from(is_left_unfinished);
    decided.patients.push(row);
    keep(writer, &mut variants, decided, decisions)?;
    decisions.abandoned.extend(variants.abandoned().map_err(Failure::of_temporary_file)?);
    Ok(())
}

/// Fixes the name of a patient whose row other programs use.
fn fix_name(writer: &mut Writer, base: &Arc<str>, patient: Patient) -> Result<Patient, Failure> {
    let mut patients = BTreeMap::from([(base.clone(), patient)]);
    let mut shared = writer.patiently(|writer| shared_patients(writer, &patients))?;
    let mut patient = patients.remove(base).unwrap_or_default();
    if let (true, Some(name)) = (patient.ours, shared.remove(&**base)) {
        patient.ours = false;
        patient.name = name.map(Arc::new);
    }
    Ok(patient)
}

/// The group of a name, the name, and its values or one of its studies.
type GroupMember = (NameGroup, Name, OfName);

/// Sorts the names and studies of a crowd by group. Also returns the values of an existing row.
fn sort_by_group(names: &CrowdNames<'_>, mode: Mode) -> io::Result<(Runs, BaseValues)> {
    let groups = names.group()?;
    let mut sorter = Sorter::new(&names.crowd.directory, SORTED_IN_MEMORY);
    let mut base = BaseValues::default();
    let mut linked = names.survey.linked.clone();
    if mode == Mode::Refresh {
        names.for_each_member(&groups, |group, NameMember { name, of_name, .. }| {
            let is_of_base =
                matches!((group, of_name), (Some(NameGroup::Base), OfName::Study(_, study)) if names.is_bearer(&study));
            linked.extend(is_of_base.then_some(name));
            Ok(())
        })?;
    }
    names.for_each_member(&groups, |group, member| {
        let NameMember { n, name, of_name } = member;
        match &of_name {
            OfName::Values(fold) => {
                add_own_values(&mut base, names.patient, &name, &linked, mode, || fold.clone());
            }
            // Studies that other programs have linked to the patient stay with the patient.
            OfName::Study(_, study) if !names.is_bearer(study) => return Ok(()),
            OfName::Study(..) => {}
        }
        match group {
            Some(group) => sorter.push_with(&group.sort_key(n), |bytes| put(&(group, name, of_name), bytes)),
            None => Ok(()),
        }
    })?;
    Ok((sorter.finish(), base))
}

/// Stores the decisions about some rows and studies.
fn keep(
    writer: &mut Writer,
    variants: &mut CrowdVariants,
    mut decided: Decided,
    decisions: &mut Decisions,
) -> Result<(), Failure> {
    variants.take_own(writer, &mut decided)?;
    decisions.add(decided).map_err(Failure::of_temporary_file)
}
