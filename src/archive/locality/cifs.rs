//! The file attributes of Windows that the SMB client of Linux provides: in the byte order of the
//! machine, and without requesting file data.

use super::{Facts, Stub, dos};

const ATTRIBUTES: &str = "user.cifs.dosattrib";

pub fn attributes(facts: &Facts) -> Option<Stub> {
    if facts.is_link || !matches!(facts.mount.file_system.as_str(), "cifs" | "smb3") {
        return None;
    }
    match facts.mount.attribute(facts.path, ATTRIBUTES) {
        Ok(bytes) => dos::tell(u32::from_ne_bytes(bytes?.try_into().ok()?)),
        Err(error) => Some(Stub::unknown("file on SMB", ATTRIBUTES, &error)),
    }
}
