//! Writes of a repair, value by value and row by row. Each write succeeds only if the row still has
//! the values that the plan saw. Apart from the removal of rows that this program inserted and that
//! are no longer needed, this is the only place that deletes a row, and the row is saved completely
//! before.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::existing::FACTS;
use super::location::Access;
use super::stored_column::StoredColumn;
use super::{Failure, Index, Location, Tables, link};
use crate::dicom::{Level, Table};
use crate::error::Result;

/// All columns of a row as text, by column name.
pub type WholeRow = BTreeMap<String, Option<String>>;

/// The columns that a plan may set, because they are known to be safe to change.
pub const SETTABLE: [(Table, &str); 4] =
    [(Table::Image, "path"), (Table::Series, "instances"), (Table::Study, "reviewed"), (Table::Study, "private")];

pub struct Mender {
    index: Box<dyn Index + Send>,
    tables: Arc<Tables>,
}

impl Mender {
    pub fn new(location: &Location, tables: &Arc<Tables>) -> Result<Self> {
        Ok(Mender { index: location.connect(tables, Access::Write)?, tables: tables.clone() })
    }

    /// Returns the value of a column, or `None` if the row does not exist.
    pub fn value(&mut self, table: Table, key: &str, column: &str) -> Result<Option<Option<String>>, Failure> {
        let (column, key_column) = (self.column(table, column), self.tables.key(table));
        let text = self.index.text_type();
        let sql = format!("SELECT CAST(`{column}` AS {text}) FROM `{}` WHERE `{key_column}` = ?", table.name());
        Ok(self.index.ask(&sql, &[key])?.pop().and_then(|mut row| row.pop()))
    }

