//! Notes that an archiving system leaves in the place of a file for people to read. A note names no
//! target: the instance comes back only when a user requests it.

use super::{File, Pointer};

/// The extension that Commvault uses when it replaces files with text: `<file>.cv-migrated.txt`.
/// The administrator may choose any text.
const ENDING: &[u8] = b".cv-migrated.txt";

/// The text that Commvault writes by default.
const TEXT: &[u8] = b"This file has been archived by Commvault";

pub fn recognise(file: &File) -> Option<Pointer> {
    let bytes = file.whole()?;
    let is_named = file.name.as_encoded_bytes().to_ascii_lowercase().ends_with(ENDING);
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    (is_named || bytes.trim_ascii_start().starts_with(TEXT)).then(|| Pointer::opaque("note of an archiving system"))
}
