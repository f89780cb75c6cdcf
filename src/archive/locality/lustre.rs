//! Lustre with hierarchical storage. The state of a file is stored in `trusted.hsm`, which only
//! root may read: four bytes of compatibility data, then the flags, little endian. Without that
//! attribute, the block rule applies.

use super::{Facts, Locality, Stub};

const STATE: &str = "trusted.hsm";
const RELEASED: u32 = 0x4;
const LOST: u32 = 0x40;

pub fn state(facts: &Facts) -> Option<Stub> {
    if facts.is_link || facts.mount.file_system != "lustre" {
        return None;
    }
    let flags = match facts.mount.attribute(facts.path, STATE) {
        Ok(bytes) => u32::from_le_bytes(*bytes?.get(4..)?.first_chunk()?),
        Err(error) => return Some(Stub::unknown("file on Lustre", STATE, &error)),
    };
    let why = format!("its state is {flags:#x}");
    match (flags & LOST, flags & RELEASED) {
        (0, 0) => None,
        (0, _) => Some(Stub::proven("released by Lustre", Locality::Nearline, why)),
        _ => Some(Stub::proven("lost by Lustre's archive", Locality::Unavailable, why)),
    }
}
