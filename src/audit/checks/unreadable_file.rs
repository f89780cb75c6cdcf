//! A file that is DICOM, or should be, but cannot be read as DICOM. Other files are not reported,
//! because archives contain other files too.

use super::super::finding::Severity;
use super::{Asks, Check};
use crate::dicom::Rejection;

pub const CHECK: Check = Check {
    name: "unreadable-file",
    severity: Severity::Error,
    about: "a file cannot be read, or is cut within its header (that of a row from --level header on)",
    asks: Asks::File(|file| match &file.reading {
        Ok(_) | Err(Rejection::NotDicom { .. } | Rejection::Dicomdir) => None,
        Err(rejection) => Some(rejection.to_string()),
    }),
};
