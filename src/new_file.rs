//! Lists and undo files that a run creates. An existing file is never overwritten.

#![allow(clippy::disallowed_methods, reason = "files of this program's own")]

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::full_disk;

/// Creates a file that only its owner may read, since paths and values may identify patients. The
/// error contains `what` and `option`. The directory is created only if the path is the default.
pub fn create(path: &Path, what: &str, option: &str, is_default: bool) -> Result<File> {
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
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(failed)
}
