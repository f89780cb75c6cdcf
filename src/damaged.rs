//! Handles damaged files that the program keeps for itself: moves them aside, and never deletes
//! them, so that the run can start without them. A file that cannot be opened may be intact, and is
//! left unchanged.

#![allow(clippy::disallowed_methods, reason = "files of this program's own")]

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The maximum number of damaged files of the same name in a directory.
const MOST_KEPT: u32 = 1000;

/// The number of bytes at the beginning of a file that identify its format.
const HEAD: u64 = 64;

/// Renames a file or a directory to `NAME.damaged`, or `NAME.damaged-2` and so on if that name is
/// taken.
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

/// The condition of a file that the program keeps for itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Condition {
    /// The file begins as its format requires, or is missing, which is not damage.
    Usable,
    /// The file was wrong or not a regular file, and was moved aside. Contains a message.
    MovedAside(String),
    /// The file cannot be opened or read, and was left unchanged. Contains a message.
    Unreadable(String),
}

/// Moves a file aside if it was read and does not begin as its format requires, or if it is not a
/// regular file.
pub fn set_aside_unless(path: &Path, has_format: impl Fn(&[u8]) -> bool) -> io::Result<Condition> {
    match head(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(Condition::Usable),
        Err(error) if !is_symbolic_link(path) || !leads_nowhere(&error) => {
            Ok(Condition::Unreadable(unreadable(path, &error)))
        }
        Ok(Some(head)) if has_format(&head) => Ok(Condition::Usable),
        Ok(_) | Err(_) => set_aside(path).map(|aside| Condition::MovedAside(message(path, &aside))),
    }
}

fn is_symbolic_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
}

/// Whether a symlink has no target, or is part of a loop.
fn leads_nowhere(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::ELOOP) {
        return true;
    }
    error.kind() == ErrorKind::NotFound
}

/// Whether a file begins with the magic bytes of its format, or is shorter and contains a part of
/// these.
pub fn begins_with(head: &[u8], magic: &[u8]) -> bool {
    let length = head.len().min(magic.len());
    head[..length] == magic[..length]
}

pub fn message(path: &Path, aside: &Path) -> String {
    let aside = aside.file_name().unwrap_or_default().to_string_lossy();
    format!("{} was damaged; it was renamed to {aside}, and this run continues without it", path.display())
}

/// Returns a message about a file or directory that may be intact.
pub fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}

/// Extends the message of [`unreadable`] for a run that does not need the file.
pub fn continues_without(unreadable: &str) -> String {
    format!("{unreadable}; it was left unchanged, and this run continues without it")
}

/// Returns the first bytes of a regular file; `None` for a directory or a special file, which might
/// block.
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
            let condition = set_aside_unless(&path, |head| begins_with(head, b"magic")).unwrap();
            let Condition::MovedAside(message) = condition else { panic!("{condition:?}") };
            assert!(message.contains("log was damaged") && message.contains("log.damaged"), "{message}");
        }
        for (name, n) in [("log.damaged", 1), ("log.damaged-2", 2), ("log.damaged-3", 3)] {
            assert_eq!(std::fs::read_to_string(directory.path().join(name)).unwrap(), format!("damage {n}"));
        }
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn only_what_is_wrong_is_moved_and_not_what_cannot_be_opened() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        symlink("nowhere", path("dangling")).unwrap();
        symlink("loop", path("loop")).unwrap();
        for name in ["dangling", "loop"] {
            let condition = set_aside_unless(&path(name), |_| true).unwrap();
            assert!(matches!(condition, Condition::MovedAside(_)), "{name}");
        }
        // A path below a regular file cannot be resolved, not even by root.
        std::fs::write(path("file"), "x").unwrap();
        let below_file = path("file").join("log");
        assert!(matches!(set_aside_unless(&below_file, |_| true).unwrap(), Condition::Unreadable(_)));
    }

    #[test]
    fn a_file_that_is_missing_empty_or_short_is_not_moved() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let moved = || set_aside_unless(&path, |head| begins_with(head, b"magic")).unwrap();
        assert_eq!(moved(), Condition::Usable);
        for text in ["", "mag", "magic and more"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(moved(), Condition::Usable, "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(moved(), Condition::MovedAside(_)));
    }
}
