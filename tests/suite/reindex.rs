//! The main task: building an index from an archive.

use std::fs;

use serde_json::json;

use crate::support::{Index, ROOT_UID, Site, fixture_archive, fixtures, on_both_databases};

/// The expected rows of the fixtures' archive, which a person has checked against
/// `fixtures/archive.json`.
#[test]
fn an_archive_of_many_kinds_is_indexed_by_the_conventions_of_pacsone() {
    let expected = fs::read_to_string(fixtures().join("archive.expected.txt")).unwrap();
    on_both_databases(|site, index| {
        let archive = fixture_archive(site);
        let said = site.reindex(index, &[]).exits(1);
        assert_eq!(said.figure("files found"), 46);
        assert_eq!(said.figure("inserted"), 36);
        assert_eq!(said.figure("duplicates not chosen"), 1);
        assert_eq!(said.figure("rejected"), 4);
        assert_eq!(said.figure("skipped by rule"), 5);
        let root = archive.display().to_string();
        let rows: Vec<String> = index.dump().iter().map(|row| plain(row, &root)).collect();
        let text = rows.join("\n") + "\n";
        if std::env::var_os("PACS_INDEX_TEST_WRITE").is_some() {
            fs::write(fixtures().join("archive.expected.txt"), &text).unwrap();
        }
        for (row, expected) in text.lines().zip(expected.lines()) {
            assert_eq!(row, expected);
        }
        assert_eq!(text.lines().count(), expected.lines().count());
    });
}

/// Normalizes a row: SQLite shows a FLOAT of 60 as 60.0, and the archive is in another directory in
/// each run.
fn plain(row: &str, root: &str) -> String {
    let number = |value: &str| match value.strip_suffix(".0") {
        Some(whole) if whole.bytes().all(|byte| byte.is_ascii_digit()) => whole.to_owned(),
        _ => value.to_owned(),
    };
    let row: Vec<String> = row.replace(root, "ARCHIVE").split('|').map(number).collect();
    row.join("|")
}

#[test]
fn a_second_run_changes_nothing() {
    on_both_databases(|site, index| {
        let root = fixtures().join("archive");
        site.reindex_root(&root, index, &[]).exits(1);
        let before = index.dump();
        let said = site.reindex_root(&root, index, &[]).exits(1);
        assert_eq!((said.figure("inserted"), said.figure("updated"), said.figure("unchanged")), (0, 0, 36));
        assert_eq!(index.dump(), before);
    });
}

#[test]
fn new_images_join_the_study_that_is_there() {
    on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 3);
        site.reindex(index, &[]).exits(0);
        index.execute("UPDATE study SET description = 'edited', reviewed = 'user', received = '2000-01-01 00:00:00'");
        site.add_series("2021-11-13-SAT", 1, 1, 5);
        site.add("2021-11-13-SAT/mr", json!({"SOPInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2", "Modality": "MR"}));
        let said = site.reindex(index, &[]).exits(1);
        assert_eq!((said.figure("inserted"), said.figure("duplicates")), (3, 3));
        assert_eq!(
            index.rows("SELECT description, reviewed, received, modalities FROM study"),
            ["edited|user|2000-01-01 00:00:00|CT MR"],
            "what was there stays, what is derived follows"
        );
        assert_eq!(index.rows("SELECT instances FROM series ORDER BY uuid"), ["1", "5"]);
    });
}

#[test]
fn a_study_was_received_when_its_latest_instance_was() {
    on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 1);
        site.add_series("2021-11-14-SUN", 1, 2, 1);
        site.add_series("2021-11-13-SAT", 1, 3, 1);
        site.reindex(index, &["--io-threads", "1"]).exits(0);
        assert_eq!(index.rows("SELECT received FROM study"), ["2021-11-14 00:00:00"]);
    });
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    site.add("second file", json!({"SOPInstanceUID": format!("{ROOT_UID}.1.1.1")}));
    let index = site.sqlite();
    let said = site.reindex(&index, &["--dry-run"]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("duplicates")), (3, 1));
    assert!(said.out.contains("dry run: nothing was written"), "{}", said.out);
    assert!(!site.path("index.db").exists());
    let index = Index::mariadb(&site);
    site.reindex(&index, &["--dry-run"]).exits(1);
    assert_eq!(index.count("image") + index.count("patient"), 0);
}

#[test]
fn the_index_holds_the_paths_that_the_pacs_uses() {
    on_both_databases(|site, index| {
        site.add("2021-11-12-FRI/1.2.3", json!({}));
        let map = format!("{}=D:\\DICOM", site.archive().display());
        site.reindex(index, &["--path-map", &map]).exits(0);
        assert_eq!(index.rows("SELECT path FROM image"), ["D:/DICOM/2021-11-12-FRI/1.2.3"]);
    });
}

