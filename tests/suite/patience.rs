//! A database that becomes unavailable in mid-run and comes back, or does not.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{FATES, Index, PASSWORD, ROOT_UID, Said, Server, Site, Small};

pub fn is_long() -> bool {
    std::env::var_os("PACS_INDEX_TEST_LONG").is_some()
}

/// Studies of two series whose instances disagree, so that finalizing changes rows.
pub fn site_with(files: u32) -> Site {
    const PER_SERIES: u32 = 250;
    let site = Site::new();
    for n in 0..files {
        let (series, study) = (n / PER_SERIES, n / PER_SERIES / 2);
        let uid = format!("{ROOT_UID}.{study}.{series}.{n}");
        let change = json!({
            "PatientID": format!("T{}", study % 7), "StudyInstanceUID": format!("{ROOT_UID}.{study}"),
            "SeriesInstanceUID": format!("{ROOT_UID}.{study}.{series}"), "SOPInstanceUID": uid,
            "InstanceNumber": n.to_string(), "StudyDescription": format!("part {}", n % 3),
        });
        site.add(&format!("2021-11-{:02}-FRI/{study}/{uid}", 10 + study % 15), change);
    }
    site
}

/// Converts the tables of an index to MyISAM, which does not support transactions.
pub fn make_myisam(index: &Index) {
    for table in ["patient", "study", "series", "image"] {
        index.execute(&format!("ALTER TABLE {table} ENGINE = MyISAM"));
    }
}

fn account(said: &Said) -> Vec<String> {
    let rows = said.out.lines().find(|line| line.starts_with("new rows")).unwrap().to_owned();
    FATES.iter().map(|fate| format!("{fate} {}", said.figure(fate))).chain([rows]).collect()
}

/// Waits until a run has written this number of images.
pub fn wait_for(index: &Index, images: u64) {
    let mut connected = index.connect();
    let deadline = Instant::now() + Duration::from_secs(120);
    let count = |rows: Vec<String>| rows[0].parse::<u64>().unwrap();
    while count(connected.rows("SELECT COUNT(*) FROM image")) < images {
        assert!(Instant::now() < deadline, "the run does not write");
        sleep(Duration::from_millis(5));
    }
    connected.close();
}

/// Kills all connections to an index.
fn cut_connections(index: &Index) {
    let mut admin = index.connect();
    let theirs = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
    admin.rows(theirs).iter().for_each(|id| admin.try_execute(&format!("KILL {id}")));
    admin.close();
}

/// Asserts that a run through outages ends with the same result and rows as one without.
#[track_caller]
pub fn is_as_without(said: Said, index: &Index, site: &Site, calm: &Index) {
    let undisturbed = site.reindex(calm, &["--force"]);
    let said = said.exits(undisturbed.exit);
    assert_eq!(account(&said), account(&undisturbed));
    assert_eq!(index.dump(), calm.dump());
}

#[test]
fn a_run_goes_on_after_its_server_was_killed() {
    let (files, kills, pause) = if is_long() { (50_000, 5, 5) } else { (10_000, 2, 1) };
    let (mut server, site) = (Server::start(), site_with(files));
    let (index, calm) = (Index::mariadb_on(&server.url, &site), Index::mariadb_on(&server.url, &site));
    let mut run = site.start_shown(&index, &["--io-threads", "2"]);
    for kill in 1..=kills {
        wait_for(&index, u64::from(files * kill / (kills + 2)));
        assert!(!run.is_over());
        server.order("kill");
        sleep(Duration::from_secs(pause));
        server.order("start");
    }
    let said = run.end();
    assert!(said.err.contains("writing waits: the database cannot be reached ("), "{}", said.err);
    assert!(said.err.contains("giving up after 10 min") && said.err.contains("writing goes on after"), "{}", said.err);
    assert!(said.out.contains("for the database"), "{}", said.out);
    is_as_without(said, &index, &site, &calm);
}

#[test]
fn a_run_into_tables_without_transactions_goes_on_after_a_restart() {
    let (mut server, site) = (Server::start(), site_with(5000));
    let (index, calm) = (Index::mariadb_on(&server.url, &site), Index::mariadb_on(&server.url, &site));
    make_myisam(&index);
    let mut run = site.start_reindex(&index, &["--io-threads", "2"]);
    for images in [1000, 2500] {
        wait_for(&index, images);
        assert!(!run.is_over());
        server.order("stop");
        server.order("start");
    }
    is_as_without(run.end(), &index, &site, &calm);
}

