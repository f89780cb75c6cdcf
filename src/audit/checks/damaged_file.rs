//! A file that cannot be read to its end, or whose lengths do not match its content.

use super::super::finding::Severity;
use super::{Asks, Check};

pub const CHECK: Check = Check {
    name: "damaged-file",
    severity: Severity::Error,
    about: "a file cannot be read to its end, or its lengths do not agree (--level full)",
    asks: Asks::Whole,
};