#[test]
fn a_pacsone_database_shows_every_study_after_a_reindex() {
    let site = Site::new();
    let index = Index::pacsone();
    site.reindex_root(&fixtures().join("archive"), &index, &[]).exits(1);
    let join = "SELECT COUNT(DISTINCT study.uuid) FROM study \
                INNER JOIN patient ON patient.origid = study.patientid INNER JOIN series ON series.studyuid = study.uuid \
                INNER JOIN image ON image.seriesuid = series.uuid WHERE study.private = 0 AND study.reviewed IS NULL \
                AND study.received IS NOT NULL AND series.modality IS NOT NULL";
    assert_eq!(index.rows(join), ["8"]);
}

#[test]
fn columns_that_a_database_lacks_are_left_out_and_a_missing_key_is_named() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let index = Index::mariadb(&site);
    index.execute("ALTER TABLE series DROP COLUMN operatorname, DROP COLUMN instances");
    index.execute("ALTER TABLE study DROP COLUMN modalities, ADD COLUMN site_column INT NOT NULL DEFAULT 7");
    site.reindex(&index, &[]).exits(0);
    assert_eq!(index.rows("SELECT site_column FROM study"), ["7"]);
    index.execute("UPDATE patient SET middlename = '', height = 0");
    index.execute("ALTER TABLE patient MODIFY middlename VARCHAR(64) NOT NULL, MODIFY height FLOAT NOT NULL");
    site.add("1.2.4", json!({"PatientID": "T2", "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.1", "SOPInstanceUID": "1.2.1.1"}));
    site.reindex(&index, &[]).exits(0);
    assert_eq!(index.rows("SELECT middlename, height FROM patient WHERE origid = 'T2'"), ["|0"]);
    index.execute("ALTER TABLE image DROP COLUMN seriesuid");
    let said = site.reindex(&index, &[]).exits(2);
    assert!(said.err.contains("`image`.`seriesuid`"), "{}", said.err);
}

#[test]
fn text_is_cut_to_its_column_and_keys_are_not() {
    on_both_databases(|site, index| {
        let long = "ü".repeat(70);
        site.add("long", json!({"SpecificCharacterSet": "ISO_IR 192", "StudyDescription": long}));
        site.add("key", json!({"SOPInstanceUID": "1.2.3", "PatientID": "x".repeat(129)}));
        let said = site.reindex(index, &[]).exits(1);
        assert!(said.out.contains("1 texts cut to the length of their column"), "{}", said.out);
        assert_eq!(index.rows("SELECT description FROM study"), ["ü".repeat(64)]);
        assert_eq!(site.listed("key"), [("rejected".into(), "too-long".into())]);
    });
}

#[test]
fn only_days_since_a_date_are_looked_at_and_the_others_are_told() {
    let site = Site::new();
    for (study, directory) in
        ["2021-11-11-THU", "2021-11-12-FRI", "2021/11/10", "2021/11/13", "1999", "stowrs"].iter().enumerate()
    {
        site.add_series(directory, study as u32 + 1, 1, 2);
    }
    let index = site.sqlite();
    let said = site.reindex(&index, &["--since", "2021-11-12"]).exits(0);
    assert_eq!((said.figure("files found"), said.figure("inserted")), (8, 8));
    assert!(said.out.contains("directories not looked at 2, of 2021-11-10 to 2021-11-11"), "{}", said.out);
    assert_eq!(index.rows("SELECT uuid FROM study WHERE uuid LIKE '%.1' OR uuid LIKE '%.3'"), [] as [String; 0]);
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!((said.figure("inserted"), said.figure("unchanged")), (4, 8), "the next run finds the others");
    let said = site.run(&["reindex", "archive", "--since", "12.11.2021"]).exits(2);
    assert!(said.err.contains("--since"), "{}", said.err);
}

#[test]
fn a_file_that_is_listed_twice_counts_once() {
    let site = Site::new();
    site.add("a/1.2.3", json!({}));
    site.add("a/1.2.4", json!({"SOPInstanceUID": "1.2.4"}));
    let index = site.sqlite();
    let file = site.archive().join("a/1.2.3").display().to_string();
    let other = site.archive().join("a/1.2.4").display().to_string();
    let spellings = [&file, "archive/a/1.2.3", "./archive//a/1.2.3", "archive/a/../a/1.2.3", &other, &file];
    fs::write(site.path("list"), spellings.join("\n")).unwrap();
    let said = site.reindex(&index, &["--files", "list"]).exits(0);
    let counts = ["files found", "inserted", "duplicates not chosen"].map(|name| said.figure(name));
    assert_eq!(counts, [2, 2, 0], "{}", said.out);
    assert_eq!(site.listing(), Vec::<serde_json::Value>::new());
}
