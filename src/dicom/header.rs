//! The header reader: extracts the raw values of the indexed attributes from the bytes of a file.
//!
//! The reader uses one window and one pass, without recursion. `scan` contains the pass; this
//! module finds its start, stores the values, and decides whether they are sufficient for a row.

use std::io;

use super::attributes::{Table, position};
use super::data_end::DataEnd;
use super::element::{Elements, Encoding, End};
use super::encoding::{GUESSED, transfer_syntax_of};
use super::inflate::Inflated;
use super::rejection::Rejection;
use super::scan::Scan;
use super::start::{self, Start};
use super::uid;
use super::wanted::WANTED;
use super::window::{Source, WINDOW, Window};

/// The attributes that a row requires, and their names in a rejection.
const KEYS: [(usize, &str); 3] = [
    (position(Table::Image, "uuid"), "SOP Instance UID (0008,0018)"),
    (position(Table::Image, "seriesuid"), "Series Instance UID (0020,000E)"),
    (position(Table::Series, "studyuid"), "Study Instance UID (0020,000D)"),
];

/// Attributes of type 2 in every instance (PS3.3 C.7.1.1): they are present, but may be empty.
const PATIENT: [usize; 2] = [position(Table::Patient, "origid"), position(Table::Patient, "lastname")];

const TRANSFER_SYNTAX: usize = position(Table::Image, "xfersyntax");
const SOP_CLASS: usize = position(Table::Image, "sopclass");

/// The raw values of one header.
#[derive(Default)]
pub struct Header {
    bytes: Vec<u8>,
    /// The range of the value of each slot in `bytes`.
    spans: Vec<Option<(u32, u32)>>,
    /// Whether the data set ended before the scan did.
    pub cut: bool,
    /// The end of the element behind which the scan stopped.
    pub data_end: DataEnd,
    pub(super) encoding: Option<Encoding>,
}

impl Header {
    /// Returns the raw value of a slot. Binary numbers are stored as digits.
    pub fn raw(&self, slot: usize) -> Option<&[u8]> {
        self.spans[slot].map(|(from, to)| &self.bytes[from as usize..to as usize])
    }

    /// Returns the transfer syntax of the file, guessed if none is declared.
    pub fn transfer_syntax(&self) -> &str {
        let declared = self.raw(WANTED.slots[TRANSFER_SYNTAX]).map(trim_uid);
        match declared.and_then(|bytes| str::from_utf8(bytes).ok()) {
            Some(uid) if !uid.is_empty() => uid,
            _ => transfer_syntax_of(self.encoding.unwrap_or(Encoding::ExplicitLittle)),
        }
    }

    pub(super) fn declared_transfer_syntax(&self) -> Option<&str> {
        let raw = self.raw(WANTED.slots[TRANSFER_SYNTAX])?;
        str::from_utf8(trim_uid(raw)).ok().filter(|uid| !uid.is_empty())
    }

    fn is_dicomdir(&self) -> bool {
        let sop_class = WANTED.slots[SOP_CLASS];
        [WANTED.media_storage_sop_class, sop_class]
            .into_iter()
            .any(|slot| self.raw(slot).map(trim_uid) == Some(uid::MEDIA_STORAGE_DIRECTORY_STORAGE.as_bytes()))
    }

    fn has(&self, attribute: usize) -> bool {
        self.raw(WANTED.slots[attribute]).is_some_and(|raw| !trim_uid(raw).is_empty())
    }

    fn missing(&self) -> Option<&'static str> {
        KEYS.iter().find(|(attribute, _)| !self.has(*attribute)).map(|(_, name)| *name)
    }

    /// Returns whether all attributes were found that every header has. If not, a missing one may
    /// follow out of order, even behind Pixel Data.
    pub(super) fn is_whole(&self) -> bool {
        self.missing().is_none() && PATIENT.iter().all(|attribute| self.spans[WANTED.slots[*attribute]].is_some())
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(WINDOW);
        self.spans.clear();
        self.spans.resize(WANTED.limits.len(), None);
        self.cut = false;
        self.data_end = DataEnd::Unknown;
        self.encoding = None;
    }

    pub(super) fn is_kept(&self, slot: usize) -> bool {
        self.spans[slot].is_some()
    }

    pub(super) fn keep(&mut self, slot: usize, value: &[u8]) {
        // The value of a later item replaces the previous one.
        if let Some((from, to)) = self.spans[slot]
            && to as usize == self.bytes.len()
        {
            self.bytes.truncate(from as usize);
        }
        let from = self.bytes.len() as u32;
        self.bytes.extend_from_slice(value);
        self.spans[slot] = Some((from, self.bytes.len() as u32));
    }
}

/// Removes the padding of a UID: NUL (PS3.5 9.1), or blanks from some writers.
pub fn trim_uid(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, 0 | b' ' | b'\t' | b'\r' | b'\n');
    let from = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    let to = bytes.iter().rposition(|b| !blank(b)).map_or(from, |last| last + 1);
    &bytes[from..to]
}

/// Reads headers one after the other, and reuses its buffers.
#[derive(Default)]
pub struct HeaderReader {
    buffer: Vec<u8>,
    inflated: Vec<u8>,
    header: Header,
}

impl HeaderReader {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn read(&mut self, source: impl Source) -> Result<&Header, Rejection> {
        self.header.clear();
        let mut window = Window::new(source, &mut self.buffer);
        let first = window.peek(WINDOW)?;
        let Start { offset, certain } = start::locate(first)?;
        let doubtful = (!certain).then(|| start::not_dicom(first));
        window.advance(offset);
        let mut scan = Scan::new(Elements::new(window), &mut self.header);
        let mut end = scan.front();
        let declared = scan.header.declared_transfer_syntax();
        let is_deflated = declared.is_some_and(start::is_deflated);
        if is_deflated && !scan.elements.window.peek(GUESSED).is_ok_and(start::looks_like_data_set) {
            scan.header.encoding = Some(Encoding::ExplicitLittle);
            let offset = scan.elements.window.position();
            let inflated = Inflated::new(scan.elements.window.into_source(), offset).map_err(Rejection::Unreadable)?;
            let window = Window::new(inflated, &mut self.inflated);
            end = end.and_then(|()| Scan::new(Elements::new(window), &mut self.header).data_set());
            // Positions in the inflated data set are not positions in the file.
            self.header.data_end = DataEnd::Delimited;
            if let Err(End::Io(error)) = &end
                && is_corruption(error)
            {
                end = if self.header.missing().is_some() { return Err(Rejection::Deflate) } else { Err(End::Cut) };
            }
        } else {
            end = end.and_then(|()| scan.data_set());
        }
        self.conclude(end, doubtful)
    }

    /// Returns the header if its values are sufficient for a row, or else the reason for the
    /// rejection.
    fn conclude(&mut self, end: Result<(), End>, doubtful: Option<Rejection>) -> Result<&Header, Rejection> {
        if self.header.is_dicomdir() {
            return Err(Rejection::Dicomdir);
        }
        let missing = self.header.missing();
        match (end, missing, doubtful) {
            (Err(End::Io(error)), ..) => Err(Rejection::Unreadable(error)),
            (_, Some(_), Some(not_dicom)) => Err(not_dicom),
            (Err(End::Limit), Some(_), None) => Err(Rejection::TooLarge),
            (Err(End::Cut | End::Reached), Some(missing), None) => Err(Rejection::Cut { missing }),
            (_, Some(attribute), None) => Err(Rejection::Missing { attribute }),
            (end, None, _) => {
                self.header.cut = end.is_err();
                Ok(&self.header)
            }
        }
    }
}

fn is_corruption(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}
