//! The start of the data.

use dicom_dictionary_std::uids;

use super::{Case, Values, indexed, rejected};
use crate::support::draft::{Draft, part10};
use crate::support::writer::{BIG_ENDIAN, Writer};

const NO_META: Values = &[("study.sourceae", "-")];
const NO_META_IMPLICIT: Values = &[("study.sourceae", "-"), ("image.xfersyntax", "1.2.840.10008.1.2")];
const NO_META_BIG: Values = &[("study.sourceae", "-"), ("image.xfersyntax", "1.2.840.10008.1.2.2")];

pub fn cases() -> Vec<Case> {
    [with_a_preamble(), without_a_preamble(), other_meta_groups(), commands(), prefixes(), without_an_instance()]
        .into_iter()
        .flatten()
        .collect()
}

fn with_a_preamble() -> Vec<Case> {
    let draft = Draft::plain();
    let preamble = |start: &[u8]| {
        let mut file = draft.file();
        file[..start.len()].copy_from_slice(start);
        file
    };
    // The element ends where the data set, or an element of the meta group, begins.
    let header = |length: usize| [&[8, 0, 8, 0][..], b"OB\0\0", &(length as u32).to_le_bytes()].concat();
    let data_set_at = draft.file().len() - draft.data_set().len();
    let up_to_data_set = header(data_set_at - 12);
    let long_element = header(100_000);
    let mut without_length = part10(&draft.meta(|_| None), &draft.data_set());
    let up_to = header(without_length.len() - draft.data_set().len() - 12);
    without_length[..12].copy_from_slice(&up_to);
    let meta_length = |length| part10(&draft.meta(|_| length), &draft.data_set());
    let implicit = Writer { syntax: uids::IMPLICIT_VR_LITTLE_ENDIAN, defined: true };
    let command: Vec<u8> = [
        implicit.element((0, 0), "UL", &28u32.to_le_bytes()),
        implicit.element((0, 0x0100), "US", &1u16.to_le_bytes()),
        implicit.text((0, 0x1000), "UI", "1.2.3.44"),
    ]
    .concat();
    vec![
        indexed("preamble and meta group", draft.file(), &[]),
        indexed("preamble, no meta group", part10(&[], &draft.data_set()), NO_META),
        indexed("a preamble that is a TIFF header", preamble(b"II*\0\x08\0\0\0"), &[]),
        indexed("a preamble that looks like a data set", preamble(b"\x08\0\x05\0CS\x0a\0ISO_IR 100"), &[]),
        indexed("a preamble that is the beginning of a long element", preamble(&long_element), &[]),
        indexed("a preamble that is a value up to the data set", preamble(&up_to_data_set), &[]),
        indexed("a preamble that is a value up to the data set, no group length", without_length, &[]),
        indexed("a preamble that looks like a meta group", preamble(b"\x02\0\0\0UL\x04\0\0\0\0\0"), &[]),
        indexed("a meta group length of zero", meta_length(Some(0)), &[]),
        indexed("a meta group length of 4 GB", meta_length(Some(0xFFFF_FFF0)), &[]),
        indexed("a meta group length that reaches into the data set", meta_length(Some(400)), &[]),
        indexed("a meta group without its length", meta_length(None), &[]),
        indexed("a command group in front", part10(&draft.meta(Some), &[command, draft.data_set()].concat()), &[]),
    ]
}

fn without_a_preamble() -> Vec<Case> {
    let data_set = |syntax| Draft::of(syntax).data_set();
    vec![
        indexed("no preamble, DICM first", Draft::plain().file().split_off(128), &[]),
        indexed("no preamble, the meta group first", Draft::plain().file().split_off(132), &[]),
        indexed("no meta group, explicit", data_set(uids::EXPLICIT_VR_LITTLE_ENDIAN), NO_META),
        indexed("no meta group, implicit", data_set(uids::IMPLICIT_VR_LITTLE_ENDIAN), NO_META_IMPLICIT),
        indexed("no meta group, big endian", data_set(BIG_ENDIAN), NO_META_BIG),
    ]
}

