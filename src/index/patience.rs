//! A run survives its database for a while: a server that restarts, hands over or cuts connections is waited for, and what
//! was not committed is done again on a new connection.
//!
//! A commit whose answer was lost was made or was not. It was all or nothing: if the rows that its transaction inserted
//! are there, it was made, and what the attempt found out holds. Where tables know no transactions, rows that were sent
//! and are there are taken for this run's.

use std::sync::Arc;
use std::time::Duration;

use crate::dicom::Table;

/// How long a writer waits for its database, and who is told.
#[derive(Clone)]
pub struct Patience {
    /// Of one outage. Zero is none at all.
    pub limit: Duration,
    /// The server that answers then may be a replica.
    pub allow_replica: bool,
    pub outages: Arc<dyn Outages>,
}

/// Who is told of outages, and says whether waiting is still wanted.
pub trait Outages: Send + Sync {
    /// A writer begins to wait.
    fn begins(&self, why: &str);

    /// It has tried again in vain.
    fn lasts(&self, why: &str);

    /// It waits no more: it goes on, or has given up.
    fn ends(&self, goes_on: bool);

    fn is_interrupted(&self) -> bool;
}

/// A row that a transaction was to insert, by its key.
pub type Tried = (Table, Box<str>);

/// What a transaction has done. The second time around, rows hold already what the first may have written.
pub trait Redone: Sized {
    /// What was done in all, if it was done before, perhaps in vain.
    fn after(self, first: Option<Self>) -> Self;
}
