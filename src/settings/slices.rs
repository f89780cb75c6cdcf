//! The key of a journal, a text that people can read and that `--finish` reads; and which slices make a whole.

#![allow(clippy::disallowed_methods, reason = "directories of this program's own")]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::archive::{Roots, Slice};
use crate::cli;
use crate::error::{Error, Result};
use crate::index::Location;
use crate::journal::Journal;

/// The index, the directories, and the slice.
pub fn key(location: &Location, roots: &Roots, slice: Option<Slice>) -> String {
    let index = super::name(location);
    let mut paths: Vec<String> = roots.paths().iter().map(|root| format!("root {}\n", root.display())).collect();
    // Which root comes first may decide between files, and is for `--finish` to know.
    if slice.is_none() {
        paths.sort();
    }
    let slice = slice.map_or(String::new(), |slice| format!("slice {slice}\n"));
    format!("index {index}\n{}{slice}", paths.concat())
}

/// The journals of slices, each with its key, and the roots that the keys name.
pub struct Slices {
    directories: Vec<(PathBuf, String, Slice)>,
    pub roots: Vec<PathBuf>,
}

/// The slices below the directories of `--finish`; `None` without that option.
pub fn to_finish(directories: &[PathBuf], index: &cli::Index) -> Result<Option<Slices>> {
    if directories.is_empty() {
        return Ok(None);
    }
    let index = format!("index {}\n", super::name(&super::location(index)?));
    let mut slices = Slices { directories: Vec::new(), roots: Vec::new() };
    for directory in directories {
        for (journal, key, slice) in slices_in(directory, &index)? {
            slices.roots = values(&key, "root ").map(PathBuf::from).collect();
            slices.directories.push((journal, key, slice));
        }
    }
    Ok(Some(slices))
}

/// The journals of slices in a state directory, or the journal that a directory is: those of this index, if there are any.
fn slices_in(directory: &Path, index: &str) -> Result<Vec<(PathBuf, String, Slice)>> {
    let refused = |why: &str| {
        Error::usage(
            format!("--finish {}: {why}", directory.display()),
            "Name the directories that the slices were given as --state.",
        )
    };
    let journals = journals_in(directory).map_err(|error| refused(&format!("no journal lies there: {error}")))?;
    if journals.is_empty() {
        return Err(refused("no journal lies there"));
    }
    let (mut slices, mut has_damage) = (Vec::new(), false);
    for journal in journals {
        let key = match Journal::note_in(&journal) {
            Ok(key) => key,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(refused(&format!("{} cannot be read: {error}", journal.display())));
            }
            Err(_) => {
                has_damage = true;
                continue;
            }
        };
        let slice = values(&key, "slice ").next().and_then(|slice| slice.parse::<Slice>().ok());
        slices.extend(slice.map(|slice| (journal, key, slice)));
    }
    if slices.iter().any(|(_, key, _)| key.starts_with(index)) {
        slices.retain(|(_, key, _)| key.starts_with(index));
    }
    match slices.is_empty() {
        false => Ok(slices),
        true if has_damage => {
            Err(refused("the note of which slice its journal belongs to is damaged; run that slice again"))
        }
        true => Err(refused("its run was no slice, and has settled its rows by itself")),
    }
}

fn journals_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    if Journal::is_in(directory) {
        return Ok(vec![directory.to_owned()]);
    }
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if Journal::is_in(&path) && path.extension().is_none() {
            journals.push(path);
        }
    }
    journals.sort();
    Ok(journals)
}

fn values<'k>(key: &'k str, name: &'k str) -> impl Iterator<Item = &'k str> {
    key.lines().filter_map(move |line| line.strip_prefix(name))
}

impl Slices {
    /// The journals and their keys, if they are the slices of one run into this index, and all of them.
    pub fn of_index(self, location: &Location, roots: &Roots) -> Result<Vec<(PathBuf, String)>> {
        let of = self.directories.first().map_or(0, |(.., slice)| slice.of());
        for (directory, is, slice) in &self.directories {
            let expected = key(location, roots, Some(*slice));
            if *is != expected || slice.of() != of {
                return Err(Error::usage(
                    format!("--finish {}: is of another run:\n{}", directory.display(), is.trim_end()),
                    "Name the directories of all slices of one run, and the --index that they were given.",
                ));
            }
        }
        for number in 1..=of {
            let count = self.directories.iter().filter(|(.., slice)| slice.number() == number).count();
            if count != 1 {
                let what = if count == 0 { "is missing" } else { "is named more than once" };
                return Err(Error::usage(
                    format!("--finish: slice {number}/{of} {what}"),
                    "Name the directory of each slice once; run one that was not run yet.",
                ));
            }
        }
        Ok(self.directories.into_iter().map(|(directory, key, _)| (directory, key)).collect())
    }
}