#[test]
fn a_server_that_hangs_does_not_hang_the_run() {
    let (mut server, site) = (Server::start(), site_with(4000));
    let (index, calm) = (Index::mariadb_on(&server.url, &site), Index::mariadb_on(&server.url, &site));
    let run = site.start_shown(&index, &["--io-threads", "2"]);
    wait_for(&index, 1000);
    server.order("pause");
    // The program waits at most five minutes for an answer.
    sleep(Duration::from_secs(if is_long() { 315 } else { 2 }));
    server.order("resume");
    let said = run.end();
    assert_eq!(said.err.contains("no answer for 10 s"), is_long(), "{}", said.err);
    is_as_without(said, &index, &site, &calm);
}

#[test]
fn connections_that_are_cut_again_and_again_cost_nothing_but_time() {
    let site = site_with(5000);
    let (index, calm) = (Index::mariadb(&site), Index::mariadb(&site));
    let mut run = site.start_reindex(&index, &["--io-threads", "2"]);
    for images in [1, 1000, 2000, 3000, 4000] {
        wait_for(&index, images);
        assert!(!run.is_over());
        cut_connections(&index);
    }
    is_as_without(run.end(), &index, &site, &calm);
}

/// A connection to a server that fails at some commits: before or after they reach the server.
fn line_that_loses_commits(index: &Index) -> (String, Arc<AtomicUsize>) {
    let mut url = url::Url::parse(&index.url).unwrap();
    let server = url.port().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let commits = Arc::new(AtomicUsize::new(0));
    let seen = commits.clone();
    spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            spawn(move || drop((std::io::copy(&mut from, &mut to), to.shutdown(Shutdown::Both))));
            let seen = seen.clone();
            spawn(move || pass_on(client, server, &seen));
        }
    });
    (url.into(), commits)
}

fn pass_on(mut client: TcpStream, mut server: TcpStream, commits: &AtomicUsize) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = client.read(&mut bytes) {
        let is_commit = bytes[..count].ends_with(b"\x03COMMIT");
        match if is_commit { commits.fetch_add(1, Ordering::Relaxed) % 4 } else { 0 } {
            1 => break,
            3 => {
                // The answer is lost.
                client.shutdown(Shutdown::Both).unwrap();
                server.write_all(&bytes[..count]).unwrap();
                sleep(Duration::from_millis(50));
                break;
            }
            _ if server.write_all(&bytes[..count]).is_ok() => {}
            _ => break,
        }
    }
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}

#[test]
fn commits_whose_answer_was_lost_count_once() {
    for without_transactions in [false, true] {
        let site = site_with(3000);
        let (index, calm) = (Index::mariadb(&site), Index::mariadb(&site));
        if without_transactions {
            make_myisam(&index);
        }
        let (url, commits) = line_that_loses_commits(&index);
        let run = |list: &str| {
            let mut command = site.program(&["reindex", "archive", "--index", &url, "--quiet"]);
            Said::of(command.args(["--force", "--rejected", list]).env("PACS_INDEX_PASSWORD", PASSWORD))
        };
        is_as_without(run("first.jsonl"), &index, &site, &calm);
        // Filled or corrected rows count once as well.
        for index in [&index, &calm] {
            index.execute("UPDATE image SET instance = NULL WHERE MOD(instance, 3) = 0");
            index.execute("UPDATE image SET path = CONCAT(path, '.gone') WHERE MOD(instance, 3) = 1");
            index.execute("UPDATE study SET description = NULL");
        }
        let before = commits.load(Ordering::Relaxed);
        let said = run("second.jsonl");
        assert!(said.figure("updated") > 1500, "{}", said.out);
        is_as_without(said, &index, &site, &calm);
        assert!(before > 8 && commits.load(Ordering::Relaxed) > before + 8);
    }
}

#[test]
fn a_run_that_has_waited_long_enough_says_how_far_it_came() {
    let (mut server, site) = (Server::start(), site_with(6000));
    for (patience, told) in [("0s", "files found were settled"), ("2s", "waited for it for 2 s")] {
        let index = Index::mariadb_on(&server.url, &site);
        let run = site.start_reindex(&index, &["--io-threads", "2", "--reconnect-timeout", patience]);
        wait_for(&index, 1000);
        server.order("kill");
        let said = run.end().exits(3);
        server.order("start");
        assert!(said.err.contains(told) && said.err.contains("same command again"), "{}", said.err);
        assert!(said.err.contains(&index.url), "{}", said.err);
        assert_eq!(said.figure("files found"), said.figure("not reached") + said.figure("inserted"));
        let said = site.reindex(&index, &[]).exits(0);
        assert_eq!(said.figure("inserted") + said.figure("unchanged"), 6000);
    }
}

