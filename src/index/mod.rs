//! The index: the four core tables of PacsOne (`patient`, `study`, `series`, `image`) and their
//! companion tables, in any supported database.
//!
//! [`Index`] is the interface. [`sql::SqlIndex`] implements it for every SQL database, and
//! [`dry_run::DryRun`] for a run that writes nothing. To add a database, implement
//! [`sql::Database`] in a new file and add a line to [`location`]. [`existing`] decides what a run
//! may change in rows that existed before. The rules by which files become rows are in the module
//! `merge`. This module is the only one that uses sqlx. Nothing in it drops, truncates or alters a
//! table. A row is deleted only by [`mend`], row by row and on request, or if this program inserted
//! the row and nothing needs it any more.

pub mod ask;
pub mod column;
pub mod columns;
pub mod companion_changes;
mod companions;
mod connect;
mod connect_error;
mod connection;
pub mod dry_run;
pub mod entry;
pub mod existing;
pub mod fitting;
pub mod galera;
pub mod hashes;
pub mod identity;
pub mod init;
pub mod inspect;
pub mod literal;
pub mod location;
pub mod members;
pub mod mend;
pub mod missing;
mod missing_right;
mod mysql;
mod mysql_error;
mod mysql_url;
pub mod outcome;
pub mod pacsone;
pub mod path_sample;
pub mod patience;
pub mod patient_name;
pub mod purge;
mod real_type;
pub mod recorder;
mod repertoire;
pub mod replica;
pub mod row_history;
mod run_lock;
pub mod server;
mod session;
#[cfg(unix)]
mod socket_login;
pub mod sql;
mod sqlite;
mod statements;
pub mod stored_column;
pub mod tls;
pub mod undo;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use columns::Tables;
pub use entry::Entry;
pub use location::Location;
pub use missing_right::MissingRight;
pub use run_lock::RunLock;
use stored_column::StoredColumn;

pub use crate::dicom::instance::Value;
use crate::dicom::{Level, Table};

/// Returns the table of an information level.
pub const fn table(level: Level) -> &'static str {
    match level {
        Level::Patient => "patient",
        Level::Study => "study",
        Level::Series => "series",
        Level::Instance => "image",
    }
}

/// Returns the primary key column of a level's table.
pub const fn key(level: Level) -> &'static str {
    match level {
        Level::Patient => "origid",
        _ => "uuid",
    }
}

/// Returns the column that contains the key of the parent row.
pub const fn link(table: Table) -> Option<&'static str> {
    match table {
        Table::Study => Some("patientid"),
        Table::Series => Some("studyuid"),
        Table::Image => Some("seriesuid"),
        _ => None,
    }
}

/// The levels in the order in which rows are written, so that an interrupted run leaves no row
/// without its parent.
pub const LEVELS: [Level; 4] = [Level::Patient, Level::Study, Level::Series, Level::Instance];

/// A row that exists in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Existing {
    /// The key as stored in the database.
    pub key: String,
    /// The collation key. Equal for keys that the database considers equal.
    pub identity: String,
    /// The key of the parent row.
    pub link: String,
    /// The path in an image row.
    pub path: String,
    /// Whether the derived column of a study or series is NULL because its final value is not
    /// written yet.
    #[serde(skip)]
    pub is_unfinished: bool,
    /// The row's history in the ledger, if an earlier run of this program inserted the row.
    #[serde(skip)]
    pub history: Option<Arc<row_history::RowHistory>>,
    /// The last, first and middle name of a patient, or `None` if all are NULL.
    pub name: Option<patient_name::Name>,
    /// The values of the columns that may be filled or refreshed, in the order of
    /// [`columns::WrittenTable::fed`]. Empty unless the lookup requested them.
    #[serde(skip)]
    pub shown: Vec<Option<String>>,
}

/// An image row with its links, to compare with the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRow {
    pub sop_instance_uid: String,
    /// The key of the series row to which the image is linked.
    pub series: String,
    pub study: String,
    pub path: String,
    /// Whether the patient row exists. A study that waits for the closing step may refer to a
    /// patient row that does not exist.
    pub has_patient: bool,
    /// Whether the derived column of the series is NULL, which marks a row of this program as
    /// unfinished. `is_study_unfinished` is the same for the study.
    pub is_series_unfinished: bool,
    pub is_study_unfinished: bool,
}

/// A study and its link to a patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedStudy {
    /// The Patient ID as stored in the study row.
    pub patient: String,
    pub study: String,
    /// Whether `study.modalities` is NULL.
    pub is_unfinished: bool,
}

