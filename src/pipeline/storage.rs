//! Detects that a storage unit goes away during a run, which looks as if all files were deleted.
//! Whenever something below a root cannot be read, the root is checked. If the root is gone, the
//! run ends, and the files that could not be read count as not reached.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::archive::Roots;
use crate::error::Error;

/// Delay before the second check of a root that seems to be gone, since a lost root ends the run.
const AFTER_A_MOMENT: Duration = Duration::from_millis(500);

pub struct Storage {
    roots: Vec<Root>,
    lost: Mutex<Option<String>>,
}

struct Root {
    what: &'static str,
    path: PathBuf,
    mark: Option<Mark>,
}

/// Device and inode of a root. They differ if a mount is gone and the directory below it shows
/// through.
type Mark = (u64, u64);

impl Storage {
    /// Creates a monitor of roots, each with a word for its role.
    pub fn of<'r>(roots: impl IntoIterator<Item = (&'static str, &'r Roots)>) -> Self {
        let root = |what, path: &PathBuf| Root { what, path: path.clone(), mark: mark(path).ok() };
        let of_one = |(what, roots): (_, &'r Roots)| roots.paths().iter().map(move |path| root(what, path));
        Storage { roots: roots.into_iter().flat_map(of_one).collect(), lost: Mutex::default() }
    }

    /// Checks the root of a path that could not be read. Returns whether the root is gone.
    pub fn fails(&self, path: &Path, error: &io::Error) -> bool {
        let Some(failing) = self.roots.iter().find(|root| path.starts_with(&root.path)) else { return false };
        if !may_be_gone(error) || failing.why_gone().is_none() {
            return false;
        }
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.is_none() {
            thread::sleep(AFTER_A_MOMENT);
            *lost =
                failing.why_gone().map(|why| format!("{} has gone: {} {why}", failing.what, failing.path.display()));
        }
        lost.is_some()
    }

    /// Returns the error for the root that is gone, if any.
    pub fn lost(&self) -> Option<Error> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Error::unfinished(
            format!("the {lost}"),
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

/// Returns whether an error may mean that the root is gone: the path does not exist, or the storage
/// unit does not answer. An access error does not count.
fn may_be_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{NetworkDown, NotConnected, NotFound, StaleNetworkFileHandle, TimedOut};
    #[cfg(unix)]
    if matches!(error.raw_os_error(), Some(libc::EIO | libc::ENODEV | libc::EHOSTDOWN | libc::ENXIO)) {
        return true;
    }
    matches!(error.kind(), NotFound | StaleNetworkFileHandle | NotConnected | NetworkDown | TimedOut)
}

#[cfg(unix)]
fn mark(path: &Path) -> io::Result<Mark> {
    use std::os::unix::fs::MetadataExt;
    path.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn mark(path: &Path) -> io::Result<Mark> {
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
        let storage = Storage::of([("archive", &Roots::check(&[root], false).unwrap())]);
        (site, storage)
    }

    #[test]
    fn a_file_that_has_gone_is_no_root_that_has() {
        let (site, storage) = archive();
        let gone = || io::ErrorKind::NotFound.into();
        assert!(!storage.fails(&site.path().join("archive/1.2"), &gone()), "it is there");
        std::fs::rename(site.path().join("archive"), site.path().join("elsewhere")).unwrap();
        assert!(!storage.fails(&site.path().join("archive/1.2"), &io::ErrorKind::PermissionDenied.into()));
        assert!(storage.fails(&site.path().join("archive/1.2"), &gone()));
        assert!(storage.lost().unwrap().to_string().contains("archive cannot be listed"));
    }

    #[test]
    fn a_root_that_is_back_after_a_moment_is_not_gone() {
        let (site, storage) = archive();
        let (archive, elsewhere) = (site.path().join("archive"), site.path().join("elsewhere"));
        std::fs::rename(&archive, &elsewhere).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(AFTER_A_MOMENT / 5);
                std::fs::rename(&elsewhere, &archive).unwrap();
            });
            assert!(!storage.fails(&site.path().join("archive/1.2"), &io::ErrorKind::NotFound.into()));
        });
        assert!(storage.lost().is_none());
    }

    #[test]
    fn an_empty_or_other_directory_in_place_of_a_root_is_not_the_root() {
        for (inside, told) in [(None, "is empty now"), (Some("lost+found"), "is another directory now")] {
            let (site, storage) = archive();
            std::fs::rename(site.path().join("archive"), site.path().join("elsewhere")).unwrap();
            std::fs::create_dir(site.path().join("archive")).unwrap();
            inside.iter().for_each(|name| std::fs::create_dir(site.path().join("archive").join(name)).unwrap());
            assert!(storage.fails(&site.path().join("archive/1.2"), &io::ErrorKind::NotFound.into()));
            assert!(storage.lost().unwrap().to_string().contains(told));
        }
    }
}
