//! A server with a replica: which runs are refused, which wait, and that both servers have the same
//! rows afterwards.

use std::io::{Read, Write, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use crate::support::{Connected, Index, Site, TABLES, server_of};

/// The master and the replica that `tests/run` starts. One test at a time uses them.
struct Pair {
    master: String,
    replica: String,
    _alone: MutexGuard<'static, ()>,
}

impl Pair {
    fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (master, replica) = (server_of("PACS_INDEX_TEST_MASTER"), server_of("PACS_INDEX_TEST_REPLICA"));
        let pair = Pair { master, replica, _alone: alone };
        let mut connected = Connected::to(&pair.replica);
        if connected.rows("SHOW SLAVE STATUS").is_empty() {
            let port = url::Url::parse(&pair.master).unwrap().port().unwrap();
            connected.execute(&format!(
                "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='pacs', \
                 MASTER_PASSWORD='pacs-test', MASTER_SSL=0, MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos"
            ));
        }
        // A failed test may have left the replica stopped.
        connected.execute("START SLAVE");
        connected.close();
        pair
    }

    /// Executes statements on the replica.
    fn replica(&self, sql: &str) {
        let mut connected = Connected::to(&self.replica);
        connected.execute(sql);
        connected.close();
    }

    /// Connects to the replica's copy of an index after the replica has caught up with its master.
    fn followed(&self, index: &Index) -> Connected {
        let position = &index.rows("SELECT @@global.gtid_binlog_pos")[0];
        let mut replica = Connected::to(&self.replica);
        assert_eq!(replica.rows(&format!("SELECT MASTER_GTID_WAIT('{position}', 60)")), ["0"], "the replica follows");
        replica.execute(&format!("USE {}", index.name()));
        replica
    }

    #[track_caller]
    fn hold_the_same(&self, index: &Index) {
        let sql = format!("CHECKSUM TABLE {}", TABLES.map(|(table, _)| table).join(", "));
        let mut replica = self.followed(index);
        assert_eq!(index.rows(&sql), replica.rows(&sql));
        replica.close();
    }
}

fn site_with_series() -> Site {
    let site = Site::new();
    for study in 1..=3 {
        site.add_series("2021-11-12-FRI", study, 1, 40);
        site.add_series("2021-11-13-SAT", study, 2, 40);
    }
    site
}

#[test]
fn a_replica_and_a_read_only_server_are_refused() {
    let (pair, site) = (Pair::new(), site_with_series());
    let index = Index::mariadb_on(&pair.master, &site);
    let mut replica = pair.followed(&index);
    let url = format!("{}{}", pair.replica, index.name());
    let run = |url: &str, more: &[&str]| {
        let mut command = site.program(&["reindex", "archive", "--index", url, "--rejected", "rejected.jsonl"]);
        command.args(more).env("PACS_INDEX_PASSWORD", crate::support::PASSWORD);
        crate::support::Said::of(&mut command)
    };
    let said = run(&url, &[]).exits(2);
    assert!(said.err.contains("is on a replica of 127.0.0.1:") && said.err.contains("--allow-replica"), "{}", said.err);
    assert!(!site.path("rejected.jsonl").exists(), "nothing was made");
    assert_eq!(run(&url, &["--dry-run"]).exits(0).figure("inserted"), 240);
    assert_eq!(replica.rows("SELECT COUNT(*) FROM image"), ["0"]);
    pair.replica("STOP SLAVE");
    let stopped = run(&url, &[]);
    pair.replica("START SLAVE");
    assert!(stopped.exits(2).err.contains("running or not"));
    index.execute("SET GLOBAL read_only = 1");
    let read_only = run(&index.url, &[]);
    index.execute("SET GLOBAL read_only = 0");
    assert!(read_only.exits(2).err.contains("read-only (read_only is on)"));
    assert_eq!(index.count("image"), 0);
    run(&url, &["--allow-replica"]).exits(0);
    assert_eq!(replica.rows("SELECT COUNT(*) FROM image"), ["240"]);
    replica.close();
}

