//! An archive whose files are all new, because they were just restored.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::support::{Index, ROOT_UID, Said, Site};

/// A series whose files were just written.
fn restored(site: &Site, directory: &str, study: u32, count: u32) {
    site.add_series(directory, study, 1, count);
    for n in 1..=count {
        modify(site, &format!("{directory}/{ROOT_UID}.{study}.1.{n}"), SystemTime::now());
    }
}

fn modify(site: &Site, path: &str, at: SystemTime) {
    fs::OpenOptions::new().write(true).open(site.archive().join(path)).unwrap().set_modified(at).unwrap();
}

/// Runs on the database of a PACS without an option for the age of files.
fn reindex(site: &Site, index: &Index, more: &[&str]) -> Said {
    let arguments = ["reindex", "archive", "--quiet", "--index", &index.url];
    let mut command = site.program(&[&arguments, more].concat());
    Said::of(command.env("PACS_INDEX_PASSWORD", crate::support::PASSWORD))
}

fn today() -> String {
    jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d-%a").to_string().to_uppercase()
}

#[test]
fn an_archive_that_was_restored_just_now_is_a_finding_with_advice() {
    for directory in ["2019-01-12-SAT", "2019/01/12", "1.2.840.1", "P1/20190112"] {
        let site = Site::new();
        let index = Index::pacsone();
        restored(&site, directory, 1, 44);
        let said = reindex(&site, &index, &[]);
        assert_eq!((said.figure("left to the PACS (young)"), index.count("image")), (44, 0), "{}", said.out);
        let said = said.exits(1);
        println!("{}", said.out);
        assert!(said.out.contains("complete, with findings"), "{}", said.out);
        assert!(said.out.contains("--min-age 0s") && said.out.contains("restored"), "{}", said.out);
        assert!(said.out.contains("15m"), "the limit is named: {}", said.out);
        // The advice in the message works.
        let said = reindex(&site, &index, &["--min-age", "0s"]).exits(0);
        assert_eq!(said.figure("inserted"), 44);
        assert!(!said.out.contains("--min-age"), "{}", said.out);
    }
}

#[test]
fn an_archive_most_of_which_was_restored_just_now_is_a_finding_too() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 10);
    restored(&site, "2019-01-12-SAT", 2, 30);
    site.write("2019-01-12-SAT/Thumbs.db", b"x");
    let said = reindex(&site, &Index::pacsone(), &[]).exits(1);
    assert!(said.out.contains("--min-age 0s"), "{}", said.out);
}

#[test]
fn files_that_a_pacs_receives_now_are_no_finding() {
    // Most files of the archive are new, all of them in the directory of today.
    let site = Site::new();
    restored(&site, &today(), 1, 30);
    let said = reindex(&site, &Index::pacsone(), &[]).exits(0);
    assert_eq!(said.figure("left to the PACS (young)"), 30);
    assert!(said.out.contains("15m"), "the reason is named: {}", said.out);
    // Few files in any directory are new: the PACS rewrites files that users edit.
    let site = Site::new();
    site.add_series("2019-01-12-SAT", 1, 1, 30);
    restored(&site, "2019-01-12-SAT", 2, 5);
    restored(&site, "undated", 3, 5);
    let said = reindex(&site, &Index::pacsone(), &[]).exits(0);
    assert_eq!((said.figure("inserted"), said.figure("left to the PACS (young)")), (30, 10));
    assert!(said.out.contains("--min-age 0s"), "{}", said.out);
}

#[test]
fn files_that_grow_old_enough_during_the_run_are_no_finding() {
    let site = Site::new();
    restored(&site, "2019-01-12-SAT", 1, 20);
    for n in 1..=20 {
        modify(&site, &format!("2019-01-12-SAT/{ROOT_UID}.1.1.{n}"), SystemTime::now() - Duration::from_secs(58));
    }
    // A later run takes the files that were too new at first.
    let index = Index::pacsone();
    let mut said = reindex(&site, &index, &["--min-age", "60s"]);
    for _ in 0..20 {
        if said.exit == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(300));
        said = reindex(&site, &index, &["--min-age", "60s"]);
    }
    assert_eq!((said.exit, index.count("image")), (0, 20), "{}", said.out);
    assert!(!said.out.contains("restored"), "{}", said.out);
}
