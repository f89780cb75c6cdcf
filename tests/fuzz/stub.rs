//! Runs stub detection on arbitrary bytes: it never panics, a target is a valid file name, and a
//! file whose last byte was not read has no target.
//!
//! The input is a name, a line feed, and the file.

#![no_main]

use std::ffi::OsStr;

use libfuzzer_sys::fuzz_target;
use pacs_index::archive::stub::{Target, recognise};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (name, file) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let name = std::str::from_utf8(name).unwrap_or("1.2.840.1");
    // A seed is a file as stored in the archive, without a name before it.
    for (name, file) in [(name, file), ("1.2.840.1", bytes)] {
        let name = OsStr::new(name);
        let pointer = recognise(file, file.len() as u64, name);
        for target in pointer.iter().flat_map(|pointer| &pointer.targets) {
            let (Target::Path(text) | Target::Address(text) | Target::Key { key: text, .. }) = target;
            assert!(!text.is_empty() && !text.contains('\0') && text.len() <= 6 * file.len(), "{target:?}");
        }
        let cut = recognise(file, file.len() as u64 + 1, name);
        assert!(cut.is_none_or(|pointer| pointer.targets.is_empty()), "a file that was not read to its end");
    }
});
