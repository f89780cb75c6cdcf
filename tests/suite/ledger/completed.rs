//! Rows that look unfinished and are in no ledger: which of them `--existing complete` completes,
//! and which values stay.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};

use crate::shards::site::write_unsettled;
use crate::support::{Index, ROOT_UID, Said, Site, TABLES, on_both_databases};

const STATE: [&str; 2] = ["--state", "state"];

const COMPLETE: [&str; 6] = ["--state", "state", "--existing", "complete", "--undo", "undo.jsonl"];

/// The attributes of an instance of one series. Instances disagree on descriptions.
fn instance(n: u32) -> Json {
    json!({
        "PatientID": "T1", "PatientName": "Family^Given", "PatientComments": format!("comment {n}"),
        "StudyInstanceUID": format!("{ROOT_UID}.1"), "StudyDescription": format!("part {n}"),
        "SeriesInstanceUID": format!("{ROOT_UID}.1.1"), "SeriesDescription": format!("view {n}"),
        "SOPInstanceUID": format!("{ROOT_UID}.1.1.{n}"), "InstanceNumber": n.to_string(), "Modality": "CT",
        "StudyDate": format!("2021111{n}"), "StudyTime": format!("10150{n}"), "Rows": "4",
    })
}

fn directory(n: u32) -> String {
    format!("2021-11-1{n}-FRI")
}

/// Three files of one series, received on different days. The third is the last.
fn add_series(site: &Site) {
    (1..=3).for_each(|n| site.add(&format!("{}/{n}", directory(n)), instance(n)));
}

/// Leaves the rows of a run that was killed and whose state was lost: those of the first file.
fn lose_a_run(site: &Site, index: &Index) {
    let first = site.archive().join(directory(1));
    write_unsettled(site, index, &first, "lost");
    fs::remove_dir_all(site.path("lost")).unwrap();
    fs::remove_dir_all(site.path("stopped")).unwrap();
}

fn reindex(site: &Site, index: &Index, more: &[&str]) -> Said {
    let said = site.reindex(index, more);
    assert!(said.exit <= 1, "exit {}\n{}{}", said.exit, said.out, said.err);
    said
}

fn complete(site: &Site, index: &Index) -> Said {
    let _ = fs::remove_file(site.path("undo.jsonl"));
    reindex(site, index, &COMPLETE)
}

fn study(index: &Index) -> String {
    index.rows("SELECT description, studydate, studytime, modalities FROM study").join(",")
}

fn series(index: &Index) -> String {
    index.rows("SELECT description, instances FROM series").join(",")
}

#[test]
fn rows_that_look_unfinished_are_counted_and_stay_until_they_are_completed() {
    on_both_databases(|site, index| {
        add_series(site);
        lose_a_run(site, index);
        let said = reindex(site, index, &STATE);
        assert!(said.out.contains("rows that look unfinished: patients 1, studies 1, series 1"), "{}", said.out);
        assert!(said.out.contains("--existing complete"), "{}", said.out);
        assert_eq!(study(index), "part 1|2021-11-11|10:15:01|-");
        assert_eq!(series(index), "view 1|-");
        let said = complete(site, index);
        assert!(!said.out.contains("look unfinished"), "{}", said.out);
        assert_eq!(said.figure("rows changed: patients 1, studies 1, series"), 1);
        assert_eq!(study(index), "part 3|2021-11-13|10:15:03|CT");
        assert_eq!(series(index), "view 3|3");
        assert_eq!(index.rows("SELECT comments FROM patient"), ["comment 3"]);
        assert_eq!(index.rows("SELECT received FROM study")[0][..10], *"2021-11-13");
        let said = complete(site, index);
        assert!(!said.out.contains("rows changed"), "nothing is left to do: {}", said.out);
    });
}

#[test]
fn a_value_that_no_file_contains_stays_when_the_row_is_completed() {
    on_both_databases(|site, index| {
        add_series(site);
        lose_a_run(site, index);
        index.execute("UPDATE study SET description = 'PART 1', studytime = '10:15:02'");
        index.execute("UPDATE series SET description = 'view 1 '");
        index.execute("UPDATE patient SET lastname = 'Fam\u{ed}ly'");
        complete(site, index);
        assert_eq!(study(index), "PART 1|2021-11-11|10:15:02|CT", "a date and its time are one value");
        assert_eq!(series(index), "view 1 |3");
        assert_eq!(index.rows("SELECT lastname, comments FROM patient"), ["Fam\u{ed}ly|comment 3"]);
    });
}

#[test]
fn a_value_that_was_set_to_that_of_another_file_is_completed() {
    on_both_databases(|site, index| {
        add_series(site);
        lose_a_run(site, index);
        index.execute("UPDATE study SET description = 'part 2', studydate = '2021-11-12', studytime = '10:15:02'");
        complete(site, index);
        assert_eq!(study(index), "part 3|2021-11-13|10:15:03|CT");
    });
}

