//! Decides about the closing step, once all instances are in the index: which patient each study has, and which conflicts
//! are reported. The decision is made from all instances, in whatever order they were read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem::take;
use std::sync::{Arc, Mutex};

use foldhash::HashMap;

use super::batch::{Parents, Writer};
use super::disagreements::rows_that_disagree;
use super::fold::Fold;
use super::known::Rows;
use super::known_row::Patient;
use super::names::{self, Conflicts, Name};
use super::settlement::{Finding, OwnValues, PatientRow, Settlement, State};
use super::study_patients::{About, ByPatient, Variants};
use super::{Existing, Failure};
use crate::dicom::Level;

/// Rows with a suffix that an earlier run has inserted, by the identity of their ID.
type OwnSuffixed = BTreeMap<String, Existing>;

#[derive(Default)]
pub(super) struct Decided {
    pub(super) patients: Vec<PatientRow>,
    contested: HashMap<Arc<str>, Patient>,
    variants: Variants,
    /// Rows with a suffix that no name needs any more.
    abandoned: Vec<Existing>,
    pub(super) patient_of: HashMap<Arc<str>, Arc<str>>,
    pub(super) findings: Vec<Finding>,
}

impl Decided {
    /// Patients with a suffix whose rows an earlier run has inserted are settled like those of this run. The others of that
    /// run are left without a study. Returns how many of the rows the killed run has inserted that this one continues.
    fn take_suffixed(
        &mut self,
        mut suffixed: OwnSuffixed,
        identity: impl Fn(&str) -> Option<String>,
        given: &HashSet<String>,
    ) -> u64 {
        let mut given_again = 0;
        for patient in self.patients.iter_mut().filter(|patient| matches!(patient.state, State::New)) {
            let Some(row) = identity(&patient.id).and_then(|identity| suffixed.remove(&identity)) else { continue };
            if let Some(history) = row.history {
                given_again += u64::from(given.contains(&row.key));
                let values = OwnValues::EarlierRun { history, is_unfinished: row.is_unfinished, inserted: None };
                patient.state = State::Ours { values, spelled: row.key.into() };
            }
        }
        self.abandoned = suffixed.into_values().collect();
        given_again
    }

    fn find(&mut self, reason: &'static str, uid: &str, detail: &str) {
        self.findings.push(Finding { reason, uid: uid.to_owned(), detail: detail.to_owned(), is_note: false });
    }
}

impl Patient {
    /// The names that take part in the decision which people have the ID of a row of this program: those of files that are
    /// indexed.
    fn own_names(&self) -> Vec<Arc<Name>> {
        let names = self.named.iter().filter(|(_, row)| self.ours && !row.fold.is_empty());
        names.map(|(name, _)| name.clone()).collect()
    }

    /// The spelling of the ID in a row of this program: one of files that are indexed, whichever came first. A file whose ID is
    /// another than that in the row names a patient with a suffix.
    fn final_id(&self, identities: &HashMap<Arc<str>, Arc<str>>) -> Arc<str> {
        let is_of_the_row = |spelled: &Arc<str>| identities.get(spelled) == identities.get(&self.id);
        let spelled = self.spellings.iter().filter(|(spelled, study)| study.is_some() && is_of_the_row(spelled));
        let first = spelled.map(|(spelled, _)| spelled).next();
        first.filter(|_| self.ours).unwrap_or(&self.id).clone()
    }
}

fn is_spelled(id: &str, spelled: &str) -> bool {
    spelled == id || spelled == names::base(id)
}

/// The values for a row that was there: those of instances with its name, and those of studies that the index links to the row,
/// whatever their name. Also returns whether there are instances with another name.
fn said_of_its_own(patient: &Patient, linked: &BTreeSet<Name>) -> (Fold, bool) {
    let (mut fold, mut is_renamed) = (Fold::default(), false);
    for (name, row) in patient.named.iter().filter(|_| !patient.ours) {
        let agrees = patient.name.as_ref().is_none_or(|row| row.agrees(name));
        if agrees || linked.contains(&**name) {
            fold.merge(row.fold.clone());
            is_renamed |= !agrees;
        }
    }
    (fold, is_renamed)
}

