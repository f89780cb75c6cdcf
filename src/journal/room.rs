//! The disk space that a journal needs for a number of files.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Journal;
use crate::error::Error;
use crate::full_disk;
use crate::progress::text;

/// Bytes of the log and of its tables for each file, until the journal has an average of its own:
/// 228 were measured, and long headers need more.
const BYTES_A_FILE: u64 = 250;

/// The number of files from which on a journal uses its own average.
const ENOUGH: u64 = 10_000;

/// Bytes of the tables for each file. The former table remains on disk while a table is rebuilt.
const REBUILT_BYTES: u64 = 120;

/// The directory of a journal, and the size of its files.
pub struct Room {
    directory: PathBuf,
    /// The number of files with a record.
    known: u64,
    bytes_a_file: u64,
}

impl Room {
    /// Measures the disk space that a journal uses now.
    pub fn of(journal: &Journal) -> Self {
        let used = size_of_files(&journal.directory);
        let known = journal.known_files();
        let bytes_a_file = if known < ENOUGH { BYTES_A_FILE } else { used / known };
        Room { directory: journal.directory.clone(), known, bytes_a_file }
    }

    /// Returns the additional bytes that are needed for the records of a total number of files.
    /// Zero if no file is new.
    fn needed(&self, files: u64) -> u64 {
        match files.saturating_sub(self.known) {
            0 => 0,
            new => new.saturating_mul(self.bytes_a_file).saturating_add(files.saturating_mul(REBUILT_BYTES)),
        }
    }

    /// Returns the bytes that may be written, or `None` if the system does not report this.
    fn available(&self) -> Option<u64> {
        full_disk::free(&self.directory)
    }

    /// Returns an error if the disk has no room for the records of a number of files.
    pub fn check(&self, files: u64) -> Result<(), Error> {
        let needed = self.needed(files);
        match self.available() {
            Some(available) if available < needed => Err(Error::unfinished(
                format!(
                    "the records of {} files need about {} in {}, whose disk has {}",
                    text::count(files),
                    text::bytes(needed),
                    self.directory.display(),
                    text::bytes(available)
                ),
                "Make room there, or name another directory with --state; then run the same command again: it continues from \
                 there.",
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a_file = self.bytes_a_file + REBUILT_BYTES;
        write!(f, "the records need about {a_file} bytes for each new file")?;
        if let Some(available) = self.available() {
            let (files, available) = (text::count(available / a_file.max(1)), text::bytes(available));
            write!(f, ": {} has room for {available}, enough for {files} files", self.directory.display())?;
        }
        Ok(())
    }
}

fn size_of_files(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(|file| file.is_file()).map(|file| file.len()).sum()
}
