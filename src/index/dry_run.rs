//! An index that is read but not written. [`DryRun`] stores the rows that the run would have
//! inserted, so that a second file of the same instance is still recognized as a duplicate, and
//! counts the changes that the run would have made.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::patient_name::Name;
use super::stored_column::StoredColumn;
use super::{
    Change, Derive, Derived, Existing, Failure, Index, LinkedStudy, Look, RowUpdate, Tables, Value, View, link,
};
use crate::dicom::{Level, Table};
use crate::disk::map::DiskMap;

/// The maximum number of rows that stay in memory after a commit.
const ROWS_IN_MEMORY: usize = 10_000;

pub struct DryRun<I> {
    index: I,
    /// The rows that the run would have inserted, by table and collation key.
    inserted: DiskMap<Existing>,
    changes: BTreeMap<(&'static str, String), Changed>,
    /// The state to restore on a rollback, while a transaction is open.
    begun: Option<Begun>,
}

/// The data to undo a transaction: the keys of the rows that it inserted, and the changes counted
/// before it began.
struct Begun {
    inserted: Vec<String>,
    changes: BTreeMap<(&'static str, String), Changed>,
}

/// The number of rows in which a column would have been changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub rows: u64,
    /// The smallest UID of these rows. Not set for patients, whose keys are not reported.
    pub first: Option<String>,
}

/// Returns the map key of a row, from its table and collation key.
fn place(table: Table, identity: &str) -> String {
    format!("{}/{identity}", table.name())
}

impl<I: Index> DryRun<I> {
    pub fn new(index: I) -> Self {
        let inserted = DiskMap::new(&std::env::temp_dir());
        DryRun { index, inserted, changes: BTreeMap::new(), begun: None }
    }

    fn identities_of(&mut self, table: Table, keys: &[&str]) -> Result<Vec<String>, Failure> {
        match table.level() {
            Level::Patient => self.index.identities(keys),
            _ => Ok(keys.iter().map(|key| (*key).to_owned()).collect()),
        }
    }
}

impl<I: Index> Index for DryRun<I> {
    fn tables(&self) -> Arc<Tables> {
        self.index.tables()
    }

    fn insert_sizes(&self) -> &'static [usize] {
        self.index.insert_sizes()
    }

    fn probe(&mut self, _: Level) -> Result<(), Failure> {
        Ok(())
    }

    /// Returns `false`, so that rows are always looked up.
    fn is_empty(&mut self, _: Level) -> Result<bool, Failure> {
        Ok(false)
    }

    fn statement_bytes(&self) -> usize {
        self.index.statement_bytes()
    }

    fn identities(&mut self, patient_ids: &[&str]) -> Result<Vec<String>, Failure> {
        self.index.identities(patient_ids)
    }

    fn find(&mut self, table: Table, keys: &[&str], look: Look) -> Result<Vec<Existing>, Failure> {
        let mut existing = self.index.find(table, keys, look)?;
        let identities = self.identities_of(table, keys)?;
        for identity in &identities {
            existing.extend(self.inserted.get(&place(table, identity)).map_err(Failure::of_temporary_file)?);
        }
        Ok(existing)
    }

    fn ask(&mut self, sql: &str, values: &[&str]) -> Result<Vec<Vec<Option<String>>>, Failure> {
        self.index.ask(sql, values)
    }

    fn execute(&mut self, _: &str, _: &[Option<&str>]) -> Result<u64, Failure> {
        Err(Failure::Lost("a dry run writes nothing".into()))
    }

    fn table_names(&mut self) -> Result<Vec<String>, Failure> {
        self.index.table_names()
    }

    fn stored_columns(&mut self, table: &str) -> Result<Vec<StoredColumn>, Failure> {
        self.index.stored_columns(table)
    }

    fn holds(&self, column: &str) -> String {
        self.index.holds(column)
    }

    fn shows(&self, expression: &str) -> String {
        self.index.shows(expression)
    }

    fn as_bytes(&self, expression: &str) -> String {
        self.index.as_bytes(expression)
    }

