//! The paths that a run would store: the regions that path maps make of its roots, with some files
//! of each.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::{ArchiveDirectories, PathMap, SkippedDirectories, layout, skip};

/// The maximum number of files to sample in a region: enough to check their rows, and quick to find
/// on any disk.
const SAMPLE: usize = 50;

/// A directory whose files all get their paths from the same path map, or from none.
#[derive(Debug)]
pub struct StoredRegion {
    root: PathBuf,
    pub directory: PathBuf,
    /// The path that the index stores for the directory.
    pub stored: String,
    /// The directory of the path map.
    pub mapped: Option<PathBuf>,
    /// A sample of its files. A region without files is not created.
    pub files: Vec<PathBuf>,
    /// The directories below this one that are regions of their own.
    others: Vec<PathBuf>,
}

/// The regions of roots that hold files, or of these files alone. A configured directory below
/// another directory is a region of its own, so that files beside it are not treated as part of the
/// archive.
pub fn regions(
    roots: &[PathBuf],
    path_map: &PathMap,
    configured: &ArchiveDirectories,
    skipped: &SkippedDirectories,
    files: Option<&[PathBuf]>,
) -> Vec<StoredRegion> {
    let is_inside = |directory: &Path| roots.iter().any(|root| directory.starts_with(root));
    let mut directories: Vec<PathBuf> = roots.to_vec();
    directories.extend(path_map.directories().filter(|directory| is_inside(directory)).map(Path::to_owned));
    let archives: Vec<PathBuf> = directories
        .iter()
        .filter_map(|directory| Some((directory, path_map.to_index(directory).ok()?)))
        .filter(|(_, stored)| !configured.hold(stored))
        .flat_map(|(directory, stored)| {
            configured.below(&stored).iter().filter_map(|names| named_below(directory, names)).collect::<Vec<_>>()
        })
        .collect();
    directories.extend(archives);
    let mut seen = HashSet::new();
    directories.retain(|directory| seen.insert(directory.clone()));
    let region = |directory: &PathBuf| {
        let root = roots.iter().find(|root| directory.starts_with(root))?;
        let place = RegionDirectory { root, directory, skipped };
        place.is_walked().then(|| StoredRegion::new(&place, &directories, path_map, files))?
    };
    directories.iter().filter_map(region).collect()
}

/// The directories of regions, and those whose paths the PACS may not know.
#[derive(Default)]
pub struct DoubtfulRegions {
    pub all: Vec<PathBuf>,
    pub doubtful: Vec<PathBuf>,
}

impl DoubtfulRegions {
    /// Whether the innermost region that holds a file is doubtful.
    pub fn hold(&self, file: &Path) -> bool {
        let around = self.all.iter().filter(|directory| file.starts_with(directory));
        let innermost = around.max_by_key(|directory| directory.components().count());
        innermost.is_some_and(|directory| self.doubtful.contains(directory))
    }
}

impl StoredRegion {
    fn new(
        place: &RegionDirectory<'_>,
        directories: &[PathBuf],
        path_map: &PathMap,
        files: Option<&[PathBuf]>,
    ) -> Option<Self> {
        let RegionDirectory { root, directory, skipped } = *place;
        let is_other = |other: &&PathBuf| *other != directory && other.starts_with(directory);
        let others: Vec<PathBuf> = directories.iter().filter(is_other).cloned().collect();
        let is_here = |path: &Path| {
            path.starts_with(directory)
                && !others.iter().any(|other| path.starts_with(other))
                && path.parent().is_some_and(|parent| skipped.reason_on_the_way(root, parent).is_none())
        };
        let files: Vec<PathBuf> = match files {
            Some(files) => files.iter().filter(|file| is_here(file)).take(SAMPLE).cloned().collect(),
            None => place.files(&others).take(SAMPLE).collect(),
        };
        // The run rejects paths that are not valid UTF-8 later, file by file.
        let stored = path_map.to_index(directory).ok().filter(|_| !files.is_empty())?;
        let mapped = path_map.directory_of(directory).filter(|_| Path::new(&stored) != directory);
        let (root, directory) = (root.to_owned(), directory.to_owned());
        Some(StoredRegion { root, directory, mapped: mapped.map(Path::to_owned), stored, files, others })
    }

