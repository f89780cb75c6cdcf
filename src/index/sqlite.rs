//! SQLite, embedded: one file, one writer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use tokio::runtime::Runtime;

use super::columns::Found;
use super::sql::{Database, Keep};
use super::{Failure, Refusal, Value, table};
use crate::dicom::Level;

/// Another run may be writing: its transactions are short.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

pub struct Sqlite {
    connection: SqliteConnection,
    runtime: Runtime,
}

impl Sqlite {
    pub fn open(path: &Path, create: bool) -> Result<Self, Failure> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        Self::connect(options)
    }

    /// An index that is gone with the run.
    pub fn in_memory() -> Result<Self, Failure> {
        Self::connect(SqliteConnectOptions::new().in_memory(true))
    }

    fn connect(options: SqliteConnectOptions) -> Result<Self, Failure> {
        let runtime = super::sql::runtime()?;
        let options = options.disable_statement_logging();
        let connection = runtime.block_on(options.connect()).map_err(failure)?;
        Ok(Sqlite { connection, runtime })
    }

    pub fn columns(&mut self, level: Level) -> Result<Vec<Found>, Failure> {
        let sql = "SELECT name, type FROM pragma_table_info(?) ORDER BY cid";
        let rows = self.fetch(&sql.into(), &[Value::Text(table(level))])?;
        let found = |row: Vec<Option<String>>| {
            let [name, kind] = <[Option<String>; 2]>::try_from(row).ok()?;
            Some(Found { name: name?, characters: declared_length(&kind?), bytes: None })
        };
        Ok(rows.into_iter().filter_map(found).collect())
    }

    pub fn count_tables(&mut self) -> Result<usize, Failure> {
        Ok(self.fetch(&"SELECT name FROM sqlite_schema".into(), &[])?.len())
    }

    pub fn run(&mut self, sql: &str) -> Result<(), Failure> {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        self.runtime.block_on(self.connection.execute(statement)).map_err(failure)?;
        Ok(())
    }

    pub fn close(self) {
        let _ = self.runtime.block_on(self.connection.close());
    }
}

/// SQLite does not enforce the length of a VARCHAR; it is kept all the same, so that both databases hold the same.
fn declared_length(kind: &str) -> Option<usize> {
    kind.strip_prefix("VARCHAR(")?.strip_suffix(')')?.parse().ok()
}

impl Database for Sqlite {
    const INSERT_SIZES: &'static [usize] = &[100, 10, 1];

    fn execute(&mut self, sql: &Arc<str>, values: &[Value<'_>], keep: Keep) -> Result<u64, Failure> {
        let query = sqlx::query_with(AssertSqlSafe(sql.clone()), arguments(values)?).persistent(keep == Keep::Prepared);
        let done = self.runtime.block_on(query.execute(&mut self.connection)).map_err(failure)?;
        Ok(done.rows_affected())
    }

    fn fetch(&mut self, sql: &Arc<str>, values: &[Value<'_>]) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let query = sqlx::query_with(AssertSqlSafe(sql.clone()), arguments(values)?);
        let rows = self.runtime.block_on(query.fetch_all(&mut self.connection)).map_err(failure)?;
        Ok(rows.iter().map(texts).collect())
    }

    /// Takes the write lock at once: a later upgrade could fail half way.
    fn begin(&mut self) -> Result<(), Failure> {
        self.run("BEGIN IMMEDIATE")
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.run("COMMIT")
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        self.run("ROLLBACK")
    }
}

fn texts(row: &SqliteRow) -> Vec<Option<String>> {
    (0..row.len()).map(|i| row.try_get_unchecked(i).ok().flatten()).collect()
}

fn arguments(values: &[Value<'_>]) -> Result<SqliteArguments, Failure> {
    let mut arguments = SqliteArguments::default();
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

/// Extended result codes of SQLite.
fn failure(error: sqlx::Error) -> Failure {
    let Some(refused) = error.as_database_error() else { return Failure::Lost(error.to_string()) };
    let code: u32 = refused.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    match (code, code & 0xFF) {
        (1555 | 2067, _) => Failure::Duplicate,
        (_, 5 | 6) => Failure::Busy(format!("SQLite code {code}: the index is locked by another program")),
        (_, 18..=20) => Failure::Refused(Refusal { code: "refused-by-index", detail: format!("SQLite code {code}") }),
        _ => Failure::Lost(format!("SQLite code {code}: {}", refused.message())),
    }
}
