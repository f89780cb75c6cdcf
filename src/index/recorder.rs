//! Who writes down what a batch does, so that a run that was killed can be continued as if it had not been, and what is
//! written down of a file, so that it need not be read again.

use std::path::Path;
use std::sync::Arc;

use super::outcome::Attempt;
use super::row_history::{IntendedRows, RowHistory};
use super::{Entry, Failure};
use crate::dicom::{Instance, Table};

/// An instance as an earlier run read it.
#[derive(Clone, Debug)]
pub struct RecordedInstance {
    pub instance: Instance,
    /// Whether the instance has all attributes that this version of the program knows. One that another version has read
    /// may lack some.
    pub has_all_attributes: bool,
}

pub trait Recorder: Send + Sync {
    /// Records a batch that this writer is about to commit, in place of one that the writer has recorded and not committed.
    fn record_batch(&self, writer: u32, entries: &[Entry], attempt: &Attempt);

    /// Records the values of rows that this attempt at a transaction is about to commit. The last attempt is the one that
    /// succeeds.
    fn record_rows(&self, writer: u32, attempt: u32, rows: &[IntendedRows]);

    /// Begins to write to disk what was recorded so far, and does not wait for it.
    fn begin_sync(&self);

    /// Writes what was recorded so far to disk. Nothing may be committed that is not recorded there.
    fn make_durable(&self) -> Result<(), Failure>;

    /// Records that the writer has committed.
    fn record_commit(&self, writer: u32);

    /// What the ledger has of rows of a table, in the order of their keys. `None` for a row that this program has never
    /// inserted.
    fn histories(&self, table: Table, keys: &[&str]) -> Result<Vec<Option<Arc<RowHistory>>>, Failure>;

    /// Learns what this run has recorded of rows, by table and key, so that [`Recorder::histories`] contains it.
    fn learn_own_rows(&self, rows: &[(Table, &str)]) -> Result<(), Failure>;

    /// The instance in a file for which an earlier run inserted the row of the instance, or to which that run pointed a row
    /// of its own.
    fn indexed_instance(&self, file: &Path, sop_instance_uid: &str) -> Option<RecordedInstance>;

    /// Whether an earlier run recorded that the row of an entry's instance names the file of the entry by this path.
    fn was_named(&self, entry: &Entry, stored: &str) -> bool;

    /// Whether earlier runs pointed a row of this program from another file of the instance to the file of an entry, and not
    /// back. The file has not changed since, and the index has not lost what those runs wrote.
    fn was_pointed(&self, entry: &Entry, other: &Path) -> bool;
}
