//! Reads the values that the index needs from DICOM files.
//!
//! A [`Source`](window::Source) provides the bytes of a file. The bounded [`HeaderReader`] reads
//! them and returns a [`Header`](header::Header) of raw values, which is converted to an
//! [`Instance`] of typed values. Only this module uses the dicom-rs crates. Other modules find
//! files and write instances.

pub mod attributes;
mod binary_number;
pub mod charset;
mod charset_term;
mod data_end;
pub mod date_time;
mod element;
mod encoding;
pub mod file_set;
pub mod flaw;
pub mod header;
mod inflate;
pub mod instance;
mod nesting;
mod odd_header;
pub mod packed;
mod packed_form;
pub mod part10;
pub mod pixel_size;
pub mod rejection;
mod scan;
mod start;
pub mod value;
mod wanted;
mod whole;
pub mod window;

pub use attributes::{ATTRIBUTES, Attribute, Level, Table};
pub use data_end::{Completeness, DataEnd};
pub use header::HeaderReader;
pub use instance::{Cell, Instance, Value};
pub use packed_form::PackedForm;
pub use rejection::Rejection;

/// The UIDs that the program uses (PS3.6 A). Archives still contain retired transfer syntaxes.
#[allow(deprecated)]
pub mod uid {
    pub use dicom_dictionary_std::uids::{
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN,
        IMPLICIT_VR_LITTLE_ENDIAN, JPIP_REFERENCED_DEFLATE, JPIPHTJ2K_REFERENCED_DEFLATE,
        MEDIA_STORAGE_DIRECTORY_STORAGE,
    };
}
