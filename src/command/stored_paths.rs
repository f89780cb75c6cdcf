//! The paths that a command would store, compared with the archive directories of the PACS and with
//! the paths of existing rows before anything is written. A forgotten `--path-map` would otherwise
//! ruin an index.
//!
//! The files of a command are divided into regions: directories whose files get their paths from
//! the same path map, or from none. A configured archive directory below a root is a region of its
//! own. The rule for the paths of a region is:
//!
//! 1. If the configuration of the PACS is known, it decides: the paths must be in one of its
//!    archive directories. Rows elsewhere confirm nothing, because a run with a wrong map may have
//!    written them.
//! 2. Rows of the very files of a mapped region can contradict the map. If at least two rows give
//!    the same files another place in the same archive directory, where nothing is found, the map
//!    is for a directory above or below the region. A mapped directory that is a day, month or year
//!    of receipt must keep its date, unless rows confirm the map.
//! 3. If the configuration is unknown, rows decide. Without a map, a row must name a file in the
//!    region or in the archive around it. With a map, that file or its directory must exist,
//!    because a wrong map gives a name to every row. An index without rows confirms everything.
//!
//! The user is asked about all other paths. An audit reports them.

use std::path::PathBuf;

use super::consent;
use super::content::Content;
use super::path_evidence::{Evidence, MapSource, Objection};
use crate::archive::{ArchiveDirectories, Locator, PathMap, Roots, StoredRegion, stored_region};
use crate::error::Result;
use crate::index::location::Access;
use crate::index::{Location, pacsone, path_sample};
use crate::progress::Form;
use crate::progress::notice::note;

/// The maximum number of headers of a region that are read for its UIDs: enough for two rows, and
/// quick on any disk.
const FILES_READ: usize = 20;

/// The maximum number of files beside an archive that are searched for an instance. A region with
/// more files is assumed to contain one.
const MAX_FILES_BESIDE: usize = 5_000;

/// The paths that a command is about to store.
pub struct Request<'a> {
    pub location: &'a Location,
    pub roots: &'a Roots,
    pub path_map: &'a PathMap,
    /// The files whose paths are stored; `None` for all files below the roots.
    pub files: Option<&'a [PathBuf]>,
    pub locator: &'a Locator,
    pub access: Access,
    pub map_source: MapSource,
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

/// A region whose paths the PACS may not know.
pub struct Doubt {
    pub directory: PathBuf,
    /// The question, without data of patients.
    pub text: String,
}

/// The outcome of a comparison, before the question.
#[derive(Default)]
pub struct Comparison {
    pub paths: StoredPaths,
    pub doubts: Vec<Doubt>,
    /// The directories of all regions, with or without a doubt.
    pub regions: Vec<PathBuf>,
    /// The rights that are missing to read the archive directories of the PACS.
    pub missing_rights: Option<String>,
}

impl Comparison {
    /// Adds the doubts of another comparison about further directories. The stored paths and
    /// missing rights of the other comparison replace the former ones.
    fn add(&mut self, other: Comparison) {
        for doubt in other.doubts {
            if self.doubts.iter().all(|known| known.directory != doubt.directory) {
                self.doubts.push(doubt);
            }
        }
        (self.paths, self.missing_rights) = (other.paths, other.missing_rights);
    }
}

/// Prints how paths are stored, and asks about paths that the PACS may not know. Returns an error
/// if they must not be stored.
pub fn check(request: &Request<'_>) -> Result<StoredPaths> {
    check_all(std::slice::from_ref(request))
}