impl Writer {
    /// Decides about all rows. Takes the rows that the run knows: no further batch is written.
    pub fn settle(&mut self, in_full: bool) -> Result<Settlement, Failure> {
        let mut rows = self.known.take();
        rows.forget_images();
        let mut ghosts = Vec::new();
        if in_full {
            open_named(&mut rows);
            ghosts = rows.take_ghosts();
            self.learn_ghosts(&ghosts, &rows)?;
        }
        let decided = if in_full { self.decide(&mut rows)? } else { Decided::default() };
        let Decided { mut patients, contested, variants, abandoned, patient_of, mut findings } = decided;
        let is_there = |patient: &PatientRow| matches!(patient.state, State::There);
        let is_new = |patient: &PatientRow| matches!(patient.state, State::New);
        let place = |patient: &PatientRow| (is_new(patient), patient.id.clone(), is_there(patient));
        patients.sort_by_key(place);
        // A row that was there, or lacked and was inserted, may be that of new studies and of its own.
        patients.dedup_by(|next, row| {
            let is_same = next.id == row.id && is_there(next) && !matches!(row.state, State::New);
            if is_same {
                row.fold.merge(std::mem::take(&mut next.fold));
                row.is_renamed |= next.is_renamed;
                row.is_completed |= next.is_completed;
                row.said.merge(std::mem::take(&mut next.said));
            }
            is_same
        });
        let existing_patients = patients.partition_point(|patient| !is_new(patient));
        findings.sort();
        let sorted = |keys: Vec<&Arc<str>>| {
            let mut keys: Vec<Arc<str>> = keys.into_iter().cloned().collect();
            keys.sort();
            keys
        };
        let (studies, series) = (sorted(rows.studies.keys().collect()), sorted(rows.series.keys().collect()));
        let stale_studies = Mutex::default();
        let unfinished = if in_full { rows.left_unfinished(&patients) } else { Parents::default() };
        Ok(Settlement {
            in_full,
            patients,
            existing_patients,
            contested,
            variants,
            shared: Mutex::default(),
            abandoned,
            ghosts,
            patient_of,
            studies,
            series,
            stale_studies,
            findings,
            unfinished,
            rows,
        })
    }

    /// Takes the patients out of the known rows, and decides about them.
    fn decide(&mut self, rows: &mut Rows) -> Result<Decided, Failure> {
        let mut patients = take(&mut rows.patients);
        let studies = ByPatient::of(rows);
        let (variants, suffixed) = self.patiently(|writer| writer.variants(&patients, &studies, rows))?;
        let shared = self.patiently(|writer| writer.shared_patients(&patients, rows))?;
        let mut decided = Decided { findings: rows_that_disagree(rows), ..Decided::default() };
        decided.findings.extend(self.patiently(|writer| writer.studies_with_contested_ids(rows))?);
        for (identity, patient) in patients.iter_mut().filter(|(_, patient)| patient.ours) {
            let Some(name) = shared.get(&**identity) else { continue };
            patient.ours = false;
            patient.name = name.clone().map(Arc::new);
            patient.is_completed |= rows.completes;
        }
        decided.findings.extend(self.patiently(|writer| writer.rows_of_files_not_chosen(rows))?);
        let people = self.patiently(|writer| writer.people(&patients, rows))?;
        for (identity, patient) in patients {
            if patient.may_be_renamed() {
                decided.contested.insert(identity.clone(), patient.clone());
            }
            let about = studies.about(&identity, &patient, rows, &variants);
            self.settle_patient(patient, &about, rows, &mut decided);
        }
        decided.variants = variants;
        let new = decided.patients.iter().filter(|patient| matches!(patient.state, State::New) && !suffixed.is_empty());
        let new: Vec<String> = new.map(|patient| patient.id.to_string()).collect();
        let keys: Vec<&str> = new.iter().map(String::as_str).collect();
        let identities = self.patiently(|writer| writer.index.identities(&keys))?;
        let identities: HashMap<&str, String> = keys.iter().copied().zip(identities).collect();
        self.inserted.patients += decided.take_suffixed(suffixed, |id| identities.get(id).cloned(), &self.given);
        people.set_values(&mut decided.patients, rows);
        Ok(decided)
    }

