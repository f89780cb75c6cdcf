//! Killed runs, and changes that happen before they are resumed.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use super::site::*;
use crate::support::{Index, ROOT_UID, Said, Site};

#[test]
fn a_killed_run_that_is_followed_by_one_with_other_settings_leaves_no_null() {
    let site = Site::new();
    let studies = two_studies();
    put_study(&site, studies.0, 3);
    put_study(&site, studies.1, 3);
    let index = killed_between(&site, studies);
    run(&site, &index, &["--duplicates", "oldest"]).exits(0);
    assert_eq!(index.rows("SELECT COUNT(*) FROM series WHERE instances IS NULL"), ["0"]);
    assert_eq!(index.rows("SELECT COUNT(*) FROM study WHERE modalities IS NULL"), ["0"]);
}

#[test]
fn a_killed_run_that_is_followed_by_one_since_a_day_is_continued_by_the_next_full_one() {
    let site = Site::new();
    let studies = two_studies();
    put_study(&site, studies.0, 3);
    put_study(&site, studies.1, 3);
    let index = killed_between(&site, studies);
    // A file of the same study that the killed run did not reach.
    put(&site, "2021-11-13-SAT/later", 20, instance(studies.0, 9));
    run(&site, &index, &["--since", "2026-01-01"]);
    run(&site, &index, &[]);
    let calm = Index::mariadb(&site);
    afresh(&site, &calm);
    assert_eq!(index.dump(), calm.dump());
}

#[test]
fn a_row_that_is_deleted_after_a_kill_costs_the_batch_nothing() {
    let site = Site::new();
    let studies = two_studies();
    put_study(&site, studies.0, 3);
    put_study(&site, studies.1, 3);
    let index = killed_between(&site, studies);
    unmark(&site, &[COMMITTED]);
    index.execute(&format!("DELETE FROM image WHERE uuid = '{}'", uid(studies.0, 2)));
    run(&site, &index, &[]);
    let calm = Index::mariadb(&site);
    afresh(&site, &calm);
    assert_eq!(index.dump(), calm.dump());
}

#[test]
fn a_run_killed_before_it_knows_that_a_duplicate_is_committed_tells_of_it() {
    let site = Site::new();
    put(&site, &format!("{DAY}/a"), 30, instance(1, 1));
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    unmark(&site, &[ENDED]);
    put(&site, &format!("{DAY}/b"), 20, instance(1, 1));
    let said = run(&site, &index, &[]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("duplicates not chosen")), (1, 1));
    unmark(&site, &[ENDED, COMMITTED]);
    let said = run(&site, &index, &[]);
    assert_eq!((said.figure("inserted"), said.figure("duplicates not chosen")), (1, 1), "{}", said.out);
    assert_eq!(listed(&site, "duplicate"), ["same-instance a"]);
}

#[test]
fn a_run_killed_before_it_knows_that_a_correction_is_committed_tells_of_it() {
    let site = Site::new();
    put(&site, &format!("{DAY}/a"), 30, instance(1, 1));
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    fs::rename(site.archive().join(DAY).join("a"), site.archive().join(DAY).join("b")).unwrap();
    let said = run(&site, &index, &[]).exits(0);
    assert_eq!((said.figure("updated"), listed(&site, "note")), (1, vec!["path-corrected b".into()]));
    unmark(&site, &[ENDED, COMMITTED]);
    let said = run(&site, &index, &[]);
    assert_eq!((said.figure("updated"), listed(&site, "note")), (1, vec!["path-corrected b".into()]), "{}", said.out);
}

#[test]
fn a_path_that_was_restored_after_a_kill_is_corrected_again() {
    let site = Site::new();
    put(&site, &format!("{DAY}/a"), 30, instance(1, 1));
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    let before = index.dump();
    fs::rename(site.archive().join(DAY).join("a"), site.archive().join(DAY).join("b")).unwrap();
    run(&site, &index, &[]).exits(0);
    let after = index.dump();
    unmark(&site, &[ENDED]);
    index.execute("UPDATE image SET path = REPLACE(path, '/b', '/a')");
    assert_eq!(index.dump(), before);
    run(&site, &index, &[]);
    assert_eq!(index.dump(), after);
}

#[test]
fn a_patient_that_a_database_has_lost_since_a_kill_is_written_again() {
    let site = Site::new();
    put_study(&site, 1, 3);
    let index = site.sqlite();
    run(&site, &index, &[]).exits(0);
    let dump = index.dump();
    unmark(&site, &[ENDED]);
    index.execute("DELETE FROM patient");
    run(&site, &index, &[]).exits(0);
    assert_eq!(index.dump(), dump);
}

#[test]
fn rows_that_are_written_again_after_a_kill_are_counted_once() {
    let site = Site::new();
    put_study(&site, 1, 3);
    let index = site.sqlite();
    let new_rows = |said: &Said| said.out.lines().find(|line| line.starts_with("new rows")).unwrap().to_owned();
    let first = new_rows(&run(&site, &index, &[]).exits(0));
    unmark(&site, &[ENDED]);
    for table in ["image", "series", "study", "patient"] {
        index.execute(&format!("DELETE FROM {table}"));
    }
    assert_eq!(new_rows(&run(&site, &index, &[]).exits(0)), first);
}

