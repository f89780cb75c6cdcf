//! A row whose instance is found, by its UID, in another file.

use super::super::finding::Severity;
use super::{Asks, Check};

pub const CHECK: Check = Check {
    name: "moved-file",
    severity: Severity::Error,
    about: "the file of a row is in another place",
    asks: Asks::Row(|row| row.moved_to.as_ref().map(|to| format!("its instance is in {}", to.display()))),
};
