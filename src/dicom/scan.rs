//! One pass over the elements of a file, which stores the wanted values in a header.
//!
//! All other values are skipped by position. The scan stops after the last wanted tag, so that
//! Pixel Data is never read. Tags out of order are also found: once a tag is smaller than the
//! previous one, the scan continues to the end. A sequence is entered, without recursion, only if
//! it contains wanted elements, and then does no more harm than a sequence that is skipped.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::attributes::Item;
use super::binary_number;
use super::data_end::{DataEnd, is_pixel_data};
use super::element::{
    Bytes, Element, Elements, Encoding, End, ITEM, ITEM_DELIMITATION, NO_END, SEQUENCE_DELIMITATION, is_delimiting,
};
use super::encoding::{self, GUESSED, guess};
use super::header::Header;
use super::nesting::is_renamed;
use super::wanted::{self, Aim, WANTED, Wanted};
use super::window::Source;
use super::{start, uid};

pub struct Scan<'s, 'b, S> {
    pub elements: Elements<'b, S>,
    pub header: &'s mut Header,
    wanted: &'static Wanted,
    /// The next wanted element of the data set, as long as tags ascend.
    cursor: usize,
    /// The sequences of which an item was found, one bit each.
    begun: u32,
    previous: Tag,
    out_of_order: bool,
    /// Whether only retired attributes may follow.
    nearly_done: bool,
}

/// The maximum number of bytes that are read in search of retired attributes. Megabytes of
/// radiotherapy contours can precede them, and contours of undefined length can only be skipped by
/// reading.
const FOR_RETIRED: u64 = 256 * 1024;

/// The number of bytes of the next element that a look-ahead reads.
const LOOKED_AHEAD: u64 = 8;

const PIXEL_DATA_GROUP: u16 = 0x7FE0;

/// A wanted sequence that the scan has entered, or an item of it.
#[derive(Clone, Copy)]
struct Nest {
    sequence: usize,
    is_item: bool,
    encoding: Encoding,
    /// Whether the sequence has the VR UN, and no element of it was read yet.
    renamed: bool,
    /// Whether the length is undefined, so that a delimiter closes the sequence or item.
    is_delimited: bool,
    /// The nearest declared end, of this sequence or item or of one around it.
    end: u64,
}

impl<'s, 'b, S: Source> Scan<'s, 'b, S> {
    pub fn new(elements: Elements<'b, S>, header: &'s mut Header) -> Self {
        Scan {
            elements,
            header,
            wanted: &WANTED,
            cursor: 0,
            begun: 0,
            previous: Tag(0, 0),
            out_of_order: false,
            nearly_done: false,
        }
    }

    /// Reads the groups in front of the data set: file meta information (PS3.10 7.1), and the
    /// command of a message (PS3.7 6.3.1) that a writer left there. Their declared lengths are
    /// often wrong, and are not needed: a group ends where another begins.
    pub fn front(&mut self) -> Result<(), End> {
        while let Some(encoding) = start::front_encoding(self.elements.window.peek(GUESSED)?) {
            let group: Option<[u8; 2]> = self.elements.window.peek(2)?.first_chunk().copied();
            while group.is_some() && self.elements.window.peek(2)?.first_chunk() == group.as_ref() {
                let element = self.elements.next(encoding)?;
                match element.tag.group() {
                    0 => self.elements.skip(&element, encoding)?,
                    _ => self.take_or_skip(&element, encoding)?,
                }
            }
        }
        Ok(())
    }

    pub fn data_set(&mut self) -> Result<(), End> {
        let declared = self.header.declared_transfer_syntax();
        let encoding = encoding::of_data_set(&mut self.elements.window, declared)?;
        self.header.encoding = Some(encoding);
        self.header.data_end = DataEnd::WithoutPixels;
        match self.elements_of_data_set(encoding) {
            Err(End::Limit) if self.nearly_done => {
                self.header.data_end = DataEnd::Delimited;
                Ok(())
            }
            end => end,
        }
    }

    fn note_end(&mut self, element: &Element) {
        self.header.data_end = DataEnd::of_element(element.tag, self.elements.window.position(), element.length);
    }

    fn elements_of_data_set(&mut self, encoding: Encoding) -> Result<(), End> {
        loop {
            let element = match self.elements.next(encoding) {
                Ok(element) => element,
                Err(End::Reached) => return Ok(()),
                Err(end) => return Err(end),
            };
            if is_pixel_data(element.tag) {
                self.note_end(&element);
            }
            // An item or a delimiter outside of a sequence: its tag does not count in the order of
            // the data set.
            if is_delimiting(element.tag) {
                if element.tag == ITEM {
                    self.elements.skip(&element, encoding)?;
                }
                continue;
            }
            if element.tag > self.wanted.last_in_use && !self.out_of_order && self.header.is_whole() {
                if self.is_damaged(&element, encoding)? {
                    self.elements.skip(&element, encoding)?;
                    continue;
                }
                if ends_header(element.tag) {
                    self.note_end(&element);
                    return Ok(());
                }
                if !self.nearly_done {
                    self.elements.window.allow(FOR_RETIRED);
                    self.nearly_done = true;
                }
                if element.tag > self.wanted.last {
                    self.pass(&element, encoding)?;
                    continue;
                }
            } else {
                self.nearly_done = false;
            }
            match element.tag {
                // Padding if only zeros follow, or else an element with a damaged tag.
                tag if tag.group() == 0 => {
                    if self.elements.is_padding(&element)? {
                        return Ok(());
                    }
                    self.elements.skip(&element, encoding)?;
                }
                _ => self.take_or_skip(&element, encoding)?,
            }
        }
    }

