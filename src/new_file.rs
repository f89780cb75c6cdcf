//! Files that a run makes for its user. One that exists is never overwritten.

#![allow(clippy::disallowed_methods, reason = "files of this program's own")]

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::full_disk;

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// As the user's umask says.
    Usual,
    /// It holds data of patients.
    Owner,
}

/// Creates the file. `what` and `option` are for the error; a directory is only made where nobody named the file.
pub fn create(path: &Path, what: &str, option: &str, is_default: bool, readers: Readers) -> Result<File> {
    let failed = |error: io::Error| {
        let error = full_disk::named_by_file(path, error);
        Error::usage(
            format!("{what} cannot be created: {}: {error}", path.display()),
            format!("Name a file that does not exist yet, in a directory that you may write to: {option} FILE"),
        )
    };
    if is_default && let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options.open(path).map_err(failed)
}
