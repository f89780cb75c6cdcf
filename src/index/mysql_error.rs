//! Errors of MySQL and MariaDB: how each error number affects the statement, the connection and the
//! row.

use sqlx::mysql::MySqlDatabaseError;

use super::{Failure, MissingRight, Refusal, columns};

/// Error 1461: the number of prepared statements of all connections has reached the limit of the
/// server.
const OUT_OF_STATEMENTS: u16 = 1461;

/// Error 1180: a commit failed on the server.
const ERROR_DURING_COMMIT: u16 = 1180;

/// Whether the server cannot prepare one more statement.
pub(crate) fn is_out_of_statements(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| error.number() == OUT_OF_STATEMENTS)
}

/// Errors that are not about the values of a row: access, database, table, disk.
const HARMLESS: [u16; 13] = [1021, 1044, 1045, 1049, 1054, 1114, 1130, 1142, 1143, 1146, 1153, 1665, 1698];

/// Whether the server is shutting down or full, has cut the connection or the statement, or is out
/// of reach of its proxy. A server that has become read-only may be about to fail over to another;
/// the next connection shows.
fn is_away(number: u16) -> bool {
    const FULL: [u16; 3] = [1040, 1203, 1226];
    const GOING_DOWN: [u16; 5] = [1053, 1077, 1078, 1079, 1080];
    const CUT: [u16; 11] = [1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 3168, 3169, 4031];
    const READ_ONLY: [u16; 3] = [1290, 1792, 1836];
    const OF_PROXIES: [u16; 5] = [2002, 2003, 2006, 2013, 9001];
    [&FULL[..], &GOING_DOWN, &CUT, &READ_ONLY, &OF_PROXIES].concat().contains(&number)
}

/// Whether a Galera node is outside of a primary component, or is still joining. On other servers,
/// the error number means an unknown command.
fn is_not_ready(number: u16, message: &str) -> bool {
    number == 1047 && message.contains("WSREP")
}

/// Classifies an error by the server error numbers and SQL states of the MySQL and MariaDB manuals.
/// The message of an error about a row may contain the row's values, so only the column name is
/// taken from it.
pub(crate) fn failure(error: sqlx::Error) -> Failure {
    let Some(refused) = error.as_database_error().and_then(|e| e.try_downcast_ref::<MySqlDatabaseError>()) else {
        return match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Failure::Unreachable(error.to_string())
            }
            _ => Failure::Lost(error.to_string()),
        };
    };
    let number = refused.number();
    let class = refused.code().unwrap_or_default().get(..2).unwrap_or_default();
    match (number, class) {
        (1062 | 1586, _) => Failure::Duplicate,
        (1020 | 1205 | 1213, _) => Failure::Busy(format!("error {number}")),
        // 1442: a trigger writes to a table that the statement reads.
        (_, "22" | "23" | "44" | "45") | (1264 | 1265 | 1364 | 1366 | 1406 | 1411 | 1526 | 1442 | 3819 | 4025, _) => {
            let column = column_of(refused.message());
            let detail = column.map_or(format!("error {number}"), |name| format!("error {number} for column `{name}`"));
            Failure::Refused(Refusal { code: "refused-by-index", detail })
        }
        // A node that loses its cluster during a commit rolls back, and the next statement fails
        // with error 1047. If the other nodes received the transaction before, they commit it, and
        // so does this node after it has rejoined them.
        (ERROR_DURING_COMMIT, _) => Failure::RolledBack(format!("error {number}: {}", refused.message())),
        (1142 | 1143 | 1227, _) => match MissingRight::parse(refused.message()) {
            Some(right) => Failure::Denied(right),
            None => Failure::Lost(format!("error {number}: {}", refused.message())),
        },
        _ if is_away(number) || is_not_ready(number, refused.message()) => {
            Failure::Unreachable(format!("error {number}: {}", refused.message()))
        }
        _ if HARMLESS.contains(&number) => Failure::Lost(format!("error {number}: {}", refused.message())),
        _ => Failure::Lost(format!("error {number}, see the manual of the server")),
    }
}

/// Returns the column in "... for column 'x' at row 3" or "... for column `db`.`table`.`x` at row
/// 3".
fn column_of(message: &str) -> Option<&str> {
    let name = message.rsplit_once("column ")?.1.split(" at row").next()?;
    let name = name.trim_matches(['\'', '`']).rsplit(['.', '`']).next()?;
    // A value could look like this phrase, so return only known column names.
    columns::is_known(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_message_gives_away_the_column_and_nothing_else() {
        assert_eq!(column_of("Data too long for column 'origid' at row 1"), Some("origid"));
        assert_eq!(
            column_of("Incorrect string value: '\\xE4' for column `p`.`patient`.`lastname` at row 7"),
            Some("lastname")
        );
        assert_eq!(column_of("Incorrect date value: 'Doe column Jane'"), None);
    }
}
