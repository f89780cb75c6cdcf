//! VRs with the long form whose length has only two bytes, and unknown VRs.

use dicom_dictionary_std::uids;

use super::{Case, Values, cut_short, indexed, rejected};
use crate::support::draft::{Draft, PATIENT_NAME, ROWS, STUDY_INSTANCE_UID, deflated, part10};
use crate::support::writer::{BIG_ENDIAN, SEQUENCE_DELIMITATION, UNDEFINED, Writer};

const PRIVATE: (u16, u16) = (0x0009, 0x1001);
const BIG: Values = &[("image.xfersyntax", BIG_ENDIAN)];
const WITHOUT_ROWS: Values = &[("image.numrows", "-"), ("image.numcolumns", "-"), ("image.bitsstored", "-")];

pub fn cases() -> Vec<Case> {
    [two_byte_lengths(), two_byte_lengths_elsewhere(), reserved_bytes(), unknown()].into_iter().flatten().collect()
}

/// An element of a long-form VR with a length of two bytes.
fn squeezed(writer: Writer, tag: (u16, u16), vr: &str, value: &[u8]) -> Vec<u8> {
    [&writer.tag(tag), vr.as_bytes(), &writer.number(value.len() as u16), value].concat()
}

fn private(vr: &str, value: &[u8]) -> Vec<u8> {
    Draft::plain().raw(PRIVATE, squeezed(Writer::EXPLICIT, PRIVATE, vr, value)).file()
}

fn two_byte_lengths() -> Vec<Case> {
    let items = Writer::EXPLICIT.item(&Writer::EXPLICIT.text((8, 0x1155), "UI", "1.2.3"));
    let name = |vr| Draft::plain().raw(PATIENT_NAME, squeezed(Writer::EXPLICIT, PATIENT_NAME, vr, b"Testmann^Theo "));
    vec![
        indexed("UN with a length of two bytes", private("UN", b"ABCDEFGHIJ"), &[]),
        indexed("OB with a length of two bytes", private("OB", &[1; 300]), &[]),
        indexed("OW with a length of two bytes", private("OW", &[0; 4]), &[]),
        indexed("OD with a length of two bytes", private("OD", &[7; 16]), &[]),
        indexed("OF with a length of two bytes", private("OF", &[7; 8]), &[]),
        indexed("OL with a length of two bytes", private("OL", &[7; 8]), &[]),
        indexed("OV with a length of two bytes", private("OV", &[7; 16]), &[]),
        indexed("SV with a length of two bytes", private("SV", &[7; 8]), &[]),
        indexed("UV with a length of two bytes", private("UV", &[0xFF; 8]), &[]),
        indexed("UC with a length of two bytes", private("UC", b"unlimited "), &[]),
        indexed("UR with a length of two bytes", private("UR", b"http://example.org"), &[]),
        indexed("UT with a length of two bytes, odd", private("UT", b"some text"), &[]),
        indexed("SQ with a length of two bytes", private("SQ", &items), &[]),
        indexed("UN with a length of two bytes, 60,000", private("UN", &[b'x'; 60_000]), &[]),
        indexed("UN with a length of two bytes, 65,535", private("UN", &[b'x'; 65_535]), &[]),
        indexed("UN with a length of two bytes, empty", private("UN", b""), &[]),
        indexed("a name called UN with a length of two bytes", name("UN").file(), &[]),
        indexed("a name called UT with a length of two bytes", name("UT").file(), &[]),
    ]
}

fn two_byte_lengths_elsewhere() -> Vec<Case> {
    let big = Writer { syntax: BIG_ENDIAN, defined: true };
    let in_big = Draft::of(BIG_ENDIAN).raw(PRIVATE, squeezed(big, PRIVATE, "UN", &[3; 20])).file();
    let empty_in_big = Draft::of(BIG_ENDIAN).raw(PRIVATE, squeezed(big, PRIVATE, "OB", b"")).file();
    let within = |writer: Writer, vr, value: &[u8]| {
        let private = squeezed(writer, (9, 0x1002), vr, value);
        let contents = [vec![private.clone()], vec![[private, writer.text((9, 0x1003), "LO", "x")].concat()]].concat();
        Draft::plain().raw(PRIVATE, writer.sequence(PRIVATE, &contents)).file()
    };
    let in_meta = |vr: &str, value: &[u8]| {
        let draft = Draft::plain();
        let version = squeezed(Writer::EXPLICIT, (2, 1), vr, value);
        let [before, behind] = [12, 26].map(|at| draft.meta(Some).split_at(at).0.to_vec());
        let rest = draft.meta(Some).split_off(behind.len());
        part10(&[before, version, rest].concat(), &draft.data_set())
    };
    let last_in_meta = |data_set: Vec<u8>, syntax| {
        let last = squeezed(Writer::EXPLICIT, (2, 0x102), "OB", &[1; 6]);
        part10(&[Draft::of(syntax).meta(Some), last].concat(), &data_set)
    };
    let implicit = uids::IMPLICIT_VR_LITTLE_ENDIAN;
    let at_the_end = squeezed(Writer::EXPLICIT, (0x7FE0, 0x10), "OW", &[0; 16]);
    let nameless = Draft::plain().without(PATIENT_NAME).raw((0x7FE0, 0x10), at_the_end).file();
    const NAMELESS: Values = &[("patient.lastname", ""), ("patient.firstname", "")];
    const IMPLICIT: Values = &[("image.xfersyntax", "1.2.840.10008.1.2")];
    let cut = Draft::plain().before(ROWS, &squeezed(Writer::EXPLICIT, (0x27, 0x1001), "UN", &[7; 2000]));
    vec![
        indexed("big endian, UN with a length of two bytes", in_big, BIG),
        indexed("big endian, OB with a length of two bytes, empty", empty_in_big, BIG),
        indexed("in items, UN with a length of two bytes", within(Writer::UNDEFINED, "UN", &[5; 10]), &[]),
        indexed("in items, UT with a length of two bytes, empty", within(Writer::UNDEFINED, "UT", b""), &[]),
        indexed("in items of defined length, UN with a length of two bytes", within(Writer::EXPLICIT, "UN", b"x"), &[]),
        indexed("in the meta group, OB with a length of two bytes", in_meta("OB", &[0, 1]), &[]),
        indexed("in the meta group, OB with a length of two bytes, empty", in_meta("OB", &[]), &[]),
        indexed(
            "last in the meta group, OB with a length of two bytes",
            last_in_meta(Draft::of(implicit).data_set(), implicit),
            IMPLICIT,
        ),
        indexed("at the end of the file, OW with a length of two bytes", nameless, NAMELESS),
        cut_short("cut within UN with a length of two bytes", cut.cut_in(ROWS, 1000), WITHOUT_ROWS),
    ]
}

