//! The paths that a command would store, compared with the archive directories of the PACS and with the paths of existing
//! rows before anything is written. A forgotten `--path-map` would otherwise ruin an index.

use std::path::{Path, PathBuf};

use super::consent;
use super::content::Content;
use crate::archive::path_map::is_of_windows;
use crate::archive::{ArchiveDirectories, Locator, PathMap, Roots, StoredRegion, stored_region};
use crate::error::Result;
use crate::index::location::Access;
use crate::index::{Location, pacsone, path_sample};
use crate::progress::Form;
use crate::progress::notice::note;

/// The minimum number of different paths in rows that can contradict a path: one alone may be an exception.
const LEAST_ROWS: usize = 2;

/// The paths that a command is about to store.
pub struct Request<'a> {
    pub location: &'a Location,
    pub roots: &'a Roots,
    pub path_map: &'a PathMap,
    /// These files alone; `None` for all below the roots.
    pub files: Option<&'a [PathBuf]>,
    pub locator: &'a Locator,
    pub access: Access,
    pub allow_unmapped: bool,
    pub progress: Option<Form>,
}

/// The result of the comparison.
#[derive(Default)]
pub struct StoredPaths {
    /// One stored path of each region, without data of patients.
    pub examples: Vec<String>,
    /// The archive directories of the PACS.
    pub directories: ArchiveDirectories,
}

/// Prints how paths are stored, and asks about those that the PACS may not know. An error if they must not be stored.
pub fn check(request: &Request<'_>) -> Result<StoredPaths> {
    let regions = request.regions(request.roots.paths(), request.files);
    let configured = pacsone::configured(request.location)?;
    if !configured.hidden.is_empty() {
        let tables = configured.hidden.join(", ");
        let line = format!("the archive directories of the PACS cannot be read: grant SELECT on {tables}");
        note(request.progress, &line);
    }
    let files = regions.iter().flat_map(|region| &region.files);
    let names: Vec<&str> = files.filter_map(|file| file.file_name()?.to_str()).collect();
    let rows = path_sample::image_paths(request.location, &names)?;
    let evidence = Evidence { directories: &configured.directories, rows: &rows, path_map: request.path_map };
    let is_right = |region: &StoredRegion| evidence.confirms(region);
    let regions: Vec<StoredRegion> =
        regions.into_iter().filter(|region| is_right(region) || request.stores_files_of(region)).collect();
    let wrong_targets = request.targets().into_iter().filter(|region| evidence.is_foreign(region));
    let doubtful = regions.iter().filter(|region| !is_right(region)).map(|region| evidence.doubt(region));
    let doubts: Vec<String> = doubtful.chain(wrong_targets.map(|region| evidence.doubt(&region))).collect();
    let examples: Vec<String> = regions.iter().map(StoredRegion::example).collect();
    if request.progress.is_some() {
        examples.iter().for_each(|example| note(request.progress, &line(example)));
    }
    consent::to_unmapped(&doubts, request)?;
    Ok(StoredPaths { examples, directories: configured.directories })
}

impl Request<'_> {
    fn regions(&self, directories: &[PathBuf], files: Option<&[PathBuf]>) -> Vec<StoredRegion> {
        stored_region::regions(directories, self.path_map, self.locator.skipped_directories(), files)
    }

    /// The directories outside the roots that pointer files may point to. The index stores the paths of their targets.
    fn targets(&self) -> Vec<StoredRegion> {
        match self.locator.named_by().is_target(true) {
            true => self.regions(self.locator.target_roots(), None),
            false => Vec::new(),
        }
    }

    /// False for a region of a few files that are read and hold no instance, like the notes beside an archive.
    fn stores_files_of(&self, region: &StoredRegion) -> bool {
        let holds_none = |file: &PathBuf| matches!(Content::of(file, self.locator), Content::Other);
        self.files.is_some() || !region.is_complete() || !region.files.iter().all(holds_none)
    }
}

/// A stored path, as users read it.
pub fn line(example: &str) -> String {
    format!("paths are stored as {example}")
}

/// The known names that the PACS has for its files.
struct Evidence<'a> {
    directories: &'a ArchiveDirectories,
    /// Paths of existing rows.
    rows: &'a [String],
    path_map: &'a PathMap,
}

impl Evidence<'_> {
    /// Whether the PACS knows the paths of a region, or nothing is known that contradicts them.
    fn confirms(&self, region: &StoredRegion) -> bool {
        self.directories.hold(&region.stored)
            || self.holds_an_archive(region)
            || self.rows_confirm(region)
            || self.directories.is_empty() && self.rows.len() < LEAST_ROWS
    }

    /// Whether an archive directory of the PACS is below the region, and exists at that place here.
    fn holds_an_archive(&self, region: &StoredRegion) -> bool {
        self.directories.below(&region.stored).iter().any(|names| region.directory_below(names).is_some())
    }

    /// Whether existing rows were named in the same way as the region. Rows by unmapped paths prove nothing where the PACS
    /// has other directories, or where other rows are of another system: a run without its path map may have made them.
    fn rows_confirm(&self, region: &StoredRegion) -> bool {
        let is_foreign =
            |row: &String| is_of_windows(row) != is_of_windows(&region.stored) && self.path_map.covering(row).is_none();
        if region.mapped.is_none() && (!self.directories.is_empty() || self.rows.iter().any(is_foreign)) {
            return false;
        }
        let stored = ArchiveDirectories::new(vec![region.stored.clone()]);
        let is_same_map =
            |row: &&String| self.path_map.covering(row).map(|(directory, _)| directory) == region.mapped.as_deref();
        // The PACS may have moved or purged the file itself.
        let exists = |row: &String| {
            let file = self.path_map.from_index(row);
            file.is_some_and(|file| file.symlink_metadata().is_ok() || file.parent().is_some_and(Path::is_dir))
        };
        self.rows.iter().filter(is_same_map).any(|row| stored.hold(row) || exists(row))
    }

    /// Whether the PACS runs on Windows and the paths of a region are those of Unix, or the reverse.
    fn is_foreign(&self, region: &StoredRegion) -> bool {
        let names = self.directories.names();
        !names.is_empty() && names.iter().all(|name| is_of_windows(name) != is_of_windows(&region.stored))
    }

    /// The question about a region. Paths of rows may hold data of patients, and are not part of it.
    fn doubt(&self, region: &StoredRegion) -> String {
        let (directory, example) = (region.directory.display(), region.example());
        match self.directories.names() {
            [] => format!(
                "files below {directory} would be stored as {example}, and no row in the index has such a path: if the PACS \
                 has another name for this directory, add --path-map {directory}=NAME"
            ),
            [first, ..] => format!(
                "files below {directory} would be stored as {example}, which is in no archive directory of the PACS ({}): if \
                 that is the same directory, add --path-map {directory}={first}",
                self.directories.names().join(", ")
            ),
        }
    }
}
