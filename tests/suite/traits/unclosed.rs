//! Items of undefined length that are not closed before their sequence is.

use dicom_dictionary_std::uids;

use super::{Case, Values, cut_short, indexed, rejected};
use crate::support::draft::{Draft, PATIENT_NAME, ROWS, Tag};
use crate::support::writer::{BIG_ENDIAN, ITEM, SEQUENCE_DELIMITATION, UNDEFINED, Writer};

const PRIVATE: Tag = (0x0009, 0x1001);
const REFERENCED: Tag = (0x0008, 0x1140);
const SPECIES: Tag = (0x0010, 0x2202);
const OBSERVERS: Tag = (0x0040, 0xA073);
const WITHOUT_ROWS: Values = &[("image.numrows", "-"), ("image.numcolumns", "-"), ("image.bitsstored", "-")];

pub fn cases() -> Vec<Case> {
    [skipped(), nested(), entered(), confused()].into_iter().flatten().collect()
}

fn header(writer: Writer, tag: Tag, vr: &str) -> Vec<u8> {
    writer.header(tag, vr, UNDEFINED)
}

/// An item that is not closed.
fn open(writer: Writer, content: &[u8]) -> Vec<u8> {
    [&writer.tag(ITEM), &writer.length(UNDEFINED)[..], content].concat()
}

fn sequence(writer: Writer, tag: Tag, items: &[Vec<u8>]) -> Vec<u8> {
    [header(writer, tag, "SQ"), items.concat(), writer.delimiter(SEQUENCE_DELIMITATION)].concat()
}

fn skipped() -> Vec<Case> {
    let of = |syntax| Writer { syntax, defined: false };
    let items = |writer: Writer, tag: Tag, count: usize| {
        let item = open(writer, &writer.text((8, 0x1155), "UI", "1.2.3.4"));
        Draft::of(writer.syntax).raw(tag, sequence(writer, tag, &vec![item; count])).file()
    };
    let writer = Writer::UNDEFINED;
    let (implicit, big) = (of(uids::IMPLICIT_VR_LITTLE_ENDIAN), of(BIG_ENDIAN));
    let unknown = [
        header(writer, PRIVATE, "UN"),
        open(implicit, &implicit.text((9, 0x1002), "LO", "value")),
        writer.delimiter(SEQUENCE_DELIMITATION),
    ];
    let closed = writer.item(&writer.text((8, 0x1155), "UI", "1.2.3.4"));
    let mixed = [open(writer, &[]), closed.clone(), Writer::EXPLICIT.item(&[]), open(writer, &[])];
    let content = [open(writer, &closed[8..closed.len() - 8]), writer.delimiter(SEQUENCE_DELIMITATION)].concat();
    let at_the_end =
        Draft::plain().without(PATIENT_NAME).behind(&sequence(writer, (0x7FE1, 0x1001), &[open(writer, b"")]));
    const NAMELESS: Values = &[("patient.lastname", ""), ("patient.firstname", "")];
    let cut = Draft::plain().before(ROWS, &[header(writer, (0x27, 0x1001), "SQ"), content.clone()].concat());
    let before_uids = |bytes: &[u8]| Draft::plain().before(PATIENT_NAME, bytes).file();
    vec![
        indexed("an item that is not closed", items(writer, REFERENCED, 1), &[]),
        indexed("three items that are not closed", items(writer, REFERENCED, 3), &[]),
        indexed("an item that is not closed, private", items(writer, PRIVATE, 1), &[]),
        indexed(
            "items that are not closed, implicit",
            items(implicit, REFERENCED, 2),
            &[("image.xfersyntax", "1.2.840.10008.1.2")],
        ),
        indexed(
            "items that are not closed, big endian",
            items(big, REFERENCED, 2),
            &[("image.xfersyntax", BIG_ENDIAN)],
        ),
        indexed("an item of UN that is not closed", Draft::plain().raw(PRIVATE, unknown.concat()).file(), &[]),
        indexed(
            "items of all kinds, some not closed",
            Draft::plain().raw(PRIVATE, sequence(writer, PRIVATE, &mixed)).file(),
            &[],
        ),
        indexed("an item that is not closed at the end of the file", at_the_end.file(), NAMELESS),
        cut_short("a sequence cut within an item that is not closed", cut.cut_in(ROWS, 24), WITHOUT_ROWS),
        rejected(
            "neither item nor sequence closed before the UIDs",
            before_uids(&[header(writer, PRIVATE, "SQ"), open(writer, b"")].concat()),
            "cut",
        ),
    ]
}

