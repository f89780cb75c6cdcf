//! The list of rejected files, and of other files that a person should look at: JSON Lines, one
//! file per line.
//!
//! A line has `what` (`rejected`, `unreadable`, `stub`, `duplicate`, `directory`, `conflict`,
//! `damaged`, `note`), the `path` of a file or the `uid` of a row, a stable `reason` code and a
//! `detail` in words. No line contains a value of a patient. A path that is not UTF-8 is written to
//! `path` with replacement characters, and to `path_hex` byte by byte.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::archive::Stub;
use crate::archive::skipped_directories::SkipReason;
use crate::error::{Error, Result};
use crate::full_disk;
use crate::new_file;

/// The number of lines of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListCounts {
    /// Lines that a person should look at.
    pub findings: u64,
    /// Lines of the kind `note`, and skipped directories: worth knowing, but no reason to act.
    pub notes: u64,
}

pub struct Listing {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// Not buffered, so that the lines of a killed run are in the file.
    out: File,
    lines: ListCounts,
    /// The first error. It is reported at the end: files are still worth indexing.
    failed: Option<io::Error>,
}

#[derive(Serialize)]
struct Line<'a> {
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    reason: &'a str,
    detail: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    stub: Option<StubLine<'a>>,
}

/// The additional fields of a stub.
#[derive(Serialize)]
struct StubLine<'a> {
    confidence: &'a str,
    locality: &'a str,
    /// Instance Availability (0008,0056).
    availability: &'a str,
    target: Option<&'a str>,
    claimed_size: Option<u64>,
}

impl Listing {
    /// Creates the file. An existing file is never overwritten, and a directory is only created for
    /// the default path.
    pub fn create(path: &Path, make_directory: bool) -> Result<Self> {
        let what = "the list of rejected files";
        let file = new_file::create(path, what, "--rejected", make_directory)?;
        let state = State { out: file, lines: ListCounts::default(), failed: None };
        Ok(Listing { path: path.to_path_buf(), state: Mutex::new(state) })
    }

    /// Returns the directory of the list.
    pub fn directory(&self) -> &Path {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    pub fn add(&self, what: &str, path: &Path, reason: &str, detail: &str) {
        self.write(&Line { what, uid: None, reason, detail, stub: None, ..Line::of(path) }, what == "note");
    }

    /// Lists a directory that no walk descends into.
    pub fn add_skipped_directory(&self, path: &Path, reason: &SkipReason) {
        let detail = format!("{reason}; not searched");
        self.write(&Line { what: "directory", reason: reason.code(), detail: &detail, ..Line::of(path) }, true);
    }

    /// Lists a stub that was not read. The reason code is the kind of the stub.
    pub fn add_stub(&self, path: &Path, stub: &Stub) {
        let told = StubLine {
            confidence: stub.confidence.name(),
            locality: stub.locality.name(),
            availability: stub.locality.availability(),
            target: stub.target.as_deref(),
            claimed_size: stub.claimed_size,
        };
        self.write(
            &Line { what: "stub", reason: stub.kind, detail: &stub.why, stub: Some(told), ..Line::of(path) },
            false,
        );
    }

    /// Lists a row by its UID.
    pub fn add_row(&self, what: &str, uid: &str, reason: &str, detail: &str) {
        self.write(
            &Line { what, path: None, path_hex: None, uid: Some(uid), reason, detail, stub: None },
            what == "note",
        );
    }

    fn write(&self, line: &Line<'_>, is_note: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let text = serde_json::to_string(line).map_err(io::Error::from);
        let written = text.and_then(|text| state.out.write_all((text + "\n").as_bytes()));
        let counter = if is_note { &mut state.lines.notes } else { &mut state.lines.findings };
        *counter += 1;
        if let Err(error) = written {
            state.failed.get_or_insert(full_disk::named_by_file(&self.path, error));
        }
    }

    /// Returns the path of the list and the number of its lines, or `None` if the list is empty.
    pub fn lines(&self) -> Option<(&Path, ListCounts)> {
        let lines = self.state.lock().unwrap_or_else(PoisonError::into_inner).lines;
        (lines != ListCounts::default()).then_some((self.path.as_path(), lines))
    }

    /// Fails if a line could not be written.
    pub fn check(&self) -> Result<()> {
        match self.state.lock().unwrap_or_else(PoisonError::into_inner).failed.take() {
            None => Ok(()),
            Some(error) => Err(Error::unfinished(
                format!("the list of rejected files is not complete: {}: {error}", self.path.display()),
                "The index was written. Make room, name another file with --rejected, and run the command again.",
            )),
        }
    }
}

impl Line<'_> {
    fn of(path: &Path) -> Self {
        let path_hex = path.to_str().is_none().then(|| hex(path));
        let path = Some(path.to_string_lossy().into_owned());
        Line { what: "", path, path_hex, uid: None, reason: "", detail: "", stub: None }
    }
}

impl Drop for Listing {
    /// Removes an empty list.
    fn drop(&mut self) {
        if self.lines().is_none() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
fn hex(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(not(unix))]
fn hex(path: &Path) -> String {
    path.as_os_str().as_encoded_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_never_overwritten_and_an_empty_list_is_not_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/rejected.jsonl");
        assert!(
            Listing::create(&path, false).is_err(),
            "the directory of a file that was named explicitly is not created"
        );
        drop(Listing::create(&path, true).unwrap());
        assert!(!path.exists());
        let listing = Listing::create(&path, false).unwrap();
        listing.add("rejected", Path::new("/a/b"), "not-dicom", "no DICOM");
        assert!(Listing::create(&path, false).is_err());
        assert_eq!(listing.lines(), Some((path.as_path(), ListCounts { findings: 1, notes: 0 })));
        listing.add_row("note", "1.2.3", "path-corrected", "");
        assert_eq!(listing.lines(), Some((path.as_path(), ListCounts { findings: 1, notes: 1 })));
        drop(listing);
        let line = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            line,
            "{\"what\":\"rejected\",\"path\":\"/a/b\",\"reason\":\"not-dicom\",\"detail\":\"no DICOM\"}\n\
             {\"what\":\"note\",\"uid\":\"1.2.3\",\"reason\":\"path-corrected\",\"detail\":\"\"}\n"
        );
    }
}
