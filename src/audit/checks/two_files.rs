//! Two files of the same instance. The index can name only one of them.

use super::super::finding::Severity;
use super::{Asks, AtPath, Check, File};

pub const IDENTICAL: Check = Check {
    name: "two-files-identical",
    severity: Severity::Warning,
    about: "two files hold the same instance, byte by byte",
    asks: Asks::File(|file| told(file, Some(true))),
};

pub const DIFFERENT: Check = Check {
    name: "two-files-different",
    severity: Severity::Error,
    about: "two files have one UID and differ",
    asks: Asks::File(|file| told(file, Some(false))),
};

pub const NOT_COMPARED: Check = Check {
    name: "two-files-not-compared",
    severity: Severity::Warning,
    about: "two files have one UID, and one of them cannot be read: a stub, or outside of the roots",
    asks: Asks::File(|file| told(file, None)),
};

fn told(file: &File, identical: Option<bool>) -> Option<String> {
    let row = file.row.as_ref()?;
    let is_there = !matches!(row.at_path, AtPath::Nothing);
    (is_there && row.is_same == identical).then(|| format!("the index names {}", row.path))
}
