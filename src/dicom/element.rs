//! Data element headers (PS3.5 7.1), and skipping values by position.
//!
//! This module neither recurses nor allocates: a length is only added to a position. `odd_header`
//! reads headers that break the rules, and `nesting` skips values of undefined length.

use std::sync::LazyLock;

use dicom_core::{Tag, VR};

use super::window::{Source, Trouble, WINDOW, Window};

pub const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub const ITEM_DELIMITATION: Tag = Tag(0xFFFE, 0xE00D);
pub const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE, 0xE0DD);

/// The maximum number of elements. Whole-slide headers have fewer; the limit stops hostile headers.
const ELEMENT_LIMIT: u32 = 2_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
}

#[derive(Clone, Copy, Debug)]
pub struct Element {
    pub tag: Tag,
    pub vr: VR,
    /// `None` if the length is undefined.
    pub length: Option<u64>,
}

impl Element {
    /// Returns whether the element may contain a sequence, according to its VR. In any other
    /// element, an undefined length indicates damage.
    pub(super) fn may_nest(&self, encoding: Encoding) -> bool {
        encoding == Encoding::ImplicitLittle || self.tag == ITEM || matches!(self.vr, VR::SQ | VR::UN | VR::OB | VR::OW)
    }
}

/// The reason why a scan ended.
#[derive(Debug)]
pub enum End {
    /// The data set ends between two elements, possibly too early.
    Reached,
    /// The data set ends within an element, or its elements make no sense.
    Cut,
    /// The data set has more elements or bytes than any real one.
    Limit,
    Io(std::io::Error),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Io(error) => End::Io(error),
            Trouble::Limit => End::Limit,
        }
    }
}

/// The end of a data set whose end only the file determines.
pub const NO_END: u64 = u64::MAX;

/// A window that is read element by element.
pub struct Elements<'b, S> {
    pub window: Window<'b, S>,
    /// The end of the innermost declared length. No element extends beyond it.
    pub end: u64,
    /// The number of sequences and items that the caller has entered. If it is more than one, a
    /// sequence that is skipped is nested.
    pub entered: usize,
    count: u32,
}

impl<'b, S: Source> Elements<'b, S> {
    pub fn new(window: Window<'b, S>) -> Self {
        Elements { window, end: NO_END, entered: 0, count: 0 }
    }

    /// Returns the next element header, and moves to the value of the element.
    // Always inlined, so that an element stays in registers: passing the element in memory takes
    // longer than the rest of its processing.
    #[inline(always)]
    pub fn next(&mut self, encoding: Encoding) -> Result<Element, End> {
        self.count += 1;
        if self.count > ELEMENT_LIMIT {
            return Err(End::Limit);
        }
        let left = self.left();
        let bytes = self.window.peek(HEADER)?;
        let bytes = &bytes[..bytes.len().min(left)];
        let Some(bytes) = Bytes::of(bytes, encoding) else {
            return Err(if bytes.is_empty() { End::Reached } else { End::Cut });
        };
        let tag = bytes.tag();
        let (vr, length, size) = match bytes.vr() {
            // Implicit VR, and items and delimiters in every encoding (PS3.5 7.5).
            _ if encoding == Encoding::ImplicitLittle || is_delimiting(tag) => (VR::UN, Some(bytes.u32_at(4)), 8),
            Some(vr) if !is_long(vr) => (vr, Some(bytes.u16_at(6).into()), 8),
            Some(vr) if bytes.is_long_form() => (vr, bytes.long_length(), 12),
            _ => return self.odd_header(encoding),
        };
        let length = length.ok_or(End::Cut)?;
        self.window.advance(size);
        Ok(Element { tag, vr, length: (length != u32::MAX).then_some(length.into()) })
    }

    /// Skips the value of an element, reading as few bytes as possible.
    pub fn skip(&mut self, element: &Element, encoding: Encoding) -> Result<(), End> {
        match element.length {
            Some(length) => self.skip_bytes(length),
            None if self.has_items(element, encoding)? => self.skip_items(element, encoding),
            None => Err(End::Cut),
        }
    }

    #[inline]
    pub fn skip_bytes(&mut self, length: u64) -> Result<(), End> {
        if !self.holds(length) || self.window.ends_within(length) {
            return Err(End::Cut);
        }
        self.window.advance(length);
        Ok(())
    }

    /// Skips to [`end`](Self::end), regardless of the bytes before it.
    pub fn skip_to_end(&mut self) -> Result<(), End> {
        self.skip_bytes(self.end - self.window.position())
    }

    /// Returns whether at least this number of bytes is left before [`end`](Self::end).
    pub fn holds(&self, length: u64) -> bool {
        length <= self.end - self.window.position()
    }

    /// Returns whether an element of group 0000 begins the zeros at the end of a file: writers pad
    /// files to their block size. Skips other zeros in steps of eight bytes, the size of an element
    /// without tag and value.
    pub fn is_padding(&mut self, element: &Element) -> Result<bool, End> {
        if element.tag != Tag(0, 0) || element.length != Some(0) {
            return Ok(false);
        }
        loop {
            let bytes = self.window.peek(WINDOW)?;
            let (length, zeros) = (bytes.len(), bytes.iter().take_while(|byte| **byte == 0).count());
            self.window.advance(if zeros == length { zeros } else { zeros - zeros % 8 } as u64);
            if zeros < length || length == 0 {
                return Ok(length == 0);
            }
        }
    }

