//! Archives of which a part has moved to slower storage: what stands in its place is told, followed where it leads to
//! something online, and never read by accident.

mod kinds;
mod mended;
mod ntfs;
mod policies;
mod proof;
mod rebuilt;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::support::{Site, instance_file};

/// Makes a file as storage does that has moved its bytes away: as large as before, as old, and without blocks.
fn move_away(path: &Path) {
    let metadata = fs::metadata(path).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(0).unwrap();
    file.set_len(metadata.len().max(4096)).unwrap();
    file.set_modified(metadata.modified().unwrap()).unwrap();
    assert_eq!(fs::metadata(path).unwrap().blocks(), 0);
}

/// An instance of more than four kilobytes: smaller files may occupy no blocks.
fn large(uid: &str) -> Vec<u8> {
    instance_file(json!({"SOPInstanceUID": uid, "ImageComments": "x".repeat(8000)}))
}

/// Puts a file beside the archive.
fn write_beside(site: &Site, path: &str, bytes: &[u8]) {
    site.write(&format!("../{path}"), bytes);
}

/// What the list says of a stub: its kind, locality, and what is known beside.
fn listed(site: &Site, name: &str) -> Json {
    let of_name = |line: &Json| line["what"] == "stub" && line["path"].as_str().unwrap().ends_with(&format!("/{name}"));
    let mut lines: Vec<Json> = site.listing().into_iter().filter(of_name).collect();
    assert_eq!(lines.len(), 1, "{name}: {lines:?}");
    lines.remove(0)
}

/// The files of a site without what a run left.
fn read_all(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn not_run(what: &str, why: impl std::fmt::Display) {
    // Written past the test harness, which shows nothing of tests that pass.
    let _ = writeln!(std::io::stderr(), "\n*** NOT RUN: {what}: {why} ***\n");
}
