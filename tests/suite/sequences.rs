//! Values inside sequences: the title of a report, the codes and the registration of an animal, the
//! last verifying observer. Damage in a sequence does not affect values outside of the sequence.

use dicom_core::Tag;
use dicom_object::mem::InMemDicomObject;
use dicom_object::{DefaultDicomObject, OpenFileOptions};
use pacs_index::dicom::attributes::{ATTRIBUTES, Item, Path, position};
use pacs_index::dicom::instance::Value;
use pacs_index::dicom::{HeaderReader, Instance, Rejection, Table};
use serde_json::{Value as Json, json};

use crate::support::random::Random;
use crate::support::writer::{BIG_ENDIAN, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, SYNTAXES, UNDEFINED, Writer};
use crate::support::{encoded_instance_file, instance_file};

const CONCEPT_NAME: (u16, u16) = (0x0040, 0xA043);
const CONTENT: (u16, u16) = (0x0040, 0xA730);
const VERIFYING_OBSERVER: (u16, u16) = (0x0040, 0xA073);
const SPECIES: (u16, u16) = (0x0010, 0x2202);
const REGISTRATION: (u16, u16) = (0x0010, 0x2294);
const REGISTRY: (u16, u16) = (0x0010, 0x2296);

fn read(bytes: &[u8]) -> Result<Instance, Rejection> {
    HeaderReader::new().read(bytes).and_then(Instance::from_header)
}

/// Returns a column as text; NULL is `-`.
fn column(instance: &Instance, table: Table, name: &str) -> String {
    match instance.get(position(table, name)) {
        Value::Text(text) => text.to_owned(),
        Value::Null => "-".into(),
        other => format!("{other:?}"),
    }
}

/// Returns `value|designator|version|meaning` of a table.
fn code(instance: &Instance, table: Table) -> String {
    ["value", "schemedesignator", "schemeversion", "meaning"].map(|name| column(instance, table, name)).join("|")
}

fn code_item(value: &str) -> Json {
    let meaning = format!("meaning of {value}");
    json!({"CodeValue": value, "CodingSchemeDesignator": "99EX", "CodingSchemeVersion": "v1", "CodeMeaning": meaning})
}

/// A report on an animal, which contains every sequence that the reader enters.
pub fn report_on_an_animal() -> Json {
    json!({
        "PatientSpeciesCodeSequence": [code_item("species"), code_item("species 2")],
        "PatientBreedCodeSequence": [code_item("breed"), code_item("breed 2")],
        "BreedRegistrationSequence": [
            {"BreedRegistrationNumber": "R1", "BreedRegistryCodeSequence": [code_item("registry"), code_item("no")]},
            {"BreedRegistrationNumber": "R2", "BreedRegistryCodeSequence": [code_item("registry 2")]},
        ],
        "ConceptNameCodeSequence": [code_item("title")],
        "VerifyingObserverSequence": [
            {"VerifyingOrganization": "one", "VerificationDateTime": "20211112120001"},
            {"VerifyingOrganization": "two", "VerificationDateTime": "20211113120002"},
        ],
        "ContentSequence": [{"ConceptNameCodeSequence": [code_item("heading")], "TextValue": "none"}],
    })
}

/// Returns the value that dicom-object finds on a path.
fn oracle(object: &DefaultDicomObject, path: Path, tag: Tag) -> String {
    let mut inner: &InMemDicomObject = object;
    for sequence in path.sequences {
        let items = inner.element(*sequence).unwrap().items().unwrap();
        inner = if path.item == Item::First { items.first().unwrap() } else { items.last().unwrap() };
    }
    inner.element(tag).unwrap().to_str().unwrap().trim_end_matches([' ', '\0']).to_owned()
}

#[test]
fn what_stands_in_sequences_is_what_dicom_object_finds_there() {
    for syntax in SYNTAXES {
        let bytes = encoded_instance_file(report_on_an_animal(), syntax);
        let object = OpenFileOptions::new().from_reader(bytes.as_slice()).unwrap();
        let instance = read(&bytes).unwrap();
        let nested = ATTRIBUTES.iter().filter_map(|attribute| Some((attribute, attribute.within?)));
        for (attribute, path) in nested.filter(|(attribute, _)| attribute.column != "verificationdatetime") {
            let expected = oracle(&object, path, attribute.tag);
            assert_eq!(column(&instance, attribute.table, attribute.column), expected, "{syntax} {attribute:?}");
        }
        assert_eq!(column(&instance, Table::Image, "verificationdatetime"), "2021-11-13 12:00:02", "{syntax}");
        assert_eq!(code(&instance, Table::ConceptName), "title|99EX|v1|meaning of title", "{syntax}");
        assert_eq!(code(&instance, Table::BreedRegistration), "registry|99EX|v1|meaning of registry", "{syntax}");
        assert!(!instance.cut, "{syntax}");
    }
}

