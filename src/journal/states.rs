//! What is known of each file, by its path: as what it was read, what became of it, and where its record lies.
//!
//! States are of one size, and sorted by the hashes of directory and name, so that the files of a directory stand
//! together. That a file has a row is known by a hash of UIDs and of the path in the row, which the rows of the index
//! are hashed to as well.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::archive::FileState;

/// Sixteen bytes of directory and name, eight of the place of the record, its number in the block, what became of the
/// file, size, time, and the hash of the row.
pub const SIZE: usize = 16 + 8 + 2 + 1 + 8 + 8 + 8;

/// The bytes that tell of which file a state is.
pub const KEY: usize = 16;

/// What is kept with the table of states.
#[derive(Clone, Copy)]
pub enum Noted {
    /// Of which log it is.
    Log,
    /// Up to where in the log.
    Covered,
    /// Where the last run ends that settled everything, as far as was known.
    Settled,
    Distrusted,
    /// The settings of the last run.
    Settings,
    /// How many states the log has, superseded ones among them.
    Appended,
}

/// What became of a file, as far as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is no instance, or has no row.
    NoRow,
    Inserted,
    Updated,
    Unchanged,
    /// The row of its instance names another file.
    Duplicate,
    /// The row named another file before.
    Won,
    /// The row is linked to another series than the file's, which each run tells.
    LinkDiffers,
}

const FATES: [Fate; 7] =
    [Fate::NoRow, Fate::Inserted, Fate::Updated, Fate::Unchanged, Fate::Duplicate, Fate::Won, Fate::LinkDiffers];

/// Beside the fate.
const LEADS_ON: u8 = 0x80;
const IS_OWN: u8 = 0x40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub key: [u8; KEY],
    /// Where the block of its record lies in the log, and which record in there it is.
    pub at: u64,
    pub member: u16,
    pub fate: Fate,
    /// A link or a pointer: its bytes are elsewhere, as its record tells.
    pub leads_on: bool,
    /// This program inserted the row of the instance for this file, or pointed a row of its own to the file.
    pub is_own: bool,
    pub file: FileState,
    /// As the function of that name makes it.
    pub row: u64,
}

impl State {
    /// Whether the row that this program inserted or pointed to the file still named the file when the state was recorded.
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
        // The later state of a file is the greater.
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

/// Of which file a state is.
pub fn key(path: &Path) -> [u8; KEY] {
    let hash = |part: Option<&std::ffi::OsStr>| xxh3_64(part.unwrap_or_default().as_encoded_bytes()).to_be_bytes();
    let mut key = [0; KEY];
    key[..8].copy_from_slice(&hash(path.parent().map(Path::as_os_str)));
    key[8..].copy_from_slice(&hash(path.file_name()));
    key
}

/// That the row of an instance names a file, and that it is linked to these rows. A PACS may write `\` for `/`.
pub fn row(uids: [&str; 3], path: &str) -> u64 {
    let mut bytes = Vec::with_capacity(256);
    for uid in uids {
        bytes.extend(uid.bytes());
        bytes.push(0);
    }
    bytes.extend(path.bytes().map(|byte| if byte == b'\\' { b'/' } else { byte }));
    xxh3_64(&bytes)
}

/// That an instance has a row, whatever file that names.
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
