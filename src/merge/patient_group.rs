//! The patients with one Patient ID and their studies, as the closing step decides about them: the ID that files have, and that
//! ID with the suffixes that a PACS or this program has given. A patient is decided about together with these, and independently of
//! all others, so that a few patients at a time are in memory.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::sync::Arc;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use super::fold::Fold;
use super::identities::{self, identities_of};
use super::known::unreadable;
use super::known_row::{Patient, Row, Study, who};
use super::writer::Writer;
use crate::dicom::Level;
use crate::disk::aggregate::{Aggregated, Keyed, put};
use crate::disk::key::{self, text};
use crate::disk::runs::{Entry, Runs, Sorter};
use crate::index::Failure;
use crate::index::patient_name::{self, Name};

/// The number of patients that are decided about at a time, at least, as long as there are more.
const PATIENTS: usize = 500;

/// The bytes of members that are sorted in memory.
const SORTED_IN_MEMORY: usize = 4 << 20;

/// The program that inserted a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Inserter {
    ThisRun,
    EarlierRun,
    Another,
}

/// A study, as far as the decision about its patient depends on it.
#[derive(Clone, Serialize, Deserialize)]
pub struct GroupedStudy {
    /// The identity of the ID of the patient whose names the study takes part in.
    pub of: Option<Arc<str>>,
    /// The name in the last file that has one.
    pub name: Name,
    pub inserter: Inserter,
    /// The Patient ID in the row.
    pub patient: Arc<str>,
    pub is_to_be_completed: bool,
    /// The row looks unfinished, is not this program's and is not completed.
    pub is_left_unfinished: bool,
}

impl GroupedStudy {
    pub fn is_ours(&self) -> bool {
        self.inserter != Inserter::Another
    }

    pub fn is_of_this_run(&self) -> bool {
        self.inserter == Inserter::ThisRun
    }
}

/// Patients that are decided about together, and their studies.
#[derive(Default)]
pub struct PatientGroups {
    /// By identity.
    pub patients: HashMap<Arc<str>, Patient>,
    pub studies: BTreeMap<Arc<str>, GroupedStudy>,
    /// The IDs of patients that were folded again, by identity.
    pub displaced: BTreeMap<Arc<str>, Arc<str>>,
    /// The identities of the IDs that occur.
    pub identities: HashMap<Arc<str>, Arc<str>>,
    /// The identities of the IDs without a suffix. The groups are those of these.
    pub bases: HashSet<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
enum Member {
    Patient(Box<Patient>),
    /// The values of the files with one name.
    Person(Name, Fold),
    Study(GroupedStudy),
    Displaced(Arc<str>),
}

/// Collects the members of groups, but for patients whose ID has no suffix: these are in the order of the groups anyway.
pub(super) struct GroupSorter(Sorter);

impl GroupSorter {
    /// `base` is the identity of the ID without its suffix, and `key` that of the member.
    fn push(&mut self, base: &str, key: &str, member: &Member) -> io::Result<()> {
        let (kind, name) = match member {
            Member::Patient(_) => ("0", Vec::new()),
            Member::Person(name, _) => ("1", name.0.iter().map(|part| &**part).collect()),
            Member::Study(_) => ("2", Vec::new()),
            Member::Displaced(_) => ("3", Vec::new()),
        };
        let key = key::encode([base, kind, key].into_iter().chain(name));
        self.0.push_with(&key, |bytes| put(member, bytes))
    }
}

/// All patients and their studies, on disk.
pub struct GroupSource {
    patients: Aggregated<Patient>,
    people: Aggregated<Row>,
    members: Runs,
}

/// A patient, by the identity of the ID.
type Identified = (Arc<str>, Patient);

impl GroupSource {
    /// Calls a function with the groups, some patients at a time, in the order of their IDs. `is_wanted` returns whether the group of an
    /// ID without a suffix, by its identity, is read at all.
    pub(super) fn for_each(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        mut each: impl FnMut(PatientGroups) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut groups = PatientGroups::default();
        let mut patients = Peeked::new(self.patients().map_err(unreadable)?);
        let members = self.members.entries().map_err(unreadable)?;
        let mut members = Peeked::new(members.map(|entry| entry.map(|entry| (base_of(&entry), entry))));
        loop {
            let (of_patient, of_member) = (patients.key().map_err(unreadable)?, members.key().map_err(unreadable)?);
            let Some(base) = [of_patient, of_member].into_iter().flatten().min() else { return each(groups) };
            if groups.patients.len() >= PATIENTS && !groups.bases.contains(&base) {
                each(std::mem::take(&mut groups))?;
            }
            let is_wanted = is_wanted(&base);
            if is_wanted {
                groups.bases.insert(base.clone());
            }
            while let Some(patient) = patients.next_of(&base).map_err(unreadable)? {
                if is_wanted {
                    groups.patients.insert(base.clone(), patient);
                }
            }
            while let Some(entry) = members.next_of(&base).map_err(unreadable)? {
                if is_wanted {
                    groups.add(&entry).map_err(unreadable)?;
                }
            }
        }
    }