/// Checks several requests with one question. Returns the stored paths of the last one.
pub fn check_all(requests: &[Request<'_>]) -> Result<StoredPaths> {
    let mut all = Comparison::default();
    for request in requests {
        all.add(compare(request)?);
    }
    let Some(request) = requests.last() else { return Ok(all.paths) };
    let print = |line: &str| note(request.progress, line);
    all.missing_rights.iter().for_each(|message| print(message));
    if request.progress.is_some() {
        all.paths.examples.iter().for_each(|example| print(&line(example)));
    }
    all.doubts.iter().for_each(|doubt| print(&doubt.text));
    consent::to_unmapped(!all.doubts.is_empty(), request)?;
    Ok(all.paths)
}

/// Compares the paths of all regions with the configuration of the PACS and with existing rows.
pub fn compare(request: &Request<'_>) -> Result<Comparison> {
    let configured = pacsone::configured(request.location)?;
    let missing_rights = (!configured.hidden.is_empty()).then(|| {
        let grants = request.location.grants_to_read(&configured.hidden);
        format!("the archive directories of the PACS cannot be read: {grants}")
    });
    let regions = request.regions(request.roots.paths(), &configured.directories, request.files);
    let uids = || regions.iter().flat_map(|region| request.uids(region)).collect();
    let rows = path_sample::image_paths(request.location, uids)?;
    let evidence = Evidence {
        directories: &configured.directories,
        is_whole: configured.hidden.is_empty(),
        rows: &rows,
        path_map: request.path_map,
    };
    let examined = regions.into_iter().map(|region| (evidence.objection(&region), region));
    let stored: Vec<(Option<Objection>, StoredRegion)> =
        examined.filter(|(objection, region)| objection.is_none() || request.stores_files_of(region)).collect();
    let targets = request.targets(&configured.directories);
    let wrong_targets = targets.iter().filter(|region| evidence.is_foreign(region));
    let doubtful = stored.iter().filter_map(|(objection, region)| Some(((*objection)?, region)));
    let doubtful = doubtful.chain(wrong_targets.map(|region| (Objection::Unknown, region)));
    let doubt = |(objection, region): (Objection, &StoredRegion)| Doubt {
        directory: region.directory.clone(),
        text: evidence.question(objection, region, request.map_source),
    };
    let doubts = doubtful.map(doubt).collect();
    let compared = stored.iter().map(|(_, region)| region).chain(&targets);
    let regions = compared.map(|region| region.directory.clone()).collect();
    let examples = stored.iter().map(|(_, region)| region.example()).collect();
    let paths = StoredPaths { examples, directories: configured.directories.clone() };
    Ok(Comparison { paths, doubts, regions, missing_rights })
}

impl Request<'_> {
    fn regions(
        &self,
        roots: &[PathBuf],
        configured: &ArchiveDirectories,
        files: Option<&[PathBuf]>,
    ) -> Vec<StoredRegion> {
        stored_region::regions(roots, self.path_map, configured, self.locator.skipped_directories(), files)
    }

    /// Returns the directories outside the roots that pointer files may point to. The index stores
    /// the paths of their targets.
    fn targets(&self, configured: &ArchiveDirectories) -> Vec<StoredRegion> {
        match self.locator.named_by().is_target(true) {
            true => self.regions(self.locator.target_roots(), configured, None),
            false => Vec::new(),
        }
    }

    /// Returns the UIDs of some instances of a region. A PACS names its files by UID; if no file
    /// name is a UID, the first files are read, except stubs.
    fn uids(&self, region: &StoredRegion) -> Vec<String> {
        let is_uid = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let named = region.files.iter().filter_map(|file| file.file_name()?.to_str()).filter(|name| is_uid(name));
        let mut uids: Vec<String> = named.map(str::to_owned).collect();
        if uids.is_empty() {
            let contents = region.files.iter().take(FILES_READ).map(|file| Content::of(file, self.locator));
            uids.extend(contents.filter_map(|content| match content {
                Content::Instance(instance) => Some(instance.sop_instance_uid().to_owned()),
                Content::Stub | Content::Other => None,
            }));
        }
        uids
    }

    /// Whether files of a region may get rows. False if all files were searched and none contains
    /// an instance, such as the notes and logs beside an archive.
    fn stores_files_of(&self, region: &StoredRegion) -> bool {
        let holds_none = |file: PathBuf| matches!(Content::of(&file, self.locator), Content::Other);
        let skipped = self.locator.skipped_directories();
        let mut files = region.all_files(skipped).take(MAX_FILES_BESIDE).enumerate();
        self.files.is_some() || files.any(|(n, file)| n + 1 == MAX_FILES_BESIDE || !holds_none(file))
    }
}

/// Formats a stored path for users.
pub fn line(example: &str) -> String {
    format!("paths are stored as {example}")
}
