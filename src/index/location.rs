//! The location of an index: `sqlite:FILE` or `mysql://user@host:port/database`. Support for
//! another kind of database is added here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ask::Answer;
use super::columns::Engine;
use super::connect::Login;
use super::dry_run::DryRun;
use super::mysql::MySql;
use super::mysql_url::ServerUrl;
use super::server::Server;
use super::sql::{Database, SqlIndex};
use super::sqlite::Sqlite;
use super::tls::TlsOptions;
use super::{Failure, Index, LEVELS, MissingRight, Tables};
use crate::error::{Error, Result};
use crate::full_disk;

/// The user, password and TLS settings from sources other than the URL.
#[derive(Clone, Default)]
pub struct Credentials {
    pub user: Option<String>,
    pub password: Option<String>,
    /// The settings of the command line, which override those of a URL.
    pub tls: TlsOptions,
    /// The settings of an option file, which a URL overrides.
    pub file_tls: TlsOptions,
}

#[derive(Clone)]
pub enum Location {
    Sqlite(PathBuf),
    MySql { login: Box<Login>, shown: String },
}

/// The access that a run has to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Write,
    /// Reads and does not write. A missing SQLite index is not created.
    DryRun,
}

impl Location {
    pub fn parse(url: &str, credentials: &Credentials) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(bad_url(url, "the file is missing"));
            }
            return Ok(Location::Sqlite(path.into()));
        }
        if ServerUrl::has_scheme(url) {
            return Self::parse_mysql(url, credentials);
        }
        Err(bad_url(&without_secrets(url), "the kind of database is not known"))
    }

    fn parse_mysql(url: &str, credentials: &Credentials) -> Result<Self> {
        let parsed = ServerUrl::parse(url).map_err(|why| bad_url("mysql://...", &why))?;
        if parsed.has_password() {
            return Err(Error::usage(
                "the index URL holds a password, which every user of this system can see",
                "Leave it out, and set the environment variable PACS_INDEX_PASSWORD or name a --password-file.",
            ));
        }
        let shown = parsed.shown();
        if !parsed.has_database() {
            return Err(bad_url(&parsed.server(), "the database is missing"));
        }
        let login = Login::new(parsed.options(credentials)?, credentials.password.clone());
        Ok(Location::MySql { login: Box::new(login), shown })
    }

    /// Returns the location of the same tables on a replica. The user of the index logs in there
    /// unless the URL names another user.
    pub fn replica(&self, url: &str, credentials: &Credentials) -> Result<Self> {
        let user = match self {
            Location::MySql { login, .. } => Some(login.user().to_owned()),
            Location::Sqlite(_) => None,
        };
        Self::parse(url, &Credentials { user, ..credentials.clone() })
    }

    /// Returns a warning if another machine could pose as the server of this index.
    pub fn tls_warning(&self) -> Option<String> {
        match self {
            Location::MySql { login, .. } => login.tls_warning(),
            Location::Sqlite(_) => None,
        }
    }

    /// Returns the file of an embedded index.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Location::Sqlite(path) => Some(path),
            Location::MySql { .. } => None,
        }
    }

    /// Returns the name of the index for messages. The name contains no password.
    pub fn shown(&self) -> String {
        match self {
            Location::Sqlite(path) => format!("sqlite:{}", path.display()),
            Location::MySql { shown, .. } => shown.clone(),
        }
    }

    /// Returns the database of a server without the user and the parameters:
    /// `mysql://host:port/database`, with the socket if the server is reached through one. `None`
    /// for an embedded index.
    pub fn server_database(&self) -> Option<String> {
        match self {
            Location::Sqlite(_) => None,
            Location::MySql { login, .. } => Some(login.database_url()),
        }
    }

    /// Returns the number of connections that write in parallel. SQLite has one writer.
    pub fn writers(&self) -> usize {
        match self {
            Location::Sqlite(_) => 1,
            Location::MySql { .. } => 2,
        }
    }

    /// Reads the columns of the index. Creates a missing SQLite index if `access` permits writing.
    /// Rejects an SQLite file that contains only other tables, and leaves the file unchanged.
    pub fn prepare(&self, access: Access) -> Result<Arc<Tables>> {
        let failed = |failure| self.unreachable(failure);
        let tables = match self {
            Location::Sqlite(path) => {
                let mut database = match (path.exists(), access) {
                    (true, Access::Write) => Sqlite::read_only(path),
                    (false, Access::Write) => Sqlite::open(path),
                    (_, Access::DryRun) => Sqlite::to_read(path),
                }
                .map_err(failed)?;
                if access == Access::Write && database.table_names().map_err(failed)?.is_empty() {
                    database.close();
                    database = Sqlite::open(path).map_err(failed)?;
                }
                let names = database.table_names().map_err(failed)?;
                let is_there = |table: &&str| names.iter().any(|name| name.eq_ignore_ascii_case(table));
                if let Some(missing) = LEVELS.map(super::table).iter().find(|table| !is_there(table)) {
                    return Err(no_index(&self.shown(), missing));
                }
                let engine = Engine { is_transactional: true, ..Engine::default() };
                let tables = Tables::new(engine, |table| database.columns(table).map_err(failed));
                database.close();
                tables
            }
            Location::MySql { login, .. } => {
                let mut database = self.mysql(login)?;
                self.check_tables(&mut database)?;
                let engine = database.engine().map_err(failed)?;
                let tables = Tables::new(engine, |table| database.columns(table).map_err(failed));
                // The catalogue hides columns that the user may not read, so that they seem to be
                // missing.
                let tables = tables.map_err(|error| self.hidden_columns(&mut database).unwrap_or(error));
                database.close();
                tables
            }
        };
        tables.map(Arc::new)
    }

    /// Opens a connection to a prepared index.
    pub fn connect(&self, tables: &Arc<Tables>, access: Access) -> Result<Box<dyn Index + Send>> {
        let failed = |failure| self.unreachable(failure);
        let tables = Arc::clone(tables);
        match self {
            Location::Sqlite(path) => {
                let path = path.clone();
                let open = move |_| match access {
                    Access::Write => Sqlite::open(&path),
                    Access::DryRun => Sqlite::to_read(&path),
                };
                let database = open(false).map_err(failed)?;
                Ok(seen_by(access, SqlIndex::new(database, Box::new(open), tables)))
            }
            Location::MySql { login, shown } => {
                let database = self.mysql(login)?;
                let (login, shown) = (login.clone(), shown.clone());
                // After a reconnect, another server may answer, or the former master may be a
                // replica.
                let connect = move |allow_replica| {
                    let mut database = MySql::connect(&login)?;
                    let server = Server::ask(&mut database, shown.clone())?;
                    match server.objection(access, allow_replica) {
                        Some((what, _)) => Err(Failure::Lost(what)),
                        None => Ok(database),
                    }
                };
                Ok(seen_by(access, SqlIndex::new(database, Box::new(connect), tables)))
            }
        }
    }

    /// Opens a connection to the server of this index.
    pub(crate) fn mysql(&self, login: &Login) -> Result<MySql> {
        MySql::connect(login).map_err(|error| {
            Error::usage(format!("the index {} cannot be opened: {error}", self.shown()), error.advice())
        })
    }

    pub fn unreachable(&self, failure: Failure) -> Error {
        let failure = match failure {
            Failure::Denied(right) => return self.denied(right),
            failure => failure,
        };
        let advice = match self {
            Location::Sqlite(_) => "Is the directory there, may you write to it, and is the file an SQLite database?",
            Location::MySql { .. } => "Is the server running and reachable, and is the database that of a PACS?",
        };
        // When SQLite opens a file, it reports the same error for a full disk and a broken disk.
        let directory = self.file().and_then(Path::parent).filter(|directory| full_disk::has_no_room(directory));
        let failure = match directory {
            Some(directory) => format!("the disk of {} is full ({failure})", directory.display()),
            None => failure.to_string(),
        };
        Error::usage(format!("the index {} cannot be opened: {failure}", self.shown()), advice)
    }

    /// Returns the GRANT statements that allow the account of the index to read tables.
    pub fn grants_to_read(&self, tables: &[&str]) -> String {
        let account = self.account();
        let right = |table: &&str| self.completed(MissingRight::on_table("SELECT", table), account.clone());
        tables.iter().map(|table| right(table).grant()).collect::<Vec<_>>().join(" ")
    }

    /// Returns the account of the index as the server's grant tables contain it.
    fn account(&self) -> Option<String> {
        let Location::MySql { login, .. } = self else { return None };
        self.mysql(login).ok()?.account()
    }

    fn completed(&self, right: MissingRight, account: Option<String>) -> MissingRight {
        match self {
            Location::MySql { login, .. } => right.complete(login.database().unwrap_or_default(), account),
            Location::Sqlite(_) => right,
        }
    }

    /// Returns an error with the statement that grants the missing privilege to the account of the
    /// index.
    fn denied(&self, right: MissingRight) -> Error {
        let right = self.completed(right, self.account());
        Error::usage(
            format!("the index {} cannot be used: {right}", self.shown()),
            format!("An administrator of the server grants it: {}", right.grant()),
        )
    }

    /// Checks that the tables of an index exist and that the user may read them.
    fn check_tables(&self, database: &mut MySql) -> Result<()> {
        for level in LEVELS {
            let table = super::table(level);
            // Query the table itself: the catalogue does not list tables that the user may not
            // read.
            let asked = database.ask(&format!("SELECT 1 FROM `{table}` LIMIT 0"));
            match asked.map_err(|failure| self.unreachable(failure))? {
                Answer::Rows(_) => {}
                Answer::Unknown => return Err(no_index(&self.shown(), table)),
                Answer::Denied => return Err(self.denied(MissingRight::on_table("SELECT", table))),
            }
        }
        Ok(())
    }

    /// Returns an error if the user may read only some columns of a table.
    fn hidden_columns(&self, database: &mut MySql) -> Option<Error> {
        let mut tables = LEVELS.map(super::table).into_iter();
        let hidden = tables
            .find(|table| matches!(database.ask(&format!("SELECT * FROM `{table}` LIMIT 0")), Ok(Answer::Denied)))?;
        Some(self.denied(MissingRight::on_table("SELECT", hidden)))
    }
}

