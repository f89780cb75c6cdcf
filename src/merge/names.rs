//! Several names with one Patient ID: decides when the PACS treats them as different patients, and
//! which row each of these has.
//!
//! PacsOne distinguishes such patients by a suffix that exists only in the database, `ID[...]`.
//! PacsOne processes names one after the other, so that its result depends on which name arrived
//! first. This module applies the same rule to all names of an ID at once, in the order of their
//! bytes.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use super::name_groups::{NameGrouper, OF_ROW};
use crate::index::patient_name::{Name, Words, agree, suffix};

/// The policy for names that conflict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflicts {
    #[default]
    Separate,
    Merge,
}

/// The names of an ID that belong to one patient.
#[derive(Debug, PartialEq, Eq)]
pub struct Group<'a> {
    pub names: Vec<&'a Name>,
    pub patient: Patient,
}

/// The row of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patient {
    /// The row whose ID is the ID in the files.
    Base,
    /// An existing row with a suffix.
    Existing(String),
    /// A row with a new suffix.
    Suffixed(String),
}

/// A name, and the smallest Study Instance UID of the studies with this name, or `None` if there is
/// no such study.
pub type Borne<'a> = (&'a Name, Option<&'a str>);

/// Groups the names of an ID, which are sorted by bytes. `base_row` is the name in the row of the
/// ID, if that row exists. `variants` are existing rows with a suffix.
pub fn group<'a>(
    names: &[Borne<'a>],
    base_row: Option<&Name>,
    variants: &[(String, Name)],
) -> io::Result<Vec<Group<'a>>> {
    let variants: HashMap<[String; 2], &str> =
        variants.iter().rev().map(|(id, name)| (name.folded(), id.as_str())).collect();
    let mut existing: BTreeMap<&str, Vec<&Name>> = BTreeMap::new();
    let mut others: Vec<Borne<'a>> = Vec::new();
    for (name, study) in names {
        match variants.get(&name.folded()) {
            Some(id) => existing.entry(id).or_default().push(name),
            None => others.push((name, *study)),
        }
    }
    let mut groups: BTreeMap<u32, Members<'a>> = BTreeMap::new();
    for ((name, study), number) in others.iter().zip(number(&others, base_row)?) {
        let group = groups.entry(number).or_default();
        group.names.push(name);
        group.smallest_study = [group.smallest_study, *study].into_iter().flatten().min();
    }
    // If no row existed, the group with the smallest study receives the ID.
    let smallest = |(_, group): &(&u32, &Members<'a>)| (group.smallest_study.is_none(), group.smallest_study);
    let base = match base_row {
        Some(_) => Some(OF_ROW),
        None => groups.iter().min_by_key(smallest).map(|(number, _)| *number),
    };
    let patient = |number, names: &[&Name]| match Some(number) == base {
        true => Patient::Base,
        false => Patient::Suffixed(suffix(names[0])),
    };
    let new = groups.into_iter().map(|(number, Members { names, .. })| {
        let patient = patient(number, &names);
        Group { names, patient }
    });
    let there = existing.into_iter().map(|(id, names)| Group { names, patient: Patient::Existing(id.to_owned()) });
    Ok(new.chain(there).collect())
}

#[derive(Default)]
struct Members<'a> {
    names: Vec<&'a Name>,
    smallest_study: Option<&'a str>,
}

