//! Rows that name the same file.

use super::super::finding::Severity;
use super::{Asks, AtPath, Check};

pub const CHECK: Check = Check {
    name: "two-rows-one-path",
    severity: Severity::Error,
    about: "several rows name one file",
    asks: Asks::Row(|row| {
        (row.rows_of_path > 1 && !matches!(row.at_path, AtPath::Outside))
            .then(|| format!("{} rows name this file", row.rows_of_path))
    }),
};
