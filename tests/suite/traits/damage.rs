//! Damaged tags, and zeros in place of elements.

use dicom_dictionary_std::uids;

use super::{Case, Values, cut_short, indexed};
use crate::support::draft::{Draft, PATIENT_NAME, PIXEL_DATA, ROWS, STUDY_INSTANCE_UID, Tag};
use crate::support::writer::{BIG_ENDIAN, Writer};

const SERIES_NUMBER: Tag = (0x0020, 0x0011);
const NO_NUMBER: Values = &[("series.seriesnumber", "-")];
const WITHOUT_ROWS: Values = &[("image.numrows", "-"), ("image.numcolumns", "-"), ("image.bitsstored", "-")];

pub fn cases() -> Vec<Case> {
    [later_tags(), high_tags(), real_high_tags(), first_tag(), zeros()].into_iter().flatten().collect()
}

/// Changes a tag to another one.
fn damaged(draft: Draft, tag: Tag, to: Tag) -> Draft {
    let writer = draft.writer;
    let vr = if tag == ROWS { "US" } else { "IS" };
    let value: &[u8] = if tag == ROWS { &[4, 0] } else { b"1 " };
    draft.raw(tag, writer.element(to, vr, value))
}

fn later_tags() -> Vec<Case> {
    let plain = Draft::plain;
    let (implicit, big) = (|| Draft::of(uids::IMPLICIT_VR_LITTLE_ENDIAN), || Draft::of(BIG_ENDIAN));
    const IMPLICIT: Values = &[("series.seriesnumber", "-"), ("image.xfersyntax", "1.2.840.10008.1.2")];
    const BIG: Values = &[("series.seriesnumber", "-"), ("image.xfersyntax", BIG_ENDIAN)];
    const NO_ROWS: Values = &[("image.numrows", "-")];
    const NAMELESS: Values = &[("patient.lastname", ""), ("patient.firstname", "")];
    let number = |draft: Draft, element| damaged(draft, SERIES_NUMBER, (0, element)).file();
    let high = |draft: Draft, tag| damaged(draft, SERIES_NUMBER, tag).file();
    let nameless = plain().raw(PATIENT_NAME, Writer::EXPLICIT.text((0, 0x10), "PN", "Testmann^Theo"));
    let delimiting = |draft: Draft| {
        let element = draft.writer.text((0xFFFE, 0x0010), "LO", "EXAMPLE");
        draft.before(STUDY_INSTANCE_UID, &element)
    };
    let item = Writer::UNDEFINED.text((0xFFFE, 0x0010), "LO", "EXAMPLE");
    let in_item = plain().before(PATIENT_NAME, &Writer::UNDEFINED.sequence((0x0008, 0x1140), &[item]));
    let large = plain().before(ROWS, &Writer::EXPLICIT.element((0, 0x1001), "OB", &[0; 70_000]));
    let before_rows = |bytes: &[u8]| plain().before(ROWS, bytes).file();
    let long_high = plain().before(ROWS, &Writer::EXPLICIT.element((0xFF20, 0x1001), "OB", &[0; 70_000]));
    let empty = plain().before(ROWS, &Writer::EXPLICIT.element((0, 0), "LO", b""));
    vec![
        indexed("a tag of group 0000 behind the UIDs", number(plain(), 0x11), NO_NUMBER),
        indexed("a tag (0000,0000) behind the UIDs", number(plain(), 0), NO_NUMBER),
        indexed("a tag of group 0000 behind the UIDs, implicit", number(implicit(), 0x11), IMPLICIT),
        indexed("a tag (0000,0000) behind the UIDs, implicit", number(implicit(), 0), IMPLICIT),
        indexed("a tag of group 0000 behind the UIDs, big endian", number(big(), 0x11), BIG),
        indexed("a tag of group FF20 behind the UIDs", high(plain(), (0xFF20, 0x11)), NO_NUMBER),
        indexed("a tag of a private high group behind the UIDs", high(plain(), (0x8021, 0x11)), NO_NUMBER),
        indexed("a number with the tag of Pixel Data", high(plain(), (0x7FE0, 0x10)), NO_NUMBER),
        indexed("a tag of the group of delimiters behind the UIDs", high(plain(), (0xFFFE, 0x11)), NO_NUMBER),
        indexed("a tag of group FF20 behind the UIDs, implicit", high(implicit(), (0xFF20, 0x11)), IMPLICIT),
        indexed("a tag of group FF20 behind the UIDs, big endian", high(big(), (0xFF20, 0x11)), BIG),
        indexed("a tag of group FFFE before the UIDs", delimiting(plain()).file(), &[]),
        indexed(
            "a tag of group FFFE before the UIDs, big endian",
            delimiting(big()).file(),
            &[("image.xfersyntax", BIG_ENDIAN)],
        ),
        indexed("a tag of group FFFE in an item", in_item.file(), &[]),
        indexed("rows of group 0000", damaged(plain(), ROWS, (0, 0x10)).file(), NO_ROWS),
        indexed("a name of group 0000", nameless.file(), NAMELESS),
        indexed("a large element of group 0000", large.file(), &[]),
        indexed("an empty element (0000,0000)", empty.file(), &[]),
        indexed("a delimiter of no sequence", before_rows(b"\xFE\xFF\xDD\xE0\0\0\0\0"), &[]),
        indexed("an item of no sequence", before_rows(b"\xFE\xFF\x00\xE0\x04\0\0\0abcd"), &[]),
        indexed("a long element of group FF20", long_high.file(), &[]),
        indexed("eight zeros between elements", plain().before(ROWS, &[0; 8]).file(), &[]),
        indexed(
            "eight zeros between elements, big endian",
            big().before(ROWS, &[0; 8]).file(),
            &[("image.xfersyntax", BIG_ENDIAN)],
        ),
    ]
}

