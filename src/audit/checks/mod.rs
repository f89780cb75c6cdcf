//! The checks: a file of this room and a line of `CHECKS` each.

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

/// The names of the checks that an import makes too.
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

/// Whether a check reads the tables alone, and no file or directory.
pub fn is_of_tables(name: &str) -> bool {
    CHECKS.iter().any(|check| check.name == name && matches!(check.asks, Asks::Tables(_)))
}

pub struct Check {
    pub name: &'static str,
    pub severity: Severity,
    /// In a few words.
    pub about: &'static str,
    pub asks: Asks,
}

impl Check {
    /// The least depth that it is made at.
    pub fn depth(&self) -> Depth {
        match self.asks {
            Asks::Whole => Depth::Full,
            Asks::Headers => Depth::Header,
            _ if self.name == cut_file::CHECK.name => Depth::Size,
            _ => Depth::Exists,
        }
    }
}

/// What a check looks at, and says of it: nothing, or the detail of a finding.
pub enum Asks {
    /// A row, and what stands at its path.
    Row(fn(&Row) -> Option<String>),
    /// A file that no row names, once it was read.
    File(fn(&File) -> Option<String>),
    /// A row and the header of its file, column by column: see `headers`.
    Headers,
    /// All of a file: see `files`.
    Whole,
    /// What stands in the archive for a file that is elsewhere.
    Stub(fn(&Stub) -> Option<String>),
    /// The tables alone, by a statement: each of its rows is a finding, by its UID and a detail. `None` where the
    /// database has not what it asks for.
    Tables(fn(&Tables) -> Option<String>),
}

/// An image of the index, and what stands at its path.
pub struct Row {
    pub at_path: AtPath,
    /// As many rows name this path.
    pub rows_of_path: usize,
    pub least_size: u64,
    /// Its file was found there instead.
    pub moved_to: Option<PathBuf>,
    /// The path by which the PACS knows the file, where the row has one that the PACS does not know.
    pub unmapped: Option<String>,
}

/// What stands at a path.
pub enum AtPath {
    Nothing,
    File {
        size: u64,
    },
    /// It stands for a file that is elsewhere: nobody looks into it.
    Stub,
    /// It cannot be asked for.
    Unknown(String),
    /// It lies below no root.
    Outside,
    /// It lies in a directory that no walk descends into.
    Skipped(SkipReason),
}

/// A file that no row names.
pub struct File {
    pub reading: Result<Instance, Rejection>,
    /// The row of its instance.
    pub row: Option<RowElsewhere>,
}

/// The row of an instance names another file.
pub struct RowElsewhere {
    pub path: String,
    pub at_path: AtPath,
    /// Both files hold the same bytes. Told only where both are online.
    pub is_same: Option<bool>,
}
