//! The checks. Each check has a file in this directory and a line in `CHECKS`.

mod children;
mod cut_file;
mod damaged_file;
mod dangling_stub;
mod derived;
mod empty_file;
mod header_differs;
mod hidden;
mod missing_file;
mod moved_file;
mod orphans;
mod other_instance;
mod outside_roots;
mod skipped_directory;
mod two_files;
mod two_rows;
mod unindexed_file;
pub mod unmapped_path;
mod unreadable_file;
mod user_data;

use std::path::PathBuf;

use super::Depth;
use super::finding::Severity;
use crate::archive::Stub;
use crate::archive::skipped_directories::SkipReason;
use crate::dicom::{Instance, Rejection};
use crate::index::Tables;

pub use cut_file::cut;

/// Names of the checks that an import runs too.
pub const CUT: &str = cut_file::CHECK.name;
pub const DAMAGED: &str = damaged_file::CHECK.name;

pub const CHECKS: &[Check] = &[
    missing_file::CHECK,
    moved_file::CHECK,
    empty_file::CHECK,
    cut_file::CHECK,
    unindexed_file::CHECK,
    unreadable_file::CHECK,
    two_files::IDENTICAL,
    two_files::DIFFERENT,
    two_files::NOT_COMPARED,
    two_rows::CHECK,
    header_differs::CHECK,
    other_instance::CHECK,
    damaged_file::CHECK,
    outside_roots::CHECK,
    skipped_directory::CHECK,
    unmapped_path::CHECK,
    dangling_stub::CHECK,
    orphans::IMAGES,
    orphans::SERIES,
    orphans::STUDIES,
    children::SERIES,
    children::STUDIES,
    children::PATIENTS,
    hidden::REVIEWED,
    hidden::PRIVATE,
    hidden::PATIENT,
    hidden::RECEIVED,
    hidden::MODALITY,
    derived::INSTANCES,
    derived::MODALITIES,
    user_data::STUDY_NOTES,
    user_data::IMAGE_NOTES,
    user_data::ATTACHMENTS,
];

/// Whether a check reads only the tables, and no file or directory.
pub fn is_of_tables(name: &str) -> bool {
    CHECKS.iter().any(|check| check.name == name && matches!(check.asks, Asks::Tables(_)))
}

pub struct Check {
    pub name: &'static str,
    pub severity: Severity,
    /// A short description.
    pub about: &'static str,
    pub asks: Asks,
}

impl Check {
    /// Returns the minimum depth at which the check runs.
    pub fn depth(&self) -> Depth {
        match self.asks {
            Asks::Whole => Depth::Full,
            Asks::Headers => Depth::Header,
            _ if self.name == cut_file::CHECK.name => Depth::Size,
            _ => Depth::Exists,
        }
    }
}

/// Input of a check. Each function returns the detail of a finding, or `None`.
pub enum Asks {
    /// A row, and the state of its path.
    Row(fn(&Row) -> Option<String>),
    /// A file that no row names, after it is read.
    File(fn(&File) -> Option<String>),
    /// A row and the header of its file, column by column: see `headers`.
    Headers,
    /// The complete content of a file: see `files`.
    Whole,
    /// A stub: a file in the archive that points to data elsewhere.
    Stub(fn(&Stub) -> Option<String>),
    /// A SQL statement over the tables. Each row of its result is a finding with a UID and a
    /// detail. `None` if the index lacks a table or column that the check needs.
    Tables(fn(&Tables) -> Option<String>),
}

/// An image row, and the state of its path.
pub struct Row {
    pub at_path: AtPath,
    /// The number of rows that name this path.
    pub rows_of_path: usize,
    pub least_size: u64,
    /// The file in which the instance of the row was found instead.
    pub moved_to: Option<PathBuf>,
    /// The path by which the PACS knows the file, if the row has a path that the PACS does not
    /// know.
    pub unmapped: Option<String>,
}

/// The state of a path in the index.
pub enum AtPath {
    Nothing,
    File {
        size: u64,
    },
    /// A stub: the data are in another file. Its content is not checked.
    Stub,
    /// The state cannot be determined. Contains the reason.
    Unknown(String),
    /// The path is below none of the roots.
    Outside,
    /// The path is in a directory that every walk skips.
    Skipped(SkipReason),
}

/// A file that no row names.
pub struct File {
    pub reading: Result<Instance, Rejection>,
    /// The row of the instance in the file.
    pub row: Option<RowElsewhere>,
}

/// A row that names another file for the same instance.
pub struct RowElsewhere {
    pub path: String,
    pub at_path: AtPath,
    /// Whether both files have the same content. `None` unless both files are online.
    pub is_same: Option<bool>,
}
