//! Decides which patient each study has, and which conflicts are reported, once all instances are
//! in the index. The decision takes all instances into account, and does not depend on the order in
//! which they were read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::take;
use std::sync::Arc;

use foldhash::HashMap;

use super::decided::{Decided, OwnSuffixed};
use super::decisions::Decisions;
use super::finding::FindingReason;
use super::fold::Fold;
use super::group_row::{BaseValues, GroupRow};
use super::known_row::Patient;
use super::names;
use super::own_values::OwnValues;
use super::patient_group::{self, PatientGroups};
use super::patient_row::{PatientRow, State};
use super::study_patients::{About, ByPatient, Variants};
use super::writer::Writer;
use super::{completion, identities, own_rows, people, shared_rows};
use crate::dicom::Level;
use crate::index::existing::Mode;
use crate::index::patient_name::{self, Name};
use crate::index::{Existing, Failure};

impl Patient {
    /// Returns the names that take part in the decision which people have the ID of a row of this
    /// program: the names in indexed files.
    fn own_names(&self) -> Vec<Arc<Name>> {
        let names = self.named.iter().filter(|(_, fold)| self.ours && !fold.is_empty());
        names.map(|(name, _)| name.clone()).collect()
    }

    /// Returns the spelling of the ID in a row of this program: the first spelling in the indexed
    /// files, in sort order. A file whose ID differs from the ID in the row names a patient with a
    /// suffix.
    pub(super) fn final_id(&self, identities: &HashMap<Arc<str>, Arc<str>>) -> Arc<str> {
        let is_of_the_row = |spelled: &Arc<str>| identities.get(spelled) == identities.get(&self.id);
        let spelled = self.spellings.iter().filter(|(spelled, study)| study.is_some() && is_of_the_row(spelled));
        let first = spelled.map(|(spelled, _)| spelled).next();
        first.filter(|_| self.ours).unwrap_or(&self.id).clone()
    }
}

fn is_spelled(id: &str, spelled: &str) -> bool {
    spelled == id || spelled == patient_name::base(id)
}

/// Adds the values of the files with one name to those of an existing row, if the row has this
/// name, or if studies that the index links to the row have it.
///
/// A refresh changes the name in the row, and must find the same instances the next time. It
/// therefore compares with the names of the studies that are linked to the row in the end instead.
pub(super) fn add_own_values(
    base: &mut BaseValues,
    patient: &Patient,
    name: &Name,
    linked: &BTreeSet<Name>,
    mode: Mode,
    fold: impl FnOnce() -> Fold,
) {
    if patient.ours {
        return;
    }
    let agrees = match mode == Mode::Refresh && !linked.is_empty() {
        true => linked.iter().any(|linked| linked.agrees(name)),
        false => patient.name.as_ref().is_none_or(|row| row.agrees(name)),
    };
    if agrees || linked.contains(name) {
        base.fold.merge(fold());
        base.is_renamed |= !agrees;
    }
}

/// Decides about some patients.
fn decide(writer: &mut Writer, groups: &mut PatientGroups) -> Result<Decided, Failure> {
    let mut patients = take(&mut groups.patients);
    let studies = ByPatient::of(groups);
    let (variants, suffixed) = writer.patiently(|writer| variants(writer, &patients, &studies, groups))?;
    let shared = writer.patiently(|writer| shared_rows::shared_patients(writer, &patients))?;
    let mut decided = Decided::default();
    if writer.policy.mode == Mode::Complete {
        decided.findings.extend(writer.patiently(|writer| completion::studies_with_contested_ids(writer, groups))?);
    }
    for (identity, patient) in patients.iter_mut().filter(|(_, patient)| patient.ours) {
        let Some(name) = shared.get(&**identity) else { continue };
        patient.ours = false;
        patient.name = name.clone().map(Arc::new);
        patient.is_completed |= writer.policy.mode == Mode::Complete;
    }
    let mut people = writer.patiently(|writer| people::people(writer, &patients, groups))?;
    people.leave_rows(suffixed.keys().cloned());
    for (identity, patient) in patients {
        let about = studies.about(&identity, &patient, groups, &variants);
        settle_patient(writer, &identity, patient, &about, groups, &mut decided).map_err(Failure::of_temporary_file)?;
    }
    let new = decided.patients.iter().filter(|patient| matches!(patient.state, State::New) && !suffixed.is_empty());
    let new: Vec<String> = new.map(|patient| patient.id.to_string()).collect();
    let identities = identities::identities_of(writer, new.iter().map(String::as_str))?;
    let identity = |id: &str| identities.get(id).map(|identity| identity.to_string());
    writer.inserted.patients += decided.take_suffixed(suffixed, identity, |id| writer.has_given(id));
    people.set_values(&mut decided.patients, groups).map_err(Failure::of_temporary_file)?;
    Ok(decided)
}

