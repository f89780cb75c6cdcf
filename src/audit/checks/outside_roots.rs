//! A row that names a file outside the roots of the audit.

use super::super::finding::Severity;
use super::{Asks, AtPath, Check};

pub const CHECK: Check = Check {
    name: "outside-roots",
    severity: Severity::Warning,
    about: "a row names a path below no root",
    asks: Asks::Row(|row| {
        (matches!(row.at_path, AtPath::Outside) && row.unmapped.is_none()).then(|| "it is not below a root".into())
    }),
};
