//! One table of the traits and the damage that files of archives have: what the header reader says of each, and what
//! stands in the index then. `--nocapture` prints it.

mod encodings;
mod hostile;
mod lengths;
mod sequences;
mod start;
mod values;

use std::collections::BTreeSet;

use crate::support::draft::Draft;
use crate::support::headers::{columns, read, verdict};
use crate::support::memory;

/// A file, and what becomes of it.
pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub verdict: &'static str,
    /// The columns in which the instance differs from the plain one, and their values; `-` is NULL.
    pub values: &'static [(&'static str, &'static str)],
}

type Values = &'static [(&'static str, &'static str)];

fn indexed(name: &'static str, bytes: Vec<u8>, values: Values) -> Case {
    Case { name, bytes, verdict: "indexed", values }
}

/// The header ends early, behind everything without which there is no row.
fn cut_short(name: &'static str, bytes: Vec<u8>, values: Values) -> Case {
    Case { name, bytes, verdict: "indexed, cut", values }
}

fn rejected(name: &'static str, bytes: Vec<u8>, verdict: &'static str) -> Case {
    Case { name, bytes, verdict, values: &[] }
}

pub fn all() -> Vec<Case> {
    let subjects =
        [start::cases(), encodings::cases(), lengths::cases(), values::cases(), sequences::cases(), hostile::cases()];
    subjects.into_iter().flatten().collect()
}

/// What no reader may need for one file.
const MOST_MEMORY: usize = 1024 * 1024;

/// Every column of the plain instance that is not NULL.
const PLAIN: [(&str, &str); 24] = [
    ("patient.origid", "T1"),
    ("patient.lastname", "Testmann"),
    ("patient.firstname", "Theo"),
    ("patient.birthdate", "1970-01-01"),
    ("patient.sex", "M"),
    ("study.uuid", "1.3.6.1.4.1.32473.7.1"),
    ("study.studydate", "2021-11-12"),
    ("study.studytime", "10:15:00"),
    ("study.sourceae", "TEST"),
    ("series.uuid", "1.3.6.1.4.1.32473.7.1.1"),
    ("series.modality", "CT"),
    ("series.seriesnumber", "1"),
    ("image.uuid", "1.3.6.1.4.1.32473.7.1.1.1"),
    ("image.sopclass", "1.2.840.10008.5.1.4.1.1.2"),
    ("image.xfersyntax", "1.2.840.10008.1.2.1"),
    ("image.instance", "1"),
    ("image.numrows", "4"),
    ("image.numcolumns", "2"),
    ("image.bitsstored", "12"),
    // What the instance counts, not columns.
    ("unusable", "0"),
    ("undecodable", "0"),
    ("repaired", "0"),
    ("partial", "0"),
    ("cut", "no"),
];

#[test]
fn a_plain_instance_fills_its_columns_and_no_others() {
    let instance = read(&Draft::plain().file()).unwrap();
    let mut found = columns(&instance);
    found.push(("cut".into(), if instance.cut { "yes" } else { "no" }.into()));
    found.retain(|(_, value)| value != "-");
    assert_eq!(found, PLAIN.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn each_trait_and_each_damage_has_its_verdict_and_its_values() {
    let plain = columns(&read(&Draft::plain().file()).unwrap());
    let (mut names, mut wrong) = (BTreeSet::new(), Vec::new());
    for case in all() {
        assert!(names.insert(case.name), "{} stands twice in the table", case.name);
        let (outcome, peak) = memory::peak(|| read(&case.bytes));
        let found: Vec<(String, String)> = match &outcome {
            Ok(instance) => columns(instance).into_iter().filter(|column| !plain.contains(column)).collect(),
            Err(_) => Vec::new(),
        };
        let values: Vec<String> = found.iter().map(|(name, value)| named(name, value)).collect();
        println!("{:<66}{:<18}{}", case.name, verdict(&outcome), values.join(" "));
        let mut expected: Vec<String> = case.values.iter().map(|(name, value)| named(name, value)).collect();
        let mut sorted = values.clone();
        expected.sort();
        sorted.sort();
        if verdict(&outcome) != case.verdict || sorted != expected {
            let found = verdict(&outcome);
            wrong.push(format!("{}: expected {} {expected:?}, found {found} {values:?}", case.name, case.verdict));
        }
        assert!(peak < MOST_MEMORY, "{}: {peak} bytes of memory", case.name);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn named(name: &str, value: &str) -> String {
    format!("{name}={}", value.escape_debug())
}
