//! Writes data sets byte by byte, for cases that dicom-object does not write: chosen lengths,
//! including wrong ones.

use std::io::Write;

use dicom_dictionary_std::uids;
use flate2::{Compression, write::DeflateEncoder};
use serde_json::json;

use super::encoded_instance_file;

pub const SYNTAXES: [&str; 4] = [
    uids::EXPLICIT_VR_LITTLE_ENDIAN,
    uids::IMPLICIT_VR_LITTLE_ENDIAN,
    BIG_ENDIAN,
    uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
];
pub const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

const STUDY_INSTANCE_UID: (u16, u16) = (0x0020, 0x000D);
pub const ITEM: (u16, u16) = (0xFFFE, 0xE000);
pub const ITEM_DELIMITATION: (u16, u16) = (0xFFFE, 0xE00D);
pub const SEQUENCE_DELIMITATION: (u16, u16) = (0xFFFE, 0xE0DD);
pub const UNDEFINED: u32 = u32::MAX;

/// How hand-made bytes are encoded.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    pub syntax: &'static str,
    /// Whether sequences and items declare their length.
    pub defined: bool,
}

impl Writer {
    pub const EXPLICIT: Writer = Writer { syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN, defined: true };
    pub const UNDEFINED: Writer = Writer { defined: false, ..Writer::EXPLICIT };

    pub fn all() -> Vec<Writer> {
        let of = |syntax| [true, false].map(|defined| Writer { syntax, defined });
        SYNTAXES.iter().flat_map(|syntax| of(syntax)).collect()
    }

    pub fn number(self, number: u16) -> [u8; 2] {
        if self.syntax == BIG_ENDIAN { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    pub fn length(self, length: u32) -> [u8; 4] {
        if self.syntax == BIG_ENDIAN { length.to_be_bytes() } else { length.to_le_bytes() }
    }

    pub fn tag(self, (group, element): (u16, u16)) -> Vec<u8> {
        [self.number(group), self.number(element)].concat()
    }

    pub fn text(self, tag: (u16, u16), vr: &str, value: &str) -> Vec<u8> {
        let mut value = value.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), if vr == "UI" { 0 } else { b' ' });
        self.element(tag, vr, &value)
    }

    /// A binary number (US).
    pub fn short(self, tag: (u16, u16), value: u16) -> Vec<u8> {
        self.element(tag, "US", &self.number(value))
    }

    /// An element whose value is written unchanged.
    pub fn element(self, tag: (u16, u16), vr: &str, value: &[u8]) -> Vec<u8> {
        [&self.header(tag, vr, value.len() as u32), value].concat()
    }

    /// The header of an element that declares any length, in the long form if the VR requires it
    /// (PS3.5 7.1.2).
    pub fn header(self, tag: (u16, u16), vr: &str, length: u32) -> Vec<u8> {
        let long = matches!(vr, "OB" | "OD" | "OF" | "OL" | "OV" | "OW" | "SQ" | "UC" | "UN" | "UR" | "UT");
        let rest = match self.syntax {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => self.length(length).to_vec(),
            _ if long => [vr.as_bytes(), &[0; 2], &self.length(length)].concat(),
            _ => [vr.as_bytes(), &self.number(length as u16)].concat(),
        };
        [self.tag(tag), rest].concat()
    }

    /// The delimiter of an item or of a sequence.
    pub fn delimiter(self, tag: (u16, u16)) -> Vec<u8> {
        [self.tag(tag), vec![0; 4]].concat()
    }

    pub fn code(self, value: &str) -> Vec<u8> {
        let (designator, version) = (self.text((8, 0x102), "SH", "99EX"), self.text((8, 0x103), "SH", "v1"));
        let meaning = self.text((8, 0x104), "LO", &format!("meaning of {value}"));
        [self.text((8, 0x100), "SH", value), designator, version, meaning].concat()
    }

    pub fn item(self, content: &[u8]) -> Vec<u8> {
        let length = if self.defined { content.len() as u32 } else { UNDEFINED };
        let delimiter = self.delimiter(ITEM_DELIMITATION);
        let end = if self.defined { &[][..] } else { &delimiter };
        [&self.tag(ITEM), &self.length(length)[..], content, end].concat()
    }

    pub fn sequence(self, tag: (u16, u16), items: &[Vec<u8>]) -> Vec<u8> {
        let content: Vec<u8> = items.iter().flat_map(|content| self.item(content)).collect();
        let length = if self.defined { content.len() as u32 } else { UNDEFINED };
        let delimiter = self.delimiter(SEQUENCE_DELIMITATION);
        let end = if self.defined { &[][..] } else { &delimiter };
        [&self.header(tag, "SQ", length)[..], &content, end].concat()
    }

    /// An instance with these elements appended.
    pub fn file_with(self, elements: &[u8]) -> Vec<u8> {
        self.deflated([&self.file()[..], elements].concat())
    }

    /// An instance with these elements at the place of the patient's attributes, before the study
    /// and series UIDs.
    pub fn file_with_patient(self, elements: &[u8]) -> Vec<u8> {
        let file = self.file();
        let at = file.windows(4).position(|window| window == self.tag(STUDY_INSTANCE_UID)).unwrap();
        self.deflated([&file[..at], elements, &file[at..]].concat())
    }

    fn file(self) -> Vec<u8> {
        encoded_instance_file(json!({}), if self.is_deflated() { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { self.syntax })
    }

    pub fn is_deflated(self) -> bool {
        self.syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
    }

    fn deflated(self, file: Vec<u8>) -> Vec<u8> {
        if !self.is_deflated() {
            return file;
        }
        // After the preamble, the magic and the group length, which counts from its own end.
        let data_set = |file: &[u8]| 144 + u32::from_le_bytes(file[140..144].try_into().unwrap()) as usize;
        let mut bytes = encoded_instance_file(json!({}), self.syntax);
        bytes.truncate(data_set(&bytes));
        let mut deflate = DeflateEncoder::new(bytes, Compression::fast());
        deflate.write_all(&file[data_set(&file)..]).unwrap();
        deflate.finish().unwrap()
    }
}
