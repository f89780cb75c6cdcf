//! The policy for rows that existed before the run: which of their columns may be written.
//!
//! The database can be newer than the files: users edit the database first, and the PACS rewrites
//! the files later, or never. Therefore only columns that are NULL are filled; an empty text counts
//! as a value. Keys, links, user flags and unknown columns are never written. `refresh` also
//! updates tag-fed columns from the file, except in studies that were edited.

use std::sync::Arc;

use super::column::{Column, is_empty};
use super::columns::{Source, Tables};
use super::undo::{Overwritten, Undo};
use super::{Change, Derived, Existing, Expected, Failure, Index, RowUpdate, Value, link};
use crate::dicom::{Table, attributes};

/// The columns that are written in rows that existed before the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Columns that are NULL.
    #[default]
    Fill,
    /// Columns that are NULL, and tag-fed columns that differ from the file.
    Refresh,
    /// Columns that are NULL and, in rows that look unfinished, values that occur in a file of the
    /// row.
    Complete,
}

/// Columns that describe the stored file. The values from the PACS take precedence, until the row
/// is found to point to another file.
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
    /// Returns the columns that may be filled or refreshed.
    pub fn fed(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| {
            !column.exact && matches!(column.source, Source::Attribute(_) | Source::Received | Source::Charset)
        })
    }
}

impl Existing {
    /// Returns the text of a column from the lookup of the row.
    pub fn text_of(&self, tables: &Tables, table: Table, column: &Column) -> Option<&str> {
        match column.known {
            "path" => Some(&self.path),
            known if Some(known) == link(table) => Some(&self.link),
            known if known == table.key() => Some(&self.key),
            _ => self.shown.get(tables.of(table).fed().position(|fed| fed.name == column.name)?)?.as_deref(),
        }
    }
}

/// Returns the changes that give the columns of a row the values that `value` returns. The row must
/// have been looked up with its values (`row.shown`).
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
    // A value of several columns is replaced as a whole: if the file's name has no first name, an
    // existing first name is cleared too.
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
            // The character set determines how the other columns of the row are decoded, so it is
            // not filled on its own.
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

/// Returns whether a column may be updated from the file. The file does not determine the date by
/// which PacsOne purges studies, nor the source AE of an instance.
fn may_be_refreshed(column: &Column) -> bool {
    column.source != Source::Received && column.known != "sourceae" && !FACTS.contains(&column.known)
}

/// The result of applying changes to a row.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Whether the row exists and at least one change was applied.
    pub changed: bool,
    /// Columns that the database rejected.
    pub refused: Vec<String>,
}

/// Writes changes to a row. An attribute keeps its value if another program has changed the
/// attribute since the lookup, or if the database rejects the new value; the other attributes are
/// written.
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
    // The derived column is set last: it marks the row as finished, so all other values must be
    // final.
    if update.derived != Derived::Unchanged {
        index.update(&RowUpdate { changes: &[], ..*update })?;
    }
    Ok(applied)
}

/// Groups changes by attribute. The components and groups of a name are one attribute, and so is a
/// date with its time: with only some of the columns changed, the row would contain a mixture of
/// two values.
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

/// The values that the open transaction overwrites, to be written to the undo file before the
/// commit.
pub struct Pending {
    pub undo: Arc<Undo>,
    pub lines: String,
}

/// Adds the values that changes to a row overwrite to the undo file.
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
        // Without transactions, the change takes effect at once, so write the lines before it.
        if !tables.is_transactional {
            undo.write(&std::mem::take(lines))?;
        }
    }
    Ok(())
}

/// Writes changes to a row that existed before the run, after the old values are recorded for the
/// undo file.
pub fn update(
    index: &mut dyn Index,
    pending: &mut Option<Pending>,
    table: Table,
    row: &Existing,
    changes: &[Change<'_>],
) -> Result<Applied, Failure> {
    record_overwritten(index, pending, table, row, changes)?;
    // A path that is NULL cannot be a condition.
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