/// A study as a PACS files it: the derived columns are NULL, and people have edited it.
#[test]
fn values_of_a_pacs_that_no_file_contains_stay() {
    on_both_databases(|site, index| {
        site.program(&["init", "--index", &index.url]).output().unwrap();
        index.execute(&format!(
            "INSERT INTO patient (origid, lastname, firstname, comments) VALUES ('T1', 'Renamed', 'Anna', 'of the PACS'); \
             INSERT INTO study (uuid, patientid, description, received, sourceae) \
             VALUES ('{ROOT_UID}.1', 'T1', 'of the PACS', '2021-11-11 00:00:00', 'PACS'); \
             INSERT INTO series (uuid, studyuid, description) VALUES ('{ROOT_UID}.1.1', '{ROOT_UID}.1', 'of the PACS')"
        ));
        add_series(site);
        let said = reindex(site, index, &STATE);
        assert!(said.out.contains("rows that look unfinished: patients 1, studies 1, series 1"), "{}", said.out);
        complete(site, index);
        assert_eq!(study(index), "of the PACS|2021-11-13|10:15:03|CT");
        assert_eq!(series(index), "of the PACS|3");
        let patient = index.rows("SELECT lastname, firstname, comments, ideographic FROM patient");
        assert_eq!(patient, ["Renamed|Anna|of the PACS|-"]);
        assert_eq!(index.rows("SELECT sourceae FROM study"), ["PACS"]);
    });
}

#[test]
fn overwritten_values_are_in_the_undo_file() {
    on_both_databases(|site, index| {
        add_series(site);
        lose_a_run(site, index);
        let said = complete(site, index);
        assert!(said.out.contains("undo.jsonl"), "{}", said.out);
        let undo = fs::read_to_string(site.path("undo.jsonl")).unwrap();
        let lines: Vec<Json> = undo.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let uid = format!("{ROOT_UID}.1");
        for (table, key, column, old, new) in [
            ("study", uid.as_str(), "description", "part 1", "part 3"),
            ("study", &uid, "studydate", "2021-11-11", "2021-11-13"),
            ("patient", "T1", "comments", "comment 1", "comment 3"),
        ] {
            let line = json!({"table": table, "key": key, "column": column, "old": old, "new": new});
            assert!(lines.contains(&line), "{line} is not in {undo}");
        }
    });
}

#[test]
fn the_time_of_receipt_only_moves_later() {
    on_both_databases(|site, index| {
        add_series(site);
        lose_a_run(site, index);
        index.execute("UPDATE study SET received = '2021-11-30 01:02:03'");
        complete(site, index);
        assert_eq!(index.rows("SELECT received FROM study"), ["2021-11-30 01:02:03"]);
        assert!(site.findings("note").iter().any(|line| line.contains("received-later")), "{:?}", site.listing());
        index.execute("UPDATE study SET received = '2001-02-03 04:05:06', modalities = NULL");
        complete(site, index);
        assert_eq!(index.rows("SELECT received FROM study")[0][..10], *"2021-11-13");
    });
}

