//! Checks a MySQL or MariaDB server before a run: whether it accepts writes, and whether rows may
//! be written on it.
//!
//! Rows that are written on a replica are missing on its master, and stop the replication when the
//! master inserts them too.

use super::ask::{Answer, NamedRow};
use super::location::{Access, Location};
use super::mysql::MySql;
use super::sql::Database;
use super::{Failure, ask};
use crate::error::{Error, Result};

/// The statements that show the replication channels: of MariaDB, of MySQL since 8.0.22, and of
/// older MySQL. The first statement that a server knows returns all its channels.
const CHANNELS: [&str; 3] = ["SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS"];

/// Variables that make a server read-only. Not every server has each of them.
const READ_ONLY: [&str; 3] = ["read_only", "super_read_only", "innodb_read_only"];

pub const GRANT: &str = "grant REPLICATION CLIENT (SLAVE MONITOR on MariaDB 10.5+)";

#[derive(Debug)]
pub struct Server {
    shown: String,
    /// The format of the binary log, or `None` without a binary log.
    binlog_format: Option<String>,
    /// The variable that makes the server read-only.
    read_only: Option<&'static str>,
    replication: Replication,
}

/// Whether a server is a replica.
#[derive(Debug, PartialEq, Eq)]
pub enum Replication {
    /// No channel is configured.
    None,
    /// The masters of the server's channels, whether these are running or not.
    Of(Vec<String>),
    /// The user lacks the privilege to query the replication status.
    Hidden,
}

impl Server {
    /// Queries the server of an index. Returns `None` for an SQLite index.
    pub fn of(location: &Location) -> Result<Option<Server>> {
        let Location::MySql { login, .. } = location else { return Ok(None) };
        let failed = |failure| location.unreachable(failure);
        let mut database = location.mysql(login)?;
        let server = Self::ask(&mut database, location.shown()).map_err(failed);
        database.close();
        server.map(Some)
    }

    pub(crate) fn ask(database: &mut MySql, shown: String) -> Result<Server, Failure> {
        let has_log = is_on(database, "log_bin")?;
        let binlog_format = if has_log { variable(database, "binlog_format")? } else { None };
        let mut read_only = None;
        for name in READ_ONLY {
            if read_only.is_none() && is_on(database, name)? {
                read_only = Some(name);
            }
        }
        let replication = match channels(|sql| database.ask(sql))? {
            None => Replication::Hidden,
            Some(channels) if channels.is_empty() => Replication::None,
            Some(channels) => Replication::Of(channels.iter().map(master).collect()),
        };
        Ok(Server { shown, binlog_format, read_only, replication })
    }

    /// Returns an error if rows should not be written on this server.
    pub fn check(&self, access: Access, allow_replica: bool) -> Result<()> {
        self.objection(access, allow_replica).map_or(Ok(()), |(what, advice)| Err(Error::usage(what, advice)))
    }

    /// Returns the reason why rows should not be written on this server, and advice.
    pub fn objection(&self, access: Access, allow_replica: bool) -> Option<(String, &'static str)> {
        if access == Access::DryRun || allow_replica {
            return None;
        }
        if let Replication::Of(masters) = &self.replication {
            return Some((
                format!("{} is on a replica of {}, running or not", self.shown, masters.join(" and ")),
                "Name its master: rows that are written here are not there. If this server has been promoted, end its \
                 replication (RESET SLAVE ALL); to write on a replica all the same: --allow-replica.",
            ));
        }
        self.read_only.map(|name| {
            (
                format!("{} is on a server that is read-only ({name} is on)", self.shown),
                "It may be a replica: name its master. To write here: SET GLOBAL read_only = OFF, or, where the user may \
                 write to a read-only server, --allow-replica.",
            )
        })
    }

    /// Returns a warning if it is unknown whether the server is a replica.
    pub fn doubt(&self) -> Option<String> {
        let hidden = self.replication == Replication::Hidden;
        hidden.then(|| format!("cannot determine whether the server is a replica: {GRANT}"))
    }

    /// Returns the format of the binary log. A server with a binary log may have replicas, which
    /// must keep up.
    pub fn binlog_format(&self) -> Option<&str> {
        self.binlog_format.as_deref()
    }
}

/// Returns the status of the server's replication channels, or `None` if the user lacks the
/// privilege.
pub fn channels(mut ask: impl FnMut(&str) -> Result<Answer, Failure>) -> Result<Option<Vec<NamedRow>>, Failure> {
    for sql in CHANNELS {
        match ask(sql)? {
            Answer::Rows(rows) => return Ok(Some(rows)),
            Answer::Denied => return Ok(None),
            Answer::Unknown => {}
        }
    }
    Ok(Some(Vec::new()))
}

/// Returns the host and port from which a channel replicates.
fn master(channel: &NamedRow) -> String {
    let text = |names: [&str; 2]| names.into_iter().find_map(|name| channel.text(name)).unwrap_or("?").to_owned();
    format!("{}:{}", text(["Master_Host", "Source_Host"]), text(["Master_Port", "Source_Port"]))
}

/// Returns the global value of a variable, or `None` if the server has no such variable or does not
/// show it.
pub(crate) fn variable(database: &mut MySql, name: &str) -> Result<Option<String>, Failure> {
    Ok(match database.ask(&format!("SELECT @@global.{name} AS value"))? {
        Answer::Rows(rows) => rows.first().and_then(|row| row.text("value")).map(str::to_owned),
        Answer::Unknown | Answer::Denied => None,
    })
}

fn is_on(database: &mut MySql, name: &str) -> Result<bool, Failure> {
    Ok(variable(database, name)?.is_some_and(|text| ask::is_on(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(read_only: Option<&'static str>, replication: Replication) -> Server {
        Server { shown: "mysql://db/dicom".into(), binlog_format: None, read_only, replication }
    }

    #[test]
    fn a_dry_run_may_look_at_a_replica_and_a_run_only_if_told() {
        let replica = server(Some("read_only"), Replication::Of(vec!["db1:3306".into()]));
        assert!(replica.check(Access::DryRun, false).is_ok());
        assert!(replica.check(Access::Write, true).is_ok());
        let error = replica.check(Access::Write, false).unwrap_err().to_string();
        assert!(error.contains("replica of db1:3306") && error.contains("--allow-replica"), "{error}");
    }

    #[test]
    fn a_user_who_may_not_ask_is_told_what_to_grant() {
        let hidden = server(None, Replication::Hidden);
        assert!(hidden.check(Access::Write, false).is_ok());
        assert!(hidden.doubt().unwrap().contains("SLAVE MONITOR"));
        assert_eq!(server(None, Replication::None).doubt(), None);
    }

    #[test]
    fn servers_of_all_ages_are_asked_in_their_words() {
        let row = || NamedRow::from([("Source_Host", "db1"), ("Source_Port", "3306")]);
        let mut asked = Vec::new();
        let mysql_8 = |sql: &str| {
            asked.push(sql.to_owned());
            Ok(if sql == "SHOW REPLICA STATUS" { Answer::Rows(vec![row()]) } else { Answer::Unknown })
        };
        let found = channels(mysql_8).unwrap().unwrap();
        assert_eq!(asked, ["SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS"]);
        assert_eq!(master(&found[0]), "db1:3306");
        assert_eq!(channels(|_| Ok(Answer::Denied)).unwrap(), None);
    }
}
