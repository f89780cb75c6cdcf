//! Numbers and strings at offsets that a file contains. An offset beyond the end is not an error:
//! the result is `None`.

use encoding_rs::{Encoding, UTF_16LE};

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// An offset or a length. Where a number of 32 bits does not fit into `usize`, neither would the
/// file.
pub fn offset_at(bytes: &[u8], at: usize) -> Option<usize> {
    u32_at(bytes, at)?.try_into().ok()
}

/// Text that ends with a NUL. Text without a NUL is truncated, and would name another file.
pub fn terminated(bytes: &[u8], at: usize, code_page: &'static Encoding) -> Option<String> {
    let bytes = bytes.get(at..)?;
    decode(&bytes[..bytes.iter().position(|byte| *byte == 0)?], code_page)
}

/// Like [`terminated`], for text in UTF-16LE.
pub fn terminated_unicode(bytes: &[u8], at: usize) -> Option<String> {
    let bytes = bytes.get(at..)?;
    unicode(&bytes[..2 * bytes.chunks_exact(2).position(|unit| unit == [0, 0])?])
}

/// Text in UTF-16LE. `None` if the bytes are invalid, since no file has such a name.
pub fn unicode(bytes: &[u8]) -> Option<String> {
    decode(bytes, UTF_16LE)
}

/// The maximum length of a text in code units. No path of a file is longer, neither here nor on
/// Windows, whose own limit is 260. A longer text is damaged, and would be stored in memory several
/// times.
const LONGEST: usize = 4096;

pub fn decode(bytes: &[u8], encoding: &'static Encoding) -> Option<String> {
    let unit = if encoding == UTF_16LE { 2 } else { 1 };
    if bytes.len() > LONGEST * unit {
        return None;
    }
    encoding.decode_without_bom_handling_and_without_replacement(bytes).map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use encoding_rs::WINDOWS_1252;

    use super::*;

    #[test]
    fn beyond_the_end_there_is_nothing() {
        assert_eq!(u32_at(&[1, 0, 0, 0, 2], 0), Some(1));
        for at in [2, 5, 6, usize::MAX] {
            assert_eq!(u32_at(&[1, 0, 0, 0, 2], at), None);
            assert_eq!(terminated(b"abc\0", at.max(5), WINDOWS_1252), None);
            assert_eq!(terminated_unicode(b"a\0b\0\0\0", at.max(7)), None);
        }
    }

    #[test]
    fn text_without_an_end_is_none() {
        assert_eq!(terminated(b"C:\\x\0y", 3, WINDOWS_1252).as_deref(), Some("x"));
        assert_eq!(terminated(b"C:\\x", 0, WINDOWS_1252), None);
        assert_eq!(terminated_unicode(b"a\0b\0\0\0", 0).as_deref(), Some("ab"));
        assert_eq!(terminated_unicode(b"a\0b\0\0", 0), None);
        assert_eq!(unicode(b"\x00\xD8a\0"), None, "half of a pair");
    }
}
