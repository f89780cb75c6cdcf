//! What the index asks the archive about files that its rows name.

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

    /// The file of a path in the index, as it is called here, and the root that it lies below, or the directory that
    /// pointers may lead to.
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

    /// The file of a path in the index below a root that this run does not walk, and a number behind those of all roots.
    fn below_another_root(&self, path: &str) -> Option<(PathBuf, usize)> {
        let file = self.naming.path_map.from_index(path)?;
        file.is_file().then_some((file, usize::MAX))
    }

    /// Whether the root of a file is.
    fn is_there(&self, file: &Path) -> bool {
        let has_entries = |root: &Path| std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
        self.locator.place(file).is_some_and(|(_, root)| has_entries(root))
    }
}

impl Archive for Stored {
    fn stored(&self, path: &str) -> Option<StoredFile> {
        let (file, root) = self.below_a_root(path).or_else(|| self.below_another_root(path))?;
        // No run looks there: the file is no candidate.
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
        // Only what has the same name can be the same file by another way, unless one is a link.
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
        // No run looks there again: what lies in a snapshot or a recycle bin goes with it.
        if self.locator.skip_reason(&file).is_some() {
            return true;
        }
        let metadata = match std::fs::symlink_metadata(&file) {
            Ok(metadata) => metadata,
            // A root that is gone says nothing of what lay below.
            Err(error) => return error.kind() == std::io::ErrorKind::NotFound && self.is_there(&file),
        };
        // A link may lead to where this machine cannot look.
        if !metadata.is_file() || metadata.len() == 0 {
            return false;
        }
        // A stub stands for an instance that nobody has looked at.
        let file = FoundFile::named(file);
        let Ok(Standing::Readable(location)) = self.locator.look(&file).map(|seen| seen.standing) else { return false };
        let Ok(Some(open)) = location.open() else { return false };
        // What cannot be read is damage that somebody should see, not another instance.
        read_instance(&open).is_some_and(|instance| instance.sop_instance_uid() != sop_instance_uid)
    }
}

/// A defect of the reader counts as a file that cannot be read.
fn read_instance(open: &OpenFile) -> Option<Instance> {
    catch_unwind(AssertUnwindSafe(|| HeaderReader::new().read(open).and_then(Instance::from_header))).ok()?.ok()
}

/// Whether a file ends before its data do. A file for which the reader fails counts as complete.
fn is_cut_off(open: &OpenFile) -> bool {
    catch_unwind(AssertUnwindSafe(|| HeaderReader::new().is_cut_off(open))).unwrap_or(false)
}

/// The least number where nothing is known, so that such a file is never the newest.
pub fn nanoseconds(modified: Option<jiff::Timestamp>) -> i128 {
    modified.map_or(i128::MIN, jiff::Timestamp::as_nanosecond)
}
