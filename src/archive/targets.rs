//! Converts the text of a link or of a pointer to a path on this system, and decides whether the
//! path may be accessed.
//!
//! A path is accessed only if its text is below a root, a directory of `--target-root`, or a
//! directory of a path map: a path may point to a server that does not answer, and Windows logs on
//! to any server that a path names. `Locator` reads no target whose path without links is outside
//! of the roots and the directories of `--target-root`.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::locality::Locality;
use super::roots::holds_files;
use super::skipped_directories::SkipReason;
use super::{PathMap, Roots, SkippedDirectories, path_map};

pub struct Targets {
    roots: Roots,
    path_map: PathMap,
    skipped: SkippedDirectories,
    /// The directories of `--target-root`: as given, and without links.
    allowed: Vec<(PathBuf, PathBuf)>,
    /// The names in the directories that were listed last, the most recent first.
    names: Mutex<VecDeque<(PathBuf, Arc<Names>)>>,
}

/// The names in a directory, by their lower-case form.
type Names = HashMap<String, Vec<OsString>>;

/// The maximum number of directories whose names are cached, and of names in all of them together.
/// The directory that was listed last is cached regardless of its size.
const DIRECTORIES: usize = 8;
const MOST_NAMES: usize = 500_000;

/// The location of a target.
pub struct There {
    /// The path by which the target is known on this system.
    pub named: PathBuf,
    /// The path without links.
    pub resolved: PathBuf,
}

/// The reason why a target cannot be read: its locality, and an explanation with advice.
type Not = (Locality, String);

impl Targets {
    pub fn new(roots: &Roots, path_map: &PathMap, skipped: SkippedDirectories, target_roots: &[PathBuf]) -> Self {
        let resolved = |root: &PathBuf| Some((root.clone(), root.canonicalize().ok()?));
        let allowed = target_roots.iter().filter_map(resolved).collect();
        Targets { roots: roots.clone(), path_map: path_map.clone(), skipped, allowed, names: Mutex::default() }
    }

    /// Whether a walk reaches a path. No walk enters skipped directories such as recycle bins and
    /// snapshots.
    pub fn are_walked(&self, resolved: &Path) -> bool {
        let root = self.roots.resolved().iter().find(|root| resolved.starts_with(root));
        root.is_some_and(|root| self.skipped.reason_on_the_way(root, resolved).is_none())
    }

    /// The reason why no walk reaches a path below a root, or below another directory that may be
    /// read.
    pub fn skip_reason(&self, path: &Path) -> Option<SkipReason> {
        let (_, root) = self.place(path)?;
        self.skipped.reason_on_the_way(root, path.parent()?)
    }

    /// The reason why no walk of a root reaches a directory. The path of the directory has no
    /// links.
    pub fn skip_reason_resolved(&self, resolved: &Path) -> Option<SkipReason> {
        let root = self.roots.resolved().iter().find(|root| resolved.starts_with(root))?;
        self.skipped.reason_on_the_way(root, resolved)
    }

    pub fn allow(&self, resolved: &Path) -> bool {
        self.allowed.iter().any(|(_, root)| resolved.starts_with(root))
    }

    /// The root or allowed directory that contains a path, with its index in the list of both.
    pub fn place(&self, path: &Path) -> Option<(usize, &Path)> {
        if let ([root], true) = (self.roots.paths(), self.allowed.is_empty()) {
            return path.starts_with(root).then_some((0, root.as_path()));
        }
        let all = self.roots.paths().iter().chain(self.allowed.iter().map(|(given, _)| given));
        all.enumerate().find(|(_, root)| path.starts_with(root)).map(|(n, root)| (n, root.as_path()))
    }

    /// The allowed directory of a missing file, if no file is below that directory: its mount may
    /// be missing. A link in the path of the file counts as the directory that it points to.
    pub fn empty_directory_of(&self, file: &Path) -> Option<&Path> {
        let directory = file.ancestors().skip(1).find_map(|above| above.canonicalize().ok());
        let is_below = |(given, resolved): &&(PathBuf, PathBuf)| {
            file.starts_with(given) || directory.as_ref().is_some_and(|directory| directory.starts_with(resolved))
        };
        let mut all = self.allowed.iter().filter(is_below);
        all.find(|(_, resolved)| !holds_files(resolved)).map(|(given, _)| given.as_path())
    }

