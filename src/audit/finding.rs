//! What an audit finds.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should look at it.
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

/// One finding, without a value of a patient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub check: &'static str,
    pub severity: Severity,
    /// The key of the row: of a patient it is not told.
    pub uid: Option<String>,
    /// As the index has it, or as the file is called here.
    pub path: Option<String>,
    pub detail: String,
    /// What a repair could do.
    pub mend: Option<Mend>,
}

/// What a repair could do about a finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mend {
    Set {
        table: String,
        column: String,
        from: Option<String>,
        to: Option<String>,
    },
    RemoveImage,
    /// The file of the finding has an instance without a row.
    Insert,
}
