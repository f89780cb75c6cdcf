//! A row that names the right file, but by a path of this system or of an earlier path map instead
//! of the path on the PACS server.

use super::super::finding::Severity;
use super::{Asks, Check};

pub const CHECK: Check = Check {
    name: "unmapped-path",
    severity: Severity::Error,
    about: "a row names its file by a path that the PACS does not know",
    asks: Asks::Row(|row| row.unmapped.as_ref().map(|mapped| format!("the PACS knows the file as {mapped}"))),
};