    /// Returns the end of an element whose header was just read. An element of undefined length
    /// ends with the sequence or item around it.
    pub fn end_of(&self, element: &Element) -> u64 {
        element.length.map_or(self.end, |length| self.end.min(self.window.position() + length))
    }

    /// Returns the number of bytes that are left for an element header before [`end`](Self::end).
    pub(super) fn left(&self) -> usize {
        (self.end - self.window.position()).min(HEADER as u64) as usize
    }

    /// Returns whether an item, a delimiter or the end follows. Items and delimiters look the same
    /// in every little endian encoding.
    pub fn at_delimiter(&mut self) -> Result<bool, End> {
        Ok(matches!(self.window.peek(2)?, [0xFE, 0xFF] | [] | [_]))
    }
}

/// The number of bytes that show the form of a header: the long form, and two bytes of the value.
pub(super) const HEADER: usize = 14;

/// The bytes of an element header: eight bytes, and further ones that only the long form has.
pub(super) struct Bytes<'a> {
    pub start: [u8; 8],
    rest: &'a [u8],
    is_big: bool,
}

impl<'a> Bytes<'a> {
    #[inline]
    pub fn of(bytes: &'a [u8], encoding: Encoding) -> Option<Self> {
        let (start, rest) = bytes.split_first_chunk()?;
        Some(Bytes { start: *start, rest, is_big: encoding == Encoding::ExplicitBig })
    }

    #[inline]
    pub fn tag(&self) -> Tag {
        Tag(self.u16_at(0), self.u16_at(2))
    }

    #[inline]
    pub fn vr(&self) -> Option<VR> {
        vr([self.start[4], self.start[5]])
    }

    pub fn u16_at(&self, at: usize) -> u16 {
        self.short([self.start[at], self.start[at + 1]])
    }

    pub fn u32_at(&self, at: usize) -> u32 {
        self.long([self.start[at], self.start[at + 1], self.start[at + 2], self.start[at + 3]])
    }

    /// Returns whether an element may begin here, or zeros that end the file.
    pub fn may_begin(&self, encoding: Encoding) -> bool {
        let tag = self.tag();
        encoding == Encoding::ImplicitLittle || self.vr().is_some() || is_delimiting(tag) || tag == Tag(0, 0)
    }

    /// Returns the length behind the two reserved bytes (PS3.5 7.1.2).
    #[inline]
    pub fn long_length(&self) -> Option<u32> {
        self.rest.first_chunk().map(|four| self.long(*four))
    }

    /// Returns whether a header whose VR requires the long form has this form: the reserved bytes
    /// are zero, and are not the length of an empty value behind which the next element begins.
    #[inline]
    fn is_long_form(&self) -> bool {
        self.has_zero_reserved() && self.rest.len() >= 4 && !self.is_empty_short_form()
    }

    #[inline]
    pub fn has_zero_reserved(&self) -> bool {
        self.start[6..8] == [0, 0]
    }

    /// Returns whether the four bytes of a long length look like the tag of the next element
    /// instead.
    #[inline]
    fn is_empty_short_form(&self) -> bool {
        let [a, b, c, d, letters @ ..] = self.rest else { return false };
        let next = Tag(self.short([*a, *b]), self.short([*c, *d]));
        next.group() == ITEM.group()
            || (next > self.tag() && letters.first_chunk().is_some_and(|two| vr(*two).is_some()))
    }

    fn short(&self, two: [u8; 2]) -> u16 {
        if self.is_big { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) }
    }

    fn long(&self, four: [u8; 4]) -> u32 {
        if self.is_big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }
}

/// Returns whether a tag is that of an item or a delimiter, which have no VR. Other tags of this
/// group are damaged.
#[inline]
pub(super) fn is_delimiting(tag: Tag) -> bool {
    tag.group() == ITEM.group() && matches!(tag, ITEM | ITEM_DELIMITATION | SEQUENCE_DELIMITATION)
}

const LETTERS: usize = 26;

/// The VRs of all pairs of letters. A scan looks up about a hundred VRs in a file, and comparing
/// them as text took longer than the rest of the scan.
static VRS: LazyLock<[Option<VR>; LETTERS * LETTERS]> = LazyLock::new(|| {
    std::array::from_fn(|n| VR::from_binary([b'A' + (n / LETTERS) as u8, b'A' + (n % LETTERS) as u8]))
});

/// Returns the VR that two bytes encode, if any.
#[inline]
pub fn vr(bytes: [u8; 2]) -> Option<VR> {
    let [first, second] = bytes.map(|letter| usize::from(letter.wrapping_sub(b'A')));
    if first < LETTERS && second < LETTERS { VRS[first * LETTERS + second] } else { None }
}

/// Returns whether the length of a VR has 32 bits, behind two reserved bytes (PS3.5 7.1.2).
pub(super) fn is_long(vr: VR) -> bool {
    use VR::*;
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}
