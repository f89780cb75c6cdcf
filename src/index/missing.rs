//! Bulk insert of the rows of one table that do not exist yet.
//!
//! Each statement inserts many rows. A statement that fails is bisected to isolate the row that the
//! database rejects, or that another writer has just inserted, and the remaining rows are inserted.

use std::collections::{HashMap, HashSet};

use super::column::Column;
use super::columns::Source;
use super::entry::IDENTITY;
use super::patience::Tried;
use super::{Entry, Existing, Failure, Index, Look, Refusal, Show, Value, View};
use crate::dicom::attributes::position;
use crate::dicom::{Level, Table};

/// A row to insert unless it exists.
pub trait Row {
    fn key(&self, table: Table) -> &str;

    /// The collation key. Equal for keys that the database considers equal.
    fn identity(&self) -> &str;

    /// The approximate size of the row's values in a statement, in bytes.
    fn weight(&self) -> usize;

    /// Appends the row's values, in the order of the columns.
    fn values<'a>(&'a self, columns: &[Column], into: &mut Vec<Value<'a>>);
}

/// A row to insert with the values of an entry.
#[derive(Clone, Copy)]
pub struct NewRow<'a> {
    pub entry: &'a Entry,
    /// The collation key. Equal for keys that the database considers equal.
    pub identity: &'a str,
    /// The Patient ID, which may have a suffix.
    pub patient: &'a str,
}

impl<'a> NewRow<'a> {
    /// Creates the row of an image.
    pub fn of(entry: &'a Entry) -> Self {
        NewRow { entry, identity: entry.key(Level::Instance), patient: entry.key(Level::Patient) }
    }

    pub fn value(&self, column: &Column) -> Value<'a> {
        const ORIGID: Source = Source::Attribute(position(Table::Patient, "origid"));
        const PATIENTID: Source = Source::Attribute(IDENTITY[0]);
        column.blank(match column.source {
            ORIGID | PATIENTID => Value::Text(self.patient),
            source => self.entry.value(source),
        })
    }
}

impl Row for NewRow<'_> {
    fn key(&self, table: Table) -> &str {
        if table == Table::Patient { self.patient } else { self.entry.key(table.level()) }
    }

    fn identity(&self) -> &str {
        self.identity
    }

    fn weight(&self) -> usize {
        self.entry.weight()
    }

    fn values<'a>(&'a self, columns: &[Column], into: &mut Vec<Value<'a>>) {
        into.extend(columns.iter().map(|column| self.value(column)));
    }
}

/// The result of inserting a row.
#[derive(Clone, Debug)]
pub enum Presence {
    Inserted,
    There(Existing),
    Refused(Refusal),
}

pub struct Missing<'a, R> {
    index: &'a mut dyn Index,
    table: Table,
    /// One row per key.
    rows: &'a [R],
    presence: Vec<Option<Presence>>,
    /// Rows that an earlier, failed attempt left in the database. They count as inserted.
    left: &'a HashSet<Tried>,
    /// Whether an existing row is an error, so that the caller retries the transaction.
    begins_anew: bool,
}

impl<'a, R: Row> Missing<'a, R> {
    pub fn new(
        index: &'a mut dyn Index,
        table: Table,
        rows: &'a [R],
        left: &'a HashSet<Tried>,
        begins_anew: bool,
    ) -> Self {
        let begins_anew = begins_anew && index.tables().is_transactional;
        Missing { index, table, rows, presence: vec![None; rows.len()], left, begins_anew }
    }

    /// Inserts the rows that do not exist. `was_looked_for` is false if the rows were not looked up
    /// before, as in a table that was empty.
    pub fn insert(mut self, was_looked_for: bool) -> Result<Vec<Presence>, Failure> {
        let all: Vec<usize> = (0..self.rows.len()).collect();
        // A failed statement may leave rows behind in a table without transactions. Only a lookup
        // before the insert shows which rows were not inserted by this run.
        if (!was_looked_for || !self.left.is_empty()) && !self.index.tables().is_transactional {
            let (table, left) = (self.table, self.left);
            let presence = |row: Existing| match left.contains(&(table, row.key.as_str().into())) {
                true => Presence::Inserted,
                false => Presence::There(row),
            };
            self.look(&all, View::Begun, presence)?;
        }
        let missing = self.without_presence(&all);
        let mut rest = missing.as_slice();
        for size in self.index.insert_sizes() {
            while rest.len() >= *size && (*size == 1 || self.weight(&rest[..*size]) <= self.index.statement_bytes()) {
                let (part, after) = rest.split_at(*size);
                self.insert_part(part)?;
                rest = after;
            }
        }
        Ok(self.presence.into_iter().flatten().collect())
    }

    fn weight(&self, part: &[usize]) -> usize {
        part.iter().map(|n| self.rows[*n].weight()).sum()
    }

    fn without_presence(&self, part: &[usize]) -> Vec<usize> {
        part.iter().copied().filter(|n| self.presence[*n].is_none()).collect()
    }

    /// Records which rows exist.
    fn look(&mut self, part: &[usize], view: View, there: impl Fn(Existing) -> Presence) -> Result<(), Failure> {
        let keys: Vec<&str> = part.iter().map(|n| self.rows[*n].key(self.table)).collect();
        let existing = self.index.find(self.table, &keys, Look { view, show: Show::Nothing })?;
        let by_key: HashMap<&str, &Existing> = existing.iter().map(|row| (row.identity.as_str(), row)).collect();
        for n in part {
            if let Some(row) = by_key.get(self.rows[*n].identity()) {
                self.presence[*n] = Some(there((*row).clone()));
            }
        }
        Ok(())
    }

    fn insert_part(&mut self, part: &[usize]) -> Result<(), Failure> {
        let tables = self.index.tables();
        let columns = &tables.of(self.table).columns;
        let mut values = Vec::with_capacity(part.len() * columns.len());
        for n in part {
            self.rows[*n].values(columns, &mut values);
        }
        match (self.index.insert(self.table, part.len(), &values), part) {
            (Ok(()), _) => {
                part.iter().for_each(|n| self.presence[*n] = Some(Presence::Inserted));
                Ok(())
            }
            (Err(Failure::Duplicate), _) if self.begins_anew => Err(Failure::Duplicate),
            (Err(Failure::Refused(refusal)), [n]) => {
                self.presence[*n] = Some(Presence::Refused(refusal));
                Ok(())
            }
            (Err(Failure::Duplicate), [n]) => {
                self.look(part, View::Now, Presence::There)?;
                // No row has this key: the site has a unique key on another column, and another row
                // has the value.
                let detail = "a unique key other than the primary one is held by another row".into();
                self.presence[*n].get_or_insert(Presence::Refused(Refusal { code: "refused-by-index", detail }));
                Ok(())
            }
            (Err(Failure::Duplicate | Failure::Refused(_)), _) => self.halve(part),
            (Err(failure), _) => Err(failure),
        }
    }

    fn halve(&mut self, part: &[usize]) -> Result<(), Failure> {
        if self.index.tables().is_transactional {
            self.look(part, View::Now, Presence::There)?;
        } else {
            // The rows did not exist before, so the failed statement inserted them.
            self.look(part, View::Now, |_| Presence::Inserted)?;
        }
        let missing = self.without_presence(part);
        let (left, right) = missing.split_at(missing.len() / 2);
        for half in [left, right].into_iter().filter(|half| !half.is_empty()) {
            self.insert_part(half)?;
        }
        Ok(())
    }
}
