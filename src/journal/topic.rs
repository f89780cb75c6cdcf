//! What belongs together in a log: rows of the ledger by their keys, and records of files by patient, study and series.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::dicom::Level;

/// The subject of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'t> {
    /// A row of the ledger, by its key in a table.
    Row(&'t str),
    /// Blocks of records of a patient, by the identity of the ID.
    Patient,
    /// By the UID.
    Study,
    /// By the UID.
    Series,
}

impl Topic<'_> {
    /// The records of files that belong to a row of a level.
    pub fn of_level(level: Level) -> Self {
        match level {
            Level::Patient => Topic::Patient,
            Level::Study => Topic::Study,
            Level::Series | Level::Instance => Topic::Series,
        }
    }

    pub fn hash(self, key: &str) -> u64 {
        let seed = match self {
            Topic::Row(table) => 16 + xxh3_64_with_seed(table.as_bytes(), 0) / 2,
            Topic::Patient => 1,
            Topic::Study => 2,
            Topic::Series => 3,
        };
        xxh3_64_with_seed(key.as_bytes(), seed)
    }
}