/// A change to one column of a row.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    pub column: &'a column::Column,
    pub expected: Expected<'a>,
    pub to: Value<'a>,
}

/// The value that a column must have for the change to be applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected<'a> {
    /// The text that a lookup returned, compared byte for byte. `None` is NULL.
    Shown(Option<&'a str>),
    /// Any value.
    Any,
}

/// An update of one row in one statement.
#[derive(Clone, Copy)]
pub struct RowUpdate<'a> {
    pub table: Table,
    pub key: &'a str,
    /// The path that an image row must have.
    pub path: Option<&'a str>,
    pub changes: &'a [Change<'a>],
    pub derived: Derived<'a>,
    /// Whether to update the row only while its derived column is NULL.
    pub only_unfinished: bool,
    /// The number of linked studies that a patient row must have for the update. `None` does not
    /// check.
    pub studies: Option<usize>,
}

/// The derived column that an update sets along with other columns: `series.instances` or
/// `study.modalities`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derived<'a> {
    Unchanged,
    /// Sets `series.instances` to the number of images of the series.
    Instances,
    Modalities(&'a str),
}

/// The operations of an index. An implementation wraps one connection, which one thread uses.
pub trait Index {
    /// Returns the columns that exist and are written.
    fn tables(&self) -> Arc<Tables>;

    /// Returns the numbers of rows per insert whose statements are prepared once, largest first.
    /// The last is 1.
    fn insert_sizes(&self) -> &'static [usize];

    /// Checks that rows may be inserted and changed, with statements that affect no row.
    fn probe(&mut self, level: Level) -> Result<(), Failure>;

    fn is_empty(&mut self, level: Level) -> Result<bool, Failure>;

    /// Returns whether the image table and its indexes are larger than the memory in which the
    /// server caches tables.
    fn outgrows_memory(&mut self) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Returns the maximum total size of the values in one statement, in bytes.
    fn statement_bytes(&self) -> usize;

    /// Returns the collation key of each Patient ID: IDs that the database considers equal have
    /// equal keys.
    fn identities(&mut self, patient_ids: &[&str]) -> Result<Vec<String>, Failure>;

    /// Returns the existing rows with these keys, as the database compares keys.
    fn find(&mut self, table: Table, keys: &[&str], look: Look) -> Result<Vec<Existing>, Failure>;

    /// Returns the next page of images after a UID, in the key order of the database. Only images
    /// whose series and study exist are returned. An empty page is the last.
    fn rows_after(&mut self, sop_instance_uid: &str) -> Result<Vec<ImageRow>, Failure>;

    /// Returns the rows that a query finds, each value as text.
    fn ask(&mut self, sql: &str, values: &[&str]) -> Result<Vec<Vec<Option<String>>>, Failure>;

    /// Runs a statement. Returns the number of rows that it changed.
    fn execute(&mut self, sql: &str, values: &[Option<&str>]) -> Result<u64, Failure>;

    /// Returns the names of the tables in the database that the user may see.
    fn table_names(&mut self) -> Result<Vec<String>, Failure>;

    /// Returns the columns of a table that can be written, with the expressions that save their
    /// values as text.
    fn stored_columns(&mut self, table: &str) -> Result<Vec<StoredColumn>, Failure>;

    /// Returns the names of the stored columns, in table order.
    fn column_names(&mut self, table: &str) -> Result<Vec<String>, Failure> {
        Ok(self.stored_columns(table)?.into_iter().map(|column| column.name).collect())
    }

    /// Returns a condition that is true while a column has the text (compared byte for byte) or the
    /// NULL that is bound next in the statement.
    fn holds(&self, column: &str) -> String;

    /// Returns a condition that is true while an expression has the text (compared byte for byte)
    /// or the NULL that is bound next in the statement.
    fn shows(&self, expression: &str) -> String;

    /// Returns the expression cast to bytes, which compare alike in all collations.
    fn as_bytes(&self, expression: &str) -> String;

    /// Returns the type to which a statement casts a value to show it as text.
    fn text_type(&self) -> &'static str;

    /// Returns the patients whose ID is one of these IDs followed by a suffix in brackets.
    fn variants(&mut self, patient_ids: &[&str]) -> Result<Vec<Existing>, Failure>;

    /// Returns a page of the patients whose ID is this ID followed by a suffix in brackets, in the
    /// order of the database. The page begins after the ID `after`, or at the first such patient if
    /// `after` is empty.
    fn variants_after(&mut self, patient_id: &str, after: &str) -> Result<Vec<Existing>, Failure>;

    /// Returns the studies that are linked to these patients.
    fn studies_of(&mut self, patient_ids: &[&str], view: View) -> Result<Vec<LinkedStudy>, Failure>;

