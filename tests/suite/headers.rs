//! The header reader on files of all kinds: what is read is right, and what is hostile does no harm.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, OpenFileOptions};
use pacs_index::dicom::attributes::{ATTRIBUTES, Form};
use pacs_index::dicom::instance::Value;
use pacs_index::dicom::{HeaderReader, Instance, Rejection};

use crate::sequences;
use crate::support::random::Random;
use crate::support::writer::SYNTAXES;
use crate::support::{description, encoded_instance_file};

fn read(bytes: &[u8]) -> Result<Instance, Rejection> {
    HeaderReader::new().read(bytes).and_then(Instance::from_header)
}

/// `indexed`, or the code of the rejection.
fn verdict(bytes: &[u8]) -> &'static str {
    read(bytes).map_or_else(|rejection| rejection.code(), |_| "indexed")
}

#[test]
fn what_is_read_is_what_dicom_object_reads() {
    let files = description::files(include_str!("../../fixtures/archive.json"));
    let mut compared = 0;
    for (path, bytes) in &files {
        let Ok(object) = OpenFileOptions::new().from_reader(bytes.as_slice()) else { continue };
        let Ok(instance) = read(bytes) else { continue };
        for (i, attribute) in ATTRIBUTES.iter().enumerate().filter(|(_, a)| a.within.is_none()) {
            if let Some(expected) = oracle(&object, attribute.tag, attribute.form) {
                let found = match instance.get(i) {
                    Value::Text(text) => text.to_owned(),
                    Value::Integer(number) => number.to_string(),
                    Value::Null | Value::Real(_) => String::new(),
                };
                assert_eq!(found, expected, "{path}: {} {}", attribute.column, attribute.tag);
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "{compared} values compared");
}

/// What dicom-object says of an attribute whose form does not change it. It reads the first character set only.
fn oracle(object: &DefaultDicomObject, tag: Tag, form: Form) -> Option<String> {
    let several_sets =
        object.element(tags::SPECIFIC_CHARACTER_SET).is_ok_and(|set| set.to_str().unwrap().contains('\\'));
    if tag.group() == 2
        || several_sets
        || !matches!(form, Form::Uid | Form::Text | Form::PersonName | Form::Integer | Form::Unsigned)
    {
        return None;
    }
    Some(
        object
            .element(tag)
            .map_or(String::new(), |element| element.to_str().unwrap().trim_matches([' ', '\0']).to_owned()),
    )
}

#[test]
fn a_header_is_read_however_short_it_is_cut() {
    for bytes in description::files(include_str!("../../fixtures/archive.json")).values() {
        for end in 0..bytes.len().min(3000) {
            let _ = verdict(&bytes[..end]);
        }
    }
}

/// Half of the mutations aim at lengths, VRs, nesting and character sets.
#[test]
fn mutated_headers_are_read_or_rejected() {
    let mut seeds: Vec<Vec<u8>> =
        description::files(include_str!("../../fixtures/archive.json")).into_values().collect();
    // Every sequence that is entered stands in these.
    seeds.extend(SYNTAXES.map(|syntax| encoded_instance_file(sequences::report_on_an_animal(), syntax)));
    let rounds = if std::env::var_os("PACS_INDEX_TEST_LONG").is_some() { 1_000_000 } else { 20_000 };
    let mut random = Random(0x5EED);
    let mut indexed = 0;
    for round in 0..rounds {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut bytes, &mut random);
        }
        let started = std::time::Instant::now();
        indexed += u32::from(verdict(&bytes) == "indexed");
        assert!(started.elapsed().as_secs() < 5, "mutant {round} took {:?}", started.elapsed());
    }
    assert!(indexed > rounds / 10 && indexed < rounds, "{indexed} of {rounds} mutants are still indexed");
    println!("{indexed} of {rounds} mutants are still indexed");
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const AIMED: [&[u8]; 10] = [
        &[0xFF; 4],
        &[0xF0, 0xFF, 0xFF, 0xFF],
        &[0, 0, 0, 0],
        b"SQ\0\0\xFF\xFF\xFF\xFF",
        b"UN\0\0\xFF\xFF\xFF\xFF",
        b"??",
        b"OB",
        &[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF],
        b"\x1B$B",
        b"\\ISO 2022 IR 149",
    ];
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    match random.below(6) {
        0..=2 => {
            let aimed = AIMED[random.below(AIMED.len())];
            let end = (at + aimed.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&aimed[..end - at]);
        }
        3 => bytes[at] = random.next() as u8,
        4 => bytes.truncate(at),
        _ => drop(bytes.drain(at..(at + random.below(16)).min(bytes.len()))),
    }
}
