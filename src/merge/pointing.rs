//! The changes that point the row of an image to another file.

use crate::dicom::Level;
use crate::index::existing::FACTS;
use crate::index::{Change, Entry, Expected, Tables, Value};

/// How often a row is looked at again that another writer keeps changing.
pub(super) const TRIES: u32 = 10;

/// What leads a row to another file: its path and the facts of the file, or all that tags feed.
pub(super) fn lead<'a>(tables: &'a Tables, entry: &'a Entry, whole: bool) -> Vec<Change<'a>> {
    let is_led = |column: &crate::index::column::Column| {
        FACTS.contains(&column.known) || (whole && !matches!(column.known, "" | "uuid" | "tagged"))
    };
    let columns = tables.of(Level::Instance).columns.iter().filter(|column| is_led(column));
    let value = |column: &'a crate::index::column::Column| -> Value<'a> { column.blank(entry.value(column.source)) };
    columns.map(|column| Change { column, expected: Expected::Any, to: value(column) }).collect()
}
