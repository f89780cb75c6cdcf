//! The forms of the records in a log. Another version of this program may index other attributes: its log continues with a frame
//! that lists them, from which on the records have that form. The frames of a log form a chain, whose last one the head of the
//! log points to.

use std::io;

use serde::{Deserialize, Serialize};

use super::log::{Frame, HEAD, Kind, Log};
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
}

/// A form, and the place in the log from which on records have it.
pub struct LoggedForm {
    pub from: u64,
    pub form: PackedForm,
}

/// The value that format 4 had in its head for these attributes: it included the version of the program.
pub fn former_meaning() -> u64 {
    let attributes: Vec<String> = ATTRIBUTES.iter().map(|attribute| format!("{attribute:?}")).collect();
    xxhash_rust::xxh3::xxh3_64(&encode(&("0.1.0", REVISION, attributes)))
}

/// The forms of a log, the latest first. A chain that is damaged ends there: records before it cannot be read.
pub fn forms(log: &Log, last: u64) -> Vec<LoggedForm> {
    let mut forms = Vec::new();
    let mut at = last;
    while at >= HEAD
        && let Ok(FormFrame { from, previous, revision, attributes }) = frame(log, at)
        && previous < at
    {
        forms.push(LoggedForm { from, form: PackedForm::of(revision, &attributes) });
        at = previous;
    }
    forms
}

fn frame(log: &Log, at: u64) -> io::Result<FormFrame> {
    let frame: Option<Frame> = log.frame_at(at)?.filter(|frame| frame.kind == Kind::Form);
    decode(&log.payload(&frame.ok_or(io::ErrorKind::InvalidData)?)?)
}

/// The payload of a frame with the form of this program.
pub fn payload(from: u64, previous: u64) -> Vec<u8> {
    encode(&FormFrame { from, previous, revision: REVISION, attributes: PackedForm::names() })
}
