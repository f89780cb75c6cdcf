//! Several files with one SOP Instance UID: decides which of them the row describes.
//!
//! A complete file is better than a truncated one, whichever is newer. Otherwise the user's choice
//! decides, then the path. Files are compared in the order in which they are read, and the row
//! always describes the best file so far. In the end it describes the best of all files, whatever
//! their order.

use std::cmp::{Ordering, Reverse};
use std::path::PathBuf;
use std::sync::Arc;

use crate::dicom::{Completeness, Instance};
use crate::index::entry::{Entry, StoredFile};

/// The rule that chooses the indexed file among several files of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The file with the latest modification time; if the times are equal, the file whose path
    /// sorts last by its bytes.
    #[default]
    Newest,
    Oldest,
    /// The file below the root that was given first; below the same root, the newest file.
    FirstRoot,
}

/// A file of an instance that has several files.
#[derive(Clone, Copy, Debug)]
pub struct Contender<'a> {
    pub file: &'a StoredFile,
    /// The path in the index.
    pub path: &'a str,
    /// Whether the file is not known to be truncated.
    pub is_complete: bool,
}

impl Choice {
    /// Compares two files. The better file is the greater one.
    pub fn compare(self, a: &Contender<'_>, b: &Contender<'_>) -> Ordering {
        let newest = (a.file.modified, a.path).cmp(&(b.file.modified, b.path));
        let chosen = match self {
            Choice::Newest => newest,
            Choice::Oldest => newest.reverse(),
            Choice::FirstRoot => Reverse(a.file.root).cmp(&Reverse(b.file.root)).then(newest),
        };
        a.is_complete.cmp(&b.is_complete).then(chosen)
    }
}

/// The settings by which the files of an instance are compared.
#[derive(Clone)]
pub struct FileChoice {
    pub choice: Choice,
    pub archive: Arc<dyn Archive>,
}

impl FileChoice {
    /// Returns the file of an entry. Reads the rest of the file only if the completeness of the
    /// file cannot be determined otherwise.
    pub fn contender<'e>(&self, entry: &'e Entry) -> Contender<'e> {
        let is_complete = match entry.instance.completeness(entry.file.size) {
            Completeness::Complete => true,
            Completeness::Incomplete => false,
            Completeness::Undetermined => self.archive.is_complete(&entry.path),
        };
        Contender { file: &entry.file, path: &entry.path, is_complete }
    }

    /// Returns whether a path in the index is the path of the file of an entry.
    pub fn is_named_by(&self, entry: &Entry, path: &str) -> bool {
        entry.path == path || self.archive.are_one(path, &entry.path)
    }

    /// Returns whether the file of an entry is better than another file of the same instance, which
    /// has this path in the index.
    pub fn is_better(&self, entry: &Entry, stored: &StoredFile, path: &str) -> bool {
        let present = Contender { file: stored, path, is_complete: self.archive.is_complete(path) };
        entry.path != path && self.choice.compare(&self.contender(entry), &present).is_gt()
    }
}

/// Answers questions of the index about the files that rows name.
pub trait Archive: Send + Sync {
    /// Returns the file of a path in the index, if the file exists.
    fn stored(&self, path: &str) -> Option<StoredFile>;

    /// Returns the local path that corresponds to a path in the index, whether or not the file
    /// exists.
    fn local_path(&self, path: &str) -> Option<PathBuf>;

    /// Returns the instance in the file of a path in the index, if the file is online and readable.
    fn instance(&self, path: &str) -> Option<Instance>;

    /// Returns `false` if the file of a path in the index is known to be truncated. Reads the
    /// header of the file, and the rest only if necessary. A file that cannot be read or is not
    /// online counts as complete.
    fn is_complete(&self, path: &str) -> bool;

    /// Returns whether two paths in the index name the same file.
    fn are_one(&self, path: &str, other: &str) -> bool;

    /// Returns whether the PACS does not know a path in the index, although a path map gives a name
    /// to the file of `mapped`.
    fn is_unmapped(&self, path: &str, mapped: &str) -> bool;

    /// Returns whether a path in the index differs from a mapped path only by its directory, and
    /// the PACS does not have that directory.
    fn differs_by_directory(&self, path: &str, mapped: &str) -> bool;

    /// Returns whether a path in the index is stale. A path is stale if its root exists and the
    /// path is not a stub, but no file exists there or the file contains another instance.
    fn is_stale(&self, path: &str, sop_instance_uid: &str) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_does_not_depend_on_which_file_is_named_first() {
        let file = |modified, root| StoredFile { path: "x".into(), modified, size: 1, root };
        let (old, new) = (file(1, 0), file(2, 1));
        let of = |file, path| Contender { file, path, is_complete: true };
        let cases = [(Choice::Newest, &new), (Choice::Oldest, &old), (Choice::FirstRoot, &old)];
        for (choice, best) in cases {
            let order = choice.compare(&of(&old, "a"), &of(&new, "b"));
            assert_eq!(order, choice.compare(&of(&new, "b"), &of(&old, "a")).reverse());
            assert_eq!(if order == Ordering::Greater { &old } else { &new }, best, "{choice:?}");
            let cut = Contender { is_complete: false, ..of(best, "c") };
            assert_eq!(choice.compare(&cut, &of(&old, "a")), Ordering::Less, "{choice:?}");
        }
        assert_eq!(Choice::Newest.compare(&of(&old, "a"), &of(&old, "b")), Ordering::Less);
        assert_eq!(Choice::Oldest.compare(&of(&old, "a"), &of(&old, "b")), Ordering::Greater);
    }
}
