//! What tests of slices do.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::support::{Index, PASSWORD, ROOT_UID, Said, Site, beyond};

/// A directory below a root that the first or the second of two slices takes.
pub fn directory_of(slice: u64) -> String {
    (0..).map(|n| format!("d{n}")).find(|name| xxh3_64(name.as_bytes()) % 2 == slice - 1).unwrap()
}

pub fn instance(study: u32, n: u32) -> Json {
    json!({
        "PatientID": "P1", "PatientName": "Doe^Jane", "StudyInstanceUID": format!("{ROOT_UID}.{study}"),
        "SeriesInstanceUID": format!("{ROOT_UID}.{study}.1"), "SOPInstanceUID": format!("{ROOT_UID}.{study}.1.{n}"),
        "InstanceNumber": n.to_string(),
    })
}

pub fn with(mut instance: Json, keyword: &str, value: &str) -> Json {
    instance[keyword] = value.into();
    instance
}

pub fn command(site: &Site, index: &Index, list: &str, more: &[&str]) -> Said {
    let _ = fs::remove_file(site.path(list));
    let mut command = site.program(&["reindex", "--index", &index.url, "--quiet", "--rejected", list]);
    Said::of(command.args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
}

pub fn slice(site: &Site, index: &Index, n: u32, roots: &[&str], more: &[&str]) -> Said {
    let (part, state) = (format!("{n}/2"), format!("slice-{n}"));
    let settle: &[&str] = if more.contains(&"--settle") { &[] } else { &["--settle", "0s"] };
    let options = [settle, &["--slice", &part, "--state", &state]].concat();
    let roots: Vec<PathBuf> = roots.iter().map(|root| site.path(root)).collect();
    let roots: Vec<&str> = roots.iter().map(|root| root.to_str().unwrap()).collect();
    command(site, index, &format!("list-{n}"), &[&options, more, &["--"], &roots].concat())
}

pub fn finish(site: &Site, index: &Index, more: &[&str]) -> Said {
    command(site, index, "list-end", &[more, &["--finish", "slice-1", "slice-2"]].concat())
}

/// An ordinary run, and what it lists.
pub fn ordinary(site: &Site, index: &Index, roots: &[&str], more: &[&str]) -> (Said, Vec<String>) {
    let _ = fs::remove_dir_all(site.path("one"));
    again(site, index, roots, more)
}

/// It goes on from where the one before was killed.
pub fn again(site: &Site, index: &Index, roots: &[&str], more: &[&str]) -> (Said, Vec<String>) {
    let roots: Vec<PathBuf> = roots.iter().map(|root| site.path(root)).collect();
    let roots: Vec<&str> = roots.iter().map(|root| root.to_str().unwrap()).collect();
    let said = command(site, index, "list-one", &[&["--settle", "0s", "--state", "one"], more, &roots].concat());
    (said, listed(site, &["list-one"]))
}

pub fn listed(site: &Site, lists: &[&str]) -> Vec<String> {
    let text = |name: &&str| fs::read_to_string(site.path(name)).unwrap_or_default();
    let mut lines: Vec<String> =
        lists.iter().flat_map(|name| text(name).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

pub const LISTS: [&str; 3] = ["list-1", "list-2", "list-end"];

#[track_caller]
pub fn assert_same(expected: &[String], found: &[String], what: &str) {
    assert_eq!((beyond(expected, found), beyond(found, expected)), (vec![], vec![]), "missing, and too many: {what}");
}

/// A log as a command leaves it that is killed before it writes its last mark.
pub fn unmark(site: &Site, state: &str) {
    let log = site.kept(state, "journal").join("log");
    let mut bytes = fs::read(&log).unwrap();
    let frame = bytes.len() - 9;
    assert_eq!(bytes[frame], 5, "the last frame is another");
    bytes.truncate(frame);
    fs::write(&log, bytes).unwrap();
}

pub fn copy(site: &Site, from: &str, to: &str) -> Index {
    for more in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(site.path(&format!("{to}{more}")));
        if site.path(&format!("{from}{more}")).exists() {
            fs::copy(site.path(&format!("{from}{more}")), site.path(&format!("{to}{more}"))).unwrap();
        }
    }
    Index::sqlite(site.path(to))
}
