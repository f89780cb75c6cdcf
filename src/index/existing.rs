//! Rows that were there before this program came: what may be written of them.
//!
//! The database can be newer than the files: a person edits it first, and the PACS rewrites files later, or never. So
//! only columns that are NULL are filled, an empty text being a value; keys and links, the user's flags and columns that
//! are not known are never written. `refresh` lets tag-fed columns follow the file, but for studies that were edited.

use std::sync::Arc;

use super::column::{Column, is_empty};
use super::columns::{Source, Tables};
use super::undo::{Overwritten, Undo};
use super::{Change, Derived, Existing, Expected, Failure, Index, RowUpdate, Value, link};
use crate::dicom::{Table, attributes};

/// What is written of rows that were there before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Columns that are NULL.
    #[default]
    Fill,
    /// And tag-fed columns that differ from the file.
    Refresh,
    /// Columns that are NULL, and values of rows that look unfinished, where a file of the row contains the value.
    Complete,
}

/// Facts of the stored file: the PACS knows them best, until its row is found to name another file.
pub const FACTS: [&str; 10] = [
    "xfersyntax",
    "samplesperpixel",
    "numrows",
    "numcolumns",
    "bitsallocated",
    "bitsstored",
    "pixelrepresentation",
    "photometric",
    "numframes",
    "path",
];

impl super::columns::WrittenTable {
    /// The columns that may be filled or refreshed.
    pub fn fed(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| {
            !column.exact && matches!(column.source, Source::Attribute(_) | Source::Received | Source::Charset)
        })
    }
}

impl Existing {
    /// The text that a lookup showed of a column.
    pub fn text_of(&self, tables: &Tables, table: Table, column: &Column) -> Option<&str> {
        match column.known {
            "path" => Some(&self.path),
            known if Some(known) == link(table) => Some(&self.link),
            known if known == table.key() => Some(&self.key),
            _ => self.shown.get(tables.of(table).fed().position(|fed| fed.name == column.name)?)?.as_deref(),
        }
    }
}

/// What is to be changed of a row that shows `row.shown`, so that it says `value` of each column.
pub fn changes<'a>(
    tables: &'a Tables,
    table: impl Into<Table>,
    row: &'a Existing,
    mode: Mode,
    value: impl Fn(&Column) -> Value<'a>,
) -> Vec<Change<'a>> {
    let table = table.into();
    let attribute = |column: &Column| match column.source {
        Source::Attribute(n) => Some(attributes::value_of(n)),
        _ => None,
    };
    // A value follows the file as a whole: a name without a first name replaces one that has a first name.
    let is_part_of_a_value = |column: &Column| {
        let is_of_it = |other: &&Column| attribute(other).is_some() && attribute(other) == attribute(column);
        mode == Mode::Refresh && tables.of(table).fed().filter(is_of_it).any(|other| !is_empty(value(other)))
    };
    let change = |(column, shown): (&'a Column, &'a Option<String>)| {
        let to = value(column);
        if is_empty(to) && (shown.is_none() || !is_part_of_a_value(column)) {
            return None;
        }
        match shown {
            // The charset of a row says how its other columns are to be read: it does not come alone.
            None if column.source == Source::Charset && mode != Mode::Refresh => return None,
            Some(_) if mode != Mode::Refresh || !may_be_refreshed(column) || column.shows(shown.as_deref(), to) => {
                return None;
            }
            _ => {}
        }
        Some(Change { column, expected: Expected::Shown(shown.as_deref()), to: column.blank(to) })
    };
    tables.of(table).fed().zip(&row.shown).filter_map(change).collect()
}

/// What PacsOne purges by, and whence an instance came, are not the file's to say.
fn may_be_refreshed(column: &Column) -> bool {
    column.source != Source::Received && column.known != "sourceae" && !FACTS.contains(&column.known)
}

/// What became of changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// There was such a row, and it took at least one.
    pub changed: bool,
    /// Columns that the database did not let be changed.
    pub refused: Vec<String>,
}

