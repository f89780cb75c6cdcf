//! The forms of the records in a log. Another version of this program may index other attributes: its log continues with a frame
//! that lists them, from which on the records have that form. The frames of a log form a chain, whose last one the head of the
//! log points to.

use std::io;

use serde::{Deserialize, Serialize};

use super::record::{decode, encode};
use crate::dicom::instance::REVISION;
use crate::dicom::{ATTRIBUTES, PackedForm};

/// The payload of such a frame.
#[derive(Serialize, Deserialize)]
struct FormFrame {
    /// The place from which on records have this form.
    from: u64,
    /// The beginning of the frame before in the chain; 0 for the first.
    previous: u64,
    revision: u32,
    attributes: Vec<String>,
    /// The version of the program.
    version: [u32; 3],
}

/// A form, and the place in the log from which on records have it.
pub struct LoggedForm {
    pub from: u64,
    pub form: PackedForm,
    /// Whether the form is that of a newer version of this program, and contains attributes that this version does not know.
    /// Columns that only the newer version writes would become outdated if this version changed the rows.
    pub is_newer: bool,
}

/// The value that format 4 had in its head for these attributes: it included the version of the program.
pub fn former_meaning() -> u64 {
    let attributes: Vec<String> = ATTRIBUTES.iter().map(|attribute| format!("{attribute:?}")).collect();
    xxhash_rust::xxh3::xxh3_64(&encode(&("0.1.0", REVISION, attributes)))
}

/// Decodes the payload of a frame. Returns the form, and the beginning of the frame before in the chain.
pub fn decode_form(payload: &[u8]) -> io::Result<(LoggedForm, u64)> {
    let FormFrame { from, previous, revision, attributes, version: writer } = decode(payload)?;
    let form = PackedForm::of(revision, &attributes);
    let is_newer = writer > version() && (revision > REVISION || form.has_unknown_attributes());
    Ok((LoggedForm { from, form, is_newer }, previous))
}

/// The payload of a frame with the form of this program.
pub fn payload(from: u64, previous: u64) -> Vec<u8> {
    let attributes = PackedForm::names();
    encode(&FormFrame { from, previous, revision: REVISION, attributes, version: version() })
}

/// The version of this program.
fn version() -> [u32; 3] {
    let parts = [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH")];
    parts.map(|part| part.parse().unwrap_or_default())
}
