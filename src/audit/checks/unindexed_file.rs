//! A file whose instance has no row, so that the PACS does not find it.

use super::super::finding::Severity;
use super::{Asks, Check};

pub const CHECK: Check = Check {
    name: "unindexed-file",
    severity: Severity::Error,
    about: "the instance of a file has no row",
    asks: Asks::File(|file| (file.reading.is_ok() && file.row.is_none()).then(|| "its instance has no row".into())),
};
