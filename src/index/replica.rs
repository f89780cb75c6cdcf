//! Measures the lag of a replica of the index's server.
//!
//! A query may get lost in the network, so the caller decides how long to wait for an answer.

use std::fmt;
use std::pin::pin;
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::ask::{Answer, NamedRow, ask};
use super::connect::Login;
use super::location::{Credentials, Location};
use super::mysql_url::ServerUrl;
use super::{Failure, server};
use crate::error::{Error, Result};

/// The time limit for a connection or an answer. A server that looks up its clients' host names may
/// be slow to accept a connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// Poll interval at which a waiting caller checks whether to continue.
const TICK: Duration = Duration::from_millis(100);

/// The address of a replica, and the login.
#[derive(Clone)]
pub struct Address {
    login: Login,
    /// `host:port`.
    shown: String,
}

impl Address {
    /// Parses `mysql://host:port`. The user and the password are those of the index unless the URL
    /// names another user.
    pub fn parse(url: &str, credentials: &Credentials, index: &Location) -> Result<Self> {
        let Location::MySql { login: of_index, .. } = index else {
            return Err(Error::usage(
                format!("--replica: {} is a file, which has no replica", index.shown()),
                "Leave --replica out, or name a server with --index mysql://user@host:port/database.",
            ));
        };
        let unusable = |why: &str| {
            Error::usage(format!("--replica cannot be used: {why}"), "Write mysql://host:port, and no password.")
        };
        let parsed = ServerUrl::parse(url).map_err(|why| unusable(&why))?;
        if !parsed.has_host() {
            return Err(unusable("it names no server"));
        }
        if parsed.has_password() {
            return Err(unusable("the URL holds a password, which every user of this system can see"));
        }
        let credentials = Credentials { user: Some(of_index.user().to_owned()), ..credentials.clone() };
        let login = Login::new(parsed.options(&credentials)?, credentials.password);
        Ok(Address { shown: login.server(), login })
    }

    /// Returns a warning if another machine could pose as the replica.
    pub fn tls_warning(&self) -> Option<String> {
        self.login.tls_warning()
    }
}

/// The lag of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lag {
    Behind(Duration),
    /// The replica does not replicate, or does not report its lag.
    Stopped,
    /// The replica does not answer. Contains the reason.
    Lost(String),
}

/// A connection to a replica, which is reopened after a loss.
pub struct Replica {
    address: Address,
    link: Option<MySqlConnection>,
    runtime: Runtime,
    /// The lag at the last query.
    lag: Lag,
}

impl Replica {
    /// Connects before a run. An unreachable replica is a usage error then, because nothing has
    /// begun.
    pub fn connect(address: Address) -> Result<Self> {
        let unusable = |why: &str, advice: &str| Error::usage(format!("the replica {} {why}", address.shown), advice);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unusable(&format!("cannot be asked: {error}"), "Please report it."))?;
        let mut replica = Replica { link: None, runtime, lag: Lag::Stopped, address: address.clone() };
        replica.lag = match replica.channels(&|| true) {
            Err(failure) => return Err(unusable(&format!("cannot be reached: {failure}"), REACHABLE)),
            Ok(None) => {
                return Err(unusable(
                    "does not show its replication status to this user",
                    &format!("Please {}.", server::GRANT),
                ));
            }
            Ok(Some(channels)) if channels.is_empty() => {
                return Err(unusable("replicates from no server", "Name a replica of the index's server."));
            }
            Ok(Some(channels)) => lag(&channels),
        };
        Ok(replica)
    }

    /// `host:port`.
    pub fn name(&self) -> &str {
        &self.address.shown
    }

    /// Returns the lag that the last query returned.
    pub fn lag(&self) -> &Lag {
        &self.lag
    }

    /// Queries the lag, for as long as `worth_while` returns true.
    pub fn ask(&mut self, worth_while: &dyn Fn() -> bool) -> &Lag {
        self.lag = match self.channels(worth_while) {
            Ok(channels) => lag(&channels.unwrap_or_default()),
            Err(failure) => {
                self.link = None;
                Lag::Lost(failure.to_string())
            }
        };
        &self.lag
    }

    /// Returns the status of the replication channels.
    fn channels(&mut self, worth_while: &dyn Fn() -> bool) -> Result<Option<Vec<NamedRow>>, Failure> {
        let Replica { address, link, runtime, .. } = self;
        if link.is_none() {
            *link = Some(runtime.block_on(patiently(address.login.open(), worth_while))??);
        }
        let Some(link) = link else { return Ok(None) };
        server::channels(|sql| -> Result<Answer, Failure> { runtime.block_on(patiently(ask(link, sql), worth_while))? })
    }

    pub fn close(self) {
        if let Some(link) = self.link {
            let _ = self.runtime.block_on(patiently(link.close(), &|| true));
        }
    }
}

