//! An index that has lost commits of a run: a dump was restored, or the server was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;

use super::store::{Reference, STATE, assert_equal, is_long, size, wait_for_images};
use crate::support::{Index, Server, Site, TABLES};

/// The rows of an index at one moment, stored in files.
struct Dump(Vec<(&'static str, PathBuf)>);

impl Dump {
    /// Dumps the committed rows into files in a directory.
    fn take(index: &Index, directory: &Path) -> Self {
        let files: Vec<_> = TABLES.iter().map(|(table, _)| (*table, directory.join(format!("dump-{table}")))).collect();
        let _ = files.iter().map(|(_, file)| fs::remove_file(file)).collect::<Vec<_>>();
        let mut connection = index.connect();
        if index.url.starts_with("sqlite") {
            connection.execute(&format!("VACUUM INTO '{}'", files[0].1.display()));
        } else {
            connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ");
            connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT");
            for (table, file) in &files {
                connection
                    .execute(&format!("SELECT * FROM {table} INTO OUTFILE '{}' CHARACTER SET utf8mb4", file.display()));
            }
        }
        connection.close();
        Dump(files)
    }

    fn restore(&self, index: &Index) {
        if let Some(path) = index.url.strip_prefix("sqlite:") {
            for suffix in ["-wal", "-shm"] {
                let _ = fs::remove_file(format!("{path}{suffix}"));
            }
            fs::copy(&self.0[0].1, path).unwrap();
            return;
        }
        let mut connection = index.connect();
        for (table, file) in &self.0 {
            connection.execute(&format!("DELETE FROM {table}"));
            let file = file.display();
            connection.execute(&format!("LOAD DATA INFILE '{file}' INTO TABLE {table} CHARACTER SET utf8mb4"));
        }
        connection.close();
    }
}

/// The moment at which a dump is restored.
#[derive(Clone, Copy, PartialEq)]
enum Restored {
    AfterAKill,
    AfterTheEnd,
}

/// In each round, dumps the index at a random moment, the last step included, restores the dump
/// later, and runs the same command again.
fn restore_dumps(make: fn(&Site) -> Index, restored: Restored) {
    let (files, rounds) = size(3, 10);
    let mut reference = Reference::new(files, make);
    let mut lost = 0;
    for round in 0..rounds {
        let index = reference.fresh_index();
        let mut run = reference.site.start_reindex(&index, &STATE);
        // The rounds are spread over the whole run.
        let part = (f64::from(round) + reference.random.below(100) as f64 / 100.0) / f64::from(rounds) * 1.2;
        reference.wait_for_part(&mut run, &index, part);
        let dumped_before_the_end = !run.is_over();
        let dump = Dump::take(&index, &reference.site.path("."));
        if restored == Restored::AfterTheEnd {
            super::store::finished(run.end());
            // A run on a later night finds nothing to do.
            reference.rerun(&index, &[]);
        } else {
            let part = part + 0.05 + reference.random.below(40) as f64 / 100.0;
            reference.wait_for_part(&mut run, &index, part);
            run.kill();
        }
        let before = index.count("image");
        dump.restore(&index);
        let restored = index.count("image");
        lost += before - restored;
        println!("round {round}: {before} images, then {restored}; dumped before the end: {dumped_before_the_end}");
        reference.rerun(&index, &[]);
        reference.assert_reached(&index.dump(), &format!("round {round}"));
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

/// Options of a server that writes its log once per second: a kill loses the commits since then.
const FORGETFUL: &str = "start --innodb-flush-log-at-trx-commit=0";

/// Returns the numbers of committed rows: the images, and the series with final values.
fn committed(index: &Index) -> [u64; 2] {
    let finished = &index.rows("SELECT COUNT(*) FROM series WHERE instances IS NOT NULL")[0];
    [index.count("image"), finished.parse().unwrap()]
}

#[test]
fn commits_that_a_killed_server_has_lost_are_made_again() {
    let (files, rounds) = size(4, 20);
    let mut reference = Reference::new(files, Index::mariadb);
    let mut server = Server::start();
    let mut lost = [0, 0];
    for round in 0..rounds {
        let _ = fs::remove_dir_all(reference.site.path("state"));
        let index = Index::mariadb_on(&server.url, &reference.site);
        server.order("stop");
        server.order(FORGETFUL);
        let mut run = reference.site.start_reindex(&index, &STATE);
        // Every other round kills the server while the run writes final values.
        if round % 2 == 1 {
            wait_for_images(&mut run, &index, reference.images() as u64);
            sleep(reference.duration.mul_f64(reference.random.below(20) as f64 / 100.0));
        } else {
            let part = reference.random.below(100) as f64 / 100.0;
            reference.wait_for_part(&mut run, &index, part);
        }
        let before = committed(&index);
        let was_running = !run.is_over();
        server.order("kill");
        server.order(FORGETFUL);
        let after = committed(&index);
        lost = [0, 1].map(|n| lost[n] + before[n].saturating_sub(after[n]));
        let first = run.end();
        let is_repaired = first.exit <= 1 && index.dump() == reference.expected;
        println!("round {round}: {before:?}, then {after:?}; running: {was_running}; by the run itself: {is_repaired}");
        if !is_repaired {
            reference.rerun(&index, &[]);
        }
        assert_equal(&reference.expected, &index.dump(), &format!("round {round}"));
    }
    println!("{lost:?} images and final values were lost");
    assert!(!is_long() || lost[0] > 0, "no commit was lost");
}
