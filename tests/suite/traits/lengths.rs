//! Lengths, orders and VRs of elements.

use dicom_dictionary_std::uids;

use super::{Case, Values, cut_short, indexed, rejected};
use crate::support::draft::{Draft, PATIENT_NAME, PIXEL_DATA, ROWS, STUDY_INSTANCE_UID};
use crate::support::headers::{read, verdict};
use crate::support::writer::{BIG_ENDIAN, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, UNDEFINED, Writer};

const PRIVATE: (u16, u16) = (0x0009, 0x1001);
const COMMENTS: (u16, u16) = (0x0010, 0x4000);
const INSTITUTION: (u16, u16) = (0x0008, 0x0080);
const MORE_THAN_4_GB: u32 = 0xFFFF_FFF0;
const WITHOUT_ROWS: Values = &[("image.numrows", "-"), ("image.numcolumns", "-"), ("image.bitsstored", "-")];

pub fn cases() -> Vec<Case> {
    [order(), odd(), vrs(), padding(), cut(), beyond_the_end(), items(), undefined()].into_iter().flatten().collect()
}

fn order() -> Vec<Case> {
    let plain = Draft::plain();
    let comments = plain.clone().text(COMMENTS, "LT", "last");
    let patient_behind = plain.clone().without(PATIENT_NAME).without((0x10, 0x20));
    let patient = [plain.writer.text(PATIENT_NAME, "PN", "Late^Anna"), plain.writer.text((0x10, 0x20), "LO", "LATE")];
    let second = plain.writer.text((0x10, 0x20), "LO", "SECOND");
    let big = Draft::of(BIG_ENDIAN);
    vec![
        indexed("private group 0009 before", private(plain.clone(), "LO"), &[]),
        indexed("an element behind one of a later group", comments.moved_before(COMMENTS, ROWS).file(), COMMENTED),
        indexed(
            "the first element behind the last group",
            plain.clone().moved_before((8, 0x18), (0x28, 0x101)).file(),
            &[],
        ),
        indexed("a patient behind the pixel data", patient_behind.behind(&patient.concat()).file(), LATE),
        indexed("a tag that stands twice: the first counts", plain.clone().before((0x10, 0x30), &second).file(), &[]),
        indexed("big endian with a private group", private(big, "LO"), &[("image.xfersyntax", BIG_ENDIAN)]),
    ]
}

const LATE: Values = &[("patient.origid", "LATE"), ("patient.lastname", "Late"), ("patient.firstname", "Anna")];
const COMMENTED: Values = &[("patient.comments", "last")];

/// A private creator and an element of its block.
fn private(draft: Draft, vr: &str) -> Vec<u8> {
    draft.text((9, 0x10), "LO", "EXAMPLE").text(PRIVATE, vr, "private value").file()
}

fn odd() -> Vec<Case> {
    let text = |value: &[u8]| Draft::plain().element((8, 0x1030), "LO", value).file();
    let odd_implicit = Draft::of(uids::IMPLICIT_VR_LITTLE_ENDIAN).element((8, 0x1030), "LO", b"odd");
    const ODD: Values = &[("study.description", "odd")];
    const ODD_IMPLICIT: Values = &[("study.description", "odd"), ("image.xfersyntax", "1.2.840.10008.1.2")];
    vec![
        indexed("a value of odd length", text(b"odd"), ODD),
        indexed("a value of odd length, implicit", odd_implicit.file(), ODD_IMPLICIT),
        indexed("a private value of odd length", Draft::plain().element(PRIVATE, "OB", &[1; 13]).file(), &[]),
        indexed("an empty value", text(b""), &[]),
        indexed("a value of blanks", text(b"    "), &[]),
    ]
}

