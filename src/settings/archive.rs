//! The location of the archive: `--path-map`, and `--roots-from-index`, which uses the archive
//! directories in the configuration of the PACS.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::archive::{PathMap, Roots, path_map};
use crate::error::{Error, Result};
use crate::index::{Location, pacsone};

pub fn path_map(typed: &[String]) -> Result<PathMap> {
    let mappings = typed.iter().map(|text| {
        text.parse().map_err(|why| Error::usage(format!("--path-map {text} cannot be used"), format!("{why}.")))
    });
    let path_map = PathMap::new(mappings.collect::<Result<_>>()?);
    check_names(&path_map)?;
    Ok(path_map)
}

/// Checks that every map belongs to a directory that is read, that no two directories get the same
/// name, and that no directory gets two names.
pub fn check_maps(path_map: &PathMap, directories: &[PathBuf]) -> Result<()> {
    check_names(path_map)?;
    if let Some(directory) = path_map.fits_none_of(directories) {
        return Err(Error::usage(
            format!("--path-map {}=...: no root is there", directory.display()),
            "Check its spelling, links included: rows would hold paths that the PACS does not know. Where pointer files \
             lead there, name it with --target-root too.",
        ));
    }
    match path_map.clash(directories) {
        None => Ok(()),
        Some((directory, other)) => Err(Error::usage(
            format!(
                "--path-map: two directories, {} and {}, would have one name on the PACS server",
                directory.display(),
                other.display()
            ),
            "Map each directory to its own name on the PACS server.",
        )),
    }
}

/// Refuses two names for one directory, of which only one would have an effect.
fn check_names(path_map: &PathMap) -> Result<()> {
    match path_map.two_names() {
        None => Ok(()),
        Some([one, other]) => Err(Error::usage(
            format!("--path-map {one} and --path-map {other} give one directory two names on the PACS server"),
            "Leave out the wrong one.",
        )),
    }
}

/// Refuses output files inside the archive. Each file comes with its option.
pub fn check_outside<'f>(
    mut outputs: impl Iterator<Item = (&'static str, &'f Path)>,
    is_in_archive: impl Fn(&Path) -> bool,
) -> Result<()> {
    match outputs.find(|(_, file)| is_in_archive(file)) {
        None => Ok(()),
        Some((option, file)) => Err(Error::usage(
            format!("{option} {}: is in the archive, where only images belong", file.display()),
            "Name a file elsewhere.",
        )),
    }
}

/// Returns the files in a list, which has one path per line. A file that is listed more than once
/// is returned once.
pub fn files(list: &Path, roots: &Roots) -> Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string(list).map_err(|error| {
        Error::usage(format!("--files {}: {error}", list.display()), "Name a file with a path on each line.")
    })?;
    let below = |(n, line): (usize, &str)| {
        let path = path_map::absolute(Path::new(line)).unwrap_or_else(|_| line.into());
        match roots.paths().iter().any(|root| path.starts_with(root)) {
            true => Ok(path),
            false => Err(Error::usage(
                format!("--files {}: line {} is not below a root", list.display(), n + 1),
                "Name its root too.",
            )),
        }
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut files = lines.map(below).collect::<Result<Vec<_>>>()?;
    let mut seen = HashSet::with_capacity(files.len());
    files.retain(|file| seen.insert(file.clone()));
    Ok(files)
}

/// Returns the archive directories in the index, as local paths. None of them is inside another
/// one.
pub fn named_by(location: &Location, path_map: &PathMap) -> Result<Vec<PathBuf>> {
    let named = pacsone::archive_directories(location)?;
    if named.is_empty() {
        return Err(Error::usage(
            format!("{} names no archive directory, or none that its user may see", location.shown()),
            "Let the user SELECT from the tables config and applentity, or name the directories of the archive.",
        ));
    }
    here(&named, path_map)
}

fn here(named: &[String], path_map: &PathMap) -> Result<Vec<PathBuf>> {
    let called: Vec<_> = named.iter().map(|name| (name, path_map.from_index(name))).collect();
    let mut found: Vec<(PathBuf, PathBuf)> = Vec::new();
    for (name, path) in &called {
        let resolved = path.as_ref().and_then(|path| Some((path, path.canonicalize().ok()?)));
        match (resolved, path) {
            (Some((path, resolved)), _) => found.push((path.clone(), resolved)),
            // The PACS creates this directory with its first file, and the configured directory
            // around it is read anyway.
            (None, Some(path)) if called.iter().flat_map(|c| &c.1).any(|p| path != p && path.starts_with(p)) => {}
            (None, _) => return Err(missing(name, path.as_ref())),
        }
    }
    Ok(outermost(&found))
}

/// Returns the directories that are not inside another one. Compares resolved paths: the walk does
/// not follow a symlink inside a directory, so the target of such a link has to be a root of its
/// own.
fn outermost(found: &[(PathBuf, PathBuf)]) -> Vec<PathBuf> {
    let is_held = |n: usize, resolved: &PathBuf| {
        let mut others = found.iter().enumerate().filter(|(other, _)| *other != n);
        others.any(|(other, (_, r))| if r == resolved { other < n } else { resolved.starts_with(r) })
    };
    let kept = found.iter().enumerate().filter(|(n, (_, resolved))| !is_held(*n, resolved));
    kept.map(|(_, (path, _))| path.clone()).collect()
}

fn missing(name: &str, path: Option<&PathBuf>) -> Error {
    let here = path.filter(|path| path.as_os_str() != name);
    let here = here.map_or(String::new(), |path| format!(" ({} by --path-map)", path.display()));
    Error::usage(
        format!("the PACS archives in {name}, which is not a directory of this system{here}"),
        format!("Is it mounted? If it is called otherwise here, say so: --path-map DIRECTORY={name}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn directories_inside_another_are_left_out_unless_a_link_leads_away() {
        let site = tempfile::tempdir().unwrap();
        let path = |name: &str| site.path().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(path("dicom/ct")).unwrap();
        std::fs::create_dir_all(path("far")).unwrap();
        std::os::unix::fs::symlink(path("far"), path("dicom/old")).unwrap();
        std::os::unix::fs::symlink(path("dicom"), path("same")).unwrap();
        let names =
            ["dicom/ct", "dicom/", "dicom/old", "dicom/new", "same"].map(|name| path(name).display().to_string());
        assert_eq!(here(&names, &PathMap::default()).unwrap(), [path("dicom"), path("dicom/old")]);
    }

    #[test]
    fn a_directory_that_is_not_here_is_named_as_the_pacs_calls_it() {
        let map = PathMap::new(vec!["/nowhere=D:/".parse().unwrap()]);
        for (name, told) in [("D:/DICOM", "/nowhere/DICOM"), ("E:/DICOM", "--path-map DIRECTORY=E:/DICOM")] {
            let error = here(&[name.to_owned()], &map).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(told), "{error}");
        }
    }
}
