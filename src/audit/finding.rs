//! The findings of an audit.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Severity {
    /// For information only.
    Info,
    /// An administrator should check the finding.
    Warning,
    /// An image is lost, or cannot be found.
    Error,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// A finding of an audit, without patient data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub check: &'static str,
    pub severity: Severity,
    /// The key of the row. `None` for a patient, whose key is patient data.
    pub uid: Option<String>,
    /// The path in the index, or the local path of the file.
    pub path: Option<String>,
    pub detail: String,
    /// A possible repair.
    pub mend: Option<Mend>,
}

/// A possible repair of a finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mend {
    Set {
        table: String,
        column: String,
        from: Option<String>,
        to: Option<String>,
    },
    RemoveImage,
    /// Inserts the row for the instance in the file of the finding.
    Insert,
}
