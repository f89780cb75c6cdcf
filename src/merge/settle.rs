//! Decides which patient each study has, and which conflicts are reported, once all instances are in the index. The decision is made
//! from all instances, in whatever order they were read.

use std::collections::BTreeSet;
use std::mem::take;
use std::sync::Arc;

use foldhash::HashMap;

use super::decided::{Decided, OwnSuffixed};
use super::finding::FindingReason;
use super::fold::Fold;
use super::known_row::Patient;
use super::names::{self, Conflicts};
use super::own_values::OwnValues;
use super::patient_group::PatientGroups;
use super::patient_row::{PatientRow, State};
use super::study_patients::{About, ByPatient, Variants};
use super::writer::Writer;
use super::{completion, identities, own_rows, people, shared_rows};
use crate::dicom::Level;
use crate::index::Failure;
use crate::index::existing::Mode;
use crate::index::patient_name::{self, Name};

impl Patient {
    /// The names that take part in the decision which people have the ID of a row of this program: those of files that are
    /// indexed.
    fn own_names(&self) -> Vec<Arc<Name>> {
        let names = self.named.iter().filter(|(_, fold)| self.ours && !fold.is_empty());
        names.map(|(name, _)| name.clone()).collect()
    }

    /// The spelling of the ID in a row of this program: one of files that are indexed, whichever came first. A file whose ID is
    /// another than that in the row names a patient with a suffix.
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

/// The values for a row that was there: those of instances with its name, and those of studies that the index links to the row,
/// whatever their name. Also returns whether there are instances with another name.
///
/// A refresh changes the name in the row, and must find the same instances the next time: the names of linked studies count instead.
fn said_of_its_own(patient: &Patient, linked: &BTreeSet<Name>, mode: Mode) -> (Fold, bool) {
    let (mut fold, mut is_renamed) = (Fold::default(), false);
    for (name, of_name) in patient.named.iter().filter(|_| !patient.ours) {
        let agrees = match mode == Mode::Refresh && !linked.is_empty() {
            true => linked.iter().any(|linked| linked.agrees(name)),
            false => patient.name.as_ref().is_none_or(|row| row.agrees(name)),
        };
        if agrees || linked.contains(&**name) {
            fold.merge(of_name.clone());
            is_renamed |= !agrees;
        }
    }
    (fold, is_renamed)
}

/// Decides about some patients.
pub(super) fn decide(writer: &mut Writer, groups: &mut PatientGroups) -> Result<Decided, Failure> {
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
    let people = writer.patiently(|writer| people::people(writer, &patients, groups))?;
    for (identity, patient) in patients {
        let about = studies.about(&identity, &patient, groups, &variants);
        settle_patient(writer, &identity, patient, &about, groups, &mut decided);
    }
    let new = decided.patients.iter().filter(|patient| matches!(patient.state, State::New) && !suffixed.is_empty());
    let new: Vec<String> = new.map(|patient| patient.id.to_string()).collect();
    let identities = identities::identities_of(writer, new.iter().map(String::as_str))?;
    let identity = |id: &str| identities.get(id).map(|identity| identity.to_string());
    writer.inserted.patients += decided.take_suffixed(suffixed, identity, &writer.given);
    people.set_values(&mut decided.patients, groups);
    decided.patients = in_order(decided.patients);
    Ok(decided)
}

pub(super) fn variants(
    writer: &mut Writer,
    patients: &HashMap<Arc<str>, Patient>,
    studies: &ByPatient<'_>,
    groups: &PatientGroups,
) -> Result<(Variants, OwnSuffixed), Failure> {
    let (mut variants, mut own) = (Variants::default(), OwnSuffixed::default());
    if writer.was_empty[Level::Patient as usize] {
        return Ok((variants, own));
    }
    let with_studies = studies.identities().filter_map(|identity| Some(&*patients.get(identity)?.id));
    // The row of one of several names may be there, whether or not a new study bears the name.
    let has_several = |patient: &&Patient| patient.ours && patient.named.iter().nth(1).is_some();
    let with_names = patients.values().filter(has_several).map(|patient| &*patient.id);
    let displaced = groups.displaced.values().map(|id| &**id);
    let ids: BTreeSet<&str> = with_studies.chain(with_names).chain(displaced).collect();
    let mut found = writer.index.variants(&Vec::from_iter(ids))?;
    own_rows::learn_histories(writer, Level::Patient, &mut found)?;
    let bases: Vec<&str> = found.iter().map(|row| patient_name::base(&row.key)).collect();
    let identities = writer.index.identities(&bases)?;
    for (row, identity) in found.into_iter().zip(identities) {
        if writer.given.contains(&row.key) {
            if row.history.is_some() {
                own.insert(row.identity.clone(), row);
            }
            continue;
        }
        // All that files say is known of patients whose row an earlier run has inserted, and is grouped anew.
        let is_gathered = |base: &Patient| base.ours && (base.history.is_some() || writer.is_interleaved);
        let is_gathered = match patients.get(identity.as_str()) {
            Some(base) => is_gathered(base),
            None => groups.displaced.contains_key(identity.as_str()),
        };
        if is_gathered && row.history.is_some() {
            own.insert(row.identity.clone(), row);
            continue;
        }
        // The name in a row that this run has inserted is that of the instance which came first.
        let ours = patients.get(row.identity.as_str()).filter(|patient| patient.ours);
        let name = ours.and_then(|patient| Some((**patient.named.keys().next()?).clone())).or(row.name);
        variants.entry(identity).or_default().extend(name.map(|name| (row.key, name)));
    }
    Ok((variants, own))
}

pub(super) fn settle_patient(
    writer: &Writer,
    identity: &str,
    mut patient: Patient,
    about: &About<'_>,
    groups: &PatientGroups,
    decided: &mut Decided,
) {
    let smallest = |name: &Name| about.bearers.get(name)?.first().map(|study| &***study);
    let own: Vec<Arc<Name>> = patient.own_names();
    // A row that was there takes only names of new studies; what those of its own studies say fills it.
    let names = about.bearers.keys().chain(own.iter().map(|name| &**name));
    let names: BTreeSet<&Name> = names.collect();
    let borne: Vec<names::Borne> = names.into_iter().map(|name| (name, smallest(name))).collect();
    let id = patient.final_id(&groups.identities);
    let is_completed = patient.is_completed && !patient.ours;
    let mut said = Fold::default();
    patient.named.iter().filter(|_| is_completed).for_each(|(_, fold)| said.merge(fold.clone()));
    let (mut base, mut is_renamed) = said_of_its_own(&patient, &about.linked, writer.policy.mode);
    for group in &about.groups(&borne, &patient) {
        let (row, reason) = row_of(writer, &id, &group.patient);
        let studies: Vec<&Arc<str>> =
            group.names.iter().filter_map(|name| about.bearers.get(*name)).flatten().copied().collect();
        for study in &studies {
            if groups.studies[*study].patient != row {
                decided.patient_of.insert((*study).clone(), row.clone());
            }
            if let Some(detail) = &reason {
                decided.find(FindingReason::PatientNames, study, detail);
            }
        }
        let mut fold = Fold::default();
        for name in &group.names {
            patient.named.get_mut(*name).into_iter().for_each(|of_name| fold.merge(take(of_name)));
        }
        let state = match group.patient {
            _ if *row == *id => {
                base.merge(fold);
                // The name of another person completes no name.
                is_renamed |= group.patient != names::Patient::Base;
                continue;
            }
            _ if studies.is_empty() => continue,
            names::Patient::Existing(_) => State::There,
            _ => State::New,
        };
        decided.patients.push(PatientRow::new(row, state, fold));
    }
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
    let is_displaced = matches!(state, State::Ours { .. }) && groups.displaced.contains_key(identity);
    let row = PatientRow { is_renamed, is_completed, said, is_displaced, ..PatientRow::new(id, state, base) };
    decided.patients.push(row);
}

/// The ID of a group's row, and the detail of the conflict that is reported for its studies.
fn row_of(writer: &Writer, id: &Arc<str>, patient: &names::Patient) -> (Arc<str>, Option<String>) {
    let told =
        |what: &str| Some(format!("the name conflicts with that of another patient with this Patient ID; {what}"));
    match patient {
        names::Patient::Base => (id.clone(), None),
        names::Patient::Existing(row) => (row.as_str().into(), told("its row was there already")),
        names::Patient::Suffixed(_) if writer.policy.conflicts == Conflicts::Merge => {
            (id.clone(), told("merged, as was asked"))
        }
        names::Patient::Suffixed(suffix) => {
            let row = format!("{id}{suffix}");
            let tables = writer.index.tables();
            let holds = |level, column| tables.of(level).column(column).is_some_and(|column| column.holds(&row));
            match holds(Level::Patient, "origid") && holds(Level::Study, "patientid") {
                true => (row.into(), told(&format!("kept apart by the suffix {suffix}"))),
                false => (id.clone(), told("merged, since the column is too short for a suffix")),
            }
        }
    }
}

/// Sorts rows, those that exist first. A row that was there, or lacked and was inserted, may be that of new studies and of its own.
fn in_order(mut patients: Vec<PatientRow>) -> Vec<PatientRow> {
    let is_there = |patient: &PatientRow| matches!(patient.state, State::There);
    let is_new = |patient: &PatientRow| matches!(patient.state, State::New);
    patients.sort_by_key(|patient| (is_new(patient), patient.id.clone(), is_there(patient)));
    patients.dedup_by(|next, row| {
        let is_same = next.id == row.id && is_there(next) && !matches!(row.state, State::New);
        if is_same {
            row.fold.merge(take(&mut next.fold));
            row.is_renamed |= next.is_renamed;
            row.is_completed |= next.is_completed;
            row.said.merge(take(&mut next.said));
        }
        is_same
    });
    patients
}
