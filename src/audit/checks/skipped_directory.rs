//! A row whose file is in a recycle bin, a snapshot or another directory that every run skips. The
//! file was deleted, or is deleted when the storage system removes the snapshot.

use super::super::finding::Severity;
use super::{Asks, AtPath, Check};

pub const CHECK: Check = Check {
    name: "skipped-directory",
    severity: Severity::Error,
    about: "a row names a file in a recycle bin or a snapshot",
    asks: Asks::Row(|row| match &row.at_path {
        AtPath::Skipped(reason) => Some(format!("the file is in a directory that every run skips, {reason}")),
        _ => None,
    }),
};
