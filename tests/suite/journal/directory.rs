//! The directory of a journal: its lock, its disk, its owner.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::site::*;
use crate::support::{Index, PASSWORD, ROOT_UID, Said, Site};

#[test]
fn a_note_of_what_a_journal_is_that_was_cut_costs_time_and_nothing_else() {
    let site = Site::new();
    put_study(&site, 1, 3);
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    // The state after the disk was full or the run was killed while the file was created.
    fs::write(site.journal("about"), "").unwrap();
    run(&site, &index, &[]).exits(0);
}

#[test]
fn nobody_else_may_read_a_journal_in_a_directory_that_was_there() {
    let site = Site::new();
    put_study(&site, 1, 3);
    fs::create_dir(site.path("journal")).unwrap();
    run(&site, &site.sqlite(), &[]).exits(0);
    run(&site, &site.sqlite(), &[]).exits(0);
    let is_open = fs::metadata(site.path("journal")).unwrap().mode() & 0o077 != 0;
    for name in ["log", "states"] {
        let mode = fs::metadata(site.journal(name)).unwrap().mode();
        assert!(!is_open || mode & 0o077 == 0, "{name}: {mode:o}");
    }
}

#[test]
fn a_run_that_waits_for_another_can_be_interrupted() {
    let site = Site::new();
    put_study(&site, 1, 3);
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    let lock = fs::File::open(site.journal("lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting = site.start_reindex(&index, &[&JOURNAL[..], &["--wait"]].concat());
    sleep(Duration::from_millis(500));
    waiting.interrupt();
    let asked = Instant::now();
    while !waiting.is_over() && asked.elapsed() < Duration::from_secs(5) {
        sleep(Duration::from_millis(20));
    }
    let is_over = waiting.is_over();
    waiting.kill();
    assert!(is_over, "it waits on");
}

/// Runs with a limit on the size of each file, in KiB, to simulate a full disk.
fn run_on_a_full_disk(site: &Site, index: &Index, most: u64) -> Said {
    let _ = fs::remove_file(site.path("rejected.jsonl"));
    let program = env!("CARGO_BIN_EXE_pacs-index");
    let archive = site.archive();
    let script = format!(
        "trap '' XFSZ; ulimit -f {most}; exec {program} reindex {} --index {} --quiet --rejected rejected.jsonl \
         --min-age 0s --state journal",
        archive.display(),
        index.url
    );
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &script]).current_dir(site.path(".")).env("PACS_INDEX_PASSWORD", PASSWORD).env("TZ", "UTC");
    Said::of(command.env("XDG_STATE_HOME", site.path("state")).stdin(Stdio::null()))
}

#[test]
fn a_run_whose_journal_becomes_full_ends_and_the_same_command_completes_it() {
    let site = Site::new();
    put_study(&site, 1, 1500);
    let index = Index::mariadb(&site);
    let said = run_on_a_full_disk(&site, &index, 80).exits(3);
    let directory = site.kept("journal", "catalogue").file_name().unwrap().to_string_lossy().into_owned();
    assert!(said.err.contains(&directory) && said.err.contains("run the same command again"), "{}", said.err);
    let committed = index.count("image");
    assert!((1..1500).contains(&committed), "{committed} of 1500 images");
    assert_eq!(index.rows("SELECT instances FROM series"), ["-"]);
    let said = run(&site, &index, &[]).exits(0);
    assert!(said.out.contains("resumes an interrupted run"), "{}", said.out);
    // The journal contains everything that was committed.
    assert_eq!((said.figure("files found"), said.figure("inserted")), (1500, 1500), "{}", said.out);
    let calm = Index::mariadb(&site);
    afresh(&site, &calm);
    assert_eq!(index.dump(), calm.dump());
}

#[test]
fn a_run_that_fails_to_take_up_a_killed_one_does_not_settle_it() {
    let site = Site::new();
    let studies = two_studies();
    put_study(&site, studies.0, 3);
    put_study(&site, studies.1, 3);
    let index = killed_between(&site, studies);
    let row = "SELECT description FROM study WHERE uuid LIKE '%.1'";
    let provisional = index.rows(row);
    // Rows of others, so that listing them takes more space than anything else.
    let values: Vec<String> = (0..4000).map(|n| format!("('7.{n}', '{ROOT_UID}.{}.1', '/x')", studies.0)).collect();
    index.execute(&format!("INSERT INTO image (uuid, seriesuid, path) VALUES {}", values.join(",")));
    let said = run_on_a_full_disk(&site, &index, 40);
    assert_eq!(said.exit, 3, "{}{}", said.out, said.err);
    assert_eq!(index.rows(row), provisional, "{}{}", said.out, said.err);
}
