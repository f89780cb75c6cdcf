//! The header reader on files of all kinds: what is read is right, and what is hostile does no harm.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, OpenFileOptions};
use pacs_index::dicom::attributes::{ATTRIBUTES, Form};
use pacs_index::dicom::instance::Value;
use pacs_index::dicom::{HeaderReader, Instance, Rejection};
use serde_json::json;

use crate::sequences;
use crate::support::writer::SYNTAXES;
use crate::support::{description, encoded_instance_file, instance_file};

fn read(bytes: &[u8]) -> Result<Instance, Rejection> {
    HeaderReader::new().read(bytes).and_then(Instance::from_header)
}

/// `indexed`, or the code of the rejection.
fn verdict(bytes: &[u8]) -> &'static str {
    read(bytes).map_or_else(|rejection| rejection.code(), |_| "indexed")
}

fn column<'a>(instance: &'a Instance, name: &str) -> Value<'a> {
    instance.get(ATTRIBUTES.iter().position(|attribute| attribute.column == name).unwrap())
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

/// An element of explicit VR little endian with a long header, whatever length it declares.
fn long_element(tag: (u16, u16), vr: &str, length: u32) -> Vec<u8> {
    let mut bytes = short_tag(tag);
    bytes.extend(vr.as_bytes());
    bytes.extend([0, 0]);
    bytes.extend(length.to_le_bytes());
    bytes
}

fn short_tag((group, element): (u16, u16)) -> Vec<u8> {
    [group.to_le_bytes(), element.to_le_bytes()].concat()
}

/// An instance with bytes put in before an element of its data set.
fn with_bytes_before(tag: (u16, u16), inserted: &[u8]) -> Vec<u8> {
    let file = instance_file(json!({}));
    let at = file.windows(4).position(|window| window == short_tag(tag)).unwrap();
    [&file[..at], inserted, &file[at..]].concat()
}

const PATIENT_NAME: (u16, u16) = (0x0010, 0x0010);
const ITEM: (u16, u16) = (0xFFFE, 0xE000);
const UNDEFINED: u32 = u32::MAX;

fn nested(levels: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..levels {
        bytes.extend(long_element((0x0009, 0x1001), "SQ", UNDEFINED));
        bytes.extend(short_tag(ITEM));
        bytes.extend(UNDEFINED.to_le_bytes());
    }
    for _ in 0..levels {
        bytes.extend(short_tag((0xFFFE, 0xE00D)));
        bytes.extend([0; 4]);
        bytes.extend(short_tag((0xFFFE, 0xE0DD)));
        bytes.extend([0; 4]);
    }
    bytes
}

#[test]
fn hostile_and_damaged_headers_have_their_verdict() {
    let whole = instance_file(json!({}));
    let many_items = || {
        let mut bytes = long_element((0x0009, 0x1001), "SQ", UNDEFINED);
        for _ in 0..300_000 {
            bytes.extend(short_tag(ITEM));
            bytes.extend([0; 4]);
        }
        bytes.extend(short_tag((0xFFFE, 0xE0DD)));
        bytes.extend([0; 4]);
        bytes
    };
    let un_of_undefined_length = || {
        // PS3.5 6.2.2: implicit VR little endian inside.
        let mut bytes = long_element((0x0009, 0x1001), "UN", UNDEFINED);
        bytes.extend(short_tag(ITEM));
        bytes.extend(UNDEFINED.to_le_bytes());
        bytes.extend(short_tag((0x0009, 0x1002)));
        bytes.extend(4u32.to_le_bytes());
        bytes.extend(b"SQAB");
        bytes.extend(short_tag((0xFFFE, 0xE00D)));
        bytes.extend([0; 4]);
        bytes.extend(short_tag((0xFFFE, 0xE0DD)));
        bytes.extend([0; 4]);
        bytes
    };
    let blank_vr = || {
        let mut bytes = short_tag((0x0009, 0x1001));
        bytes.extend(b"\0\0\x04\0ABCD");
        bytes
    };
    let implicit_in_explicit = || {
        let mut bytes = short_tag((0x0009, 0x1001));
        bytes.extend(4u32.to_le_bytes());
        bytes.extend(b"ABCD");
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("whole", whole.clone(), "indexed"),
        ("nested 200,000 levels", with_bytes_before(PATIENT_NAME, &nested(200_000)), "indexed"),
        ("nested and never closed", with_bytes_before(PATIENT_NAME, &nested(1000)[..16_000]), "cut"),
        ("300,000 empty items", with_bytes_before(PATIENT_NAME, &many_items()), "indexed"),
        ("UN of undefined length", with_bytes_before(PATIENT_NAME, &un_of_undefined_length()), "indexed"),
        ("a blank VR", with_bytes_before(PATIENT_NAME, &blank_vr()), "indexed"),
        (
            "an implicit element among explicit ones",
            with_bytes_before(PATIENT_NAME, &implicit_in_explicit()),
            "indexed",
        ),
        ("4 GB declared", with_bytes_before(PATIENT_NAME, &long_element((0x0009, 0x1001), "OB", 0xFFFF_FFF0)), "cut"),
        (
            "4 GB declared for a name",
            with_bytes_before(PATIENT_NAME, &long_element((0x0010, 0x0010), "UT", 0xFFFF_FFF0)),
            "cut",
        ),
        (
            "20 MB private element",
            {
                let mut bytes = long_element((0x0009, 0x1001), "OB", 20_000_000);
                bytes.resize(bytes.len() + 20_000_000, 7);
                with_bytes_before(PATIENT_NAME, &bytes)
            },
            "indexed",
        ),
        ("empty", vec![], "empty"),
        ("three bytes", vec![1, 2, 3], "not-dicom"),
        ("zeros", vec![0; 9000], "zeroed"),
        ("preamble and magic only", whole[..132].to_vec(), "missing-uid"),
        ("trailing zeros", [whole.clone(), vec![0; 4096]].concat(), "indexed"),
        ("no SOP Instance UID", uid_file(&whole, 0x0018, b""), "missing-uid"),
        ("a SOP Instance UID that is none", uid_file(&whole, 0x0018, b"1.2.x3"), "invalid-uid"),
    ];
    for (trait_, bytes, expected) in cases {
        assert_eq!(verdict(&bytes), expected, "{trait_}");
    }
}

