//! NTFS on Linux. The file attributes are stored in `system.ntfs_attrib_be`, big endian. ntfs-3g
//! shows a reparse point that it does not know as a symbolic link whose text names it as
//! unsupported; naive tools treat such links as dangling and report losses.

use super::{Facts, Locality, Stub, dos};

const ATTRIBUTES: &str = "system.ntfs_attrib_be";
const REPARSE_DATA: &str = "system.ntfs_reparse_data";

pub fn attributes(facts: &Facts) -> Option<Stub> {
    if facts.is_link || !facts.mount.is_ntfs(|| facts.mount.attribute(facts.path, ATTRIBUTES)) {
        return None;
    }
    match facts.mount.attribute(facts.path, ATTRIBUTES) {
        Ok(bytes) => dos::tell(u32::from_be_bytes(bytes?.try_into().ok()?)),
        Err(error) => Some(Stub::unknown("file on NTFS", ATTRIBUTES, &error)),
    }
}

/// Queries links only: ntfs-3g shows a reparse point that it understands in its real form.
pub fn reparse_point(facts: &Facts) -> Option<Stub> {
    if !facts.is_link || !facts.mount.may_be_ntfs() {
        return None;
    }
    match facts.mount.attribute(facts.path, REPARSE_DATA) {
        Ok(bytes) => by_tag(u32::from_le_bytes(*bytes?.first_chunk()?)),
        Err(error) => Some(Stub::unknown("link on NTFS", REPARSE_DATA, &error)),
    }
}

/// Classifies a reparse tag (MS-FSCC 2.1.2.1).
fn by_tag(tag: u32) -> Option<Stub> {
    /// The first of sixteen tags, which differ in the bits `0xF000`.
    const CLOUD: u32 = 0x9000_001A;
    let kind = match tag {
        // Mount points and symbolic links of Windows, and symbolic links of its Linux subsystem:
        // real links.
        0xA000_0003 | 0xA000_000C | 0xA000_001D => return None,
        0xC000_0004 | 0x8000_0006 => "reparse point of hierarchical storage",
        0x8000_001E => "reparse point of file synchronisation",
        0x9000_001C => "projected file",
        0x8000_0021 => "reparse point of a cloud",
        _ if tag & !0xF000 == CLOUD => "reparse point of a cloud",
        // The data is local, but stored in a format that only Windows reads.
        0x8000_0007 | 0x8000_0013 | 0x8000_0017 => {
            let why = format!("reparse tag {tag:#010x}: its data is there, and can be read on Windows only");
            return Some(Stub::proven("deduplicated or compressed by Windows", Locality::Unavailable, why));
        }
        _ => "reparse point",
    };
    Some(Stub::proven(kind, Locality::Nearline, format!("reparse tag {tag:#010x}")))
}
