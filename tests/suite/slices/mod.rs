//! One archive, indexed by several processes side by side, and settled at the end.

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

const SLICES: u32 = 4;
const ROOTS: [&str; 3] = ["a", "b", "c"];

fn is_long() -> bool {
    std::env::var_os("PACS_INDEX_TEST_LONG").is_some()
}

fn roots(site: &Site) -> Vec<PathBuf> {
    ROOTS.iter().map(|root| site.path(root)).collect()
}

fn state(n: u32) -> String {
    format!("slice-{n}")
}

fn slice(site: &Site, index: &Index, n: u32, more: &[&str]) -> Command {
    let mut command = site.program(&["reindex", "--index", &index.url, "--quiet", "--settle", "0s"]);
    let _ = fs::remove_file(site.path(&format!("list-{n}")));
    command.args(["--slice", &format!("{n}/{SLICES}"), "--state", &state(n), "--rejected", &format!("list-{n}")]);
    command.args(more).arg("--").args(roots(site)).env("PACS_INDEX_PASSWORD", PASSWORD);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(site: &Site, index: &Index, states: &[String], more: &[&str]) -> Said {
    let _ = fs::remove_file(site.path("list-end"));
    let mut command = site.program(&["reindex", "--index", &index.url, "--quiet", "--rejected", "list-end"]);
    Said::of(command.args(more).arg("--finish").args(states).env("PACS_INDEX_PASSWORD", PASSWORD))
}

/// All lines of all lists.
fn listed(site: &Site) -> Vec<String> {
    let lists = (1..=SLICES).map(|n| format!("list-{n}")).chain(["list-end".into()]);
    let text = |name: String| fs::read_to_string(site.path(&name)).unwrap_or_default();
    let mut lines: Vec<String> =
        lists.flat_map(|name| text(name).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

/// Slices side by side, the last of them killed once and run again, then settled.
fn in_slices(site: &Site, index: &Index) -> (Said, Vec<Said>) {
    let mut running: Vec<_> =
        (1..=SLICES).map(|n| slice(site, index, n, &["--io-threads", "2"]).spawn().unwrap()).collect();
    let mut killed = running.pop().unwrap();
    let deadline = Instant::now() + Duration::from_millis(60);
    while killed.try_wait().unwrap().is_none() && Instant::now() < deadline {}
    let _ = killed.kill();
    killed.wait().unwrap();
    let mut said: Vec<Said> = running.into_iter().map(|run| Said::new(run.wait_with_output().unwrap())).collect();
    said.push(Said::of(&mut slice(site, index, SLICES, &[])));
    let states: Vec<String> = (1..=SLICES).map(state).collect();
    (finish(site, index, &states, &[]), said)
}

#[test]
fn slices_side_by_side_make_the_index_and_the_findings_of_one_run() {
    for seed in 100..if is_long() { 120 } else { 103 } {
        for make in [Index::mariadb as fn(&Site) -> Index, Site::sqlite] {
            let site = Site::in_memory();
            put_conflicts(&site, seed);
            let calm = make(&site);
            let (rows, list, _) = outcome(&site, &calm, &ROOTS, &[]);
            let _ = fs::remove_file(site.path("index.db"));
            let index = make(&site);
            site.run(&["init", "--index", &index.url]);
            let (end, slices) = in_slices(&site, &index);
            let end = end.exits(1);
            for said in &slices {
                assert!(matches!(said.exit, 0 | 1), "{}{}", said.out, said.err);
                assert!(said.out.contains("settled when all slices are"), "{}", said.out);
            }
            let written = index.dump();
            let rows = (beyond(&rows, &written), beyond(&written, &rows));
            assert_eq!(rows, (vec![], vec![]), "seed {seed}: rows that are missing, and rows that are too many");
            let found = listed(&site);
            assert_eq!(beyond(&list, &found), [""; 0], "seed {seed}: findings that are missing");
            assert_eq!(beyond(&found, &list), [""; 0], "seed {seed}: findings that are too many");
            let files = slices.iter().map(|said| said.figure("files found")).sum::<u64>();
            assert_eq!((files, end.figure("files found")), (300, 300));
            let sum = FATES.iter().map(|fate| end.figure(fate)).sum::<u64>();
            assert_eq!(sum, 300, "{}", end.out);
        }
    }
}

#[test]
fn slices_are_settled_only_when_all_have_ended_with_the_same_settings() {
    let site = Site::new();
    put_conflicts(&site, 1);
    let index = site.sqlite();
    let states: Vec<String> = (1..=SLICES).map(state).collect();
    let refused = |states: &[String], more: &[&str], told: &str| {
        let said = finish(&site, &index, states, more).exits(2);
        assert!(said.err.contains(told), "{told}: {}", said.err);
    };
    refused(&states, &[], "no journal lies there");
    for n in 1..SLICES {
        Said::of(&mut slice(&site, &index, n, &[]));
    }
    refused(&states[..3], &[], "slice 4/4 is missing");
    refused(&[&states[..3], &states[..1]].concat(), &[], "slice 1/4 is named more than once");
    Said::of(&mut slice(&site, &index, SLICES, &[]));
    refused(&states, &["--duplicates", "oldest"], "had other settings");
    let other = Index::sqlite(site.path("other.db"));
    let said = finish(&site, &other, &states, &[]).exits(2);
    assert!(said.err.contains("is of another run"), "{}", said.err);
    finish(&site, &index, &states, &[]).exits(1);
    refused(&states, &[], "was settled before");
    let said = Said::of(&mut slice(&site, &index, 1, &["--duplicates", "oldest"]));
    assert_eq!(said.figure("inserted"), 0, "{}", said.out);
    let said = Said::of(&mut site.program(&["reindex", "a", "--slice", "1/2"])).exits(2);
    assert!(said.err.contains("--state"), "{}", said.err);
}
