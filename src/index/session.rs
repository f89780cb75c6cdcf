//! Session variables, set so that results and limits do not depend on the configuration of the
//! server.

use std::fmt;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor};

use super::ask::{Answer, NamedRow, answer};

/// Makes the server reject a value that a column cannot store, instead of changing the value.
const STRICT_MODE: &str = "sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'";

/// Variables that every supported server has. They are set first, because they limit the results of
/// all later queries. `max_join_size` resets `sql_big_selects`, which therefore follows it.
/// `wait_timeout` allows for a connection that is idle while a replica lags.
const ON_EVERY_SERVER: [&str; 4] = [
    "wait_timeout = 1000000",
    "sql_select_limit = 18446744073709551615",
    "max_join_size = 18446744073709551615",
    "sql_big_selects = 1",
];

/// Variables and their values, each set if the server has the variable. Variables that an
/// administrator sets for all sessions on purpose are unchanged: `sql_log_bin`, the time zone, the
/// optimizer switches.
const WHERE_PRESENT: [(&str, &str); 19] = [
    // Set first: an open transaction would prevent setting the ones below.
    ("autocommit", "1"),
    ("completion_type", "'NO_CHAIN'"),
    // Two names of one variable: that of MariaDB before 11.1, and that of all other servers.
    ("tx_read_only", "0"),
    ("transaction_read_only", "0"),
    // Limits on the duration of a statement, in MySQL and in MariaDB; 0 disables the limit.
    ("max_execution_time", "0"),
    ("max_statement_time", "0"),
    // The default, in seconds. A statement must end within the 300 s for which the program waits
    // for an answer.
    ("innodb_lock_wait_timeout", "50"),
    // In seconds. The defaults of 30 and 60 disconnect a client on a busy machine.
    ("net_read_timeout", "600"),
    ("net_write_timeout", "600"),
    ("sql_safe_updates", "0"),
    ("sql_auto_is_null", "0"),
    ("sql_buffer_result", "0"),
    ("foreign_key_checks", "1"),
    ("unique_checks", "1"),
    // The defaults, in bytes. Keys are longer than the smallest values that a server allows.
    ("max_sort_length", "1024"),
    ("group_concat_max_len", "1048576"),
    ("div_precision_increment", "4"),
    ("old_mode", "''"),
    // The column names in error messages are parsed.
    ("lc_messages", "'en_US'"),
];

/// Variables that a session requires: with other values, the server rolls back the last changes
/// when the session ends.
const REQUIRED: [(&str, &str); 2] = [("autocommit", "1"), ("completion_type", "'NO_CHAIN'")];

/// A required variable that has another value even after an attempt to set it.
#[derive(Debug)]
pub struct UnsetVariable(&'static str);

impl fmt::Display for UnsetVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server, or a proxy in front of it, does not let a session set {}", self.0)
    }
}

impl std::error::Error for UnsetVariable {}

/// Sets the variables of a new session. Returns the driver's error unchanged, so that its number is
/// kept: a user with an expired password can log in, but is then denied most statements.
pub async fn prepare(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    // Only MariaDB runs the code in the comment.
    let together = format!("{STRICT_MODE}, {} /*M! , max_statement_time = 0 */", ON_EVERY_SERVER.join(", "));
    if set(connection, &together).await.is_err() {
        set(connection, STRICT_MODE).await?;
        set_each(connection, &ON_EVERY_SERVER).await;
    }
    let rows = present(connection).await?;
    // A read-only server rejects some assignments even if they change nothing.
    let differs = |(name, value): &&(&str, &str)| shown(&rows, name).is_some_and(|shown| !is_set(shown, value));
    let settings: Vec<String> =
        WHERE_PRESENT.iter().filter(differs).map(|(name, value)| format!("{name} = {value}")).collect();
    if !settings.is_empty() && set(connection, &settings.join(", ")).await.is_err() {
        set_each(connection, &settings).await;
    }
    match unset(&rows).is_some() {
        true => unset(&present(connection).await?)
            .map_or(Ok(()), |name| Err(sqlx::Error::Configuration(UnsetVariable(name).into()))),
        false => Ok(()),
    }
}

/// Returns the variables of `WHERE_PRESENT` that the server has, with their values.
async fn present(connection: &mut MySqlConnection) -> Result<Vec<NamedRow>, sqlx::Error> {
    let names: Vec<String> = WHERE_PRESENT.iter().map(|(name, _)| format!("'{name}'")).collect();
    let question = format!("SHOW SESSION VARIABLES WHERE Variable_name IN ({})", names.join(","));
    match answer(connection, &question).await? {
        Answer::Rows(rows) => Ok(rows),
        Answer::Unknown | Answer::Denied => Ok(Vec::new()),
    }
}

fn shown<'r>(rows: &'r [NamedRow], name: &str) -> Option<&'r str> {
    rows.iter().find(|row| row.get("Variable_name") == Some(name)).map(|row| row.get("Value").unwrap_or(""))
}

/// Returns the first required variable that does not have its required value.
fn unset(rows: &[NamedRow]) -> Option<&'static str> {
    let has_value = |name, value| shown(rows, name).is_some_and(|shown| is_set(shown, value));
    REQUIRED.into_iter().find(|(name, value)| !has_value(name, value)).map(|(name, _)| name)
}

/// Sets variables one by one. A hosted server or a proxy may reserve one of them for its
/// administrator, and then rejects a whole statement that sets it. Errors are ignored: if the
/// connection is lost here, the next statement fails.
async fn set_each(connection: &mut MySqlConnection, settings: &[impl AsRef<str>]) {
    for setting in settings {
        let _ = set(connection, setting.as_ref()).await;
    }
}

async fn set(connection: &mut MySqlConnection, settings: &str) -> Result<(), sqlx::Error> {
    let statement = sqlx::raw_sql(AssertSqlSafe(format!("SET SESSION {settings}")));
    connection.execute(statement).await.map(drop)
}

/// Returns whether the value that the server shows for a variable equals a value.
fn is_set(shown: &str, value: &str) -> bool {
    let shown = match shown {
        "OFF" => "0",
        "ON" => "1",
        other => other,
    };
    shown == value.trim_matches('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_has_its_value_is_not_set_again() {
        for (shown, value, expected) in [
            ("OFF", "0", true),
            ("ON", "0", false),
            ("1", "1", true),
            ("NO_CHAIN", "'NO_CHAIN'", true),
            ("", "''", true),
            ("50", "50", true),
            ("51", "50", false),
        ] {
            assert_eq!(is_set(shown, value), expected, "{shown} {value}");
        }
    }
}