/// Reserved bytes that are not zero, and values and lengths that look like the next element.
fn reserved_bytes() -> Vec<Case> {
    let raw = |bytes: &[u8]| Draft::plain().raw(PRIVATE, [&[9, 0, 1, 0x10], bytes].concat()).file();
    let long = |vr: &[u8; 2], reserved: [u8; 2], value: &[u8]| {
        raw(&[&vr[..], &reserved, &(value.len() as u32).to_le_bytes(), value].concat())
    };
    vec![
        indexed("OB with reserved bytes that are not zero", long(b"OB", [1, 2], &[9; 500]), &[]),
        indexed("UN with reserved bytes that are not zero, 100,000", long(b"UN", [8, 0], &[9; 100_000]), &[]),
        indexed("UN of a value that looks like a VR", long(b"UN", [0, 0], b"LOUNSQ"), &[]),
        indexed("UN whose length looks like a later tag", long(b"UN", [0, 0], &[b'U'; 0x0010_0020]), &[]),
    ]
}

fn unknown() -> Vec<Case> {
    let raw = |bytes: &[u8]| Draft::plain().raw(PRIVATE, [&[9, 0, 1, 0x10], bytes].concat());
    let long = |vr: &[u8; 2], length: u32| {
        raw(&[&vr[..], &[0, 0], &length.to_le_bytes(), &vec![b'z'; length as usize]].concat())
    };
    let big = Writer { syntax: BIG_ENDIAN, defined: true };
    let in_big = [&big.tag(PRIVATE), &b"ZZ\0\0"[..], &big.length(100_000), &[1; 100_000]].concat();
    let writer = Writer::UNDEFINED;
    let undefined = [&writer.tag(PRIVATE), &b"ZZ\0\0"[..], &writer.length(UNDEFINED)].concat();
    let items = writer.item(&writer.text((9, 0x1002), "LO", "value"));
    let undefined = [undefined, items, writer.delimiter(SEQUENCE_DELIMITATION)].concat();
    let in_item = [&writer.tag((9, 0x1002)), &b"ZZ\0\0"[..], &writer.length(70_000), &[2; 70_000]].concat();
    let declaring = Draft::plain().declaring(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN);
    let in_deflated =
        declaring.raw(PRIVATE, [&[9, 0, 1, 0x10], &b"ZZ\0\0"[..], &100_000u32.to_le_bytes(), &[0; 100_000]].concat());
    let in_deflated = part10(&in_deflated.meta(Some), &deflated(&in_deflated.data_set(), flate2::Compression::fast()));
    const DEFLATED: Values = &[("image.xfersyntax", uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)];
    vec![
        indexed("an unknown VR ZZ, long form, 70,000", long(b"ZZ", 70_000).file(), &[]),
        indexed("an unknown VR ZZ, long form, 65,536", long(b"ZZ", 65_536).file(), &[]),
        indexed("an unknown VR ZZ, long form, 3,000,001", long(b"ZZ", 3_000_001).file(), &[]),
        indexed("an unknown VR ??, long form, 70,000", long(b"??", 70_000).file(), &[]),
        indexed("an unknown VR ox, long form, 70,000", long(b"ox", 70_000).file(), &[]),
        indexed("an unknown VR ZZ, long form, empty", long(b"ZZ", 0).file(), &[]),
        indexed("an unknown VR ZZ, short form, empty", raw(b"ZZ\0\0").file(), &[]),
        indexed(
            "an unknown VR ZZ, short form, 65,535",
            raw(&[b"ZZ\xFF\xFF", &[b'z'; 65_535][..]].concat()).file(),
            &[],
        ),
        indexed(
            "an unknown VR ZZ, big endian, long form, 100,000",
            Draft::of(BIG_ENDIAN).raw(PRIVATE, in_big).file(),
            BIG,
        ),
        indexed("an unknown VR ZZ of undefined length", Draft::plain().raw(PRIVATE, undefined).file(), &[]),
        indexed(
            "an unknown VR ZZ in an item, long form, 70,000",
            Draft::plain().raw(PRIVATE, writer.sequence(PRIVATE, &[in_item])).file(),
            &[],
        ),
        indexed("an unknown VR ZZ, deflated, long form, 100,000", in_deflated, DEFLATED),
        rejected(
            "an unknown VR ZZ, long form, cut",
            long(b"ZZ", 70_000).cut_in(STUDY_INSTANCE_UID, 0)[..60_000].to_vec(),
            "cut",
        ),
    ]
}