/// A file meta group in big endian or with implicit VRs, which PS3.10 7.1 does not allow.
fn meta_of(writer: Writer, draft: &Draft, declared: &str, has_length: bool) -> Vec<u8> {
    let elements = [
        writer.element((2, 0x01), "OB", &[0, 1]),
        writer.text((2, 0x02), "UI", uids::CT_IMAGE_STORAGE),
        writer.text((2, 0x10), "UI", declared),
        writer.text((2, 0x16), "AE", "TEST"),
    ]
    .concat();
    let length = writer.element((2, 0), "UL", &writer.length(elements.len() as u32));
    [if has_length { length } else { Vec::new() }, elements, draft.data_set()].concat()
}

fn other_meta_groups() -> Vec<Case> {
    let (implicit, big) = (uids::IMPLICIT_VR_LITTLE_ENDIAN, BIG_ENDIAN);
    let of = |meta, data_set, has_length| {
        let writer = Writer { syntax: meta, defined: true };
        meta_of(writer, &Draft::of(data_set), data_set, has_length)
    };
    let explicit = uids::EXPLICIT_VR_LITTLE_ENDIAN;
    const IMPLICIT: Values = &[("image.xfersyntax", "1.2.840.10008.1.2")];
    const BIG: Values = &[("image.xfersyntax", "1.2.840.10008.1.2.2")];
    let prefixed = |file: Vec<u8>| part10(&[], &file);
    let magic_only = |file: Vec<u8>| [b"DICM", &file[..]].concat();
    vec![
        indexed("an implicit meta group first, implicit", of(implicit, implicit, true), IMPLICIT),
        indexed("an implicit meta group first, explicit", of(implicit, explicit, true), &[]),
        indexed("an implicit meta group first, without its length", of(implicit, explicit, false), &[]),
        indexed("preamble, implicit meta group", prefixed(of(implicit, implicit, true)), IMPLICIT),
        indexed("DICM first, implicit meta group", magic_only(of(implicit, explicit, true)), &[]),
        indexed("a big endian meta group first, explicit", of(big, explicit, true), &[]),
        indexed("a big endian meta group first, implicit", of(big, implicit, false), IMPLICIT),
        indexed("preamble, big endian meta group, explicit", prefixed(of(big, explicit, true)), &[]),
        indexed("preamble, big endian meta group, implicit", prefixed(of(big, implicit, false)), IMPLICIT),
        indexed("preamble, big endian meta group, big endian", prefixed(of(big, big, true)), BIG),
    ]
}

