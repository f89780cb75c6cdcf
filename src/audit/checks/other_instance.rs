//! A file that holds another instance than the row which names it says.

use super::super::finding::Severity;
use super::{Asks, Check};

pub const CHECK: Check = Check {
    name: "other-instance",
    severity: Severity::Error,
    about: "the file of a row holds another instance (--level header)",
    asks: Asks::Headers,
};
