//! Queries about the server itself, such as SHOW statements. They are not prepared, and their
//! results are read as text by column name, because the columns differ between servers. Not every
//! server knows every statement, and not every user may run it: [`Answer`] covers both cases.

use sqlx::mysql::{MySqlConnection, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, Column, Executor, Row};

use super::Failure;
use super::mysql_error::failure;

#[derive(Debug)]
pub enum Answer {
    Rows(Vec<NamedRow>),
    /// The server has no such statement, variable or table.
    Unknown,
    /// The user lacks a privilege.
    Denied,
}

/// A row as text, by column name. Columns that are NULL are left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NamedRow(Vec<(String, String)>);

impl NamedRow {
    /// Returns the text of a column, ignoring the case of its name. `None` if the column is NULL or
    /// missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(column, _)| column.eq_ignore_ascii_case(name)).map(|(_, text)| text.as_str())
    }

    /// Returns the trimmed text of a column, or `None` if the text is empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|text| !text.is_empty())
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }
}

/// Returns whether a variable is on. Servers show `1`, `ON`, or the level of a switch that has
/// several, such as `NO_LOCK_NO_ADMIN`.
pub fn is_on(text: &str) -> bool {
    text != "0" && !text.eq_ignore_ascii_case("OFF")
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for NamedRow {
    fn from(columns: [(&str, &str); N]) -> Self {
        NamedRow(columns.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
    }
}

/// Returns a value as text. A column may have a binary collation, which the driver does not treat
/// as text.
pub(crate) fn text(row: &sqlx::mysql::MySqlRow, column: usize) -> Option<String> {
    let bytes: Option<Vec<u8>> = row.try_get_unchecked(column).ok().flatten();
    bytes.map(|bytes| String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// The error numbers of an unknown column, invalid SQL syntax, an unknown table and an unknown
/// system variable, from the error references of the MySQL and MariaDB manuals.
const UNKNOWN: [u16; 4] = [1054, 1064, 1146, 1193];
/// The error numbers of denied access to a database, a table or a column, and of a missing global
/// privilege.
const DENIED: [u16; 4] = [1044, 1142, 1143, 1227];

/// Runs a query over the text protocol, which also accepts statements that cannot be prepared.
pub async fn ask(connection: &mut MySqlConnection, sql: &str) -> Result<Answer, Failure> {
    answer(connection, sql).await.map_err(failure)
}

/// Runs a query like [`ask`], but returns the driver's error with its number if the query fails for
/// another reason than those of [`Answer`].
pub(crate) async fn answer(connection: &mut MySqlConnection, sql: &str) -> Result<Answer, sqlx::Error> {
    let rows = match connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await {
        Ok(rows) => rows,
        Err(error) => {
            let refused = error.as_database_error().and_then(|e| e.try_downcast_ref::<MySqlDatabaseError>());
            return match refused.map(MySqlDatabaseError::number) {
                Some(number) if UNKNOWN.contains(&number) => Ok(Answer::Unknown),
                Some(number) if DENIED.contains(&number) => Ok(Answer::Denied),
                _ => Err(error),
            };
        }
    };
    let named = |row: &sqlx::mysql::MySqlRow| {
        let value = |(n, column): (usize, &sqlx::mysql::MySqlColumn)| Some((column.name().to_owned(), text(row, n)?));
        NamedRow(row.columns().iter().enumerate().filter_map(value).collect())
    };
    Ok(Answer::Rows(rows.iter().map(named).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_in_several_ways_that_a_switch_is_on() {
        assert_eq!(["1", "ON", "NO_LOCK_NO_ADMIN", "0", "OFF"].map(is_on), [true, true, true, false, false]);
    }

    #[test]
    fn a_column_is_found_whatever_the_case_of_its_name() {
        let row = NamedRow::from([("Aging", " 365 "), ("destdir", " ")]);
        assert_eq!((row.number("aging"), row.text("destdir"), row.get("enable")), (Some(365), None, None));
    }
}
