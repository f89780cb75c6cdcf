//! The patients and studies of a run, sorted on disk by the Patient ID without a suffix, and read
//! in the order of these IDs.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::crowd::Crowd;
use super::fold::Fold;
use super::identities::{self, identities_of};
use super::known_row::{Patient, Row, Study, who};
use super::patient_group::{GroupedStudy, Inserter, Member, PatientGroups};
use super::writer::Writer;
use crate::dicom::Level;
use crate::disk::aggregate::{Aggregated, put};
use crate::disk::key::{self, text};
use crate::disk::runs::{Entry, Runs, Sorter};
use crate::index::Failure;
use crate::index::patient_name::{self, Name};

/// The number of patients after which a portion is decided about. A portion also ends when its
/// members exceed the memory limit.
const PATIENTS: usize = 500;

/// The number of bytes of members that are sorted in memory.
const SORTED_IN_MEMORY: usize = 4 << 20;

/// Collects the members of groups, except patients whose ID has no suffix. These patients are
/// stored in the order of the groups already.
pub(super) struct GroupSorter(Sorter);

impl GroupSorter {
    pub(super) fn new(writer: &Writer) -> Self {
        GroupSorter(Sorter::new(writer.known.directory(), SORTED_IN_MEMORY))
    }

    /// `base` is the collation key of the ID without its suffix, and `key` identifies the member.
    fn push(&mut self, base: &str, key: &str, member: &Member) -> io::Result<()> {
        self.0.push_with(&member.sort_key(base, key), |bytes| put(member, bytes))
    }
}

/// All patients and their studies, on disk.
pub struct GroupSource {
    patients: Aggregated<Patient>,
    people: Aggregated<Row>,
    members: Runs,
    /// The number of names and studies of one ID that are decided about in memory.
    limit: usize,
}

/// The patients with one Patient ID, or with several IDs.
pub(super) enum Gathered {
    Few(PatientGroups),
    /// The patients with one ID are too many for memory.
    Crowd(Box<Crowd>),
}

/// An item with the collation key of its ID.
type Identified<T> = (Arc<str>, T);

impl GroupSource {
    /// Calls a function with the groups, several patients at a time, in the order of their IDs.
    /// `is_wanted` receives the collation key of an ID without a suffix, and returns whether the
    /// group of that ID is read.
    pub(super) fn for_each(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        mut each: impl FnMut(Gathered) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut reader = GroupReader::new(self).map_err(Failure::of_temporary_file)?;
        let (mut groups, mut size) = (PatientGroups::default(), 0);
        while let Some(base) = reader.next_base().map_err(Failure::of_temporary_file)? {
            let (gathered, count) = reader.gather(&base, is_wanted(&base)).map_err(Failure::of_temporary_file)?;
            match gathered {
                Gathered::Few(few) => {
                    groups.extend(few);
                    size += count;
                }
                crowd => each(crowd)?,
            }
            if groups.patients.len() >= PATIENTS || size > self.limit {
                (size, _) = (0, each(Gathered::Few(std::mem::take(&mut groups)))?);
            }
        }
        each(Gathered::Few(groups))
    }

    /// Returns the patients that have a row.
    fn patients(&self) -> io::Result<impl Iterator<Item = io::Result<Identified<Patient>>> + use<>> {
        let all =
            self.patients.iter()?.map(|patient| patient.map(|(identity, patient)| (text(&identity).into(), patient)));
        Ok(all.filter(|patient| patient.as_ref().map_or(true, |(_, patient)| patient.is_row)))
    }

    /// Returns the values of files, by the collation key of the ID and by name.
    fn people(&self) -> io::Result<impl Iterator<Item = io::Result<Identified<(Name, Fold)>>> + use<>> {
        Ok(self.people.iter()?.map(|person| {
            let (key, row) = person?;
            let mut texts = key::decode(&key).into_iter();
            let identity = texts.next().unwrap_or_default().into();
            let name = Name([(); 3].map(|()| texts.next().unwrap_or_default().into()));
            Ok((identity, (name, row.fold)))
        }))
    }
}

/// The members of all groups, read in the order of the IDs.
struct GroupReader<'s> {
    source: &'s GroupSource,
    /// The patients whose ID has no suffix.
    patients: Peeked<Patient>,
    people: Peeked<(Name, Fold)>,
    members: Peeked<Entry>,
}

impl<'s> GroupReader<'s> {
    fn new(source: &'s GroupSource) -> io::Result<Self> {
        let patients =
            source.patients()?.filter(|patient| patient.as_ref().map_or(true, |(_, patient)| !has_suffix(&patient.id)));
        let members = source.members.entries()?.map(|entry| entry.map(|entry| (Member::group_of(&entry), entry)));
        Ok(GroupReader {
            source,
            patients: Peeked::new(patients),
            people: Peeked::new(source.people()?),
            members: Peeked::new(members),
        })
    }

    /// Returns the collation key of the next ID without a suffix.
    fn next_base(&mut self) -> io::Result<Option<Arc<str>>> {
        Ok([self.patients.key()?, self.members.key()?].into_iter().flatten().min())
    }

