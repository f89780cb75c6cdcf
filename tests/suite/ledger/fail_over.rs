//! A failover to a replica that lacks the last commits of its master.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::{sleep, spawn};

use super::store::{Reference, STATE, assert_equal, finished, size, wait_for_images};
use crate::support::{Connected, Index, Server};

/// The address of a service, which forwards connections to the current master.
struct ServiceAddress {
    url: String,
    port: Arc<AtomicU16>,
}

impl ServiceAddress {
    fn of(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("mysql://pacs@{}/", listener.local_addr().unwrap());
        let port = Arc::new(AtomicU16::new(port_of(server)));
        let target = Arc::clone(&port);
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // While no server answers, a client's connection is closed at once.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", target.load(Ordering::Relaxed))) {
                    pass_on(&client, &server);
                }
            }
        });
        ServiceAddress { url, port }
    }

    fn move_to(&self, server: &Server) {
        self.port.store(port_of(server), Ordering::Relaxed);
    }
}

fn port_of(server: &Server) -> u16 {
    url::Url::parse(&server.url).unwrap().port().unwrap()
}

fn pass_on(client: &TcpStream, server: &TcpStream) {
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        spawn(move || {
            let _ = copy(&mut from, &mut to);
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
}

const OPTIONS: [[&str; 3]; 2] =
    [["--log-bin", "--skip-slave-start", "--server-id=1"], ["--log-bin", "--skip-slave-start", "--server-id=2"]];

/// A master and a replica that exchange their roles.
struct Pair {
    servers: [Server; 2],
    master: usize,
    address: ServiceAddress,
}

impl Pair {
    fn start() -> Self {
        let servers = OPTIONS.map(|options| Server::start_with(&options));
        let address = ServiceAddress::of(&servers[0]);
        let pair = Pair { servers, master: 0, address };
        pair.join();
        pair
    }

    fn connect(&self, n: usize) -> Connected {
        Connected::to(&self.servers[n].url)
    }

    fn replica(&self) -> usize {
        1 - self.master
    }

    /// Makes the replica follow its master from now on.
    fn join(&self) {
        let forget = "STOP SLAVE; RESET SLAVE ALL; RESET MASTER; SET GLOBAL gtid_slave_pos = ''";
        self.connect(self.master).execute(forget);
        let mut replica = self.connect(self.replica());
        replica.execute(forget);
        let port = port_of(&self.servers[self.master]);
        replica.execute(&format!(
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='pacs', \
             MASTER_PASSWORD='pacs-test', MASTER_SSL=0, MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos; START SLAVE"
        ));
    }

    fn wait_until_replicated(&self) {
        let position = &self.connect(self.master).rows("SELECT @@global.gtid_binlog_pos")[0];
        let wait = format!("SELECT MASTER_GTID_WAIT('{position}', 60)");
        assert_eq!(self.connect(self.replica()).rows(&wait), ["0"], "the replica follows");
    }

    fn stop_replication(&self) {
        self.connect(self.replica()).execute("STOP SLAVE");
    }

    /// Kills the master and promotes the replica.
    fn fail_over(&mut self) {
        self.servers[self.master].order("kill");
        self.connect(self.replica()).execute("RESET SLAVE ALL");
        self.master = self.replica();
        self.address.move_to(&self.servers[self.master]);
    }

    /// Starts the former master as the replica of the current one.
    fn start_replica(&mut self) {
        let replica = self.replica();
        self.servers[replica].order(&format!("start {}", OPTIONS[replica].join(" ")));
        self.join();
    }
}

#[test]
fn commits_that_a_fail_over_has_lost_are_made_again() {
    let mut pair = Pair::start();
    let (files, rounds) = size(3, 20);
    let mut reference = Reference::new(files, Index::mariadb);
    let images = reference.images() as f64;
    let mut lost = 0;
    for round in 0..rounds {
        let index = {
            let _ = std::fs::remove_dir_all(reference.site.path("state"));
            Index::mariadb_on(&pair.address.url, &reference.site)
        };
        pair.wait_until_replicated();
        let mut run = reference.site.start_reindex(&index, &STATE);
        // Rounds are spread over the whole run: a third of them lose commits of its last step.
        let part = (f64::from(round) + reference.random.below(100) as f64 / 100.0) / f64::from(rounds) * 1.5;
        wait_for_images(&mut run, &index, (images * part.clamp(0.05, 1.0)) as u64);
        sleep(reference.duration.mul_f64((part - 1.0).max(0.0) * 0.2));
        pair.stop_replication();
        let replicated = index.count("image");
        wait_for_images(&mut run, &index, (images * (part + 0.2).min(1.0)) as u64);
        sleep(reference.duration.mul_f64(reference.random.below(40) as f64 / 100.0));
        let committed = index.count("image");
        pair.fail_over();
        lost += committed - index.count("image").min(committed);
        let first = run.end();
        let is_repaired = first.exit <= 1 && index.dump() == reference.expected;
        println!("round {round}: {replicated} of {committed} images kept; by the run itself: {is_repaired}");
        if !is_repaired {
            finished(reference.site.reindex(&index, &STATE));
        }
        assert_equal(&reference.expected, &index.dump(), &format!("round {round}"));
        pair.start_replica();
    }
    assert!(lost > 0, "no commit was lost");
}
