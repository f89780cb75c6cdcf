//! Later runs that find many files in the journal.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::site::*;
use crate::support::{ROOT_UID, Site};

#[test]
fn a_file_that_took_anothers_place_is_the_indexed_one_ever_after() {
    let site = Site::new();
    put(&site, "2021-11-20-SAT/a", 30, instance(1, 1));
    (2..=1100).for_each(|n| put(&site, &format!("2021-11-19-FRI/{n}"), 30, instance(1, n)));
    put(&site, "2021-11-01-MON/b", 20, instance(1, 1));
    let index = site.sqlite();
    let first = run(&site, &index, &["--io-threads", "1"]).exits(1);
    assert_eq!(first.figure("duplicates not chosen"), 1);
    assert_eq!(listed(&site, "duplicate"), ["same-instance a"]);
    for n in 2..4 {
        let said = run(&site, &index, &[]).exits(1);
        assert_eq!(listed(&site, "duplicate"), ["same-instance a"], "run {n}");
        assert_eq!((said.figure("unchanged"), said.figure("duplicates not chosen")), (1100, 1), "run {n}");
    }
}

#[test]
fn a_second_file_takes_the_place_of_an_indexed_one_that_was_deleted() {
    let site = Site::new();
    put(&site, &format!("{DAY}/old"), 30, instance(1, 1));
    put(&site, &format!("{DAY}/new"), 20, instance(1, 1));
    let index = site.sqlite();
    run(&site, &index, &[]).exits(1);
    let path = |name: &str| index.rows(&format!("SELECT COUNT(*) FROM image WHERE path LIKE '%/{name}'"));
    assert_eq!(path("new"), ["1"]);
    fs::remove_file(site.archive().join(DAY).join("new")).unwrap();
    let said = run(&site, &index, &[]);
    assert_eq!((path("old"), said.figure("updated")), (vec!["1".into()], 1), "{}", said.out);
}

#[test]
fn a_column_that_an_upgrade_of_the_pacs_adds_is_filled() {
    let site = Site::new();
    put_study(&site, 1, 3);
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]).exits(0);
    index.execute("ALTER TABLE image DROP COLUMN bitsstored");
    run(&site, &index, &[]).exits(0);
    index.execute("ALTER TABLE image ADD COLUMN bitsstored INTEGER");
    run(&site, &index, &[]).exits(0);
    assert_eq!(index.rows("SELECT DISTINCT bitsstored FROM image"), ["12"]);
}

#[test]
fn values_that_a_database_has_lost_are_filled_by_a_run_that_is_told_to_read_all() {
    let site = Site::new();
    put_study(&site, 1, 3);
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    let dump = index.dump();
    index.execute("UPDATE series SET modality = NULL, instances = NULL");
    index.execute("UPDATE image SET bitsstored = NULL");
    run(&site, &index, &["--force"]).exits(0);
    assert_eq!(index.dump(), dump);
}

