//! The position of the first data element in a file, and the groups in front of the data set.
//!
//! Archives contain files with and without preamble, prefix and file meta information (PS3.10 7.1).
//! All of them are read. A file that only looks like DICOM must prove it by its UIDs, so that no
//! picture, text or program is mistaken for an instance.

// Archives still contain retired transfer syntaxes.
#![allow(deprecated)]

use super::element::{Bytes, Elements, Encoding, vr};
use super::encoding::{self, guess};
use super::rejection::Rejection;
use super::uid;
use super::window::Window;

const PREAMBLE: usize = 128;
const MAGIC: &[u8] = b"DICM";
const PREFIXED: usize = PREAMBLE + MAGIC.len();

/// The position of the first data element.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    pub offset: u64,
    /// Whether the file declares itself as DICOM. Otherwise it only looks like DICOM, and must
    /// prove it by its UIDs.
    pub certain: bool,
}

/// Finds the first data element in the first bytes of a file.
pub fn locate(first: &[u8]) -> Result<Start, Rejection> {
    let at = |offset: usize, certain| Ok(Start { offset: offset as u64, certain });
    if first.is_empty() {
        return Err(Rejection::Empty);
    }
    if first.get(PREAMBLE..PREFIXED) == Some(MAGIC) && !is_within_a_value(first) {
        return at(PREFIXED, true);
    }
    if first.starts_with(MAGIC) {
        return at(MAGIC.len(), true);
    }
    if first.iter().all(|byte| *byte == 0) {
        return Err(Rejection::Zeroed);
    }
    if looks_like_meta(first) {
        return at(0, vr_at_4(first));
    }
    // The prefix behind a preamble may be missing or damaged.
    match [0, PREAMBLE, PREFIXED].into_iter().find(|offset| first.get(*offset..).is_some_and(looks_like_front)) {
        Some(offset) => at(offset, false),
        None => Err(not_dicom(first)),
    }
}

pub fn not_dicom(first: &[u8]) -> Rejection {
    Rejection::NotDicom { first_bytes: first[..first.len().min(64)].to_vec() }
}

/// Returns whether the letters DICM at byte 128 belong to a value in a file without preamble. Such
/// a file begins with elements, one of which extends across the letters and is followed by another
/// element. If that element is beyond the bytes in `first`, a file meta group behind the letters
/// decides.
fn is_within_a_value(first: &[u8]) -> bool {
    if !looks_like_front(first) || begins_meta(&first[PREFIXED..]) {
        return false;
    }
    let mut buffer = Vec::new();
    let mut elements = Elements::new(Window::new(first, &mut buffer));
    let (mut previous, mut of_data_set) = (None, None);
    loop {
        let Ok(rest) = elements.window.peek(encoding::GUESSED) else { return false };
        let of_front = front_encoding(rest).filter(|_| of_data_set.is_none());
        let encoding = of_front.unwrap_or_else(|| *of_data_set.get_or_insert_with(|| guess(rest, None)));
        let start = elements.window.position();
        let Ok(element) = elements.next(encoding) else { return false };
        if previous.is_some_and(|previous| element.tag <= previous) {
            return false;
        }
        if start >= PREFIXED as u64 {
            return true;
        }
        let end = element.length.map_or(u64::MAX, |length| elements.window.position() + length);
        if end >= first.len() as u64 && element.length.is_some() {
            return !looks_like_meta(&first[PREFIXED..]);
        }
        if elements.skip(&element, encoding).is_err() {
            return false;
        }
        previous = Some(element.tag);
    }
}

/// Returns the encoding of a group in front of the data set, if one begins here.
pub fn front_encoding(bytes: &[u8]) -> Option<Encoding> {
    meta_encoding(bytes).or_else(|| command_encoding(bytes))
}

