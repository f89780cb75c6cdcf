//! A MySQL server without TLS, which `tests/run` starts if one is available.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::support::{Index, PASSWORD, Said, Site};

/// The server. One test at a time uses it, because all sessions share its password cache.
struct Server {
    url: String,
    socket: String,
    _alone: MutexGuard<'static, ()>,
}

impl Server {
    fn new() -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let set = |name| std::env::var(name).ok();
        // `tests/run` reports that these tests did not run.
        let (url, socket) = (set("PACS_INDEX_TEST_MYSQL")?, set("PACS_INDEX_TEST_MYSQL_SOCKET")?);
        Some(Server { url, socket, _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner) })
    }

    /// Makes the server forget the passwords that it has verified.
    fn forget_passwords(&self, index: &Index) {
        index.execute("FLUSH PRIVILEGES");
    }
}

fn reindex(site: &Site, url: &str, password: &str) -> Said {
    let mut command = site.program(&["reindex", "archive", "--quiet", "--min-age", "0s", "--index", url]);
    Said::of(command.env("PACS_INDEX_PASSWORD", password))
}

#[test]
fn a_login_needs_neither_tls_nor_a_server_that_remembers_the_password() {
    let Some(server) = Server::new() else { return };
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 5);
    let index = Index::mariadb_on(&server.url, &site);
    let over_socket = format!("mysql://pacs@localhost/{}?socket={}", index.name(), server.socket);
    for (url, inserted) in [(&over_socket, 5), (&index.url, 0)] {
        server.forget_passwords(&index);
        let said = reindex(&site, url, PASSWORD).exits(0);
        assert_eq!(said.figure("inserted"), inserted, "{url}");
    }
    for url in [&over_socket, &index.url] {
        server.forget_passwords(&index);
        let said = reindex(&site, url, "wrong").exits(2);
        assert!(said.err.contains("wrong user or password"), "{url}: {}", said.err);
    }
}

#[test]
fn a_replica_on_a_server_without_md5_is_compared_as_the_user_of_the_index() {
    let Some(server) = Server::new() else { return };
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 5);
    let [index, replica] = [(); 2].map(|()| Index::mariadb_on(&server.url, &site));
    for index in [&index, &replica] {
        site.reindex(index, &[]).exits(0);
    }
    let other = replica.url.replace("pacs@", "");
    let audit = || {
        let mut command =
            site.program(&["audit", "archive", "--index", &index.url, "--quiet", "--recheck-after", "0s"]);
        Said::of(command.args(["--compare", &other]).env("PACS_INDEX_PASSWORD", PASSWORD))
    };
    audit().exits(0);
    replica.execute("UPDATE series SET description = NULL");
    index.execute("UPDATE series SET description = ''");
    assert!(audit().exits(1).out.contains("differs on the replica"));
}
