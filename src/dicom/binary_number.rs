//! Converts numbers of binary VRs to text.

use dicom_core::VR;

use super::element::Encoding;

/// The text of a value that is too short for its VR. No attribute accepts the text as a number, so
/// that the value counts as invalid.
const INVALID: &str = "?";

/// Returns whether a VR is that of a binary number other than a short or long unsigned one.
pub fn is_signed_or_real(vr: VR) -> bool {
    matches!(vr, VR::SS | VR::SL | VR::SV | VR::UV | VR::FL | VR::FD)
}

/// Returns the first number of a binary value as digits. `None` if the value is empty.
pub fn digits(vr: VR, value: &[u8], encoding: Encoding) -> Option<String> {
    if value.is_empty() {
        return None;
    }
    let is_big = encoding == Encoding::ExplicitBig;
    let digits = match vr {
        VR::SS => first(value, is_big).map(|bytes| i16::from_le_bytes(bytes).to_string()),
        VR::SL => first(value, is_big).map(|bytes| i32::from_le_bytes(bytes).to_string()),
        VR::SV => first(value, is_big).map(|bytes| i64::from_le_bytes(bytes).to_string()),
        VR::UV => first(value, is_big).map(|bytes| u64::from_le_bytes(bytes).to_string()),
        VR::FL => first(value, is_big).map(|bytes| f32::from_le_bytes(bytes).to_string()),
        VR::FD => first(value, is_big).map(|bytes| f64::from_le_bytes(bytes).to_string()),
        _ => Some(unsigned(value, is_big).to_string()),
    };
    Some(digits.unwrap_or_else(|| INVALID.to_owned()))
}

/// Returns the bytes of the first number, in little endian order.
fn first<const N: usize>(value: &[u8], is_big: bool) -> Option<[u8; N]> {
    let mut bytes = *value.first_chunk()?;
    if is_big {
        bytes.reverse();
    }
    Some(bytes)
}

/// Returns an unsigned number of two bytes, or of four if the value has exactly four bytes and they
/// are not two numbers. The VR is ignored, because writers confuse US and UL.
fn unsigned(value: &[u8], is_big: bool) -> u32 {
    match (first(value, is_big), first(value, is_big)) {
        (Some(four), _) if value.len() == 4 && four[2..] == [0, 0] => u32::from_le_bytes(four),
        (_, Some(two)) => u16::from_le_bytes(two).into(),
        _ => value.first().copied().unwrap_or_default().into(),
    }
}