    /// The patients whose ID has no suffix, with the values of the files of each name.
    fn patients(&self) -> io::Result<impl Iterator<Item = io::Result<Identified>> + use<>> {
        let all = self.all_patients()?;
        Ok(all.filter(|patient| patient.as_ref().map_or(true, |(_, patient)| !has_suffix(&patient.id))))
    }

    fn all_patients(&self) -> io::Result<impl Iterator<Item = io::Result<Identified>> + use<>> {
        let mut people = self.people.iter()?.peekable();
        let is_row = |one: &io::Result<Keyed<Patient>>| one.as_ref().map_or(true, |(_, patient)| patient.is_row);
        Ok(self.patients.iter()?.filter(is_row).map(move |patient| {
            let (identity, mut patient) = patient?;
            let identity: Arc<str> = text(&identity).into();
            let prefix = key::encode([&*identity]);
            let is_due = |key: &[u8]| *key < *prefix || key.starts_with(&prefix);
            while let Some(person) = people.next_if(|next| next.as_ref().map_or(true, |(key, _)| is_due(key))) {
                let (key, row) = person?;
                if key.starts_with(&prefix) {
                    let mut name = key::decode(&key).into_iter().skip(1).map(String::into_boxed_str);
                    let name = Name([(); 3].map(|()| name.next().unwrap_or_default()));
                    *patient.named.entry(Arc::new(name)) = row.fold;
                }
            }
            Ok((identity, patient))
        }))
    }
}

/// An iterator over what has a key, of which the next item is known.
struct Peeked<T, I: Iterator<Item = io::Result<(Arc<str>, T)>>>(std::iter::Peekable<I>);

impl<T, I: Iterator<Item = io::Result<(Arc<str>, T)>>> Peeked<T, I> {
    fn new(items: I) -> Self {
        Peeked(items.peekable())
    }

    /// The key of the next item.
    fn key(&mut self) -> io::Result<Option<Arc<str>>> {
        match self.0.peek() {
            Some(Ok((key, _))) => Ok(Some(key.clone())),
            Some(Err(_)) => self.0.next().map_or(Ok(None), |error| error.map(|(key, _)| Some(key))),
            None => Ok(None),
        }
    }

    /// The next item, if it has this key.
    fn next_of(&mut self, key: &str) -> io::Result<Option<T>> {
        match self.0.next_if(|next| next.as_ref().map_or(true, |(next, _)| **next == *key)) {
            Some(item) => item.map(|(_, item)| Some(item)),
            None => Ok(None),
        }
    }
}

/// The identity of the ID without its suffix.
fn base_of(member: &Entry) -> Arc<str> {
    key::decode(member.key()).into_iter().next().unwrap_or_default().into()
}

fn has_suffix(id: &str) -> bool {
    patient_name::base(id) != id
}

impl PatientGroups {
    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let mut texts = key::decode(entry.key()).into_iter();
        let (base, key) = (texts.next().unwrap_or_default(), texts.nth(1).unwrap_or_default());
        self.bases.insert(base.into());
        let key: Arc<str> = key.into();
        match postcard::from_bytes(entry.value()).map_err(|_| io::ErrorKind::InvalidData)? {
            Member::Patient(patient) => drop(self.patients.insert(key, *patient)),
            Member::Person(name, fold) => {
                let patient = self.patients.get_mut(&key);
                patient.into_iter().for_each(|patient| *patient.named.entry(Arc::new(name.clone())) = fold.clone());
            }
            Member::Study(study) => drop(self.studies.insert(key, study)),
            Member::Displaced(id) => drop(self.displaced.insert(key, id)),
        }
        Ok(())
    }

    /// The IDs that occur, also without their suffixes, but for those of the rows of patients.
    fn other_ids(&self) -> BTreeSet<&str> {
        let spelled = self.patients.values().flat_map(|patient| patient.spellings.keys().chain([&patient.id]));
        let linked = self.studies.values().map(|study| &study.patient);
        let all = spelled.chain(linked).chain(self.displaced.values());
        all.flat_map(|id| [&**id, patient_name::base(id)]).filter(|id| !self.identities.contains_key(*id)).collect()
    }
}

