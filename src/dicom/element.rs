//! Data element headers (PS3.5 7.1), and the skipping of what is not wanted.
//!
//! Nothing here recurses or allocates: nesting is a counter, and a length is only ever added to a position.

use std::sync::LazyLock;

use dicom_core::{Tag, VR};

use super::window::{Source, Trouble, Window};
use super::{start, uid};

pub const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub const ITEM_DELIMITATION: Tag = Tag(0xFFFE, 0xE00D);
pub const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE, 0xE0DD);

/// More elements than any real header has: whole-slide headers stay below, hostile ones do not run for ever.
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
    /// `None` is the undefined length.
    pub length: Option<u64>,
}

impl Element {
    /// The VR says that a sequence may follow: undefined lengths elsewhere are damage.
    fn may_nest(&self, encoding: Encoding) -> bool {
        encoding == Encoding::ImplicitLittle || self.tag == ITEM || matches!(self.vr, VR::SQ | VR::UN | VR::OB | VR::OW)
    }
}

/// Why a scan ends early.
#[derive(Debug)]
pub enum End {
    /// The data set ends, at a sensible place or not.
    Reached,
    /// It ends in the middle of an element, or stops making sense.
    Cut,
    /// It has more elements or bytes than any real one.
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

/// The end of a data set, which only the file knows.
pub const NO_END: u64 = u64::MAX;

/// A window that is read element by element.
pub struct Elements<'b, S> {
    pub window: Window<'b, S>,
    /// Where the nearest declared length ends: no element reaches beyond.
    pub end: u64,
    count: u32,
}

impl<'b, S: Source> Elements<'b, S> {
    pub fn new(window: Window<'b, S>) -> Self {
        Elements { window, end: NO_END, count: 0 }
    }

    /// The next element header; the position is then that of its value.
    // Always, so that an element stays in registers: handed over in memory it takes longer than all else about it.
    #[inline(always)]
    pub fn next(&mut self, encoding: Encoding) -> Result<Element, End> {
        self.count += 1;
        if self.count > ELEMENT_LIMIT {
            return Err(End::Limit);
        }
        let left = self.left();
        let bytes = self.window.peek(12)?;
        let bytes = &bytes[..bytes.len().min(left)];
        let Some(bytes) = Bytes::of(bytes, encoding) else {
            return Err(if bytes.is_empty() { End::Reached } else { End::Cut });
        };
        let tag = bytes.tag();
        let (vr, length, size) = match bytes.vr() {
            // Implicit VR, and items and delimiters in every encoding (PS3.5 7.5).
            _ if encoding == Encoding::ImplicitLittle || tag.group() == ITEM.group() => {
                (VR::UN, Some(bytes.u32_at(4)), 8)
            }
            Some(vr) if is_long(vr) => (vr, bytes.long_length(), 12),
            Some(vr) => (vr, Some(bytes.u16_at(6).into()), 8),
            None => return self.with_odd_vr(encoding),
        };
        let length = length.ok_or(End::Cut)?;
        self.window.advance(size);
        Ok(Element { tag, vr, length: (length != u32::MAX).then_some(length.into()) })
    }