#[test]
fn a_row_is_keyed_as_that_of_its_core_table() {
    let instance = read(&instance_file(report_on_an_animal())).unwrap();
    for table in Table::COMPANIONS {
        let core = table.level().table();
        assert_eq!(column(&instance, table, table.key()), column(&instance, core, core.key()), "{table:?}");
        assert!(instance.fills(table), "{table:?}");
    }
    let image = read(&instance_file(json!({}))).unwrap();
    assert_eq!(Table::COMPANIONS.map(|table| image.fills(table)), [false; 4]);
    assert_eq!(Table::CORE.map(|table| image.fills(table)), [true; 4]);
}

#[test]
fn codes_are_read_whatever_lengths_are_declared() {
    for writer in Writer::all() {
        let title = writer.sequence(CONCEPT_NAME, &[writer.code("T")]);
        let instance = read(&writer.file_with(&title)).unwrap();
        assert_eq!(code(&instance, Table::ConceptName), "T|99EX|v1|meaning of T", "{writer:?}");
        let registry = writer.sequence(REGISTRY, &[writer.code("G"), writer.code("X")]);
        let registration = [writer.text((0x10, 0x2295), "LO", "R1"), registry].concat();
        let patient = writer.sequence(REGISTRATION, &[registration, writer.text((0x10, 0x2295), "LO", "R2")]);
        let instance = read(&writer.file_with_patient(&patient)).unwrap();
        assert_eq!(column(&instance, Table::BreedRegistration, "regnumber"), "R1", "{writer:?}");
        assert_eq!(code(&instance, Table::BreedRegistration), "G|99EX|v1|meaning of G", "{writer:?}");
        assert!(!instance.cut, "{writer:?}");
    }
}

#[test]
fn a_sequence_that_is_called_un_is_read_implicit_or_as_it_was() {
    let outside = Writer::EXPLICIT;
    for inside in Writer::all().into_iter().filter(|inside| inside.syntax != BIG_ENDIAN) {
        let items = [inside.item(&[]), inside.item(&inside.code("T")), inside.item(&inside.code("U"))];
        for items in [&items[1..], &items[1..2]].map(<[_]>::concat) {
            let defined = [outside.header(SPECIES, "UN", items.len() as u32), items.clone()].concat();
            let delimiter = [outside.tag(SEQUENCE_DELIMITATION), vec![0; 4]].concat();
            let undefined = [outside.header(SPECIES, "UN", UNDEFINED), items, delimiter].concat();
            for sequence in [defined, undefined] {
                let instance = read(&outside.file_with_patient(&sequence)).unwrap();
                assert_eq!(code(&instance, Table::SpeciesCode), "T|99EX|v1|meaning of T", "{inside:?}");
            }
        }
        let empty_first = items.concat();
        let sequence = [outside.header(SPECIES, "UN", empty_first.len() as u32), empty_first].concat();
        let instance = read(&outside.file_with_patient(&sequence)).unwrap();
        assert_eq!(code(&instance, Table::SpeciesCode), "-|-|-|-", "the first item is empty");
    }
}

#[test]
fn headings_in_the_content_are_not_the_title() {
    for writer in Writer::all() {
        let heading = writer.sequence(CONCEPT_NAME, &[writer.code("H")]);
        let content = writer.sequence(CONTENT, &[heading.clone(), heading]);
        let instance = read(&writer.file_with(&content)).unwrap();
        assert!(!instance.fills(Table::ConceptName), "{writer:?}");
        let title = writer.sequence(CONCEPT_NAME, &[writer.code("T")]);
        for elements in [[&title[..], &content].concat(), [&content[..], &title].concat()] {
            let instance = read(&writer.file_with(&elements)).unwrap();
            assert_eq!(column(&instance, Table::ConceptName, "value"), "T", "{writer:?}");
        }
    }
}

