//! The values of an index by table, key and column.

use std::collections::BTreeMap;

use crate::support::{Index, TABLES};

/// The values of a row by column; NULL is `-`.
pub type Row = BTreeMap<String, String>;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot(BTreeMap<(&'static str, String), Row>);

/// A value that differs between two snapshots. `None` is a missing row.
#[derive(Debug)]
pub struct Difference {
    pub table: &'static str,
    pub key: String,
    pub column: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl Snapshot {
    pub fn of(index: &Index) -> Self {
        let mut rows = BTreeMap::new();
        let mut connection = index.connect();
        for (table, key) in TABLES {
            let columns = if index.url.starts_with("sqlite") {
                format!("SELECT name FROM pragma_table_info('{table}')")
            } else {
                format!(
                    "SELECT CAST(COLUMN_NAME AS CHAR) FROM information_schema.COLUMNS \
                     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' ORDER BY ORDINAL_POSITION"
                )
            };
            let columns = connection.rows(&columns);
            // One query per table: a run may be writing.
            for values in connection.rows(&format!("SELECT * FROM `{table}`")) {
                let row: Row = columns.iter().cloned().zip(values.split('|').map(str::to_owned)).collect();
                rows.insert((table, row[key].clone()), row);
            }
        }
        connection.close();
        Snapshot(rows)
    }

    /// The rows of a table with their keys.
    pub fn table(&self, table: &str) -> impl Iterator<Item = (&str, &Row)> {
        self.0.iter().filter(move |((name, _), _)| *name == table).map(|((_, key), row)| (key.as_str(), row))
    }

    pub fn row(&self, table: &'static str, key: &str) -> Option<&Row> {
        self.0.get(&(table, key.to_owned()))
    }

    /// A difference for each value, and one with the column `*` for each row that only one snapshot
    /// contains.
    pub fn differences(&self, later: &Snapshot) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut add = |(table, key): &(&'static str, String), column: &str, before, after| {
            found.push(Difference { table, key: key.clone(), column: column.to_owned(), before, after });
        };
        for (place, row) in &self.0 {
            let Some(other) = later.0.get(place) else {
                add(place, "*", Some(format!("{row:?}")), None);
                continue;
            };
            for (column, value) in row.iter().filter(|(column, value)| other.get(*column) != Some(value)) {
                add(place, column, Some(value.clone()), other.get(column).cloned());
            }
        }
        for (place, row) in later.0.iter().filter(|(place, _)| !self.0.contains_key(place)) {
            add(place, "*", None, Some(format!("{row:?}")));
        }
        found
    }
}
