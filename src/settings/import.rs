//! Resolves the command line of an import to its settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Date;

use super::{Reindex, StateDirectory, archive, index, stubs};
use crate::archive::recall::Policy;
use crate::archive::{Filing, Layout, Locator, PathMap, Roots, SkippedDirectories, path_map};
use crate::cli;
use crate::error::{Error, Result};
use crate::import::Sources;
use crate::import::disk::AtATime;
use crate::import::selection::Selection;
use crate::index::Location;
use crate::index::pacsone::{self, Configured};
use crate::progress::Form;

pub struct Import {
    pub sources: Sources,
    /// Apparent mistakes, which the user has to confirm.
    pub doubts: Vec<String>,
    /// The settings of the run that indexes the imported files.
    pub run: Reindex,
    /// The destination of copies; `None` indexes the files in place.
    pub to: Option<To>,
    pub moves: bool,
    pub completes: bool,
    pub copies_at_a_time: usize,
}

/// The destination of copies.
pub struct To {
    pub archive: PathBuf,
    pub layout: Layout,
    /// The path of the state of the import, and the key that identifies the import.
    pub state: PathBuf,
    pub state_key: String,
}

fn sources(typed: &cli::Import) -> Result<Sources> {
    let roots = Roots::check(&typed.sources, false)?;
    let rules = stubs::rules(&below(&typed.writing.stubs, &roots), Policy::OnlineOnly, &roots)?;
    let selection = Selection {
        patients: typed.patient.clone(),
        studies: typed.study.clone(),
        accessions: typed.accession.clone(),
        modalities: typed.modality.clone(),
        since: typed.study_since,
    };
    Ok(Sources { locator: Locator::new(&roots, &PathMap::default(), rules), roots, selection })
}

/// The settings of an import that only lists the contents of its sources.
pub struct List {
    pub sources: Sources,
    pub location: Location,
    pub patience: Duration,
    pub io_threads: usize,
    pub progress: Option<Form>,
}

impl List {
    pub fn resolve(typed: &cli::Import) -> Result<Self> {
        let writing = &typed.writing;
        Ok(List {
            sources: sources(typed)?,
            location: index::location(&writing.index)?,
            patience: Duration::try_from(writing.reconnect_timeout).unwrap_or_default(),
            io_threads: writing.io_threads.map_or_else(super::default_io_threads, usize::from),
            progress: super::progress(writing.quiet, writing.progress),
        })
    }
}

impl Import {
    pub fn resolve(typed: &cli::Import) -> Result<Self> {
        let sources = sources(typed)?;
        let (to, doubts, directories) = match typed.in_place {
            true => (None, Vec::new(), typed.sources.clone()),
            false => {
                let (to, doubts) = To::resolve(typed, &sources.roots)?;
                let archive = to.archive.clone();
                (Some(to), doubts, vec![archive])
            }
        };
        if let Some(file) = typed.writing.rejected.as_ref().filter(|file| sources.roots.hold(file)) {
            let what = format!("--rejected {}: is in a source, and would be imported", file.display());
            return Err(Error::usage(what, "Name a file elsewhere."));
        }
        let mut of_run = typed.as_reindex(&directories);
        let roots = match &to {
            Some(to) => Roots::of_archive(&to.archive, typed.writing.require_mount)?,
            None => Roots::check(&directories, typed.writing.require_mount)?,
        };
        of_run.writing.stubs = below(&typed.writing.stubs, &roots);
        let others = if to.is_some() { other_archives(typed, &sources.roots)? } else { Vec::new() };
        let run = Reindex::over(roots, &others, &of_run)?;
        if let Some(directory) = &run.kept_in {
            directory.check_apart_from_sources(&sources.roots)?;
        }
        let copies = typed.copies_at_a_time.map(usize::from);
        Ok(Import {
            copies_at_a_time: copies.unwrap_or_else(|| slowest(sources.roots.paths().iter().chain(&directories))),
            sources,
            doubts,
            run,
            to,
            moves: typed.moves,
            completes: typed.part10,
        })
    }
}

/// Returns the mapped directories that exist outside of the sources. The PACS may have moved files
/// there, which copies are compared with.
fn other_archives(typed: &cli::Import, sources: &Roots) -> Result<Vec<PathBuf>> {
    let path_map = archive::path_map(&typed.writing.path_map)?;
    let exists = |directory: &&Path| directory.is_dir() && !sources.hold(directory);
    Ok(path_map.directories().filter(exists).map(Path::to_owned).collect())
}

/// Returns the number of parallel copies that suits the slowest of the disks.
fn slowest<'d>(directories: impl Iterator<Item = &'d PathBuf>) -> usize {
    directories.map(|directory| AtATime::of(directory)).min().unwrap_or(AtATime::Two) as usize
}

