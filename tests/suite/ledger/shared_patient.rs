//! A PACS that files a study of another person under a patient row of this program, while a run is
//! about to change the name in the row.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Index, ROOT_UID, Site, TABLES};

/// One transaction contains the files of all people, whatever portion size other tests use, so that
/// the row has the name in the first file.
const STATE: [&str; 4] = ["--state", "state", "--portion", "500"];

/// The study that the PACS files under the row, which has the name of Anna at that time.
const FILED: &str = "1.2.9";

/// Adds a file of a study of a person with the shared Patient ID.
fn add(site: &Site, path: &str, study: &str, name: &str) {
    let change = json!({"PatientID": "P1", "PatientName": name, "StudyInstanceUID": study,
        "SeriesInstanceUID": format!("{study}.1"), "SOPInstanceUID": format!("{study}.1.1")});
    site.add(&format!("2021-11-12-FRI/{path}"), change);
}

/// Adds files of two people with one Patient ID. The row has the name in the first file, Anna, at
/// first; Berta has the smaller study, so that the row would be hers in the end.
fn two_people(site: &Site) {
    add(site, "a", &format!("{ROOT_UID}.2"), "Family^Anna");
    add(site, "b", &format!("{ROOT_UID}.1"), "Stranger^Berta");
}

/// Returns the statement by which the PACS files Anna's study.
fn filing(index: &Index) -> String {
    let ignore = if index.url.starts_with("sqlite") { "OR IGNORE" } else { "IGNORE" };
    format!("INSERT {ignore} INTO study (uuid, patientid) VALUES ('{FILED}', 'P1')")
}

/// Returns the last name under which each study is shown.
fn people(index: &Index) -> Vec<String> {
    let sql = "SELECT study.uuid, lastname FROM study LEFT JOIN patient ON origid = patientid ORDER BY study.uuid";
    index.rows(sql).into_iter().map(|row| row.replace(ROOT_UID, "")).collect()
}

#[track_caller]
fn assert_no_wrong_name(index: &Index, what: &str) {
    assert_eq!(people(index), [format!("{FILED}|Family"), ".1|Stranger".into(), ".2|Family".into()], "{what}");
}

/// A trigger files the study after the run has decided about names, and before it changes the row.
fn filed_before_the_row_changes(site: &Site, index: &Index, what: &str) {
    two_people(site);
    let event = "CREATE TRIGGER files BEFORE UPDATE ON series";
    index.execute(&match index.url.starts_with("sqlite") {
        true => format!("{event} BEGIN {}; END", filing(index)),
        false => format!("{event} FOR EACH ROW {}", filing(index)),
    });
    let said = site.reindex(index, &STATE);
    assert!(said.exit <= 1, "{}{}", said.out, said.err);
    assert_no_wrong_name(index, what);
    index.execute("DROP TRIGGER files");
    let said = site.reindex(index, &[&STATE[..], &["--force"]].concat());
    assert!(said.exit <= 1, "{}{}", said.out, said.err);
    assert_no_wrong_name(index, &format!("{what}, a later run"));
}

#[test]
fn a_study_that_a_pacs_files_before_the_name_changes_keeps_its_name() {
    let site = Site::new();
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]).exits(0);
    filed_before_the_row_changes(&site, &index, "SQLite");
    for engine in ["InnoDB", "MyISAM"] {
        let site = Site::new();
        let index = Index::mariadb(&site);
        TABLES.iter().for_each(|(table, _)| index.execute(&format!("ALTER TABLE {table} ENGINE = {engine}")));
        filed_before_the_row_changes(&site, &index, engine);
    }
}

fn wait_until(is_done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_done() {
        assert!(Instant::now() < deadline, "the run does not get there");
        sleep(Duration::from_millis(10));
    }
}

/// The number of connections that wait for the lock of a test.
fn waiting(index: &Index) -> usize {
    let sql = "SELECT 1 FROM information_schema.processlist WHERE state = 'User lock' AND db = DATABASE()";
    index.rows(sql).len()
}

/// Makes the updates of a table wait for a lock that the test holds.
fn hold(index: &Index, table: &str) {
    index.execute(&format!(
        "CREATE TRIGGER held BEFORE UPDATE ON {table} FOR EACH ROW \
         DO GET_LOCK('shared patient', 60), RELEASE_LOCK('shared patient')"
    ));
}