    /// Whether a path is below a root or an allowed directory, both as text and after the links of
    /// its existing directory are resolved.
    pub fn hold(&self, file: &Path) -> bool {
        let below = self.place(file).and_then(|(_, root)| file.strip_prefix(root).ok());
        let has_name = |below: &Path| {
            below.file_name().is_some() && below.components().all(|component| component != Component::ParentDir)
        };
        let directory = file.parent().and_then(|directory| directory.canonicalize().ok());
        below.is_some_and(has_name) && directory.is_none_or(|directory| self.is_below_without_links(&directory))
    }

    /// The file that a row names, if a root or an allowed directory holds the file.
    pub fn file_of_row(&self, stored: &str) -> Option<PathBuf> {
        self.named_by_row(stored).filter(|file| self.hold(file))
    }

    /// The path that the index stores for a file, if that path names the same file. Compares texts
    /// only.
    pub fn stored_path(&self, file: &Path) -> Option<String> {
        let stored = self.path_map.to_index(file).ok()?;
        (self.named_by_row(&stored).as_deref() == Some(file)).then_some(stored)
    }

    fn named_by_row(&self, stored: &str) -> Option<PathBuf> {
        Some(self.roots.as_given(self.path_map.from_index(stored)?))
    }

    /// Replaces the root in a path by the root without links. Below the root there are no links to
    /// resolve, since the walk follows none.
    pub fn resolved<'p>(&self, path: &'p Path) -> Cow<'p, Path> {
        match self.roots.resolve(path) {
            Some(resolved) => resolved.into(),
            None => path.into(),
        }
    }

    /// Resolves the text of a symbolic link. A path map that covers the text applies first, since
    /// the link may have been created on another system.
    pub fn of_link(&self, link: &Path, text: &Path) -> Result<There, Not> {
        match text.to_str().and_then(|text| self.mapped(text)) {
            Some(mapped) => self.resolve(mapped?),
            None => self.resolve(self.beside(link, text)),
        }
    }

    pub fn of_pointer(&self, pointer: &Path, text: &str) -> Result<There, Not> {
        let text: Cow<str> = match (text.strip_prefix(r"\\?\UNC"), text.strip_prefix(r"\\?\")) {
            (Some(rest), _) => format!(r"\{rest}").into(),
            (_, Some(rest)) => rest.into(),
            _ => text.into(),
        };
        if let Some(mapped) = self.mapped(&text) {
            return self.resolve(mapped?);
        }
        if path_map::is_of_windows(&text) {
            let why = format!("no path map covers it: --path-map DIRECTORY={}", beginning(&text));
            return Err((Locality::Offline, why));
        }
        if text.starts_with('%') {
            return Err((Locality::Offline, "it begins with a variable of another system".into()));
        }
        match text.starts_with('/') {
            true => self.resolve(text.as_ref().into()),
            false => self.resolve(self.beside(pointer, text.replace('\\', "/"))),
        }
    }

    /// Joins a relative path to the directory of a file. The root in that directory's path is
    /// replaced by the root without links, so that `..` has the same meaning as for the operating
    /// system.
    fn beside(&self, file: &Path, text: impl AsRef<Path>) -> PathBuf {
        self.resolved(file).parent().unwrap_or(file).join(text)
    }

    /// Maps a path of the PACS server to this system. Returns `None` if no path map covers the
    /// path.
    fn mapped(&self, text: &str) -> Option<Result<PathBuf, Not>> {
        let (directory, rest) = self.path_map.covering(text)?;
        let exact = rest.iter().fold(directory.to_path_buf(), |path, name| path.join(name));
        let is_there = !path_map::is_of_windows(text) || exact.symlink_metadata().is_ok();
        let ignoring_case = || self.ignoring_case(directory, &rest).map(|found| found.unwrap_or(exact.clone()));
        Some(if is_there { Ok(exact) } else { ignoring_case() })
    }

    /// Finds a path of Windows, which ignores case: for each name that does not exist in the given
    /// spelling, the one name that differs by case only.
    fn ignoring_case(&self, directory: &Path, names: &[&str]) -> Result<Option<PathBuf>, Not> {
        let mut path = directory.to_path_buf();
        for name in names {
            let exact = path.join(name);
            if exact.symlink_metadata().is_ok() {
                path = exact;
                continue;
            }
            let found = self.names_in(&path);
            match found.get(&name.to_lowercase()).map_or(&[][..], Vec::as_slice) {
                [] => return Ok(None),
                [one] => path.push(one),
                _ => return Err((Locality::Unknown, format!("{} names differ by case only", exact.display()))),
            }
        }
        Ok(Some(path))
    }

    fn names_in(&self, directory: &Path) -> Arc<Names> {
        let lock = || self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = lock();
        if let Some(at) = last.iter().position(|(of, _)| of == directory)
            && let Some(known) = last.remove(at)
        {
            let names = known.1.clone();
            last.push_front(known);
            return names;
        }
        // The lock is released so that no thread waits; other threads may list the same directory.
        drop(last);
        let mut names = Names::new();
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            names.entry(entry.file_name().to_string_lossy().to_lowercase()).or_default().push(entry.file_name());
        }
        let names = Arc::new(names);
        let mut last = lock();
        last.push_front((directory.into(), names.clone()));
        while last.len() > DIRECTORIES
            || last.len() > 1 && last.iter().map(|(_, names)| names.len()).sum::<usize>() > MOST_NAMES
        {
            last.pop_back();
        }
        names
    }

    fn resolve(&self, path: PathBuf) -> Result<There, Not> {
        let as_text = normal(&path);
        if self.path_map.holds(&as_text) || self.place(&as_text).is_some() || self.is_below_without_links(&as_text) {
            return match path.canonicalize() {
                Ok(resolved) => Ok(There { named: self.named(as_text, &resolved), resolved }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing(&as_text)),
                Err(error) => Err(not_reached(&error)),
            };
        }
        let why = "points out of the roots: if it may be read there, name its directory with --target-root";
        Err((Locality::Unknown, why.into()))
    }

    fn is_below_without_links(&self, path: &Path) -> bool {
        self.roots.below_resolved(path).is_some() || self.allow(path)
    }

    /// Replaces an allowed directory without links by its given spelling, which the path maps know.
    fn named(&self, path: PathBuf, resolved: &Path) -> PathBuf {
        let below =
            |(given, without_links): &(PathBuf, PathBuf)| Some(given.join(resolved.strip_prefix(without_links).ok()?));
        self.allowed.iter().find_map(below).unwrap_or(path)
    }

    /// Classifies a missing target. A target that is missing from a directory with other entries
    /// has been removed. If that directory is empty or outside of the roots, a mount may be
    /// missing.
    fn missing(&self, path: &Path) -> Not {
        let above = path.ancestors().skip(1).find_map(|above| above.canonicalize().ok());
        let holds = |directory: &Path| self.are_walked(directory) || self.allow(directory);
        let has_entries =
            |directory: &Path| std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
        match above.filter(|above| holds(above)) {
            Some(above) if has_entries(&above) => (Locality::Unavailable, "its target is not there".into()),
            Some(_) => (Locality::Offline, "the directory of its target is empty: is it mounted?".into()),
            None => (Locality::Offline, "its target is not there, and lies out of the roots: is it mounted?".into()),
        }
    }
}

/// Removes `.` and `..` from the text of a path, without checking whether the component before `..`
/// is a link.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            component => normal.push(component),
        }
        normal
    })
}

/// Returns the drive, or the server and share, of a path.
fn beginning(text: &str) -> String {
    let is_separator = |c: char| c == '/' || c == '\\';
    let names: Vec<&str> = text.split(is_separator).filter(|name| !name.is_empty()).collect();
    match text.starts_with(is_separator) {
        true => format!("//{}", names[..names.len().min(2)].join("/")),
        false => names.first().map_or(String::new(), |drive| format!("{drive}/")),
    }
}

fn not_reached(error: &io::Error) -> Not {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::ELOOP) {
        return (Locality::Unavailable, "a loop of links".into());
    }
    (Locality::Unknown, error.to_string())
}
