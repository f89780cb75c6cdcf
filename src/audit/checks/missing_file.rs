//! A row whose file does not exist and whose instance is not found in another file, or whose file
//! cannot be checked.

use super::super::finding::Severity;
use super::{Asks, AtPath, Check};

pub const CHECK: Check = Check {
    name: "missing-file",
    severity: Severity::Error,
    about: "the file of a row is not there",
    asks: Asks::Row(|row| match &row.at_path {
        AtPath::Nothing if row.moved_to.is_none() => Some("the file does not exist".into()),
        AtPath::Unknown(error) => Some(format!("cannot determine whether the file exists: {error}")),
        _ => None,
    }),
};
