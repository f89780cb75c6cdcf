//! The list of rejected files, and of others that somebody should look at: JSON Lines, one file a line.
//!
//! A line has `what` (`rejected`, `unreadable`, `link`, `duplicate`, `directory`), `path`, a stable `reason` code and a
//! `detail` in words. No line holds a value of a patient. A path that is not UTF-8 stands in `path` with replacement
//! characters, and in `path_hex` byte by byte.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::error::{Error, Result};

pub struct Listing {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    out: BufWriter<File>,
    lines: u64,
    /// The first error. It is reported at the end: files are still worth indexing.
    failed: Option<io::Error>,
}

#[derive(Serialize)]
struct Line<'a> {
    what: &'a str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    reason: &'a str,
    detail: &'a str,
}

impl Listing {
    /// Creates the file. One that exists is never overwritten.
    pub fn create(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::usage(
                format!("the list of rejected files cannot be created: {}: {error}", path.display()),
                "Name a file that does not exist yet, in a directory that you may write to: --rejected FILE",
            )
        };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
        let state = State { out: BufWriter::new(file), lines: 0, failed: None };
        Ok(Listing { path: path.to_path_buf(), state: Mutex::new(state) })
    }

    pub fn add(&self, what: &str, path: &Path, reason: &str, detail: &str) {
        let path_hex = path.to_str().is_none().then(|| hex(path));
        let line = Line { what, path: path.to_string_lossy().into_owned(), path_hex, reason, detail };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let written = serde_json::to_writer(&mut state.out, &line).map_err(io::Error::from);
        let written = written.and_then(|()| state.out.write_all(b"\n"));
        state.lines += 1;
        if let Err(error) = written {
            state.failed.get_or_insert(error);
        }
    }

    /// Ends the list. Returns its path and length; an empty list is removed.
    pub fn finish(self) -> Result<Option<(PathBuf, u64)>> {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let flushed = state.out.flush();
        if let Some(error) = state.failed.or(flushed.err()) {
            return Err(Error::unfinished(
                format!("the list of rejected files is not complete: {}: {error}", self.path.display()),
                "The index was written. Make room, name another file with --rejected, and run the command again.",
            ));
        }
        if state.lines == 0 {
            let _ = std::fs::remove_file(&self.path);
            return Ok(None);
        }
        Ok(Some((self.path, state.lines)))
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
        assert_eq!(Listing::create(&path).unwrap().finish().unwrap(), None);
        assert!(!path.exists());
        let listing = Listing::create(&path).unwrap();
        listing.add("rejected", Path::new("/a/b"), "not-dicom", "no DICOM");
        assert!(Listing::create(&path).is_err());
        assert_eq!(listing.finish().unwrap(), Some((path.clone(), 1)));
        let line = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            line,
            "{\"what\":\"rejected\",\"path\":\"/a/b\",\"reason\":\"not-dicom\",\"detail\":\"no DICOM\"}\n"
        );
    }
}
