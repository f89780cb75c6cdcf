//! The state directory: its location, and the handling of damaged files in it.

mod catalogue;
mod damaged;
mod durable;
mod formats;
mod locks;
mod places;
mod unreadable;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::{Index, Said, Site};

/// An archive whose files are old enough to be recorded in the journal.
fn archive(site: &Site) {
    for study in 1..=2 {
        site.add_series("2021-11-12-FRI", study, 1, 5);
    }
}

fn reindexing(site: &Site, index: &Index, more: &[&str]) -> Command {
    let mut command = site.program(&["reindex", "archive", "--index", &index.url, "--quiet", "--min-age", "0s"]);
    command.args(more);
    command
}

/// A command in an environment that names no directory of the user.
fn without_a_home(command: &mut Command) -> &mut Command {
    ["HOME", "XDG_STATE_HOME", "LOCALAPPDATA"].into_iter().for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// Returns the names in a directory, without the digits of times, processes and hashes.
fn names(directory: PathBuf) -> Vec<String> {
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().split('-').next().unwrap().to_owned();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names.dedup();
    names
}

/// Adds a text file to the images, which is listed as a finding.
fn add_text(site: &Site) {
    site.write("2021-11-12-FRI/text", &b"no DICOM data set, only a text that is long enough. ".repeat(10));
}

/// Adds an instance outside the archive.
fn add_medium(site: &Site) {
    crate::import::put(site, "cd/1.2.3", json!({"SOPInstanceUID": "1.2.3"}));
}

fn said(command: &mut Command) -> Said {
    Said::of(command)
}
