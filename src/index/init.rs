//! Creates the tables of an index in an empty database: for embedded indexes, and for test servers.

use super::sql::Database;
use super::sqlite::Sqlite;
use super::{Failure, Location};
use crate::error::{Error, Result};

const CORE: &str = include_str!("core.sql");

/// The parts of the statements that depend on the database.
#[derive(Clone, Copy)]
pub struct Options {
    /// The text after the list of columns of a table.
    table: &'static str,
    /// The type of a Patient ID. The comparison ignores case, so that the IDs p1 and P1 are equal.
    patient_id: &'static str,
}

pub const SQLITE: Options = Options { table: "", patient_id: "VARCHAR(128) COLLATE NOCASE" };
/// The collation is explicit, because each server would otherwise use its own default, which would
/// decide which Patient IDs are equal and in which order keys are sorted. All versions of MySQL and
/// MariaDB have this collation.
const MYSQL: Options =
    Options { table: " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci", patient_id: "VARCHAR(128)" };

/// Creates the tables, one statement at a time.
pub fn create(mut run: impl FnMut(&str) -> Result<(), Failure>, options: Options) -> Result<(), Failure> {
    let code: String = CORE.lines().filter(|line| !line.starts_with("--")).flat_map(|line| [line, "\n"]).collect();
    for statement in code.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        match statement.starts_with("CREATE TABLE") {
            true => run(&(statement.replace("PATIENT_ID", options.patient_id) + options.table))?,
            false => run(statement)?,
        }
    }
    Ok(())
}

/// Runs `pacs-index init`, which turns an empty database into an empty index. Any other database is
/// rejected.
pub fn init(location: &Location, not_the_pacsone_installer: bool) -> Result<()> {
    let failed = |failure| location.unreachable(failure);
    match location {
        Location::Sqlite(path) => {
            if path.exists() {
                let mut database = Sqlite::read_only(path).map_err(failed)?;
                refuse_unless_empty(location, database.table_names().map_err(failed)?.len())?;
            }
            Sqlite::open(path).map_err(failed)?.close();
        }
        Location::MySql { .. } if !not_the_pacsone_installer => {
            return Err(Error::usage(
                "init makes eight tables; a PacsOne Server needs about a hundred more, which its own installer makes",
                "For a PACS run PacsOne's installer, without its option to drop the database, then reindex. \
                 For a test server add --not-the-pacsone-installer.",
            ));
        }
        Location::MySql { login, .. } => {
            let mut database = location.mysql(login)?;
            refuse_unless_empty(location, database.table_names().map_err(failed)?.len())?;
            create(|sql| database.run(sql), MYSQL).map_err(failed)?;
            database.close();
        }
    }
    Ok(())
}

fn refuse_unless_empty(location: &Location, tables: usize) -> Result<()> {
    if tables == 0 {
        return Ok(());
    }
    Err(Error::usage(
        format!("{} is not empty: it holds tables already ({tables})", location.shown()),
        "init only fills an empty database; nothing was changed. To bring an index up to date: pacs-index reindex",
    ))
}
