//! The block rule: a file of at least the minimum size that occupies no blocks has its data
//! elsewhere, or consists of one hole and contains no DICOM.
//!
//! One block counts as none: Lustre reports one block for a file that it has released, so that
//! tools do not treat the file as sparse. On ext4, btrfs, xfs, tmpfs and NTFS, real content of four
//! kilobytes or more occupies at least two blocks.

use std::fs::Metadata;

use super::{Confidence, Facts, Locality, Stub};

/// The minimum file size in bytes. The data of smaller files may be stored in their inode.
const LEAST_SIZE: u64 = 4096;

const MOST_BLOCKS: u64 = 1;

pub fn none(facts: &Facts) -> Option<Stub> {
    let blocks = facts.blocks.filter(|_| !facts.is_link && facts.size >= LEAST_SIZE)?;
    if blocks > MOST_BLOCKS {
        facts.mount.blocks_tell();
        return None;
    }
    if facts.is_below(&facts.declared.online) {
        return None;
    }
    facts.mount.without_blocks();
    let why = format!("{} bytes, {blocks} blocks of 512 bytes", facts.size);
    Some(Stub { confidence: Confidence::Heuristic, ..Stub::proven("file without blocks", Locality::Nearline, why) })
}

pub fn occupies_none(metadata: &Metadata) -> bool {
    metadata.len() >= LEAST_SIZE && of(metadata).is_some_and(|blocks| blocks <= MOST_BLOCKS)
}

#[cfg(unix)]
pub fn of(metadata: &Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::blocks(metadata))
}

#[cfg(not(unix))]
pub fn of(_: &Metadata) -> Option<u64> {
    None
}
