//! A run that is interrupted, or loses its database.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Index, Site};

/// More than the stages hold at a time, so that some files are not reached.
const FILES: u32 = 3000;

fn site_with_files() -> Site {
    let site = Site::new();
    for series in 1..=6 {
        site.add_series(&format!("2021-11-{:02}-FRI", series + 10), 1, series, FILES / 6);
    }
    site
}

#[test]
fn an_interrupted_run_finishes_its_batch_and_the_next_one_goes_on() {
    let site = site_with_files();
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]).exits(0);
    // The run waits for the index, which somebody else has locked, when it is interrupted.
    let mut other = index.connect();
    other.execute("BEGIN IMMEDIATE");
    let run = site.start_reindex(&index, &["--io-threads", "2"]);
    sleep(Duration::from_secs(2));
    run.interrupt();
    sleep(Duration::from_millis(300));
    other.execute("ROLLBACK");
    other.close();
    let said = run.end().exits(130);
    let (inserted, not_reached) = (said.figure("inserted"), said.figure("not reached"));
    assert!(inserted > 0 && not_reached > 0, "{}", said.out);
    assert_eq!(inserted + not_reached, said.figure("files found"));
    assert_eq!(index.count("image"), inserted);
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(said.figure("inserted") + inserted, u64::from(FILES));
    assert_eq!(index.rows("SELECT DISTINCT instances FROM series"), [(FILES / 6).to_string()]);
}

#[test]
fn a_second_interrupt_leaves_at_once() {
    let site = site_with_files();
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]).exits(0);
    let mut other = index.connect();
    other.execute("BEGIN IMMEDIATE");
    let mut run = site.start_reindex(&index, &[]);
    sleep(Duration::from_secs(1));
    run.interrupt();
    sleep(Duration::from_millis(300));
    assert!(!run.is_over(), "the first interrupt waits for the batch");
    run.interrupt();
    let asked = Instant::now();
    let said = run.end().exits(130);
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(said.out, "");
    other.close();
}

#[test]
fn a_lost_connection_ends_the_run_with_what_was_reached() {
    let site = site_with_files();
    let index = Index::mariadb(&site);
    // Somebody holds the patient's key, so that the run waits; then its connections are cut.
    let mut other = index.connect();
    other.execute("START TRANSACTION");
    other.execute("INSERT INTO patient (origid) VALUES ('T1')");
    let run = site.start_reindex(&index, &[]);
    let killed = kill_waiting(&index);
    other.execute("ROLLBACK");
    let said = run.end().exits(3);
    assert!(killed > 0);
    assert!(said.err.contains("run the same command again"), "{}", said.err);
    assert_eq!(said.figure("files found"), said.figure("not reached") + said.figure("inserted"));
    other.close();
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(said.figure("inserted") + said.figure("unchanged"), u64::from(FILES));
}

/// Kills the connections that wait for an insert into patient. Returns how many.
fn kill_waiting(index: &Index) -> usize {
    let mut admin = index.connect();
    let waiting =
        "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'INSERT INTO `patient`%'";
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut ids = Vec::new();
    while ids.is_empty() && Instant::now() < deadline {
        sleep(Duration::from_millis(100));
        ids = admin.rows(waiting);
    }
    for id in &ids {
        admin.execute(&format!("KILL {id}"));
    }
    admin.close();
    ids.len()
}

#[test]
fn a_row_that_the_pacs_holds_for_a_moment_is_waited_for() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 20);
    let index = Index::mariadb(&site);
    let mut other = index.connect();
    other.execute("SET GLOBAL innodb_lock_wait_timeout = 1");
    other.execute("START TRANSACTION");
    other.execute("INSERT INTO patient (origid, lastname) VALUES ('T1', 'held')");
    let mut run = site.start_reindex(&index, &[]);
    sleep(Duration::from_secs(4));
    assert!(!run.is_over());
    other.execute("COMMIT");
    other.execute("SET GLOBAL innodb_lock_wait_timeout = 50");
    let said = run.end().exits(0);
    assert_eq!(said.figure("inserted"), 20);
    assert_eq!(index.rows("SELECT lastname FROM patient"), ["held"], "the row of the PACS stays as it is");
    other.close();
}