#[test]
fn of_a_sequence_that_stands_twice_the_first_counts_whole() {
    let writer = Writer::EXPLICIT;
    let first = writer.sequence(SPECIES, &[writer.text((8, 0x100), "SH", "A")]);
    let second = writer.sequence(SPECIES, &[writer.code("B")]);
    let instance = read(&writer.file_with_patient(&[first, second].concat())).unwrap();
    assert_eq!(code(&instance, Table::SpeciesCode), "A|-|-|-");
}

#[test]
fn of_a_thousand_items_the_first_or_the_last_counts() {
    for writer in Writer::all() {
        let codes: Vec<Vec<u8>> = (1..=1000).map(|n| writer.code(&format!("C{n}"))).collect();
        let instance = read(&writer.file_with_patient(&writer.sequence(SPECIES, &codes))).unwrap();
        assert_eq!(column(&instance, Table::SpeciesCode, "meaning"), "meaning of C1", "{writer:?}");
        let verified = |n: u32| writer.text((0x40, 0xA030), "DT", &format!("202111121{:03}00", n % 60));
        let observers: Vec<Vec<u8>> = (1..=1000).map(verified).collect();
        let instance = read(&writer.file_with(&writer.sequence(VERIFYING_OBSERVER, &observers))).unwrap();
        assert_eq!(column(&instance, Table::Image, "verificationdatetime"), "2021-11-12 10:40:00", "{writer:?}");
    }
}

#[test]
fn codes_are_text_in_the_character_set_of_the_file() {
    let species = json!([{"CodeValue": "L-80700", "CodeMeaning": {"hex": "4b fc 6b 65 6e"}}]);
    let file = instance_file(json!({"SpecificCharacterSet": "ISO_IR 100", "PatientSpeciesCodeSequence": species}));
    assert_eq!(code(&read(&file).unwrap(), Table::SpeciesCode), "L-80700|-|-|Küken");
}

#[test]
fn a_file_that_ends_within_a_title_keeps_what_was_whole() {
    for writer in Writer::all().into_iter().filter(|writer| !writer.is_deflated()) {
        let title = writer.sequence(CONCEPT_NAME, &[writer.code("T1")]);
        let file = writer.file_with(&title);
        let start = file.len() - title.len();
        let ends = ["T1", "99EX", "v1", "meaning of T1 "].map(|value| {
            let at = title.windows(value.len()).position(|window| window == value.as_bytes()).unwrap();
            (value.trim_end(), start + at + value.len())
        });
        for cut in start + 1..file.len() {
            let instance = read(&file[..cut]).unwrap();
            let expected = ends.map(|(value, end)| if end <= cut { value } else { "-" }).join("|");
            assert_eq!(code(&instance, Table::ConceptName), expected, "{writer:?} {cut}");
            assert!(instance.cut, "{writer:?} {cut}");
        }
    }
}

/// Kinds of damage in a sequence whose own length is right. Each sequence precedes the study and
/// series UIDs.
#[test]
fn damage_in_a_sequence_of_declared_length_ends_with_it() {
    let (defined, undefined) = (Writer::EXPLICIT, Writer::UNDEFINED);
    let number = defined.text((0x10, 0x2295), "LO", "R1");
    let registry = |length: u32| {
        let item = defined.item(&defined.code("G"));
        [&number[..], &defined.header(REGISTRY, "SQ", length), &item].concat()
    };
    let declared = |content: Vec<u8>| [defined.header(REGISTRATION, "SQ", content.len() as u32), content].concat();
    let item_header = |length: u32| [defined.tag(ITEM), length.to_le_bytes().to_vec()].concat();
    let unclosed = [item_header(UNDEFINED), registry(UNDEFINED)].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a nested sequence too long", declared(defined.item(&registry(4000))), "R1 G"),
        ("a nested sequence of 4 GB", declared(defined.item(&registry(0xFFFF_FFF0))), "R1 G"),
        ("a nested sequence too short", declared(defined.item(&registry(12))), "R1 -"),
        ("a nested sequence that ends behind its first value", declared(defined.item(&registry(18))), "R1 G"),
        ("a nested sequence that no delimiter closes", declared(defined.item(&registry(UNDEFINED))), "R1 G"),
        ("items that no delimiter closes", declared(unclosed), "R1 G"),
        ("an item too long", declared([item_header(4000), number.clone()].concat()), "R1 -"),
        ("an item too short", declared([item_header(4), number.clone()].concat()), "- -"),
        ("a value too long", declared(defined.item(b"\x10\0\x95\x22LO\xF0\xFFR1")), "- -"),
        (
            "a delimiter too many",
            declared(defined.item(&[undefined.item(&[])[8..].to_vec(), registry(58)].concat())),
            "R1 G",
        ),
        ("a header cut in two", declared(defined.item(&[&number[..], b"\x10\0\x96\x22SQ\0\0\x08"].concat())), "R1 -"),
        ("no item", declared(number.clone()), "- -"),
        ("an unknown VR", declared(defined.item(b"\x10\0\x95\x22??\x02\0R1")), "R1 -"),
        ("noise", declared((0..=255).collect()), "- -"),
        ("zeros", declared(vec![0; 100]), "- -"),
        ("nothing", declared(vec![]), "- -"),
    ];
    for (damage, elements, expected) in cases {
        let instance = read(&defined.file_with_patient(&elements)).unwrap();
        let found = ["regnumber", "value"].map(|name| column(&instance, Table::BreedRegistration, name)).join(" ");
        assert_eq!(found, expected, "{damage}");
        assert_eq!(core(&instance), core(&read(&defined.file_with_patient(&[])).unwrap()), "{damage}");
        assert!(!instance.cut, "{damage}");
    }
}