    /// Sets a column if it still has the expected value. Returns whether the column was set.
    pub fn set(
        &mut self,
        table: Table,
        key: &str,
        column: &str,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<bool, Failure> {
        // The row count that the server returns may be of changed rows or of matched rows, so
        // compare the value.
        if self.value(table, key, column)? != Some(from.map(str::to_owned)) {
            return Ok(false);
        }
        let (column, key_column) = (self.column(table, column), self.tables.key(table));
        let (name, holds) = (table.name(), self.index.holds(&column));
        let sql = format!("UPDATE `{name}` SET `{column}` = ? WHERE `{key_column}` = ? AND {holds}");
        Ok(self.index.execute(&sql, &[to, Some(key), from])? > 0)
    }

    /// Returns the number of images of a series.
    pub fn count_images(&mut self, series: &str) -> Result<u64, Failure> {
        let link = self.tables.of(Level::Instance).name("seriesuid");
        let count = format!("CAST(COUNT(*) AS {})", self.index.text_type());
        let rows = self.index.ask(&format!("SELECT {count} FROM `image` WHERE `{link}` = ?"), &[series])?;
        Ok(rows.into_iter().flatten().flatten().next().and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    /// Returns the name of the key column of a table.
    pub fn key(&self, table: Table) -> &str {
        self.tables.key(table)
    }

    /// Returns the columns of a table, in table order.
    pub fn columns(&mut self, table: Table) -> Result<Vec<String>, Failure> {
        self.index.column_names(table.name())
    }

    /// Whether inserting instances may change this column of an existing row: the column is read
    /// from the tags, derived, or a fact about the file.
    pub fn may_restore(&self, table: Table, name: &str) -> bool {
        let written = self.tables.of(table);
        let mut facts = written.columns.iter().filter(|column| FACTS.contains(&column.known));
        written.fed().any(|column| column.name == name)
            || facts.any(|column| column.name == name)
            || written.derived.as_ref().is_some_and(|column| column.name == name)
    }

    /// Whether a path fits the column.
    pub fn holds_path(&self, path: &str) -> bool {
        self.tables.of(Table::Image).column("path").is_none_or(|column| column.holds(path))
    }

    /// Returns a row with all its columns.
    pub fn row(&mut self, table: Table, key: &str) -> Result<Option<WholeRow>, Failure> {
        let columns = self.index.stored_columns(table.name())?;
        let shown: Vec<&str> = columns.iter().map(|column| column.shown.as_str()).collect();
        let key_column = self.tables.key(table);
        let sql = format!("SELECT {} FROM `{}` WHERE `{key_column}` = ?", shown.join(", "), table.name());
        let row = self.index.ask(&sql, &[key])?.pop();
        Ok(row.map(|row| columns.into_iter().map(|column| column.name).zip(row).collect()))
    }

    /// Returns the first column whose value in this row does not survive the conversion to text, so
    /// that a restored row would differ.
    pub fn lossy_column(&mut self, table: Table, key: &str) -> Result<Option<String>, Failure> {
        let (key_column, text) = (self.tables.key(table), self.index.text_type());
        for StoredColumn { name, is_lossy, .. } in self.index.stored_columns(table.name())? {
            let Some(is_lossy) = is_lossy else { continue };
            let one = format!("SELECT CAST(1 AS {text})");
            let sql = format!("{one} FROM `{}` WHERE `{key_column}` = ? AND {is_lossy}", table.name());
            if !self.index.ask(&sql, &[key])?.is_empty() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Deletes an image row if it still has this path. Returns whether the row was deleted.
    pub fn remove_image(&mut self, key: &str, path: &str) -> Result<bool, Failure> {
        let (key_column, path_column) =
            (self.tables.key(Level::Instance), self.tables.of(Level::Instance).name("path"));
        let holds = self.index.holds(path_column);
        let sql = format!("DELETE FROM `image` WHERE `{key_column}` = ? AND {holds}");
        Ok(self.index.execute(&sql, &[Some(key), Some(path)])? > 0)
    }

    /// Returns these patient IDs and the IDs of the existing patients that add a suffix to one of
    /// them.
    pub fn patients(&mut self, ids: &[&str]) -> Result<Vec<String>, Failure> {
        let variants = self.index.variants(ids)?.into_iter().map(|row| row.key);
        Ok(ids.iter().map(|id| (*id).to_owned()).chain(variants).collect())
    }

    /// Deletes a row that is unchanged since the plan and has no child rows. Returns whether the
    /// row was deleted.
    pub fn remove(&mut self, table: Table, key: &str, row: &WholeRow) -> Result<bool, Failure> {
        if self.row(table, key)?.as_ref() != Some(row) || self.has_rows_below(table, key)? {
            return Ok(false);
        }
        let names: Vec<&str> = row.keys().map(String::as_str).collect();
        let conditions = self.conditions(table, &names)?;
        let sql = format!("DELETE FROM `{}` WHERE `{}` = ?{conditions}", table.name(), self.tables.key(table));
        let values: Vec<Option<&str>> = [Some(key)].into_iter().chain(row.values().map(Option::as_deref)).collect();
        Ok(self.index.execute(&sql, &values)? > 0)
    }

    fn has_rows_below(&mut self, table: Table, key: &str) -> Result<bool, Failure> {
        let below = match table {
            Table::Patient => Table::Study,
            Table::Study => Table::Series,
            Table::Series => Table::Image,
            _ => return Ok(false),
        };
        let link = self.tables.of(below).name(link(below).unwrap_or_default()).to_owned();
        let sql = format!("SELECT 1 FROM `{}` WHERE `{link}` = ? LIMIT 1", below.name());
        Ok(!self.index.ask(&sql, &[key])?.is_empty())
    }

    /// Restores columns of a row if each still has the expected value. Returns whether all were
    /// restored.
    pub fn restore(
        &mut self,
        table: Table,
        key: &str,
        columns: &BTreeMap<String, [Option<String>; 2]>,
    ) -> Result<bool, Failure> {
        let Some(row) = self.row(table, key)? else { return Ok(false) };
        if columns.iter().any(|(name, [now, _])| row.get(name) != Some(now)) {
            return Ok(false);
        }
        let sets: Vec<String> = columns.keys().map(|name| format!("`{}` = ?", name.replace('`', ""))).collect();
        let names: Vec<&str> = columns.keys().map(String::as_str).collect();
        let conditions = self.conditions(table, &names)?;
        let key_column = self.tables.key(table);
        let sql = format!("UPDATE `{}` SET {} WHERE `{key_column}` = ?{conditions}", table.name(), sets.join(", "));
        let values = columns.values().map(|[_, before]| before.as_deref()).chain([Some(key)]);
        let values: Vec<Option<&str>> = values.chain(columns.values().map(|[now, _]| now.as_deref())).collect();
        Ok(self.index.execute(&sql, &values)? > 0)
    }

    /// Builds the conditions that compare columns with the values that follow in the statement.
    fn conditions(&mut self, table: Table, names: &[&str]) -> Result<String, Failure> {
        let columns = self.index.stored_columns(table.name())?;
        let holds = |name: &&str| columns.iter().find(|column| column.name == *name).map(|column| &column.holds);
        let missing = || Failure::Lost(format!("a column of `{}` is missing", table.name()));
        let conditions = names.iter().map(|name| holds(name).map(|holds| format!(" AND {holds}")).ok_or_else(missing));
        conditions.collect()
    }

    /// Whether the series of an image exists.
    pub fn has_series(&mut self, image: &WholeRow) -> Result<bool, Failure> {
        let link = self.tables.of(Level::Instance).name("seriesuid").to_owned();
        match image.get(&link).and_then(Option::as_deref) {
            Some(series) => Ok(self.row(Table::Series, series)?.is_some()),
            None => Ok(false),
        }
    }

    /// Inserts a row again that was removed. Returns `false` if its key is in use.
    pub fn put_back(&mut self, table: Table, row: &WholeRow) -> Result<bool, Failure> {
        let names: Vec<String> = row.keys().map(|name| format!("`{}`", name.replace('`', ""))).collect();
        let marks = vec!["?"; row.len()].join(", ");
        let sql = format!("INSERT INTO `{}` ({}) VALUES ({marks})", table.name(), names.join(", "));
        let values: Vec<Option<&str>> = row.values().map(Option::as_deref).collect();
        match self.index.execute(&sql, &values) {
            Ok(rows) => Ok(rows > 0),
            Err(Failure::Duplicate) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Maps the name of a column in a plan to the name of the column in the database.
    fn column(&self, table: Table, known: &str) -> String {
        let written = self.tables.of(table);
        let derived = written.derived.as_ref().filter(|column| column.known == known).map(|column| column.name.clone());
        let named = Some(written.name(known)).filter(|name| !name.is_empty()).map(str::to_owned);
        named.or(derived).unwrap_or_else(|| known.to_owned())
    }
}
