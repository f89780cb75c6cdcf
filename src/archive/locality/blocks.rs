//! The block rule: a file of some size that occupies no blocks has its bytes elsewhere, or is one hole and holds no DICOM.
//!
//! One block counts as none: Lustre says one of a file that it has released, so that tools do not take it for sparse.
//! Of real content, nothing on ext4, btrfs, xfs, tmpfs or NTFS occupies less than two from four kilobytes on.

use std::fs::Metadata;

use super::{Confidence, Facts, Locality, Stub};

/// Smaller files may lie in their inode.
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
