//! The file attributes of Windows (MS-FSCC 2.6) that mark a file whose data is elsewhere. The rules
//! are the same for every source of the attributes.

use std::fs::Metadata;

use super::{Facts, Locality, Stub};

const REPARSE_POINT: u32 = 0x400;
const OFFLINE: u32 = 0x1000;
/// In other contexts, the same bit means that the file has extended attributes. It therefore counts
/// only together with one of the two flags above.
const RECALL_ON_OPEN: u32 = 0x4_0000;
const RECALL_ON_DATA_ACCESS: u32 = 0x40_0000;

pub fn tell(attributes: u32) -> Option<Stub> {
    let has = |bits: u32| attributes & bits != 0;
    let recalls = has(RECALL_ON_DATA_ACCESS) || has(RECALL_ON_OPEN) && has(REPARSE_POINT | OFFLINE);
    (has(OFFLINE) || recalls).then(|| {
        let why = format!("the attributes of the file are {attributes:#x}");
        Stub::proven("offline attribute of Windows", Locality::Nearline, why)
    })
}

pub fn on_windows(facts: &Facts) -> Option<Stub> {
    tell(facts.dos_attributes?)
}

#[cfg(windows)]
pub fn of(metadata: &Metadata) -> Option<u32> {
    Some(std::os::windows::fs::MetadataExt::file_attributes(metadata))
}

#[cfg(not(windows))]
pub fn of(_: &Metadata) -> Option<u32> {
    None
}
