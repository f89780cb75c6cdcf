//! Of what a journal is, in a text that people can read and `--finish` reads; and which slices make a whole.

use std::path::PathBuf;

use crate::archive::{Roots, Slice, path_map};
use crate::error::{Error, Result};
use crate::index::Location;
use crate::journal::Journal;

/// The index, the directories, and the slice.
pub fn key(location: &Location, roots: &Roots, slice: Option<Slice>) -> String {
    let index = name(location);
    let mut paths: Vec<String> = roots.paths().iter().map(|root| format!("root {}\n", root.display())).collect();
    // Which root comes first may decide between files, and is for `--finish` to know.
    if slice.is_none() {
        paths.sort();
    }
    let slice = slice.map_or(String::new(), |slice| format!("slice {slice}\n"));
    format!("index {index}\n{}{slice}", paths.concat())
}

/// What an index is called, wherever the program is started.
pub fn name(location: &Location) -> String {
    match location.file() {
        Some(file) => format!("sqlite:{}", path_map::absolute(file).unwrap_or_else(|_| file.to_owned()).display()),
        None => location.shown(),
    }
}

/// What the directories of `--finish` say of themselves.
pub struct Slices {
    directories: Vec<(PathBuf, String, Slice)>,
    pub roots: Vec<PathBuf>,
}

/// `None` where nothing is to be finished.
pub fn to_finish(directories: &[PathBuf]) -> Result<Option<Slices>> {
    let mut slices = Slices { directories: Vec::new(), roots: Vec::new() };
    for directory in directories {
        let shown = directory.display();
        let key = Journal::key(directory).map_err(|error| {
            Error::usage(
                format!("--finish {shown}: no journal lies there: {error}"),
                "Name the directories that the slices were given as --state.",
            )
        })?;
        let value = |name: &str| key.lines().filter_map(|line| line.strip_prefix(name)).collect::<Vec<_>>();
        let Some(slice) = value("slice ").first().and_then(|slice| slice.parse::<Slice>().ok()) else {
            return Err(Error::usage(
                format!("--finish {shown}: its run was no slice, and has settled its rows by itself"),
                "Name the directories that the slices were given as --state.",
            ));
        };
        slices.roots = value("root ").into_iter().map(PathBuf::from).collect();
        slices.directories.push((directory.clone(), key, slice));
    }
    Ok((!slices.directories.is_empty()).then_some(slices))
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
