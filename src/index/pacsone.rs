//! The configuration of a PacsOne server, read from tables of its database outside the index
//! (pacsone-index.md, 3.5).

use super::Failure;
use super::ask::Answer;
use super::location::Location;
use super::mysql::MySql;
use super::sql::Database;
use crate::archive::ArchiveDirectories;
use crate::error::{Error, Result};

/// The columns that name archive directories, of the whole PACS and of single source AEs.
const DIRECTORIES: [(&str, &str); 4] =
    [("config", "archivedir"), ("config", "longtermdir"), ("applentity", "archivedir"), ("applentity", "longtermdir")];

/// The archive settings of the PACS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// All directories of the archive, each once.
    pub directories: ArchiveDirectories,
    /// `config.archivedir`, the directory for new instances.
    pub archive: Option<String>,
    /// `config.archiveformat`.
    pub format: Option<usize>,
    /// The tables with columns that the user is not allowed to read.
    pub hidden: Vec<&'static str>,
}

/// Reads the configuration from the database of an index. Empty if the database has no such tables.
pub fn configured(location: &Location) -> Result<Configured> {
    let Location::MySql { login, .. } = location else { return Ok(Configured::default()) };
    let failed = |failure| location.unreachable(failure);
    let mut database = location.mysql(login)?;
    let configured = read(&mut database).map_err(failed);
    database.close();
    configured
}

/// Returns the archive directories in the database, as the PACS names them, without repetition.
pub fn archive_directories(location: &Location) -> Result<Vec<String>> {
    match location {
        Location::MySql { .. } => Ok(configured(location)?.directories.names().to_vec()),
        Location::Sqlite(_) => Err(Error::usage(
            format!("{} does not say where the archive is: only the database of a PACS does", location.shown()),
            "Name the directories of the archive themselves, or the database: --index mysql://user@host:port/database",
        )),
    }
}

fn read(database: &mut MySql) -> Result<Configured, Failure> {
    let mut hidden = Vec::new();
    let mut values = |(table, column): (&'static str, &str)| -> Result<Vec<String>, Failure> {
        let sql = format!("SELECT DISTINCT CAST(`{column}` AS CHAR) AS value FROM `{table}` ORDER BY 1");
        let rows = match database.ask(&sql)? {
            Answer::Rows(rows) => rows,
            Answer::Unknown => Vec::new(),
            Answer::Denied => {
                if !hidden.contains(&table) {
                    hidden.push(table);
                }
                Vec::new()
            }
        };
        Ok(rows.iter().filter_map(|row| row.text("value")).map(str::to_owned).collect())
    };
    let named = DIRECTORIES.into_iter().map(&mut values).collect::<Result<Vec<_>, _>>()?;
    let format = values(("config", "archiveformat"))?.first().and_then(|format| format.parse().ok());
    let archive = named[0].first().cloned();
    let mut directories: Vec<String> = Vec::new();
    for name in named.into_iter().flatten() {
        if !directories.contains(&name) {
            directories.push(name);
        }
    }
    Ok(Configured { directories: ArchiveDirectories::new(directories), archive, format, hidden })
}
