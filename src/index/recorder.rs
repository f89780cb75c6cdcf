//! The write-ahead log interface of the batch writer, from which a killed run resumes. Also returns
//! recorded instances, so that their files need not be read again.

use std::path::Path;
use std::sync::Arc;

use super::outcome::Attempt;
use super::row_history::{IntendedRows, RowHistory};
use super::{Entry, Failure};
use crate::dicom::{Instance, Table};

/// An instance as an earlier run read it from its file.
#[derive(Clone, Debug)]
pub struct RecordedInstance {
    pub instance: Instance,
    /// Whether the instance has all attributes that this version of the program reads. An instance
    /// that another version recorded may lack some.
    pub has_all_attributes: bool,
}

pub trait Recorder: Send + Sync {
    /// Records a batch that this writer is about to commit. Replaces a recorded batch that the
    /// writer has not committed.
    fn record_batch(&self, writer: u32, entries: &[Entry], attempt: &Attempt);

    /// Records the values of rows that this attempt at a transaction is about to commit. The last
    /// attempt is the one that succeeds.
    fn record_rows(&self, writer: u32, attempt: u32, rows: &[IntendedRows]);

    /// Starts writing the records so far to disk, without waiting for completion.
    fn begin_sync(&self);

    /// Writes the records so far to disk and waits for completion. Nothing may be committed before
    /// its record is on disk.
    fn make_durable(&self) -> Result<(), Failure>;

    /// Records that the writer has committed.
    fn record_commit(&self, writer: u32);

    /// Returns the histories of rows of a table from the ledger, in the order of their keys, with
    /// `None` for a row that this program has never inserted.
    fn histories(&self, table: Table, keys: &[&str]) -> Result<Vec<Option<Arc<RowHistory>>>, Failure>;

    /// Loads the records that this run has made of rows, by table and key, so that
    /// [`Recorder::histories`] includes them.
    fn learn_own_rows(&self, rows: &[(Table, &str)]) -> Result<(), Failure>;

    /// Returns the recorded instance of a file, if an earlier run inserted the row of the instance
    /// for this file or pointed a row of its own to it.
    fn indexed_instance(&self, file: &Path, sop_instance_uid: &str) -> Option<RecordedInstance>;

    /// Returns whether an earlier run recorded that the row of an entry's instance points to the
    /// entry's file by this path.
    fn was_named(&self, entry: &Entry, stored: &str) -> bool;

    /// Returns whether earlier runs pointed a row of this program from another file of the instance
    /// to the file of an entry, and not back. False if the file has changed since, or the index has
    /// lost the writes of those runs.
    fn was_pointed(&self, entry: &Entry, other: &Path) -> bool;
}