#[test]
fn titles_that_a_database_has_lost_are_written_by_a_run_that_is_told_to_read_all() {
    let site = Site::new();
    let title = json!([{"CodeValue": "T1", "CodingSchemeDesignator": "99EX", "CodeMeaning": "title"}]);
    let report =
        json!({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11", "Modality": "SR", "ConceptNameCodeSequence": title});
    put(&site, &format!("{DAY}/report"), 30, report);
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    assert_eq!(index.count("conceptname"), 1);
    index.execute("DELETE FROM conceptname");
    run(&site, &index, &["--force"]).exits(0);
    assert_eq!(index.count("conceptname"), 1);
}

#[test]
fn a_conflict_of_rows_is_told_when_they_are_written_and_by_a_run_that_is_told_to_read_all() {
    let site = Site::new();
    put(&site, &format!("{DAY}/1"), 30, instance(1, 1));
    put(&site, &format!("{DAY}/2"), 30, with(instance(1, 2), "PatientID", "Other"));
    let index = site.sqlite();
    let first = run(&site, &index, &[]);
    let (exit, conflicts) = (first.exit, listed(&site, "conflict"));
    assert!(!conflicts.is_empty());
    run(&site, &index, &[]).exits(0);
    let second = run(&site, &index, &["--force"]).exits(exit);
    assert!(conflicts.iter().all(|conflict| listed(&site, "conflict").contains(conflict)), "{}", second.out);
}

#[test]
fn an_image_that_the_pacs_links_otherwise_is_told_by_every_run() {
    let site = Site::new();
    put_study(&site, 1, 2);
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    index.execute(&format!("INSERT INTO series (uuid, studyuid) VALUES ('9.9', '{ROOT_UID}.1')"));
    index.execute(&format!("UPDATE image SET seriesuid = '9.9' WHERE uuid = '{}'", uid(1, 2)));
    let without = afresh(&site, &index);
    let (exit, conflicts) = (without.exit, listed(&site, "conflict"));
    assert!(!conflicts.is_empty());
    let said = run(&site, &index, &[]);
    assert_eq!((said.exit, listed(&site, "conflict")), (exit, conflicts));
}

#[test]
fn a_damaged_record_is_not_written_into_a_row() {
    let site = Site::new();
    put_study(&site, 1, 3);
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    run(&site, &index, &[]).exits(0);
    let dump = index.dump();
    let log = site.journal("log");
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.windows(8).position(|window| window == b"Testmann").expect("it stands there as it is");
    bytes[at] = b'W';
    fs::write(&log, bytes).unwrap();
    for table in ["image", "series", "study", "patient"] {
        index.execute(&format!("DELETE FROM {table}"));
    }
    run(&site, &index, &[]).exits(0);
    assert_eq!(index.dump(), dump);
}

#[test]
fn a_journal_does_not_grow_while_nothing_changes() {
    let site = Site::new();
    put_study(&site, 1, 200);
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    let size = || fs::metadata(site.journal("log")).unwrap().len();
    let first = size();
    for _ in 0..10 {
        run(&site, &index, &[]).exits(0);
    }
    let second = size();
    for _ in 0..10 {
        run(&site, &index, &["--existing", "refresh"]).exits(0);
    }
    let third = size();
    println!("{first} bytes after the first run, {second} after ten more, {third} after ten that refresh");
    assert!(second - first <= 10 * 256, "ten runs began over one root, and ended");
    assert!(third < 4 * first, "superseded records are left out now and then");
}

#[test]
fn a_young_file_is_left_to_the_pacs_whatever_is_known_of_it() {
    let site = Site::new();
    put(&site, &format!("{DAY}/1"), 0, instance(1, 1));
    let then = SystemTime::now() - Duration::from_secs(60);
    let file = fs::OpenOptions::new().write(true).open(site.archive().join(DAY).join("1")).unwrap();
    file.set_modified(then).unwrap();
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    index.execute("DELETE FROM image");
    let said = run(&site, &index, &["--min-age", "15m"]);
    assert_eq!((said.figure("left to the PACS"), index.count("image")), (1, 0), "{}", said.out);
}

#[test]
fn a_file_whose_time_is_another_one_out_of_range_is_read() {
    let site = Site::new();
    let at = |year: u64| SystemTime::UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600);
    let put_at = |n: u32, year: u64| {
        site.add(&format!("{DAY}/1"), instance(1, n));
        let file = fs::OpenOptions::new().write(true).open(site.archive().join(DAY).join("1")).unwrap();
        file.set_modified(at(year)).unwrap();
        fs::metadata(site.archive().join(DAY).join("1")).unwrap().modified().unwrap() == at(year)
    };
    if !put_at(1, 2300) {
        return;
    }
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    put_at(2, 2301);
    run(&site, &index, &[]);
    assert_eq!(index.rows(&format!("SELECT COUNT(*) FROM image WHERE uuid = '{}'", uid(1, 2))), ["1"]);
}
