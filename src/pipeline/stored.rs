//! What the index asks the archive about files that its rows name.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::{FoundFile, Locator, PathMap, Roots, Standing};
use crate::dicom::{HeaderReader, Instance};
use crate::index::duplicates::Archive;
use crate::index::entry::StoredFile;

pub struct Stored {
    pub roots: Roots,
    pub path_map: PathMap,
    pub locator: Arc<Locator>,
}

impl Stored {
    /// The file of a path in the index, as it is called here, and the root that it lies below.
    fn below_a_root(&self, path: &str) -> Option<(PathBuf, usize)> {
        let file = self.path_map.from_index(path)?;
        let root = self.roots.paths().iter().position(|root| file.starts_with(root))?;
        Some((file, root))
    }
}

impl Archive for Stored {
    fn stored(&self, path: &str) -> Option<StoredFile> {
        let (file, root) = self.below_a_root(path)?;
        let modified = self.locator.look(&FoundFile::named(file.clone())).ok()?.state.modified();
        Some(StoredFile { path: file, modified: nanoseconds(modified), root })
    }

    fn is_named(&self, path: &str, file: &Path) -> bool {
        let Some(named) = self.path_map.from_index(path) else { return false };
        // Only what has the same name can be the same file by another way.
        named == file
            || (named.file_name() == file.file_name()
                && named.canonicalize().is_ok_and(|named| file.canonicalize().is_ok_and(|file| named == file)))
    }

    fn is_stale(&self, path: &str, sop_instance_uid: &str) -> bool {
        let Some((file, root)) = self.below_a_root(path) else { return false };
        let metadata = match std::fs::symlink_metadata(&file) {
            Ok(metadata) => metadata,
            // A root that is gone says nothing of what lay below.
            Err(error) => return error.kind() == std::io::ErrorKind::NotFound && self.roots.paths()[root].is_dir(),
        };
        // A link may lead to where this machine cannot look.
        if !metadata.is_file() || metadata.len() == 0 {
            return false;
        }
        // A stub stands for an instance that nobody has looked at.
        let file = FoundFile::named(file);
        let Ok(Standing::Readable(location)) = self.locator.look(&file).map(|seen| seen.standing) else { return false };
        let Ok(Some(open)) = location.open() else { return false };
        // What cannot be read is damage that somebody should see, not another instance. Nor is a defect of the reader.
        let read = catch_unwind(AssertUnwindSafe(|| HeaderReader::new().read(&open).and_then(Instance::from_header)));
        matches!(read, Ok(Ok(instance)) if instance.sop_instance_uid() != sop_instance_uid)
    }
}

/// The least number where nothing is known, so that such a file is never the newest.
pub fn nanoseconds(modified: Option<jiff::Timestamp>) -> i128 {
    modified.map_or(i128::MIN, jiff::Timestamp::as_nanosecond)
}