pub(super) fn new_groups(writer: &Writer) -> GroupSorter {
    GroupSorter(Sorter::new(writer.known.directory(), SORTED_IN_MEMORY))
}

/// Asks the database for the identities of the IDs in groups.
pub(super) fn learn_identities_of(writer: &mut Writer, groups: &mut PatientGroups) -> Result<(), Failure> {
    let of_rows = groups.patients.iter().map(|(identity, patient)| (patient.id.clone(), identity.clone()));
    groups.identities = of_rows.collect();
    let others = identities_of(writer, groups.other_ids())?;
    groups.identities.extend(others);
    Ok(())
}

/// Adds studies to the groups of the patients that they may belong to.
pub(super) fn add_studies(
    writer: &mut Writer,
    studies: &[(Arc<str>, Study)],
    groups: &mut GroupSorter,
) -> Result<(), Failure> {
    let people: Vec<(Box<str>, Name)> = studies.iter().map(|(_, study)| who(study)).collect();
    let files = people.iter().map(|(id, _)| &**id);
    let rows = studies.iter().map(|(_, study)| &*study.patient);
    let ids = files.chain(rows).flat_map(|id| [id, patient_name::base(id)]);
    let identities = identities_of(writer, ids)?;
    let identity = |id: &str| identities.get(id).cloned().unwrap_or_else(|| id.into());
    for ((uid, study), (id, name)) in studies.iter().zip(people) {
        let inserter = match (study.row.is_of_this_run(), study.row.is_ours()) {
            (true, _) => Inserter::ThisRun,
            (false, true) => Inserter::EarlierRun,
            (false, false) => Inserter::Another,
        };
        let of = match inserter {
            Inserter::Another if study.link_differs => None,
            Inserter::Another => Some(&*study.patient),
            Inserter::ThisRun | Inserter::EarlierRun => Some(&*id),
        };
        let linked = Some(&*study.patient).filter(|_| inserter != Inserter::ThisRun);
        let bases = of.into_iter().chain(linked).map(|id| identity(patient_name::base(id)));
        let member = Member::Study(GroupedStudy {
            of: of.map(identity),
            name,
            inserter,
            patient: study.patient.clone(),
            is_to_be_completed: study.row.is_to_be_completed(),
            is_left_unfinished: study.is_left_unfinished(),
        });
        for base in BTreeSet::from_iter(bases) {
            groups.push(&base, uid, &member).map_err(unreadable)?;
        }
    }
    Ok(())
}

/// Adds the patients that the run knows.
pub(super) fn add_patients(writer: &mut Writer, mut groups: GroupSorter) -> Result<GroupSource, Failure> {
    let (patients, people, displaced, has_suffixed) = {
        let mut known = writer.known.lock();
        let displaced = known.folded_again[Level::Patient as usize].clone();
        (known.patients.values(), known.people.values(), displaced, known.has_suffixed_patients)
    };
    for (identity, id) in displaced {
        let base = base_identity(writer, &id, &identity)?;
        groups.push(&base, &identity, &Member::Displaced((*id).into())).map_err(unreadable)?;
    }
    let mut source = GroupSource { patients, people, members: Runs::new(writer.known.directory()) };
    let all = has_suffixed.then(|| source.all_patients()).transpose().map_err(unreadable)?;
    for patient in all.into_iter().flatten() {
        let (identity, mut patient) = patient.map_err(unreadable)?;
        if !has_suffix(&patient.id) {
            continue;
        }
        let base = base_identity(writer, &patient.id, &identity)?;
        for (name, fold) in std::mem::take(&mut patient.named).iter() {
            let person = Member::Person((**name).clone(), fold.clone());
            groups.push(&base, &identity, &person).map_err(unreadable)?;
        }
        groups.push(&base, &identity, &Member::Patient(Box::new(patient))).map_err(unreadable)?;
    }
    source.members = groups.0.finish();
    Ok(source)
}

/// The identity of an ID without its suffix.
fn base_identity(writer: &mut Writer, id: &str, identity: &str) -> Result<Arc<str>, Failure> {
    match patient_name::base(id) {
        base if base == id => Ok(identity.into()),
        base => {
            writer.patiently(|writer| identities::learn_identities(writer, &[base]))?;
            let known = writer.known.lock();
            Ok(known.identities.get(base).cloned().unwrap_or_else(|| base.into()))
        }
    }
}