#[test]
fn an_image_below_a_completed_series_gets_the_file_that_was_chosen() {
    on_both_databases(|site, index| {
        add_series(site);
        lose_a_run(site, index);
        // A newer file of the first instance.
        let mut copy = instance(1);
        (copy["Rows"], copy["InstanceNumber"]) = (json!("8"), json!("71"));
        copy["ContentDate"] = json!("20210102");
        site.add(&format!("{}/copy", directory(1)), copy);
        let file = fs::OpenOptions::new().write(true).open(site.archive().join(directory(1)).join("copy")).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        let image = || {
            index.rows(&format!("SELECT path, numrows, instance FROM image WHERE uuid = '{ROOT_UID}.1.1.1'")).remove(0)
        };
        reindex(site, index, &STATE);
        assert!(image().ends_with("/1|4|1"), "{}", image());
        complete(site, index);
        assert!(image().ends_with("/copy|8|71"), "{}", image());
        let undo = fs::read_to_string(site.path("undo.jsonl")).unwrap();
        assert!(undo.contains(r#""column":"path""#), "{undo}");
        assert!(site.findings("duplicate").iter().all(|line| line.contains("same-instance")), "{:?}", site.listing());
    });
}

#[test]
fn an_edited_value_of_an_image_below_a_completed_series_stays() {
    on_both_databases(|site, index| {
        add_series(site);
        lose_a_run(site, index);
        let mut copy = instance(1);
        (copy["Rows"], copy["InstanceNumber"]) = (json!("8"), json!("71"));
        site.add(&format!("{}/copy", directory(1)), copy);
        let file = fs::OpenOptions::new().write(true).open(site.archive().join(directory(1)).join("copy")).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        index.execute("UPDATE image SET instance = 555");
        complete(site, index);
        let image = index.rows(&format!("SELECT path, numrows, instance FROM image WHERE uuid = '{ROOT_UID}.1.1.1'"));
        assert!(image[0].ends_with("/copy|8|555"), "{image:?}");
        // The row names the newer file. The older one changes nothing.
        let said = complete(site, index);
        assert_eq!(said.figure("updated"), 0, "{}", said.out);
    });
}

/// The file of the first instance that is indexed first names another series; later, another file
/// of the instance is chosen.
#[test]
fn a_series_that_only_a_file_names_which_was_not_chosen_is_reported() {
    on_both_databases(|site, index| {
        add_series(site);
        lose_a_run(site, index);
        let other = format!("{ROOT_UID}.1.2");
        index.execute(&format!(
            "INSERT INTO series (uuid, studyuid, description) VALUES ('{other}', '{ROOT_UID}.1', 'view 7')"
        ));
        let mut copy = instance(1);
        copy["SeriesInstanceUID"] = json!(other);
        site.add(&format!("{}/copy", directory(1)), copy);
        let file = fs::OpenOptions::new().write(true).open(site.archive().join(directory(1)).join("copy")).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(86_400)).unwrap();
        complete(site, index);
        assert_eq!(site.findings("note").iter().filter(|line| **line == format!("file-not-chosen {other}")).count(), 1);
        assert_eq!(
            index.rows(&format!("SELECT description, instances FROM series WHERE uuid = '{other}'")),
            ["view 7|-"]
        );
    });
}

#[test]
fn a_study_that_the_pacs_edits_is_only_filled() {
    let site = Site::new();
    let index = Index::pacsone();
    add_series(&site);
    lose_a_run(&site, &index);
    index.execute("UPDATE study SET matched = 1, studydate = NULL");
    let said = complete(&site, &index);
    assert!(said.out.contains("rows that look unfinished: patients 1, studies 1, series 1"), "{}", said.out);
    assert_eq!(study(&index), "part 1|2021-11-13|10:15:01|-");
    assert_eq!(series(&index), "view 1|-");
    assert_eq!(index.rows("SELECT comments FROM patient"), ["comment 1"]);
}

#[test]
fn a_dry_run_names_the_columns_that_completing_would_change() {
    on_both_databases(|site, index| {
        add_series(site);
        lose_a_run(site, index);
        let before = index.dump();
        let said = reindex(site, index, &["--existing", "complete", "--dry-run"]);
        for column in ["study.description", "study.modalities", "series.instances", "patient.comments"] {
            assert!(said.out.contains(&format!("would change {column} in 1 rows")), "{column}: {}", said.out);
        }
        assert_eq!(index.dump(), before);
    });
}

/// The catalogue contains the files that the run has not read because they are below other roots.
#[test]
fn files_that_the_run_does_not_read_count_when_a_row_is_completed() {
    on_both_databases(|site, index| {
        add_series(site);
        lose_a_run(site, index);
        reindex(site, index, &STATE);
        let said = site.reindex_root(&site.archive().join(directory(1)), index, &COMPLETE);
        assert!(said.exit <= 1, "{}{}", said.out, said.err);
        assert_eq!(study(index), "part 3|2021-11-13|10:15:03|CT");
        assert_eq!(series(index), "view 3|3");
        assert_eq!(index.rows("SELECT comments FROM patient"), ["comment 3"]);
    });
}

/// If tables do not support transactions, one statement finishes a row.
#[test]
fn rows_of_tables_without_transactions_are_completed() {
    let site = Site::new();
    let index = Index::mariadb(&site);
    for (table, _) in TABLES {
        index.execute(&format!("ALTER TABLE {table} ENGINE = MyISAM"));
    }
    add_series(&site);
    lose_a_run(&site, &index);
    index.execute("UPDATE series SET description = 'VIEW 1'");
    reindex(&site, &index, &STATE);
    complete(&site, &index);
    assert_eq!(study(&index), "part 3|2021-11-13|10:15:03|CT");
    assert_eq!(series(&index), "VIEW 1|3");
    let undo = fs::read_to_string(site.path("undo.jsonl")).unwrap();
    assert!(undo.contains("part 1") && !undo.contains("VIEW 1"), "{undo}");
}

/// The studies of two people with one Patient ID keep their links, and each person's row has that
/// person's values.
#[test]
fn people_with_one_id_keep_their_rows_and_are_reported() {
    on_both_databases(|site, index| {
        for (n, name) in [(1, "Family^Anna"), (2, "Stranger^Berta")] {
            for part in [1, 2] {
                let (study, uid) = (format!("{ROOT_UID}.{n}"), format!("{ROOT_UID}.{n}.1.{part}"));
                let change = json!({"PatientID": "T1", "PatientName": name, "PatientComments": format!("{name} {part}"),
                    "StudyInstanceUID": study, "SeriesInstanceUID": format!("{ROOT_UID}.{n}.1"), "SOPInstanceUID": uid});
                site.add(&format!("{}/{n} {part}", directory(part)), change);
            }
        }
        lose_a_run(site, index);
        reindex(site, index, &STATE);
        complete(site, index);
        let people = "SELECT study.uuid, lastname, comments FROM study JOIN patient ON origid = patientid ORDER BY 1";
        let expected =
            [format!("{ROOT_UID}.1|Family|Family^Anna 2"), format!("{ROOT_UID}.2|Stranger|Stranger^Berta 2")];
        assert_eq!(index.rows(people), expected);
        let reported: Vec<String> = site.findings("note");
        let kept = reported.iter().filter(|line| line.contains("patient-kept")).count();
        assert_eq!(kept, 2, "{reported:?}");
    });
}