fn vrs() -> Vec<Case> {
    let plain = Draft::plain;
    let rows = |vr, value: &[u8]| plain().element(ROWS, vr, value).file();
    let number = |vr, value: &[u8]| plain().element((0x20, 0x13), vr, value).file();
    let raw = |bytes: &[u8]| plain().raw(PRIVATE, [&[9, 0, 1, 0x10], bytes].concat()).file();
    let name = |bytes: &[u8]| plain().raw(PATIENT_NAME, [&[0x10, 0, 0x10, 0], bytes].concat()).file();
    vec![
        indexed("rows as text (IS)", rows("IS", b"512 "), &[("image.numrows", "512")]),
        indexed("rows as text (LO)", rows("LO", b"512 "), &[("image.numrows", "512")]),
        indexed("rows as a long (UL)", rows("UL", &[0, 2, 0, 0]), &[("image.numrows", "512")]),
        indexed("rows as bytes (OW)", rows("OW", &[0, 2]), &[("image.numrows", "512")]),
        indexed("rows of unknown VR (UN)", rows("UN", &[0, 2]), &[("image.numrows", "512")]),
        indexed("rows of one byte", rows("US", &[7]), &[("image.numrows", "7")]),
        indexed("an empty number of rows", rows("US", &[]), &[("image.numrows", "-")]),
        indexed("several numbers of rows: the first", rows("US", &[0, 2, 9, 0, 9, 0]), &[("image.numrows", "512")]),
        indexed("two numbers of rows: the first", rows("US", &[0, 2, 9, 0]), &[("image.numrows", "512")]),
        indexed("an instance number in binary (US)", number("US", &[7, 0]), &[("image.instance", "7")]),
        indexed("a name called UN", plain().element(PATIENT_NAME, "UN", b"Testmann^Theo ").file(), &[]),
        indexed("a name called OB", plain().element(PATIENT_NAME, "OB", b"Testmann^Theo ").file(), &[]),
        indexed("a name called UT", plain().element(PATIENT_NAME, "UT", b"Testmann^Theo ").file(), &[]),
        indexed("a name with a blank VR", name(b"  \x0e\0Testmann^Theo "), &[]),
        indexed("a blank VR", raw(b"  \x04\0ABCD"), &[]),
        indexed("a VR of zeros", raw(b"\0\0\x04\0ABCD"), &[]),
        indexed("an unknown VR ??, short form", raw(b"??\x04\0ABCD"), &[]),
        indexed("an unknown VR ZZ, long form", raw(b"ZZ\0\0\x04\0\0\0ABCD"), &[]),
        indexed("an implicit element among explicit ones", raw(b"\x04\0\0\0ABCD"), &[]),
        indexed("an implicit name among explicit elements", name(b"\x0e\0\0\0Testmann^Theo "), &[]),
    ]
}

fn padding() -> Vec<Case> {
    let plain = Draft::plain;
    let writer = Writer::EXPLICIT;
    let trailing = writer.element((0xFFFC, 0xFFFC), "OB", &[0; 500]);
    let delimiters = [writer.delimiter(ITEM_DELIMITATION), writer.delimiter(SEQUENCE_DELIMITATION)].concat();
    // Whether the patient follows the pixel data is known only at the end of the file, so padding
    // is read.
    let nameless = || plain().without(PATIENT_NAME);
    const NAMELESS: Values = &[("patient.lastname", ""), ("patient.firstname", "")];
    vec![
        indexed("zeros at the end", plain().behind(&[0; 4096]).file(), &[]),
        indexed("zeros at the end, no name", nameless().behind(&[0; 4096]).file(), NAMELESS),
        indexed("data set trailing padding (FFFC,FFFC)", plain().behind(&trailing).file(), &[]),
        indexed("data set trailing padding (FFFC,FFFC), no name", nameless().behind(&trailing).file(), NAMELESS),
        indexed("delimiters that close nothing", plain().before(PATIENT_NAME, &delimiters).file(), &[]),
    ]
}

fn cut() -> Vec<Case> {
    let plain = Draft::plain();
    let text = plain.clone().text(COMMENTS, "LT", "a comment").moved_before(COMMENTS, ROWS);
    vec![
        cut_short("cut behind the UIDs, between elements", plain.cut_in(ROWS, 4), WITHOUT_ROWS),
        cut_short("cut behind the UIDs, within a header", plain.cut_in(ROWS, 6), WITHOUT_ROWS),
        cut_short("cut within the value of rows", plain.cut_in(ROWS, 9), WITHOUT_ROWS),
        cut_short("cut within a comment", text.cut_in(ROWS, 12), WITHOUT_ROWS),
        indexed("cut within the pixel data", plain.cut_in(PIXEL_DATA, 15), &[]),
        rejected("cut before the UIDs of study and series", plain.cut_in(STUDY_INSTANCE_UID, 4), "cut"),
        rejected("cut within the UID of the study", plain.cut_in(STUDY_INSTANCE_UID, 12), "cut"),
        rejected("cut within the name", plain.cut_in(PATIENT_NAME, 12), "cut"),
        rejected("cut within the meta group", plain.file()[..200].to_vec(), "cut"),
    ]
}

fn beyond_the_end() -> Vec<Case> {
    let plain = Draft::plain();
    let header = |tag, vr| plain.writer.header(tag, vr, MORE_THAN_4_GB);
    let before = |tag, bytes: &[u8]| plain.clone().before(tag, bytes).file();
    let implicit = Draft::of(uids::IMPLICIT_VR_LITTLE_ENDIAN);
    let in_implicit = implicit.writer.header(INSTITUTION, "LO", MORE_THAN_4_GB);
    vec![
        rejected("4 GB declared of a private element", before(PATIENT_NAME, &header(PRIVATE, "OB")), "cut"),
        rejected("4 GB declared of a name", before(PATIENT_NAME, &header(PATIENT_NAME, "UT")), "cut"),
        rejected(
            "4 GB declared of an institution, implicit",
            implicit.before(PATIENT_NAME, &in_implicit).file(),
            "cut",
        ),
        cut_short("4 GB declared behind the UIDs", before(ROWS, &header((0x27, 0x1001), "OB")), WITHOUT_ROWS),
        cut_short("4 GB declared of the rows", before(ROWS, &header(ROWS, "UN")), WITHOUT_ROWS),
    ]
}

