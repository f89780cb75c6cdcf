//! The index in SQLite, an embedded database: one file, one writer.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};

use super::column::{Found, Kind};
use super::connection::{connection, within};
use super::real_type::RealType;
use super::sql::{Database, Keep};
use super::statements::{Dialect, Prefix};
use super::stored_column::StoredColumn;
use super::{Failure, Refusal, Value, init};

/// Another run may be writing, but its transactions are short.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// The file is local, so a slow operation does not mean a lost connection.
const CONNECTING: Duration = Duration::MAX;
const LONGEST_ANSWER: Duration = Duration::MAX;

/// Rows per insert, largest first. A statement can bind up to 32,766 values. Inserts of 100 rows
/// measured fastest.
const INSERT_SIZES: &[usize] = &[100, 10, 1];

/// Takes the write lock immediately, because upgrading a read lock later could fail halfway.
const BEGIN: &str = "BEGIN IMMEDIATE";

const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table'";

/// Excludes generated columns.
const COLUMNS: &str = "SELECT name, LOWER(type), '' FROM pragma_table_info(?) ORDER BY cid";

/// Columns that are by themselves a primary or unique key. A text primary key has an index like any
/// other.
const KEYS: &str = "SELECT MAX(i.name) FROM pragma_index_list(?) l JOIN pragma_index_info(l.name) i \
                    WHERE l.\"unique\" = 1 AND l.partial = 0 GROUP BY l.name HAVING COUNT(*) = 1";

fn dialect() -> Dialect {
    Dialect {
        // There is only one writer, so no other commit can follow the snapshot.
        latest: "",
        has_privileges: false,
        // The operating system caches the file in memory.
        outgrows_memory: None,
        join: "CROSS JOIN",
        equal: "IS",
        text: "TEXT",
        bytes: "BLOB",
        // A number that is cast to text has only 15 digits.
        all_digits: |column| {
            format!("CASE TYPEOF({column}) WHEN 'real' THEN PRINTF('%!.17g', {column}) ELSE {column} END")
        },
        concatenate: |parts| parts.iter().map(|part| format!("({part})")).collect::<Vec<_>>().join(" || "),
        // LIKE, or several ranges in one condition, would scan the whole table. `\\` follows `[`,
        // also in this collation.
        prefix: Prefix {
            source: |column, count| {
                let ranges = vec!["SELECT ? AS first, ? AS behind"; count].join(" UNION ");
                let id = format!("`{column}` COLLATE NOCASE");
                format!("({ranges}) CROSS JOIN `patient` ON {id} >= first AND {id} < behind")
            },
            values: |id| vec![format!("{id}["), format!("{id}\\")],
            page: |column| format!("`patient` WHERE `{column}` COLLATE NOCASE > ? AND `{column}` COLLATE NOCASE < ?"),
            page_values: |id, after| {
                let first = format!("{id}[");
                [if after.is_empty() { first } else { after.to_owned() }, format!("{id}\\")]
            },
        },
        // NOCASE, the collation of an SQLite index's Patient IDs, and LOWER both affect ASCII
        // letters only.
        identity: |text| format!("LOWER({text})"),
        identity_of_value: "LOWER(?)".into(),
    }
}

/// The error of a reader that finds the rollback journal of an interrupted transaction:
/// SQLITE_READONLY_ROLLBACK.
const HOT_JOURNAL: &str = "SQLite code 776";

/// The maximum time to wait for a file that another program is creating and has locked.
const OPENING: Duration = Duration::from_secs(20);

connection!(Sqlite, SqliteConnection, SqliteArguments, SqliteRow);

const ROWS: usize = 1024;

