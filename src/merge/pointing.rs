//! The changes that point the row of an image to another file.

use crate::dicom::Level;
use crate::index::existing::FACTS;
use crate::index::{Change, Entry, Expected, Tables, Value};

/// The maximum number of attempts to change a row that another writer keeps changing.
pub(super) const TRIES: u32 = 10;

/// Returns the changes that point a row to another file: its path and the facts of the file, or, if
/// `whole`, all columns that contain DICOM attributes.
pub(super) fn lead<'a>(tables: &'a Tables, entry: &'a Entry, whole: bool) -> Vec<Change<'a>> {
    let is_led = |column: &crate::index::column::Column| {
        FACTS.contains(&column.known) || (whole && !matches!(column.known, "" | "uuid" | "tagged"))
    };
    let columns = tables.of(Level::Instance).columns.iter().filter(|column| is_led(column));
    let value = |column: &'a crate::index::column::Column| -> Value<'a> { column.blank(entry.value(column.source)) };
    columns.map(|column| Change { column, expected: Expected::Any, to: value(column) }).collect()
}
