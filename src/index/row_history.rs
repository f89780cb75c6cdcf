//! The ledger of rows, as the index uses it: which rows this program has inserted, and which values it has written to them.
//!
//! Before each commit, the batch writer and the closing step record the values that they are about to commit. A later run,
//! whichever command started it, recognizes its own rows by that, and decides value by value whether it may change them: a
//! value that the ledger does not have was written by a PACS or a person, and stays.

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
    /// The transaction inserts the row. Otherwise the transaction changes a row that this program has inserted before.
    pub is_inserted: bool,
    /// The values of the columns, in their order.
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
    /// The columns whose values the ledger records: those that files determine.
    pub fn recorded(&self) -> Vec<&Column> {
        self.columns.iter().filter(|column| column.is_recorded()).collect()
    }
}

impl Column {
    /// Whether files determine the value.
    pub fn is_recorded(&self) -> bool {
        matches!(self.source, Source::Attribute(_) | Source::Received | Source::Charset)
    }
}

/// The versions of one row in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowHistory {
    /// In the order of writing.
    pub versions: Vec<RowVersion>,
}

/// The values of a row that one transaction was about to commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowVersion {
    pub is_inserted: bool,
    /// Whether the commit is known to have succeeded. A run that is killed leaves the last transactions in doubt.
    pub is_committed: bool,
    pub columns: Arc<[String]>,
    pub values: Arc<[u8]>,
}

impl RowVersion {
    /// The value of a column. A column that an earlier version of this program did not know was NULL.
    pub fn value(&self, column: &Column) -> Value<'_> {
        let at = self.columns.iter().position(|name| name == column.known);
        let value = at.and_then(|at| packed::values(&self.values).nth(at));
        column.blank(value.unwrap_or(Value::Null))
    }

    /// Whether a row shows all values of the version. A column that was NULL may have been filled since.
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
    /// Whether this program has inserted the row. An insert that is in doubt has succeeded if the row is unfinished: rows of
    /// this program are, until their final values are written. A later version is written only of rows of this program.
    pub fn is_inserted(&self, is_unfinished: bool) -> bool {
        is_unfinished || self.versions.iter().any(|version| version.is_committed)
    }

    /// Whether this program may change a column that shows a value: the value is one of this program, and of a row that is
    /// finished the last final one. `row` is the row with all its values.
    pub fn owns(&self, tables: &Tables, table: Table, column: &Column, row: &Existing) -> bool {
        let shown = row.text_of(tables, table, column);
        // NULL is filled, whichever program wrote it.
        if shown.is_none() {
            return true;
        }
        let is_version = |version: &RowVersion| column.shows(shown, version.value(column));
        if row.is_unfinished {
            return self.versions.iter().any(is_version);
        }
        // Versions after the last one that was committed are in doubt. If the last commit failed, the row as a whole shows an
        // earlier final version: with the values of its insert the row would be unfinished.
        let Some((last, earlier)) = self.of_finished_row().split_last() else { return false };
        // Without transactions, two writers of a run may both record that they have inserted a row.
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

    /// The version with which a row that is finished was inserted, if it is the last one.
    pub fn only_inserted(&self) -> Option<&RowVersion> {
        self.last_of_finished_row().filter(|version| version.is_inserted)
    }

    /// The last version of a row that is finished.
    pub fn last_of_finished_row(&self) -> Option<&RowVersion> {
        self.of_finished_row().last()
    }

    /// The versions that a row which is finished may have. Without transactions, inserts are recorded before it is known
    /// whether they find the row. An insert behind a version that was committed found the row: otherwise the row would be
    /// unfinished.
    fn of_finished_row(&self) -> &[RowVersion] {
        let has_failed = |version: &RowVersion| version.is_inserted && !version.is_committed;
        match self.versions.iter().any(|version| version.is_committed) {
            true => {
                let end = self.versions.iter().rposition(|version| !has_failed(version)).map_or(0, |last| last + 1);
                &self.versions[..end]
            }
            false => &self.versions,
        }
    }
}