#[test]
fn rows_that_the_pacs_wrote_after_a_restore_are_not_the_killed_runs() {
    let site = Site::new();
    let studies = two_studies();
    put_study(&site, studies.0, 3);
    put_study(&site, studies.1, 3);
    let index = killed_between(&site, studies);
    let row = "SELECT description FROM study WHERE uuid LIKE '%.1'";
    // The database is restored to its former state; then the PACS receives an instance of the study
    // and inserts its own rows.
    let description = index.rows(row).remove(0);
    for table in ["image", "series", "study", "patient"] {
        index.execute(&format!("DELETE FROM {table}"));
    }
    index.execute("INSERT INTO patient (origid, lastname, firstname) VALUES ('T1', 'Testmann', 'Theo')");
    index.execute(&format!(
        "INSERT INTO study (uuid, patientid, description, modalities) VALUES ('{ROOT_UID}.1', 'T1', '{description}', 'CT')"
    ));
    put(&site, "2021-11-13-SAT/later", 20, instance(studies.0, 9));
    run(&site, &index, &[]);
    assert_eq!(index.rows(row), [description], "a value that was there stays: only what is NULL is filled");
}

#[test]
fn a_killed_run_that_is_continued_by_force_tells_of_each_file_once() {
    let site = Site::new();
    put(&site, &format!("{DAY}/a"), 30, instance(1, 1));
    put(&site, &format!("{DAY}/b"), 20, instance(1, 1));
    let index = site.sqlite();
    run(&site, &index, &[]).exits(1);
    let found = listed(&site, "duplicate");
    unmark(&site, &[ENDED]);
    run(&site, &index, &["--force"]).exits(1);
    assert_eq!(listed(&site, "duplicate"), found);
}

#[test]
fn a_killed_run_over_files_from_the_future_tells_of_each_once() {
    let site = Site::new();
    for (name, hours) in [("a", 1), ("b", 2)] {
        put(&site, &format!("{DAY}/{name}"), 0, instance(1, 1));
        let file = fs::OpenOptions::new().write(true).open(site.archive().join(DAY).join(name)).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(3600 * hours)).unwrap();
    }
    let index = site.sqlite();
    run(&site, &index, &[]).exits(1);
    let found = listed(&site, "duplicate");
    unmark(&site, &[ENDED]);
    run(&site, &index, &[]).exits(1);
    assert_eq!(listed(&site, "duplicate"), found);
}

#[test]
fn a_file_that_goes_between_kill_and_rerun_is_told_as_gone() {
    let site = Site::new();
    let studies = two_studies();
    put_study(&site, studies.0, 3);
    put_study(&site, studies.1, 3);
    let index = killed_between(&site, studies);
    fs::remove_file(site.archive().join(DAY).join(format!("{}-2", studies.0))).unwrap();
    // The directory was changed a while ago.
    let directory = fs::File::open(site.archive().join(DAY)).unwrap();
    directory.set_modified(SystemTime::now() - Duration::from_secs(86_400)).unwrap();
    // With any --min-age, the run looks for files that have vanished.
    let said = run(&site, &index, &["--min-age", "1m"]);
    assert_eq!(index.count("image"), 6);
    assert_eq!(listed(&site, "conflict"), [format!("file-gone {}-2", studies.0)], "{}", said.out);
}

#[test]
fn a_run_into_myisam_that_is_killed_within_a_batch_goes_on_as_if_it_had_not_been() {
    let site = Site::new();
    put_study(&site, 1, 3);
    let on_myisam = || {
        let index = Index::mariadb(&site);
        for table in ["patient", "study", "series", "image"] {
            index.execute(&format!("ALTER TABLE {table} ENGINE = MyISAM"));
        }
        index
    };
    let index = on_myisam();
    // The run waits within its batch: patient, study and series are inserted, and the images are
    // about to be.
    index.execute("CREATE TRIGGER held BEFORE INSERT ON image FOR EACH ROW DO GET_LOCK('held', 60)");
    let mut other = index.connect();
    other.execute("DO GET_LOCK('held', 60)");
    let killed = site.start_reindex(&index, &JOURNAL);
    wait_for(|| index.count("series") == 1);
    sleep(Duration::from_millis(200));
    killed.kill();
    let connections = format!(
        "SELECT id FROM information_schema.processlist WHERE db = '{}' AND id <> CONNECTION_ID()",
        index.name()
    );
    other.rows(&connections).iter().for_each(|id| other_kill(&index, id));
    other.execute("DO RELEASE_LOCK('held')");
    other.close();
    wait_for(|| index.rows(&connections).is_empty());
    index.execute("DROP TRIGGER held");
    assert_eq!(index.count("image"), 0);
    run(&site, &index, &[]);
    let calm = on_myisam();
    afresh(&site, &calm);
    assert_eq!(index.dump(), calm.dump());
}

#[test]
fn a_run_that_is_killed_while_it_closes_tells_of_patients_as_one_that_is_not() {
    let site = Site::new();
    put(&site, &format!("{DAY}/1"), 30, instance(1, 1));
    put(&site, &format!("{DAY}/2"), 30, with(with(instance(2, 1), "PatientID", "T1"), "PatientName", "Other^Person"));
    let index = site.sqlite();
    let told = |said: &Said| {
        let mut lines: Vec<String> = site.listing().iter().map(ToString::to_string).collect();
        lines.sort();
        (lines, said.out.lines().find(|line| line.starts_with("new rows")).unwrap().to_owned())
    };
    let first = told(&run(&site, &index, &[]).exits(1));
    unmark(&site, &[ENDED]);
    assert_eq!(told(&run(&site, &index, &[]).exits(1)), first);
}
