//! Helpers for the tests of shards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::support::{Index, PASSWORD, ROOT_UID, Said, Site, beyond};

/// Returns a directory below a root that belongs to the first or the second of two shards.
pub fn directory_of(shard: u64) -> String {
    (0..).map(|n| format!("d{n}")).find(|name| xxh3_64(name.as_bytes()) % 2 == shard - 1).unwrap()
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

/// Reads the first or the second of two shards.
pub fn shard(site: &Site, n: u32, roots: &[&str], more: &[&str]) -> Said {
    let (part, state, list) = (format!("{n}/2"), format!("shard-{n}"), format!("list-{n}"));
    let settle: &[&str] = if more.contains(&"--min-age") { &[] } else { &["--min-age", "0s"] };
    let _ = fs::remove_file(site.path(&list));
    let mut command = site.program(&["reindex", "--quiet", "--shard", &part, "--state", &state, "--rejected", &list]);
    let roots = roots.iter().map(|root| site.path(root));
    Said::of(command.args(settle).args(more).arg("--").args(roots))
}

/// Reads both shards.
pub fn read_shards(site: &Site, roots: &[&str]) {
    for n in 1..=2 {
        let said = shard(site, n, roots, &[]);
        assert!(said.exit < 2, "{}{}", said.out, said.err);
    }
}

/// Merges both shards.
pub fn merge(site: &Site, index: &Index, more: &[&str]) -> Said {
    let settle: &[&str] = if more.contains(&"--min-age") { &[] } else { &["--min-age", "0s"] };
    let state: &[&str] = if more.contains(&"--state") { &[] } else { &["--state", "merge"] };
    command(site, index, "list-end", &[settle, state, more, &["--merge-shards", "shard-1", "shard-2"]].concat())
}

/// Writes all rows and finalizes none, like a run that is killed: merges a shard that stopped
/// before its end. The state of the merge is in a directory of its own.
pub fn write_unsettled(site: &Site, index: &Index, root: &Path, state: &str) {
    let settle = ["--min-age", "0s"];
    let said =
        Said::of(site.program(&["reindex", "--quiet", "--shard", "1/1", "--state", "stopped"]).args(settle).arg(root));
    assert!(said.exit < 2, "{}{}", said.out, said.err);
    unmark(site, "stopped", "shard");
    let lock = fs::File::open(site.kept("stopped", "shard").join("lock")).unwrap();
    lock.lock().unwrap();
    let mut merge = site.program(&["reindex", "--index", &index.url, "--quiet", "--state", state]);
    merge.args(settle).args(["--merge-shards", "stopped"]).env("PACS_INDEX_PASSWORD", PASSWORD);
    let merge = merge.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // Wait until the merge has begun. It follows the shard as long as the shard is locked.
    while site.kept_by_now(state, "journal").is_none() && Instant::now() < deadline {
        sleep(Duration::from_millis(5));
    }
    drop(lock);
    let said = Said::new(merge.wait_with_output().unwrap());
    assert!(said.exit == 3 && said.err.contains("stopped before it had read all"), "{}{}", said.out, said.err);
}

/// Makes an ordinary run from scratch. Returns its output and its list.
pub fn ordinary(site: &Site, index: &Index, roots: &[&str], more: &[&str]) -> (Said, Vec<String>) {
    let _ = fs::remove_dir_all(site.path("one"));
    again(site, index, roots, more)
}

/// Makes a run that resumes the previous one, which was killed. Returns its output and its list.
pub fn again(site: &Site, index: &Index, roots: &[&str], more: &[&str]) -> (Said, Vec<String>) {
    let roots: Vec<PathBuf> = roots.iter().map(|root| site.path(root)).collect();
    let roots: Vec<&str> = roots.iter().map(|root| root.to_str().unwrap()).collect();
    let said = command(site, index, "list-one", &[&["--min-age", "0s", "--state", "one"], more, &roots].concat());
    (said, listed(site, &["list-one"]))
}

pub fn listed(site: &Site, lists: &[&str]) -> Vec<String> {
    let text = |name: &&str| fs::read_to_string(site.path(name)).unwrap_or_default();
    let mut lines: Vec<String> =
        lists.iter().flat_map(|name| text(name).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

pub const LISTS: [&str; 1] = ["list-end"];

#[track_caller]
pub fn assert_same(expected: &[String], found: &[String], what: &str) {
    assert_eq!((beyond(expected, found), beyond(found, expected)), (vec![], vec![]), "missing, and too many: {what}");
}

/// Truncates a log to that of a command that was killed before it wrote its last mark.
pub fn unmark(site: &Site, state: &str, kind: &str) {
    let log = site.kept(state, kind).join("log");
    let mut bytes = fs::read(&log).unwrap();
    // After the head of 32 bytes, each frame has a kind, the length of its payload, and a checksum.
    let (mut frame, mut next) = (32, 32);
    while next < bytes.len() {
        frame = next;
        next += 9 + u32::from_le_bytes(bytes[frame + 1..frame + 5].try_into().unwrap()) as usize;
    }
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
