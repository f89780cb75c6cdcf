//! From the text of a link or of a pointer to a path of this system, and whether it may be gone to.
//!
//! A path of Windows, with a drive or a server, is only gone to by a path map: Windows logs on to whatever server a path
//! names, and what a text in the archive names is no reason to.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::locality::Locality;
use super::{PathMap, Roots, path_map, skip};

pub struct Targets {
    roots: Roots,
    path_map: PathMap,
    /// Without links.
    allowed: Vec<PathBuf>,
    /// The names in the directory that was looked through last.
    names: Mutex<Option<(PathBuf, Names)>>,
}

/// By their small letters.
type Names = HashMap<String, Vec<OsString>>;

/// Where a target is.
pub struct There {
    /// As it is called here.
    pub named: PathBuf,
    /// The same without links.
    pub resolved: PathBuf,
}

/// Why it is not to be had, and what can be done.
type Not = (Locality, String);

impl Targets {
    pub fn new(roots: &Roots, path_map: &PathMap, target_roots: &[PathBuf]) -> Self {
        let allowed = target_roots.iter().filter_map(|root| root.canonicalize().ok()).collect();
        Targets { roots: roots.clone(), path_map: path_map.clone(), allowed, names: Mutex::default() }
    }

    /// Whether the walk meets with it: it does not descend into directories of the storage unit's own.
    pub fn are_walked(&self, resolved: &Path) -> bool {
        self.roots.below_resolved(resolved).is_some_and(|below| !below.iter().any(skip::is_system_directory))
    }

    pub fn allow(&self, resolved: &Path) -> bool {
        self.allowed.iter().any(|root| resolved.starts_with(root))
    }

    /// The system follows it, or else a path map where it was made elsewhere.
    pub fn of_link(&self, link: &Path, text: &str) -> Result<There, Not> {
        match link.canonicalize() {
            Ok(resolved) => Ok(There { named: resolved.clone(), resolved }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.mapped(text) {
                Some(mapped) => self.resolve(mapped?),
                None => self.resolve(link.parent().unwrap_or(link).join(text)),
            },
            Err(error) => Err(not_reached(&error)),
        }
    }

    pub fn of_pointer(&self, pointer: &Path, text: &str) -> Result<There, Not> {
        let text = text
            .strip_prefix(r"\\?\UNC")
            .map_or_else(|| text.strip_prefix(r"\\?\").unwrap_or(text).into(), |rest| format!(r"\{rest}"));
        if let Some(mapped) = self.mapped(&text) {
            return self.resolve(mapped?);
        }
        if path_map::is_of_windows(&text) {
            return Err((
                Locality::Offline,
                format!("no path map leads there: --path-map DIRECTORY={}", beginning(&text)),
            ));
        }
        if text.starts_with('%') {
            return Err((Locality::Offline, "it begins with a variable of another system".into()));
        }
        match text.starts_with('/') {
            true => self.resolve(text.into()),
            false => self.resolve(pointer.parent().unwrap_or(pointer).join(text.replace('\\', "/"))),
        }
    }

    /// `None`: no path map covers it.
    fn mapped(&self, text: &str) -> Option<Result<PathBuf, Not>> {
        let (directory, rest) = self.path_map.covering(text)?;
        let exact = rest.iter().fold(directory.to_path_buf(), |path, name| path.join(name));
        let is_there = !path_map::is_of_windows(text) || exact.symlink_metadata().is_ok();
        Some(if is_there {
            Ok(exact)
        } else {
            self.ignoring_case(directory, &rest).map(|found| found.unwrap_or(exact))
        })
    }

    /// Windows knows no case: where a name is not there as it is spelt, the one that differs by case only.
    fn ignoring_case(&self, directory: &Path, names: &[&str]) -> Result<Option<PathBuf>, Not> {
        let mut path = directory.to_path_buf();
        for name in names {
            let exact = path.join(name);
            if exact.symlink_metadata().is_ok() {
                path = exact;
                continue;
            }
            match self.spellings(&path, name).as_slice() {
                [] => return Ok(None),
                [one] => path.push(one),
                _ => return Err((Locality::Unknown, format!("{} names differ by case only", exact.display()))),
            }
        }
        Ok(Some(path))
    }

    fn spellings(&self, directory: &Path, name: &str) -> Vec<OsString> {
        let mut last = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(of, _)| of != directory) {
            let mut names = Names::new();
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                names.entry(entry.file_name().to_string_lossy().to_lowercase()).or_default().push(entry.file_name());
            }
            *last = Some((directory.into(), names));
        }
        last.as_ref().and_then(|(_, names)| names.get(&name.to_lowercase()).cloned()).unwrap_or_default()
    }

    fn resolve(&self, path: PathBuf) -> Result<There, Not> {
        match path.canonicalize() {
            Ok(resolved) => Ok(There { named: path_map::absolute(&path).unwrap_or(path), resolved }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing(&path)),
            Err(error) => Err(not_reached(&error)),
        }
    }

    /// What is missing where everything else is has gone; what is missing with all around it may be mounted another time.
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

/// Drive or server and share.
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
