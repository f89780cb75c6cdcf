//! Errors that end a run. Each error names the file or the setting, and contains advice; none
//! contains a value of a patient. A problem with a single file is data and not an error: see
//! `dicom::Rejection`.

use std::fmt;

use crate::exit::Exit;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug)]
pub struct Error {
    kind: Kind,
    what: String,
    advice: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing was done, because the command, a setting or the environment is unsuitable.
    Usage,
    /// The work had begun, and could not be finished.
    Unfinished,
}

impl Error {
    pub fn usage(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Error { kind: Kind::Usage, what: what.into(), advice: advice.into() }
    }

    pub fn unfinished(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Error { kind: Kind::Unfinished, what: what.into(), advice: advice.into() }
    }

    pub fn exit(&self) -> Exit {
        match self.kind {
            Kind::Usage => Exit::Usage,
            Kind::Unfinished => Exit::Unfinished,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.what, self.advice)
    }
}

impl std::error::Error for Error {}
