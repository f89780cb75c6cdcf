//! A row of this program that no indexed file names.

use crate::dicom::Level;

/// A row of this program that no indexed file names.
pub struct Ghost {
    pub level: Level,
    /// The UID, or the ID in the row of a patient.
    pub key: String,
}