#[test]
fn a_blank_vr_is_read_wherever_the_window_ends() {
    let writer = Writer::EXPLICIT;
    for filler in (7_000..8_400).step_by(14) {
        let blank = [&writer.element(PRIVATE, "OB", &vec![7; filler])[..], &[9, 0, 2, 0x10], b"  \x14\0", &[b'x'; 20]];
        let draft = Draft::plain().raw(PRIVATE, blank.concat()).element(PIXEL_DATA, "OW", &vec![0; 3_000_000]);
        assert_eq!(verdict(&read(&draft.file())), "indexed", "{filler}");
    }
}

/// Items whose declared length differs from that of their content.
fn items() -> Vec<Case> {
    let of = |syntax, tag, lengths: &[i32], is_closed: bool| {
        let draft = Draft::of(syntax);
        let writer = Writer { defined: !is_closed, ..draft.writer };
        let content = [writer.text((0x08, 0x100), "SH", "CODE"), writer.text((0x08, 0x104), "LO", "meaning")].concat();
        let item = |wrong: &i32| {
            let length = (content.len() as i32 + wrong) as u32;
            [&writer.tag(ITEM)[..], &writer.length(length), &content].concat()
        };
        let items: Vec<u8> = lengths.iter().flat_map(item).collect();
        let (length, end) = match is_closed {
            true => (UNDEFINED, writer.delimiter(SEQUENCE_DELIMITATION)),
            false => (items.len() as u32, Vec::new()),
        };
        draft.before(STUDY_INSTANCE_UID, &[writer.header(tag, "SQ", length), items, end].concat()).file()
    };
    let (explicit, implicit) = (uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    const IMPLICIT: Values = &[("image.xfersyntax", "1.2.840.10008.1.2")];
    const BIG: Values = &[("image.xfersyntax", BIG_ENDIAN)];
    const SPECIES: Values = &[("patientspeciescode.value", "CODE"), ("patientspeciescode.meaning", "meaning")];
    let (passed, entered) = ((0x10, 0x1002), (0x10, 0x2202));
    vec![
        indexed("an item 4 bytes longer than declared", of(explicit, passed, &[-4], true), &[]),
        indexed("an item 4 bytes longer than declared, implicit", of(implicit, passed, &[-4], true), IMPLICIT),
        indexed("an item 4 bytes longer than declared, big endian", of(BIG_ENDIAN, passed, &[-4], true), BIG),
        indexed("an item 4 bytes shorter than declared", of(explicit, passed, &[4], true), &[]),
        indexed("an item 10 bytes longer than declared, another behind", of(explicit, passed, &[-10, 0], true), &[]),
        indexed("two items longer than declared", of(explicit, passed, &[-4, -2], true), &[]),
        indexed("a wanted item 4 bytes longer than declared", of(explicit, entered, &[-4], true), SPECIES),
        indexed("a wanted item 4 bytes shorter than declared", of(explicit, entered, &[4], true), SPECIES),
        indexed("two wanted items longer than declared", of(explicit, entered, &[-4, -2], true), SPECIES),
        indexed(
            "an item longer than declared in a sequence of defined length",
            of(explicit, entered, &[-4, 0], false),
            SPECIES,
        ),
    ]
}

/// Values of undefined length with a VR that does not allow it, in items like those of a sequence.
fn undefined() -> Vec<Case> {
    let writer = Writer::UNDEFINED;
    let fragments =
        [writer.tag(ITEM), writer.length(4).to_vec(), b"ABCD".to_vec(), writer.delimiter(SEQUENCE_DELIMITATION)]
            .concat();
    let of = |vr: &str, value: &[u8]| {
        let header = [&writer.tag((0x27, 0x1010))[..], vr.as_bytes(), &[0, 0], &writer.length(UNDEFINED)].concat();
        Draft::plain().before(ROWS, &[&header[..], value].concat()).file()
    };
    let in_item = [&writer.tag((0x27, 0x1010))[..], b"UT\0\0", &writer.length(UNDEFINED), &fragments].concat();
    let in_item = Draft::plain().before(ROWS, &writer.sequence((0x27, 0x1009), &[in_item])).file();
    vec![
        indexed("UT of undefined length", of("UT", &fragments), &[]),
        indexed("UC of undefined length", of("UC", &fragments), &[]),
        indexed("UR of undefined length", of("UR", &fragments), &[]),
        indexed("OF of undefined length", of("OF", &fragments), &[]),
        indexed("OV of undefined length", of("OV", &fragments), &[]),
        indexed("UT of undefined length, empty", of("UT", &writer.delimiter(SEQUENCE_DELIMITATION)), &[]),
        indexed("UT of undefined length in an item", in_item, &[]),
        cut_short("UT of undefined length without items", of("UT", b"some text "), WITHOUT_ROWS),
    ]
}
