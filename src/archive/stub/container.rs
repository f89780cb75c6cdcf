//! Containers, recognized by their first bytes. A container may hold instances, but nothing here
//! opens it. Containers are content rather than stubs, and may have any size.

use super::{File, Pointer};

pub fn recognise(file: &File) -> Option<Pointer> {
    let kind = match file.head {
        // RFC 1952: deflate is the only method, and three flags are reserved.
        [0x1F, 0x8B, 8, flags, ..] if flags & 0xE0 == 0 => "gzip file",
        // An archive with an entry, or an empty one.
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => "zip archive",
        head if head.get(257..262) == Some(b"ustar") => "tar archive",
        _ => return None,
    };
    Some(Pointer { is_container: true, ..Pointer::opaque(kind) })
}
