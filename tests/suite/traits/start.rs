//! Where the data begins.

use dicom_dictionary_std::uids;

use super::{Case, Values, indexed, rejected};
use crate::support::draft::{Draft, part10};
use crate::support::writer::{BIG_ENDIAN, Writer};

const NO_META: Values = &[("study.sourceae", "-")];
const NO_META_IMPLICIT: Values = &[("study.sourceae", "-"), ("image.xfersyntax", "1.2.840.10008.1.2")];
const NO_META_BIG: Values = &[("study.sourceae", "-"), ("image.xfersyntax", "1.2.840.10008.1.2.2")];

pub fn cases() -> Vec<Case> {
    [with_a_preamble(), without_a_preamble(), without_an_instance()].into_iter().flatten().collect()
}

fn with_a_preamble() -> Vec<Case> {
    let draft = Draft::plain();
    let preamble = |start: &[u8]| {
        let mut file = draft.file();
        file[..start.len()].copy_from_slice(start);
        file
    };
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

fn without_an_instance() -> Vec<Case> {
    let text = "Once upon a time there was a file that held no image at all, but only some lines of text.\n";
    let mut gzip = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0];
    gzip.resize(3000, 0x55);
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
        rejected("a data set of another kind", b"\x08\0\x16\0UI\x06\x001.2.3\0".to_vec(), "not-dicom"),
    ]
}
