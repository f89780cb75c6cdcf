//! One SOP Instance UID in several files: which of them the row describes.
//!
//! Files of an instance are settled as they come. The row always describes the best of those that were seen, so that at
//! the end it describes the best of all, whatever order they came in.

use std::cmp::{Ordering, Reverse};
use std::path::PathBuf;

use super::entry::StoredFile;
use crate::dicom::Instance;

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

impl Choice {
    /// The better file is the greater.
    pub fn compare(self, (a, a_path): (&StoredFile, &str), (b, b_path): (&StoredFile, &str)) -> Ordering {
        let newest = (a.modified, a_path).cmp(&(b.modified, b_path));
        match self {
            Choice::Newest => newest,
            Choice::Oldest => newest.reverse(),
            Choice::FirstRoot => Reverse(a.root).cmp(&Reverse(b.root)).then(newest),
        }
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
        let file = |modified, root| StoredFile { path: "x".into(), modified, root };
        let (old, new) = (file(1, 0), file(2, 1));
        let cases = [(Choice::Newest, &new), (Choice::Oldest, &old), (Choice::FirstRoot, &old)];
        for (choice, best) in cases {
            let order = choice.compare((&old, "a"), (&new, "b"));
            assert_eq!(order, choice.compare((&new, "b"), (&old, "a")).reverse());
            assert_eq!(if order == Ordering::Greater { &old } else { &new }, best, "{choice:?}");
        }
        assert_eq!(Choice::Newest.compare((&old, "a"), (&old, "b")), Ordering::Less);
        assert_eq!(Choice::Oldest.compare((&old, "a"), (&old, "b")), Ordering::Greater);
    }
}
