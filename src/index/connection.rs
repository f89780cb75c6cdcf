//! One connection to a database, used by one thread: the code that all drivers of sqlx share.
//!
//! This is a macro, because the bounds of a driver cannot be named once for all databases. The file
//! that uses the macro provides, for its database: `failure`, which classifies an error; `text`,
//! which reads a value as text; `dialect`; `with_values`, which returns a statement with its values
//! in the text if the database should receive the statement in that form; `is_out_of_statements`;
//! and the constants.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::Failure;

/// Waits for an answer until a time limit. A server may be suspended without closing its
/// connections, or may be behind a network that drops packets. After a timeout, the connection is
/// unusable.
pub(crate) fn within<T>(limit: Duration, runtime: &Runtime, work: impl Future<Output = T>) -> Result<T, Failure> {
    let answer = runtime.block_on(async { timeout(limit, work).await });
    answer.map_err(|_| Failure::Unreachable(format!("no answer for {} s", limit.as_secs())))
}

/// `connection!(Name, Connection, Arguments, Row)` defines a type with the functions that need a
/// connection, and implements [`Database`](super::sql::Database) for it.
macro_rules! connection {
    ($name:ident, $connection:ty, $arguments:ty, $row:ty) => {
        pub struct $name {
            connection: $connection,
            /// The async runtime of the driver. A writer is one thread with one connection.
            runtime: tokio::runtime::Runtime,
            statement_bytes: usize,
            dialect: Dialect,
        }

        impl $name {
            fn connected<E: From<Failure>>(opened: impl Future<Output = Result<$connection, E>>) -> Result<Self, E> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| Failure::Lost(error.to_string()))?;
                let connection = within(CONNECTING, &runtime, opened)??;
                Ok($name { connection, runtime, statement_bytes: usize::MAX, dialect: dialect() })
            }

            /// Runs a statement that is not prepared.
            pub fn run(&mut self, sql: &str) -> Result<(), Failure> {
                let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
                let run = sqlx::Executor::execute(&mut self.connection, statement);
                within(LONGEST_ANSWER, &self.runtime, run)?.map_err(failure).map(|_| ())
            }

            fn arguments(values: &[Value<'_>]) -> Result<$arguments, Failure> {
                use sqlx::Arguments;
                let mut arguments = <$arguments>::default();
                arguments.reserve(values.len(), values.len() * 16);
                for value in values {
                    match *value {
                        Value::Null => arguments.add(None::<&str>),
                        Value::Text(text) => arguments.add(text),
                        Value::Integer(number) => arguments.add(number),
                        Value::Real(number) => arguments.add(number),
                    }
                    .map_err(|error| Failure::Lost(error.to_string()))?;
                }
                Ok(arguments)
            }
        }

        impl Database for $name {
            const INSERT_SIZES: &'static [usize] = INSERT_SIZES;

            fn dialect(&self) -> &Dialect {
                &self.dialect
            }

            fn table_names(&mut self) -> Result<Vec<String>, Failure> {
                Ok(self.fetch(&TABLES.into(), &[])?.into_iter().flatten().flatten().collect())
            }

            fn stored_columns(&mut self, table: &str) -> Result<Vec<StoredColumn>, Failure> {
                let rows = self.fetch(&COLUMNS.into(), &[Value::Text(table)])?;
                Ok(rows.into_iter().filter_map(|row| StoredColumn::read(row, &self.dialect)).collect())
            }

            fn statement_bytes(&self) -> usize {
                self.statement_bytes
            }

            fn execute(&mut self, sql: &Arc<str>, values: &[Value<'_>], keep: Keep) -> Result<u64, Failure> {
                if keep == Keep::Once
                    && let Some(text) = with_values(sql, values)
                {
                    let query = sqlx::raw_sql(sqlx::AssertSqlSafe(text));
                    let run = sqlx::Executor::execute(&mut self.connection, query);
                    return Ok(within(LONGEST_ANSWER, &self.runtime, run)?.map_err(failure)?.rows_affected());
                }
                let query = sqlx::query_with(sqlx::AssertSqlSafe(sql.clone()), Self::arguments(values)?);
                match within(LONGEST_ANSWER, &self.runtime, query.execute(&mut self.connection))? {
                    Err(error) if keep == Keep::Prepared && is_out_of_statements(&error) => {
                        self.execute(sql, values, Keep::Once)
                    }
                    done => Ok(done.map_err(failure)?.rows_affected()),
                }
            }

            fn fetch_with(
                &mut self,
                sql: &Arc<str>,
                values: &[Value<'_>],
                keep: Keep,
            ) -> Result<Vec<Vec<Option<String>>>, Failure> {
                let unprepared = (keep == Keep::Once).then(|| with_values(sql, values)).flatten();
                let rows = match unprepared {
                    Some(text) => {
                        let query = sqlx::raw_sql(sqlx::AssertSqlSafe(text));
                        let run = sqlx::Executor::fetch_all(&mut self.connection, query);
                        within(LONGEST_ANSWER, &self.runtime, run)?
                    }
                    None => {
                        let query = sqlx::query_with(sqlx::AssertSqlSafe(sql.clone()), Self::arguments(values)?);
                        within(LONGEST_ANSWER, &self.runtime, query.fetch_all(&mut self.connection))?
                    }
                };
                if keep == Keep::Prepared && rows.as_ref().is_err_and(is_out_of_statements) {
                    return self.fetch_with(sql, values, Keep::Once);
                }
                let texts = |row: &$row| (0..sqlx::Row::len(row)).map(|column| text(row, column)).collect();
                Ok(rows.map_err(failure)?.iter().map(texts).collect())
            }

            fn begin(&mut self) -> Result<(), Failure> {
                self.run(BEGIN)
            }

            fn commit(&mut self) -> Result<(), Failure> {
                self.run("COMMIT")
            }

            fn roll_back(&mut self) -> Result<(), Failure> {
                self.run("ROLLBACK")
            }

            fn close(self) {
                // All changes are committed before, so a connection that does not close properly
                // loses nothing.
                let _ = within(CONNECTING, &self.runtime, sqlx::Connection::close(self.connection));
            }
        }
    };
}

pub(crate) use connection;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_never_answers_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let silence = within(Duration::from_millis(10), &runtime, std::future::pending::<()>());
        assert!(matches!(silence, Err(Failure::Unreachable(why)) if why == "no answer for 0 s"));
        assert_eq!(within(Duration::from_secs(60), &runtime, async { 7 }).unwrap(), 7);
    }
}