/// The file with another value for a UID of group 0008.
fn uid_file(file: &[u8], element: u16, uid: &[u8]) -> Vec<u8> {
    let at = file.windows(4).rposition(|window| window == short_tag((0x0008, element))).unwrap();
    let length = usize::from(u16::from_le_bytes([file[at + 6], file[at + 7]]));
    let mut bytes = file[..at + 6].to_vec();
    bytes.extend((uid.len() as u16).to_le_bytes());
    bytes.extend(uid);
    bytes.extend(&file[at + 8 + length..]);
    bytes
}

#[test]
fn elements_out_of_order_are_found() {
    let file = instance_file(json!({"PatientComments": "last"}));
    let at = file.windows(4).position(|window| window == short_tag((0x0010, 0x4000))).unwrap();
    let moved = &file[at..at + 12];
    let bytes = [&file[..at], &file[at + 12..], &[0x18, 0, 0x10, 0x50, b'L', b'O', 0, 0][..], moved].concat();
    assert_eq!(column(&read(&bytes).unwrap(), "comments"), Value::Text("last"));
}

#[test]
fn a_patient_that_stands_behind_the_pixel_data_is_found() {
    let file = instance_file(json!({"PatientName": null, "PatientID": null}));
    let pixels = [&long_element((0x7FE0, 0x0010), "OW", 50_000)[..], &[0; 50_000]].concat();
    let patient = [&[0x10, 0, 0x20, 0][..], b"LO\x04\0LATE"].concat();
    let bytes = [file, pixels, patient].concat();
    assert_eq!(column(&read(&bytes).unwrap(), "origid"), Value::Text("LATE"));
}

#[test]
fn a_private_sequence_is_skipped_however_it_is_encoded() {
    // UN of undefined length, explicit inside, as left by writers that renamed a sequence.
    let mut sequence = long_element((0x0009, 0x1001), "UN", UNDEFINED);
    sequence.extend([&short_tag(ITEM)[..], &UNDEFINED.to_le_bytes()].concat());
    sequence.extend([&short_tag((0x0009, 0x1002))[..], b"LO\x04\0ABCD"].concat());
    sequence.extend([&short_tag((0xFFFE, 0xE00D))[..], &[0; 4], &short_tag((0xFFFE, 0xE0DD)), &[0; 4]].concat());
    assert_eq!(verdict(&with_bytes_before(PATIENT_NAME, &sequence)), "indexed");
}

#[test]
fn a_blank_vr_is_read_wherever_the_window_ends() {
    for filler in (7_000..8_400).step_by(14) {
        let mut bytes = long_element((0x0009, 0x1001), "OB", filler);
        bytes.resize(bytes.len() + filler as usize, 7);
        bytes.extend([&short_tag((0x0009, 0x1002))[..], b"  \x14\0", &[b'x'; 20]].concat());
        let mut file = with_bytes_before(PATIENT_NAME, &bytes);
        file.extend(long_element((0x7FE0, 0x0010), "OW", 3_000_000));
        file.resize(file.len() + 3_000_000, 0);
        assert_eq!(verdict(&file), "indexed", "{filler}");
    }
}

#[test]
fn an_implicit_file_that_is_explicit_is_read_from_its_first_element() {
    let file = instance_file(json!({"SpecificCharacterSet": ""}));
    let syntax = b"1.2.840.10008.1.2.1\0";
    let at = file.windows(syntax.len()).position(|window| window == syntax).unwrap();
    let mut bytes = file.clone();
    bytes[at..at + syntax.len()].copy_from_slice(b"1.2.840.10008.1.2\0\0\0");
    assert_eq!(verdict(&bytes), "indexed");
}

#[test]
fn a_header_that_ends_after_its_uids_is_indexed_with_what_it_has() {
    let file = instance_file(json!({}));
    let rows = file.windows(4).position(|window| window == short_tag((0x0028, 0x0010))).unwrap();
    let instance = read(&file[..rows + 5]).unwrap();
    assert!(instance.cut);
    assert_eq!((column(&instance, "numrows"), column(&instance, "instance")), (Value::Null, Value::Integer(1)));
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

/// xorshift64: the same mutants in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
