//! The index: the four core tables of PacsOne (`patient`, `study`, `series`, `image`) and their companions, on whatever
//! database they are stored.
//!
//! [`Index`] is the interface: [`sql::SqlIndex`] implements it for every SQL database, [`dry_run::DryRun`] for a run that writes
//! nothing. A database is added by implementing [`sql::Database`] in a file of its own and a line in [`location`].
//! [`existing`] decides what may be written of rows that were there before. The rules by which files become rows are in
//! the room `merge`. This room is the only one that uses sqlx. Nothing in it drops, truncates or alters a table; a row is
//! deleted only by [`mend`], row by row and on request, or if this program inserted the row and nothing needs it any more.

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

/// The table of an information level.
pub const fn table(level: Level) -> &'static str {
    match level {
        Level::Patient => "patient",
        Level::Study => "study",
        Level::Series => "series",
        Level::Instance => "image",
    }
}

/// The primary key of a level's table.
pub const fn key(level: Level) -> &'static str {
    match level {
        Level::Patient => "origid",
        _ => "uuid",
    }
}

/// The column that holds the key of the row above.
pub const fn link(table: Table) -> Option<&'static str> {
    match table {
        Table::Study => Some("patientid"),
        Table::Series => Some("studyuid"),
        Table::Image => Some("seriesuid"),
        _ => None,
    }
}

/// Levels in the order of writing: an interrupted run leaves no row without its parent.
pub const LEVELS: [Level; 4] = [Level::Patient, Level::Study, Level::Series, Level::Instance];

/// A row that is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Existing {
    /// As the database spells it.
    pub key: String,
    /// Equal for keys that the database takes for one.
    pub identity: String,
    /// The key of the row above.
    pub link: String,
    /// Of an image, the path that it holds.
    pub path: String,
    /// The derived column of a study or series is NULL: its final values are not written yet.
    #[serde(skip)]
    pub is_unfinished: bool,
    /// What the ledger has of the row, if this program has inserted it in an earlier run.
    #[serde(skip)]
    pub history: Option<Arc<row_history::RowHistory>>,
    /// Last, first and middle name of a patient; `None` if all are NULL.
    pub name: Option<patient_name::Name>,
    /// What stands in the columns that may be filled or refreshed, in the order of [`columns::WrittenTable::fed`], if it
    /// was asked for.
    #[serde(skip)]
    pub shown: Vec<Option<String>>,
}

/// An image, for comparing with what is known of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRow {
    pub sop_instance_uid: String,
    /// The keys of the rows that it is linked to.
    pub series: String,
    pub study: String,
    pub path: String,
    /// Its patient is there as well. A study that waits for the closing step may name one who is not.
    pub has_patient: bool,
    /// Whether the derived column of the series is NULL, and that of the study. A row of this program is unfinished then.
    pub is_series_unfinished: bool,
    pub is_study_unfinished: bool,
}

/// A study, by its link to a patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedStudy {
    /// The Patient ID, as the study spells it.
    pub patient: String,
    pub study: String,
    /// `study.modalities` is NULL.
    pub is_unfinished: bool,
}

/// A column of a row that is to be changed.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    pub column: &'a column::Column,
    pub expected: Expected<'a>,
    pub to: Value<'a>,
}

/// The value that a column must hold to be changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected<'a> {
    /// The text, byte for byte, that a lookup showed. `None` is NULL.
    Shown(Option<&'a str>),
    /// Any value.
    Any,
}

/// An update of one row, in one statement.
#[derive(Clone, Copy)]
pub struct RowUpdate<'a> {
    pub table: Table,
    pub key: &'a str,
    /// The path that an image must hold.
    pub path: Option<&'a str>,
    pub changes: &'a [Change<'a>],
    pub derived: Derived<'a>,
    /// The row is updated only while its derived column is NULL.
    pub only_unfinished: bool,
    /// A patient is updated only while this number of studies links to the row.
    pub studies: Option<usize>,
}

/// The derived column that an update sets beside others: `series.instances` or `study.modalities`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derived<'a> {
    Unchanged,
    /// The number of images of the series.
    Instances,
    Modalities(&'a str),
}

/// What an index can do. One connection, used by one thread.
pub trait Index {
    /// The columns that exist and are written.
    fn tables(&self) -> Arc<Tables>;

    /// Sizes of inserts that cost no preparation, largest first; the last is 1.
    fn insert_sizes(&self) -> &'static [usize];

    /// Whether rows may be inserted and changed, asked without touching one.
    fn probe(&mut self, level: Level) -> Result<(), Failure>;

    fn is_empty(&mut self, level: Level) -> Result<bool, Failure>;

    /// The images and their keys take more room than the memory that the server keeps tables in.
    fn outgrows_memory(&mut self) -> Result<bool, Failure> {
        Ok(false)
    }

    /// The most bytes of values that one statement may carry.
    fn statement_bytes(&self) -> usize;

    /// For each Patient ID a text that is equal for those that the database takes for one.
    fn identities(&mut self, patient_ids: &[&str]) -> Result<Vec<String>, Failure>;

    /// The rows of these keys that exist, as the database compares keys.
    fn find(&mut self, table: Table, keys: &[&str], look: Look) -> Result<Vec<Existing>, Failure>;

    /// Images whose series and study are there, behind a UID, in the order of the database; none at the end.
    fn rows_after(&mut self, sop_instance_uid: &str) -> Result<Vec<ImageRow>, Failure>;

