//! A table of the features and the damage of real archive files: the result of the header reader
//! for each, and the content of the index. `--nocapture` prints it.

mod damage;
mod encodings;
mod hostile;
mod lengths;
mod sequences;
mod start;
mod unclosed;
mod values;
mod vrs;

use std::collections::BTreeSet;

use pacs_index::dicom::HeaderReader;
use pacs_index::dicom::part10::{Completion, completion};

use crate::support::draft::Draft;
use crate::support::headers::{columns, read, verdict};
use crate::support::memory;

/// A file and its expected result.
pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub verdict: &'static str,
    /// The columns in which the instance differs from the plain one, and their values; NULL is `-`.
    pub values: &'static [(&'static str, &'static str)],
}

type Values = &'static [(&'static str, &'static str)];

fn indexed(name: &'static str, bytes: Vec<u8>, values: Values) -> Case {
    Case { name, bytes, verdict: "indexed", values }
}

/// A file whose header ends early, but after all elements that a row needs.
fn cut_short(name: &'static str, bytes: Vec<u8>, values: Values) -> Case {
    Case { name, bytes, verdict: "indexed, cut", values }
}

fn rejected(name: &'static str, bytes: Vec<u8>, verdict: &'static str) -> Case {
    Case { name, bytes, verdict, values: &[] }
}

pub fn all() -> Vec<Case> {
    let subjects = [
        start::cases(),
        encodings::cases(),
        lengths::cases(),
        vrs::cases(),
        values::cases(),
        sequences::cases(),
        unclosed::cases(),
        damage::cases(),
        hostile::cases(),
    ];
    subjects.into_iter().flatten().collect()
}

/// The maximum memory for reading one file, in bytes.
const MOST_MEMORY: usize = 1024 * 1024;

/// All non-NULL columns of the plain instance.
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
    // Counters of the instance, not columns.
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

/// Cases that are indexed although their files are damaged after the header.
const DAMAGED: [&str; 7] = [
    "a deflate stream that is damaged behind the header",
    "cut within the pixel data",
    "cut within an overlay",
    "cut within spectroscopy data",
    "cut within the padding",
    "waveforms that are never closed",
    "a million zeros at the end, no name",
];

#[test]
fn an_audit_finds_no_damage_in_a_file_that_is_read_to_its_end() {
    let mut wrong = Vec::new();
    for case in all().into_iter().filter(|case| case.verdict == "indexed") {
        let damage = HeaderReader::new().damage(case.bytes.as_slice());
        if damage.is_some() != DAMAGED.contains(&case.name) {
            wrong.push(format!("{}: {damage:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_file_that_is_completed_keeps_its_columns() {
    let mut completed = 0;
    for case in all().into_iter().filter(|case| case.verdict.starts_with("indexed")) {
        let instance = read(&case.bytes).unwrap();
        let Some(Ok(Completion { written, instead_of })) = completion(case.bytes.as_slice(), &instance).unwrap() else {
            continue;
        };
        let whole = [&written, &case.bytes[instead_of as usize..]].concat();
        assert_eq!((&whole[128..132], &whole[132..134]), (&b"DICM"[..], &[2, 0][..]), "{}", case.name);
        let again = read(&whole).unwrap_or_else(|rejection| panic!("{}: {rejection}", case.name));
        assert_eq!(columns(&again), columns(&instance), "{}", case.name);
        assert_eq!(completion(whole.as_slice(), &again).unwrap(), None, "{}", case.name);
        completed += 1;
    }
    assert!(completed > 30, "{completed} files");
}

fn named(name: &str, value: &str) -> String {
    format!("{name}={}", value.escape_debug())
}
