//! The lines of an undo file. Each line reverts one change of a row, if the row still has the
//! values that the repair wrote.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::step::{is_count, settable};
use super::{insert, undo_file};
use crate::audit::plan;
use crate::dicom::Table;
use crate::error::{Error, Result};
use crate::index::mend::{Mender, WholeRow};
use crate::index::{Failure, Location};

/// A line of an undo file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Undo {
    Set {
        table: String,
        key: String,
        column: String,
        from: Option<String>,
        to: Option<String>,
    },
    PutBack {
        table: String,
        row: WholeRow,
        /// Whether the row had no series when it was removed, so that it may be put back without
        /// one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        orphan: bool,
    },
    /// A row that was inserted, with the values that the insert gave it.
    Remove {
        table: String,
        key: String,
        row: WholeRow,
    },
    /// Columns, each with the value that the repair wrote and the value before.
    Restore {
        table: String,
        key: String,
        columns: BTreeMap<String, [Option<String>; 2]>,
    },
}

/// A change to revert, with values that a repair can have written.
pub enum Revert {
    Set { table: Table, key: String, column: &'static str, from: Option<String>, to: Option<String> },
    PutBack { row: WholeRow, orphan: bool },
    Remove { table: Table, key: String, row: WholeRow },
    Restore { table: Table, key: String, columns: BTreeMap<String, [Option<String>; 2]> },
}

/// Returns the changes that an undo file records, the last one first. An error names a line that no
/// repair can have written.
pub fn read(
    file: &Path,
    location: &Location,
    mender: &mut Mender,
    failed: impl Fn(Failure) -> Error,
) -> Result<Vec<Revert>> {
    const ADVICE: &str = "Name the undo file of a repair, and the index of that repair with --index.";
    let unusable = |why: String| Error::usage(format!("--undo {}: {why}", file.display()), ADVICE);
    let mut reverts = Vec::new();
    for (n, line) in undo_file::read(file, location).map_err(unusable)? {
        let wrong = |why: &dyn std::fmt::Display| unusable(format!("line {n}: {why}"));
        let undo: Undo = serde_json::from_str(&line).map_err(|error| wrong(&plan::not_json(&error)))?;
        reverts.push(check(undo, mender).map_err(&failed)?.map_err(|why| wrong(&why))?);
    }
    reverts.reverse();
    Ok(reverts)
}

fn check(undo: Undo, mender: &mut Mender) -> Result<Result<Revert, String>, Failure> {
    Ok(match undo {
        Undo::Set { table, key, column, from, to } => check_set(&table, &column, key, from, to, mender),
        Undo::PutBack { table, row, orphan } => match known(&table) {
            Ok(Table::Image) => check_row(Table::Image, None, &row, mender)?.map(|()| Revert::PutBack { row, orphan }),
            Ok(_) => Err(format!("a repair does not remove rows of `{table}`")),
            Err(why) => Err(why),
        },
        Undo::Remove { table, key, row } => match known(&table) {
            Ok(table) => check_row(table, Some(&key), &row, mender)?.map(|()| Revert::Remove { table, key, row }),
            Err(why) => Err(why),
        },
        Undo::Restore { table, key, columns } => {
            known(&table).and_then(|table| match columns.keys().find(|name| !mender.may_restore(table, name)) {
                Some(column) => Err(format!("a repair does not set `{}.{column}`", table.name())),
                None if columns.is_empty() => Err("`columns` is empty".into()),
                None => Ok(Revert::Restore { table, key, columns }),
            })
        }
    })
}

fn known(table: &str) -> Result<Table, String> {
    insert::table(table).ok_or_else(|| format!("the table `{table}` is unknown"))
}

/// Checks that a repair can have written one of the values, and that the other one can have been
/// there before.
fn check_set(
    table: &str,
    column: &str,
    key: String,
    from: Option<String>,
    to: Option<String>,
    mender: &Mender,
) -> Result<Revert, String> {
    let (table, column) = settable(table, column)?;
    let is_possible = match (table, column) {
        (Table::Image, _) => {
            from.as_ref().is_some_and(|path| !path.is_empty()) && to.as_ref().is_none_or(|path| is_path(path, mender))
        }
        (Table::Series, _) => from.as_deref().is_some_and(is_count) && to.as_deref().is_none_or(is_count),
        (_, "private") => from.as_deref() == Some("0") && to.is_none(),
        _ => from.is_none() && to.as_ref().is_some_and(|to| to.trim().is_empty()),
    };
    match is_possible {
        true => Ok(Revert::Set { table, key, column, from, to }),
        false => Err(format!("no repair has set `{}.{column}` from and to these values", table.name())),
    }
}

/// Whether the column can hold a text. The earlier path may be any text, because the repair found
/// that path wrong.
fn is_path(path: &str, mender: &Mender) -> bool {
    mender.holds_path(path)
}

/// Checks that a row has only columns of the table, and the key of the line.
fn check_row(
    table: Table,
    key: Option<&str>,
    row: &WholeRow,
    mender: &mut Mender,
) -> Result<Result<(), String>, Failure> {
    let columns = mender.columns(table)?;
    if let Some(unknown) = row.keys().find(|name| !columns.contains(name)) {
        return Ok(Err(format!("the column `{}.{unknown}` is unknown", table.name())));
    }
    let found = row.get(mender.key(table)).and_then(Option::as_deref);
    Ok(match (found, key) {
        (None | Some(""), _) => Err("the row has no key".into()),
        (Some(found), Some(key)) if found != key => Err("the row has another key".into()),
        _ => Ok(()),
    })
}
