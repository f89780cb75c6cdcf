//! Provides the index with facts about the files that its rows name.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::{FoundFile, Locator, Naming, OpenFile, Roots, Standing};
use crate::dicom::{Completeness, HeaderReader, Instance};
use crate::index::entry::StoredFile;
use crate::merge::duplicates::Archive;

pub struct Stored {
    pub roots: Roots,
    naming: Naming,
    pub locator: Arc<Locator>,
}

impl Stored {
    pub fn new(roots: Roots, naming: Naming, locator: Arc<Locator>) -> Self {
        Stored { roots, naming, locator }
    }

    /// Returns the local path of a path in the index, and the position of the root, or of the
    /// directory that pointers may point to, that contains it.
    fn below_a_root(&self, path: &str) -> Option<(PathBuf, usize)> {
        let file = self.naming.path_map.from_index(path)?;
        let (root, _) = self.locator.place(&file)?;
        Some((file, root))
    }
}

impl Stored {
    /// Opens the file of a path in the index, if it is online.
    fn open(&self, path: &str) -> Option<OpenFile> {
        let (file, _) = self.below_a_root(path)?;
        let file = FoundFile::named(file);
        let Standing::Readable(location) = self.locator.look(&file).ok()?.standing else { return None };
        location.open().ok()?
    }

    /// Returns the file of a path in the index below a root that this run does not walk, with a
    /// position after those of all roots.
    fn below_another_root(&self, path: &str) -> Option<(PathBuf, usize)> {
        let file = self.naming.path_map.from_index(path)?;
        file.is_file().then_some((file, usize::MAX))
    }

    /// Returns whether the root of a file exists and is not empty.
    fn is_there(&self, file: &Path) -> bool {
        let has_entries = |root: &Path| std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
        self.locator.place(file).is_some_and(|(_, root)| has_entries(root))
    }
}

impl Archive for Stored {
    fn stored(&self, path: &str) -> Option<StoredFile> {
        let (file, root) = self.below_a_root(path).or_else(|| self.below_another_root(path))?;
        // No run looks there, so the file is not a candidate.
        if self.locator.skip_reason(&file).is_some() {
            return None;
        }
        let state = self.locator.look(&FoundFile::named(file.clone())).ok()?.state;
        Some(StoredFile { path: file, modified: nanoseconds(state.modified()), size: state.size, root })
    }

    fn instance(&self, path: &str) -> Option<Instance> {
        read_instance(&self.open(path)?)
    }

    fn is_complete(&self, path: &str) -> bool {
        let Some(open) = self.open(path) else { return true };
        match read_instance(&open).map(|instance| instance.completeness(open.state.size)) {
            Some(Completeness::Incomplete) => false,
            Some(Completeness::Undetermined) => !is_cut_off(&open),
            Some(Completeness::Complete) | None => true,
        }
    }

    fn local_path(&self, path: &str) -> Option<PathBuf> {
        self.naming.path_map.from_index(path)
    }

    fn are_one(&self, path: &str, other: &str) -> bool {
        let [Some(file), Some(other)] = [path, other].map(|path| self.naming.path_map.from_index(path)) else {
            return false;
        };
        // Only files with the same name can be the same file reached by different paths, unless one
        // is a link.
        let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        file == other
            || (file.file_name() == other.file_name() || is_link(&file) || is_link(&other))
                && file.canonicalize().is_ok_and(|file| other.canonicalize().is_ok_and(|other| file == other))
    }

    fn is_unmapped(&self, path: &str, mapped: &str) -> bool {
        self.naming.is_mapped(mapped) && !self.naming.is_of_the_pacs(path)
    }

    fn differs_by_directory(&self, path: &str, mapped: &str) -> bool {
        self.naming.differs_by_directory(path, mapped)
    }

    fn is_stale(&self, path: &str, sop_instance_uid: &str) -> bool {
        let Some((file, _)) = self.below_a_root(path) else { return false };
        // No run looks there again: a file in a snapshot or a recycle bin is deleted together with
        // it.
        if self.locator.skip_reason(&file).is_some() {
            return true;
        }
        let metadata = match std::fs::symlink_metadata(&file) {
            Ok(metadata) => metadata,
            // If the root is gone, its files may still exist.
            Err(error) => return error.kind() == std::io::ErrorKind::NotFound && self.is_there(&file),
        };
        // A link may point to a place that this machine cannot reach.
        if !metadata.is_file() || metadata.len() == 0 {
            return false;
        }
        // The instance that a stub represents was not read.
        let file = FoundFile::named(file);
        let Ok(Standing::Readable(location)) = self.locator.look(&file).map(|seen| seen.standing) else { return false };
        let Ok(Some(open)) = location.open() else { return false };
        // A file that cannot be read is damaged, which must be reported; it is not another
        // instance.
        read_instance(&open).is_some_and(|instance| instance.sop_instance_uid() != sop_instance_uid)
    }
}

/// Reads the instance in a file. A panic of the reader counts as a file that cannot be read.
fn read_instance(open: &OpenFile) -> Option<Instance> {
    catch_unwind(AssertUnwindSafe(|| HeaderReader::new().read(open).and_then(Instance::from_header))).ok()?.ok()
}

/// Returns whether a file ends before its data do. A file for which the reader panics counts as
/// complete.
fn is_cut_off(open: &OpenFile) -> bool {
    catch_unwind(AssertUnwindSafe(|| HeaderReader::new().is_cut_off(open))).unwrap_or(false)
}

/// Returns an mtime in nanoseconds since 1970. An unknown mtime is the minimum, so that such a file
/// is never the newest.
pub fn nanoseconds(modified: Option<jiff::Timestamp>) -> i128 {
    modified.map_or(i128::MIN, jiff::Timestamp::as_nanosecond)
}
