//! Galera clusters, which replicate InnoDB tables only.

use super::Failure;
use super::location::{Access, Location};
use super::mysql::MySql;
use super::server::variable;
use super::sql::Database;
use crate::dicom::Table;
use crate::error::{Error, Result};

/// Returns an error if the index is on a Galera cluster and has tables that the cluster does not
/// replicate. Not checked for a dry run, or if `allow_unreplicated` is set.
pub fn check(location: &Location, access: Access, allow_unreplicated: bool) -> Result<()> {
    let Location::MySql { login, .. } = location else { return Ok(()) };
    if access == Access::DryRun || allow_unreplicated {
        return Ok(());
    }
    let failed = |failure| location.unreachable(failure);
    let mut database = location.mysql(login)?;
    let unreplicated = unreplicated(&mut database).map_err(failed);
    database.close();
    match unreplicated?.as_slice() {
        [] => Ok(()),
        tables => Err(Error::usage(
            format!("the Galera cluster of {} does not replicate {}", location.shown(), tables.join(", ")),
            "Galera replicates InnoDB tables: other engines lack transactions, and prepared statements on them stay on one \
             node. Convert the tables (ALTER TABLE image ENGINE = InnoDB), or, to write to this node alone, add \
             --allow-unreplicated-tables.",
        )),
    }
}

/// Returns the tables of an index that a cluster does not replicate, each with its engine. Empty if
/// the server is not a node of a cluster.
fn unreplicated(database: &mut MySql) -> Result<Vec<String>, Failure> {
    let setting = |name: &str, database: &mut MySql| -> Result<String, Failure> {
        Ok(variable(database, name)?.unwrap_or_default())
    };
    let (is_on, provider) = (setting("wsrep_on", database)?, setting("wsrep_provider", database)?);
    if !(is_on == "1" || is_on.eq_ignore_ascii_case("ON")) || matches!(provider.as_str(), "" | "none") {
        return Ok(Vec::new());
    }
    let sql = "SELECT CAST(TABLE_NAME AS CHAR), CAST(ENGINE AS CHAR) FROM information_schema.TABLES \
               WHERE TABLE_SCHEMA = DATABASE() AND ENGINE <> 'InnoDB' ORDER BY TABLE_NAME";
    let is_written = |name: &str| Table::CORE.into_iter().chain(Table::COMPANIONS).any(|table| table.name() == name);
    let described = |row: Vec<Option<String>>| match row.as_slice() {
        [Some(table), Some(engine)] if is_written(table) => Some(format!("{table} ({engine})")),
        _ => None,
    };
    Ok(database.fetch(&sql.into(), &[])?.into_iter().filter_map(described).collect())
}
