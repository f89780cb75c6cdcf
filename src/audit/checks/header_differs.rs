//! A row that differs from its file, except where the PACS edited the row on purpose.

use super::super::finding::Severity;
use super::super::headers;
use super::{Asks, Check};

pub const CHECK: Check = Check {
    name: headers::CHECK,
    severity: Severity::Warning,
    about: "columns of a row differ from its file, or from all of its files (--level header)",
    asks: Asks::Headers,
};