    /// Reads the patients and studies of an ID. Returns them and their number, or nothing if they
    /// are not wanted.
    fn gather(&mut self, base: &Arc<str>, is_wanted: bool) -> io::Result<(Gathered, usize)> {
        let mut gathering = Gathering { groups: PatientGroups::of(base), crowd: None, count: 0, source: self.source };
        let patient = self.patients.next_of(base)?;
        let is_row = patient.is_some();
        if let Some(patient) = patient.filter(|_| is_wanted) {
            gathering.add(base.clone(), Member::Patient(Box::new(patient)))?;
        }
        self.people.skip_to(base)?;
        while let Some((name, fold)) = self.people.next_of(base)? {
            if is_wanted && is_row {
                gathering.add(base.clone(), Member::Person(name, fold))?;
            }
        }
        while let Some(entry) = self.members.next_of(base)? {
            if is_wanted {
                let (key, member) = Member::read(&entry)?;
                gathering.add(key, member)?;
            }
        }
        Ok(gathering.finish(is_wanted))
    }
}

/// The patients and studies of an ID, while they are read.
struct Gathering<'s> {
    groups: PatientGroups,
    crowd: Option<Box<Crowd>>,
    count: usize,
    source: &'s GroupSource,
}

impl Gathering<'_> {
    fn add(&mut self, key: Arc<str>, member: Member) -> io::Result<()> {
        self.count += 1;
        if self.crowd.is_none() && self.count > self.source.limit {
            let mut crowd = Crowd::new(std::mem::take(&mut self.groups), self.source.members.directory())?;
            crowd.add(key, member)?;
            self.crowd = Some(Box::new(crowd));
            return Ok(());
        }
        match &mut self.crowd {
            Some(crowd) => crowd.add(key, member),
            None => {
                self.groups.add(key, member);
                Ok(())
            }
        }
    }

    fn finish(self, is_wanted: bool) -> (Gathered, usize) {
        match self.crowd {
            Some(crowd) => (Gathered::Crowd(crowd), self.count),
            None if is_wanted => (Gathered::Few(self.groups), self.count),
            None => (Gathered::Few(PatientGroups::default()), 0),
        }
    }
}

/// An iterator over items with a key that can look ahead by one item.
struct Peeked<T>(std::iter::Peekable<Box<dyn Iterator<Item = io::Result<Identified<T>>>>>);

impl<T> Peeked<T> {
    fn new(items: impl Iterator<Item = io::Result<Identified<T>>> + 'static) -> Self {
        let items: Box<dyn Iterator<Item = _>> = Box::new(items);
        Peeked(items.peekable())
    }

    /// Returns the key of the next item.
    fn key(&mut self) -> io::Result<Option<Arc<str>>> {
        match self.0.peek() {
            Some(Ok((key, _))) => Ok(Some(key.clone())),
            Some(Err(_)) => self.0.next().map_or(Ok(None), |error| error.map(|(key, _)| Some(key))),
            None => Ok(None),
        }
    }

    /// Returns the next item if it has this key.
    fn next_of(&mut self, key: &str) -> io::Result<Option<T>> {
        match self.0.next_if(|next| next.as_ref().map_or(true, |(next, _)| **next == *key)) {
            Some(item) => item.map(|(_, item)| Some(item)),
            None => Ok(None),
        }
    }

    /// Skips the items whose key is less than `key`.
    fn skip_to(&mut self, key: &str) -> io::Result<()> {
        while let Some(item) = self.0.next_if(|next| next.as_ref().map_or(true, |(next, _)| **next < *key)) {
            item?;
        }
        Ok(())
    }
}

fn has_suffix(id: &str) -> bool {
    patient_name::base(id) != id
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
            groups.push(&base, uid, &member).map_err(Failure::of_temporary_file)?;
        }
    }
    Ok(())
}

/// Adds the patients that the run knows.
pub(super) fn add_patients(writer: &mut Writer, mut groups: GroupSorter) -> Result<GroupSource, Failure> {
    let (patients, people, displaced, has_suffixed, limit) = {
        let mut known = writer.known.lock();
        let displaced = known.folded_again[Level::Patient as usize].clone();
        let limit = known.members_in_memory;
        (known.patients.values(), known.people.values(), displaced, known.has_suffixed_patients, limit)
    };
    for (identity, id) in displaced {
        let base = base_identity(writer, &id, &identity)?;
        groups.push(&base, &identity, &Member::Displaced((*id).into())).map_err(Failure::of_temporary_file)?;
    }
    let mut source = GroupSource { patients, people, members: Runs::new(writer.known.directory()), limit };
    if has_suffixed {
        add_suffixed_patients(writer, &source, &mut groups)?;
    }
    source.members = groups.0.finish();
    Ok(source)
}

fn add_suffixed_patients(writer: &mut Writer, source: &GroupSource, groups: &mut GroupSorter) -> Result<(), Failure> {
    let mut people = Peeked::new(source.people().map_err(Failure::of_temporary_file)?);
    for patient in source.patients().map_err(Failure::of_temporary_file)? {
        let (identity, patient) = patient.map_err(Failure::of_temporary_file)?;
        if !has_suffix(&patient.id) {
            continue;
        }
        let base = base_identity(writer, &patient.id, &identity)?;
        groups.push(&base, &identity, &Member::Patient(Box::new(patient))).map_err(Failure::of_temporary_file)?;
        people.skip_to(&identity).map_err(Failure::of_temporary_file)?;
        while let Some((name, fold)) = people.next_of(&identity).map_err(Failure::of_temporary_file)? {
            groups.push(&base, &identity, &Member::Person(name, fold)).map_err(Failure::of_temporary_file)?;
        }
    }
    Ok(())
}

/// Returns the collation key of an ID without its suffix.
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