    /// All files of the region on disk.
    pub fn all_files<'r>(&'r self, skipped: &'r SkippedDirectories) -> impl Iterator<Item = PathBuf> + 'r {
        RegionDirectory { root: &self.root, directory: &self.directory, skipped }.files(&self.others)
    }

    /// The directory of the archive that the region belongs to. Days of receipt are below it.
    pub fn archive(&self) -> &Path {
        layout::above_date(&self.directory)
    }

    /// A stored path of the region, cut so that it contains no data of patients: up to a date in
    /// the names of directories.
    pub fn example(&self) -> String {
        let dated = |file: &PathBuf| {
            let below = file.strip_prefix(&self.directory).ok()?.parent()?;
            let names: Vec<&str> = below.iter().filter_map(|name| name.to_str()).collect();
            let dated = layout::leading_date(&names);
            (dated > 0).then(|| names[..dated].join("/") + "/")
        };
        format!("{}/{}...", self.stored, self.files.iter().find_map(dated).unwrap_or_default())
    }
}

/// A directory below a root, or the root itself.
#[derive(Clone, Copy)]
struct RegionDirectory<'d> {
    root: &'d Path,
    directory: &'d Path,
    skipped: &'d SkippedDirectories,
}

impl<'d> RegionDirectory<'d> {
    /// Whether a walk of the root reaches the directory. A walk does not follow links to
    /// directories.
    fn is_walked(&self) -> bool {
        let below_root = self.directory.ancestors().take_while(|above| *above != self.root);
        below_root.into_iter().all(is_directory) && self.skipped.reason_on_the_way(self.root, self.directory).is_none()
    }

    /// The files that a walk finds below the directory, except for those below other directories.
    fn files(self, others: &'d [PathBuf]) -> impl Iterator<Item = PathBuf> + 'd {
        let RegionDirectory { root, directory, skipped } = self;
        let is_walked = move |entry: &DirEntry| {
            let is_skipped =
                entry.depth() > 0 && entry.file_type().is_dir() && skipped.reason(root, entry.path()).is_some();
            !is_skipped && !others.iter().any(|other| other == entry.path())
        };
        // Links to directories are not followed.
        let is_directory =
            |entry: &DirEntry| entry.file_type().is_dir() || entry.path_is_symlink() && entry.path().is_dir();
        let is_file = move |entry: &DirEntry| !is_directory(entry) && skip::by_name(entry.file_name()).is_none();
        let entries = WalkDir::new(directory).follow_root_links(directory == root).into_iter();
        entries.filter_entry(is_walked).flatten().filter(is_file).map(DirEntry::into_path)
    }
}

/// Whether a path is a directory, and not a link to one.
fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}

