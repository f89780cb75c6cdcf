//! The state of each file, by its path: size and mtime when the file was read, the outcome, and the
//! offset of its record.
//!
//! States have a fixed size and are sorted by the hashes of directory and name, so that the files
//! of a directory are adjacent. A state identifies the row of a file by a hash of the UIDs and of
//! the path in the row. The rows of the index are hashed in the same way, to find out whether the
//! row exists.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::archive::FileState;

/// The size of a state in bytes: the key, the offset of the block, the position of the record in
/// the block, the outcome, size, mtime, and the hash of the row.
pub const SIZE: usize = 16 + 8 + 2 + 1 + 8 + 8 + 8;

/// The size in bytes of the key that identifies the file of a state.
pub const KEY: usize = 16;

/// Positions in the metadata of the table of states.
#[derive(Clone, Copy)]
pub enum Noted {
    /// The ID of the log that the table belongs to.
    Log,
    /// The offset up to which the table covers the log.
    Covered,
    /// The offset from which on the next run needs the frames: all runs that ended before it have
    /// finalized their rows.
    Settled,
    Distrusted,
    /// The settings of the last run.
    Settings,
    /// The number of states in the log, including superseded ones.
    Appended,
}

/// The outcome of a file, as far as later runs can rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The file contains no instance, or has no row.
    NoRow,
    Inserted,
    Updated,
    Unchanged,
    /// The row of its instance names another file.
    Duplicate,
    /// The row named another file before.
    Won,
    /// The row is linked to another series than that of the file, which each run reports.
    LinkDiffers,
}

const FATES: [Fate; 7] =
    [Fate::NoRow, Fate::Inserted, Fate::Updated, Fate::Unchanged, Fate::Duplicate, Fate::Won, Fate::LinkDiffers];

/// Flags in the byte of the fate.
const LEADS_ON: u8 = 0x80;
const IS_OWN: u8 = 0x40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub key: [u8; KEY],
    /// The offset of the block that contains the record, and the position of the record in the
    /// block.
    pub at: u64,
    pub member: u16,
    pub fate: Fate,
    /// Whether the file is a link or a pointer. The record contains its target.
    pub leads_on: bool,
    /// Whether this program inserted the row of the instance for this file, or pointed one of its
    /// own rows to the file.
    pub is_own: bool,
    pub file: FileState,
    /// The result of `row`.
    pub row: u64,
}

impl State {
    /// Returns whether the row that this program inserted or pointed to the file still named the
    /// file when the state was recorded.
    pub fn has_own_row(&self) -> bool {
        self.is_own && self.fate != Fate::Duplicate
    }

    pub fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        put(&self.key);
        // The offset comes first, so that the later of two states of a file sorts last.
        put(&self.at.to_be_bytes());
        put(&self.member.to_be_bytes());
        let flags = [(self.leads_on, LEADS_ON), (self.is_own, IS_OWN)];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag);
        put(&[self.fate as u8 | flags]);
        put(&self.file.size.to_be_bytes());
        put(&self.file.modified.to_be_bytes());
        put(&self.row.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; SIZE]) -> Self {
        let eight = |at: usize| -> [u8; 8] { bytes[at..at + 8].try_into().expect("eight bytes") };
        State {
            key: bytes[..KEY].try_into().expect("sixteen bytes"),
            at: u64::from_be_bytes(eight(16)),
            member: u16::from_be_bytes([bytes[24], bytes[25]]),
            fate: FATES.into_iter().find(|fate| *fate as u8 == bytes[26] & !(LEADS_ON | IS_OWN)).unwrap_or(Fate::NoRow),
            leads_on: bytes[26] & LEADS_ON != 0,
            is_own: bytes[26] & IS_OWN != 0,
            file: FileState { size: u64::from_be_bytes(eight(27)), modified: i64::from_be_bytes(eight(35)) },
            row: u64::from_be_bytes(eight(43)),
        }
    }
}

/// Returns the key of the state of a file: the hashes of its directory and of its name.
pub fn key(path: &Path) -> [u8; KEY] {
    let hash = |part: Option<&std::ffi::OsStr>| xxh3_64(part.unwrap_or_default().as_encoded_bytes()).to_be_bytes();
    let mut key = [0; KEY];
    key[..8].copy_from_slice(&hash(path.parent().map(Path::as_os_str)));
    key[8..].copy_from_slice(&hash(path.file_name()));
    key
}

/// Returns a hash of the UIDs of an instance, its series and its study, and of the path in its row.
/// `\` hashes like `/`, because a PACS may write either.
pub fn row(uids: [&str; 3], path: &str) -> u64 {
    let mut bytes = Vec::with_capacity(256);
    for uid in uids {
        bytes.extend(uid.bytes());
        bytes.push(0);
    }
    bytes.extend(path.bytes().map(|byte| if byte == b'\\' { b'/' } else { byte }));
    xxh3_64(&bytes)
}

/// Returns the hash that records that an instance has a row, regardless of the file that the row
/// names.
pub fn instance(sop_instance_uid: &str) -> u64 {
    xxh3_64(sop_instance_uid.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_as_it_was() {
        for fate in FATES {
            let file = FileState { size: u64::MAX, modified: i64::MIN };
            for leads_on in [false, true] {
                let state = State {
                    key: key(Path::new("/a/b")),
                    at: 7 << 40,
                    member: 63,
                    fate,
                    leads_on,
                    is_own: !leads_on,
                    file,
                    row: 5,
                };
                assert_eq!(State::decode(&state.encode()), state);
            }
        }
    }

    #[test]
    fn files_of_a_directory_stand_together() {
        let [a, b, c] = ["/a/x", "/a/y", "/b/x"].map(|path| key(Path::new(path)));
        assert!(a[..8] == b[..8] && a[8..] != b[8..] && a[..8] != c[..8] && a[8..] == c[8..]);
        let uids = ["1.2.3.4", "1.2.3", "1.2"];
        assert_eq!(row(uids, "D:/a/x"), row(uids, "D:\\a\\x"));
        assert_ne!(row(uids, "D:/a/x"), row(uids, "D:/a/y"));
        assert_ne!(row(uids, "D:/a/x"), row(["1.2.3.4", "1.2.3", "1.3"], "D:/a/x"));
    }
}
