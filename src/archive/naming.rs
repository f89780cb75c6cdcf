//! The paths by which the PACS knows the files of its archive, and the paths in the index that are
//! not among them.

use std::path::Path;

use super::PathMap;
use super::server_path::ServerPath;

/// The minimum number of names at the end of a path that identify a place in an archive: a
/// directory and a file.
pub const LEAST_NAMES: usize = 2;

/// The directories that the PACS is configured with, as the PACS calls them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveDirectories(Vec<String>);

impl ArchiveDirectories {
    pub fn new(names: Vec<String>) -> Self {
        ArchiveDirectories(names)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether a stored path is one of the directories or below one, regardless of case and
    /// slashes.
    pub fn hold(&self, stored: &str) -> bool {
        let stored = ServerPath::new(stored);
        self.0.iter().any(|name| stored.below_ignoring_case(&ServerPath::new(name)).is_some())
    }

    /// Whether one of the directories holds both stored paths.
    pub fn hold_both(&self, stored: &str, other: &str) -> bool {
        let [stored, other] = [stored, other].map(ServerPath::new);
        let holds = |name: &ServerPath<'_>, path: &ServerPath<'_>| path.below_ignoring_case(name).is_some();
        self.0.iter().map(|name| ServerPath::new(name)).any(|name| holds(&name, &stored) && holds(&name, &other))
    }

    /// The names of a stored path below the innermost directory that holds it.
    fn place_of<'t>(&self, stored: &'t str) -> Option<Vec<&'t str>> {
        let stored = ServerPath::new(stored);
        let places =
            self.0.iter().filter_map(|name| Some(stored.below_ignoring_case(&ServerPath::new(name))?.to_vec()));
        places.min_by_key(Vec::len)
    }

    /// The configured directories below a stored path, each as its components relative to that
    /// path.
    pub fn below(&self, stored: &str) -> Vec<Vec<&str>> {
        let above = ServerPath::new(stored);
        let below = self.0.iter().filter_map(|name| Some(ServerPath::new(name).below_ignoring_case(&above)?.to_vec()));
        below.filter(|names| !names.is_empty()).collect()
    }
}

/// The path maps of a run, and the directories of the PACS.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    pub path_map: PathMap,
    pub directories: ArchiveDirectories,
}

impl Naming {
    /// The mapped path of the file that a row names by a path of this system, unless the PACS knows
    /// that path as well. Compares texts only.
    pub fn mapped(&self, stored: &str) -> Option<String> {
        if self.is_of_the_pacs(stored) {
            return None;
        }
        let here = self.path_map.from_index(stored).filter(|here| self.path_map.holds(here))?;
        self.path_map.to_index(&here).ok().filter(|mapped| !is_same(stored, mapped))
    }

    /// Whether the PACS has a stored path from one of its directories or from a path map.
    pub fn is_of_the_pacs(&self, stored: &str) -> bool {
        stored.is_empty() || self.directories.hold(stored) || self.path_map.covering(stored).is_some()
    }

    /// Whether a stored path and a mapped one have the same place in different archives: the PACS
    /// has the directory of the mapped path and does not have the other one, and both paths end
    /// with the same directories and file name. A file name alone proves nothing.
    pub fn differs_by_directory(&self, stored: &str, mapped: &str) -> bool {
        if self.path_map.covering(mapped).is_none() || self.is_of_the_pacs(stored) {
            return false;
        }
        let names = self.directories.place_of(mapped);
        names.is_some_and(|names| names.len() >= LEAST_NAMES && ServerPath::new(stored).ends_with(&names))
    }

    /// Whether a path map gave a file its stored path, and that path differs from the file's path
    /// on this system.
    pub fn is_mapped(&self, stored: &str) -> bool {
        let here = self.path_map.covering(stored).and_then(|_| self.path_map.from_index(stored));
        here.is_some_and(|here| here != Path::new(stored))
    }
}

/// Whether two stored paths are equal, regardless of slashes and, on Windows, of case.
pub fn is_same(stored: &str, other: &str) -> bool {
    ServerPath::new(stored).is_same(&ServerPath::new(other))
}

/// Whether a stored path ends with these names.
pub fn ends_with(stored: &str, names: &[&str]) -> bool {
    // Most paths differ in their last name. The text shows that before the path is split.
    let has_end = |name: &&str| {
        let end = stored.len().checked_sub(name.len()).and_then(|start| stored.as_bytes().get(start..));
        !name.is_ascii() || end.is_some_and(|end| end.eq_ignore_ascii_case(name.as_bytes()))
    };
    names.last().is_none_or(has_end) && ServerPath::new(stored).ends_with(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(maps: &[&str], directories: &[&str]) -> Naming {
        Naming {
            path_map: PathMap::new(maps.iter().map(|map| map.parse().unwrap()).collect()),
            directories: ArchiveDirectories::new(directories.iter().map(|name| (*name).to_owned()).collect()),
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_of_this_system_is_mapped_unless_the_pacs_knows_it() {
        let windows = naming(&["/mnt/dicom=D:/DICOM"], &["D:/DICOM"]);
        assert_eq!(windows.mapped("/mnt/dicom/a/1.2").as_deref(), Some("D:/DICOM/a/1.2"));
        for right in ["D:/DICOM/a/1.2", r"d:\dicom\a\1.2", "/mnt/other/1.2", "", "E:/OLD/1.2"] {
            assert_eq!(windows.mapped(right), None, "{right}");
        }
        let both = naming(&["/mnt/dicom=/data/dicom"], &["/data/dicom", "/mnt/dicom/"]);
        assert_eq!(both.mapped("/mnt/dicom/a/1.2"), None);
        assert_eq!(naming(&["/mnt/dicom=/mnt/dicom"], &[]).mapped("/mnt/dicom/a"), None);
    }

    #[cfg(unix)]
    #[test]
    fn only_a_directory_that_is_none_of_the_pacs_is_taken_for_a_former_one() {
        let naming = naming(&["/mnt/dicom=D:/DICOM", "/mnt/far=F:/"], &["D:/DICOM", "E:/LONGTERM"]);
        let differs = |stored: &str| naming.differs_by_directory(stored, "D:/DICOM/a/1.2");
        assert!(differs("D:/OLD/a/1.2") && differs(r"\\nas\x\A\1.2") && differs("/srv/dicom/a/1.2"));
        for other in ["E:/LONGTERM/a/1.2", "F:/x/a/1.2", "D:/OLD/b/1.2", "1.2", ""] {
            assert!(!differs(other), "{other}");
        }
        assert!(!naming.differs_by_directory("D:/OLD/a/1.2", "F:/a/1.2"));
        assert!(!naming.differs_by_directory("D:/OLD/a/1.2", "D:/DICOM/1.2"), "a file name alone");
        let usb = self::naming(&["/mnt/usb=D:/DICOM/usb"], &["D:/DICOM"]);
        assert!(!usb.differs_by_directory("E:/OLD/x/1.2", "D:/DICOM/usb/1.2"));
    }
}
