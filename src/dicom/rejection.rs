//! The reasons why a file is not indexed. A rejection is data: it is counted and listed, but never
//! ends a run.
//!
//! Details name attributes, but never contain values, which may be patient data.

use std::{fmt, io};

use super::window::Trouble;

/// Returns the static code for a code that was stored by name.
pub fn code_named(name: &str) -> &'static str {
    const CODES: [&str; 8] =
        ["empty", "zeroed", "not-dicom", "cut", "missing-uid", "invalid-uid", "header-too-large", "deflate"];
    CODES.into_iter().find(|code| *code == name).unwrap_or("internal")
}

#[derive(Debug)]
pub enum Rejection {
    /// The file has no bytes.
    Empty,
    /// The header consists of zero bytes only, as in files that a broken storage unit leaves
    /// behind.
    Zeroed,
    /// The file does not contain a DICOM data set. The first bytes help to identify its format.
    NotDicom { first_bytes: Vec<u8> },
    /// A DICOMDIR, recognized by its SOP class (PS3.10 8.6). It is not an instance.
    Dicomdir,
    /// The file ends, or makes no sense, before an attribute that a row requires.
    Cut { missing: &'static str },
    /// An attribute that a row requires is absent or empty.
    Missing { attribute: &'static str },
    /// A UID is longer than 64 characters, or contains characters other than digits and dots (PS3.5
    /// 9.1).
    InvalidUid { attribute: &'static str },
    /// The header has more elements or bytes than any real one.
    TooLarge,
    /// The deflated data set cannot be inflated.
    Deflate,
    /// The file could not be read.
    Unreadable(io::Error),
    /// The reader panicked because of a defect in this program. Only this file is affected.
    Panicked,
}

impl Rejection {
    /// Returns the reason code, which is stable for use in scripts.
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
            Rejection::InvalidUid { attribute } => write!(f, "{attribute} is not a UID"),
            Rejection::TooLarge => write!(f, "the header has more elements than any that makes sense"),
            Rejection::Deflate => write!(f, "the deflated data set does not inflate"),
            Rejection::Unreadable(error) => write!(f, "{error}"),
            Rejection::Panicked => write!(f, "the header reader failed on this file; please report it"),
        }
    }
}
