//! The values by which this program recognizes a row of its own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::bytes;
use crate::index::row_history::RowHistory;

/// The values by which this program recognizes its own in a row.
#[derive(Clone, Serialize, Deserialize)]
pub enum OwnValues {
    /// The values that this run inserted the row with.
    ThisRun(#[serde(with = "bytes")] Arc<[u8]>),
    /// The ledger has the row. A patient is unfinished while one of the studies is.
    EarlierRun {
        history: Arc<RowHistory>,
        is_unfinished: bool,
        /// The values that this run inserted the row with, after the index had lost the row.
        #[serde(with = "bytes::optional")]
        inserted: Option<Arc<[u8]>>,
    },
    /// The row is not this program's, as far as the ledger knows, and looks unfinished: values that files of the row contain
    /// may be replaced, because `--existing complete` asks for it.
    OfFiles,
}

impl OwnValues {
    /// About the bytes that the values take in memory.
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

    /// The values that this run inserted the row with.
    pub fn inserted(&self) -> Option<&Arc<[u8]>> {
        match self {
            OwnValues::ThisRun(inserted) => Some(inserted),
            OwnValues::EarlierRun { inserted, .. } => inserted.as_ref(),
            OwnValues::OfFiles => None,
        }
    }
}