fn commands() -> Vec<Case> {
    let (explicit, implicit) = (uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    let command = |syntax, has_length: bool| {
        let writer = Writer { syntax, defined: true };
        let elements = [
            writer.text((0, 2), "UI", uids::CT_IMAGE_STORAGE),
            writer.short((0, 0x100), 1),
            writer.text((0, 0x1000), "UI", "1.2.3.44"),
        ]
        .concat();
        let length = writer.element((0, 0), "UL", &writer.length(elements.len() as u32));
        [if has_length { length } else { Vec::new() }, elements].concat()
    };
    let before = |command: Vec<u8>, data_set| [command, Draft::of(data_set).data_set()].concat();
    let meta = [command(implicit, true), Draft::plain().file().split_off(132)].concat();
    vec![
        indexed("a command first, implicit", before(command(implicit, true), implicit), NO_META_IMPLICIT),
        indexed("a command first, explicit", before(command(implicit, true), explicit), NO_META),
        indexed("a command first, big endian", before(command(implicit, true), BIG_ENDIAN), NO_META_BIG),
        indexed("a command without its length first", before(command(implicit, false), implicit), NO_META_IMPLICIT),
        indexed("a command with VRs first", before(command(explicit, true), explicit), NO_META),
        indexed("a command first, a meta group", meta, &[]),
        indexed("preamble, a command", part10(&command(implicit, true), &Draft::plain().data_set()), NO_META),
        rejected("a command alone", command(implicit, true), "not-dicom"),
    ]
}

/// A preamble without DICM, and DICM without a preamble.
fn prefixes() -> Vec<Case> {
    let draft = Draft::plain();
    let preamble = |byte: u8, rest: &[u8]| [&[byte; 128][..], rest].concat();
    let mut other_prefix = draft.file();
    other_prefix[128..132].copy_from_slice(b"dicm");
    let (explicit, implicit) = (uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    let named = |syntax, tag, vr| {
        // The value spans byte 128, where it contains the letters.
        let draft = Draft::of(syntax);
        let class = [0x08, 0x0A].map(|at| draft.writer.text((8, at), "CS", "A"));
        let before = class.concat().len() + draft.writer.header(tag, vr, 0).len();
        let mut value = vec![b'X'; 160];
        value[128 - before..132 - before].copy_from_slice(b"DICM");
        let value = draft.writer.element(tag, vr, &value);
        [class.concat(), value, draft.data_set()].concat()
    };
    let in_meta = {
        let meta = |length: usize| {
            let writer = Writer::EXPLICIT;
            let name = writer.text((2, 0x13), "SH", &"V".repeat(length));
            let behind = [writer.text((2, 0x16), "AE", "DICM"), writer.text((2, 0x17), "AE", "TEST")].concat();
            [writer.text((2, 0x10), "UI", explicit), name, behind].concat()
        };
        let length = (2..100).step_by(2).find(|length| meta(*length).get(128..132) == Some(b"DICM")).unwrap();
        [meta(length), draft.data_set()].concat()
    };
    const IN_META: Values = &[("study.sourceae", "DICM")];
    vec![
        indexed("a preamble of zeros without DICM, a meta group", preamble(0, &draft.file()[132..]), &[]),
        indexed("a preamble of text without DICM, a meta group", preamble(b'x', &draft.file()[132..]), &[]),
        indexed("a preamble without DICM, explicit", preamble(0, &draft.data_set()), NO_META),
        indexed("a preamble without DICM, implicit", preamble(0, &Draft::of(implicit).data_set()), NO_META_IMPLICIT),
        indexed("a preamble without DICM, big endian", preamble(0, &Draft::of(BIG_ENDIAN).data_set()), NO_META_BIG),
        indexed("a preamble and another prefix", other_prefix, &[]),
        indexed("DICM in a value at byte 128, explicit", named(explicit, (8, 0x10), "SH"), NO_META),
        indexed("DICM in a value at byte 128, implicit", named(implicit, (8, 0x10), "SH"), NO_META_IMPLICIT),
        indexed("DICM in a value at byte 128, big endian", named(BIG_ENDIAN, (8, 0x10), "SH"), NO_META_BIG),
        indexed("DICM in a value at byte 128 of the meta group", in_meta, IN_META),
        rejected("a preamble without DICM, text", preamble(0, &b"Lorem ipsum ".repeat(100)), "not-dicom"),
    ]
}

fn without_an_instance() -> Vec<Case> {
    let text = "Once upon a time there was a file that held no image at all, but only some lines of text.\n";
    let mut gzip = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0];
    gzip.resize(3000, 0x55);
    let at_128 = |bytes: &[u8]| [&[0; 128][..], bytes, &[0x20; 4000]].concat();
    vec![
        rejected("an empty file", vec![], "empty"),
        rejected("three bytes", vec![1, 2, 3], "not-dicom"),
        rejected("zeros", vec![0; 9000], "zeroed"),
        rejected("a text file", text.repeat(100).into_bytes(), "not-dicom"),
        rejected("a compressed file", gzip, "not-dicom"),
        rejected("a DICOMDIR", Draft::plain().of_class(uids::MEDIA_STORAGE_DIRECTORY_STORAGE).file(), "dicomdir"),
        rejected("preamble and magic, nothing behind", part10(&[], &[]), "missing-uid"),
        rejected("preamble and magic, zeros behind", part10(&[], &[0; 4096]), "missing-uid"),
        rejected("a meta group, nothing behind", part10(&Draft::plain().meta(Some), &[]), "missing-uid"),
        rejected("zeros and a group 0008", at_128(b"\x08\0\x05\0CS\x04\0TEXT"), "not-dicom"),
        rejected("a bitmap", [b"BM\x36\x0C\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", &[0x80; 3000][..]].concat(), "not-dicom"),
        rejected("a JPEG", [b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01", &[0x37; 3000][..]].concat(), "not-dicom"),
        rejected("a program", [b"MZ\x90\0\x03\0\0\0\x04\0\0\0", &[0; 3000][..]].concat(), "not-dicom"),
        rejected("a cursor", [b"\0\0\x02\0\x01\0\x20\x20\0\0", &[1; 3000][..]].concat(), "not-dicom"),
        rejected("a data set of another kind", b"\x08\0\x16\0UI\x06\x001.2.3\0".to_vec(), "not-dicom"),
    ]
}