    fn text_type(&self) -> &'static str {
        self.index.text_type()
    }

    fn rows_after(&mut self, sop_instance_uid: &str) -> Result<Vec<super::ImageRow>, Failure> {
        self.index.rows_after(sop_instance_uid)
    }

    fn variants(&mut self, patient_ids: &[&str]) -> Result<Vec<Existing>, Failure> {
        self.index.variants(patient_ids)
    }

    fn variants_after(&mut self, patient_id: &str, after: &str) -> Result<Vec<Existing>, Failure> {
        self.index.variants_after(patient_id, after)
    }

    fn studies_of(&mut self, patient_ids: &[&str], view: View) -> Result<Vec<LinkedStudy>, Failure> {
        self.index.studies_of(patient_ids, view)
    }

    fn edited(&mut self, level: Level, keys: &[&str]) -> Result<Vec<String>, Failure> {
        self.index.edited(level, keys)
    }

    fn insert(&mut self, table: Table, _: usize, values: &[Value<'_>]) -> Result<(), Failure> {
        let tables = self.tables();
        let columns = &tables.of(table).columns;
        for row in values.chunks(columns.len()) {
            let text = |known: &str| {
                let at = columns.iter().position(|column| column.known == known);
                match at.map(|at| row[at]) {
                    Some(Value::Text(text)) => text.to_owned(),
                    _ => String::new(),
                }
            };
            let spelled = text(table.key());
            let identity = self.identities_of(table, &[&spelled])?.pop().unwrap_or_default();
            let name = Name(["lastname", "firstname", "middlename"].map(|known| text(known).into()));
            let name = Some(name);
            let (link, path) = (link(table).map_or_else(String::new, text), text("path"));
            let row = Existing { key: spelled, identity: identity.clone(), link, path, name, ..Existing::default() };
            let place = place(table, &identity);
            self.inserted.insert(&place, row);
            self.begun.iter_mut().for_each(|begun| begun.inserted.push(place.clone()));
        }
        Ok(())
    }

    /// Counts changes to rows that existed before the run. Changes to rows that the run inserted
    /// are not counted, because a real run would have left these rows with their final values.
    fn update(&mut self, update: &RowUpdate<'_>) -> Result<bool, Failure> {
        let RowUpdate { table, key, path, changes, derived, .. } = *update;
        let identity = self.identities_of(table, &[key])?.pop().unwrap_or_default();
        let place = place(table, &identity);
        if let Some(mut row) = self.inserted.get(&place).map_err(Failure::of_temporary_file)? {
            let pointed = changes.iter().find(|change| change.column.known == "path");
            if let (Some(Change { to: Value::Text(to), .. }), true) = (pointed, path == Some(&row.path)) {
                row.path = (*to).to_owned();
                self.inserted.insert(&place, row);
            }
            return Ok(true);
        }
        let tables = self.index.tables();
        let derived = tables.of(table).derived.as_ref().filter(|_| derived != Derived::Unchanged);
        for column in changes.iter().map(|change| change.column).chain(derived) {
            let changed = Changed { rows: 0, first: None };
            let changed = self.changes.entry((table.name(), column.name.clone())).or_insert(changed);
            changed.rows += 1;
            if table.level() != Level::Patient && changed.first.as_deref().is_none_or(|first| key < first) {
                changed.first = Some(key.to_owned());
            }
        }
        Ok(true)
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.begun = Some(Begun { inserted: Vec::new(), changes: self.changes.clone() });
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.begun = None;
        self.inserted.write(ROWS_IN_MEMORY).map_err(Failure::of_temporary_file)
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        let Some(Begun { inserted, changes }) = self.begun.take() else { return Ok(()) };
        inserted.iter().for_each(|place| self.inserted.take_back(place));
        self.changes = changes;
        Ok(())
    }

    fn reconnect(&mut self, allow_replica: bool) -> Result<(), Failure> {
        self.index.reconnect(allow_replica)?;
        self.roll_back()
    }

    fn modalities(&mut self, _: &[&str], _: Derive) -> Result<Vec<(String, String)>, Failure> {
        Ok(Vec::new())
    }

    fn set_modalities(&mut self, _: &[&str], _: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn count_instances(&mut self, _: &[&str], _: Derive) -> Result<(), Failure> {
        Ok(())
    }

    fn changes(&self) -> Vec<(String, Changed)> {
        let told =
            |((table, column), changed): (&(&str, String), &Changed)| (format!("{table}.{column}"), changed.clone());
        self.changes.iter().map(told).collect()
    }

    fn close(self: Box<Self>) {
        Box::new(self.index).close();
    }
}
