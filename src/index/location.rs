//! Where an index lies: `sqlite:FILE` or `mysql://user@host:port/database`. A database is added here.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use sqlx::mysql::MySqlConnectOptions;

use super::columns::Engine;
use super::dry_run::DryRun;
use super::mysql::MySql;
use super::server::Server;
use super::sql::{Database, SqlIndex};
use super::sqlite::Sqlite;
use super::{Failure, Index, Tables};
use crate::error::{Error, Result};
use crate::full_disk;

/// The user and the password, from wherever they came.
#[derive(Clone, Default)]
pub struct Credentials {
    pub user: Option<String>,
    pub password: Option<String>,
}

#[derive(Clone)]
pub enum Location {
    Sqlite(PathBuf),
    MySql { options: Box<MySqlConnectOptions>, shown: String },
}

/// What a run may do to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Write,
    /// Look, and do not write; a missing SQLite index is not created.
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
        if url.starts_with("mysql://") || url.starts_with("mariadb://") {
            return Self::parse_mysql(url, credentials);
        }
        Err(bad_url(url, "the kind of database is not known"))
    }

    fn parse_mysql(url: &str, credentials: &Credentials) -> Result<Self> {
        let parsed = url::Url::parse(url).map_err(|error| bad_url("mysql://...", &error.to_string()))?;
        if parsed.password().is_some() {
            return Err(Error::usage(
                "the index URL holds a password, which every user of this system can see",
                "Leave it out, and set the environment variable PACS_INDEX_PASSWORD or name a --password-file.",
            ));
        }
        let shown = parsed.to_string();
        if parsed.path().trim_matches('/').is_empty() {
            return Err(bad_url(&shown, "the database is missing"));
        }
        let mut options = MySqlConnectOptions::from_str(url).map_err(|error| bad_url(&shown, &error.to_string()))?;
        if let Some(user) = credentials.user.as_ref().filter(|_| parsed.username().is_empty()) {
            options = options.username(user);
        }
        if let Some(password) = &credentials.password {
            options = options.password(password);
        }
        Ok(Location::MySql { options: Box::new(options), shown })
    }

    /// The file of an embedded index.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Location::Sqlite(path) => Some(path),
            Location::MySql { .. } => None,
        }
    }

    /// How it is called in messages. Holds no password.
    pub fn shown(&self) -> String {
        match self {
            Location::Sqlite(path) => format!("sqlite:{}", path.display()),
            Location::MySql { shown, .. } => shown.clone(),
        }
    }

    /// How many connections write side by side. SQLite has one writer.
    pub fn writers(&self) -> usize {
        match self {
            Location::Sqlite(_) => 1,
            Location::MySql { .. } => 2,
        }
    }

    /// Reads the columns of the index. A missing SQLite index is created; one that is another's is refused as it is.
    pub fn prepare(&self, access: Access) -> Result<Arc<Tables>> {
        let failed = |failure| self.unreachable(failure);
        let tables = match self {
            Location::Sqlite(path) => {
                let mut database = match (path.exists(), access) {
                    (true, _) => Sqlite::read_only(path),
                    (false, Access::Write) => Sqlite::open(path),
                    (false, Access::DryRun) => Sqlite::in_memory(),
                }
                .map_err(failed)?;
                if access == Access::Write && database.table_names().map_err(failed)?.is_empty() {
                    database.close();
                    database = Sqlite::open(path).map_err(failed)?;
                }
                let engine = Engine { is_transactional: true, ..Engine::default() };
                let tables = Tables::new(engine, |table| database.columns(table).map_err(failed));
                database.close();
                tables
            }
            Location::MySql { options, .. } => {
                let mut database = MySql::connect(options).map_err(failed)?;
                let engine = database.engine().map_err(failed)?;
                let tables = Tables::new(engine, |table| database.columns(table).map_err(failed));
                database.close();
                tables
            }
        };
        tables.map(Arc::new)
    }

    /// A connection to a prepared index.
    pub fn connect(&self, tables: &Arc<Tables>, access: Access) -> Result<Box<dyn Index + Send>> {
        let failed = |failure| self.unreachable(failure);
        let tables = Arc::clone(tables);
        match self {
            Location::Sqlite(path) => {
                let path = path.clone();
                let open = move |_| match access {
                    Access::Write => Sqlite::open(&path),
                    Access::DryRun if path.exists() => Sqlite::read_only(&path),
                    Access::DryRun => Sqlite::in_memory(),
                };
                let database = open(false).map_err(failed)?;
                Ok(seen_by(access, SqlIndex::new(database, Box::new(open), tables)))
            }
            Location::MySql { options, shown } => {
                let database = MySql::connect(options).map_err(failed)?;
                let (options, shown) = (options.clone(), shown.clone());
                // Another server may answer by now, or the former master as a replica.
                let connect = move |allow_replica| {
                    let mut database = MySql::connect(&options)?;
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

    pub fn unreachable(&self, failure: Failure) -> Error {
        let advice = match self {
            Location::Sqlite(_) => "Is the directory there, may you write to it, and is the file an SQLite database?",
            Location::MySql { .. } => {
                "Is the server running and reachable, and are user, password and database right? \
                 The password comes from PACS_INDEX_PASSWORD, --password-file or --defaults-file."
            }
        };
        // SQLite does not tell a full disk from a broken one while it opens a file.
        let directory = self.file().and_then(Path::parent).filter(|directory| full_disk::has_no_room(directory));
        let failure = match directory {
            Some(directory) => format!("the disk of {} is full ({failure})", directory.display()),
            None => failure.to_string(),
        };
        Error::usage(format!("the index {} cannot be opened: {failure}", self.shown()), advice)
    }
}

/// A dry run looks at an index through a memory of its own.
fn seen_by(access: Access, index: impl Index + Send + 'static) -> Box<dyn Index + Send> {
    match access {
        Access::Write => Box::new(index),
        Access::DryRun => Box::new(DryRun::new(index)),
    }
}

fn bad_url(url: &str, why: &str) -> Error {
    Error::usage(
        format!("`{url}` is no index: {why}"),
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