/// An element of a group after the last wanted one, directly before the rows: its length, or the
/// data after it, is damaged, too.
fn high_tags() -> Vec<Case> {
    const ROWS_ONLY: Values = &[("image.numrows", "-")];
    const IMPLICIT: Values = &[
        ("image.numrows", "-"),
        ("image.numcolumns", "-"),
        ("image.bitsstored", "-"),
        ("image.xfersyntax", "1.2.840.10008.1.2"),
    ];
    const BIG: Values = &[
        ("image.numrows", "-"),
        ("image.numcolumns", "-"),
        ("image.bitsstored", "-"),
        ("image.xfersyntax", BIG_ENDIAN),
    ];
    const DEFLATED: Values = &[
        ("image.numrows", "-"),
        ("image.numcolumns", "-"),
        ("image.bitsstored", "-"),
        ("image.xfersyntax", uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN),
    ];
    let rows = |syntax, tag, vr, length| {
        let draft = Draft::of(syntax);
        let header = draft.writer.header(tag, vr, length);
        draft.raw(ROWS, [header, vec![4, 0]].concat()).file()
    };
    let within_pixels = Draft::plain().raw(ROWS, [Writer::EXPLICIT.header(HIGH, "US", 200), vec![4, 0]].concat());
    let within_pixels = within_pixels.element(PIXEL_DATA, "OW", &[0x5A; 300]).file();
    let sequence = |writer: Writer, tag| {
        let items = [writer.code("1"), writer.code("2")];
        Draft::of(writer.syntax).before(ROWS, &writer.sequence(tag, &items)).file()
    };
    let undefined = |syntax| Writer { syntax, defined: false };
    let (explicit, implicit) = (uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    let deflated = uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
    const HIGH: Tag = (0xFF28, 0x0010);
    const HIGH_SEQUENCE: Tag = (0xFF40, 0xA043);
    let unclosed = [Writer::UNDEFINED.header(HIGH_SEQUENCE, "SQ", u32::MAX), Writer::UNDEFINED.code("1")].concat();
    // Without its tag, an element of two bytes is parsed as one with a value of 40 bytes, which
    // ends within a following item.
    let without_tag = Draft::plain().element(ROWS, "US", b"").before(ROWS, b"US\x02\0\x01\0");
    let items = Writer::UNDEFINED.sequence((0x0040, 0x0555), &[Writer::UNDEFINED.code("1"), vec![]]);
    let without_tag = without_tag.raw((0x0040, 0x0555), items).file();
    vec![
        cut_short("an element without its tag", without_tag, WITHOUT_ROWS),
        cut_short("a high tag, longer than the file", rows(explicit, HIGH, "US", 0x7FFE), WITHOUT_ROWS),
        cut_short("a high tag, longer than the file, implicit", rows(implicit, HIGH, "US", 0x4_0002), IMPLICIT),
        cut_short("a high tag, longer than the file, big endian", rows(BIG_ENDIAN, HIGH, "US", 0x7FFE), BIG),
        cut_short("a high tag, longer than the file, deflated", rows(deflated, HIGH, "US", 0x7FFE), DEFLATED),
        cut_short(
            "a private high tag, longer than the file",
            rows(explicit, (0x8029, 0x10), "UN", 0x7FFE),
            WITHOUT_ROWS,
        ),
        cut_short("a high tag that ends within Pixel Data", within_pixels, WITHOUT_ROWS),
        cut_short("a high tag, of undefined length", rows(explicit, HIGH, "UN", u32::MAX), WITHOUT_ROWS),
        cut_short("a high sequence that is never closed", Draft::plain().before(ROWS, &unclosed).file(), WITHOUT_ROWS),
        indexed("a high sequence of undefined length", sequence(Writer::UNDEFINED, HIGH_SEQUENCE), &[]),
        indexed(
            "a high sequence of undefined length, implicit",
            sequence(undefined(implicit), HIGH_SEQUENCE),
            &[("image.xfersyntax", "1.2.840.10008.1.2")],
        ),
        indexed(
            "a high sequence of undefined length, big endian",
            sequence(undefined(BIG_ENDIAN), HIGH_SEQUENCE),
            &[("image.xfersyntax", BIG_ENDIAN)],
        ),
        indexed("a high sequence of defined length", sequence(Writer::EXPLICIT, HIGH_SEQUENCE), &[]),
        indexed("a private high sequence of undefined length", sequence(Writer::UNDEFINED, (0x8041, 0x1001)), &[]),
        indexed("a retired group's sequence of undefined length", sequence(Writer::UNDEFINED, (0x4040, 0xA043)), &[]),
        indexed("a high tag of rows", rows(explicit, HIGH, "US", 2), ROWS_ONLY),
    ]
}

/// Elements that real files have after the last wanted one. They are not read.
fn real_high_tags() -> Vec<Case> {
    let writer = Writer::UNDEFINED;
    let last = |element: Vec<u8>| Draft::plain().without(PIXEL_DATA).behind(&element);
    let cut = |tag, vr| last([writer.header(tag, vr, 0x10_0000), vec![0; 64]].concat()).file();
    let waveforms = writer.sequence((0x5400, 0x0100), &[writer.element((0x5400, 0x1010), "OW", &[0; 64])]);
    let padding = writer.element((0xFFFC, 0xFFFC), "OB", &[0; 64]);
    let private = writer.element((0x7FE1, 0x1010), "OB", &[1; 64]);
    let overlay = writer.element((0x6000, 0x3000), "OW", &[1; 64]);
    vec![
        indexed("cut within an overlay", cut((0x6000, 0x3000), "OW"), &[]),
        indexed("cut within spectroscopy data", cut((0x5600, 0x0020), "OF"), &[]),
        indexed("cut within the padding", cut((0xFFFC, 0xFFFC), "OB"), &[]),
        indexed("waveforms, and padding", last([waveforms.clone(), padding].concat()).file(), &[]),
        indexed("waveforms that are never closed", last(waveforms[..waveforms.len() - 8].to_vec()).file(), &[]),
        indexed("private data and zeros", last([private, vec![0; 512]].concat()).file(), &[]),
        indexed("an overlay and zeros", last([overlay, vec![0; 512]].concat()).file(), &[]),
        cut_short("cut within private data", cut((0x7FE1, 0x1010), "OB"), &[]),
    ]
}

/// The first element, (0008,0016), is damaged: the rest is decoded in the declared encoding.
fn first_tag() -> Vec<Case> {
    let of = |syntax, tag: [u8; 4]| {
        let draft = Draft::of(syntax);
        let mut file = draft.file();
        let at = file.len() - draft.data_set().len();
        file[at..at + 4].copy_from_slice(&tag);
        file
    };
    let (explicit, implicit) = (uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    const NO_CLASS: Values = &[("image.sopclass", "-")];
    const IMPLICIT: Values = &[("image.sopclass", "-"), ("image.xfersyntax", "1.2.840.10008.1.2")];
    const BIG: Values = &[("image.sopclass", "-"), ("image.xfersyntax", BIG_ENDIAN)];
    vec![
        indexed("a first tag of group FF08", of(explicit, [0x08, 0xFF, 0x16, 0]), NO_CLASS),
        indexed("a first tag of group 0800", of(explicit, [0, 0x08, 0, 0x16]), NO_CLASS),
        indexed("a first tag of group 0000", of(explicit, [0, 0, 0x16, 0]), NO_CLASS),
        indexed("a first tag of zeros", of(explicit, [0; 4]), NO_CLASS),
        indexed("a first tag of ones", of(explicit, [0xFF; 4]), NO_CLASS),
        indexed("a first tag of group FF08, implicit", of(implicit, [0x08, 0xFF, 0x16, 0]), IMPLICIT),
        indexed("a first tag of zeros, implicit", of(implicit, [0; 4]), IMPLICIT),
        indexed("a first tag of group 0800, big endian", of(BIG_ENDIAN, [0x08, 0, 0x16, 0]), BIG),
        indexed("a first tag of group FF08, big endian", of(BIG_ENDIAN, [0xFF, 0x08, 0, 0x16]), BIG),
        indexed("a first tag of zeros, big endian", of(BIG_ENDIAN, [0; 4]), BIG),
    ]
}

fn zeros() -> Vec<Case> {
    let plain = Draft::plain;
    let nameless = |zeros: usize| plain().without(PATIENT_NAME).behind(&vec![0; zeros]).file();
    const NAMELESS: Values = &[("patient.lastname", ""), ("patient.firstname", "")];
    let hole = |bytes: usize| {
        let mut file = plain().element((0x0028, 0x0004), "CS", &[b'X'; 64]).file();
        let at = file.windows(4).position(|window| window == [0x28, 0, 0x04, 0]).unwrap();
        file[at..at + bytes].fill(0);
        file
    };
    vec![
        indexed("a million zeros at the end, no name", nameless(1_000_000), NAMELESS),
        indexed("five zeros at the end, no name", nameless(13), NAMELESS),
        cut_short("zeros from behind the UIDs to the middle of a value", hole(40), WITHOUT_ROWS),
    ]
}