    /// Returns whether the tag of an element is damaged, because the next element continues the
    /// order of the previous ones. For Pixel Data, which ends most files, only buffered bytes are
    /// examined.
    fn is_damaged(&mut self, element: &Element, encoding: Encoding) -> Result<bool, End> {
        let Some(length) = element.length else { return Ok(false) };
        let is_at_hand = self.elements.window.has_read(length.saturating_add(LOOKED_AHEAD));
        if !is_at_hand && element.tag.group() == PIXEL_DATA_GROUP {
            return Ok(false);
        }
        let next = self.elements.tag_ahead(length, encoding)?;
        Ok(next.is_some_and(|next| self.previous < next && next <= self.wanted.last_in_use))
    }

    /// Skips an element that no wanted one should follow. If its tag is damaged, its length may be
    /// damaged, too. The end of a deflated data set is unknown until it is read.
    fn pass(&mut self, element: &Element, encoding: Encoding) -> Result<(), End> {
        match element.length {
            Some(length @ 1..) => {
                self.elements.skip_bytes(length - 1)?;
                if self.elements.window.peek(1)?.is_empty() {
                    return Err(End::Cut);
                }
                self.elements.skip_bytes(1)?;
            }
            _ => self.elements.skip(element, encoding)?,
        }
        let next = self.elements.window.peek(GUESSED)?;
        if Bytes::of(next, encoding).is_none_or(|next| next.may_begin(encoding)) { Ok(()) } else { Err(End::Cut) }
    }

    fn take_or_skip(&mut self, element: &Element, encoding: Encoding) -> Result<(), End> {
        self.note_order(element.tag);
        match self.aim(element.tag) {
            Some(Aim::Value(slot)) if element.length.is_some() => self.take(slot, element, encoding, Item::First),
            Some(Aim::Sequence(sequence)) => self.enter(element, sequence, encoding),
            _ => self.elements.skip(element, encoding),
        }
    }

    fn note_order(&mut self, tag: Tag) {
        if tag < self.previous {
            self.out_of_order = true;
        }
        self.previous = tag;
    }

    fn aim(&mut self, tag: Tag) -> Option<Aim> {
        let wanted = &self.wanted.elements;
        if self.out_of_order {
            return wanted::find(wanted, tag);
        }
        while wanted.get(self.cursor).is_some_and(|(next, _)| *next < tag) {
            self.cursor += 1;
        }
        wanted.get(self.cursor).filter(|(next, _)| *next == tag).map(|(_, aim)| *aim)
    }

    /// Keeps a value. If a tag occurs twice, the first value is kept, unless the value of a later
    /// item replaces it.
    fn take(&mut self, slot: usize, element: &Element, encoding: Encoding, item: Item) -> Result<(), End> {
        let length = element.length.unwrap_or(0);
        if !self.elements.holds(length) {
            return Err(End::Cut);
        }
        let kept = length.min(self.wanted.limits[slot] as u64) as usize;
        let cut = self.elements.window.ends_within(length);
        if item == Item::Last || !self.header.is_kept(slot) {
            let value = self.elements.window.peek(kept)?;
            if value.len() < kept {
                return Err(End::Cut);
            }
            let is_number = self.wanted.numbers[slot] && binary_number::is_signed_or_real(element.vr);
            if is_number || is_binary(element.vr) || (self.wanted.binary[slot] && !is_text(element.vr)) {
                if let Some(digits) = binary_number::digits(element.vr, value, encoding) {
                    self.header.keep(slot, digits.as_bytes());
                }
            } else {
                self.header.keep(slot, value);
            }
        }
        if cut { Err(End::Cut) } else { self.elements.skip_bytes(length) }
    }

    /// Reads a wanted sequence, and the wanted sequences in its items. After an error inside, the
    /// scan continues at the nearest declared end, and reads the elements behind as if the sequence
    /// had been skipped.
    fn enter(&mut self, element: &Element, sequence: usize, encoding: Encoding) -> Result<(), End> {
        // The table of wanted sequences bounds the depth, regardless of the contents of the file.
        let mut open = vec![self.nest(element, sequence, encoding)];
        loop {
            while open.pop_if(|nest| self.elements.window.position() >= nest.end).is_some() {}
            let Some(innermost) = open.last().copied() else { break };
            self.elements.end = innermost.end;
            self.elements.entered = open.len();
            match self.inside(&innermost, &mut open) {
                Err(End::Cut | End::Reached) if innermost.end != NO_END => self.elements.skip_to_end()?,
                outcome => outcome?,
            }
        }
        self.elements.end = NO_END;
        self.elements.entered = 0;
        Ok(())
    }

