//! Detects files and directories that are new or have changed since a point in time, by the
//! timestamps that the storage unit keeps.

use std::fs::Metadata;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The resolution of file timestamps, which come from a coarse clock: two seconds on FAT, some
/// milliseconds elsewhere.
const MARGIN: Duration = Duration::from_secs(2);

/// A point in time from which changes count.
#[derive(Clone, Copy, Debug)]
pub struct Since(SystemTime);

/// The change of a directory since a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directory {
    AsBefore,
    Changed,
    Gone,
}

impl Since {
    pub fn now() -> Self {
        Since(SystemTime::now().checked_sub(MARGIN).unwrap_or(SystemTime::UNIX_EPOCH))
    }

    /// Whether a file or directory may have changed. Uses the ctime: moving a file keeps its mtime,
    /// but changes the ctime of its inode.
    #[cfg(unix)]
    pub fn has_changed(self, metadata: &Metadata) -> bool {
        use std::os::unix::fs::MetadataExt;
        let nanoseconds = Duration::from_nanos(metadata.ctime_nsec().unsigned_abs());
        let seconds = Duration::from_secs(metadata.ctime().max(0).unsigned_abs());
        SystemTime::UNIX_EPOCH + seconds + nanoseconds >= self.0
    }

    #[cfg(not(unix))]
    pub fn has_changed(self, metadata: &Metadata) -> bool {
        [metadata.modified(), metadata.created()].into_iter().flatten().any(|at| at >= self.0)
    }

    /// Classifies a directory. A directory whose timestamps cannot be read counts as changed.
    pub fn directory(self, path: &Path) -> Directory {
        match std::fs::metadata(path) {
            Ok(metadata) if self.has_changed(&metadata) => Directory::Changed,
            Ok(_) => Directory::AsBefore,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Directory::Gone,
            Err(_) => Directory::Changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::SkippedDirectories;
    use crate::archive::walk::{Found, Walk};
    use std::fs;

    #[test]
    fn a_walk_tells_files_that_came_since_and_no_others() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b/c")).unwrap();
        fs::create_dir_all(root.path().join("a/@Recycle")).unwrap();
        ["1", "a/1", "a/b/1", "a/b/c/1", "a/b/c/2", "a/@Recycle/1"]
            .iter()
            .for_each(|file| fs::write(root.path().join(file), "").unwrap());
        let count = |since: Since| {
            let found = std::sync::atomic::AtomicUsize::new(0);
            let sink = |what| {
                if let Found::Files(files) = what {
                    found.fetch_add(files.len(), std::sync::atomic::Ordering::Relaxed);
                }
                Ok(())
            };
            let skipped = SkippedDirectories::default();
            Walk::new(&[root.path().to_path_buf()], 2, &skipped).changed_since(since).run(&sink).unwrap();
            found.into_inner()
        };
        assert_eq!(count(Since::now()), 5);
        assert_eq!(count(Since(SystemTime::now() + MARGIN)), 0);
        assert_eq!(Since::now().directory(&root.path().join("a/gone")), Directory::Gone);
    }
}
