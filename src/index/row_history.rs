//! The index's view of the row ledger: which rows this program inserted, and which values it wrote
//! to them.
//!
//! Before each commit, the batch writer and the closing step record the values that they are about
//! to commit. With these records, a later run of any command recognizes the rows of this program,
//! and decides value by value whether it may change them: a value that the ledger does not contain
//! was written by a PACS or a person, and is kept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::column::Column;
use super::columns::{Source, WrittenTable};
use super::{Existing, Tables, Value};
use crate::dicom::{Table, packed};

/// Rows of one table, with the values that a transaction is about to commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntendedRows {
    pub table: String,
    /// The names by which this program knows the columns.
    pub columns: Vec<String>,
    pub rows: Vec<IntendedRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntendedRow {
    pub key: String,
    /// Whether the transaction inserts the row. Otherwise it changes a row that this program
    /// inserted before.
    pub is_inserted: bool,
    /// The encoded values, in the order of the columns.
    pub values: Vec<u8>,
}

impl IntendedRows {
    pub fn new(table: Table, columns: &[&Column]) -> Self {
        let columns = columns.iter().map(|column| column.known.to_owned()).collect();
        IntendedRows { table: table.name().to_owned(), columns, rows: Vec::new() }
    }

    pub fn push<'v>(&mut self, key: &str, is_inserted: bool, values: impl IntoIterator<Item = Value<'v>>) {
        let mut bytes = Vec::with_capacity(128);
        values.into_iter().for_each(|value| packed::put(value, &mut bytes));
        self.rows.push(IntendedRow { key: key.to_owned(), is_inserted, values: bytes });
    }
}

impl WrittenTable {
    /// Returns the columns whose values the ledger records: those that files determine.
    pub fn recorded(&self) -> Vec<&Column> {
        self.columns.iter().filter(|column| column.is_recorded()).collect()
    }
}

impl Column {
    /// Returns whether files determine the value.
    pub fn is_recorded(&self) -> bool {
        matches!(self.source, Source::Attribute(_) | Source::Received | Source::Charset)
    }
}

/// All recorded versions of one row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowHistory {
    /// In the order of writing.
    pub versions: Vec<RowVersion>,
}

/// The values of a row that one transaction was about to commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowVersion {
    pub is_inserted: bool,
    /// Whether the commit is known to have succeeded. After a kill, the outcome of the last
    /// transactions is unknown.
    pub is_committed: bool,
    pub columns: Arc<[String]>,
    pub values: Arc<[u8]>,
}

impl RowVersion {
    /// Returns the value of a column. A column that an earlier version of this program did not know
    /// counts as NULL.
    pub fn value(&self, column: &Column) -> Value<'_> {
        let at = self.columns.iter().position(|name| name == column.known);
        let value = at.and_then(|at| packed::values(&self.values).nth(at));
        column.blank(value.unwrap_or(Value::Null))
    }

    /// Returns whether a row has all values of the version. A column that was NULL may have been
    /// filled since.
    pub fn is_shown_or_filled(&self, tables: &Tables, table: Table, row: &Existing) -> bool {
        let is_kept = |column: &&Column| {
            let value = self.value(column);
            value == Value::Null || column.shows(row.text_of(tables, table, column), value)
        };
        tables.of(table).recorded().iter().all(is_kept)
    }

    fn is_shown(&self, tables: &Tables, table: Table, row: &Existing) -> bool {
        let recorded = tables.of(table).recorded();
        recorded.iter().all(|column| column.shows(row.text_of(tables, table, column), self.value(column)))
    }
}

impl RowHistory {
    /// Returns whether this program has inserted the row. If it is not known whether the insert was
    /// committed, it was if the row is unfinished, because the rows of this program are unfinished
    /// until their final values are written. Later versions are recorded only for rows of this
    /// program.
    pub fn is_inserted(&self, is_unfinished: bool) -> bool {
        is_unfinished || self.versions.iter().any(|version| version.is_committed)
    }

    /// Returns whether this program may change a column of a row. In an unfinished row, the value
    /// must come from any version; in a finished row, from the last final version. `row` is the row
    /// with all its values.
    pub fn owns(&self, tables: &Tables, table: Table, column: &Column, row: &Existing) -> bool {
        let shown = row.text_of(tables, table, column);
        // NULL may always be filled, whichever program wrote it.
        if shown.is_none() {
            return true;
        }
        let is_version = |version: &RowVersion| column.shows(shown, version.value(column));
        if row.is_unfinished {
            return self.versions.iter().any(is_version);
        }
        // The outcome of versions after the last committed one is unknown. If the last commit
        // failed, the row as a whole has the values of an earlier final version: with the values of
        // its insert, the row would be unfinished.
        let Some((last, earlier)) = self.versions.split_last() else { return false };
        // Without transactions, two writers of a run may both record that they inserted a row.
        let has_final = self.versions.iter().any(|version| !version.is_inserted);
        let is_of_another_writer =
            |version: &RowVersion| version.is_committed && is_version(version) && version.is_shown(tables, table, row);
        if !has_final && earlier.iter().any(is_of_another_writer) {
            return true;
        }
        let committed = earlier.iter().rposition(|version| version.is_committed).unwrap_or(0);
        let is_final = |version: &RowVersion| !version.is_inserted && version.is_shown(tables, table, row);
        is_version(last)
            || !last.is_committed && earlier[committed..].iter().any(|version| is_version(version) && is_final(version))
    }

    /// Returns the version with which a finished row was inserted, if that is its last version.
    pub fn only_inserted(&self) -> Option<&RowVersion> {
        self.versions.last().filter(|version| version.is_inserted)
    }
}