fn nested() -> Vec<Case> {
    let writer = Writer::UNDEFINED;
    let text = writer.text((9, 0x1003), "LO", "value");
    let inner = sequence(writer, (9, 0x1002), &[open(writer, &text), open(writer, &text)]);
    let file = |items: &[Vec<u8>]| Draft::plain().raw(PRIVATE, sequence(writer, PRIVATE, items)).file();
    let then = |content: &[u8]| [content, &writer.text((9, 0x1004), "LO", "more")].concat();
    vec![
        indexed("inner items not closed", file(&[writer.item(&inner), writer.item(&inner)]), &[]),
        indexed("inner items not closed, elements behind", file(&[writer.item(&then(&inner))]), &[]),
        indexed("outer items not closed", file(&[open(writer, &nested_and_closed(writer))]), &[]),
        indexed("inner and outer items not closed", file(&[open(writer, &inner)]), &[]),
        indexed(
            "inner and outer items not closed, two of each",
            file(&[open(writer, &inner), open(writer, &inner)]),
            &[],
        ),
        indexed("inner and outer items not closed, elements behind", file(&[open(writer, &then(&inner))]), &[]),
        indexed("inner items not closed, the outer of defined length", file(&[Writer::EXPLICIT.item(&inner)]), &[]),
    ]
}

fn nested_and_closed(writer: Writer) -> Vec<u8> {
    writer.sequence((9, 0x1002), &[writer.text((9, 0x1003), "LO", "value")])
}

/// Sequences whose values are indexed.
fn entered() -> Vec<Case> {
    let writer = Writer::UNDEFINED;
    let file = |tag: Tag, items: &[Vec<u8>]| Draft::plain().raw(tag, sequence(writer, tag, items)).file();
    let species = |code: &str| open(writer, &writer.code(code));
    const SPECIES_CODE: Values = &[
        ("patientspeciescode.value", "A"),
        ("patientspeciescode.schemedesignator", "99EX"),
        ("patientspeciescode.schemeversion", "v1"),
        ("patientspeciescode.meaning", "meaning of A"),
    ];
    let at = |at: &str| open(writer, &writer.text((0x40, 0xA030), "DT", at));
    let observers = [at("20211112120001"), at("20211113120002")];
    const VERIFIED: Values = &[("image.verificationdatetime", "2021-11-13 12:00:02")];
    let inner = sequence(writer, (9, 0x1002), &[open(writer, b"")]);
    let with_inner = open(writer, &[inner, writer.code("A")].concat());
    let first_not_skipped = [species("A"), species("B"), species("C")];
    vec![
        indexed("the item of a code not closed", file(SPECIES, &[species("A")]), SPECIES_CODE),
        indexed("items of which the first counts, none closed", file(SPECIES, &first_not_skipped), SPECIES_CODE),
        indexed("items of which the last counts, none closed", file(OBSERVERS, &observers), VERIFIED),
        indexed("the item of a code and one within not closed", file(SPECIES, &[with_inner]), SPECIES_CODE),
    ]
}

/// Sequence delimiters in place of item delimiters.
fn confused() -> Vec<Case> {
    let writer = Writer::UNDEFINED;
    let end = writer.delimiter(SEQUENCE_DELIMITATION);
    let item = |code: &str| [open(writer, &writer.code(code)), end.clone()].concat();
    let file = |tag: Tag, items: &[Vec<u8>]| Draft::plain().raw(tag, sequence(writer, tag, items)).file();
    const SPECIES_CODE: Values = &[
        ("patientspeciescode.value", "A"),
        ("patientspeciescode.schemedesignator", "99EX"),
        ("patientspeciescode.schemeversion", "v1"),
        ("patientspeciescode.meaning", "meaning of A"),
    ];
    vec![
        indexed("items closed by delimiters of a sequence", file(PRIVATE, &[item("A"), item("B")]), &[]),
        indexed(
            "items of a code closed by delimiters of a sequence",
            file(SPECIES, &[item("A"), item("B")]),
            SPECIES_CODE,
        ),
    ]
}
