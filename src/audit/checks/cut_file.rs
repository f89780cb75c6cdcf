//! A file that is smaller than its pixel data. Its row tells how large these are, where they are not compressed.

use super::super::finding::Severity;
use super::{Asks, AtPath, Check};

pub const CHECK: Check = Check {
    name: "cut-file",
    severity: Severity::Error,
    about: "the file of a row is smaller than its pixel data (--level size)",
    asks: Asks::Row(|row| match row.at_path {
        AtPath::File { size } if size > 0 && size < row.least_size => {
            Some(format!("{size} bytes, and its pixel data have {}", row.least_size))
        }
        _ => None,
    }),
};
