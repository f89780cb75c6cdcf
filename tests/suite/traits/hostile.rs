//! Files that are crafted or damaged so that readers hang, run out of memory or crash.

use super::{Case, Values, cut_short, indexed, rejected};
use crate::support::draft::{Draft, PATIENT_NAME, ROWS, part10};
use crate::support::random::Random;
use crate::support::writer::{ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, UNDEFINED, Writer};

const PRIVATE: (u16, u16) = (0x0009, 0x1001);
const WITHOUT_ROWS: Values = &[("image.numrows", "-"), ("image.numcolumns", "-"), ("image.bitsstored", "-")];

pub fn cases() -> Vec<Case> {
    [nesting(), many(), delimiters(), noise()].into_iter().flatten().collect()
}

fn item_header(length: u32) -> Vec<u8> {
    [Writer::EXPLICIT.tag(ITEM), length.to_le_bytes().to_vec()].concat()
}

fn nesting() -> Vec<Case> {
    let writer = Writer::EXPLICIT;
    let open = |vr, levels| [writer.header(PRIVATE, vr, UNDEFINED), item_header(UNDEFINED)].concat().repeat(levels);
    let close =
        |levels| [writer.delimiter(ITEM_DELIMITATION), writer.delimiter(SEQUENCE_DELIMITATION)].concat().repeat(levels);
    let before = |tag, bytes: &[u8]| Draft::plain().before(tag, bytes).file();
    let deep = |vr| before(PATIENT_NAME, &[open(vr, 200_000), close(200_000)].concat());
    // A sequence that the reader enters, nested in itself.
    let species = [writer.header((0x10, 0x2202), "SQ", UNDEFINED), item_header(UNDEFINED)].concat().repeat(100_000);
    let species = before((0x20, 0x0D), &[species, close(100_000)].concat());
    vec![
        indexed("sequences 200,000 levels deep", deep("SQ"), &[]),
        indexed("UN of undefined length 200,000 levels deep", deep("UN"), &[]),
        indexed("a wanted sequence 100,000 levels deep", species, &[]),
        rejected("sequences never closed, before the UIDs", before(PATIENT_NAME, &open("SQ", 1000)), "cut"),
        cut_short("sequences never closed, behind the UIDs", before(ROWS, &open("SQ", 1000)), WITHOUT_ROWS),
    ]
}

fn many() -> Vec<Case> {
    let writer = Writer::EXPLICIT;
    let empty_items = |tag| {
        let items = item_header(0).repeat(300_000);
        [writer.header(tag, "SQ", UNDEFINED), items, writer.delimiter(SEQUENCE_DELIMITATION)].concat()
    };
    let with = |tag| Draft::plain().raw(tag, empty_items(tag)).file();
    let tiny = writer.element(PRIVATE, "CS", b"").repeat(2_100_000);
    // The length may be read as two bytes, half a million or 154,000: no nearby data resolves this.
    let doubtful = [&writer.tag(PRIVATE)[..], b"ZZ\x02\0\0\x10"].concat().repeat(300_000);
    vec![
        indexed("300,000 empty items", with(PRIVATE), &[]),
        indexed("300,000 empty items, of which the first counts", with((0x10, 0x2202)), &[]),
        indexed("300,000 empty items, of which the last counts", with((0x40, 0xA073)), &[]),
        rejected(
            "2,100,000 elements before the UIDs",
            Draft::plain().before(PATIENT_NAME, &tiny).file(),
            "header-too-large",
        ),
        rejected(
            "300,000 elements that each need a look far ahead",
            Draft::plain().before(PATIENT_NAME, &doubtful).file(),
            "header-too-large",
        ),
        cut_short("2,100,000 elements behind the UIDs", Draft::plain().before(ROWS, &tiny).file(), WITHOUT_ROWS),
    ]
}

fn delimiters() -> Vec<Case> {
    let writer = Writer::EXPLICIT;
    let meta = Draft::plain().meta(Some);
    let only = |bytes: &[u8]| part10(&meta, bytes);
    let items = [item_header(UNDEFINED), item_header(0)].concat();
    let data_set_in_an_item = [item_header(UNDEFINED), Draft::plain().data_set()].concat();
    vec![
        rejected("delimiters alone", only(&writer.delimiter(SEQUENCE_DELIMITATION).repeat(500)), "missing-uid"),
        rejected("items alone", only(&items), "cut"),
        rejected("a data set within an item", only(&data_set_in_an_item), "cut"),
    ]
}

fn noise() -> Vec<Case> {
    let mut random = Random(0x5EED);
    let noise: Vec<u8> = (0..100_000).map(|_| random.next() as u8).collect();
    let meta = Draft::plain().meta(Some);
    vec![
        rejected("noise", noise.clone(), "not-dicom"),
        rejected("a meta group and noise", part10(&meta, &noise), "cut"),
        rejected("a meta group and bytes FF", part10(&meta, &[0xFF; 10_000]), "cut"),
    ]
}