#[test]
fn writing_waits_while_the_replica_lags() {
    let (pair, site) = (Pair::new(), site_with_series());
    let index = Index::mariadb_on(&pair.master, &site);
    pair.followed(&index).close();
    pair.replica("STOP SLAVE");
    let mut run = site.start_shown(&index, &["--replica", &pair.replica, "--max-replica-lag", "1s"]);
    let is_long = std::env::var_os("PACS_INDEX_TEST_LONG").is_some();
    sleep(Duration::from_secs(if is_long { 20 } else { 3 }));
    let (is_over, written) = (run.is_over(), index.count("image"));
    pair.replica("START SLAVE");
    let said = run.end().exits(0);
    assert_eq!((is_over, written), (false, 0));
    let name = format!("127.0.0.1:{}", url::Url::parse(&pair.replica).unwrap().port().unwrap());
    println!("{}", said.err);
    assert!(said.err.contains(&format!("writing waits: the replica {name} does not replicate\n")), "{}", said.err);
    assert!(said.err.contains("writing goes on after "), "{}", said.err);
    assert!(said.out.contains("writing waited "), "{}", said.out);
    assert_eq!(said.figure("inserted"), 240);
    pair.hold_the_same(&index);
}

#[test]
fn an_interrupt_ends_a_pause_and_the_next_run_goes_on() {
    let (pair, site) = (Pair::new(), site_with_series());
    let index = Index::mariadb_on(&pair.master, &site);
    pair.followed(&index).close();
    pair.replica("STOP SLAVE");
    let run = site.start_shown(&index, &["--replica", &pair.replica]);
    sleep(Duration::from_secs(2));
    run.interrupt();
    let asked = Instant::now();
    let said = run.end();
    pair.replica("START SLAVE");
    let said = said.exits(130);
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!((said.figure("inserted"), said.figure("not reached")), (0, 240), "{}", said.out);
    assert_eq!(site.reindex(&index, &["--replica", &pair.replica]).exits(0).figure("inserted"), 240);
}

#[test]
fn a_replica_that_cannot_be_asked_is_a_mistake_before_the_run() {
    let (pair, site) = (Pair::new(), site_with_series());
    let index = Index::mariadb_on(&pair.master, &site);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = site.reindex(&index, &["--replica", &format!("mysql://{nobody}")]).exits(2);
    assert!(said.err.contains("cannot be reached"), "{}", said.err);
    let said = site.reindex(&index, &["--replica", &pair.master]).exits(2);
    assert!(said.err.contains("replicates from no server"), "{}", said.err);
    assert_eq!(index.count("image"), 0);
}

#[test]
fn a_replica_that_is_lost_is_waited_for_until_it_is_back() {
    let (pair, site) = (Pair::new(), site_with_series());
    let index = Index::mariadb_on(&pair.master, &site);
    pair.followed(&index).close();
    let line = Line::to(&pair.replica);
    // The first batch waits for a row that another connection holds, so that the run takes long.
    let mut other = index.connect();
    other.execute("START TRANSACTION");
    other.execute("INSERT INTO patient (origid) VALUES ('T1'), ('T2'), ('T3')");
    let mut run = site.start_shown(&index, &["--replica", &line.url]);
    sleep(Duration::from_secs(2));
    line.cut.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(2));
    other.execute("ROLLBACK");
    other.close();
    sleep(Duration::from_secs(2));
    let is_over = run.is_over();
    line.cut.store(false, Ordering::Relaxed);
    let said = run.end().exits(0);
    assert!(!is_over, "{}", said.err);
    assert!(said.err.contains("cannot be reached"), "{}", said.err);
    assert!(said.err.contains("writing goes on after "), "{}", said.err);
    assert_eq!(said.figure("inserted"), 240);
}

#[test]
fn master_and_replica_hold_the_same_after_a_run() {
    let pair = Pair::new();
    for format in ["STATEMENT", "MIXED", "ROW"] {
        Connected::to(&pair.master).execute(&format!("SET GLOBAL binlog_format = {format}"));
        let site = site_with_series();
        let index = Index::mariadb_on(&pair.master, &site);
        let said = site.start_shown(&index, &[]).end().exits(0);
        assert!(said.err.contains(&format!("the server writes a binary log ({format})")), "{}", said.err);
        assert_eq!((said.figure("inserted"), index.count("image")), (240, 240));
        pair.hold_the_same(&index);
        // Values that a second run derives again are the same, too.
        site.add_series("2021-11-14-SUN", 1, 3, 20);
        assert_eq!(site.reindex(&index, &["--replica", &pair.replica]).exits(0).figure("inserted"), 20);
        pair.hold_the_same(&index);
    }
    Connected::to(&pair.master).execute("SET GLOBAL binlog_format = MIXED");
}

