//! Containers, by their first bytes: instances may be within, which nothing here opens. They are content and no stubs,
//! and of any size.

use super::{File, Kind, Pointer};

pub fn recognise(file: &File) -> Option<Pointer> {
    let kind = match file.head {
        // RFC 1952: deflate is the only method, and three flags are reserved.
        [0x1F, 0x8B, 8, flags, ..] if flags & 0xE0 == 0 => Kind::GzipContainer,
        // With an entry, or empty.
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Kind::ZipContainer,
        head if head.get(257..262) == Some(b"ustar") => Kind::TarContainer,
        _ => return None,
    };
    Some(Pointer::opaque(kind))
}
