//! The index on MySQL or MariaDB, over one connection with its own async runtime.

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlRow};

use super::ask::{self, Answer, text};
use super::column::{Found, Kind};
use super::columns::Engine;
use super::connect::Login;
use super::connect_error::ConnectError;
use super::connection::{connection, within};
use super::members::EnumMembers;
use super::mysql_error::{failure, is_out_of_statements};
use super::repertoire::Repertoire;
use super::sql::{Database, Keep};
use super::statements::{self, Dialect, Prefix};
use super::stored_column::StoredColumn;
use super::{Failure, Value, literal};

const CONNECTING: Duration = Duration::from_secs(10);

/// Longer than any statement takes: the default lock wait timeout is 50 seconds, and the largest
/// statements read or write the rows of 500 keys.
const LONGEST_ANSWER: Duration = Duration::from_secs(300);

/// Rows per insert, largest first. A statement can bind up to 65,535 values. Larger inserts of
/// images cost more per row, because the server scans megabytes of parameters and describes each
/// parameter when it prepares the statement.
const INSERT_SIZES: &[usize] = &[100, 20, 4, 1];

/// Sets the isolation level of the session. On a small table, the server reads all rows for a list
/// of keys. Under its default, REPEATABLE READ, it would also lock the gaps between them, and the
/// PACS, which inserts there, would run into deadlocks.
const LOCK_ROWS_ONLY: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// Sets the isolation level on a server with a statement-based binary log, explicitly because the
/// server may have another default.
const DEFAULT_ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";

/// Reads the binary log format. READ COMMITTED does not work with a statement-based log: error
/// 1665.
const LOGS: &str = "SELECT CASE WHEN @@log_bin = 0 THEN 'OFF' ELSE CAST(@@binlog_format AS CHAR) END";

const SEE_OTHER_NODES: &str = "SET SESSION wsrep_sync_wait = 1";

const BEGIN: &str = "START TRANSACTION";

const COLUMNS: &str = "SELECT CAST(COLUMN_NAME AS CHAR), LOWER(CAST(DATA_TYPE AS CHAR)), LOWER(CAST(EXTRA AS CHAR)) \
                       FROM information_schema.COLUMNS \
                       WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";

const TABLES: &str = "SELECT CAST(TABLE_NAME AS CHAR) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";

/// Columns that are by themselves a primary or unique key, over their whole length.
const KEYS: &str = "SELECT CAST(MAX(COLUMN_NAME) AS CHAR) FROM information_schema.STATISTICS \
                    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND NON_UNIQUE = 0 \
                    GROUP BY INDEX_NAME HAVING COUNT(*) = 1 AND MAX(SUB_PART) IS NULL";

/// Since 8.0, MySQL answers from statistics that may be a day old unless the hint is given. Other
/// servers treat the hint as a comment.
const OUTGROWS_MEMORY: &str = "SELECT /*+ SET_VAR(information_schema_stats_expiry = 0) */ CAST( \
                               DATA_LENGTH + INDEX_LENGTH > @@GLOBAL.innodb_buffer_pool_size AS CHAR) \
                               FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'image' \
                               AND ENGINE = 'InnoDB'";

fn dialect() -> Dialect {
    Dialect {
        // A plain SELECT in InnoDB may read the snapshot of the transaction's first read.
        latest: " LOCK IN SHARE MODE",
        has_privileges: true,
        outgrows_memory: Some(OUTGROWS_MEMORY),
        join: "STRAIGHT_JOIN",
        equal: "<=>",
        text: "CHAR",
        bytes: "BINARY",
        // A single-precision number that is cast to text has only six digits.
        all_digits: |column| format!("{column} + 0e0"),
        concatenate: |parts| format!("CONCAT({})", parts.join(",")),
        prefix: Prefix {
            source: |column, count| {
                let begins = vec![format!("`{column}` LIKE ? ESCAPE '|'"); count].join(" OR ");
                format!("`patient` WHERE {begins}")
            },
            values: |id| vec![statements::escape_like(id) + "[%"],
            page: |column| format!("`patient` WHERE `{column}` LIKE ? ESCAPE '|' AND `{column}` > ?"),
            page_values: |id, after| [statements::escape_like(id) + "[%", after.to_owned()],
        },
        // Sort keys are equal if the collation considers the texts equal.
        identity: |text| format!("HEX(WEIGHT_STRING(RTRIM({text})))"),
        identity_of_value: "HEX(WEIGHT_STRING(RTRIM(?)))".into(),
    }
}

/// The default packet size, in bytes, of servers before 2013 (MySQL manual, max_allowed_packet).
const SMALLEST_PACKET: usize = 1 << 20;

connection!(MySql, MySqlConnection, MySqlArguments, MySqlRow);

impl MySql {
    pub fn connect(login: &Login) -> Result<Self, ConnectError> {
        let mut database = Self::connected(login.open())?;
        let logs = database.fetch(&LOGS.into(), &[]).unwrap_or_default();
        let logs = logs.first().and_then(|row| row.first()?.as_deref());
        let is_row_based = logs.is_some_and(|logs| !logs.eq_ignore_ascii_case("STATEMENT"));
        database.run(if is_row_based { LOCK_ROWS_ONLY } else { DEFAULT_ISOLATION })?;
        // A statement larger than a packet ends the connection. Limit the values to half a packet.
        let packet = database.fetch(&"SELECT CAST(@@max_allowed_packet AS CHAR)".into(), &[])?;
        let packet = packet.first().and_then(|row| row.first()?.as_ref()?.parse::<usize>().ok());
        database.statement_bytes = packet.unwrap_or(SMALLEST_PACKET) / 2;
        // A commit on one node of a cluster may become visible on another node later. Servers
        // without Galera lack the variable, or ignore it.
        database.ask(SEE_OTHER_NODES)?;
        database.learn_collation()?;
        Ok(database)
    }

