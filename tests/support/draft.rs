//! The plain test instance, built element by element, so that a test can damage one thing at a
//! time.

use std::io::Write;

use dicom_dictionary_std::uids;
use flate2::{Compression, write::DeflateEncoder};

use super::ROOT_UID;
use super::writer::Writer;

pub type Tag = (u16, u16);

pub const PATIENT_NAME: Tag = (0x0010, 0x0010);
pub const STUDY_INSTANCE_UID: Tag = (0x0020, 0x000D);
pub const ROWS: Tag = (0x0028, 0x0010);
pub const PIXEL_DATA: Tag = (0x7FE0, 0x0010);

/// A file that can still be changed. Each change consumes the draft and returns the changed one.
#[derive(Clone)]
pub struct Draft {
    pub writer: Writer,
    /// The transfer syntax that the meta group declares.
    declared: String,
    media_storage_class: &'static str,
    elements: Vec<(Tag, Vec<u8>)>,
}

impl Draft {
    /// A draft in explicit VR little endian.
    pub fn plain() -> Self {
        Self::of(uids::EXPLICIT_VR_LITTLE_ENDIAN)
    }

    pub fn of(syntax: &'static str) -> Self {
        let writer = Writer { syntax, defined: true };
        let class = uids::CT_IMAGE_STORAGE;
        let draft = Draft { writer, declared: syntax.into(), media_storage_class: class, elements: Vec::new() };
        draft
            .text((0x0008, 0x0016), "UI", class)
            .text((0x0008, 0x0018), "UI", &format!("{ROOT_UID}.1.1.1"))
            .text((0x0008, 0x0020), "DA", "20211112")
            .text((0x0008, 0x0030), "TM", "101500")
            .text((0x0008, 0x0060), "CS", "CT")
            .text(PATIENT_NAME, "PN", "Testmann^Theo")
            .text((0x0010, 0x0020), "LO", "T1")
            .text((0x0010, 0x0030), "DA", "19700101")
            .text((0x0010, 0x0040), "CS", "M")
            .text(STUDY_INSTANCE_UID, "UI", &format!("{ROOT_UID}.1"))
            .text((0x0020, 0x000E), "UI", &format!("{ROOT_UID}.1.1"))
            .text((0x0020, 0x0011), "IS", "1")
            .text((0x0020, 0x0013), "IS", "1")
            .short(ROWS, 4)
            .short((0x0028, 0x0011), 2)
            .short((0x0028, 0x0101), 12)
            .element(PIXEL_DATA, "OW", &[0; 16])
    }

    /// Inserts an element at the position of its tag, or replaces the element with that tag.
    pub fn raw(mut self, tag: Tag, bytes: Vec<u8>) -> Self {
        match self.elements.binary_search_by_key(&tag, |(tag, _)| *tag) {
            Ok(at) => self.elements[at].1 = bytes,
            Err(at) => self.elements.insert(at, (tag, bytes)),
        }
        self
    }

    pub fn text(self, tag: Tag, vr: &str, value: &str) -> Self {
        let bytes = self.writer.text(tag, vr, value);
        self.raw(tag, bytes)
    }

    pub fn short(self, tag: Tag, value: u16) -> Self {
        let bytes = self.writer.short(tag, value);
        self.raw(tag, bytes)
    }

    /// Sets an element to a value that is written unchanged, even if its length is odd.
    pub fn element(self, tag: Tag, vr: &str, value: &[u8]) -> Self {
        let bytes = self.writer.element(tag, vr, value);
        self.raw(tag, bytes)
    }

    /// Inserts bytes directly before an element.
    pub fn before(self, tag: Tag, bytes: &[u8]) -> Self {
        let both = [bytes, &self.elements[self.place(tag)].1].concat();
        self.raw(tag, both)
    }

    /// Appends bytes to the file.
    pub fn behind(mut self, bytes: &[u8]) -> Self {
        self.elements.last_mut().unwrap().1.extend(bytes);
        self
    }

    pub fn without(mut self, tag: Tag) -> Self {
        self.elements.remove(self.place(tag));
        self
    }

    /// Moves an element before another one.
    pub fn moved_before(mut self, tag: Tag, to: Tag) -> Self {
        let moved = self.elements.remove(self.place(tag)).1;
        self.before(to, &moved)
    }

    pub fn declaring(mut self, syntax: &str) -> Self {
        self.declared = syntax.into();
        self
    }

    pub fn of_class(mut self, class: &'static str) -> Self {
        self.media_storage_class = class;
        self.text((0x0008, 0x0016), "UI", class)
    }

    fn place(&self, tag: Tag) -> usize {
        self.elements.iter().position(|(known, _)| *known == tag).expect("an element of the draft")
    }

    /// Returns the file meta group. `length` maps its actual length to the declared one; with
    /// `None`, the group has no length element.
    pub fn meta(&self, length: impl Fn(u32) -> Option<u32>) -> Vec<u8> {
        let meta = Writer::EXPLICIT;
        let elements = [
            meta.element((2, 0x01), "OB", &[0, 1]),
            meta.text((2, 0x02), "UI", self.media_storage_class),
            meta.text((2, 0x03), "UI", &format!("{ROOT_UID}.1.1.1")),
            meta.text((2, 0x10), "UI", &self.declared),
            meta.text((2, 0x12), "UI", "1.3.6.1.4.1.32473.2"),
            meta.text((2, 0x16), "AE", "TEST"),
        ]
        .concat();
        let declared = length(elements.len() as u32).map(|length| meta.element((2, 0), "UL", &length.to_le_bytes()));
        [declared.unwrap_or_default(), elements].concat()
    }

    pub fn data_set(&self) -> Vec<u8> {
        let elements: Vec<u8> = self.elements.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        if self.writer.is_deflated() { deflated(&elements, Compression::fast()) } else { elements }
    }

    pub fn file(&self) -> Vec<u8> {
        part10(&self.meta(Some), &self.data_set())
    }

    /// Returns the file up to `bytes` bytes into an element. Not for deflated files.
    pub fn cut_in(&self, tag: Tag, bytes: usize) -> Vec<u8> {
        let before: usize = self.elements[..self.place(tag)].iter().map(|(_, bytes)| bytes.len()).sum();
        let file = self.file();
        let start = file.len() - self.data_set().len();
        file[..start + before + bytes].to_vec()
    }
}

/// Joins preamble, magic, meta group and data set (PS3.10 7.1).
pub fn part10(meta: &[u8], data_set: &[u8]) -> Vec<u8> {
    [&[0; 128][..], b"DICM", meta, data_set].concat()
}

pub fn deflated(bytes: &[u8], compression: Compression) -> Vec<u8> {
    let mut deflate = DeflateEncoder::new(Vec::new(), compression);
    deflate.write_all(bytes).unwrap();
    deflate.finish().unwrap()
}