/// Another row changes first, and while its update waits, the PACS files the study. The statement
/// that changes the name checks which studies use the row.
#[test]
fn a_study_that_a_pacs_files_between_the_look_and_the_statement_keeps_its_name() {
    for engine in ["InnoDB", "MyISAM"] {
        let site = Site::new();
        two_people(&site);
        for n in [1, 2] {
            let change = json!({"PatientID": "P0", "PatientComments": format!("comment {n}"),
                "StudyInstanceUID": format!("{ROOT_UID}.3"), "SeriesInstanceUID": format!("{ROOT_UID}.3.1"),
                "SOPInstanceUID": format!("{ROOT_UID}.3.1.{n}"), "PatientName": "Other^Carl"});
            site.add(&format!("2021-11-12-FRI/c{n}"), change);
        }
        // Each writer finalizes several rows, so that one writer finalizes P0 and P1.
        for n in 1..=30 {
            let change = json!({"PatientID": format!("Q{n}"), "StudyInstanceUID": format!("{ROOT_UID}.4.{n}"),
                "SeriesInstanceUID": format!("{ROOT_UID}.4.{n}.1"), "SOPInstanceUID": format!("{ROOT_UID}.4.{n}.1.1")});
            site.add(&format!("2021-11-12-FRI/d{n}"), change);
        }
        let index = Index::mariadb(&site);
        TABLES.iter().for_each(|(table, _)| index.execute(&format!("ALTER TABLE {table} ENGINE = {engine}")));
        hold(&index, "patient");
        let mut pacs = index.connect();
        pacs.execute("DO GET_LOCK('shared patient', 60)");
        let run = site.start_reindex(&index, &STATE);
        wait_until(|| waiting(&index) > 0);
        pacs.execute(&filing(&index));
        pacs.execute("DO RELEASE_LOCK('shared patient')");
        let said = run.end();
        assert!(said.exit <= 1, "{}{}", said.out, said.err);
        assert_eq!(people(&index)[..4], ["1.2.9|Family", ".1|Stranger", ".2|Family", ".3|Other"], "{engine}");
    }
}

#[test]
fn a_study_that_a_pacs_has_filed_and_not_committed_yet_keeps_its_name() {
    let site = Site::new();
    two_people(&site);
    let index = Index::mariadb(&site);
    hold(&index, "series");
    let mut pacs = index.connect();
    pacs.execute("DO GET_LOCK('shared patient', 60)");
    let run = site.start_reindex(&index, &STATE);
    wait_until(|| waiting(&index) > 0);
    pacs.execute("BEGIN");
    pacs.execute(&filing(&index));
    pacs.execute("DO RELEASE_LOCK('shared patient')");
    // Longer than the rest of the run takes.
    sleep(Duration::from_secs(2));
    pacs.execute("COMMIT");
    let said = run.end();
    assert!(said.exit <= 1, "{}{}", said.out, said.err);
    assert_no_wrong_name(&index, "an open transaction");
}

/// The run that inserted the patient is killed and resumed. Before the resume, the PACS has filed
/// Anna's study, whose file the resumed run reads.
#[test]
fn a_study_of_a_pacs_whose_file_the_same_run_reads_keeps_its_name() {
    let site = Site::new();
    add(&site, "a", &format!("{ROOT_UID}.2"), "Family^Anna");
    let index = Index::mariadb(&site);
    hold(&index, "series");
    let mut other = index.connect();
    other.execute("DO GET_LOCK('shared patient', 60)");
    let run = site.start_reindex(&index, &STATE);
    wait_until(|| waiting(&index) > 0);
    run.kill();
    other.execute("DO RELEASE_LOCK('shared patient')");
    other.close();
    let others = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
    wait_until(|| index.rows(others).is_empty());
    index.execute("DROP TRIGGER held");
    index.execute(&filing(&index));
    add(&site, "b", &format!("{ROOT_UID}.1"), "Stranger^Berta");
    add(&site, "c", FILED, "Family^Anna");
    let said = site.reindex(&index, &STATE);
    assert!(said.exit <= 1, "{}{}", said.out, said.err);
    assert_no_wrong_name(&index, "a file of the study");
}

/// The last run found the row as one of this program, and a PACS files a study before the row
/// changes.
#[test]
fn a_study_that_a_pacs_files_while_a_later_run_is_about_to_change_the_name_keeps_its_name() {
    let site = Site::new();
    add(&site, "a", &format!("{ROOT_UID}.2"), "Family^Anna");
    let index = Index::mariadb(&site);
    site.reindex(&index, &STATE).exits(0);
    add(&site, "b", &format!("{ROOT_UID}.1"), "Stranger^Berta");
    index.execute(&format!("CREATE TRIGGER files BEFORE UPDATE ON series FOR EACH ROW {}", filing(&index)));
    let said = site.reindex(&index, &STATE);
    assert!(said.exit <= 1, "{}{}", said.out, said.err);
    assert_no_wrong_name(&index, "a later run");
}

/// The spelling of an ID is final when all files are known, and a row that a PACS uses keeps its
/// key.
#[test]
fn a_row_that_a_pacs_files_under_keeps_the_spelling_of_its_id() {
    let site = Site::new();
    for (path, id, study) in [("a", "p1", 2), ("b", "P1", 1)] {
        let study = format!("{ROOT_UID}.{study}");
        let change = json!({"PatientID": id, "PatientName": "Family^Anna", "StudyInstanceUID": study,
            "SeriesInstanceUID": format!("{study}.1"), "SOPInstanceUID": format!("{study}.1.1")});
        site.add(&format!("2021-11-12-FRI/{path}"), change);
    }
    let index = Index::mariadb(&site);
    index.execute(&format!(
        "CREATE TRIGGER files BEFORE UPDATE ON series FOR EACH ROW {}",
        filing(&index).replace("'P1'", "'p1'")
    ));
    let said = site.reindex(&index, &STATE);
    assert!(said.exit <= 1, "{}{}", said.out, said.err);
    assert_eq!(index.rows("SELECT CAST(origid AS BINARY) FROM patient"), ["p1"]);
}
