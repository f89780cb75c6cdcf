//! A full disk, and its name in the message.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::support::{PASSWORD, Said, Site, Small};

/// Fills a file system to its last block.
fn fill(directory: &Path) {
    let mut file = fs::File::create(directory.join("filler")).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

fn small(site: &Site) -> Option<Small> {
    let small = Small::mount(site.path("small"));
    if small.is_none() {
        println!("*** No file system can be mounted here: the test of a full disk DID NOT RUN ***");
    }
    small
}

/// A site with images and with files that are not images, so that each list has lines.
fn site() -> Site {
    let site = Site::new();
    for study in 1..=3 {
        site.add_series("2021-11-12-FRI", study, 1, 40);
    }
    site.write("2021-11-12-FRI/no image", &[7; 100]);
    site
}

#[track_caller]
fn assert_names(said: &Said, directory: &Path) {
    println!("{}", said.err.trim_end());
    let line = said.err.lines().find(|line| line.contains("full"));
    let line = line.unwrap_or_else(|| panic!("no word of a full disk, exit {}: {}\n{}", said.exit, said.err, said.out));
    assert!(line.contains(&directory.display().to_string()), "{line}");
    assert!(matches!(said.exit, 2 | 3), "{}", said.err);
}

#[test]
fn a_full_disk_of_the_list_is_named() {
    let site = site();
    let Some(small) = small(&site) else { return };
    fill(&small.0);
    let list = small.0.join("list.jsonl").display().to_string();
    let command = ["reindex", "archive", "--quiet", "--min-age", "0s", "--index", "sqlite:x.db", "--rejected", &list];
    assert_names(&site.run(&command), &small.0);
}

#[test]
fn a_full_disk_of_the_sqlite_index_is_named() {
    let site = site();
    let Some(small) = small(&site) else { return };
    let index = crate::support::Index::sqlite(small.0.join("index.db"));
    site.add_series("2021-11-13-SAT", 9, 1, 1);
    site.reindex_root(&site.archive().join("2021-11-13-SAT"), &index, &[]).exits(0);
    fill(&small.0);
    let said = site.reindex(&index, &[]);
    assert_names(&said, &small.0);
}

#[test]
fn a_full_disk_for_what_an_audit_sorts_is_named() {
    let site = site();
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(1);
    let Some(small) = small(&site) else { return };
    fill(&small.0);
    let mut audit = site.program(&["audit", "archive", "--quiet", "--recheck-after", "0s", "--index", &index.url]);
    assert_names(&Said::of(audit.env("TMPDIR", &small.0)), &small.0);
}

#[test]
fn a_full_disk_of_a_report_is_named() {
    let site = site();
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(1);
    fs::remove_file(site.archive().join("2021-11-12-FRI").join(format!("{}.1.1.1", crate::support::ROOT_UID))).unwrap();
    let Some(small) = small(&site) else { return };
    fill(&small.0);
    for option in ["--json", "--csv", "--html", "--plan"] {
        let report = small.0.join(option).display().to_string();
        let command = ["audit", "archive", "--quiet", "--recheck-after", "0s", "--index", &index.url, option, &report];
        assert_names(&site.run(&command), &small.0);
    }
    let last = small.0.join("last").display().to_string();
    let command = ["audit", "archive", "--quiet", "--recheck-after", "0s", "--index", &index.url, "--baseline", &last];
    // The audit itself is complete.
    let said = site.run(&command).exits(1);
    assert!(said.err.contains(&format!("the disk of {} is full", small.0.display())), "{}", said.err);
}

#[test]
fn a_full_disk_of_the_journal_ends_the_run_which_the_same_command_completes() {
    let site = site();
    let Some(small) = small(&site) else { return };
    fs::create_dir(small.0.join("state")).unwrap();
    fs::write(small.0.join("state/.keep"), "").unwrap();
    let index = site.sqlite();
    let state = small.0.join("state").display().to_string();
    site.reindex_root(&site.archive(), &index, &["--state", &state]).exits(1);
    fs::remove_file(site.path("index.db")).unwrap();
    site.add_series("2021-11-14-SUN", 4, 1, 200);
    fill(&small.0);
    let said = site.reindex(&index, &["--state", &state]).exits(3);
    assert_names(&said, &small.0);
    assert!(said.err.contains("run the same command again"), "{}", said.err);
    assert_eq!(index.count("image"), 0, "rows were committed that the journal does not have");
    fs::remove_file(small.0.join("filler")).unwrap();
    site.reindex(&index, &["--state", &state]).exits(1);
    assert_eq!(index.count("image"), 320);
    assert_eq!(index.rows("SELECT COUNT(*) FROM series WHERE instances IS NULL"), ["0"]);
}

#[test]
fn a_disk_of_the_journal_that_is_full_at_the_start_is_named_and_nothing_is_written() {
    let site = site();
    let Some(small) = small(&site) else { return };
    fill(&small.0);
    let index = site.sqlite();
    let state = small.0.join("state").display().to_string();
    assert_names(&site.reindex(&index, &["--state", &state]).exits(2), &small.0);
    assert!(!site.path("index.db").exists(), "the index was created");
    // The run works with another directory.
    site.reindex(&index, &["--state", "state"]).exits(1);
    assert_eq!(index.count("image"), 120);
}

#[test]
fn a_full_disk_of_the_archive_is_named() {
    let site = site();
    let Some(small) = small(&site) else { return };
    let large = json!({"SOPInstanceUID": "1.2.3", "PixelData": {"hex": "00".repeat(3_000_000)}});
    site.add("large", large);
    let archive = small.0.display().to_string();
    let mut import =
        site.program(&["import", "archive", "--quiet", "--yes", "--index", "sqlite:y.db", "--archive", &archive]);
    assert_names(&Said::of(import.args(["--rejected", "r.jsonl"]).env("PACS_INDEX_PASSWORD", PASSWORD)), &small.0);
}

#[test]
fn a_run_ends_at_once_if_the_state_directory_has_no_room_for_all_files() {
    let site = site();
    // More files than the small disk has room for, once all are counted.
    for n in 0..8000 {
        site.write(&format!("2021-11-13-SAT/{n}"), b"no image");
    }
    let Some(small) = small(&site) else { return };
    let state = small.0.join("state").display().to_string();
    let index = site.sqlite();
    let options = ["--min-age", "0s", "--progress", "lines", "--index", &index.url, "--rejected", "list"];
    for shard in [&[][..], &["--shard", "1/1"]] {
        let options = if shard.is_empty() { &options[..] } else { &options[..4] };
        let command = [&["reindex", "archive", "--state", &state], options, shard].concat();
        let said = site.run(&command).exits(3);
        assert!(said.err.contains("the records need about 370 bytes for each new file"), "{}", said.err);
        let all = ["the records of 8,121 files need about", &small.0.display().to_string(), "--state"];
        assert!(all.iter().all(|part| said.err.contains(part)), "{}", said.err);
    }
    let elsewhere = ["reindex", "archive", "--state", "elsewhere", "--rejected", "list-elsewhere"];
    let command = [&elsewhere[..], &options[..6]].concat();
    let said = site.run(&command).exits(1);
    assert_eq!((said.figure("files found"), index.count("image")), (8121, 120), "{}", said.out);
}
