//! Evidence for the paths of a region: the archive directories of the PACS, and a sample of rows.
//! The rule is in [`super::stored_paths`].

use std::path::{Path, PathBuf};

use crate::archive::naming::{LEAST_NAMES, ends_with, is_same};
use crate::archive::path_map::is_of_windows;
use crate::archive::{ArchiveDirectories, PathMap, StoredRegion, layout};

/// The minimum number of different paths in rows that can contradict a path: one alone may be an
/// exception.
const LEAST_ROWS: usize = 2;

/// The reason for asking about a region.
#[derive(Clone, Copy)]
pub enum Objection {
    /// Neither the configuration nor rows confirm its paths.
    Unknown,
    /// Rows of the same files have another place in the same archive directory.
    OtherPlace,
    /// The mapped directory is named after a date of receipt, and its name on the PACS server is
    /// not.
    OtherDate,
}

/// The source of the path maps of a command.
#[derive(Clone, Copy)]
pub enum MapSource {
    Options,
    /// The plan of an audit, whose path maps only another audit can change.
    Plan,
}

impl MapSource {
    /// Returns the beginning of the advice to map a directory.
    fn add_map(self) -> &'static str {
        match self {
            MapSource::Options => "add --path-map",
            MapSource::Plan => "audit again with --path-map",
        }
    }
}

/// The evidence for the names that the PACS has for its files.
pub struct Evidence<'a> {
    pub directories: &'a ArchiveDirectories,
    /// False if a part of the configuration cannot be read.
    pub is_whole: bool,
    /// Paths of existing rows.
    pub rows: &'a [String],
    pub path_map: &'a PathMap,
}

