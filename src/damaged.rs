//! Files that the program keeps for itself and that turn out to be damaged: they are moved aside, never deleted, so that
//! the run can start anew without them.

#![allow(clippy::disallowed_methods, reason = "files of this program's own")]

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The maximum number of damaged files that are kept beside each other under one name.
const MOST_KEPT: u32 = 1000;

/// Bytes at the beginning of a file that identify its format.
const HEAD: u64 = 64;

/// Renames a file or a directory to `NAME.damaged`, or `NAME.damaged-2` and so on if that name is taken.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".damaged");
    for n in 1..=MOST_KEPT {
        let mut numbered = name.clone();
        if n > 1 {
            numbered.push(format!("-{n}"));
        }
        let aside = path.with_file_name(numbered);
        if aside.symlink_metadata().is_err() {
            return std::fs::rename(path, &aside).map(|()| aside);
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Moves a file aside unless it can be read and begins as its format requires. Returns a message about a file that was
/// moved. A missing file is not damage.
pub fn set_aside_unless(path: &Path, has_format: impl Fn(&[u8]) -> bool) -> io::Result<Option<String>> {
    match head(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(None),
        Ok(Some(head)) if has_format(&head) => Ok(None),
        _ => set_aside(path).map(|aside| Some(message(path, &aside))),
    }
}

/// Whether a file begins with the magic bytes of its format, or ends within these.
pub fn begins_with(head: &[u8], magic: &[u8]) -> bool {
    let length = head.len().min(magic.len());
    head[..length] == magic[..length]
}

pub fn message(path: &Path, aside: &Path) -> String {
    let aside = aside.file_name().unwrap_or_default().to_string_lossy();
    format!("{} was damaged; it was renamed to {aside}, and this run continues without it", path.display())
}

/// The first bytes of a regular file; `None` for a directory or a special file, which might block.
pub fn head(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    let mut head = Vec::new();
    File::options().read(true).write(true).open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_damaged_file_is_kept_beside_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for n in 1..=3 {
            std::fs::write(&path, format!("damage {n}")).unwrap();
            let message = set_aside_unless(&path, |head| begins_with(head, b"magic")).unwrap().unwrap();
            assert!(message.contains("log was damaged") && message.contains("log.damaged"), "{message}");
        }
        for (name, n) in [("log.damaged", 1), ("log.damaged-2", 2), ("log.damaged-3", 3)] {
            assert_eq!(std::fs::read_to_string(directory.path().join(name)).unwrap(), format!("damage {n}"));
        }
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_missing_empty_or_short_is_not_moved() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let moved = || set_aside_unless(&path, |head| begins_with(head, b"magic")).unwrap();
        assert_eq!(moved(), None);
        for text in ["", "mag", "magic and more"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(moved(), None, "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(moved().is_some());
    }
}
