//! Helpers for the tests of the journal.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value as Json, json};

use crate::support::{Index, ROOT_UID, Said, Site};

pub const DAY: &str = "2021-11-12-FRI";
pub const JOURNAL: [&str; 2] = ["--state", "journal"];

/// Writes an instance that was modified this many days ago, so that the journal records it.
pub fn put(site: &Site, path: &str, days: u64, change: Json) {
    site.add(path, change);
    age(site, path, days);
}

pub fn age(site: &Site, path: &str, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(86_400 * days);
    fs::OpenOptions::new().write(true).open(site.archive().join(path)).unwrap().set_modified(then).unwrap();
}

pub fn instance(study: u32, n: u32) -> Json {
    json!({
        "PatientID": format!("T{study}"), "StudyInstanceUID": format!("{ROOT_UID}.{study}"),
        "SeriesInstanceUID": format!("{ROOT_UID}.{study}.1"), "SOPInstanceUID": uid(study, n),
        "InstanceNumber": n.to_string(), "StudyDescription": format!("part {n}"),
    })
}

pub fn uid(study: u32, n: u32) -> String {
    format!("{ROOT_UID}.{study}.1.{n}")
}

pub fn with(mut instance: Json, keyword: &str, value: &str) -> Json {
    instance[keyword] = value.into();
    instance
}

pub fn put_study(site: &Site, study: u32, count: u32) {
    for n in 1..=count {
        put(site, &format!("{DAY}/{study}-{n}"), 30, instance(study, n));
    }
}

pub fn run(site: &Site, index: &Index, more: &[&str]) -> Said {
    site.reindex(index, &[&JOURNAL, more].concat())
}

/// Runs without the state of former runs.
pub fn afresh(site: &Site, index: &Index) -> Said {
    let _ = fs::remove_dir_all(site.path("fresh"));
    site.reindex(index, &["--state", "fresh"])
}

/// Removes the last marks from the log, as if the run had been killed before it wrote them: that it
/// has ended (5), that its last batch is committed (3).
pub fn unmark(site: &Site, kinds: &[u8]) {
    let log = site.journal("log");
    let mut bytes = fs::read(&log).unwrap();
    for kind in kinds {
        let frame = bytes.len() - if *kind == 3 { 13 } else { 9 };
        assert_eq!(bytes[frame], *kind, "the last frame is another");
        bytes.truncate(frame);
    }
    fs::write(&log, bytes).unwrap();
}

pub const ENDED: u8 = 5;
pub const COMMITTED: u8 = 3;

/// Returns two studies that go to different writers.
pub fn two_studies() -> (u32, u32) {
    let writer = |study: u32| {
        let mut hasher = DefaultHasher::new();
        format!("t{study}").hash(&mut hasher);
        hasher.finish() % 2
    };
    (1, (2..).find(|study| writer(*study) != writer(1)).unwrap())
}

/// Kills a run after it has committed all of the first of two studies and nothing of the second.
pub fn killed_between(site: &Site, (first, second): (u32, u32)) -> Index {
    let index = Index::mariadb(site);
    let mut other = index.connect();
    other.execute(&format!("START TRANSACTION; INSERT INTO patient (origid) VALUES ('T{second}')"));
    let run = site.start_reindex(&index, &JOURNAL);
    let count = format!("SELECT COUNT(*) FROM image WHERE uuid LIKE '{ROOT_UID}.{first}.%'");
    wait_for(|| index.rows(&count) != ["0"]);
    sleep(Duration::from_millis(300));
    run.kill();
    other.execute("ROLLBACK");
    other.close();
    assert_eq!(index.rows("SELECT COUNT(*) FROM image WHERE uuid LIKE '%.2.1.%'"), ["0"]);
    index
}

pub fn wait_for(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to that");
        sleep(Duration::from_millis(20));
    }
}

pub fn other_kill(index: &Index, id: &str) {
    index.connect().try_execute(&format!("KILL {id}"));
}

pub fn listed(site: &Site, what: &str) -> Vec<String> {
    site.findings(what)
}
