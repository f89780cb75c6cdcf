//! Looks up the rows of images whose file is missing.

use std::collections::HashMap;

use super::writer::Writer;
use crate::dicom::Table;
use crate::index::{Failure, Look, Show, View};

/// Returns the path in the row of each of these images that has a row.
pub fn paths(writer: &mut Writer, uids: &[&str]) -> Result<HashMap<String, String>, Failure> {
    let look = Look { view: View::Begun, show: Show::Nothing };
    let rows = writer.patiently(|writer| writer.index.find(Table::Image, uids, look))?;
    Ok(rows.into_iter().map(|row| (row.key, row.path)).collect())
}