/// Writes changes of a row. An attribute that another program has changed since it was read, and one that the database
/// refuses, keep their values; the others are written.
pub fn apply(index: &mut dyn Index, update: &RowUpdate<'_>) -> Result<Applied, Failure> {
    let changes = update.changes;
    match index.update(update) {
        Ok(true) => return Ok(Applied { changed: !changes.is_empty(), refused: Vec::new() }),
        Ok(false) if changes.is_empty() => return Ok(Applied::default()),
        Ok(false) | Err(Failure::Refused(_) | Failure::Duplicate) => {}
        Err(failure) => return Err(failure),
    }
    let mut applied = Applied::default();
    let mut update_part =
        |changes: &[Change<'_>]| index.update(&RowUpdate { changes, derived: Derived::Unchanged, ..*update });
    for attribute in by_attribute(changes) {
        match update_part(&attribute) {
            Ok(changed) => applied.changed |= changed,
            Err(Failure::Refused(_) | Failure::Duplicate) => {
                for change in &attribute {
                    match update_part(std::slice::from_ref(change)) {
                        Ok(changed) => applied.changed |= changed,
                        Err(Failure::Refused(_) | Failure::Duplicate) => {
                            applied.refused.push(change.column.name.clone());
                        }
                        Err(failure) => return Err(failure),
                    }
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    // The row is finished once its other values are final.
    if update.derived != Derived::Unchanged {
        index.update(&RowUpdate { changes: &[], ..*update })?;
    }
    Ok(applied)
}

/// The changes by attribute. The components and groups of a name are one attribute, and so is a date with its time: one of
/// their columns alone would be half of one value and half of another.
fn by_attribute<'a>(changes: &[Change<'a>]) -> Vec<Vec<Change<'a>>> {
    let attribute = |change: &Change<'_>| match change.column.source {
        Source::Attribute(n) => Some(attributes::value_of(n)),
        _ => None,
    };
    let mut parts: Vec<(Option<usize>, Vec<Change<'a>>)> = Vec::new();
    for change in changes {
        let of = attribute(change);
        match parts.iter_mut().find(|(known, _)| of.is_some() && *known == of) {
            Some((_, part)) => part.push(*change),
            None => parts.push((of, vec![*change])),
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

/// What the transaction that is open overwrites, to be written down before its commit.
pub struct Pending {
    pub undo: Arc<Undo>,
    pub lines: String,
}

/// Adds the values that changes of a row overwrite to the undo file.
pub fn record_overwritten(
    index: &dyn Index,
    pending: &mut Option<Pending>,
    table: Table,
    row: &Existing,
    changes: &[Change<'_>],
) -> Result<(), Failure> {
    if let Some(Pending { undo, lines }) = pending {
        let tables = index.tables();
        let overwritten: Vec<Overwritten> = changes
            .iter()
            .map(|change| Overwritten {
                column: &change.column.name,
                old: row.text_of(&tables, table, change.column),
                new: change.to,
            })
            .collect();
        *lines += &undo.lines_of(table, &row.key, &overwritten)?;
        // Where nothing is rolled back there is no later.
        if !tables.is_transactional {
            undo.write(&std::mem::take(lines))?;
        }
    }
    Ok(())
}

/// Writes changes of a row that was there before, the old values into the undo file first.
pub fn update(
    index: &mut dyn Index,
    pending: &mut Option<Pending>,
    table: Table,
    row: &Existing,
    changes: &[Change<'_>],
) -> Result<Applied, Failure> {
    record_overwritten(index, pending, table, row, changes)?;
    // A path that is NULL is no condition.
    let path = (table == Table::Image && !row.path.is_empty()).then_some(row.path.as_str());
    apply(
        index,
        &RowUpdate {
            table,
            key: &row.key,
            path,
            changes,
            derived: Derived::Unchanged,
            only_unfinished: false,
            studies: None,
        },
    )
}
