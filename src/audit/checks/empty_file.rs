//! A file with a size of 0 bytes.

use super::super::finding::Severity;
use super::{Asks, AtPath, Check};

pub const CHECK: Check = Check {
    name: "empty-file",
    severity: Severity::Error,
    about: "the file of a row has no bytes",
    asks: Asks::Row(|row| matches!(row.at_path, AtPath::File { size: 0 }).then(|| "the file has no bytes".into())),
};
