//! The header reader: from the bytes of a file to the raw values of the indexed attributes.
//!
//! One window, one pass, no recursion. Values that the index does not want are skipped by position; the scan stops
//! after the last wanted tag, so that Pixel Data is never read. Tags out of order are found all the same: once a
//! tag is smaller than the one before, the scan goes on to the end.

use std::io;

use dicom_core::Tag;
use dicom_core::VR;

use super::attributes::{Level, Place, WANTED, Wanted, position};
use super::element::{Element, Elements, Encoding, End, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION};
use super::inflate::Inflated;
use super::rejection::Rejection;
use super::start::{self, Start};
use super::uid;
use super::window::{Source, WINDOW, Window};

/// The attributes without which there is no row, and how a rejection names them.
const KEYS: [(usize, &str); 3] = [
    (position(Level::Instance, "uuid"), "SOP Instance UID (0008,0018)"),
    (position(Level::Instance, "seriesuid"), "Series Instance UID (0020,000E)"),
    (position(Level::Series, "studyuid"), "Study Instance UID (0020,000D)"),
];

/// Attributes of type 2 in every instance (PS3.3 C.7.1.1): present, if only empty.
const PATIENT: [usize; 2] = [position(Level::Patient, "origid"), position(Level::Patient, "lastname")];

/// The raw values of one header.
#[derive(Default)]
pub struct Header {
    bytes: Vec<u8>,
    /// For each wanted place where its value stands in `bytes`.
    spans: Vec<Option<(u32, u32)>>,
    /// The data set ended before the scan did.
    pub cut: bool,
    encoding: Option<Encoding>,
}

impl Header {
    /// The raw value at a wanted place; binary numbers as digits.
    pub fn raw(&self, slot: usize) -> Option<&[u8]> {
        self.spans[slot].map(|(from, to)| &self.bytes[from as usize..to as usize])
    }

    /// The transfer syntax of the file, guessed where none is declared.
    pub fn transfer_syntax(&self) -> &str {
        let declared = self.raw(WANTED.slots[position(Level::Instance, "xfersyntax")]).map(trim_uid);
        match declared.and_then(|bytes| str::from_utf8(bytes).ok()) {
            Some(uid) if !uid.is_empty() => uid,
            _ => start::transfer_syntax_of(self.encoding.unwrap_or(Encoding::ExplicitLittle)),
        }
    }

    fn declared_transfer_syntax(&self) -> Option<&str> {
        let raw = self.raw(WANTED.slots[position(Level::Instance, "xfersyntax")])?;
        str::from_utf8(trim_uid(raw)).ok().filter(|uid| !uid.is_empty())
    }