#[test]
fn an_interrupt_ends_the_wait_for_a_database() {
    let (mut server, site) = (Server::start(), site_with(6000));
    let index = Index::mariadb_on(&server.url, &site);
    let run = site.start_reindex(&index, &["--io-threads", "2"]);
    wait_for(&index, 1000);
    server.order("kill");
    sleep(Duration::from_secs(1));
    run.interrupt();
    let asked = Instant::now();
    let said = run.end().exits(130);
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert!(said.figure("not reached") > 0);
    server.order("start");
    // The last commit may have succeeded although its answer was lost.
    assert!(index.count("image") >= said.figure("inserted"));
    site.reindex(&index, &[]).exits(0);
    assert_eq!(index.count("image"), 6000);
}

#[test]
fn a_master_that_comes_back_read_only_is_not_written_to() {
    let (mut server, site) = (Server::start(), site_with(6000));
    let index = Index::mariadb_on(&server.url, &site);
    let run = site.start_reindex(&index, &["--io-threads", "2"]);
    wait_for(&index, 1000);
    server.order("stop");
    server.order("start --read-only");
    let said = run.end().exits(3);
    assert!(said.err.contains("read-only (read_only is on)"), "{}", said.err);
    assert!((1000..6000).contains(&index.count("image")));
}

#[test]
fn a_database_that_lacks_what_was_committed_is_not_written_to() {
    let site = site_with(6000);
    let index = Index::mariadb(&site);
    let run = site.start_reindex(&index, &["--io-threads", "2"]);
    wait_for(&index, 1000);
    let mut admin = index.connect();
    // As if an older dump had been restored.
    admin.execute("LOCK TABLES image WRITE");
    admin.execute("DELETE FROM image");
    cut_connections(&index);
    let said = run.end().exits(3);
    assert!(said.err.contains("lacks rows that this run had committed"), "{}", said.err);
    site.reindex(&index, &[]).exits(0);
    assert_eq!(index.count("image"), 6000);
}

#[test]
fn images_that_a_pacs_purges_in_mid_run_are_no_sign_of_another_database() {
    let site = site_with(6000);
    let index = Index::mariadb(&site);
    let run = site.start_reindex(&index, &["--io-threads", "2"]);
    wait_for(&index, 1000);
    let mut pacs = index.connect();
    pacs.execute("LOCK TABLES image WRITE");
    let purged = pacs.rows("SELECT COUNT(*) FROM image WHERE RIGHT(uuid, 1) <> '3'")[0].parse::<u64>().unwrap();
    pacs.execute("DELETE FROM image WHERE RIGHT(uuid, 1) <> '3'");
    cut_connections(&index);
    let said = run.end();
    assert_eq!(said.exit, 0, "{}{}", said.out, said.err);
    assert!(purged > 800, "{purged}");
    assert_eq!(index.count("image"), 6000 - purged);
}

#[test]
fn an_archive_that_is_gone_in_mid_run_ends_it_and_nothing_counts_as_vanished() {
    for is_empty_then in [false, true] {
        let site = site_with(10_000);
        let index = site.sqlite();
        site.run(&["init", "--index", &index.url]).exits(0);
        let run = site.start_reindex(&index, &["--io-threads", "2"]);
        wait_for(&index, 500);
        std::fs::rename(site.archive(), site.path("elsewhere")).unwrap();
        if is_empty_then {
            std::fs::create_dir(site.archive()).unwrap();
        }
        let said = run.end().exits(3);
        assert!(said.err.contains("the archive has gone: ") && said.err.contains("archive "), "{}", said.err);
        assert!(said.figure("unreadable or vanished") == 0 && said.figure("not reached") > 0, "{}", said.out);
        let _ = std::fs::remove_dir(site.archive());
        std::fs::rename(site.path("elsewhere"), site.archive()).unwrap();
        site.reindex(&index, &[]).exits(0);
        assert_eq!(index.count("image"), 10_000);
    }
}

#[test]
fn a_disk_that_is_full_is_named_and_the_next_run_completes() {
    let site = site_with(6000);
    let Some(small) = Small::mount(site.path("small")) else {
        println!("*** No file system can be mounted here: the test of a full disk DID NOT RUN ***");
        return;
    };
    let full = format!("sqlite:{}", small.0.join("index.db").display());
    let run = |url: &str, list: &str| {
        let mut command = site.program(&["reindex", "archive", "--index", url, "--quiet"]);
        Said::of(command.args(["--rejected", list]))
    };
    let said = run(&full, "full.jsonl").exits(3);
    assert!(said.err.contains(&full) && said.err.contains("its disk is full"), "{}", said.err);
    let more = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&small.0).status().unwrap();
    assert!(more.success());
    let again = run(&full, "again.jsonl").exits(0);
    assert!(said.figure("inserted") < 6000);
    assert_eq!((again.figure("inserted"), again.figure("unchanged")), (6000, 0), "it goes on: {}", again.out);
}