/// Returns the encoding of the file meta group (0002): explicit VR little endian (PS3.10 7.1). Some
/// writers use big endian. Others use implicit VR, which is read as explicit VR with headers that
/// lack the VR.
fn meta_encoding(bytes: &[u8]) -> Option<Encoding> {
    match *bytes {
        [0x02, 0x00, ..] => Some(Encoding::ExplicitLittle),
        [0x00, 0x02, 0x00 | 0x01, _, ..] if vr_at_4(bytes) => Some(Encoding::ExplicitBig),
        _ => None,
    }
}

/// Returns the encoding of the command of a message (PS3.7 6.3.1): implicit VR little endian. Its
/// first element, which is the group length, the class or the command itself, distinguishes a
/// command from zeros and from a damaged tag.
fn command_encoding(bytes: &[u8]) -> Option<Encoding> {
    let is_uid = |value: &[u8]| value.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    match *bytes {
        [0, 0, 0, 0, 4, 0, 0, 0, ..] | [0, 0, 0, 1, 2, 0, 0, 0, ..] => Some(Encoding::ImplicitLittle),
        [0, 0, 2, 0, 1..=64, 0, 0, 0, ref value @ ..] if is_uid(&value[..value.len().min(4)]) => {
            Some(Encoding::ImplicitLittle)
        }
        [0, 0, 0, 0, b'U', b'L', 4, 0, ..] => Some(Encoding::ExplicitLittle),
        [0, 0, 0, 0, b'U', b'L', 0, 4, ..] => Some(Encoding::ExplicitBig),
        _ => None,
    }
}

/// Returns whether the bytes may begin the first group of a file without preamble.
fn looks_like_front(bytes: &[u8]) -> bool {
    looks_like_meta(bytes) || command_encoding(bytes).is_some() || looks_like_data_set(bytes)
}

/// Returns whether a file meta group begins here, in any encoding that [`front_encoding`] returns.
fn looks_like_meta(bytes: &[u8]) -> bool {
    match meta_encoding(bytes) {
        Some(Encoding::ExplicitBig) => true,
        Some(_) => bytes.len() >= 8 && bytes[3] <= 1 && (vr_at_4(bytes) || is_implicit_meta(bytes)),
        None => false,
    }
}

/// Returns whether a file meta group begins behind the letters DICM, rather than being continued
/// there. If the meta group of a file without preamble extends across the letters, they end a text,
/// and the first text of the group is (0002,0013).
fn begins_meta(bytes: &[u8]) -> bool {
    let tag = || Bytes::of(bytes, meta_encoding(bytes)?).map(|bytes| bytes.tag());
    looks_like_meta(bytes) && tag().is_some_and(|tag| tag.element() <= 0x0013)
}

/// Returns whether a file meta group begins here as PS3.10 7.1 requires.
pub fn is_explicit_meta(bytes: &[u8]) -> bool {
    looks_like_meta(bytes) && bytes.starts_with(&[0x02, 0x00]) && vr_at_4(bytes)
}

/// Returns whether a short element with an implicit VR is followed by another element of the file
/// meta group.
fn is_implicit_meta(bytes: &[u8]) -> bool {
    let length = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    let next = usize::try_from(length).ok().and_then(|length| bytes.get(8usize.checked_add(length)?..));
    next.is_some_and(|next| next.starts_with(&[0x02, 0x00]))
}

/// Returns whether a data set without meta group begins here: group 0008, with a short element.
pub fn looks_like_data_set(bytes: &[u8]) -> bool {
    let encoding = guess(bytes, None);
    let Some(element) = Bytes::of(bytes, encoding) else { return false };
    let is_short = encoding != Encoding::ImplicitLittle || element.u32_at(4) < 0x1_0000;
    element.tag().group() == 0x0008 && is_short
}

/// Returns whether the transfer syntax compresses the data set as a whole.
pub fn is_deflated(transfer_syntax: &str) -> bool {
    [uid::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, uid::JPIP_REFERENCED_DEFLATE, uid::JPIPHTJ2K_REFERENCED_DEFLATE]
        .contains(&transfer_syntax)
}

fn vr_at_4(bytes: &[u8]) -> bool {
    bytes.get(4..6).is_some_and(|letters| vr([letters[0], letters[1]]).is_some())
}
