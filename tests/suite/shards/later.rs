//! Runs over the whole archive after shards were merged: they recognize the rows that the shards
//! and the merge wrote.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::conflicts::{put, put_conflicts};
use crate::ledger::store::random;
use crate::support::{Index, PASSWORD, ROOT_UID, Site};

use super::is_long;
use super::site::*;

const ROOTS: [&str; 3] = ["a", "b", "c"];
const STATE: [&str; 2] = ["--state", "whole"];
const MERGE: [&str; 3] = ["--state", "whole", "--allow-unmapped-paths"];

/// Moves some of the files away, or back again.
fn move_files(site: &Site, from: &str, to: &str, is_moved: impl Fn(usize) -> bool) {
    let mut files: Vec<PathBuf> = Vec::new();
    for root in ROOTS {
        files.extend(crate::support::walk(&site.path(from).join(root)));
    }
    files.sort();
    for (_, file) in files.iter().enumerate().filter(|(n, _)| is_moved(*n)) {
        let target = site.path(to).join(file.strip_prefix(site.path(from)).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::rename(file, target).unwrap();
    }
}

fn run_over_all(site: &Site, index: &Index) {
    let roots = ROOTS.map(|root| site.path(root).display().to_string());
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let said = command(
        site,
        index,
        "list-whole",
        &[&["--min-age", "0s", "--allow-unmapped-paths"], &STATE[..], &roots].concat(),
    );
    assert!(said.exit <= 1, "{}{}", said.out, said.err);
}

fn fresh_state(site: &Site) {
    for state in ["shard-1", "shard-2", "whole"] {
        let _ = fs::remove_dir_all(site.path(state));
    }
}

/// Returns the dump after a run over the remaining files and one over all files.
fn expected_of_two(site: &Site, make: fn(&Site) -> Index) -> Vec<String> {
    fresh_state(site);
    let index = fresh_index(site, make);
    move_files(site, ".", "away", |n| n % 4 == 0);
    run_over_all(site, &index);
    move_files(site, "away", ".", |_| true);
    run_over_all(site, &index);
    index.dump()
}

/// Returns the dump of an undisturbed run over all files.
fn expected(site: &Site, make: fn(&Site) -> Index) -> Vec<String> {
    fresh_state(site);
    let index = fresh_index(site, make);
    run_over_all(site, &index);
    index.dump()
}

fn fresh_index(site: &Site, make: fn(&Site) -> Index) -> Index {
    for end in ["", "-wal", "-shm", "-run"] {
        let _ = fs::remove_file(site.path(&format!("index.db{end}")));
    }
    let index = make(site);
    if index.url.starts_with("sqlite") {
        site.run(&["init", "--index", &index.url]).exits(0);
    }
    index
}

fn merge_all(site: &Site, index: &Index) {
    let said = merge(site, index, &MERGE);
    assert!(said.exit <= 1, "{}{}", said.out, said.err);
}

#[test]
fn a_run_after_a_merge_corrects_the_rows_of_the_shards() {
    for make in [Site::sqlite as fn(&Site) -> Index, Index::mariadb] {
        for seed in 200..if is_long() { 220 } else { 203 } {
            let site = Site::in_memory();
            put_conflicts(&site, seed);
            let expected = expected_of_two(&site, make);
            move_files(&site, ".", "away", |n| n % 4 == 0);
            fresh_state(&site);
            let index = fresh_index(&site, make);
            read_shards(&site, &ROOTS);
            merge_all(&site, &index);
            move_files(&site, "away", ".", |_| true);
            run_over_all(&site, &index);
            assert_same(&expected, &index.dump(), &format!("seed {seed}"));
        }
    }
}

/// A file that arrives after the merge and that determines the final values of the study.
#[test]
fn a_file_that_arrives_after_a_merge_changes_the_study() {
    let site = Site::new();
    let description = |n: u32, text: &str| with(instance(1, n), "StudyDescription", text);
    put(&site, &format!("a/{}/1", directory_of(1)), 1, description(1, "first"));
    put(&site, &format!("b/{}/2", directory_of(2)), 2, description(2, "second"));
    put(&site, "c/1", 1, instance(2, 1));
    let index = site.sqlite();
    read_shards(&site, &ROOTS);
    merge_all(&site, &index);
    put(&site, &format!("a/{}/3", directory_of(1)), 3, description(3, "third"));
    run_over_all(&site, &index);
    let dump = index.dump();
    assert_same(&expected(&site, Site::sqlite), &dump, "rows");
}

#[test]
fn a_run_after_a_merge_reads_no_file_of_the_shards_again() {
    let site = Site::new();
    for n in 1..=20 {
        let change = json!({"StudyInstanceUID": format!("{ROOT_UID}.1"), "SeriesInstanceUID": format!("{ROOT_UID}.1.1"),
            "SOPInstanceUID": format!("{ROOT_UID}.1.1.{n}")});
        put(&site, &format!("a/{n}/{n}"), 1, change);
    }
    for (root, study) in [("b", 2), ("c", 3)] {
        put(&site, &format!("{root}/1"), 1, instance(study, 1));
    }
    let index = site.sqlite();
    read_shards(&site, &ROOTS);
    merge_all(&site, &index);
    // Files with the same size and mtime count as unchanged.
    for n in 1..=20 {
        let path = site.path(&format!("a/{n}/{n}"));
        let modified = path.metadata().unwrap().modified().unwrap();
        fs::write(&path, vec![0; path.metadata().unwrap().len() as usize]).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    }
    let said = command(&site, &index, "list-whole", &["--min-age", "0s", "--state", "whole", "a", "b", "c"]);
    assert_eq!((said.figure("unchanged"), said.figure("rejected")), (22, 0), "{}{}", said.out, said.err);
}

/// Returns the kind of the last frame in the log of the merge, if the merge has begun. Valid only
/// if the frame has no payload.
fn last_frame(site: &Site) -> Option<u8> {
    let log = fs::read(site.kept_by_now("whole", "journal")?.join("log")).ok()?;
    log.len().checked_sub(9).and_then(|last| log.get(last)).copied()
}

/// Starts a merge and kills it this long after its start or, with `waits`, after its journal was
/// created. Returns whether the merge was still running.
fn kill_a_merge(site: &Site, index: &Index, waits: bool, after: Duration) -> bool {
    let mut command = site.program(&["reindex", "--index", &index.url, "--quiet", "--rejected", "list-killed"]);
    let _ = fs::remove_file(site.path("list-killed"));
    command
        .args(MERGE)
        .args(["--min-age", "0s", "--merge-shards", "shard-1", "shard-2"])
        .env("PACS_INDEX_PASSWORD", PASSWORD);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while waits && site.kept_by_now("whole", "journal").is_none() && run.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    sleep(after);
    let is_killed = run.try_wait().unwrap().is_none();
    let _ = run.kill();
    run.wait().unwrap();
    is_killed
}

/// A merge is killed at any moment and run again, or killed after it has begun and followed by a
/// run over all files.
#[test]
fn a_merge_that_is_killed_loses_no_row_whatever_continues_it() {
    let mut random = random();
    for make in [Site::sqlite as fn(&Site) -> Index, Index::mariadb] {
        let site = Site::in_memory();
        put_conflicts(&site, 300);
        let expected = expected_of_two(&site, make);
        let (mut whole, mut begun, mut killed) = (Duration::from_millis(400), Duration::from_millis(60), 0);
        for round in 0..if is_long() { 20 } else { 6 } {
            fresh_state(&site);
            let index = fresh_index(&site, make);
            move_files(&site, ".", "away", |n| n % 4 == 0);
            read_shards(&site, &ROOTS);
            let part = random.below(100) as f64 / 100.0;
            let is_run_again = round % 2 == 0;
            let limit = if is_run_again { &mut whole } else { &mut begun };
            match kill_a_merge(&site, &index, !is_run_again, limit.mul_f64(part)) {
                true => killed += 1,
                // The next kill comes earlier.
                false => *limit = limit.mul_f64(part.max(0.1)),
            }
            if is_run_again && !has_ended(&site) {
                merge_all(&site, &index);
            }
            move_files(&site, "away", ".", |_| true);
            run_over_all(&site, &index);
            assert_same(&expected, &index.dump(), &format!("round {round}"));
        }
        println!("{killed} merges were killed");
        assert!(killed > 0, "no merge was killed");
    }
}

/// Returns whether the merge has ended.
fn has_ended(site: &Site) -> bool {
    last_frame(site) == Some(5)
}
