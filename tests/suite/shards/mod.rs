//! One archive that several processes read in parallel, and whose shards are then merged.

mod before;
mod findings;
mod killed;
mod later;
pub mod site;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::conflicts::{outcome, put_conflicts};
use crate::support::{FATES, Index, PASSWORD, Said, Site, beyond};

const SHARDS: u32 = 4;
const ROOTS: [&str; 3] = ["a", "b", "c"];

fn is_long() -> bool {
    std::env::var_os("PACS_INDEX_TEST_LONG").is_some()
}

fn roots(site: &Site) -> Vec<PathBuf> {
    ROOTS.iter().map(|root| site.path(root)).collect()
}

fn state(n: u32) -> String {
    format!("shard-{n}")
}

fn shard(site: &Site, n: u32, more: &[&str]) -> Command {
    let mut command = site.program(&["reindex", "--quiet", "--min-age", "0s"]);
    let _ = fs::remove_file(site.path(&format!("list-{n}")));
    command.args(["--shard", &format!("{n}/{SHARDS}"), "--state", &state(n), "--rejected", &format!("list-{n}")]);
    command.args(more).arg("--").args(roots(site)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn merging(site: &Site, index: &Index, states: &[String], more: &[&str]) -> Command {
    let _ = fs::remove_file(site.path("list-end"));
    let mut command = site.program(&["reindex", "--index", &index.url, "--quiet", "--rejected", "list-end"]);
    command.args(["--min-age", "0s", "--state", "merge"]).args(more).arg("--merge-shards").args(states);
    command.env("PACS_INDEX_PASSWORD", PASSWORD).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn states() -> Vec<String> {
    (1..=SHARDS).map(state).collect()
}

/// Returns the lines of the list of the merge.
fn listed(site: &Site) -> Vec<String> {
    let text = fs::read_to_string(site.path("list-end")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Reads shards in parallel; the last one is killed once and run again. Merges the shards while
/// they are read, or afterwards.
fn in_shards(site: &Site, index: &Index, is_followed: bool) -> (Said, Vec<Said>) {
    let mut running: Vec<_> = (1..=SHARDS).map(|n| shard(site, n, &["--io-threads", "2"]).spawn().unwrap()).collect();
    let mut killed = running.pop().unwrap();
    let deadline = Instant::now() + Duration::from_millis(60);
    while killed.try_wait().unwrap().is_none() && Instant::now() < deadline {}
    let _ = killed.kill();
    killed.wait().unwrap();
    let last = shard(site, SHARDS, &[]).spawn().unwrap();
    let is_begun = |n: u32| site.kept_by_now(&state(n), "shard").is_some_and(|shard| shard.join("log").exists());
    while is_followed && !(1..=SHARDS).all(is_begun) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut merge = is_followed.then(|| merging(site, index, &states(), &[]).spawn().unwrap());
    let said = running.into_iter().chain([last]).map(|run| Said::new(run.wait_with_output().unwrap())).collect();
    let merged = merge.take().map(|merge| Said::new(merge.wait_with_output().unwrap()));
    // A merge that begins before a shard has begun is refused.
    let merged = merged.filter(|merged| merged.exit < 2);
    (merged.unwrap_or_else(|| Said::of(&mut merging(site, index, &states(), &[]))), said)
}

#[test]
fn shards_side_by_side_make_the_index_and_the_findings_of_one_run() {
    for seed in 100..if is_long() { 120 } else { 103 } {
        for (make, is_followed) in
            [(Index::mariadb as fn(&Site) -> Index, seed % 2 == 0), (Site::sqlite, seed % 2 == 1)]
        {
            let site = Site::in_memory();
            put_conflicts(&site, seed);
            let calm = make(&site);
            let (rows, list, _) = outcome(&site, &calm, &ROOTS, &[]);
            let _ = fs::remove_file(site.path("index.db"));
            let index = make(&site);
            site.run(&["init", "--index", &index.url]);
            let (end, shards) = in_shards(&site, &index, is_followed);
            let end = end.exits(1);
            for said in &shards {
                assert!(matches!(said.exit, 0 | 1), "{}{}", said.out, said.err);
                assert!(said.out.contains("no rows were written"), "{}", said.out);
            }
            let written = index.dump();
            let rows = (beyond(&rows, &written), beyond(&written, &rows));
            assert_eq!(rows, (vec![], vec![]), "seed {seed}: rows that are missing, and rows that are too many");
            let found = listed(&site);
            assert_eq!(beyond(&list, &found), [""; 0], "seed {seed}: findings that are missing");
            assert_eq!(beyond(&found, &list), [""; 0], "seed {seed}: findings that are too many");
            let files = shards.iter().map(|said| said.figure("files found")).sum::<u64>();
            assert_eq!((files, end.figure("files found")), (300, 300));
            let sum = FATES.iter().map(|fate| end.figure(fate)).sum::<u64>();
            assert_eq!(sum, 300, "{}", end.out);
        }
    }
}

#[test]
fn shards_are_merged_only_if_all_have_been_read_by_the_same_settings() {
    let site = Site::new();
    put_conflicts(&site, 1);
    let index = site.sqlite();
    let states = states();
    let refused = |states: &[String], more: &[&str], told: &str| {
        let said = Said::of(&mut merging(&site, &index, states, more)).exits(2);
        assert!(said.err.contains(told), "{told}: {}", said.err);
        assert!(!site.path("index.db").exists(), "a merge that is refused makes no index");
    };
    refused(&states, &[], "did the shard run?");
    for n in 1..SHARDS {
        Said::of(&mut shard(&site, n, &[]));
    }
    refused(&states[..3], &[], "shard 4/4 is missing");
    refused(&[&states[..3], &states[..1]].concat(), &[], "shard 1/4 is named more than once");
    Said::of(&mut shard(&site, SHARDS, &["--since", "2021-01-01"]));
    refused(&states, &[], "a different --since");
    Said::of(&mut shard(&site, SHARDS, &["--skip-dir", "old"]));
    refused(&states, &[], "different storage settings");
    Said::of(&mut shard(&site, SHARDS, &[]));
    refused(&states, &["--skip-dir", "old"], "different storage settings");
    site::unmark(&site, &states[1], "shard");
    refused(&states, &[], "stopped before it had read all");
    Said::of(&mut shard(&site, 2, &[]));
    let mut other = site.program(&["reindex", "--quiet", "--shard", "1/2", "--state", "other", "a"]);
    Said::of(&mut other);
    refused(&[&states[..], &["other".into()]].concat(), &[], "belong to different runs");
    Said::of(&mut merging(&site, &index, &states, &[])).exits(1);
    // A merge of the same shards changes nothing.
    let rows = index.dump();
    let again = Said::of(&mut merging(&site, &index, &states, &[])).exits(1);
    assert_eq!((again.figure("inserted"), again.figure("updated")), (0, 0), "{}", again.out);
    assert_eq!(index.dump(), rows);
    let said = Said::of(&mut site.program(&["reindex", "a", "--shard", "1/2"])).exits(2);
    assert!(said.err.contains("--state"), "{}", said.err);
    let said = Said::of(&mut site.program(&["reindex", "a", "--shard", "1/2", "--index", &index.url])).exits(2);
    assert!(said.err.contains("--index"), "{}", said.err);
}

#[test]
fn a_merge_stores_other_paths_and_times_without_reading_a_file_again() {
    let site = Site::new();
    put_conflicts(&site, 2);
    Said::of(&mut shard(&site, 1, &[]));
    for n in 1..=SHARDS {
        Said::of(&mut shard(&site, n, &[]));
    }
    let one = Index::sqlite(site.path("one.db"));
    let maps = ROOTS.map(|root| format!("{}=D:/{root}", site.path(root).display()));
    let maps = maps.iter().flat_map(|map| ["--path-map", map]);
    let more: Vec<&str> = maps.chain(["--timezone", "Asia/Tokyo"]).collect();
    let (expected, _, _) = outcome(&site, &one, &ROOTS, &more);
    // The current content of the files must not matter, because size and mtime are unchanged.
    for file in ROOTS.iter().flat_map(|root| crate::support::walk(&site.path(root))) {
        let (modified, length) = (file.metadata().unwrap().modified().unwrap(), file.metadata().unwrap().len());
        fs::write(&file, vec![b'x'; length as usize]).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    }
    let index = site.sqlite();
    Said::of(&mut merging(&site, &index, &states(), &more)).exits(1);
    let rows = index.dump();
    assert_eq!((beyond(&expected, &rows), beyond(&rows, &expected)), (vec![], vec![]));
}
