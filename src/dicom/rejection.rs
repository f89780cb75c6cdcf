//! Why a file is not indexed. A rejection is data: counted and listed, never the end of a run.
//!
//! Details name attributes, never values: those may be patient data.

use std::{fmt, io};

use super::window::Trouble;

/// The code of this name, where one was stored.
pub fn code_named(name: &str) -> &'static str {
    const CODES: [&str; 8] =
        ["empty", "zeroed", "not-dicom", "cut", "missing-uid", "invalid-uid", "header-too-large", "deflate"];
    CODES.into_iter().find(|code| *code == name).unwrap_or("internal")
}

#[derive(Debug)]
pub enum Rejection {
    /// Zero bytes.
    Empty,
    /// Nothing but zero bytes where the header should be, as a broken storage unit leaves files.
    Zeroed,
    /// No DICOM data set. The first bytes let others say what it is instead.
    NotDicom { first_bytes: Vec<u8> },
    /// A DICOMDIR, by its SOP class (PS3.10 8.6): recognised, not an instance.
    Dicomdir,
    /// The file ends, or stops making sense, before an attribute without which there is no row.
    Cut { missing: &'static str },
    /// An attribute without which there is no row is absent or empty.
    Missing { attribute: &'static str },
    /// A UID that is longer than 64 characters or holds other than digits and dots (PS3.5 9.1).
    InvalidUid { attribute: &'static str },
    /// The header has more elements, or more bytes, than any that makes sense.
    TooLarge,
    /// A deflated data set that does not inflate.
    Deflate,
    /// The file could not be read.
    Unreadable(io::Error),
    /// The reader failed. A defect of this program, kept to the one file.
    Panicked,
}

impl Rejection {
    /// The reason code: stable, for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Rejection::Empty => "empty",
            Rejection::Zeroed => "zeroed",
            Rejection::NotDicom { .. } => "not-dicom",
            Rejection::Dicomdir => "dicomdir",
            Rejection::Cut { .. } => "cut",
            Rejection::Missing { .. } => "missing-uid",
            Rejection::InvalidUid { .. } => "invalid-uid",
            Rejection::TooLarge => "header-too-large",
            Rejection::Deflate => "deflate",
            Rejection::Unreadable(_) => "unreadable",
            Rejection::Panicked => "internal",
        }
    }
}

impl From<Trouble> for Rejection {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Io(error) => Rejection::Unreadable(error),
            Trouble::Limit => Rejection::TooLarge,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Empty => write!(f, "the file has no bytes"),
            Rejection::Zeroed => write!(f, "the file begins with nothing but zero bytes"),
            Rejection::NotDicom { .. } => write!(f, "no DICOM data set begins here"),
            Rejection::Dicomdir => write!(f, "a DICOMDIR"),
            Rejection::Cut { missing } => write!(f, "the header ends before {missing}"),
            Rejection::Missing { attribute } => write!(f, "{attribute} is absent or empty"),
            Rejection::InvalidUid { attribute } => write!(f, "{attribute} is no UID"),
            Rejection::TooLarge => write!(f, "the header has more elements than any that makes sense"),
            Rejection::Deflate => write!(f, "the deflated data set does not inflate"),
            Rejection::Unreadable(error) => write!(f, "{error}"),
            Rejection::Panicked => write!(f, "the header reader failed on this file; please report it"),
        }
    }
}
