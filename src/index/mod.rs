//! The index: the four core tables of PacsOne (`patient`, `study`, `series`, `image`), on whatever database they lie.
//!
//! [`Index`] is the seam: [`sql::SqlIndex`] stands behind it for every SQL database, [`dry_run::DryRun`] for a run
//! that writes nothing. A database is added by implementing [`sql::Database`] in a file of its own and a line in
//! [`location`]. [`batch`] says how a batch of entries gets into an index, and [`close`] what is derived at the end. The
//! only door to sqlx. Nothing in this room drops, truncates or alters a table, or deletes a row.

mod ask;
pub mod batch;
pub mod close;
pub mod columns;
mod connection;
pub mod dry_run;
pub mod entry;
pub mod init;
pub mod location;
mod missing;
mod mysql;
pub mod pacsone;
pub mod purge;
pub mod replica;
pub mod server;
pub mod sql;
mod sqlite;

use std::fmt;

pub use columns::Tables;
pub use entry::Entry;
pub use location::Location;

use crate::dicom::Level;
pub use crate::dicom::instance::Value;

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

/// Levels in the order of writing: an interrupted run leaves no row without its parent.
pub const LEVELS: [Level; 4] = [Level::Patient, Level::Study, Level::Series, Level::Instance];

/// A row that is there already.
#[derive(Debug, PartialEq, Eq)]
pub struct Existing {
    pub key: String,
    /// Of an image, the path that it holds.
    pub path: Option<String>,
}

/// What an index can do. One connection, used by one thread.
pub trait Index {
    /// The columns that exist and are written.
    fn tables(&self) -> &Tables;

    /// Sizes of inserts that cost no preparation, largest first; the last is 1.
    fn insert_sizes(&self) -> &'static [usize];

    fn is_empty(&mut self, level: Level) -> Result<bool, Failure>;

    /// The most bytes of values that one statement may carry.
    fn statement_bytes(&self) -> usize;

    /// The rows of these keys that exist, as the database compares keys.
    fn find(&mut self, level: Level, keys: &[&str], view: View) -> Result<Vec<Existing>, Failure>;

    /// Inserts these rows, all or none; where tables know no transactions, some may stay behind.
    fn insert(&mut self, level: Level, entries: &[&Entry]) -> Result<(), Failure>;

    fn begin(&mut self) -> Result<(), Failure>;
    fn commit(&mut self) -> Result<(), Failure>;
    fn roll_back(&mut self) -> Result<(), Failure>;

    /// The modalities of the series of these studies, as pairs of study and modality.
    fn modalities(&mut self, studies: &[&str], which: Derive) -> Result<Vec<(String, String)>, Failure>;

    fn set_modalities(&mut self, study: &str, modalities: &str) -> Result<(), Failure>;

    /// Moves the received time of a study to a later one, never to an earlier.
    fn set_received(&mut self, study: &str, received: &str) -> Result<(), Failure>;

    /// Counts the instances of these series.
    fn count_instances(&mut self, series: &[&str], which: Derive) -> Result<(), Failure>;

    /// Sets the derived value of these studies or series to NULL.
    fn take_back(&mut self, level: Level, keys: &[&str]) -> Result<(), Failure>;

    /// Ends the connection in order: an SQLite index is then one file.
    fn close(self: Box<Self>);
}

/// For which of the rows that are named something is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Derive {
    All,
    /// Those that have no value: what others wrote stays.
    WhereNull,
}

/// What a lookup sees of rows that others write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// What was committed when the transaction began to read.
    Begun,
    /// What is committed now: the row that an insert ran into.
    Now,
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
    /// Anything else: the connection, the disk, a privilege.
    Lost(String),
}

/// Why a row cannot be held. Names columns and error numbers, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Duplicate => write!(f, "a key is there already"),
            Failure::Refused(refusal) => write!(f, "{}", refusal.detail),
            Failure::Busy(what) | Failure::Lost(what) => write!(f, "{what}"),
        }
    }
}