impl Sqlite {
    /// Opens an index for writing. In a missing or empty file, creates the tables in a single
    /// transaction. Several runs may do so at the same time.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let options = options(path).create_if_missing(true).busy_timeout(BUSY_TIMEOUT);
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
        let mut database = patiently(|| Self::connected(opened(options.clone())))?;
        if database.table_names()?.is_empty() {
            database.create()?;
        }
        Ok(database)
    }

    /// Opens an existing file without changing it, except that a transaction that a killed run left
    /// open is rolled back first.
    pub fn read_only(path: &Path) -> Result<Self, Failure> {
        let open = || patiently(|| Self::connected(opened(options(path).read_only(true))));
        let mut database = open()?;
        match database.table_names() {
            Err(Failure::Lost(what)) if what.starts_with(HOT_JOURNAL) => {
                database.close();
                let mut writable = Self::connected(opened(options(path).busy_timeout(BUSY_TIMEOUT)))?;
                writable.table_names()?;
                writable.close();
                open()
            }
            _ => Ok(database),
        }
    }

    /// Opens an index for reading, without changing it. Returns an empty in-memory index if the
    /// file is missing, or has no tables because a run was killed while creating them.
    pub fn to_read(path: &Path) -> Result<Self, Failure> {
        if !path.exists() {
            return Self::in_memory();
        }
        let mut database = Self::read_only(path)?;
        if !database.table_names()?.is_empty() {
            return Ok(database);
        }
        database.close();
        Self::in_memory()
    }

    fn create(&mut self) -> Result<(), Failure> {
        self.begin()?;
        let made = match self.table_names()?.is_empty() {
            true => init::create(|sql| self.run(sql), init::SQLITE),
            false => Ok(()),
        };
        if made.is_ok() { self.commit() } else { self.roll_back().and(made) }
    }

    /// Creates an index in memory, which is discarded with the connection.
    pub fn in_memory() -> Result<Self, Failure> {
        let mut database = Self::connected(opened(SqliteConnectOptions::new().in_memory(true)))?;
        database.create()?;
        Ok(database)
    }

    pub fn columns(&mut self, table: &str) -> Result<Vec<Found>, Failure> {
        let sql = "SELECT name, type, \"notnull\", dflt_value FROM pragma_table_info(?) ORDER BY cid";
        let rows = self.fetch(&sql.into(), &[Value::Text(table)])?;
        let unique: Vec<String> =
            self.fetch(&KEYS.into(), &[Value::Text(table)])?.into_iter().flatten().flatten().collect();
        let is_unique = |found: &Found| unique.contains(&found.name);
        Ok(rows.into_iter().filter_map(found).map(|found| Found { is_unique: is_unique(&found), ..found }).collect())
    }
}

async fn opened(options: SqliteConnectOptions) -> Result<SqliteConnection, Failure> {
    options.disable_statement_logging().connect().await.map_err(failure)
}

/// A separate thread reads the rows, so they are buffered in batches.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).row_buffer_size(ROWS)
}

fn found(row: Vec<Option<String>>) -> Option<Found> {
    let [name, kind, not_null, default] = <[Option<String>; 4]>::try_from(row).ok()?;
    let declared = kind?.to_ascii_lowercase();
    let kind = match Kind::of(declared.split(['(', ' ']).next()?, &declared) {
        // All numbers have double precision.
        Kind::Real(_) => Kind::Real(RealType::DOUBLE),
        kind => kind,
    };
    let nullable = not_null.as_deref() == Some("0");
    let must_be_given = !nullable && default.is_none();
    let characters = declared_length(&declared);
    Some(Found { name: name?, kind, characters, nullable, must_be_given, ..Found::default() })
}

/// Retries while the file is busy: another run that is creating the file locks it in ways that the
/// busy timeout does not cover.
fn patiently<T>(open: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    let started = Instant::now();
    loop {
        match open() {
            Err(Failure::Busy(_)) if started.elapsed() < OPENING => std::thread::sleep(Duration::from_millis(50)),
            opened => return opened,
        }
    }
}

/// Returns the declared length of a VARCHAR. SQLite does not enforce the length; the program does,
/// so that both databases contain the same values.
fn declared_length(kind: &str) -> Option<usize> {
    kind.strip_prefix("varchar(")?.split(')').next()?.parse().ok()
}

fn text(row: &SqliteRow, column: usize) -> Option<String> {
    sqlx::Row::try_get_unchecked(row, column).ok().flatten()
}

/// Returns `None`: values are always bound, since SQLite is not accessed over a network.
fn with_values(_: &str, _: &[Value<'_>]) -> Option<String> {
    None
}

fn is_out_of_statements(_: &sqlx::Error) -> bool {
    false
}

/// Classifies an error by SQLite's extended result codes.
fn failure(error: sqlx::Error) -> Failure {
    let Some(refused) = error.as_database_error() else { return Failure::Lost(error.to_string()) };
    let code: u32 = refused.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    match (code, code & 0xFF) {
        (1555 | 2067, _) => Failure::Duplicate,
        (_, 5 | 6) => Failure::Busy(format!("SQLite code {code}: the index is locked by another program")),
        (_, 18..=20) => Failure::Refused(Refusal { code: "refused-by-index", detail: format!("SQLite code {code}") }),
        (_, 13) => Failure::Lost(format!("its disk is full (SQLite code {code}): make room there")),
        _ => Failure::Lost(format!("SQLite code {code}: {}", refused.message())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patients_are_found_by_the_beginning_of_their_id_without_reading_the_whole_table() {
        let directory = tempfile::tempdir().unwrap();
        let mut database = Sqlite::open(&directory.path().join("index.db")).unwrap();
        for count in [1, 50] {
            let source = (database.dialect().prefix.source)("origid", count);
            let sql = format!("EXPLAIN QUERY PLAN SELECT lastname FROM {source} ORDER BY origid DESC");
            let values = (database.dialect().prefix.values)("T1");
            let values: Vec<Value> = values.iter().map(|text| Value::Text(text)).cycle().take(2 * count).collect();
            let plan = format!("{:?}", database.fetch(&sql.into(), &values).unwrap());
            assert!(plan.contains("SEARCH patient") && !plan.contains("SCAN patient"), "{plan}");
        }
        database.close();
    }
}
