//! Decodes text in any character set: decoding never panics, and no byte becomes more than one
//! character of three bytes.
//!
//! The input is a value of Specific Character Set, a line feed, and a text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pacs_index::dicom::charset::{Charset, Kind};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (term, text) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let charset = Charset::from_raw(term);
    for kind in [Kind::Name, Kind::Text] {
        let decoded = charset.decode(text, kind).text;
        assert!(decoded.len() <= 3 * text.len(), "{kind:?}: {} bytes became {}", text.len(), decoded.len());
    }
});
