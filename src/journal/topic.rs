//! The groups of a log: rows of the ledger by their keys, and records of files by patient, study
//! and series.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::dicom::Level;

/// The subject of an entry in the index of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'t> {
    /// A row of the ledger, by its key in the table.
    Row(&'t str),
    /// Blocks of records of a patient, by the collation key of the patient ID.
    Patient,
    /// Blocks of records of a study, by its UID.
    Study,
    /// Blocks of records of a series, by its UID.
    Series,
}

impl Topic<'_> {
    /// Returns the topic of the records of files that belong to a row of this level.
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
