//! Errors of a full disk, with the directory that could not be written to.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Whether the disk is full, or the quota of this user is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Adds the directory to an error if its disk is full. Other errors are unchanged.
pub fn named(directory: &Path, error: io::Error) -> io::Error {
    let is_named = error.get_ref().is_some_and(|inner| inner.is::<FullDisk>());
    match is_full(&error) && !is_named {
        true => io::Error::new(error.kind(), FullDisk { directory: shown(directory).to_owned(), error }),
        false => error,
    }
}

/// An error that names the directory.
#[derive(Debug)]
struct FullDisk {
    directory: PathBuf,
    error: io::Error,
}

impl fmt::Display for FullDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the disk of {} is full: {}", self.directory.display(), self.error)
    }
}

impl std::error::Error for FullDisk {}

/// Adds the directory that contains a file to an error, like [`named`].
pub fn named_by_file(file: &Path, error: io::Error) -> io::Error {
    named(file.parent().unwrap_or(Path::new("")), error)
}

fn shown(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() { Path::new(".") } else { directory }
}

/// Whether the disk of a directory has no free block. Needed for errors of libraries that hide the
/// error code of the system.
#[cfg(target_os = "linux")]
pub fn has_no_room(directory: &Path) -> bool {
    rustix::fs::statvfs(shown(directory)).is_ok_and(|disk| disk.f_blocks > 0 && disk.f_bavail == 0)
}

/// Returns the number of bytes that an unprivileged user can still write to the disk of a
/// directory, or `None` if the system does not report a size.
#[cfg(target_os = "linux")]
pub fn free(directory: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(shown(directory)).ok()?;
    (disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(target_os = "linux"))]
pub fn free(_: &Path) -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
pub fn has_no_room(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_full_disk_is_named_once_and_other_errors_are_unchanged() {
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        let named_once = named_by_file(Path::new("/mnt/state/log"), full);
        assert!(named_once.to_string().starts_with("the disk of /mnt/state is full: "), "{named_once}");
        let text = named_once.to_string();
        assert_eq!(named(Path::new("/"), named_once).to_string(), text);
        let quota = named(Path::new("x"), io::Error::from_raw_os_error(libc::EDQUOT));
        assert!(quota.to_string().starts_with("the disk of x is full: "), "{quota}");
        let denied = named(Path::new("/mnt"), io::Error::from_raw_os_error(libc::EACCES));
        assert!(!denied.to_string().contains("/mnt"));
        assert!(!has_no_room(Path::new("/proc")), "a file system without blocks is not full");
    }
}
