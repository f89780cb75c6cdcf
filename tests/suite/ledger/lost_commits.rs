//! An index that has lost commits of a run: a server that failed over to a replica without them, a restored dump.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::killed::site_with;
use crate::support::{Index, Running, Server, Site};

const TABLES: [&str; 4] = ["patient", "study", "series", "image"];

fn is_long() -> bool {
    std::env::var_os("PACS_INDEX_TEST_LONG").is_some()
}

/// The rows of an index at one moment, in files.
struct Dump(Vec<(&'static str, PathBuf)>);

impl Dump {
    /// Dumps what is committed now.
    fn take(index: &Index, directory: &Path) -> Self {
        let files: Vec<_> = TABLES.iter().map(|table| (*table, directory.join(format!("dump-{table}")))).collect();
        let mut connection = index.connect();
        if index.url.starts_with("sqlite") {
            connection.execute(&format!("VACUUM INTO '{}'", directory.join("dump-patient").display()));
        } else {
            connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ");
            connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT");
            for (table, file) in &files {
                connection.execute(&format!("SELECT * FROM {table} INTO OUTFILE '{}'", file.display()));
            }
        }
        connection.close();
        Dump(files)
    }

    fn restore(&self, index: &Index) {
        if let Some(path) = index.url.strip_prefix("sqlite:") {
            for suffix in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{path}{suffix}"));
            }
            std::fs::copy(&self.0[0].1, path).unwrap();
            return;
        }
        let mut connection = index.connect();
        for (table, file) in &self.0 {
            connection.execute(&format!("DELETE FROM {table}"));
            connection.execute(&format!("LOAD DATA INFILE '{}' INTO TABLE {table}", file.display()));
        }
        connection.close();
    }
}

/// Waits until the run has committed this part of the images.
fn wait_for_images(run: &mut Running, index: &Index, images: u64) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut connection = index.connect();
    let mut there = || connection.rows("SELECT COUNT(*) FROM image")[0].parse::<u64>().unwrap();
    while there() < images && !run.is_over() {
        assert!(Instant::now() < deadline, "the run does not get on");
        sleep(Duration::from_millis(2));
    }
}

/// When a dump is restored.
#[derive(Clone, Copy, PartialEq)]
enum Restored {
    AfterAKill,
    AfterTheEnd,
}

/// In each round a dump of one moment is restored later, and the same command is run again.
fn restore_dumps(make: fn(&Site) -> Index, restored: Restored) {
    let (files, rounds) = if is_long() { (12_000, 10) } else { (4000, 3) };
    let site = site_with(files);
    let calm = make(&site);
    site.reindex(&calm, &["--state", "calm"]).exits(1);
    let (expected, images) = (calm.dump(), calm.count("image"));
    drop(calm);
    let mut lost = 0;
    for round in 0..rounds {
        let _ = std::fs::remove_dir_all(site.path("state"));
        let _ = ["", "-wal", "-shm", "-run"].map(|end| std::fs::remove_file(site.path(&format!("index.db{end}"))));
        let _ = TABLES.map(|table| std::fs::remove_file(site.path(&format!("dump-{table}"))));
        let index = make(&site);
        site.run(&["init", "--index", &index.url]);
        let mut run = site.start_reindex(&index, &["--state", "state"]);
        wait_for_images(&mut run, &index, images * (round + 1) / (rounds + 2));
        let dump = Dump::take(&index, site.path("dump").parent().unwrap());
        let was_over = if restored == Restored::AfterTheEnd {
            assert_eq!(run.end().exit, 1);
            // Runs of later nights find nothing to do.
            site.reindex(&index, &["--state", "state"]).exits(1);
            false
        } else {
            wait_for_images(&mut run, &index, images * (round + 2) / (rounds + 2));
            let was_over = run.is_over();
            run.kill();
            was_over
        };
        let before = index.count("image");
        dump.restore(&index);
        lost += before - index.count("image");
        let said = site.reindex(&index, &["--state", "state"]);
        assert_eq!(said.exit, 1, "{}{}", said.out, said.err);
        let dumped = index.dump();
        let differing = expected.iter().zip(&dumped).filter(|(one, other)| one != other).count();
        println!("round {round}: {before} images, then {} restored; {differing} lines differ", dumped.len());
        assert!(was_over || expected == dumped, "round {round}: {differing} of {} lines differ", expected.len());
    }
    assert!(lost > 0, "the dumps lacked nothing");
}

#[test]
fn a_dump_restored_into_sqlite_after_a_kill_is_completed_by_the_same_command() {
    restore_dumps(Site::sqlite, Restored::AfterAKill);
}

#[test]
fn a_dump_restored_into_mariadb_after_a_kill_is_completed_by_the_same_command() {
    restore_dumps(Index::mariadb, Restored::AfterAKill);
}

#[test]
fn a_dump_of_a_run_restored_into_sqlite_after_its_end_is_completed_by_the_same_command() {
    restore_dumps(Site::sqlite, Restored::AfterTheEnd);
}

#[test]
fn a_dump_of_a_run_restored_into_mariadb_after_its_end_is_completed_by_the_same_command() {
    restore_dumps(Index::mariadb, Restored::AfterTheEnd);
}

/// Orders of a server that writes its log once a second: a kill loses what was committed since.
const FORGETFUL: &str = "start --innodb-flush-log-at-trx-commit=0";

#[test]
fn commits_that_a_killed_server_has_lost_are_made_again() {
    let (files, rounds) = if is_long() { (12_000, 10) } else { (4000, 3) };
    let site = site_with(files);
    let mut server = Server::start();
    let calm = Index::mariadb_on(&server.url, &site);
    site.reindex(&calm, &["--state", "calm"]).exits(1);
    let (expected, images) = (calm.dump(), calm.count("image"));
    let mut lost = 0;
    for round in 0..rounds {
        let _ = std::fs::remove_dir_all(site.path("state"));
        let index = Index::mariadb_on(&server.url, &site);
        server.order("stop");
        server.order(FORGETFUL);
        let mut run = site.start_reindex(&index, &["--state", "state"]);
        // The last round kills the server while the run settles its rows.
        wait_for_images(&mut run, &index, if round + 1 == rounds { images } else { images * (round + 1) / rounds });
        let before = index.count("image");
        server.order("kill");
        server.order(FORGETFUL);
        lost += before - index.count("image").min(before);
        let first = run.end();
        let said = if first.exit == 1 { first } else { site.reindex(&index, &["--state", "state"]) };
        assert_eq!(said.exit, 1, "{}{}", said.out, said.err);
        let mut dump = index.dump();
        if dump != expected {
            site.reindex(&index, &["--state", "state"]).exits(1);
            dump = index.dump();
        }
        let differing = expected.iter().zip(&dump).filter(|(one, other)| one != other).count();
        println!("round {round}: killed at {before} images; {differing} lines differ");
        assert!(dump == expected, "round {round}: {differing} of {} lines differ", expected.len());
    }
    println!("{lost} images were lost");
}