pub(super) fn variants(
    writer: &mut Writer,
    patients: &BTreeMap<Arc<str>, Patient>,
    studies: &ByPatient<'_>,
    groups: &PatientGroups,
) -> Result<(Variants, OwnSuffixed), Failure> {
    let (mut variants, mut own) = (Variants::default(), OwnSuffixed::default());
    if writer.was_empty[Level::Patient as usize] {
        return Ok((variants, own));
    }
    let with_studies = studies.identities().filter_map(|identity| Some(&*patients.get(identity)?.id));
    // The row for one of several names may exist, whether or not a new study has that name.
    let has_several = |patient: &&Patient| patient.ours && patient.has_several_names();
    let with_names = patients.values().filter(has_several).map(|patient| &*patient.id);
    let displaced = groups.displaced.values().map(|id| &**id);
    let ids: BTreeSet<&str> = with_studies.chain(with_names).chain(displaced).collect();
    let mut found = writer.index.variants(&Vec::from_iter(ids))?;
    own_rows::learn_histories(writer, Level::Patient, &mut found)?;
    let bases: Vec<&str> = found.iter().map(|row| patient_name::base(&row.key)).collect();
    let identities = writer.index.identities(&bases)?;
    for (row, identity) in found.into_iter().zip(identities) {
        // If an earlier run inserted the row of a patient, the values of all files of the patient
        // are known, and the names are grouped again.
        let is_gathered = |base: &Patient| base.ours && (base.history.is_some() || writer.is_interleaved);
        let is_gathered = match patients.get(identity.as_str()) {
            Some(base) => is_gathered(base),
            None => groups.displaced.contains_key(identity.as_str()),
        };
        match role_of(writer, &row, is_gathered) {
            RoleOfVariant::Own => {
                own.insert(row.identity.clone(), row);
                continue;
            }
            RoleOfVariant::NoPart => continue,
            RoleOfVariant::Variant => {}
        }
        variants.entry(identity).or_default().extend(row.name.map(|name| (row.key, name)));
    }
    Ok((variants, own))
}

/// The role of a row with a suffix in the decision about its Patient ID.
pub(super) enum RoleOfVariant {
    /// A row of an earlier run, which is reused for a name or is not needed any more.
    Own,
    /// A row that does not take part: a row that the killed run inserted and that no longer belongs
    /// to this program; a row of this program for files whose ID contains the suffix, since such
    /// files are about other people than files whose ID does not; or a row that this run inserted
    /// because studies of other programs are linked to the patient.
    NoPart,
    /// A row with a name, which receives the studies with this name.
    Variant,
}

/// Returns the role of a row. If all values of the patients are known, their names are grouped
/// again.
pub(super) fn role_of(writer: &Writer, row: &Existing, is_gathered: bool) -> RoleOfVariant {
    if !patient_name::has_own_suffix(&row.key) && is_own_row(writer, row) {
        return RoleOfVariant::NoPart;
    }
    let has_given = writer.has_given(&row.key);
    if (has_given || is_gathered) && row.history.is_some() {
        return RoleOfVariant::Own;
    }
    // The name in a row that a batch of this run has inserted is that of the file which was read
    // first.
    match has_given || writer.known.lock().is_of_this_run(Level::Patient, &row.identity) {
        true => RoleOfVariant::NoPart,
        false => RoleOfVariant::Variant,
    }
}

fn is_own_row(writer: &Writer, row: &Existing) -> bool {
    row.history.is_some() || writer.known.lock().is_ours(Level::Patient, &row.identity)
}

