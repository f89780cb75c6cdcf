//! Aliases of macOS: a bookmark in the data fork. An alias names volumes and nodes of the machine
//! that created it, in a format that is not published, so aliases are recognized but not resolved.

use super::{File, Pointer};

pub fn recognise(file: &File) -> Option<Pointer> {
    let bytes = file.whole()?;
    let is_alias = bytes.starts_with(b"book") && bytes.get(8..12) == Some(b"mark");
    is_alias.then(|| Pointer::opaque("macOS alias"))
}