    /// Looks up the collation by which the database compares Patient IDs.
    fn learn_collation(&mut self) -> Result<(), Failure> {
        let sql = "SELECT CAST(CHARACTER_SET_NAME AS CHAR), CAST(COLLATION_NAME AS CHAR) \
                   FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'patient' \
                   AND COLUMN_NAME = 'origid'";
        let mut row = self.fetch(&sql.into(), &[])?.pop().unwrap_or_default().into_iter();
        let value = match (row.next().flatten(), row.next().flatten()) {
            (Some(set), Some(collation)) => format!("CONVERT(? USING {set}) COLLATE {collation}"),
            // A column without a character set is compared byte by byte.
            _ => "CAST(? AS BINARY)".into(),
        };
        self.dialect.identity_of_value = (self.dialect.identity)(&value);
        Ok(())
    }

    /// Returns the columns of a table. The result is read by position, because the names of the
    /// catalogue's own columns differ in case between servers.
    pub fn columns(&mut self, table: &str) -> Result<Vec<Found>, Failure> {
        let shown = [
            "COLUMN_NAME",
            "DATA_TYPE",
            "COLUMN_TYPE",
            "CHARACTER_MAXIMUM_LENGTH",
            "CHARACTER_OCTET_LENGTH",
            "CHARACTER_SET_NAME",
            "IS_NULLABLE",
            "COLUMN_DEFAULT",
            "EXTRA",
            "PRIVILEGES",
            "COLLATION_NAME",
        ]
        .map(|name| format!("CAST({name} AS CHAR)"));
        let sql = format!(
            "SELECT {} FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? \
             ORDER BY ORDINAL_POSITION",
            shown.join(", ")
        );
        let rows = self.fetch(&sql.into(), &[Value::Text(table)])?;
        let unique: Vec<String> =
            self.fetch(&KEYS.into(), &[Value::Text(table)])?.into_iter().flatten().flatten().collect();
        let is_unique = |found: &Found| unique.contains(&found.name);
        Ok(rows.into_iter().filter_map(found).map(|found| Found { is_unique: is_unique(&found), ..found }).collect())
    }

    pub fn engine(&mut self) -> Result<Engine, Failure> {
        let names = self.table_names()?;
        let has = |name: &str| names.iter().any(|there| there.eq_ignore_ascii_case(name));
        Ok(Engine {
            is_transactional: self.is_transactional()?,
            is_of_a_pacs: has("config") || has("applentity") || has("dbjob"),
            has_jobs: has("dbjob"),
            has_worklist: has("matchworklist"),
        })
    }

    /// Returns whether all written tables support transactions. MyISAM, the default engine of old
    /// servers, does not.
    fn is_transactional(&mut self) -> Result<bool, Failure> {
        let sql = "SELECT CAST(ENGINE AS CHAR) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
                   AND TABLE_NAME IN ('patient', 'study', 'series', 'image')";
        let engines = self.fetch(&sql.into(), &[])?;
        Ok(engines.iter().flatten().flatten().all(|engine| engine.eq_ignore_ascii_case("InnoDB")))
    }

    /// Returns the account as GRANT names it, for example `'pacs'@'%'`.
    pub fn account(&mut self) -> Option<String> {
        let rows = self.fetch(&"SELECT CAST(CURRENT_USER() AS CHAR)".into(), &[]).ok()?;
        let account = rows.into_iter().flatten().flatten().next()?;
        let (user, host) = account.rsplit_once('@')?;
        Some(format!("'{user}'@'{host}'"))
    }

    /// Queries the server about itself.
    pub fn ask(&mut self, sql: &str) -> Result<Answer, Failure> {
        within(LONGEST_ANSWER, &self.runtime, ask::ask(&mut self.connection, sql))?
    }
}

fn with_values(sql: &str, values: &[Value<'_>]) -> Option<String> {
    literal::with_values(sql, values)
}

/// Parses the catalogue's description of a column. Returns `None` for a generated column.
fn found(row: Vec<Option<String>>) -> Option<Found> {
    let [name, kind, whole, characters, bytes, set, nullable, default, extra, privileges, collation] =
        <[Option<String>; 11]>::try_from(row).ok()?;
    let lower = |text: Option<String>| text.unwrap_or_default().to_ascii_lowercase();
    let (kind, extra, privileges) = (lower(kind), lower(extra), lower(privileges));
    let may = |what: &str| privileges.split(',').any(|privilege| privilege == what);
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
    // The TEXT types are limited in bytes only.
    let (characters, bytes) = if kind.ends_with("text") { (None, number(bytes)) } else { (number(characters), None) };
    let nullable = nullable.as_deref() != Some("NO");
    let is = |marks: &[&str]| marks.iter().any(|mark| extra.contains(mark));
    // A generated column cannot be written. `default_generated` only marks a default.
    if is(&["generated", "virtual", "persistent"]) && !extra.contains("default_generated") {
        return None;
    }
    let is_made_by_server = is(&["auto_increment"]);
    let whole = whole.unwrap_or_default();
    let members = EnumMembers::of(&whole, collation.as_deref().unwrap_or("binary")).map(Arc::new);
    let collation = set.clone().zip(collation);
    Some(Found {
        name: name?,
        kind: Kind::of(&kind, &whole.to_ascii_lowercase()),
        characters,
        bytes,
        members,
        collation,
        repertoire: set.map_or(Repertoire::Full, |set| Repertoire::of(&set)),
        nullable,
        must_be_given: !nullable && default.is_none() && !is_made_by_server,
        on_update: extra.contains("on update"),
        is_unique: false,
        is_read_only: may("select") && !(may("insert") && may("update")),
    })
}
