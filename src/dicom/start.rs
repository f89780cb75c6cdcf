//! Where the data begins in a file, and how it is encoded: the declared transfer syntax, checked against the bytes.
//!
//! The archive holds files with and without preamble and file meta group (PS3.10 7.1), and some whose declared
//! transfer syntax is not that of their data set. Both are read.

// Retired syntaxes stay in archives.
#![allow(deprecated)]

use dicom_core::{Tag, VR};

use super::element::{Encoding, vr};
use super::rejection::Rejection;
use super::uid;

const PREAMBLE: usize = 128;
const MAGIC: &[u8] = b"DICM";

/// Where the first data element stands.
pub struct Start {
    pub offset: u64,
    /// The file says that it is DICOM. Otherwise it only looks like it, and must prove it by its UIDs.
    pub certain: bool,
}

/// Finds the first data element from the first bytes of a file.
pub fn locate(first: &[u8]) -> Result<Start, Rejection> {
    if first.is_empty() {
        return Err(Rejection::Empty);
    }
    if first.get(PREAMBLE..PREAMBLE + MAGIC.len()) == Some(MAGIC) {
        return Ok(Start { offset: (PREAMBLE + MAGIC.len()) as u64, certain: true });
    }
    if first.starts_with(MAGIC) {
        return Ok(Start { offset: MAGIC.len() as u64, certain: true });
    }
    if first.iter().all(|byte| *byte == 0) {
        return Err(Rejection::Zeroed);
    }
    if looks_like_meta(first) {
        return Ok(Start { offset: 0, certain: true });
    }
    if looks_like_data_set(first) {
        return Ok(Start { offset: 0, certain: false });
    }
    Err(not_dicom(first))
}

pub fn not_dicom(first: &[u8]) -> Rejection {
    Rejection::NotDicom { first_bytes: first[..first.len().min(64)].to_vec() }
}

/// A file meta group without preamble: explicit VR little endian, group 0002.
pub fn looks_like_meta(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes[..2] == [0x02, 0x00] && bytes[3] == 0 && vr_at_4(bytes).is_some()
}

/// A data set without meta group begins with group 0008 and a short element.
pub fn looks_like_data_set(bytes: &[u8]) -> bool {
    if bytes.len() < 8 {
        return false;
    }
    let encoding = guess(bytes, None);
    let big = encoding == Encoding::ExplicitBig;
    let tag = if big { tag_be(bytes) } else { tag_le(bytes) };
    let short = match encoding {
        Encoding::ImplicitLittle => u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) < 0x1_0000,
        _ => true,
    };
    tag.group() == 0x0008 && short
}

/// The data set is compressed as a whole.
pub fn is_deflated(transfer_syntax: &str) -> bool {
    [uid::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, uid::JPIP_REFERENCED_DEFLATE, uid::JPIPHTJ2K_REFERENCED_DEFLATE]
        .contains(&transfer_syntax)
}

/// The transfer syntax of a file that declares none.
pub fn transfer_syntax_of(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::ImplicitLittle => uid::IMPLICIT_VR_LITTLE_ENDIAN,
        Encoding::ExplicitLittle => uid::EXPLICIT_VR_LITTLE_ENDIAN,
        Encoding::ExplicitBig => uid::EXPLICIT_VR_BIG_ENDIAN,
    }
}

/// How many bytes [`guess`] wants to see.
pub const GUESSED: usize = 12;

/// How a data set is encoded. Its first element decides where it contradicts the declaration; every syntax that is
/// not known, private ones included, is explicit VR little endian (PS3.5 10).
pub fn guess(first: &[u8], declared: Option<&str>) -> Encoding {
    let declared = declared.map(|syntax| match syntax {
        uid::IMPLICIT_VR_LITTLE_ENDIAN => Encoding::ImplicitLittle,
        uid::EXPLICIT_VR_BIG_ENDIAN => Encoding::ExplicitBig,
        _ => Encoding::ExplicitLittle,
    });
    if first.len() < 8 {
        return declared.unwrap_or(Encoding::ImplicitLittle);
    }
    let vr = vr_at_4(first);
    // The first group is a small number: the byte order that makes it smaller is right.
    let big = tag_be(first).group() < tag_le(first).group();
    match (vr, declared) {
        (Some(_), _) if big => Encoding::ExplicitBig,
        (Some(_), Some(Encoding::ImplicitLittle)) if !is_explicit(first) => Encoding::ImplicitLittle,
        (Some(_), _) => Encoding::ExplicitLittle,
        (None, Some(Encoding::ExplicitLittle)) if !fits_implicit(first) => Encoding::ExplicitLittle,
        (None, Some(Encoding::ExplicitBig)) if big => Encoding::ExplicitBig,
        (None, _) => Encoding::ImplicitLittle,
    }
}

/// Two letters of a VR and a length that is not zero would be an implicit length of megabytes. With two zeros it would
/// be an odd length, which no value has (PS3.5 7.1.1), or else the next element of the group stands right behind.
fn is_explicit(bytes: &[u8]) -> bool {
    let next_follows = || bytes.len() >= GUESSED && bytes[8..10] == bytes[..2] && bytes[10..12] > bytes[2..4];
    bytes[6..8] != [0, 0] || bytes[4] % 2 == 1 || next_follows()
}

fn fits_implicit(bytes: &[u8]) -> bool {
    u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) < 0x1_0000
}

fn vr_at_4(bytes: &[u8]) -> Option<VR> {
    vr([bytes[4], bytes[5]])
}

fn tag_le(bytes: &[u8]) -> Tag {
    Tag(u16::from_le_bytes([bytes[0], bytes[1]]), u16::from_le_bytes([bytes[2], bytes[3]]))
}

fn tag_be(bytes: &[u8]) -> Tag {
    Tag(u16::from_be_bytes([bytes[0], bytes[1]]), u16::from_be_bytes([bytes[2], bytes[3]]))
}