#[test]
fn damage_in_a_sequence_of_undefined_length_does_no_more_harm_than_in_one_that_is_skipped() {
    let writer = Writer::UNDEFINED;
    let whole = writer.sequence(SPECIES, &[writer.code("S")]);
    let (content, delimiter) = whole.split_at(whole.len() - 8);
    let without_item = [&writer.header(SPECIES, "SQ", UNDEFINED)[..], &writer.code("S"), delimiter].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("closed by the delimiter of an item", [content, &writer.tag(ITEM_DELIMITATION), &[0; 4]].concat(), "S"),
        ("closed twice", [&whole[..], delimiter].concat(), "S"),
        ("no item", without_item, "-"),
        ("an unknown VR", writer.sequence(SPECIES, &[b"\x08\0\0\x01??\x02\0S ".to_vec()]), "S"),
        (
            "an unknown VR behind",
            writer.sequence(SPECIES, &[writer.code("S"), b"\x08\0\0\x01??\x02\0X ".to_vec()]),
            "S",
        ),
    ];
    for (damage, elements, expected) in cases {
        let instance = read(&writer.file_with_patient(&elements)).unwrap();
        assert_eq!(column(&instance, Table::SpeciesCode, "value"), expected, "{damage}");
        assert_eq!(core(&instance), core(&read(&writer.file_with_patient(&[])).unwrap()), "{damage}");
    }
}

/// Returns the values of the columns of the core tables.
fn core(instance: &Instance) -> Vec<Value<'_>> {
    let core = ATTRIBUTES.iter().enumerate().filter(|(_, attribute)| Table::CORE.contains(&attribute.table));
    core.map(|(i, _)| instance.get(i)).collect()
}

#[test]
fn whatever_stands_in_a_sequence_of_declared_length_the_rest_is_read() {
    let mut random = Random(0x5EED);
    let rounds = if std::env::var_os("PACS_INDEX_TEST_LONG").is_some() { 300_000 } else { 3_000 };
    for writer in Writer::all().into_iter().filter(|writer| !writer.is_deflated()) {
        let inner = Writer { defined: random.below(2) == 0, ..writer };
        let registry = inner.sequence(REGISTRY, &[inner.code("G"), inner.code("X")]);
        let registration = [inner.text((0x10, 0x2295), "LO", "R1"), registry].concat();
        let content = [inner.item(&registration), inner.item(&registration)].concat();
        let header = writer.header(REGISTRATION, "SQ", content.len() as u32);
        let expected = writer.file_with_patient(&[]);
        let (expected, file) =
            (read(&expected).unwrap(), writer.file_with_patient(&[header, content.clone()].concat()));
        let from = file.windows(content.len()).position(|window| window == content).unwrap();
        for round in 0..rounds {
            let mut bytes = file.clone();
            for _ in 0..=random.below(4) {
                let at = from + random.below(content.len() - 4);
                match random.below(3) {
                    0 => bytes[at..at + 4].fill(0xFF),
                    1 => bytes[at..at + 4].copy_from_slice(&writer.tag(ITEM_DELIMITATION)),
                    _ => bytes[at] = random.next() as u8,
                }
            }
            let instance = read(&bytes).unwrap_or_else(|rejection| panic!("{writer:?} {round}: {rejection}"));
            assert_eq!(core(&instance), core(&expected), "{writer:?} {round}");
        }
    }
}
