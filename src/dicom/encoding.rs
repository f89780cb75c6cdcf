//! The encoding of a data set: the declared transfer syntax, checked against the first elements.

// Archives still contain retired transfer syntaxes.
#![allow(deprecated)]

use dicom_core::Tag;

use super::element::{Bytes, Encoding};
use super::uid;
use super::window::{Source, Trouble, Window};

/// The number of bytes that [`guess`] needs: the header of an element in the short form, and the
/// tag behind an empty one.
pub const GUESSED: usize = 12;

/// The number of bytes in which [`of_data_set`] compares two encodings. The first elements of a
/// data set are short.
const COMPARED: usize = 1024;

/// The number of elements by which two encodings are compared. Empty values look plausible in
/// either byte order, but a data set rarely begins with more than one.
const ELEMENTS: usize = 5;

/// The longest value that is plausible at the beginning of an implicit VR data set.
const LONGEST_VALUE: u32 = 0xFFFF;

/// Returns the encoding of the data set at the position of a window. If the first element
/// contradicts the declared transfer syntax, the encoding in which the first elements are more
/// plausible is used. Thus neither a wrong declaration nor a damaged first tag makes the rest of
/// the data set unreadable.
pub fn of_data_set<S: Source>(window: &mut Window<'_, S>, declared: Option<&str>) -> Result<Encoding, Trouble> {
    let guessed = guess(window.peek(GUESSED)?, declared);
    match declared.map(of_transfer_syntax) {
        Some(declared) if declared != guessed => {
            let first = window.peek(COMPARED)?;
            Ok(if plausibility(first, guessed) > plausibility(first, declared) { guessed } else { declared })
        }
        _ => Ok(guessed),
    }
}

/// Guesses the encoding from the first element alone. All unknown transfer syntaxes, including
/// private ones, are explicit VR little endian (PS3.5 10).
pub fn guess(first: &[u8], declared: Option<&str>) -> Encoding {
    let declared = declared.map(of_transfer_syntax);
    let Some(element) = Bytes::of(first, Encoding::ExplicitLittle) else {
        return declared.unwrap_or(Encoding::ImplicitLittle);
    };
    // The first group is a small number: the byte order that makes it smaller is right.
    let big = element.tag().group().swap_bytes() < element.tag().group();
    match (element.vr(), declared) {
        (Some(_), _) if big => Encoding::ExplicitBig,
        (Some(_), Some(Encoding::ImplicitLittle)) if !is_explicit(first) => Encoding::ImplicitLittle,
        (Some(_), _) => Encoding::ExplicitLittle,
        (None, Some(Encoding::ExplicitLittle)) if element.u32_at(4) > LONGEST_VALUE => Encoding::ExplicitLittle,
        (None, Some(Encoding::ExplicitBig)) if big => Encoding::ExplicitBig,
        (None, _) => Encoding::ImplicitLittle,
    }
}

/// Returns the transfer syntax of a file that does not declare one.
pub fn transfer_syntax_of(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::ImplicitLittle => uid::IMPLICIT_VR_LITTLE_ENDIAN,
        Encoding::ExplicitLittle => uid::EXPLICIT_VR_LITTLE_ENDIAN,
        Encoding::ExplicitBig => uid::EXPLICIT_VR_BIG_ENDIAN,
    }
}

fn of_transfer_syntax(declared: &str) -> Encoding {
    match declared {
        uid::IMPLICIT_VR_LITTLE_ENDIAN => Encoding::ImplicitLittle,
        uid::EXPLICIT_VR_BIG_ENDIAN => Encoding::ExplicitBig,
        _ => Encoding::ExplicitLittle,
    }
}

/// Returns whether two letters that look like a VR are one. If the length behind them is not zero,
/// an implicit length would be megabytes. If it is zero, they are a VR only if an implicit length
/// would be odd, which no length is (PS3.5 7.1.1), or if the next element of the group follows
/// immediately.
fn is_explicit(bytes: &[u8]) -> bool {
    let next_follows = || bytes.len() >= GUESSED && bytes[8..10] == bytes[..2] && bytes[10..12] > bytes[2..4];
    bytes[6..8] != [0, 0] || bytes[4] % 2 == 1 || next_follows()
}

/// Returns the number of first elements whose header is plausible in an encoding, plus one if the
/// first group is 0008. Any tag may be damaged, but from the third element on, a tag out of order
/// ends the count.
fn plausibility(bytes: &[u8], encoding: Encoding) -> usize {
    let (mut rest, mut previous, mut count) = (bytes, Tag(0, 0), 0);
    for n in 0..ELEMENTS {
        let Some(element) = Bytes::of(rest, encoding) else { break };
        let Some((size, length)) = plausible_header(&element, encoding) else { break };
        if n > 1 && element.tag() <= previous {
            break;
        }
        count += if n == 0 && element.tag().group() == 0x0008 { 2 } else { 1 };
        previous = element.tag();
        rest = usize::try_from(length).ok().and_then(|length| rest.get(size + length..)).unwrap_or_default();
    }
    count
}

/// Returns the size of a header and the length of its value, if the header is plausible.
fn plausible_header(element: &Bytes<'_>, encoding: Encoding) -> Option<(usize, u32)> {
    match element.vr() {
        _ if encoding == Encoding::ImplicitLittle => {
            Some((8, element.u32_at(4))).filter(|(_, length)| *length <= LONGEST_VALUE)
        }
        Some(vr) if super::element::is_long(vr) => element.long_length().map(|length| (12, length)),
        Some(_) => Some((8, element.u16_at(6).into())),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"\x08\0\x05\0CS\x0a\0ISO_IR 100\x08\0\x16\0UI\x04\x001.21\x08\0\x18\0UI\x04\x001.22";

    fn of(bytes: &[u8], declared: &str) -> Encoding {
        of_data_set(&mut Window::new(bytes, &mut Vec::new()), Some(declared)).unwrap()
    }

    #[test]
    fn a_damaged_first_tag_does_not_outweigh_the_declared_transfer_syntax() {
        for tag in [*b"\x08\xFF\x05\0", *b"\0\x08\x05\0", *b"\0\x08\0\x05", *b"\x01\x20\x05\0", [0; 4], [0xFF; 4]] {
            let mut bytes = TWO.to_vec();
            bytes[..4].copy_from_slice(&tag);
            assert_eq!(of(&bytes, uid::EXPLICIT_VR_LITTLE_ENDIAN), Encoding::ExplicitLittle, "{tag:?}");
        }
    }

    #[test]
    fn a_wrong_declaration_does_not_outweigh_the_elements() {
        for declared in [uid::IMPLICIT_VR_LITTLE_ENDIAN, uid::EXPLICIT_VR_BIG_ENDIAN] {
            assert_eq!(of(TWO, declared), Encoding::ExplicitLittle, "{declared}");
        }
    }
}