impl Evidence<'_> {
    /// Returns the reason for asking about a region, if there is one.
    pub fn objection(&self, region: &StoredRegion) -> Option<Objection> {
        if self.directories.hold(&region.stored) {
            let drops_date = || drops_date(region, self.path_map) && !self.rows_confirm(region);
            return match self.rows_object(region) {
                true => Some(Objection::OtherPlace),
                false => drops_date().then_some(Objection::OtherDate),
            };
        }
        let is_decided = self.is_whole && !self.directories.is_empty();
        let is_confirmed = !is_decided && (self.has_no_names() || self.rows_confirm(region));
        (!is_confirmed).then_some(Objection::Unknown)
    }

    fn has_no_names(&self) -> bool {
        self.directories.is_empty() && self.rows.len() < LEAST_ROWS
    }

    /// Whether rows of the files of a mapped region have another place in the same archive
    /// directory, where nothing is found.
    fn rows_object(&self, region: &StoredRegion) -> bool {
        let (mut right, mut other) = (0, 0);
        for file in region.files.iter().filter(|_| region.mapped.is_some()) {
            let Some(names) = file.strip_prefix(&region.directory).ok().map(names_of) else { continue };
            let Ok(stored) = self.path_map.to_index(file) else { continue };
            let rows = self.rows.iter().filter(|row| ends_with(row, &names));
            for row in rows {
                right += usize::from(is_same(row, &stored));
                other += usize::from(!is_same(row, &stored) && self.is_other_place(row, names.len(), region));
            }
        }
        other >= LEAST_ROWS && other > right
    }

    /// Whether a row that ends with the last names of a file has a place in the archive directory
    /// of its region that does not exist here. A file name alone is evidence only below the region.
    fn is_other_place(&self, row: &str, names: usize, region: &StoredRegion) -> bool {
        let below = || ArchiveDirectories::new(vec![region.stored.clone()]).hold(row);
        self.directories.hold_both(row, &region.stored)
            && (names >= LEAST_NAMES || below())
            && !self.exists(row, region)
    }

    /// Whether a row shows that the paths of a region are stored under the right names.
    fn rows_confirm(&self, region: &StoredRegion) -> bool {
        // Rows of another system show that the PACS does not know the paths of this one.
        let is_foreign =
            |row: &String| is_of_windows(row) != is_of_windows(&region.stored) && self.path_map.covering(row).is_none();
        if region.mapped.is_none() && self.rows.iter().any(is_foreign) {
            return false;
        }
        let Some(mapped) = &region.mapped else { return self.rows_name(region.archive()) };
        let is_of_map = |row: &&String| self.path_map.covering(row).is_some_and(|(directory, _)| directory == mapped);
        self.rows.iter().filter(is_of_map).any(|row| self.exists(row, region))
    }

    /// Whether a row names a file of an archive without a path map: by the name of the archive, or
    /// by the directory that a symlink to the archive points to.
    fn rows_name(&self, archive: &Path) -> bool {
        let archives = [Some(archive.to_owned()), archive.canonicalize().ok()];
        let is_in_archive = |file: PathBuf| archives.iter().flatten().any(|archive| file.starts_with(archive));
        self.rows.iter().filter_map(|row| self.path_map.from_index(row)).any(is_in_archive)
    }

    /// Whether the file of a row exists here, or its directory, unless that is the directory of the
    /// region or of its path map. The PACS may have moved or purged the file itself.
    fn exists(&self, row: &str, region: &StoredRegion) -> bool {
        let is_of_all = |directory: &Path| directory == region.directory || Some(directory) == region.mapped.as_deref();
        let file = self.path_map.from_index(row);
        file.is_some_and(|file| {
            let has_directory = || file.parent().is_some_and(|directory| !is_of_all(directory) && directory.is_dir());
            file.symlink_metadata().is_ok() || has_directory()
        })
    }

    /// Whether the PACS runs on Windows and the paths of a region are those of Unix, or the
    /// reverse.
    pub fn is_foreign(&self, region: &StoredRegion) -> bool {
        let names = self.directories.names();
        !names.is_empty() && names.iter().all(|name| is_of_windows(name) != is_of_windows(&region.stored))
    }

    /// Whether rows contain local paths of files in a mapped region.
    fn has_unmapped_rows(&self, region: &StoredRegion) -> bool {
        region.mapped.is_some() && self.rows.iter().any(|row| Path::new(row).starts_with(&region.directory))
    }

    /// Returns the question about a region, without paths of rows, because these may contain
    /// patient data.
    pub fn question(&self, objection: Objection, region: &StoredRegion, maps: MapSource) -> String {
        let (directory, example) = (region.directory.display(), region.example());
        let begin = format!("files below {directory} would be stored as {example}");
        let (names, add_map) = (self.directories.names(), maps.add_map());
        match objection {
            Objection::OtherPlace => format!(
                "{begin}, but rows of the same files have another place in the same archive directory of the PACS: check \
                 that --path-map gives {directory} its own name, and not that of a directory above or below it"
            ),
            Objection::OtherDate => format!(
                "{begin}, but the name of the mapped directory names a date of receipt that its name on the PACS server \
                 lacks: check that --path-map does not give it the name of a directory above it"
            ),
            Objection::Unknown if names.is_empty() && self.has_unmapped_rows(region) => format!(
                "{begin}, and the index has rows with paths of this system below {directory}: if a run without the path map \
                 stored these rows, and the new path is right, add --allow-unmapped-paths; otherwise leave out the path map"
            ),
            Objection::Unknown if names.is_empty() && region.mapped.is_some() => format!(
                "{begin}, and no row in the index has such a path: check the name that --path-map gives {directory}"
            ),
            Objection::Unknown if names.is_empty() => format!(
                "{begin}, and no row in the index has such a path: if the PACS has another name for this directory, {add_map} \
                 {directory}=NAME"
            ),
            Objection::Unknown => format!(
                "{begin}, which is in no archive directory of the PACS ({}): if that is the same directory, {add_map} \
                 {directory}={}",
                names.join(", "),
                names.iter().find(|name| !self.is_taken(name)).map_or("NAME", String::as_str)
            ),
        }
    }

    /// Whether a configured directory is already known here, under a map or under its own name.
    fn is_taken(&self, name: &str) -> bool {
        let is_mapped = self.path_map.covering(name).is_some_and(|(_, rest)| rest.is_empty());
        is_mapped || self.path_map.from_index(name).is_some_and(|directory| directory.is_dir())
    }
}

/// Whether the mapped directory of a region is a day, month or year of receipt, and its stored path
/// does not end with the same names.
fn drops_date(region: &StoredRegion, path_map: &PathMap) -> bool {
    let Some(mapped) = &region.mapped else { return false };
    let Ok(date) = mapped.strip_prefix(layout::above_date(mapped)) else { return false };
    let stored = path_map.to_index(mapped);
    date.components().next().is_some() && stored.is_ok_and(|stored| !ends_with(&stored, &names_of(date)))
}

fn names_of(path: &Path) -> Vec<&str> {
    path.iter().filter_map(|name| name.to_str()).collect()
}