pub(super) fn settle_patient(
    writer: &Writer,
    identity: &str,
    mut patient: Patient,
    about: &About<'_>,
    all: &PatientGroups,
    decided: &mut Decided,
) -> io::Result<()> {
    let smallest = |name: &Name| about.bearers.get(name)?.first().map(|study| &***study);
    let own: Vec<Arc<Name>> = patient.own_names();
    // An existing row only receives names of new studies. The names in the studies of the row
    // itself fill it.
    let names = about.bearers.keys().chain(own.iter().map(|name| &**name));
    let names: BTreeSet<&Name> = names.collect();
    let borne: Vec<names::Borne> = names.into_iter().map(|name| (name, smallest(name))).collect();
    let id = patient.final_id(&all.identities);
    let is_completed = patient.is_completed && !patient.ours;
    let mut said = Fold::default();
    patient.named.iter().filter(|_| is_completed).for_each(|(_, fold)| said.merge(fold.clone()));
    let groups = about.groups(&borne, &patient)?;
    let mut linked = about.linked.clone();
    if writer.policy.mode == Mode::Refresh {
        let of_base =
            groups.iter().filter(|group| group.patient == names::Patient::Base).flat_map(|group| &group.names);
        linked.extend(of_base.filter(|name| about.bearers.contains_key(**name)).map(|name| (*name).clone()));
    }
    let mut base = BaseValues::default();
    for (name, fold) in patient.named.iter() {
        add_own_values(&mut base, &patient, name, &linked, writer.policy.mode, || fold.clone());
    }
    for names::Group { names, patient: of_group } in groups {
        let mut row = GroupRow::new(writer, &id, of_group);
        for study in names.iter().filter_map(|name| about.bearers.get(*name)).flatten() {
            row.add_study(study, &all.studies[*study], decided);
        }
        for name in names {
            patient.named.get_mut(name).into_iter().for_each(|of_name| row.add_values(take(of_name)));
        }
        row.finish(&id, &mut base, decided);
    }
    let is_displaced = all.displaced.contains_key(identity);
    let row = base_row(patient, id, base, is_displaced, decided);
    decided.patients.push(PatientRow { is_completed, said, ..row });
    Ok(())
}

/// Returns the row of a Patient ID without a suffix. Reports studies whose files have a different
/// spelling of the ID.
pub(super) fn base_row(
    patient: Patient,
    id: Arc<str>,
    base: BaseValues,
    is_displaced: bool,
    decided: &mut Decided,
) -> PatientRow {
    let otherwise = patient.spellings.iter().filter(|(spelled, _)| !is_spelled(&id, spelled));
    for study in otherwise.filter_map(|(_, study)| study.as_ref()) {
        let detail = "its Patient ID is spelled otherwise in the index, which takes the spellings for one";
        decided.find(FindingReason::PatientIdSpelling, study, detail);
    }
    let (written, inserted) = (patient.written.clone(), patient.written.clone());
    let of_earlier_run = |history| OwnValues::EarlierRun { history, is_unfinished: patient.is_unfinished, inserted };
    let state = match patient.history.clone().map(of_earlier_run).or(written.map(OwnValues::ThisRun)) {
        Some(values) if patient.ours => State::Ours { values, spelled: patient.id },
        _ => State::There,
    };
    let is_displaced = matches!(state, State::Ours { .. }) && is_displaced;
    PatientRow { is_renamed: base.is_renamed, is_displaced, ..PatientRow::new(id, state, base.fold) }
}

/// Decides about some patients, and stores the decisions.
pub(super) fn decide_about(
    writer: &mut Writer,
    mut groups: PatientGroups,
    decisions: &mut Decisions,
) -> Result<(), Failure> {
    patient_group::learn_identities_of(writer, &mut groups)?;
    decisions.ghosts.extend(groups.take_ghosts());
    let displaced = groups.displaced.keys().filter_map(|identity| groups.patients.get(identity));
    decisions.displaced.extend(displaced.map(|patient| patient.id.clone()));
    let decided = decide(writer, &mut groups)?;
    decisions.unfinished.patients += groups.left_unfinished(&decided.patients);
    decisions.add(decided).map_err(Failure::of_temporary_file)
}
