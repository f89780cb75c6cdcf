//! A run that is interrupted or loses its database.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Index, Running, Site};

/// More files than the stages hold at a time, so that some files are not reached.
const FILES: u64 = 3000;

fn site_with_files() -> Site {
    let site = Site::new();
    for series in 1..=6 {
        site.add_series(&format!("2021-11-{:02}-FRI", series + 10), 1, series, (FILES / 6) as u32);
    }
    site
}

/// Waits until the stages of the run are full and the run waits for the index.
fn wait_until_it_waits(site: &Site, run: &Running) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !site.path("rejected.jsonl").exists() && Instant::now() < deadline {
        sleep(Duration::from_millis(10));
    }
    sleep(Duration::from_secs(1));
    while run.works_within(Duration::from_millis(500)) && Instant::now() < deadline {}
}

/// Interrupts a run that waits for the index, which another connection has locked. Returns the
/// number of files that were inserted, and of those not reached.
fn interrupted(site: &Site, index: &Index, more: &[&str]) -> (u64, u64) {
    site.run(&["init", "--index", &index.url]).exits(0);
    let mut other = index.connect();
    other.execute("BEGIN IMMEDIATE");
    let run = site.start_reindex(index, more);
    wait_until_it_waits(site, &run);
    run.interrupt();
    sleep(Duration::from_millis(300));
    other.execute("ROLLBACK");
    other.close();
    let said = run.end().exits(130);
    let (inserted, not_reached) = (said.figure("inserted"), said.figure("not reached"));
    assert_eq!(inserted + not_reached, said.figure("files found"), "{}", said.out);
    assert_eq!(index.count("image"), inserted);
    (inserted, not_reached)
}

#[test]
fn an_interrupted_run_finishes_its_batch_and_the_next_one_goes_on() {
    let site = site_with_files();
    let index = site.sqlite();
    let (inserted, not_reached) = interrupted(&site, &index, &["--io-threads", "2"]);
    assert!(inserted > 0 && not_reached > 0, "{inserted}, {not_reached}");
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(said.figure("inserted"), FILES, "it goes on, and tells of all");
    assert_eq!(index.rows("SELECT DISTINCT instances FROM series"), [(FILES / 6).to_string()]);
}

#[test]
fn an_interrupted_run_does_not_wait_for_what_is_put_by_and_the_next_one_goes_on() {
    let site = site_with_files();
    let index = site.sqlite();
    // All files are buffered; their first batch waits for the index.
    let (inserted, not_reached) = interrupted(&site, &index, &["--insert-order", "key"]);
    assert_eq!(inserted + not_reached, FILES);
    assert!(inserted < FILES / 2, "{inserted}");
    let said = site.reindex(&index, &["--insert-order", "key"]).exits(0);
    assert_eq!(said.figure("inserted"), FILES, "it goes on, and tells of all");
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
    // Another connection holds the patient's key, so that the run waits; then the run's connections
    // are killed.
    let mut other = index.connect();
    other.execute("START TRANSACTION");
    other.execute("INSERT INTO patient (origid) VALUES ('T1')");
    let run = site.start_reindex(&index, &["--reconnect-timeout", "0s"]);
    let killed = kill_waiting(&index);
    other.execute("ROLLBACK");
    let said = run.end().exits(3);
    assert!(killed > 0);
    assert!(said.err.contains("run the same command again"), "{}", said.err);
    assert_eq!(said.figure("files found"), said.figure("not reached") + said.figure("inserted"));
    other.close();
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(said.figure("inserted") + said.figure("unchanged"), FILES);
}

/// Returns whether all instance counts match the images, and all studies have modalities.
fn counts_are_right(index: &Index) -> bool {
    let wrong = "SELECT COUNT(*) FROM series WHERE instances IS NULL OR instances <> \
                 (SELECT COUNT(*) FROM image WHERE image.seriesuid = series.uuid)";
    let none = "SELECT COUNT(*) FROM study WHERE modalities IS NULL";
    index.rows(wrong) == ["0"] && index.rows(none) == ["0"]
}

#[test]
fn what_a_killed_run_leaves_open_the_next_one_closes() {
    let site = site_with_files();
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]).exits(0);
    let run = site.start_reindex(&index, &[]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while index.count("image") == 0 && Instant::now() < deadline {}
    run.kill();
    let before = index.count("image");
    assert!(before > 0);
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(said.figure("inserted"), FILES);
    assert!(said.out.contains("resumes an interrupted run"), "{}", said.out);
    assert!(counts_are_right(&index));
    // The run is killed again, after the counts of all its series were final.
    site.add_series("2021-12-01-WED", 1, 1, 2 * FILES as u32 / 6);
    let run = site.start_reindex(&index, &["--io-threads", "1"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while index.count("image") == FILES && Instant::now() < deadline {}
    run.kill();
    assert!(index.count("image") > FILES);
    site.reindex(&index, &[]).exits(1);
    assert_eq!(index.count("image"), FILES + FILES / 6);
    assert!(counts_are_right(&index));
}

#[test]
fn an_sqlite_index_is_one_file_after_a_run() {
    let site = site_with_files();
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    assert!(!site.path("index.db-wal").exists() && !site.path("index.db-shm").exists());
}

#[test]
fn a_run_that_waits_for_another_finds_everything_done() {
    let site = site_with_files();
    let both = |index: &Index| {
        // Each run has its own list.
        let other = Site::new();
        let arguments = ["--rejected", "rejected.jsonl", "--io-threads", "4", "--wait"];
        let mut second =
            other.program(&["reindex", site.archive().to_str().unwrap(), "--quiet", "--index", &index.url]);
        let second = second.args(arguments).env("PACS_INDEX_PASSWORD", "pacs-test").spawn().unwrap();
        let first = site.reindex(index, &["--wait"]);
        let second = second.wait_with_output().unwrap();
        assert_eq!(second.status.code(), Some(0), "{}", String::from_utf8_lossy(&second.stderr));
        let first = first.exits(0);
        assert_eq!(first.figure("inserted") + first.figure("unchanged"), FILES);
        assert_eq!(index.count("image"), FILES);
        assert!(counts_are_right(index));
    };
    both(&site.sqlite());
    both(&Index::mariadb(&site));
}

#[cfg(unix)]
#[test]
fn a_run_under_nohup_survives_the_logout() {
    use std::os::unix::process::CommandExt;
    let site = site_with_files();
    let index = site.sqlite();
    let mut command = site.reindexing(&site.archive(), &index, &[]);
    // SAFETY: signal is safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            Ok(())
        });
    }
    let mut run = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    sleep(Duration::from_millis(150));
    unsafe { libc::kill(run.id() as i32, libc::SIGHUP) };
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert_eq!(index.count("image"), FILES);
}

/// Kills the connections that wait for an insert into patient. Returns their number.
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
    other.execute("INSERT INTO patient (origid, lastname, firstname, sex) VALUES ('T1', 'Testmann', 'Theo', 'O')");
    let mut run = site.start_reindex(&index, &[]);
    sleep(Duration::from_secs(4));
    assert!(!run.is_over());
    other.execute("COMMIT");
    other.execute("SET GLOBAL innodb_lock_wait_timeout = 50");
    let said = run.end().exits(0);
    assert_eq!(said.figure("inserted"), 20);
    assert_eq!(index.rows("SELECT sex FROM patient"), ["O"], "the row of the PACS stays as it is");
    other.close();
}
