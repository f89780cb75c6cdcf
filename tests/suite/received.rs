//! The received time of a study: a PACS purges and moves studies by it.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::{Index, ROOT_UID, Site, on_both_databases};

/// Writes a study of a day of 2021 to a file with an mtime this many days after the start of 1970.
fn put(site: &Site, path: &str, study: u32, modified: f64) {
    let change = json!({
        "PatientID": format!("T{study}"), "StudyInstanceUID": format!("{ROOT_UID}.{study}"), "StudyDate": "20210510",
        "StudyTime": "101500", "SeriesInstanceUID": format!("{ROOT_UID}.{study}.1"),
        "SOPInstanceUID": format!("{ROOT_UID}.{study}.1.1"),
    });
    site.add(path, change);
    set_modified(site, path, UNIX_EPOCH + Duration::from_secs_f64(modified * 86_400.0));
}

fn set_modified(site: &Site, path: &str, at: SystemTime) {
    fs::OpenOptions::new().write(true).open(site.archive().join(path)).unwrap().set_modified(at).unwrap();
}

/// 2021-05-12 at noon, UTC.
const NOON: f64 = 18_759.5;

fn received(index: &Index) -> Vec<String> {
    index.rows("SELECT received FROM study ORDER BY uuid")
}

#[test]
fn the_directory_s_day_comes_first_then_the_file_s_time_then_the_study_s() {
    on_both_databases(|site, index| {
        put(site, "2021-05-12-WED/a", 1, NOON);
        put(site, "2021-05-11-TUE/b", 2, NOON);
        put(site, "undated/c", 3, NOON);
        put(site, "undated/before the study", 4, NOON - 100.0);
        put(site, "undated/to come", 5, NOON + 36_500.0);
        let said = site.reindex(index, &[]).exits(0);
        let expected = [
            "2021-05-12 12:00:00",
            "2021-05-11 00:00:00",
            "2021-05-12 12:00:00",
            "2021-05-10 10:15:00",
            "2021-05-10 10:15:00",
        ];
        assert_eq!(received(index), expected);
        assert!(said.out.contains("2 modification times are before the study or in the future"), "{}", said.out);
    });
}

#[test]
fn the_order_can_be_chosen_and_the_zone_is_that_of_the_pacs() {
    let site = Site::new();
    put(&site, "2021-05-11-TUE/a", 1, NOON);
    let cases: [(&[&str], &str); 4] = [
        (&["--received-from", "mtime,path"], "2021-05-12 12:00:00"),
        (&["--received-from", "study-date"], "2021-05-10 10:15:00"),
        (&["--received-from", "mtime", "--timezone", "Asia/Tokyo"], "2021-05-12 21:00:00"),
        (&["--timezone", "America/New_York"], "2021-05-11 00:00:00"),
    ];
    for (more, expected) in cases {
        let index = Index::mariadb(&site);
        site.reindex(&index, more).exits(0);
        assert_eq!(received(&index), [expected], "{more:?}");
    }
    let said = site.reindex(&site.sqlite(), &["--timezone", "Europe/Nowhere"]).exits(2);
    assert!(said.err.contains("--timezone Europe/Nowhere"), "{}", said.err);
}

#[test]
fn a_copy_that_has_lost_its_times_is_told_of() {
    let site = Site::new();
    for study in 1..=20 {
        put(&site, &format!("undated/{study}"), study, NOON + 400.0 + f64::from(study) / 20.0);
    }
    let said = site.reindex(&site.sqlite(), &[]).exits(0);
    println!("{}", said.out);
    let root = site.archive().display().to_string();
    assert!(said.out.contains(&format!("most files below {root} were modified within two days")), "{}", said.out);
    assert!(said.out.contains("--received-from path,study-date,mtime"), "{}", said.out);
    let index = Index::mariadb(&site);
    let said = site.reindex(&index, &["--received-from", "path,study-date,mtime"]).exits(0);
    assert!(!said.out.contains("most files"), "{}", said.out);
    assert_eq!(received(&index)[0], "2021-05-10 10:15:00");
    // An archive that grew day by day, without dates in its paths.
    for study in 1..=20 {
        put(&site, &format!("undated/{study}"), study, NOON + f64::from(study));
    }
    let said = site.reindex(&Index::mariadb(&site), &[]).exits(0);
    assert!(!said.out.contains("most files"), "{}", said.out);
}

#[test]
fn a_file_that_has_just_come_is_left_to_the_pacs() {
    let site = Site::new();
    put(&site, "undated/old", 1, NOON);
    put(&site, "undated/new", 2, NOON);
    set_modified(&site, "undated/new", SystemTime::now() - Duration::from_secs(60));
    let run = |index: &Index, more: &[&str]| {
        let arguments = ["reindex", "archive", "--quiet", "--index", &index.url];
        let mut command = site.program(&[&arguments, more].concat());
        crate::support::Said::of(command.env("PACS_INDEX_PASSWORD", "pacs-test"))
    };
    let pacs = Index::pacsone();
    let said = run(&pacs, &[]).exits(0);
    assert_eq!((said.figure("inserted"), said.figure("left to the PACS")), (1, 1));
    let said = run(&pacs, &["--min-age", "30s"]).exits(0);
    assert_eq!((said.figure("inserted"), said.figure("unchanged"), said.figure("left to the PACS")), (1, 1, 0));
    let said = run(&site.sqlite(), &[]).exits(0);
    assert_eq!(said.figure("inserted"), 2, "nobody else writes into an index of this program");
    let said = run(&site.sqlite(), &["--min-age=-5s"]).exits(2);
    assert!(said.err.contains("--min-age"), "{}", said.err);
}
