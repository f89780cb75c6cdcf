//! Archives whose files have partly moved to slower storage: stubs in their place are detected,
//! followed if the target is online, and never recalled by accident.

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

/// Makes a file look like one whose data a storage system has moved away: its size and mtime are
/// unchanged, and it has no blocks.
fn move_away(path: &Path) {
    let metadata = fs::metadata(path).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(0).unwrap();
    file.set_len(metadata.len().max(4096)).unwrap();
    file.set_modified(metadata.modified().unwrap()).unwrap();
    assert_eq!(fs::metadata(path).unwrap().blocks(), 0);
}

/// An instance of more than four kilobytes, because smaller files may occupy no blocks.
fn large(uid: &str) -> Vec<u8> {
    instance_file(json!({"SOPInstanceUID": uid, "ImageComments": "x".repeat(8000)}))
}

/// Writes a file outside the archive.
fn write_beside(site: &Site, path: &str, bytes: &[u8]) {
    site.write(&format!("../{path}"), bytes);
}

/// Returns the list's entry for a stub: its kind, its locality, and further facts.
fn listed(site: &Site, name: &str) -> Json {
    let of_name = |line: &Json| line["what"] == "stub" && line["path"].as_str().unwrap().ends_with(&format!("/{name}"));
    let mut lines: Vec<Json> = site.listing().into_iter().filter(of_name).collect();
    assert_eq!(lines.len(), 1, "{name}: {lines:?}");
    lines.remove(0)
}

/// Reads a whole file.
fn read_all(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn not_run(what: &str, why: impl std::fmt::Display) {
    // Written to stderr directly, because the test harness hides the output of tests that pass.
    let _ = writeln!(std::io::stderr(), "\n*** NOT RUN: {what}: {why} ***\n");
}
