//! The forms of the records in a log. Another version of this program may index other attributes:
//! it appends a frame that lists them, and all later records have that form. These frames are
//! chained, and the header of the log points to the last one.

use std::io;

use serde::{Deserialize, Serialize};

use super::record::{decode, encode};
use crate::dicom::instance::REVISION;
use crate::dicom::{ATTRIBUTES, PackedForm};

/// The payload of a frame that describes a form.
#[derive(Serialize, Deserialize)]
struct FormFrame {
    /// The offset from which on records have this form.
    from: u64,
    /// The offset of the previous frame in the chain; 0 for the first.
    previous: u64,
    revision: u32,
    attributes: Vec<String>,
    /// The version of the program.
    version: [u32; 3],
}

/// A form, and the offset in the log from which on records have it.
pub struct LoggedForm {
    pub from: u64,
    pub form: PackedForm,
    /// Whether the form is that of a newer version of this program and contains attributes that
    /// this version does not know. If this version changed rows, columns that only the newer
    /// version writes would become stale.
    pub is_newer: bool,
}

/// Returns the hash that the header of a format 4 log contains for these attributes. It includes
/// the version of the program.
pub fn former_meaning() -> u64 {
    let attributes: Vec<String> = ATTRIBUTES.iter().map(|attribute| format!("{attribute:?}")).collect();
    xxhash_rust::xxh3::xxh3_64(&encode(&("0.1.0", REVISION, attributes)))
}

/// Decodes the payload of a frame. Returns the form, and the offset of the previous frame in the
/// chain.
pub fn decode_form(payload: &[u8]) -> io::Result<(LoggedForm, u64)> {
    let FormFrame { from, previous, revision, attributes, version: writer } = decode(payload)?;
    let form = PackedForm::of(revision, &attributes);
    let is_newer = writer > version() && (revision > REVISION || form.has_unknown_attributes());
    Ok((LoggedForm { from, form, is_newer }, previous))
}

/// Returns the payload of a frame with the form of this program.
pub fn payload(from: u64, previous: u64) -> Vec<u8> {
    let attributes = PackedForm::names();
    encode(&FormFrame { from, previous, revision: REVISION, attributes, version: version() })
}

/// The version of this program.
fn version() -> [u32; 3] {
    let parts = [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH")];
    parts.map(|part| part.parse().unwrap_or_default())
}