    fn inside(&mut self, nest: &Nest, open: &mut Vec<Nest>) -> Result<(), End> {
        let element = self.elements.next(nest.encoding)?;
        match element.tag {
            // Some writers end sequences with the delimiter of an item. A delimiter may close
            // nothing.
            ITEM_DELIMITATION => {
                open.pop_if(|nest| nest.is_delimited);
                Ok(())
            }
            SEQUENCE_DELIMITATION => {
                let is_open_item = nest.is_item && nest.is_delimited;
                if is_open_item && self.elements.ends_sequence(open.len() > 2, nest.encoding)? {
                    open.pop();
                }
                open.pop_if(|nest| nest.is_delimited);
                Ok(())
            }
            ITEM if !nest.is_item => self.item(&element, *nest, open),
            // The previous item was not closed.
            ITEM if nest.is_delimited => {
                open.pop();
                match open.last().copied() {
                    Some(sequence) => self.item(&element, sequence, open),
                    None => Ok(()),
                }
            }
            _ if !nest.is_item => self.elements.skip(&element, nest.encoding),
            _ => self.inside_item(&element, nest, open),
        }
    }

    fn inside_item(&mut self, element: &Element, nest: &Nest, open: &mut Vec<Nest>) -> Result<(), End> {
        let sequence = &self.wanted.sequences[nest.sequence];
        match wanted::find(&sequence.elements, element.tag) {
            Some(Aim::Value(slot)) if element.length.is_some() => {
                self.take(slot, element, nest.encoding, sequence.item)
            }
            Some(Aim::Sequence(inner)) => {
                open.push(self.nest(element, inner, nest.encoding));
                Ok(())
            }
            _ => self.elements.skip(element, nest.encoding),
        }
    }

    fn item(&mut self, item: &Element, mut sequence: Nest, open: &mut Vec<Nest>) -> Result<(), End> {
        if sequence.renamed && !self.elements.at_delimiter()? {
            // Writers that only renamed the sequence left its items unchanged.
            let first = self.elements.window.peek(GUESSED)?;
            sequence.encoding = guess(first, Some(uid::IMPLICIT_VR_LITTLE_ENDIAN));
            sequence.renamed = false;
            open.pop();
            open.push(sequence);
        }
        if !self.counts(sequence.sequence) {
            return self.elements.skip_whole_item(item, sequence.encoding);
        }
        let item = Element { length: self.elements.item_length(item, sequence.encoding)?, ..*item };
        let (is_delimited, end) = (item.length.is_none(), self.elements.end_of(&item));
        open.push(Nest { is_item: true, is_delimited, end, ..sequence });
        Ok(())
    }

    /// Returns whether the values of the item that begins are used: only those of the first item,
    /// even if the sequence occurs twice, or those of each item, so that the last one remains.
    fn counts(&mut self, sequence: usize) -> bool {
        let bit = 1 << sequence;
        let is_first = self.begun & bit == 0;
        self.begun |= bit;
        is_first || self.wanted.sequences[sequence].item == Item::Last
    }

    fn nest(&self, element: &Element, sequence: usize, encoding: Encoding) -> Nest {
        // PS3.5 6.2.2 (CP-246): the content of UN is implicit VR little endian.
        let renamed = is_renamed(element, encoding);
        Nest {
            sequence,
            is_item: false,
            encoding: if renamed { Encoding::ImplicitLittle } else { encoding },
            renamed,
            is_delimited: element.length.is_none(),
            end: self.elements.end_of(element),
        }
    }
}

/// Returns whether a tag is that of bulk data or of an end, which real files have behind the last
/// wanted element: per-frame groups, curves, waveforms, spectra, overlays, Pixel Data, signatures
/// and padding. Other tags there may be damaged.
fn ends_header(tag: Tag) -> bool {
    match tag.group() {
        PIXEL_DATA_GROUP => true,
        0x5000..=0x50FF | 0x6000..=0x60FF => tag.element() == 0x3000,
        _ => matches!(
            tag,
            tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE
                | tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE
                | tags::WAVEFORM_SEQUENCE
                | tags::FIRST_ORDER_PHASE_CORRECTION_ANGLE
                | tags::SPECTROSCOPY_DATA
                | tags::DIGITAL_SIGNATURES_SEQUENCE
                | tags::DATA_SET_TRAILING_PADDING
        ),
    }
}

/// Returns whether a VR is text. A writer that uses such a VR for a binary attribute writes text.
fn is_text(vr: VR) -> bool {
    matches!(vr, VR::IS | VR::DS | VR::LO | VR::SH | VR::CS)
}

/// Returns whether a VR is binary. A writer that uses such a VR for a number in text writes a
/// binary number.
fn is_binary(vr: VR) -> bool {
    matches!(vr, VR::US | VR::UL)
}