/// Returns the number of the group of each name.
fn number(names: &[Borne<'_>], base_row: Option<&Name>) -> io::Result<Vec<u32>> {
    let row = base_row.map(Name::words);
    let agrees = |words: &Words| row.as_ref().is_some_and(|row| agree(row, words));
    // Nearly always an ID has one name.
    if let [(name, _)] = names {
        return Ok(vec![if agrees(&name.words()) { OF_ROW } else { base_row.map_or(0, |_| OF_ROW + 1) }]);
    }
    // All names of this call are in memory, and so are their words: the sorter never needs a
    // directory.
    let directory = Path::new("");
    let mut grouper = NameGrouper::new(directory, usize::MAX, base_row.is_some());
    for (name, _) in names {
        let words = name.words();
        grouper.add(&words, agrees(&words))?;
    }
    grouper.finish(directory, usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::index::patient_name::{base, has_own_suffix};

    fn name(text: &str) -> Name {
        let mut parts = text.split('^');
        Name([(); 3].map(|()| parts.next().unwrap_or_default().into()))
    }

    #[test]
    fn names_agree_when_the_words_of_the_one_are_among_the_other_s() {
        let cases = [
            ("Doe^Jane", "DOE^JANE", true),
            ("Doe^Jane", "Doe^Jane^Mary", true),
            ("Doe^Jane", "Doe, Jane", true),
            ("Doe^Jane", "Doe^John", false),
            ("Doe^Jane Ann", "Doe^Jane Mary", false),
            ("Doe^Jane", "", false),
            ("", "^^", true),
        ];
        for (one, other, agree) in cases {
            assert_eq!(name(one).agrees(&name(other)), agree, "{one} {other}");
            assert_eq!(name(other).agrees(&name(one)), agree, "{other} {one}");
        }
    }

    #[test]
    fn a_suffix_in_brackets_is_no_part_of_the_id_in_files() {
        assert_eq!(base("P1[STOWRS-10.0.0.5-20211112093000]"), "P1");
        assert_eq!(base("P1"), "P1");
        assert_eq!(base("P[1]2"), "P[1]2");
        assert!(has_own_suffix(&format!("P1{}", suffix(&name("Doe^Jane")))));
        assert!(!has_own_suffix("P1[STOWRS-1]") && !has_own_suffix("P1"));
    }

    #[test]
    fn the_base_id_goes_to_the_row_that_was_there_else_to_the_smallest_study() {
        let (jane, john, mary) = (name("Doe^Jane"), name("Doe^John"), name("Doe^Jane^Mary"));
        let names = [(&jane, Some("1.5")), (&mary, Some("1.4")), (&john, Some("1.3"))];
        let suffixed = |name| Patient::Suffixed(suffix(name));
        let patients = |base_row: Option<&Name>, variants: &[(String, Name)]| {
            group(&names, base_row, variants)
                .unwrap()
                .into_iter()
                .map(|g| (g.names.len(), g.patient))
                .collect::<Vec<_>>()
        };
        assert_eq!(patients(None, &[]), [(2, suffixed(&jane)), (1, Patient::Base)]);
        assert_eq!(patients(Some(&name("DOE^JANE")), &[]), [(2, Patient::Base), (1, suffixed(&john))]);
        let there = [("P1[x]".to_owned(), name("doe^john"))];
        assert_eq!(patients(None, &there), [(2, Patient::Base), (1, Patient::Existing("P1[x]".into()))]);
    }

    /// The rule itself, as a reference without an external sort.
    fn group_slowly(names: &[Borne]) -> Vec<Vec<Name>> {
        let mut groups: Vec<Vec<Name>> = Vec::new();
        for (name, _) in names {
            match groups.iter_mut().find(|group| group.iter().all(|member| member.agrees(name))) {
                Some(group) => group.push((*name).clone()),
                None => groups.push(vec![(*name).clone()]),
            }
        }
        groups
    }

    #[test]
    fn names_are_grouped_as_if_each_was_compared_with_all() {
        let words = ["Ann", "Bo", "Cy", "Doe", "ann", "", "X"];
        let mut state = 7_u64;
        let mut next = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        for _ in 0..2000 {
            let mut part =
                |most: usize| (0..next(most + 1)).map(|_| words[next(words.len())]).collect::<Vec<_>>().join(" ");
            let names: BTreeSet<Name> =
                (0..8).map(|_| Name([part(2).into(), part(2).into(), part(1).into()])).collect();
            let borne: Vec<Borne> = names.iter().map(|name| (name, None)).collect();
            let grouped = group(&borne, None, &[]).unwrap();
            let grouped: Vec<Vec<Name>> =
                grouped.iter().map(|group| group.names.iter().map(|name| (*name).clone()).collect()).collect();
            assert_eq!(grouped, group_slowly(&borne));
        }
    }

    #[test]
    fn thousands_of_names_of_one_id_are_grouped_by_their_words() {
        let names: Vec<Name> = (0..20_000).map(|n| name(&format!("Family{n:06}^Given{}", n % 700))).collect();
        let borne: Vec<Borne> = names.iter().map(|name| (name, Some("1.2"))).collect();
        assert_eq!(group(&borne, None, &[]).unwrap().len(), names.len());
    }
}
