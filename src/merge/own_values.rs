//! The values by which this program recognizes a row of its own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::bytes;
use crate::index::row_history::RowHistory;

/// The values by which this program recognizes its own values in a row.
#[derive(Clone, Serialize, Deserialize)]
pub enum OwnValues {
    /// The values with which this run inserted the row.
    ThisRun(#[serde(with = "bytes")] Arc<[u8]>),
    /// The ledger contains the row. A patient is unfinished while one of the studies is.
    EarlierRun {
        history: Arc<RowHistory>,
        is_unfinished: bool,
        /// The values with which this run inserted the row, after the index had lost the row.
        #[serde(with = "bytes::optional")]
        inserted: Option<Arc<[u8]>>,
    },
    /// The row is not in the ledger as a row of this program, and looks unfinished. Values that
    /// occur in files of the row may be replaced, because `--existing complete` asks for it.
    OfFiles,
}

impl OwnValues {
    /// Returns the approximate memory use of the values in bytes.
    pub fn weight(&self) -> usize {
        let of_history = |history: &RowHistory| history.versions.iter().map(|version| version.values.len() + 64).sum();
        match self {
            OwnValues::ThisRun(values) => values.len(),
            OwnValues::EarlierRun { history, inserted, .. } => {
                let of_history: usize = of_history(history);
                of_history + inserted.as_ref().map_or(0, |values| values.len())
            }
            OwnValues::OfFiles => 0,
        }
    }

    /// Returns the values with which this run inserted the row.
    pub fn inserted(&self) -> Option<&Arc<[u8]>> {
        match self {
            OwnValues::ThisRun(inserted) => Some(inserted),
            OwnValues::EarlierRun { inserted, .. } => inserted.as_ref(),
            OwnValues::OfFiles => None,
        }
    }
}
