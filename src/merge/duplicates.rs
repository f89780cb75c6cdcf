//! One SOP Instance UID in several files: which of them the row describes.
//!
//! A complete file is better than one that was cut off, whichever is newer. Among others the user's choice decides, then the
//! path. Files of an instance are decided about as they come: the row always describes the best of the files that were seen, so
//! that in the end it describes the best of all, whatever the order of the files.

use std::cmp::{Ordering, Reverse};
use std::path::PathBuf;
use std::sync::Arc;

use crate::dicom::{Completeness, Instance};
use crate::index::entry::{Entry, StoredFile};

/// Which of several files of an instance is the indexed one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// By the time of modification, then by the bytes of the path.
    #[default]
    Newest,
    Oldest,
    /// That below the root which was named first; below one root, the newest.
    FirstRoot,
}

/// A file of an instance that has several.
#[derive(Clone, Copy, Debug)]
pub struct Contender<'a> {
    pub file: &'a StoredFile,
    /// The path in the index.
    pub path: &'a str,
    /// Whether the file is not known to be cut off.
    pub is_complete: bool,
}

impl Choice {
    /// The better file is the greater.
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

/// How the files of an instance are compared.
#[derive(Clone)]
pub struct FileChoice {
    pub choice: Choice,
    pub archive: Arc<dyn Archive>,
}

impl FileChoice {
    /// The file of an entry. Reads the rest of the file if only that shows whether the file is complete.
    pub fn contender<'e>(&self, entry: &'e Entry) -> Contender<'e> {
        let is_complete = match entry.instance.completeness(entry.file.size) {
            Completeness::Complete => true,
            Completeness::Incomplete => false,
            Completeness::Undetermined => self.archive.is_complete(&entry.path),
        };
        Contender { file: &entry.file, path: &entry.path, is_complete }
    }

    /// Whether a path in the index is that of the file of an entry.
    pub fn is_named_by(&self, entry: &Entry, path: &str) -> bool {
        entry.path == path || self.archive.are_one(path, &entry.path)
    }

    /// Whether the file of an entry is better than another one of its instance, which has this path in the index.
    pub fn is_better(&self, entry: &Entry, stored: &StoredFile, path: &str) -> bool {
        let present = Contender { file: stored, path, is_complete: self.archive.is_complete(path) };
        entry.path != path && self.choice.compare(&self.contender(entry), &present).is_gt()
    }
}

/// What the index may ask the archive about files that rows name.
pub trait Archive: Send + Sync {
    /// The file of a path in the index, if it is there.
    fn stored(&self, path: &str) -> Option<StoredFile>;

    /// The path by which this system knows a path in the index, whether there is a file or not.
    fn local_path(&self, path: &str) -> Option<PathBuf>;

    /// The instance in the file of a path in the index, if the file is online and can be read.
    fn instance(&self, path: &str) -> Option<Instance>;

    /// Whether the file of a path in the index is not known to be cut off. Reads the header, and the rest if only that shows it. A
    /// file that cannot be read, or is not online, counts as complete.
    fn is_complete(&self, path: &str) -> bool;

    /// Whether two paths in the index name one file.
    fn are_one(&self, path: &str, other: &str) -> bool;

    /// Whether the PACS does not know a path in the index, although a path map gives a name to the file of `mapped`.
    fn is_unmapped(&self, path: &str, mapped: &str) -> bool;

    /// Whether a path in the index differs from a mapped one by its directory alone, which the PACS does not have.
    fn differs_by_directory(&self, path: &str, mapped: &str) -> bool;

    /// The path lies below a root that is there, is no stub, and there is no file or one of another instance.
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
