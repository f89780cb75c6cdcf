//! Notes that an archiving system leaves in the place of a file, for people to read. They name nothing, and mean that
//! the instance comes back only when somebody asks for it.

use super::{File, Pointer};

/// Commvault, where it replaces files with text: `<file>.cv-migrated.txt`, with whatever text its administrator chose.
const ENDING: &[u8] = b".cv-migrated.txt";

/// Its text, where nobody chose one.
const TEXT: &[u8] = b"This file has been archived by Commvault";

pub fn recognise(file: &File) -> Option<Pointer> {
    let bytes = file.whole()?;
    let is_named = file.name.as_encoded_bytes().to_ascii_lowercase().ends_with(ENDING);
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    (is_named || bytes.trim_ascii_start().starts_with(TEXT)).then(|| Pointer::opaque("note of an archiving system"))
}
