//! A patient that is named only by single instances of another patient's study: no study is linked
//! to the row, which therefore never looks unfinished.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::store::{Reference, STATE};
use crate::support::{Index, ROOT_UID, Site, instance_file};

/// Waits until a run has recorded its first batch and waits for the database.
fn wait_for_record(site: &Site) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut length = 0;
    loop {
        assert!(Instant::now() < deadline, "the run records nothing");
        sleep(Duration::from_millis(500));
        let log = site.kept_by_now("state", "journal").map(|journal| journal.join("log"));
        let now = log.and_then(|log| fs::metadata(log).ok()).map_or(0, |log| log.len());
        if now > 1000 && now == length {
            return;
        }
        length = now;
    }
}

#[test]
fn a_run_killed_before_its_first_commit_leaves_no_provisional_value_in_such_a_row() {
    let site = Site::in_memory();
    for n in 0..6 {
        let patient = if n < 3 { "P9" } else { "P1" };
        let change = json!({
            "SOPInstanceUID": format!("{ROOT_UID}.1.1.{n}"), "PatientID": patient, "PatientName": "Doe^Jane",
            "PatientBirthDate": format!("197{n}0101"), "PatientWeight": format!("7{n}"),
        });
        site.write(&format!("2021-11-12-FRI/{n}"), &instance_file(change));
    }
    let reference = Reference::of(site, Index::mariadb);
    let index = reference.fresh_index();
    let mut other = index.connect();
    other.execute("BEGIN");
    for n in 0..6 {
        other.execute(&format!("INSERT INTO image (uuid, seriesuid, path) VALUES ('{ROOT_UID}.1.1.{n}', '', '')"));
    }
    // The killed run inserts the row with the values of a different file than the next run.
    let directory = reference.site.archive().join("2021-11-12-FRI");
    fs::rename(directory.join("0"), directory.join("9")).unwrap();
    let run = reference.site.start_reindex(&index, &STATE);
    wait_for_record(&reference.site);
    run.kill();
    other.execute("ROLLBACK");
    other.close();
    fs::rename(directory.join("9"), directory.join("0")).unwrap();
    assert_eq!(index.count("image"), 0);
    reference.rerun(&index, &[]);
    reference.assert_reached(&index.dump(), "killed before the first commit");
}