    /// Returns the keys among these whose study the PACS, or one of its users, has edited or is
    /// about to edit. At patient level, returns the patients that have such a study.
    fn edited(&mut self, level: Level, keys: &[&str]) -> Result<Vec<String>, Failure>;

    /// Inserts rows, all or none. In tables without transactions, a failed statement may leave some
    /// of them behind. `values` are the values of [`columns::WrittenTable::columns`], row by row.
    fn insert(&mut self, table: Table, rows: usize, values: &[Value<'_>]) -> Result<(), Failure>;

    /// Updates a row if all columns to change have the expected values and, for an image, the path
    /// matches. Returns whether such a row exists.
    fn update(&mut self, update: &RowUpdate<'_>) -> Result<bool, Failure>;

    fn begin(&mut self) -> Result<(), Failure>;
    fn commit(&mut self) -> Result<(), Failure>;
    fn roll_back(&mut self) -> Result<(), Failure>;

    /// Returns and clears the keys of the rows for which inserts were sent and not rejected since
    /// the last call.
    fn take_tried(&mut self) -> Vec<(Table, Box<str>)> {
        Vec::new()
    }

    /// Replaces a lost connection with a new one. Uncommitted changes of the lost connection are
    /// gone.
    fn reconnect(&mut self, allow_replica: bool) -> Result<(), Failure>;

    /// Returns the modalities of the series of these studies, as pairs of study and modality.
    fn modalities(&mut self, studies: &[&str], which: Derive) -> Result<Vec<(String, String)>, Failure>;

    /// Sets the same modalities in all these studies.
    fn set_modalities(&mut self, studies: &[&str], modalities: &str) -> Result<(), Failure>;

    /// Sets `series.instances` of these series to the number of their images.
    fn count_instances(&mut self, series: &[&str], which: Derive) -> Result<(), Failure>;

    /// Returns the changes that a dry run would have made to existing rows, by column.
    fn changes(&self) -> Vec<(String, dry_run::Changed)> {
        Vec::new()
    }

    /// Closes the connection in an orderly way, so that an SQLite index is a single file
    /// afterwards.
    fn close(self: Box<Self>);
}

/// Selects, among the given rows, those whose derived column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Derive {
    All,
    /// Rows without a value, so that a value of another program is kept.
    WhereNull,
    /// Rows with a value. Rows without one are unfinished, or belong to a PACS that leaves the
    /// column NULL.
    WhereSet,
}

/// Options of a row lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    pub view: View,
    pub show: Show,
}

/// The visibility of rows that other programs write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// Rows that are committed, possibly as of the first read of the transaction.
    Begun,
    /// Rows that are committed now, including the row with which an insert collided.
    Now,
}

/// The detail in which a lookup returns the columns that may be filled or refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Show {
    Nothing,
    /// An empty text for each value that is not NULL.
    Nulls,
    Values,
}

/// The reason why a database operation failed.
#[derive(Debug)]
pub enum Failure {
    /// A row with the key exists.
    Duplicate,
    /// The database rejects the row, and a retry cannot help.
    Refused(Refusal),
    /// A deadlock or a lock timeout. The caller retries.
    Busy(String),
    /// The connection is lost, or the server is shutting down or full. The server may be back soon.
    Unreachable(String),
    /// The server rolled back the transaction in response to a commit, and cannot accept another
    /// one now.
    RolledBack(String),
    /// The run was interrupted while it waited for the database.
    Interrupted,
    /// The user of the index lacks the privilege for the statement.
    Denied(MissingRight),
    /// The journal cannot record the transaction, which is therefore rolled back.
    Unrecorded(String),
    /// Any other failure, for example of a table or a disk.
    Lost(String),
}

/// The reason why the database rejects a row. Contains column names and error numbers, never
/// values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    pub detail: String,
}

impl Failure {
    /// Creates the failure of a run that cannot read or write its temporary files.
    pub fn of_temporary_file(error: std::io::Error) -> Self {
        Failure::Lost(format!("a temporary file cannot be used: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Duplicate => write!(f, "a key is there already"),
            Failure::Refused(refusal) => write!(f, "{}", refusal.detail),
            Failure::Busy(what)
            | Failure::Unreachable(what)
            | Failure::RolledBack(what)
            | Failure::Unrecorded(what)
            | Failure::Lost(what) => write!(f, "{what}"),
            Failure::Denied(right) => write!(f, "{right}: {}", right.grant()),
            Failure::Interrupted => write!(f, "interrupted"),
        }
    }
}