    /// Moves past the value of an element, reading as little as possible.
    pub fn skip(&mut self, element: &Element, encoding: Encoding) -> Result<(), End> {
        match element.length {
            Some(length) => self.skip_bytes(length),
            None if element.may_nest(encoding) => self.skip_items(element, encoding),
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

    /// Leaves what is bounded by [`end`](Self::end), whatever is in it.
    pub fn skip_to_end(&mut self) -> Result<(), End> {
        self.skip_bytes(self.end - self.window.position())
    }

    /// So many more bytes stand before [`end`](Self::end).
    pub fn holds(&self, length: u64) -> bool {
        length <= self.end - self.window.position()
    }

    /// Where an element ends that was just begun; one of undefined length at the end of what it stands in.
    pub fn end_of(&self, element: &Element) -> u64 {
        element.length.map_or(self.end, |length| self.end.min(self.window.position() + length))
    }

    /// How much of an element header can stand before [`end`](Self::end).
    fn left(&self) -> usize {
        (self.end - self.window.position()).min(12) as usize
    }

    /// Moves past a value of undefined length. Items and delimiters are only counted, so that no nesting is too deep.
    fn skip_items(&mut self, outer: &Element, mut encoding: Encoding) -> Result<(), End> {
        let declared = encoding;
        let mut open = 1u32;
        // PS3.5 6.2.2 (CP-246): the content of UN with undefined length is implicit VR little endian. Writers that
        // only renamed a sequence left it as it was, so its first element has the last word.
        let mut implicit_since = None;
        let mut untried = false;
        if outer.vr == VR::UN && outer.tag != ITEM && encoding != Encoding::ImplicitLittle {
            (encoding, implicit_since, untried) = (Encoding::ImplicitLittle, Some(open), true);
        }
        while open > 0 {
            if untried && !self.at_delimiter()? {
                untried = false;
                encoding = start::guess(self.window.peek(start::GUESSED)?, Some(uid::IMPLICIT_VR_LITTLE_ENDIAN));
            }
            let element = self.next(encoding)?;
            match (element.tag, element.length) {
                (ITEM_DELIMITATION | SEQUENCE_DELIMITATION, _) => {
                    open -= 1;
                    if implicit_since.is_some_and(|since| since > open) {
                        (encoding, implicit_since) = (declared, None);
                    }
                }
                (_, Some(length)) => self.skip_bytes(length)?,
                (_, None) if element.may_nest(encoding) => {
                    open += 1;
                    if element.vr == VR::UN && element.tag != ITEM && encoding != Encoding::ImplicitLittle {
                        (encoding, implicit_since, untried) = (Encoding::ImplicitLittle, Some(open), true);
                    }
                }
                (_, None) => return Err(End::Cut),
            }
        }
        Ok(())
    }

    /// An item or a delimiter stands next, which looks the same in every little endian encoding.
    pub fn at_delimiter(&mut self) -> Result<bool, End> {
        Ok(matches!(self.window.peek(2)?, [0xFE, 0xFF] | [] | [_]))
    }

    /// An element of an explicit data set whose VR is blank, unknown, or not there at all. Of the ways that writers
    /// got this wrong, the one is taken after which another element follows.
    #[cold]
    fn with_odd_vr(&mut self, encoding: Encoding) -> Result<Element, End> {
        let left = self.left();
        let bytes = self.window.peek(12)?;
        let Some(bytes) = Bytes::of(&bytes[..bytes.len().min(left)], encoding) else { return Err(End::Cut) };
        let tag = bytes.tag();
        let short = Some((8, u32::from(bytes.u16_at(6))));
        let implicit = Some((8, bytes.u32_at(4)));
        let long = bytes.long_length().map(|length| (12, length));
        // PS3.5 6.2.2: VRs that are yet to be defined, two letters, have the long form.
        let letters = bytes.start[4..6].iter().all(u8::is_ascii_uppercase);
        let order = if letters { [long, short, implicit] } else { [implicit, short, long] };
        let mut chosen = None;
        for (header, length) in order.into_iter().flatten() {
            if self.element_follows(tag, encoding, header, length)? {
                chosen = Some((header, length));
                break;
            }
        }
        let fits = |&(header, length): &(u64, u32)| !self.window.ends_within(header + u64::from(length));
        let (header, length) = chosen.or_else(|| order.into_iter().flatten().find(fits)).ok_or(End::Cut)?;
        self.window.advance(header);
        Ok(Element { tag, vr: VR::UN, length: (length != u32::MAX).then_some(length.into()) })
    }

    fn element_follows(&mut self, tag: Tag, encoding: Encoding, header: u64, length: u32) -> Result<bool, End> {
        let end = header + u64::from(length);
        let place = self.window.position() + end;
        if self.window.size() == Some(place) || self.end == place {
            return Ok(true);
        }
        let Some(bytes) = self.window.look_ahead(end, 8)? else { return Ok(false) };
        let Some(bytes) = Bytes::of(bytes, encoding) else { return Ok(false) };
        let next = bytes.tag();
        Ok(next > tag && (bytes.vr().is_some() || next.group() == tag.group()))
    }
}

/// The bytes of an element header: eight, and four more that only the long form has.
struct Bytes {
    start: [u8; 8],
    rest: Option<[u8; 4]>,
    is_big: bool,
}

impl Bytes {
    fn of(bytes: &[u8], encoding: Encoding) -> Option<Self> {
        let (start, rest) = bytes.split_first_chunk()?;
        Some(Bytes { start: *start, rest: rest.first_chunk().copied(), is_big: encoding == Encoding::ExplicitBig })
    }

    #[inline]
    fn tag(&self) -> Tag {
        Tag(self.u16_at(0), self.u16_at(2))
    }

    #[inline]
    fn vr(&self) -> Option<VR> {
        vr([self.start[4], self.start[5]])
    }

    fn u16_at(&self, at: usize) -> u16 {
        let pair = [self.start[at], self.start[at + 1]];
        if self.is_big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    }

    fn u32_at(&self, at: usize) -> u32 {
        self.long([self.start[at], self.start[at + 1], self.start[at + 2], self.start[at + 3]])
    }

    /// The length behind two reserved bytes (PS3.5 7.1.2).
    fn long_length(&self) -> Option<u32> {
        self.rest.map(|four| self.long(four))
    }

    fn long(&self, four: [u8; 4]) -> u32 {
        if self.is_big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }
}

const LETTERS: usize = 26;

/// All pairs of letters: a scan looks up a hundred VRs in a file, and to compare them as text took longer than all else.
static VRS: LazyLock<[Option<VR>; LETTERS * LETTERS]> = LazyLock::new(|| {
    std::array::from_fn(|n| VR::from_binary([b'A' + (n / LETTERS) as u8, b'A' + (n % LETTERS) as u8]))
});

/// The VR of two bytes, if they are one.
#[inline]
pub fn vr(bytes: [u8; 2]) -> Option<VR> {
    let [first, second] = bytes.map(|letter| usize::from(letter.wrapping_sub(b'A')));
    if first < LETTERS && second < LETTERS { VRS[first * LETTERS + second] } else { None }
}

/// VRs whose length has 32 bits, behind two reserved bytes (PS3.5 7.1.2).
fn is_long(vr: VR) -> bool {
    use VR::*;
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}