    /// The texts of the rows that a statement finds.
    fn ask(&mut self, sql: &str, values: &[&str]) -> Result<Vec<Vec<Option<String>>>, Failure>;

    /// Runs a statement, and returns how many rows it changed.
    fn execute(&mut self, sql: &str, values: &[Option<&str>]) -> Result<u64, Failure>;

    /// The names of the tables that the database has, as far as the user may see them.
    fn table_names(&mut self) -> Result<Vec<String>, Failure>;

    /// The columns of a table that can be written, and how their values are saved as texts.
    fn stored_columns(&mut self, table: &str) -> Result<Vec<StoredColumn>, Failure>;

    /// The names of these columns, in their order.
    fn column_names(&mut self, table: &str) -> Result<Vec<String>, Failure> {
        Ok(self.stored_columns(table)?.into_iter().map(|column| column.name).collect())
    }

    /// A condition that is true while a column holds the text, byte for byte, that follows in the statement, or NULL.
    fn holds(&self, column: &str) -> String;

    /// A condition that is true while an expression is the text, byte for byte, that follows in the statement, or NULL.
    fn shows(&self, expression: &str) -> String;

    /// An expression as bytes, which compare alike in all collations.
    fn as_bytes(&self, expression: &str) -> String;

    /// The type by which a statement shows any value as text.
    fn text_type(&self) -> &'static str;

    /// The patients whose ID is one of these with a suffix in brackets.
    fn variants(&mut self, patient_ids: &[&str]) -> Result<Vec<Existing>, Failure>;

    /// A page of the patients whose ID is this one with a suffix in brackets, in the order of the database: those behind an ID, or
    /// the first ones if that is empty.
    fn variants_after(&mut self, patient_id: &str, after: &str) -> Result<Vec<Existing>, Failure>;

    /// The studies that are linked to these patients.
    fn studies_of(&mut self, patient_ids: &[&str], view: View) -> Result<Vec<LinkedStudy>, Failure>;

    /// Those of these studies that the PACS, or a person through it, has edited or is about to; or those of these
    /// patients that have such a study.
    fn edited(&mut self, level: Level, keys: &[&str]) -> Result<Vec<String>, Failure>;

    /// Inserts rows, all or none; where tables know no transactions, some may stay behind. `values` are those of
    /// [`columns::WrittenTable::columns`], row by row.
    fn insert(&mut self, table: Table, rows: usize, values: &[Value<'_>]) -> Result<(), Failure>;

    /// Updates a row while all columns that change hold the expected values, and an image its path. Returns whether there was
    /// such a row.
    fn update(&mut self, update: &RowUpdate<'_>) -> Result<bool, Failure>;

    fn begin(&mut self) -> Result<(), Failure>;
    fn commit(&mut self) -> Result<(), Failure>;
    fn roll_back(&mut self) -> Result<(), Failure>;

    /// The rows, by their keys, that inserts were sent for since this was asked last, as far as they were not refused.
    fn take_tried(&mut self) -> Vec<(Table, Box<str>)> {
        Vec::new()
    }

    /// A new connection in place of one that was lost. What it had not committed is gone.
    fn reconnect(&mut self, allow_replica: bool) -> Result<(), Failure>;

    /// The modalities of the series of these studies, as pairs of study and modality.
    fn modalities(&mut self, studies: &[&str], which: Derive) -> Result<Vec<(String, String)>, Failure>;

    /// Sets the modalities of all these studies.
    fn set_modalities(&mut self, studies: &[&str], modalities: &str) -> Result<(), Failure>;

    /// Counts the instances of these series.
    fn count_instances(&mut self, series: &[&str], which: Derive) -> Result<(), Failure>;

    /// What a dry run would have changed of rows that were there, column by column.
    fn changes(&self) -> Vec<(String, dry_run::Changed)> {
        Vec::new()
    }

    /// Ends the connection in order: an SQLite index is then one file.
    fn close(self: Box<Self>);
}

/// The rows among those named whose derived column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Derive {
    All,
    /// Rows without a value. A value that another program wrote stays.
    WhereNull,
    /// Rows with a value. Rows without one are unfinished, or belong to a PACS that leaves the column NULL.
    WhereSet,
}

/// How a row is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    pub view: View,
    pub show: Show,
}

/// What a lookup sees of rows that others write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// What is committed, or was when the transaction began to read.
    Begun,
    /// What is committed now: the row that an insert ran into.
    Now,
}

/// What a lookup shows of the columns that may be filled or refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Show {
    Nothing,
    /// An empty text for what is not NULL.
    Nulls,
    Values,
}

/// Why the database did not do what it was told.
#[derive(Debug)]
pub enum Failure {
    /// A key is there already.
    Duplicate,
    /// A row that the database will not hold, whatever else is tried.
    Refused(Refusal),
    /// A deadlock or a lock held too long: to be tried again.
    Busy(String),
    /// The connection is gone, or the server is going down or full: it may be back soon.
    Unreachable(String),
    /// The server has rolled back the transaction, as it answered to a commit, and cannot take another one now.
    RolledBack(String),
    /// The run was told to end while it waited for the database.
    Interrupted,
    /// The user of the index may not run the statement.
    Denied(MissingRight),
    /// The journal cannot record the transaction, which is rolled back.
    Unrecorded(String),
    /// Anything else: a table, the disk.
    Lost(String),
}

/// Why a row cannot be held. Names columns and error numbers, never values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    pub detail: String,
}

impl Failure {
    /// The failure of a run whose temporary files cannot be read or written.
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
