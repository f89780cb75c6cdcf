//! The limits of an audit: directories that cannot be listed, with the number of rows that name
//! files below them, and directories that audits and runs skip.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::finding::{Finding, Severity};
use super::{poisoned, text};
use crate::archive::skipped_directories::{DirectoryKind, SkippedCounts};

/// The name of the finding for a directory and all rows below it.
pub const UNREADABLE_DIRECTORY: &str = "unreadable-directory";

#[derive(Debug, Default)]
pub struct Coverage {
    unreadable: Mutex<BTreeMap<PathBuf, Unreadable>>,
    skipped: Mutex<SkippedCounts>,
}

#[derive(Debug)]
struct Unreadable {
    why: String,
    is_directory: bool,
    /// The number of rows that are not compared because they name files below the directory.
    rows: u64,
}

impl Coverage {
    /// Records a directory that cannot be listed.
    pub fn add_unreadable(&self, directory: PathBuf, error: &io::Error) {
        let unreadable = Unreadable { why: error.to_string(), is_directory: true, rows: 0 };
        poisoned(&self.unreadable).entry(directory).or_insert(unreadable);
    }

    /// Records a directory entry that may be a file or a directory.
    pub fn add_unreadable_entry(&self, entry: PathBuf, error: &io::Error) {
        let unreadable = Unreadable { why: error.to_string(), is_directory: false, rows: 0 };
        poisoned(&self.unreadable).entry(entry).or_insert(unreadable);
    }

    pub fn add_skipped(&self, kind: DirectoryKind) {
        *poisoned(&self.skipped).entry(kind).or_default() += 1;
    }

    /// Adds the directories that a further walk could not list.
    pub fn add(&mut self, later: Coverage) {
        let own = self.unreadable.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (directory, unreadable) in later.unreadable.into_inner().unwrap_or_default() {
            own.entry(directory).or_insert(unreadable);
        }
    }

    /// Excludes the row of a file below an unreadable directory. Returns false if no unreadable
    /// directory contains the file.
    pub fn leave_out(&mut self, file: &Path) -> bool {
        let unreadable = self.unreadable.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if unreadable.is_empty() {
            return false;
        }
        match file.ancestors().find(|above| unreadable.contains_key(*above)) {
            Some(directory) => {
                unreadable.entry(directory.to_owned()).and_modify(|unreadable| unreadable.rows += 1);
                true
            }
            None => false,
        }
    }

    /// Returns the number of directories that cannot be listed, and the number of rows that are
    /// excluded because of these directories.
    pub fn unreadable(&self) -> (u64, u64) {
        let unreadable = poisoned(&self.unreadable);
        (unreadable.len() as u64, unreadable.values().map(|unreadable| unreadable.rows).sum())
    }

    pub fn skipped(&self) -> SkippedCounts {
        poisoned(&self.skipped).clone()
    }

    /// Returns a finding for each directory that cannot be listed.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |(path, Unreadable { why, is_directory, rows }): (&PathBuf, &Unreadable)| Finding {
            check: UNREADABLE_DIRECTORY,
            severity: Severity::Error,
            uid: None,
            path: Some(text(path)),
            detail: match is_directory {
                true => format!("{why}; {rows} rows that name files below are not compared"),
                false => format!("a file or directory whose kind cannot be read: {why}; {rows} rows are not compared"),
            },
            mend: None,
        };
        poisoned(&self.unreadable).iter().map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_below_an_unreadable_directory_are_left_out_and_counted() {
        let mut coverage = Coverage::default();
        assert!(!coverage.leave_out(Path::new("/a/b/1")));
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        coverage.add_unreadable("/a/b".into(), &denied());
        let left_out = ["/a/b/1", "/a/b/c/1", "/a/bb/1", "/a/1", "/b"].map(|path| coverage.leave_out(Path::new(path)));
        assert_eq!(left_out, [true, true, false, false, false]);
        let later = Coverage::default();
        later.add_unreadable("/a/b".into(), &denied());
        later.add_unreadable("/c".into(), &denied());
        coverage.add(later);
        assert_eq!(coverage.unreadable(), (2, 2));
        assert!(coverage.findings()[0].detail.ends_with("; 2 rows that name files below are not compared"));
        coverage.add_unreadable_entry("/d/entry".into(), &denied());
        assert!(coverage.leave_out(Path::new("/d/entry")) && coverage.leave_out(Path::new("/d/entry/1")));
        let detail = &coverage.findings()[2].detail;
        assert!(detail.starts_with("a file or directory") && detail.ends_with("; 2 rows are not compared"), "{detail}");
    }
}
