//! One Patient ID, several names: when the PACS takes them for several patients, and which row each then has.
//!
//! PacsOne keeps such patients apart by a suffix that only the database has, `ID[...]`. It takes names one after the
//! other, so that its result depends on who came first; here the same rule is applied to all names of an ID at once,
//! in the order of their bytes.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

/// Last, first and middle name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub [Box<str>; 3]);

/// What becomes of names that conflict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflicts {
    #[default]
    Separate,
    Merge,
}

impl Name {
    /// The words of all parts, without regard to case. A comma stands for a blank.
    fn words(&self) -> BTreeSet<String> {
        self.0.iter().flat_map(|part| part.split([' ', ','])).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
    }

    /// The one's words are among the other's, and both or neither are blank.
    pub fn agrees(&self, other: &Name) -> bool {
        let (mine, theirs) = (self.words(), other.words());
        mine.is_empty() == theirs.is_empty() && (mine.is_subset(&theirs) || theirs.is_subset(&mine))
    }

    pub fn is_blank(&self) -> bool {
        self.words().is_empty()
    }

    /// First and last name are the same but for case.
    fn is_same(&self, other: &Name) -> bool {
        let same = |n: usize| self.0[n].to_lowercase() == other.0[n].to_lowercase();
        same(0) && same(1)
    }
}

/// The part of a Patient ID that files know: PacsOne's suffix, if there is one, left out.
pub fn base(patient_id: &str) -> &str {
    match patient_id.strip_suffix(']').and_then(|rest| rest.rfind('[')) {
        Some(at) => &patient_id[..at],
        None => patient_id,
    }
}

/// Whether a row of that ID may be the patient of a file with this one.
pub fn is_base_of(file: &str, row: &str) -> bool {
    row == file || base(row).eq_ignore_ascii_case(file)
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
    /// The row of the ID as files have it.
    Base,
    /// A row with a suffix that was there before.
    Existing(String),
    /// A row with a suffix of its own.
    Suffixed(String),
}

/// A name, and the smallest Study Instance UID of the studies that bear it; `None` if no study does.
pub type Borne<'a> = (&'a Name, Option<&'a str>);

/// Groups the names of an ID, sorted by bytes. `base_row` is the name in the row of the ID, if it was there before;
/// `variants` are rows with a suffix that were.
pub fn group<'a>(names: &[Borne<'a>], base_row: Option<&Name>, variants: &[(String, Name)]) -> Vec<Group<'a>> {
    let mut existing: Vec<Group> = Vec::new();
    let mut groups: Vec<(Vec<&Name>, Option<&str>)> = Vec::new();
    let mut of_base: Vec<&Name> = Vec::new();
    for (name, study) in names {
        if let Some((id, _)) = variants.iter().find(|(_, variant)| variant.is_same(name)) {
            let patient = Patient::Existing(id.clone());
            match existing.iter_mut().find(|group| group.patient == patient) {
                Some(group) => group.names.push(name),
                None => existing.push(Group { names: vec![name], patient }),
            }
        } else if base_row.is_some_and(|row| row.agrees(name)) && of_base.iter().all(|member| member.agrees(name)) {
            of_base.push(name);
        } else if let Some((members, smallest)) = groups.iter_mut().find(|(m, _)| m.iter().all(|m| m.agrees(name))) {
            members.push(name);
            *smallest = [*smallest, *study].into_iter().flatten().min();
        } else {
            groups.push((vec![name], *study));
        }
    }
    let without_row = base_row.is_none();
    let first = (0..groups.len()).filter(|_| without_row).min_by_key(|n| (groups[*n].1.is_none(), groups[*n].1));
    let mut all: Vec<Group> = groups
        .into_iter()
        .enumerate()
        .map(|(n, (names, _))| {
            let patient = if Some(n) == first { Patient::Base } else { Patient::Suffixed(suffix(names[0])) };
            Group { names, patient }
        })
        .collect();
    if !of_base.is_empty() {
        all.insert(0, Group { names: of_base, patient: Patient::Base });
    }
    all.extend(existing);
    all
}

/// `[` and twelve hexadecimal digits that the name alone determines, and `]`.
pub fn suffix(name: &Name) -> String {
    let digest = Sha256::digest(name.0.join("^").as_bytes());
    let digits: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("[{digits}]")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(is_base_of("P1[x]", "P1[x]") && is_base_of("P1", "P1[x]") && !is_base_of("P2", "P1[x]"));
    }

    #[test]
    fn the_base_id_goes_to_the_row_that_was_there_else_to_the_smallest_study() {
        let (jane, john, mary) = (name("Doe^Jane"), name("Doe^John"), name("Doe^Jane^Mary"));
        let names = [(&jane, Some("1.5")), (&mary, Some("1.4")), (&john, Some("1.3"))];
        let suffixed = |name| Patient::Suffixed(suffix(name));
        let patients = |base_row: Option<&Name>, variants: &[(String, Name)]| {
            group(&names, base_row, variants).into_iter().map(|g| (g.names.len(), g.patient)).collect::<Vec<_>>()
        };
        assert_eq!(patients(None, &[]), [(2, suffixed(&jane)), (1, Patient::Base)]);
        assert_eq!(patients(Some(&name("DOE^JANE")), &[]), [(2, Patient::Base), (1, suffixed(&john))]);
        let there = [("P1[x]".to_owned(), name("doe^john"))];
        assert_eq!(patients(None, &there), [(2, Patient::Base), (1, Patient::Existing("P1[x]".into()))]);
    }
}
