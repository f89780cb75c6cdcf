//! Two files of one instance, of which the index can name one.

use super::super::finding::Severity;
use super::{Asks, AtPath, Check, File};

pub const IDENTICAL: Check = Check {
    name: "two-files-identical",
    severity: Severity::Warning,
    about: "two files hold the same instance, byte by byte",
    asks: Asks::File(|file| told(file, true)),
};

pub const DIFFERENT: Check = Check {
    name: "two-files-different",
    severity: Severity::Error,
    about: "two files have one UID and differ",
    asks: Asks::File(|file| told(file, false)),
};

fn told(file: &File, identical: bool) -> Option<String> {
    let row = file.row.as_ref()?;
    let is_there = !matches!(row.at_path, AtPath::Nothing);
    // What could not be compared may differ.
    let is_same = row.is_same.unwrap_or(false);
    (is_there && is_same == identical).then(|| format!("the index names {}", row.path))
}
