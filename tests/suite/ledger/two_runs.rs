//! Two runs on one index at the same time.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Index, PASSWORD, Running, Said, Site, on_both_databases};

/// Keeps runs from writing to the index until it is released.
struct Block {
    connection: crate::support::Connected,
}

impl Block {
    fn new(index: &Index) -> Self {
        // An uncommitted row blocks a run that inserts the same patient.
        let mut connection = index.connect();
        connection.execute(if index.url.starts_with("sqlite") { "BEGIN IMMEDIATE" } else { "START TRANSACTION" });
        connection.execute("INSERT INTO patient (origid) VALUES ('T1')");
        Block { connection }
    }

    fn release(mut self) {
        self.connection.execute("ROLLBACK");
        self.connection.close();
    }
}

fn command(site: &Site, index: &Index, state: &str, more: &[&str]) -> Command {
    let list = format!("{state}.jsonl");
    let mut command = site.program(&["reindex", "archive", "--quiet", "--min-age", "0s", "--index", &index.url]);
    command.args(["--state", state, "--rejected", &list]).args(more).env("PACS_INDEX_PASSWORD", PASSWORD);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A run that holds the lock and waits for the tables.
fn waiting_run(site: &Site, index: &Index) -> Running {
    let run = site.start_reindex(index, &["--state", "first"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let has_lock = || match index.url.strip_prefix("sqlite:") {
        Some(path) => std::path::Path::new(&format!("{path}-run")).exists(),
        None => {
            let locks = format!("SELECT CAST(IS_USED_LOCK('pacs-index/{}') AS CHAR)", index.name());
            index.rows(&locks) != ["-"]
        }
    };
    while !has_lock() {
        assert!(Instant::now() < deadline, "the run takes no lock");
        sleep(Duration::from_millis(10));
    }
    run
}

#[test]
fn a_second_run_with_another_state_directory_is_refused_or_waits() {
    on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 20);
        site.run(&["init", "--index", &index.url]);
        let block = Block::new(index);
        let first = waiting_run(site, index);
        let refused = Said::of(&mut command(site, index, "second", &[])).exits(3);
        assert!(refused.err.contains("another run is writing to the index"), "{}", refused.err);
        assert!(refused.err.contains("--wait") && !refused.err.contains(PASSWORD), "{}", refused.err);
        let files = ["--files", "list"];
        site.write("../list", site.archive().join("x").to_string_lossy().as_bytes());
        let said = Said::of(&mut command(site, index, "third", &files));
        assert_eq!(said.exit, 3, "a list of files: {}{}", said.out, said.err);
        let waiting = command(site, index, "second", &["--wait"]).spawn().unwrap();
        sleep(Duration::from_millis(500));
        block.release();
        first.end().exits(0);
        let said = Said::new(waiting.wait_with_output().unwrap()).exits(0);
        assert_eq!((said.figure("inserted"), said.figure("unchanged")), (0, 20), "{}", said.out);
        // The lock is completely released.
        Said::of(&mut command(site, index, "fourth", &[])).exits(0);
        assert!(
            !std::fs::read_dir(site.path("."))
                .unwrap()
                .any(|entry| { entry.unwrap().file_name().to_string_lossy().ends_with("-run") })
        );
    });
}

#[test]
fn the_lock_of_a_run_that_was_killed_is_free() {
    on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 20);
        site.run(&["init", "--index", &index.url]);
        let block = Block::new(index);
        waiting_run(site, index).kill();
        block.release();
        let said = Said::of(&mut command(site, index, "second", &["--wait"]));
        assert_eq!(said.exit, 0, "{}{}", said.out, said.err);
        assert_eq!(index.count("image"), 20);
    });
}

#[test]
fn a_run_takes_its_lock_again_after_its_connection_was_cut() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 20);
    let index = Index::mariadb(&site);
    let block = Block::new(&index);
    let run = waiting_run(&site, &index);
    let holder = || index.rows(&format!("SELECT CAST(IS_USED_LOCK('pacs-index/{}') AS CHAR)", index.name()));
    let first = holder();
    index.execute(&format!("KILL {}", first[0]));
    let deadline = Instant::now() + Duration::from_secs(60);
    while holder() == first || holder() == ["-"] {
        assert!(Instant::now() < deadline, "the lock is not taken again");
        sleep(Duration::from_millis(100));
    }
    block.release();
    let said = run.end();
    assert_eq!(said.exit, 0, "{}{}", said.out, said.err);
}