impl To {
    /// Returns the placement of instances that are received on a day.
    pub fn filing(&self, day: Date, skipped: SkippedDirectories) -> Filing {
        Filing { archive: self.archive.clone(), layout: self.layout, day, skipped }
    }

    /// Resolves the destination. Also returns the differences from the configuration of the PACS,
    /// which the user has to confirm: an import must not go elsewhere unasked.
    fn resolve(typed: &cli::Import, sources: &Roots) -> Result<(Self, Vec<String>)> {
        let path_map = archive::path_map(&typed.writing.path_map)?;
        let location = index::location(&typed.writing.index)?;
        let configured = pacsone::configured(&location)?;
        let mut doubts = Vec::new();
        let archive = archive_of(typed, &path_map, &configured)?;
        let archive = path_map::absolute(&archive).map_err(|error| {
            Error::usage(format!("{}: {error}", archive.display()), "Name the directory of the archive.")
        })?;
        let layout = layout_of(typed, &location, &configured, &mut doubts)?;
        apart(&archive, sources)?;
        let mut names: Vec<String> =
            sources.paths().iter().map(|path| format!("source {}\n", path.display())).collect();
        names.sort();
        let index = index::name(&location);
        let state_key =
            format!("index {index}\narchive {}\nlayout {}\n{}", archive.display(), layout.name(), names.concat());
        let state = StateDirectory::find(typed.writing.state.as_deref())?.keyed("import", &state_key);
        Ok((To { archive, layout, state, state_key }, doubts))
    }
}

fn archive_of(typed: &cli::Import, path_map: &PathMap, configured: &Configured) -> Result<PathBuf> {
    let named = configured.archive.as_deref();
    let here = named.and_then(|named| path_map.from_index(named));
    match (&typed.archive, named, here) {
        (Some(typed), ..) => Ok(typed.clone()),
        (None, Some(_), Some(here)) if here.is_dir() => Ok(here),
        (None, Some(named), _) => Err(Error::usage(
            format!("the PACS archives in {named}, which is not a directory of this system"),
            format!("Is it mounted? If it is called otherwise here, say so: --path-map DIRECTORY={named}"),
        )),
        (None, None, _) => Err(Error::usage(
            "it is not known where copies belong: the index names no archive (config.archivedir), or none that its user may see",
            "Name its directory with --archive DIR, or index files where they lie with --in-place.",
        )),
    }
}

fn layout_of(
    typed: &cli::Import,
    location: &Location,
    configured: &Configured,
    doubts: &mut Vec<String>,
) -> Result<Layout> {
    let configured = configured.format.and_then(Layout::of_pacsone);
    match (typed.layout, configured) {
        (Some(typed), Some(configured)) if typed != configured => {
            let (typed_name, name) = (typed.name(), configured.name());
            doubts.push(format!("the PACS files by the layout {name}, and this import by {typed_name}"));
            Ok(typed)
        }
        (Some(layout), _) | (None, Some(layout)) => Ok(layout),
        (None, None) if location.file().is_some() => Ok(Layout::Flat),
        (None, None) => Err(Error::usage(
            format!("{} does not say how the PACS files its instances", location.shown()),
            "Let the user SELECT from the table config, or say it: --layout NAME. A wrong one makes a mess of an archive.",
        )),
    }
}

/// Refuses sources inside the archive, and an archive inside a source: copying a directory into
/// itself would never end.
fn apart(archive: &Path, sources: &Roots) -> Result<()> {
    let Ok(resolved) = archive.canonicalize() else { return Ok(()) };
    let meets = |source: &&PathBuf| source.starts_with(&resolved) || resolved.starts_with(source);
    match sources.resolved().iter().find(meets) {
        None => Ok(()),
        Some(source) if source.starts_with(&resolved) => Err(Error::usage(
            format!("the source {} is already in the archive {}", source.display(), archive.display()),
            "To index files where they lie, use reindex, or --in-place instead of --archive.",
        )),
        Some(source) => Err(Error::usage(
            format!("the archive {} is in the source {}", archive.display(), source.display()),
            "Name as sources only what lies outside of the archive.",
        )),
    }
}

/// Returns the declarations of the site about directories that contain one of these roots, or that
/// are below one.
pub(super) fn below(typed: &cli::Stubs, roots: &Roots) -> cli::Stubs {
    let holds = |directory: &&PathBuf| {
        let resolved = directory.canonicalize().unwrap_or_else(|_| (*directory).clone());
        roots.resolved().iter().any(|root| root.starts_with(&resolved) || resolved.starts_with(root))
    };
    let those = |directories: &[PathBuf]| directories.iter().filter(holds).cloned().collect();
    cli::Stubs { nearline: those(&typed.nearline), online: those(&typed.online), ..typed.clone() }
}