/// Wraps the index in a [`DryRun`] if the run may not write.
fn seen_by(access: Access, index: impl Index + Send + 'static) -> Box<dyn Index + Send> {
    match access {
        Access::Write => Box::new(index),
        Access::DryRun => Box::new(DryRun::new(index)),
    }
}

fn no_index(shown: &str, table: &str) -> Error {
    Error::usage(
        format!("{shown} holds no index: it has no table `{table}`"),
        "Name the database of the PACS. An empty database becomes an index by: pacs-index init",
    )
}

/// Returns the part of a URL of an unknown kind that cannot contain a password: a plain name, or
/// the name before the first colon.
fn without_secrets(url: &str) -> String {
    const NOT_PLAIN: [char; 7] = ['@', '=', ';', '?', '&', '#', ' '];
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    match (scheme.contains(NOT_PLAIN), rest.is_empty()) {
        (true, _) => "...".into(),
        (false, true) => url.into(),
        (false, false) => format!("{scheme}:..."),
    }
}

fn bad_url(url: &str, why: &str) -> Error {
    Error::usage(
        format!("`{url}` is not an index: {why}"),
        "Write sqlite:FILE for an embedded index, or mysql://user@host:port/database for a PacsOne database.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_on_the_command_line_is_refused_and_not_repeated() {
        let error = Location::parse("mysql://pacs:secret@db/dicom", &Credentials::default()).err().unwrap().to_string();
        assert!(error.contains("PACS_INDEX_PASSWORD") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_url_that_names_no_index_is_refused_with_advice() {
        for url in ["pacs-index.db", "sqlite:", "mysql://db", "postgres://db/dicom", "mysql://a:b:c@/x"] {
            let error = Location::parse(url, &Credentials::default()).err().unwrap().to_string();
            assert!(error.contains("sqlite:FILE") || error.contains("PACS_INDEX_PASSWORD"), "{error}");
        }
    }
}