/// The path of a directory below another, with names compared regardless of case, if it exists.
fn named_below(directory: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().try_fold(directory.to_owned(), |directory, name| {
        let exact = directory.join(name);
        if is_directory(&exact) {
            return Some(exact);
        }
        let mut entries = std::fs::read_dir(&directory).ok()?.flatten();
        let is_named = |entry: &std::fs::DirEntry| {
            entry.file_name().to_str().is_some_and(|other| other.to_lowercase() == name.to_lowercase())
        };
        entries.find(|entry| is_named(entry) && is_directory(&entry.path())).map(|entry| entry.path())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_map_below_a_root_makes_a_region_of_its_own() {
        let site = tempfile::tempdir().unwrap();
        let path = |name: &str| site.path().join(name);
        for file in ["dicom/2019-01-12-SAT/1.2", "dicom/lost+found.txt", "beside/4711/1.3"] {
            std::fs::create_dir_all(path(file).parent().unwrap()).unwrap();
            std::fs::write(path(file), "x").unwrap();
        }
        let map = |from: &str, to: &str| format!("{}={to}", path(from).display()).parse().unwrap();
        let path_map = PathMap::new(vec![map("dicom", "D:/DICOM"), map("none", "E:/")]);
        let (roots, configured) = ([site.path().to_owned()], ArchiveDirectories::default());
        let found = regions(&roots, &path_map, &configured, &SkippedDirectories::default(), None);
        let stored: Vec<&str> = found.iter().map(|region| region.stored.as_str()).collect();
        assert_eq!(stored, [site.path().to_str().unwrap(), "D:/DICOM"]);
        assert_eq!(found[0].files, [path("beside/4711/1.3")]);
        assert_eq!(found[0].example(), format!("{}/...", site.path().display()));
        assert_eq!(found[1].example(), "D:/DICOM/2019-01-12-SAT/...");
        let listed = [path("dicom/x")];
        let named = regions(&roots, &path_map, &configured, &SkippedDirectories::default(), Some(&listed));
        assert_eq!((named.len(), named[0].stored.as_str()), (1, "D:/DICOM"));
        assert_eq!(named_below(&roots[0], &["DICOM", "2019-01-12-sat"]), Some(path("dicom/2019-01-12-SAT")));
        let beside = ArchiveDirectories::new(vec![path("BESIDE").display().to_string()]);
        let found = regions(&roots, &path_map, &beside, &SkippedDirectories::default(), None);
        let directories: Vec<&PathBuf> = found.iter().map(|region| &region.directory).collect();
        assert_eq!(directories, [&path("dicom"), &path("beside")], "no file is beside them");
    }

    #[cfg(unix)]
    #[test]
    fn regions_hold_the_files_that_a_walk_finds() {
        let site = tempfile::tempdir().unwrap();
        let path = |name: &str| site.path().join(name);
        for file in ["dicom/2019/1.2", "share/trashbox/1.3", "elsewhere/1.4", "dicom/@Recycle/1.5"] {
            std::fs::create_dir_all(path(file).parent().unwrap()).unwrap();
            std::fs::write(path(file), "x").unwrap();
        }
        // The walk does not follow links to directories.
        std::os::unix::fs::symlink("../elsewhere", path("dicom/current")).unwrap();
        std::os::unix::fs::symlink("2019", path("dicom/Latest")).unwrap();
        let path_map = PathMap::new(vec![
            format!("{}=D:/DICOM", path("dicom").display()).parse().unwrap(),
            format!("{}=D:/DICOM/current", path("dicom/current").display()).parse().unwrap(),
        ]);
        let skipped = SkippedDirectories::default();
        let stored = |root: &str, names: &[&str], files: Option<&[PathBuf]>| {
            let configured = ArchiveDirectories::new(names.iter().map(|name| (*name).to_owned()).collect());
            let found = regions(&[path(root)], &path_map, &configured, &skipped, files);
            found.into_iter().map(|region| (region.stored, region.files)).collect::<Vec<_>>()
        };
        let of_walk = vec![("D:/DICOM".to_owned(), vec![path("dicom/2019/1.2")])];
        for names in [&["D:/DICOM"][..], &["E:/X"], &["D:/DICOM/current"], &["D:/DICOM/latest"]] {
            assert_eq!(stored("dicom", names, None), of_walk, "{names:?}");
        }
        assert_eq!(stored("dicom", &["E:/X"], Some(&[path("dicom/@Recycle/1.5")])), [], "a file that is skipped");
        // A name that is only significant directly below a root.
        let share = path("share").display().to_string();
        let configured = ArchiveDirectories::new(vec![share.clone()]);
        let found = regions(&[site.path().to_owned()], &PathMap::default(), &configured, &skipped, None);
        let found = found.into_iter().find(|region| region.stored == share).map(|region| region.files);
        assert_eq!(found, Some(vec![path("share/trashbox/1.3")]));
    }
}
