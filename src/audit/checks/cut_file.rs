//! A file that is smaller than its pixel data. The size of uncompressed pixel data is computed from
//! the row.

use super::super::finding::Severity;
use super::{Asks, AtPath, Check};

pub const CHECK: Check = Check {
    name: "cut-file",
    severity: Severity::Error,
    about: "the file of a row is smaller than its pixel data (--level size)",
    asks: Asks::Row(|row| match row.at_path {
        AtPath::File { size } => cut(size, row.least_size),
        _ => None,
    }),
};

/// Describes a file that is smaller than its pixel data, in bytes. Returns `None` if the file is
/// empty or large enough.
pub fn cut(size: u64, least_size: u64) -> Option<String> {
    (size > 0 && size < least_size).then(|| format!("{size} bytes, and its pixel data have {least_size}"))
}
