//! The identities of a database on a server: names by which a later run recognizes the database,
//! even if its URL is written differently.

use super::ask::{Answer, NamedRow};
use super::mysql::MySql;
use super::sql::Database;
use super::{Failure, Location};
use crate::error::Result;

/// The name of this machine in an identity. Replaces any loopback name or address in a URL, so that
/// all of them result in the same identity.
const THIS_MACHINE: &str = "localhost";

impl Location {
    /// Queries the identities of the database from its server: one by the host and port of the URL,
    /// one by the host name and port that the server reports, and one by its UUID, which MariaDB
    /// lacks. Empty for an embedded index.
    pub fn server_identities(&self) -> Result<Vec<String>> {
        let Location::MySql { login, .. } = self else { return Ok(Vec::new()) };
        let mut database = self.mysql(login)?;
        let (host, port) = login.address();
        let is_local = login.has_socket() || is_loopback(&host);
        let asked = ask(&mut database).map_err(|failure| self.unreachable(failure));
        database.close();
        let Reported { schema, address, uuid } = asked?;
        let mut identities = Vec::new();
        if !login.has_socket() {
            let host = if is_loopback(&host) { THIS_MACHINE } else { &host };
            identities.push(format!("mysql://{}:{port}/{schema}", host.to_lowercase()));
        }
        // Servers on many machines report `localhost` as their host name.
        let address = address.filter(|(host, _)| is_local || !is_loopback(host));
        identities.extend(address.map(|(host, port)| format!("mysql://{}:{port}/{schema}", host.to_lowercase())));
        identities.extend(uuid.map(|uuid| format!("mysql-uuid://{}/{schema}", uuid.to_lowercase())));
        Ok(identities)
    }
}

/// The information that a server reports about itself.
struct Reported {
    schema: String,
    address: Option<(String, String)>,
    uuid: Option<String>,
}

fn ask(database: &mut MySql) -> Result<Reported, Failure> {
    let mut first = |sql: &str| -> Result<NamedRow, Failure> {
        Ok(match database.ask(sql)? {
            Answer::Rows(mut rows) => rows.pop().unwrap_or_default(),
            Answer::Unknown | Answer::Denied => NamedRow::default(),
        })
    };
    let schema = first("SELECT DATABASE() AS name")?.text("name").unwrap_or_default().replace('\n', "%0A");
    let server = first("SELECT @@hostname AS host, @@port AS port")?;
    let address = server.text("host").zip(server.text("port"));
    // A server that listens only on its socket reports port 0.
    let address = address.filter(|(_, port)| *port != "0").map(|(host, port)| (host.to_owned(), port.to_owned()));
    let uuid = first("SELECT @@server_uuid AS uuid")?.text("uuid").map(str::to_owned);
    Ok(Reported { schema, address, uuid })
}

/// Returns whether a host is this machine.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case(THIS_MACHINE)
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_this_machine_are_recognized() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["db", "10.0.0.1", "localhost.example", "[::2]", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
