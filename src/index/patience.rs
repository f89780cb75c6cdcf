//! Recovery from database outages. While a server restarts, fails over or cuts connections, a run
//! waits, and then repeats the uncommitted work on a new connection.
//!
//! If the connection drops during a commit, the commit either succeeded or failed as a whole. If
//! the rows that the transaction inserted exist, the commit succeeded, and the results of the
//! attempt are valid. In tables without transactions, existing rows for which an insert was sent
//! count as inserted by this run.

use std::sync::Arc;
use std::time::Duration;

use crate::dicom::Table;

/// The time that a writer waits for its database, and the observer of outages.
#[derive(Clone)]
pub struct Patience {
    /// The longest outage to wait for. Zero disables waiting.
    pub limit: Duration,
    /// Whether the server may be a replica after a reconnect.
    pub allow_replica: bool,
    pub outages: Arc<dyn Outages>,
}

/// Observes outages and cancels the wait.
pub trait Outages: Send + Sync {
    /// Called when a writer begins to wait.
    fn begins(&self, why: &str);

    /// Called when another attempt to connect has failed.
    fn lasts(&self, why: &str);

    /// Called when a writer stops waiting, whether it continues or gives up.
    fn ends(&self, goes_on: bool);

    fn is_interrupted(&self) -> bool;
}

/// The table and key of a row that a transaction attempted to insert.
pub type Tried = (Table, Box<str>);

/// The results of a transaction that may be retried. On a retry, the rows may already have the
/// values that the first attempt wrote.
pub trait Redone: Sized {
    /// Merges the results with those of an earlier attempt, which may have failed.
    fn after(self, first: Option<Self>) -> Self;
}