const REACHABLE: &str = "Is the server running and reachable, and may the index's user log in there? \
                         Without --replica nothing waits for it.";

/// Returns the lag of the slowest channel. Without channels, or if a channel does not report its
/// lag, replication counts as stopped.
fn lag(channels: &[NamedRow]) -> Lag {
    let behind = |channel: &NamedRow| {
        let seconds =
            ["Seconds_Behind_Master", "Seconds_Behind_Source"].iter().find_map(|name| channel.number(name))?;
        Some(Duration::from_secs(seconds.max(0) as u64))
    };
    let all: Option<Vec<Duration>> = channels.iter().map(behind).collect();
    all.and_then(|all| all.into_iter().max()).map_or(Lag::Stopped, Lag::Behind)
}

/// Waits for an answer until the time limit expires or `worth_while` returns false.
async fn patiently<T>(work: impl Future<Output = T>, worth_while: &dyn Fn() -> bool) -> Result<T, Failure> {
    let mut work = pin!(work);
    let started = Instant::now();
    loop {
        match timeout(TICK, work.as_mut()).await {
            Ok(done) => return Ok(done),
            Err(_) if started.elapsed() < PATIENCE && worth_while() => {}
            Err(_) => return Err(Failure::Lost("it does not answer".into())),
        }
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lag::Behind(lag) => write!(f, "is {} s behind", lag.as_secs()),
            Lag::Stopped => write!(f, "does not replicate"),
            Lag::Lost(why) => write!(f, "cannot be reached: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_that_is_furthest_behind_counts_and_one_that_does_not_run_counts_most() {
        let mariadb = |seconds| NamedRow::from([("Seconds_Behind_Master", seconds)]);
        let mysql = || NamedRow::from([("Seconds_Behind_Source", "34")]);
        let stopped = || NamedRow::from([("Slave_IO_Running", "No")]);
        assert_eq!(lag(&[mariadb("3"), mysql()]), Lag::Behind(Duration::from_secs(34)));
        assert_eq!(lag(&[mariadb("3"), stopped()]), Lag::Stopped);
        assert_eq!(lag(&[]), Lag::Stopped);
    }

    #[test]
    fn a_replica_is_asked_as_the_user_of_the_index() {
        let credentials = Credentials { password: Some("secret".into()), ..Credentials::default() };
        let index = Location::parse("mysql://pacs@db1/dicom", &credentials).unwrap();
        let user = |url| Address::parse(url, &credentials, &index).map(|a| (a.login.user().to_owned(), a.shown));
        assert_eq!(user("mysql://db2:3307").unwrap(), ("pacs".into(), "db2:3307".into()));
        assert_eq!(user("mysql://monitor@db2").unwrap(), ("monitor".into(), "db2:3306".into()));
        for url in ["db2", "sqlite:x", "mysql://", "mysql://a:secret@db2"] {
            let error = user(url).unwrap_err().to_string();
            assert!(error.contains("mysql://host:port") && !error.contains("secret"), "{error}");
        }
        let embedded = Location::parse("sqlite:x.db", &credentials).unwrap();
        assert!(Address::parse("mysql://db2", &credentials, &embedded).is_err());
    }
}
