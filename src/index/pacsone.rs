//! What a PacsOne database says of the PACS itself, in tables other than those of the index (pacsone-index.md, 3.5).

use super::Failure;
use super::location::Location;
use super::mysql::MySql;
use super::sql::Database;
use crate::error::{Error, Result};

/// Where the directories of the archive stand: of the PACS as a whole, and of single source AEs.
const DIRECTORIES: [(&str, &str); 4] =
    [("config", "archivedir"), ("config", "longtermdir"), ("applentity", "archivedir"), ("applentity", "longtermdir")];

/// The archive directories that the database names, as the PACS calls them, each once.
pub fn archive_directories(location: &Location) -> Result<Vec<String>> {
    let Location::MySql { login, .. } = location else {
        return Err(Error::usage(
            format!("{} does not say where the archive is: only the database of a PACS does", location.shown()),
            "Name the directories of the archive themselves, or the database: --index mysql://user@host:port/database",
        ));
    };
    let failed = |failure| location.unreachable(failure);
    let mut database = location.mysql(login)?;
    let directories = directories(&mut database).map_err(failed);
    database.close();
    directories
}

/// How the PACS itself files what it receives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// As the PACS calls it.
    pub archive: Option<String>,
    /// Its `archiveformat`.
    pub format: Option<usize>,
}

/// What the table `config` says. `None` where there is none, or the user may not see it.
pub fn configured(location: &Location) -> Result<Option<Configured>> {
    let Location::MySql { login, .. } = location else { return Ok(None) };
    let failed = |failure| location.unreachable(failure);
    let mut database = location.mysql(login)?;
    let mut value = |column: &str| -> Result<Option<String>> {
        let catalogue = format!(
            "SELECT CAST(COLUMN_NAME AS CHAR) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() \
             AND TABLE_NAME = 'config' AND COLUMN_NAME = '{column}'"
        );
        if database.fetch(&catalogue.into(), &[]).map_err(failed)?.is_empty() {
            return Ok(None);
        }
        let sql = format!("SELECT CAST(`{column}` AS CHAR) FROM `config` LIMIT 1");
        let rows = database.fetch(&sql.into(), &[]).map_err(failed)?;
        let text = rows.into_iter().flatten().flatten().next();
        Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
    };
    let (archive, format) = (value("archivedir")?, value("archiveformat")?);
    database.close();
    let format = format.and_then(|format| format.parse().ok());
    Ok((archive.is_some() || format.is_some()).then_some(Configured { archive, format }))
}

/// A column that is not there, or that the user may not see, names nothing.
fn directories(database: &mut MySql) -> Result<Vec<String>, Failure> {
    let catalogue = "SELECT CAST(TABLE_NAME AS CHAR), LOWER(CAST(COLUMN_NAME AS CHAR)) FROM information_schema.COLUMNS \
                     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ('config', 'applentity')";
    let columns = database.fetch(&catalogue.into(), &[])?;
    let mut found: Vec<String> = Vec::new();
    for (table, column) in DIRECTORIES {
        if !columns.iter().any(|row| row.iter().flatten().eq([table, column])) {
            continue;
        }
        let sql = format!("SELECT DISTINCT CAST(`{column}` AS CHAR) FROM `{table}` ORDER BY 1");
        for directory in database.fetch(&sql.into(), &[])?.iter().flatten().flatten() {
            let directory = directory.trim();
            if !directory.is_empty() && !found.iter().any(|other| other == directory) {
                found.push(directory.to_owned());
            }
        }
    }
    Ok(found)
}
