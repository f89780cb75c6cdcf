//! Regressions found by adversarial tests of links, pointers and recalls: each of these failed
//! once. Tests whose names end in `_control` passed, which shows that the test setup was not the
//! cause.

mod breaker;
mod copies;
mod recalls;
mod remembered;
mod shards;
mod ways;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::{large, listed, move_away, not_run, write_beside};
use crate::support::stubs::{LinkInfo, ShellLink};
use crate::support::virtual_archive::{Behaviour, Options, VirtualArchive};
use crate::support::{FATES, Index, PASSWORD, Said, Site, beyond, instance_file, walk};

pub(super) const FIRST: &str = "2021-11-13-SAT";
pub(super) const BETWEEN: &str = "2021-11-12-FRI";
pub(super) const LAST: &str = "2021-11-11-THU";

pub(super) fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

/// A shell link to a file of `tier2`, by its relative path from a day of the archive.
pub(super) fn to_tier2(name: &str) -> Vec<u8> {
    let relative = format!(r"..\..\tier2\{name}");
    ShellLink { relative: Some(&relative), ..ShellLink::default() }.bytes()
}

/// Adds files that are indexed between two others, so that these two are in different batches.
pub(super) fn fill(site: &Site) {
    (0..1100).for_each(|n| site.add(&format!("{BETWEEN}/9.{n}"), json!({"SOPInstanceUID": format!("9.{n}")})));
}

pub(super) fn settings(site: &Site, text: &str) -> String {
    let path = site.path("site.toml");
    fs::write(&path, format!("recall = 'allow'\nrecalls-a-minute = 0\n{text}\n")).unwrap();
    path.display().to_string()
}

pub(super) fn adds_up(said: &Said) {
    assert_eq!(FATES.iter().map(|fate| said.figure(fate)).sum::<u64>(), said.figure("files found"), "{}", said.out);
}

/// Returns the sum of a column of the table of stubs, over the lines with an outcome.
pub(super) fn told_of_stubs(said: &Said, outcome: &str) -> u64 {
    let lines = said.out.lines().skip_while(|line| !line.starts_with("stubs and links")).skip(1);
    let lines = lines.take_while(|line| !line.is_empty()).filter(|line| line.ends_with(&format!("  {outcome}")));
    let files = |line: &str| {
        let words: Vec<&str> = line.trim_end_matches(outcome).split_whitespace().collect();
        let at = words.iter().position(|w| ["online", "nearline", "offline", "unavailable", "unknown"].contains(w));
        words[at.unwrap() + 1].replace(',', "").parse::<u64>().unwrap()
    };
    lines.map(files).sum()
}
