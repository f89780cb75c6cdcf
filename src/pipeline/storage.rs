//! A storage unit that goes away in mid-run looks like an archive whose files have all been deleted. When nothing below
//! a root can be read any more, the root is looked at: one that is gone ends the run.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::archive::Roots;
use crate::error::Error;

/// As many failures in a row may be files that the PACS has deleted.
const IN_A_ROW: u32 = 16;

pub struct Storage {
    roots: Vec<Root>,
    lost: Mutex<Option<String>>,
}

struct Root {
    path: PathBuf,
    mark: Option<Mark>,
    failures: AtomicU32,
}

/// What tells a directory from another in its place: the one that a mount had covered.
type Mark = (u64, u64);

impl Storage {
    pub fn of(roots: &Roots) -> Self {
        let root = |path: &PathBuf| Root { path: path.clone(), mark: mark(path).ok(), failures: AtomicU32::new(0) };
        Storage { roots: roots.paths().iter().map(root).collect(), lost: Mutex::default() }
    }

    /// Something below a root could be read.
    pub fn answers(&self, root: usize) {
        // Many threads say so all the time.
        if self.roots[root].failures.load(Relaxed) != 0 {
            self.roots[root].failures.store(0, Relaxed);
        }
    }

    /// Something could not be read. Returns whether its root is gone.
    pub fn fails(&self, root: usize, error: &io::Error) -> bool {
        let failing = &self.roots[root];
        if !may_be_gone(error) || failing.failures.fetch_add(1, Relaxed) + 1 < IN_A_ROW {
            return false;
        }
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.is_none() {
            *lost = failing.why_gone().map(|why| format!("{} {why}", failing.path.display()));
        }
        lost.is_some()
    }

    /// The root that is gone, as what ends the run.
    pub fn lost(&self) -> Option<Error> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Error::unfinished(
            format!("the archive has gone: {lost}"),
            "Is it still mounted? What was read by then is indexed. When it is back, run the same command again: it goes \
             on from there.",
        ))
    }
}

impl Root {
    fn why_gone(&self) -> Option<String> {
        match (mark(&self.path), std::fs::read_dir(&self.path).map(|mut entries| entries.next())) {
            (Err(error), _) | (_, Err(error) | Ok(Some(Err(error)))) => Some(format!("cannot be listed: {error}")),
            (Ok(_), Ok(None)) => Some("is empty now".into()),
            (Ok(mark), _) => self.mark.filter(|before| *before != mark).map(|_| "is another directory now".into()),
        }
    }
}

/// The path leads nowhere, or the unit behind it does not answer; not that access is denied.
fn may_be_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{NetworkDown, NotConnected, NotFound, StaleNetworkFileHandle, TimedOut};
    #[cfg(unix)]
    if matches!(error.raw_os_error(), Some(libc::EIO | libc::ENODEV | libc::EHOSTDOWN | libc::ENXIO)) {
        return true;
    }
    matches!(error.kind(), NotFound | StaleNetworkFileHandle | NotConnected | NetworkDown | TimedOut)
}

#[cfg(unix)]
fn mark(path: &std::path::Path) -> io::Result<Mark> {
    use std::os::unix::fs::MetadataExt;
    path.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn mark(path: &std::path::Path) -> io::Result<Mark> {
    path.metadata().map(|_| (0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> (tempfile::TempDir, Storage) {
        let site = tempfile::tempdir().unwrap();
        let root = site.path().join("archive");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("a file"), "x").unwrap();
        let storage = Storage::of(&Roots::check(&[root], false).unwrap());
        (site, storage)
    }

    /// Whether the root is taken for gone after so many failures in a row.
    fn after(storage: &Storage, failures: u32) -> bool {
        storage.answers(0);
        (0..failures).any(|_| storage.fails(0, &io::ErrorKind::NotFound.into()))
    }

    #[test]
    fn a_root_is_looked_at_after_some_failures_and_not_before() {
        let (site, storage) = archive();
        assert!(!after(&storage, 100), "it is there");
        std::fs::rename(site.path().join("archive"), site.path().join("elsewhere")).unwrap();
        assert!(!after(&storage, IN_A_ROW - 1));
        assert!((0..100).all(|_| !storage.fails(0, &io::ErrorKind::PermissionDenied.into())));
        assert!(after(&storage, IN_A_ROW));
        assert!(storage.lost().unwrap().to_string().contains("archive cannot be listed"));
    }

    #[test]
    fn an_empty_or_other_directory_in_place_of_a_root_is_not_the_root() {
        for (inside, told) in [(None, "is empty now"), (Some("lost+found"), "is another directory now")] {
            let (site, storage) = archive();
            std::fs::rename(site.path().join("archive"), site.path().join("elsewhere")).unwrap();
            std::fs::create_dir(site.path().join("archive")).unwrap();
            inside.iter().for_each(|name| std::fs::create_dir(site.path().join("archive").join(name)).unwrap());
            assert!(after(&storage, IN_A_ROW));
            assert!(storage.lost().unwrap().to_string().contains(told));
        }
    }
}
