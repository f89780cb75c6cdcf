//! The directories that a run starts from, checked before anything is written: an archive that is
//! not mounted looks like an empty one, and reading an empty archive is always a mistake.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::{SkippedDirectories, mount_table, path_map, real_path};
use crate::error::{Error, Result};

/// Existing, readable directories that do not contain each other. Except for the target of an
/// import, they contain files.
#[derive(Clone, Debug)]
pub struct Roots {
    paths: Vec<PathBuf>,
    /// The same paths without links.
    resolved: Vec<PathBuf>,
}

impl Roots {
    pub fn check(paths: &[PathBuf], require_mount: bool) -> Result<Self> {
        let roots = Self::check_directories(paths, require_mount)?;
        match roots.paths.iter().find(|root| !holds_files(root)) {
            None => Ok(roots),
            Some(empty) => Err(Error::usage(
                format!("{} is empty: it contains no file, and neither do its subdirectories", empty.display()),
                "Is it mounted? Nothing was written.",
            )),
        }
    }

    /// Checks an archive that files are imported into. The archive may be empty.
    pub fn of_archive(path: &Path, require_mount: bool) -> Result<Self> {
        Self::check_directories(&[path.to_owned()], require_mount)
    }

    /// Whether no root contains a file, at any depth.
    pub fn are_empty(&self) -> bool {
        !self.paths.iter().any(|root| holds_files(root))
    }

    fn check_directories(paths: &[PathBuf], require_mount: bool) -> Result<Self> {
        let mut roots: Vec<(PathBuf, PathBuf)> = Vec::new();
        for path in paths {
            let shown = path.display();
            let unreadable = |error: std::io::Error| {
                Error::usage(
                    format!("{shown}: {error}"),
                    "Is it mounted? Name a directory that exists and that you may read.",
                )
            };
            let resolved = path.canonicalize().map_err(unreadable)?;
            if !resolved.is_dir() {
                return Err(Error::usage(
                    format!("{shown} is not a directory"),
                    "Name a directory: all files below it are looked at.",
                ));
            }
            std::fs::read_dir(path).map_err(unreadable)?;
            if require_mount {
                check_mount(path, &resolved)?;
            }
            if let Some((other, _)) = roots.iter().find(|(_, r)| resolved.starts_with(r) || r.starts_with(&resolved)) {
                return Err(Error::usage(
                    format!("{shown} and {} hold the same files", other.display()),
                    "Name each directory once, and none below another.",
                ));
            }
            // Removes the slash at the end, so that a root has only one spelling.
            let absolute = path_map::absolute(path).map_err(unreadable)?.components().collect();
            roots.push((absolute, resolved));
        }
        let (paths, resolved) = roots.into_iter().unzip();
        Ok(Roots { paths, resolved })
    }

    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The same paths without links.
    pub fn resolved(&self) -> &[PathBuf] {
        &self.resolved
    }

    /// Returns a path below a root in the spelling of the root, which may be a link. Other paths
    /// are returned unchanged.
    pub fn as_given(&self, path: PathBuf) -> PathBuf {
        if self.paths.iter().any(|root| path.starts_with(root)) {
            return path;
        }
        let mut roots = self.paths.iter().zip(&self.resolved);
        let given = roots.find_map(|(given, resolved)| Some(given.join(path.strip_prefix(resolved).ok()?)));
        given.unwrap_or(path)
    }

    /// The part of a path without links that is below a root. `None` if the path is not below one.
    pub fn below_resolved<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        self.resolved.iter().find_map(|root| path.strip_prefix(root).ok())
    }

    /// Replaces the root in a path, in the spelling that the caller gave, by the root without
    /// links.
    pub fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let mut roots = self.paths.iter().zip(&self.resolved);
        roots.find_map(|(given, resolved)| Some(resolved.join(path.strip_prefix(given).ok()?)))
    }

    /// Whether a file that exists, or would be created, is below a root.
    pub fn hold(&self, file: &Path) -> bool {
        real_path::is_within(file, &self.resolved)
    }
}

/// Whether a root contains files. A mount point whose mount is missing is empty, or contains empty
/// directories only. Recycle bins and snapshots do not count.
pub(super) fn holds_files(root: &Path) -> bool {
    let skipped = SkippedDirectories::default();
    let is_searched = |entry: &DirEntry| {
        entry.depth() == 0 || !entry.file_type().is_dir() || skipped.reason(root, entry.path()).is_none()
    };
    let mut entries = WalkDir::new(root).into_iter().filter_entry(is_searched);
    // A directory that cannot be read may contain files; the walk reports it.
    entries.any(|entry| entry.map_or(true, |entry| !entry.file_type().is_dir()))
}

/// Checks `--require-mount`: the root is on a mount, not on the system's own disk.
fn check_mount(path: &Path, resolved: &Path) -> Result<()> {
    let table = mount_table::read().map_err(|error| {
        Error::usage(
            format!("{}: {error}", mount_table::FILE),
            "--require-mount needs a system that lists its mounts there.",
        )
    })?;
    if mount_table::by_path(&table, resolved).is_some_and(|(point, _)| point == Path::new("/")) {
        return Err(Error::usage(
            format!("{} is on the system disk, not on a mount", path.display()),
            "Mount the archive, or leave out --require-mount. Nothing was written.",
        ));
    }
    Ok(())
}