    fn variants(
        &mut self,
        patients: &HashMap<Arc<str>, Patient>,
        studies: &ByPatient<'_>,
        rows: &Rows,
    ) -> Result<(Variants, OwnSuffixed), Failure> {
        let (mut variants, mut own) = (Variants::default(), OwnSuffixed::default());
        if self.was_empty[Level::Patient as usize] {
            return Ok((variants, own));
        }
        let with_studies = studies.identities().filter_map(|identity| Some(&*patients.get(identity)?.id));
        let ids: BTreeSet<&str> = with_studies.chain(rows.displaced_patients.values().map(|id| &**id)).collect();
        let mut found = self.index.variants(&Vec::from_iter(ids))?;
        self.learn_patients(&mut found, rows)?;
        let bases: Vec<&str> = found.iter().map(|row| names::base(&row.key)).collect();
        let identities = self.index.identities(&bases)?;
        for (row, identity) in found.into_iter().zip(identities) {
            if self.given.contains(&row.key) {
                if row.history.is_some() {
                    own.insert(row.identity.clone(), row);
                }
                continue;
            }
            // All that files say is known of patients whose row an earlier run has inserted, and is grouped anew.
            let is_gathered = |base: &Patient| base.ours && (base.history.is_some() || self.is_interleaved);
            let is_gathered = match patients.get(identity.as_str()) {
                Some(base) => is_gathered(base),
                None => rows.displaced_patients.contains_key(identity.as_str()),
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

    pub(super) fn settle_patient(&self, mut patient: Patient, about: &About<'_>, rows: &Rows, decided: &mut Decided) {
        let smallest = |name: &Name| about.bearers.get(name)?.first().map(|study| &***study);
        let own: Vec<Arc<Name>> = patient.own_names();
        // A row that was there takes only names of new studies; what those of its own studies say fills it.
        let names = about.bearers.keys().chain(own.iter().map(|name| &**name));
        let names: BTreeSet<&Name> = names.collect();
        let borne: Vec<names::Borne> = names.into_iter().map(|name| (name, smallest(name))).collect();
        let id = patient.final_id(&rows.identities);
        let is_completed = patient.is_completed && !patient.ours;
        let mut said = Fold::default();
        patient.named.iter().filter(|_| is_completed).for_each(|(_, row)| said.merge(row.fold.clone()));
        let (mut base, mut is_renamed) = said_of_its_own(&patient, &about.linked);
        for group in &about.groups(&borne, &patient) {
            let (row, reason) = self.row_of(&id, &group.patient);
            let studies: Vec<&Arc<str>> =
                group.names.iter().filter_map(|name| about.bearers.get(*name)).flatten().copied().collect();
            for study in &studies {
                if rows.studies[*study].patient != row {
                    decided.patient_of.insert((*study).clone(), row.clone());
                }
                if let Some(detail) = &reason {
                    decided.find("patient-names", study, detail);
                }
            }
            let mut fold = Fold::default();
            for name in &group.names {
                patient.named.get_mut(*name).into_iter().for_each(|row| fold.merge(take(&mut row.fold)));
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
            decided.patients.push(PatientRow {
                id: row,
                state,
                fold,
                is_renamed: false,
                is_completed: false,
                said: Fold::default(),
            });
        }
        let otherwise = patient.spellings.iter().filter(|(spelled, _)| !is_spelled(&id, spelled));
        for study in otherwise.filter_map(|(_, study)| study.as_ref()) {
            let detail = "its Patient ID is spelled otherwise in the index, which takes the spellings for one";
            decided.find("patient-id-spelling", study, detail);
        }
        // The row was inserted last as an instance with the name in the row says.
        let is_last = |name: &Arc<Name>| patient.name.as_ref().is_some_and(|last| last == name);
        let last = patient.named.iter().find(|(name, _)| is_last(name)).and_then(|(_, row)| row.written());
        let written = last.or_else(|| patient.named.iter().find_map(|(_, row)| row.written())).cloned();
        let inserted = written.clone();
        let of_earlier_run =
            |history| OwnValues::EarlierRun { history, is_unfinished: patient.is_unfinished, inserted };
        let state = match patient.history.clone().map(of_earlier_run).or(written.map(OwnValues::ThisRun)) {
            Some(values) if patient.ours => State::Ours { values, spelled: patient.id },
            _ => State::There,
        };
        decided.patients.push(PatientRow { id, state, fold: base, is_renamed, is_completed, said });
    }

    /// The ID of a group's row, and the detail of the conflict that is reported for its studies.
    fn row_of(&self, id: &Arc<str>, patient: &names::Patient) -> (Arc<str>, Option<String>) {
        let told =
            |what: &str| Some(format!("the name conflicts with that of another patient with this Patient ID; {what}"));
        match patient {
            names::Patient::Base => (id.clone(), None),
            names::Patient::Existing(row) => (row.as_str().into(), told("its row was there already")),
            names::Patient::Suffixed(_) if self.policy.conflicts == Conflicts::Merge => {
                (id.clone(), told("merged, as was asked"))
            }
            names::Patient::Suffixed(suffix) => {
                let row = format!("{id}{suffix}");
                let tables = self.index.tables();
                let holds = |level, column| tables.of(level).column(column).is_some_and(|column| column.holds(&row));
                match holds(Level::Patient, "origid") && holds(Level::Study, "patientid") {
                    true => (row.into(), told(&format!("kept apart by the suffix {suffix}"))),
                    false => (id.clone(), told("merged, since the column is too short for a suffix")),
                }
            }
        }
    }
}

/// Opens the studies that instances of a series name. The study below which the series was inserted depends on the order of the
/// instances, and derived columns must not.
fn open_named(rows: &mut Rows) {
    for series in rows.series.values().filter(|series| series.row.is_ours()) {
        for study in &series.others {
            rows.studies.get_mut(study).into_iter().for_each(|study| study.open = true);
        }
    }
}
