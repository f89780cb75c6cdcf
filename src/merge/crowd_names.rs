//! Assigns the names of a crowd to patients by the rule of [`super::names`].

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::crowd::{NameMember, OfName, SORTED_IN_MEMORY, SortedCrowd};
use super::crowd_variants::CrowdVariants;
use super::known_row::Patient;
use super::name_groups::{NameGrouper, OF_ROW};
use super::names;
use super::patient_group::GroupedStudy;
use crate::disk::key;
use crate::index::patient_name::{Name, Words, agree, suffix};

/// The role of each name of a crowd in the decision about its patients.
pub(super) struct Survey {
    /// Whether each name takes part in the decision which people have the ID. These are the names
    /// of new studies, and the names in the indexed files of a row of this program.
    pub(super) is_included: Vec<bool>,
    /// The names of studies that the index links to the patient.
    pub(super) linked: BTreeSet<Name>,
    /// Whether a study that is linked to the patient stays unfinished.
    pub(super) has_unfinished_study: bool,
}

impl Survey {
    pub(super) fn of(crowd: &SortedCrowd, patient: &Patient) -> io::Result<Self> {
        let mut survey = Survey { is_included: Vec::new(), linked: BTreeSet::new(), has_unfinished_study: false };
        for member in crowd.members()? {
            let NameMember { n, name, of_name } = member?;
            survey.is_included.resize(n as usize + 1, false);
            let is_included = &mut survey.is_included[n as usize];
            match of_name {
                OfName::Values(fold) => *is_included |= patient.ours && !fold.is_empty(),
                OfName::Study(_, study) => {
                    survey.has_unfinished_study |= study.is_left_unfinished;
                    match study.of == Some(crowd.base.clone()) {
                        true if study.is_bearer(patient) => *is_included = true,
                        true => drop(survey.linked.insert(name)),
                        false => {}
                    }
                }
            }
        }
        Ok(survey)
    }
}

/// The groups of the names of a crowd.
pub(super) struct CrowdGroups {
    /// The number of the group of each name that takes part and has no row yet, in the order of the
    /// names.
    numbers: Vec<u32>,
    /// The group that has the ID without a suffix.
    base: Option<u32>,
    /// Whether that group contains all names of linked studies.
    has_all_linked: bool,
}

/// A group of names that belong to one patient.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NameGroup {
    /// The group has the ID without a suffix.
    Base,
    New(u32),
    /// The group has a row with this ID, which existed before the decision.
    Row(String),
}

impl NameGroup {
    /// Returns the sort key of a name of the group. `n` is the number of the name.
    pub(super) fn sort_key(&self, n: u32) -> Vec<u8> {
        let mut key = match self {
            NameGroup::Base => vec![0],
            NameGroup::New(number) => [&[1], &number.to_be_bytes()[..]].concat(),
            NameGroup::Row(id) => [&[2], &*key::encode([&**id])].concat(),
        };
        key.extend(n.to_be_bytes());
        key
    }

    /// Returns the patient of the group. `first` is the first name of the group.
    pub(super) fn patient(&self, first: &Name) -> names::Patient {
        match self {
            NameGroup::Row(id) => names::Patient::Existing(id.clone()),
            NameGroup::Base => names::Patient::Base,
            NameGroup::New(_) => names::Patient::Suffixed(suffix(first)),
        }
    }
}

/// The names of a crowd, and the inputs that determine their groups.
pub(super) struct CrowdNames<'c> {
    pub(super) crowd: &'c SortedCrowd,
    pub(super) patient: &'c Patient,
    pub(super) survey: &'c Survey,
    pub(super) variants: &'c CrowdVariants,
}

impl CrowdNames<'_> {
    /// Groups the names. If studies of other programs are linked to a row of this program, the row
    /// receives the name in the files of these studies.
    pub(super) fn group(&self) -> io::Result<CrowdGroups> {
        if !self.patient.ours {
            return self.number(self.patient.name.as_deref());
        }
        let groups = self.number(None)?;
        let has_all_linked = groups.base.is_some() && groups.has_all_linked;
        let Some(name) = self.survey.linked.first().filter(|_| !has_all_linked) else { return Ok(groups) };
        let of_linked = self.number(Some(name))?;
        Ok(if of_linked.base.is_some() { of_linked } else { groups })
    }

    /// Numbers the groups. `row` is the name in the row of the ID without a suffix, if the name is
    /// fixed.
    fn number(&self, row: Option<&Name>) -> io::Result<CrowdGroups> {
        let directory = &self.crowd.directory;
        let row_words = row.map(Name::words);
        let agrees = |words: &Words| row_words.as_ref().is_some_and(|row| agree(row, words));
        let mut grouper = NameGrouper::new(directory, SORTED_IN_MEMORY, row.is_some());
        let mut rows = self.variants.rows_of_names()?;
        // The smallest UID of a study, and the position of its name among the names that are
        // grouped.
        let mut smallest: Option<(Arc<str>, usize)> = None;
        let mut linked = Vec::new();
        let (mut count, mut before, mut is_grouped) = (0, None, false);
        for member in self.crowd.members()? {
            let NameMember { n, name, of_name } = member?;
            if before != Some(n) {
                before = Some(n);
                is_grouped = self.survey.is_included[n as usize] && rows.of_name(n)?.is_none();
                if is_grouped {
                    let words = name.words();
                    grouper.add(&words, agrees(&words))?;
                    linked.extend(self.survey.linked.contains(&name).then_some(count));
                    count += 1;
                }
            }
            if let (true, OfName::Study(uid, study)) = (is_grouped, of_name) {
                let is_bearer = self.is_bearer(&study);
                if is_bearer && smallest.as_ref().is_none_or(|(smallest, _)| uid < *smallest) {
                    smallest = Some((uid, count - 1));
                }
            }
        }
        let numbers = grouper.finish(directory, SORTED_IN_MEMORY)?;
        // If no row existed, the group with the smallest study receives the ID.
        let base = match row {
            Some(_) => numbers.contains(&OF_ROW).then_some(OF_ROW),
            None => numbers.get(smallest.map_or(0, |(_, n)| n)).copied(),
        };
        let has_all_linked =
            linked.len() == self.survey.linked.len() && linked.iter().all(|n| Some(numbers[*n]) == base);
        Ok(CrowdGroups { numbers, base, has_all_linked })
    }

    /// Returns whether the name of a study takes part in the decision which names the patient has.
    pub(super) fn is_bearer(&self, study: &GroupedStudy) -> bool {
        study.of.as_ref() == Some(&self.crowd.base) && study.is_bearer(self.patient)
    }

    /// Calls a function with the members of all names, and with the group of each name that takes
    /// part.
    pub(super) fn for_each_member(
        &self,
        groups: &CrowdGroups,
        mut each: impl FnMut(Option<&NameGroup>, NameMember) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut rows = self.variants.rows_of_names()?;
        let mut numbers = groups.numbers.iter();
        let (mut before, mut group) = (None, None);
        for member in self.crowd.members()? {
            let member = member?;
            if before != Some(member.n) {
                before = Some(member.n);
                group = match self.survey.is_included[member.n as usize] {
                    true => match rows.of_name(member.n)? {
                        Some(id) => Some(NameGroup::Row(id)),
                        None => numbers.next().map(|number| match groups.base == Some(*number) {
                            true => NameGroup::Base,
                            false => NameGroup::New(*number),
                        }),
                    },
                    false => None,
                };
            }
            each(group.as_ref(), member)?;
        }
        Ok(())
    }
}
