//! Sequences, and the kinds of objects that consist of them. `sequences.rs` of the suite tests the
//! values inside sequences.

use dicom_dictionary_std::uids;

use super::{Case, Values, indexed};
use crate::support::draft::{Draft, PATIENT_NAME, Tag};
use crate::support::writer::{BIG_ENDIAN, ITEM, SEQUENCE_DELIMITATION, UNDEFINED, Writer};

const PRIVATE: Tag = (0x0009, 0x1001);
const REFERENCED: Tag = (0x0008, 0x1140);
const INTERPRETATION_AUTHOR: Tag = (0x4008, 0x010C);
const AUTHOR: Values = &[("study.interpretationauthor", "Stein^Eva")];

pub fn cases() -> Vec<Case> {
    [lengths(), unknown(), large_objects(), reports(), documents()].into_iter().flatten().collect()
}

/// A sequence in a sequence, each of two items.
fn nested(writer: Writer, tag: Tag) -> Vec<u8> {
    let inner = writer.sequence((9, 0x1002), &[writer.text((9, 0x1003), "LO", "value"), vec![]]);
    writer.sequence(tag, &[inner.clone(), inner])
}

fn lengths() -> Vec<Case> {
    let with = |writer: Writer| Draft::of(writer.syntax).raw(REFERENCED, nested(writer, REFERENCED)).file();
    let (explicit, implicit) = (uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    let of = |syntax, defined| with(Writer { syntax, defined });
    const IMPLICIT: Values = &[("image.xfersyntax", "1.2.840.10008.1.2")];
    const BIG: Values = &[("image.xfersyntax", "1.2.840.10008.1.2.2")];
    vec![
        indexed("sequences of defined length", of(explicit, true), &[]),
        indexed("sequences of undefined length", of(explicit, false), &[]),
        indexed("sequences of defined length, implicit", of(implicit, true), IMPLICIT),
        indexed("sequences of undefined length, implicit", of(implicit, false), IMPLICIT),
        indexed("sequences of defined length, big endian", of(BIG_ENDIAN, true), BIG),
        indexed("sequences of undefined length, big endian", of(BIG_ENDIAN, false), BIG),
    ]
}

/// PS3.5 6.2.2: a sequence of a VR unknown to its writer is UN, and its content is in implicit VR
/// little endian.
fn unknown() -> Vec<Case> {
    let explicit = Writer::UNDEFINED;
    let implicit = Writer { syntax: uids::IMPLICIT_VR_LITTLE_ENDIAN, defined: false };
    let unknown = |inside: Writer| {
        let items = inside.item(&[inside.text((9, 0x1002), "LO", "SQAB"), nested(inside, (9, 0x1004))].concat());
        let header = explicit.header(PRIVATE, "UN", UNDEFINED);
        Draft::plain().raw(PRIVATE, [header, items, explicit.delimiter(SEQUENCE_DELIMITATION)].concat()).file()
    };
    let items = explicit.item(&nested(explicit, (9, 0x1004)));
    let sequence_first = [explicit.header(PRIVATE, "UN", UNDEFINED), items].concat();
    let sequence_first = [sequence_first, explicit.delimiter(SEQUENCE_DELIMITATION)].concat();
    let sequence_first = Draft::plain().raw(PRIVATE, sequence_first).file();
    let fragments = [explicit.tag(ITEM), explicit.length(4).to_vec(), vec![1, 2, 3, 4]].concat();
    let encapsulated = [explicit.header(PRIVATE, "OB", UNDEFINED), fragments.repeat(2)].concat();
    let encapsulated = [encapsulated, explicit.delimiter(SEQUENCE_DELIMITATION)].concat();
    let nameless = |element: Vec<u8>| Draft::plain().without(PATIENT_NAME).behind(&element);
    let name = explicit.text(PATIENT_NAME, "PN", "Testmann^Theo");
    vec![
        indexed("UN of undefined length, implicit inside", unknown(implicit), &[]),
        indexed("UN of undefined length, explicit inside", unknown(explicit), &[]),
        indexed("UN of undefined length, explicit inside, a sequence first", sequence_first, &[]),
        indexed("UN of undefined length, defined lengths inside", unknown(Writer { defined: true, ..implicit }), &[]),
        indexed("fragments in a private element", Draft::plain().raw(PRIVATE, encapsulated.clone()).file(), &[]),
        indexed("a name behind fragments", nameless(encapsulated).behind(&name).file(), &[]),
    ]
}

/// Elements after some megabytes of items, which a reader of whole data sets would keep in memory.
fn large_objects() -> Vec<Case> {
    let author = |draft: Draft| draft.text(INTERPRETATION_AUTHOR, "PN", "Stein^Eva").file();
    let contours = |writer: Writer, structures: usize| {
        let contour = writer.text((0x3006, 0x50), "DS", &"-12.5\\0\\7.25\\".repeat(40));
        let item = writer.sequence((0x3006, 0x40), &vec![contour; 50]);
        let sequence = writer.sequence((0x3006, 0x39), &vec![item; structures]);
        author(Draft::plain().raw((0x3006, 0x39), sequence))
    };
    let frame = Writer::UNDEFINED.sequence((0x20, 0x9113), &[Writer::UNDEFINED.text((0x20, 0x32), "DS", "1\\2\\3")]);
    let frames = Writer::UNDEFINED.sequence((0x5200, 0x9230), &vec![frame; 10_000]);
    let enhanced = Draft::plain().text((0x28, 8), "IS", "10000").raw((0x5200, 0x9230), frames);
    let late =
        enhanced.clone().without(PATIENT_NAME).behind(&Writer::EXPLICIT.text(PATIENT_NAME, "PN", "Testmann^Theo"));
    let private = Draft::plain().element(PRIVATE, "OB", &vec![7; 20_000_000]).file();
    vec![
        indexed("RTSTRUCT, 3 MB of contours of defined length", contours(Writer::EXPLICIT, 120), AUTHOR),
        indexed("RTSTRUCT, 200 KB of contours of undefined length", contours(Writer::UNDEFINED, 8), AUTHOR),
        // Only a retired attribute could follow, which is not worth reading megabytes for.
        indexed("RTSTRUCT, 3 MB of contours of undefined length", contours(Writer::UNDEFINED, 120), &[]),
        indexed("10,000 items of per-frame groups", enhanced.file(), &[("image.numframes", "10000")]),
        indexed("a name behind 10,000 items", late.file(), &[("image.numframes", "10000")]),
        indexed("20 MB in a private element", private, &[]),
    ]
}

fn reports() -> Vec<Case> {
    let writer = Writer::UNDEFINED;
    let observer = |at| writer.text((0x40, 0xA030), "DT", at);
    let observers = [observer("20211112120001"), observer("20211113120002.5")];
    let heading = writer.sequence((0x40, 0xA043), &[writer.code("heading")]);
    let report = Draft::plain()
        .of_class(uids::BASIC_TEXT_SR_STORAGE)
        .text((0x40, 0xA032), "DT", "20211112115900")
        .raw((0x40, 0xA043), writer.sequence((0x40, 0xA043), &[writer.code("title")]))
        .raw((0x40, 0xA073), writer.sequence((0x40, 0xA073), &observers))
        .text((0x40, 0xA491), "CS", "COMPLETE")
        .text((0x40, 0xA492), "LO", "signed")
        .text((0x40, 0xA493), "CS", "VERIFIED")
        .raw((0x40, 0xA730), writer.sequence((0x40, 0xA730), &[heading.clone(), heading]));
    const REPORT: Values = &[
        ("image.sopclass", "1.2.840.10008.5.1.4.1.1.88.11"),
        ("image.completion", "COMPLETE"),
        ("image.description", "signed"),
        ("image.verification", "VERIFIED"),
        ("image.observationdatetime", "2021-11-12 11:59:00"),
        ("image.verificationdatetime", "2021-11-13 12:00:02"),
        ("conceptname.value", "title"),
        ("conceptname.schemedesignator", "99EX"),
        ("conceptname.schemeversion", "v1"),
        ("conceptname.meaning", "meaning of title"),
    ];
    vec![indexed("SR: title, flags, the last who verified", report.file(), REPORT)]
}

fn documents() -> Vec<Case> {
    let document = |size| {
        let draft = Draft::plain().of_class(uids::ENCAPSULATED_PDF_STORAGE).text((0x42, 0x10), "ST", "Befund");
        draft.element((0x42, 0x11), "OB", &vec![b'%'; size]).text((0x42, 0x12), "LO", "application/pdf").file()
    };
    const PDF: Values = &[("image.sopclass", "1.2.840.10008.5.1.4.1.1.104.1"), ("image.mimetype", "application/pdf")];
    let requesting = Draft::plain().text((0x32, 0x1032), "PN", "Brandt^Ina").file();
    let author = Draft::plain().text(INTERPRETATION_AUTHOR, "PN", "Stein^Eva").file();
    vec![
        indexed("a PDF of 5 MB, its MIME type behind it", document(5_000_000), PDF),
        indexed("an empty PDF", document(0), PDF),
        indexed("Requesting Physician (0032,1032)", requesting, &[("study.requestingphysician", "Brandt^Ina")]),
        indexed("Interpretation Author (4008,010C)", author, AUTHOR),
    ]
}