    fn is_dicomdir(&self) -> bool {
        let sop_class = WANTED.slots[position(Level::Instance, "sopclass")];
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

    /// What no header lacks has been seen. If not, it may stand out of order, even behind Pixel Data.
    fn is_whole(&self) -> bool {
        self.missing().is_none() && PATIENT.iter().all(|attribute| self.spans[WANTED.slots[*attribute]].is_some())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(WINDOW);
        self.spans.clear();
        self.spans.resize(WANTED.places.len(), None);
        self.cut = false;
        self.encoding = None;
    }

    fn keep(&mut self, slot: usize, value: &[u8]) {
        // The value of a later item takes the place of the one before.
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

/// A UID is padded with NUL (PS3.5 9.1), by some writers with blanks.
pub fn trim_uid(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, 0 | b' ' | b'\t' | b'\r' | b'\n');
    let from = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    let to = bytes.iter().rposition(|b| !blank(b)).map_or(from, |last| last + 1);
    &bytes[from..to]
}

/// Reads headers, one after the other, in buffers that are reused.
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
        let first = window.peek(WINDOW).map_err(|trouble| unreadable(trouble.into()))?;
        let Start { offset, certain } = start::locate(first)?;
        let doubtful = (!certain).then(|| start::not_dicom(first));
        window.advance(offset);
        let mut scan = Scan::new(Elements::new(window), &mut self.header);
        let mut end = scan.meta();
        let declared = scan.header.declared_transfer_syntax();
        if declared.is_some_and(start::is_deflated) {
            scan.header.encoding = Some(Encoding::ExplicitLittle);
            let offset = scan.elements.window.position();
            let inflated = Inflated::new(scan.elements.window.into_source(), offset);
            let window = Window::new(inflated, &mut self.inflated);
            end = end.and_then(|()| Scan::new(Elements::new(window), &mut self.header).data_set());
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

    /// Whether what was found makes a row.
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

fn unreadable(end: End) -> Rejection {
    match end {
        End::Io(error) => Rejection::Unreadable(error),
        _ => Rejection::TooLarge,
    }
}

fn is_corruption(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// One pass over the elements of a file.
struct Scan<'s, 'b, S> {
    elements: Elements<'b, S>,
    header: &'s mut Header,
    wanted: &'static Wanted,
    /// The next wanted top-level place, while tags ascend.
    cursor: usize,
    previous: Tag,
    out_of_order: bool,
}

impl<'s, 'b, S: Source> Scan<'s, 'b, S> {
    fn new(elements: Elements<'b, S>, header: &'s mut Header) -> Self {
        Scan { elements, header, wanted: &WANTED, cursor: 0, previous: Tag(0, 0), out_of_order: false }
    }

    /// The file meta group, always explicit VR little endian (PS3.10 7.1). Its group length is often wrong, and
    /// not needed: the group ends where another begins.
    fn meta(&mut self) -> Result<(), End> {
        loop {
            let next = self.elements.window.peek(2)?;
            if next != [0x02, 0x00] {
                return Ok(());
            }
            let element = self.elements.next(Encoding::ExplicitLittle)?;
            self.take_or_skip(&element, Encoding::ExplicitLittle)?;
        }
    }

    fn data_set(&mut self) -> Result<(), End> {
        let declared = self.header.declared_transfer_syntax();
        let encoding = start::guess(self.elements.window.peek(start::GUESSED)?, declared);
        self.header.encoding = Some(encoding);
        loop {
            let element = match self.elements.next(encoding) {
                Ok(element) => element,
                Err(End::Reached) => return Ok(()),
                Err(end) => return Err(end),
            };
            if element.tag > self.wanted.last && !self.out_of_order && self.header.is_whole() {
                return Ok(());
            }
            match element.tag {
                // Command elements (group 0000) never stand in a file: this is padding after the data set.
                tag if tag.group() == 0 => return Ok(()),
                // A delimiter that closes nothing.
                ITEM_DELIMITATION | SEQUENCE_DELIMITATION => {}
                _ => self.take_or_skip(&element, encoding)?,
            }
        }
    }

    fn take_or_skip(&mut self, element: &Element, encoding: Encoding) -> Result<(), End> {
        self.note_order(element.tag);
        if self.wanted.sequences.contains(&element.tag) {
            return self.enter(element, encoding);
        }
        match self.slot(element.tag) {
            Some(slot) if element.length.is_some() => self.take(slot, element, encoding, false),
            _ => self.elements.skip(element, encoding),
        }
    }

    fn note_order(&mut self, tag: Tag) {
        if tag < self.previous {
            self.out_of_order = true;
        }
        self.previous = tag;
    }

    fn slot(&mut self, tag: Tag) -> Option<usize> {
        let top = &self.wanted.places[..self.wanted.top];
        if self.out_of_order {
            return top.binary_search_by_key(&tag, |place| place.tag).ok();
        }
        while top.get(self.cursor).is_some_and(|place| place.tag < tag) {
            self.cursor += 1;
        }
        top.get(self.cursor).filter(|place| place.tag == tag).map(|_| self.cursor)
    }

    /// Keeps a value. Of a tag that stands twice the first value counts, of items the last.
    fn take(&mut self, slot: usize, element: &Element, encoding: Encoding, replace: bool) -> Result<(), End> {
        let length = element.length.unwrap_or(0);
        let kept = length.min(self.wanted.limits[slot] as u64) as usize;
        let cut = self.elements.window.ends_within(length);
        if self.header.spans[slot].is_none() || replace {
            let value = self.elements.window.peek(kept)?;
            if value.len() < kept {
                return Err(End::Cut);
            }
            if self.wanted.binary[slot] && !is_text(element.vr) {
                keep_number(self.header, slot, value, encoding);
            } else {
                self.header.keep(slot, value);
            }
        }
        if cut { Err(End::Cut) } else { self.elements.skip_bytes(length) }
    }

    /// Goes through the items of a wanted sequence, one level deep.
    fn enter(&mut self, sequence: &Element, encoding: Encoding) -> Result<(), End> {
        let inside = match sequence.vr {
            VR::UN => Encoding::ImplicitLittle,
            _ => encoding,
        };
        let end = sequence.length.map(|length| self.elements.window.position() + length);
        while end.is_none_or(|end| self.elements.window.position() < end) {
            let item = self.elements.next(inside)?;
            match item.tag {
                ITEM => self.item(sequence.tag, &item, inside)?,
                SEQUENCE_DELIMITATION if end.is_none() => break,
                _ => return Err(End::Cut),
            }
        }
        Ok(())
    }

    fn item(&mut self, within: Tag, item: &Element, encoding: Encoding) -> Result<(), End> {
        let end = item.length.map(|length| self.elements.window.position() + length);
        while end.is_none_or(|end| self.elements.window.position() < end) {
            let element = self.elements.next(encoding)?;
            if element.tag == ITEM_DELIMITATION && end.is_none() {
                break;
            }
            let place = Place { within: Some(within), tag: element.tag };
            let nested = &self.wanted.places[self.wanted.top..];
            match nested.binary_search(&place) {
                Ok(found) if element.length.is_some() => {
                    self.take(self.wanted.top + found, &element, encoding, true)?;
                }
                _ => self.elements.skip(&element, encoding)?,
            }
        }
        Ok(())
    }
}

/// A writer that gives a binary attribute a text VR means text.
fn is_text(vr: VR) -> bool {
    matches!(vr, VR::IS | VR::DS | VR::LO | VR::SH | VR::CS)
}

/// The first number of a binary value, as digits.
fn keep_number(header: &mut Header, slot: usize, value: &[u8], encoding: Encoding) {
    let big = encoding == Encoding::ExplicitBig;
    let number = match *value {
        [a, b, c, d] if !is_pair(&[a, b, c, d], big) => {
            let four = [a, b, c, d];
            if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
        }
        [a, b, ..] => u32::from(if big { u16::from_be_bytes([a, b]) } else { u16::from_le_bytes([a, b]) }),
        [a] => u32::from(a),
        [] => return,
    };
    header.keep(slot, number.to_string().as_bytes());
}

/// Four bytes are two shorts, unless the higher half is zero, as in a long.
fn is_pair(four: &[u8; 4], big: bool) -> bool {
    let high = if big { &four[..2] } else { &four[2..] };
    high != [0, 0]
}