/// A connection to a server that can be cut.
struct Line {
    url: String,
    cut: Arc<AtomicBool>,
}

impl Line {
    fn to(server: &str) -> Self {
        let port = url::Url::parse(server).unwrap().port().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("mysql://pacs@{}", listener.local_addr().unwrap());
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = cut.clone();
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let is_cut = is_cut.clone();
                spawn(move || pass(&client, &TcpStream::connect(("127.0.0.1", port)).unwrap(), &is_cut));
            }
        });
        Line { url, cut }
    }
}

/// Passes bytes between two ends until the line is cut.
fn pass(client: &TcpStream, server: &TcpStream, cut: &AtomicBool) {
    let closed = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (mut from, mut to) in [(client, server), (server, client)] {
            scope.spawn(move || {
                let _ = copy(&mut from as &mut dyn Read, &mut to as &mut dyn Write);
                closed.store(true, Ordering::Relaxed);
            });
        }
        while !cut.load(Ordering::Relaxed) && !closed.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(20));
        }
        for end in [client, server] {
            let _ = end.shutdown(Shutdown::Both);
        }
    });
}

#[test]
fn an_audit_tells_whether_a_replica_is_complete() {
    let (pair, site) = (Pair::new(), site_with_series());
    let index = Index::mariadb_on(&pair.master, &site);
    site.reindex(&index, &["--yes"]).exits(0);
    let mut replica = pair.followed(&index);
    let url = format!("{}{}", pair.replica, index.name());
    let audit = |settle: &str| {
        let mut command = site.program(&["audit", "archive", "--index", &index.url, "--compare", &url, "--quiet"]);
        command.args(["--recheck-after", settle, "--html", "audit.html", "--json", "audit.jsonl"]);
        crate::support::Said::of(command.env("PACS_INDEX_PASSWORD", crate::support::PASSWORD))
    };
    let said = audit("0s").exits(0);
    assert!(said.out.contains("replica: 252 rows compared, 0 differ"), "{}", said.out);
    // The replica's rows were changed by hand.
    let uid = |name: &str| format!("{}.{name}", crate::support::ROOT_UID);
    pair.replica("STOP SLAVE");
    replica.execute(&format!("UPDATE series SET description = '' WHERE uuid = '{}'", uid("1.1")));
    replica.execute(&format!("DELETE FROM image WHERE uuid = '{}'", uid("2.1.7")));
    replica.execute("INSERT INTO patient (origid, lastname, firstname, private) VALUES ('T9', 'Nine', 'X', 0)");
    let said = audit("0s").exits(1);
    println!("{}", said.out);
    for told in [
        "3 differ".to_owned(),
        format!("series {}: differs on the replica", uid("1.1")),
        format!("image {}: is missing on the replica", uid("2.1.7")),
        "patient (a patient): is on the replica only".to_owned(),
    ] {
        assert!(said.out.contains(&told), "{told}: {}", said.out);
    }
    assert!(!said.out.contains("T9") && !said.out.contains("Nine"), "{}", said.out);
    let page = std::fs::read_to_string(site.path("audit.html")).unwrap();
    assert!(page.contains("rows compared, 3 differ"), "{page}");
    for expected in [uid("1.1"), uid("2.1.7"), "is missing on the replica".into(), "(a patient)".into()] {
        assert!(page.contains(&expected), "{expected}: {page}");
    }
    assert!(!page.contains("Nothing was found") && !page.contains("T9"), "{page}");
    let lines = std::fs::read_to_string(site.path("audit.jsonl")).unwrap();
    let head: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(head["replica"]["index"].as_str().is_some_and(|name| url.starts_with(name)), "{head}");
    assert!(head["replica"]["rows"].as_u64() > Some(200), "{head}");
    replica.execute("DELETE FROM patient WHERE origid = 'T9'");
    replica.execute(&format!("UPDATE series SET description = NULL WHERE uuid = '{}'", uid("1.1")));
    // A stopped replica lacks later changes; a lagging one has them at the recheck.
    index.execute(&format!("UPDATE study SET description = 'later' WHERE uuid = '{}'", uid("3")));
    let said = audit("0s").exits(1);
    assert!(said.out.contains(&format!("study {}: differs on the replica", uid("3"))), "{}", said.out);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(700));
            pair.replica("START SLAVE");
        });
        let said = audit("4s").exits(1);
        assert!(said.out.contains("1 differ") && !said.out.contains("study "), "{}", said.out);
    });
    replica.close();
}
