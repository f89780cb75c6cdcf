//! A file that contains a different instance than the one in the row that names it.

use super::super::finding::Severity;
use super::{Asks, Check};

pub const CHECK: Check = Check {
    name: "other-instance",
    severity: Severity::Error,
    about: "the file of a row holds another instance (--level header)",
    asks: Asks::Headers,
};
