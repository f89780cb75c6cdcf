//! The index on any SQL database: the statements that SQLite and MySQL share. [`Database`] covers
//! the differences.

use std::collections::HashMap;
use std::sync::Arc;

use super::columns::WrittenTable;
use super::patient_name::Name;
use super::statements::{self, Dialect};
use super::stored_column::StoredColumn;
use super::{
    Derive, Derived, Existing, Expected, Failure, ImageRow, Index, LinkedStudy, Look, RowUpdate, Show, Tables, Value,
    View, link,
};
use crate::dicom::{Level, Table};

/// The rows of a query, each value as text.
pub type Rows = Vec<Vec<Option<String>>>;

/// A connection to a database that uses `?` for a bound value and backquotes around a name.
pub trait Database {
    /// Numbers of rows per insert, largest first. The statement of each size is prepared once; the
    /// largest inserts most rows, and the smaller ones the remainder. The limit is the number of
    /// values that a statement may bind: 65,535 in MySQL, 32,766 in SQLite.
    const INSERT_SIZES: &'static [usize];

    fn dialect(&self) -> &Dialect;

    fn statement_bytes(&self) -> usize;

    /// Runs a statement. Returns the number of rows that it matched.
    fn execute(&mut self, sql: &Arc<str>, values: &[Value<'_>], keep: Keep) -> Result<u64, Failure>;

    /// Returns the rows that a query finds.
    fn fetch_with(&mut self, sql: &Arc<str>, values: &[Value<'_>], keep: Keep) -> Result<Rows, Failure>;

    /// Returns the rows of a query that is not repeated.
    fn fetch(&mut self, sql: &Arc<str>, values: &[Value<'_>]) -> Result<Rows, Failure> {
        self.fetch_with(sql, values, Keep::Once)
    }

    /// Returns the columns of a table that can be written, in table order.
    fn stored_columns(&mut self, table: &str) -> Result<Vec<StoredColumn>, Failure>;

    /// Returns the names of the tables in the database.
    fn table_names(&mut self) -> Result<Vec<String>, Failure>;

    fn begin(&mut self) -> Result<(), Failure>;
    fn commit(&mut self) -> Result<(), Failure>;
    fn roll_back(&mut self) -> Result<(), Failure>;
    fn close(self);
}

/// Whether to prepare a statement. A connection never closes a prepared statement: the packet that
/// does so has no answer, and over TCP the next packet would wait for a delayed acknowledgement (40
/// ms).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// A text from the fixed set of `SqlIndex::statement`, which stays prepared for the lifetime of
    /// the connection.
    Prepared,
    /// A text that depends on data. In MySQL, the values are inserted into the text, and nothing is
    /// prepared.
    Once,
}

/// The numbers of keys per lookup, in descending order. A list of keys is padded to one of these
/// sizes, so that few statements are prepared.
const LOOKUP_SIZES: [usize; 3] = [500, 50, 1];

/// The number of rows per page. Small enough for tables that are locked while they are read.
const PAGE: usize = 5000;

/// The number of IDs or prefixes per query, and the maximum number of rows per insert without
/// transactions.
const FEW: usize = 50;

/// Opens another connection of the same kind. The argument is whether the server may be a replica.
pub type Connect<D> = Box<dyn Fn(bool) -> Result<D, Failure> + Send>;

pub struct SqlIndex<D> {
    database: D,
    connect: Connect<D>,
    tables: Arc<Tables>,
    tried: Vec<(Table, Box<str>)>,
    statements: HashMap<(Verb, Table, usize), Arc<str>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Verb {
    Insert,
    Find(Look),
    Any,
    RowsAfter,
    Identities,
    Variants,
    VariantsAfter,
    StudiesOf(View),
    Edited,
    Modalities(Derive),
    SetModalities,
    CountInstances(Derive),
}

impl<D: Database> SqlIndex<D> {
    pub fn new(database: D, connect: Connect<D>, tables: Arc<Tables>) -> Self {
        SqlIndex { database, connect, tables, tried: Vec::new(), statements: HashMap::new() }
    }

    fn note_tried(&mut self, table: Table, values: &[Value<'_>]) {
        let columns = &self.tables.of(table).columns;
        let Some(key) = columns.iter().position(|column| column.known == table.key()) else { return };
        let keys = values.chunks(columns.len()).filter_map(|row| match row[key] {
            Value::Text(key) => Some((table, key.into())),
            _ => None,
        });
        self.tried.extend(keys);
    }

    /// Returns a statement of the fixed set, which has about 150 statements for all verbs, tables
    /// and sizes.
    fn statement(&mut self, verb: Verb, table: impl Into<Table>, count: usize) -> Arc<str> {
        let table = table.into();
        let level = table.level();
        let (tables, dialect) = (&self.tables, self.database.dialect());
        let text = || match verb {
            Verb::Insert => statements::insert(tables, table, count),
            Verb::Find(look) => statements::find(tables, dialect, table, look, count),
            Verb::Any => format!("SELECT 1 FROM `{}` LIMIT 1", super::table(level)),
            Verb::RowsAfter => statements::rows_after(tables, dialect, count),
            Verb::Identities => statements::identities(dialect, count),
            Verb::Variants => statements::variants(tables, dialect, count),
            Verb::VariantsAfter => statements::variants_after(tables, dialect, count),
            Verb::StudiesOf(view) => statements::studies_of(tables, dialect, view, count),
            Verb::Edited => statements::edited(tables, level, count),
            Verb::Modalities(which) => statements::modalities(tables, which, count),
            Verb::SetModalities => statements::set_derived(tables, Level::Study, count),
            Verb::CountInstances(which) => statements::count_instances(tables, which, count),
        };
        self.statements.entry((verb, table, count)).or_insert_with(|| text().into()).clone()
    }

    /// Runs a statement on a list of keys, in parts.
    fn over_keys(&mut self, verb: Verb, table: impl Into<Table>, keys: &[&str]) -> Result<Rows, Failure> {
        self.over_keys_with(&[], verb, table, keys)
    }

    /// Runs a statement on a list of keys, in parts, with values that precede the keys.
    fn over_keys_with(
        &mut self,
        first: &[Value<'_>],
        verb: Verb,
        table: impl Into<Table>,
        keys: &[&str],
    ) -> Result<Rows, Failure> {
        let table = table.into();
        let mut rows = Vec::new();
        for part in keys.chunks(LOOKUP_SIZES[0]) {
            let size = *LOOKUP_SIZES.iter().rfind(|size| **size >= part.len()).unwrap_or(&LOOKUP_SIZES[0]);
            let values: Vec<Value> = first.iter().copied().chain(filled(part, size)).collect();
            let sql = self.statement(verb, table, size);
            rows.extend(match verb {
                Verb::SetModalities | Verb::CountInstances(_) => {
                    self.database.execute(&sql, &values, Keep::Prepared)?;
                    Vec::new()
                }
                _ => self.database.fetch_with(&sql, &values, Keep::Prepared)?,
            });
        }
        Ok(rows)
    }

    fn derived(&self, level: Level) -> bool {
        self.tables.of(level).derived.is_some()
    }
}

impl<D: Database> Index for SqlIndex<D> {
    fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.tables)
    }

    /// Returns smaller sizes for tables without transactions: each statement locks a whole table
    /// there, and the PACS waits.
    fn insert_sizes(&self) -> &'static [usize] {
        let few = D::INSERT_SIZES.iter().position(|size| *size <= FEW).unwrap_or(0);
        if self.tables.is_transactional { D::INSERT_SIZES } else { &D::INSERT_SIZES[few..] }
    }

    fn probe(&mut self, level: Level) -> Result<(), Failure> {
        let probes = self.database.dialect().has_privileges.then(|| statements::probes(&self.tables, level));
        for sql in probes.into_iter().flatten() {
            self.database.execute(&sql.into(), &[], Keep::Once)?;
        }
        Ok(())
    }

    fn outgrows_memory(&mut self) -> Result<bool, Failure> {
        let Some(sql) = self.database.dialect().outgrows_memory else { return Ok(false) };
        match self.database.fetch(&sql.into(), &[]) {
            Ok(answer) => Ok(answer == [[Some("1".to_owned())]]),
            // A server without such a buffer pool rejects the query.
            Err(Failure::Lost(_)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn is_empty(&mut self, level: Level) -> Result<bool, Failure> {
        let sql = self.statement(Verb::Any, level, 0);
        Ok(self.database.fetch(&sql, &[])?.is_empty())
    }

    fn statement_bytes(&self) -> usize {
        self.database.statement_bytes()
    }

    fn identities(&mut self, patient_ids: &[&str]) -> Result<Vec<String>, Failure> {
        let mut identities = Vec::with_capacity(patient_ids.len());
        for part in patient_ids.chunks(FEW) {
            let sql = self.statement(Verb::Identities, Level::Patient, FEW);
            let filling = std::iter::repeat_n("", FEW - part.len());
            let values: Vec<Value> = part.iter().copied().chain(filling).map(Value::Text).collect();
            let row = self.database.fetch_with(&sql, &values, Keep::Prepared)?.pop().unwrap_or_default();
            identities.extend(row.into_iter().take(part.len()).map(Option::unwrap_or_default));
        }
        Ok(identities)
    }

    fn find(&mut self, table: Table, keys: &[&str], look: Look) -> Result<Vec<Existing>, Failure> {
        let rows = self.over_keys(Verb::Find(look), table, keys)?;
        let tables = Arc::clone(&self.tables);
        Ok(rows.into_iter().map(|row| read(tables.of(table), table, look.show, row)).collect())
    }

    fn ask(&mut self, sql: &str, values: &[&str]) -> Result<Rows, Failure> {
        let values: Vec<Value> = values.iter().map(|value| Value::Text(value)).collect();
        self.database.fetch(&sql.into(), &values)
    }

    fn execute(&mut self, sql: &str, values: &[Option<&str>]) -> Result<u64, Failure> {
        let values: Vec<Value> = values.iter().map(|value| value.map_or(Value::Null, Value::Text)).collect();
        self.database.execute(&sql.into(), &values, Keep::Once)
    }

    fn table_names(&mut self) -> Result<Vec<String>, Failure> {
        self.database.table_names()
    }

    fn stored_columns(&mut self, table: &str) -> Result<Vec<StoredColumn>, Failure> {
        self.database.stored_columns(table)
    }

    fn holds(&self, column: &str) -> String {
        self.database.dialect().holds(column)
    }

    fn shows(&self, expression: &str) -> String {
        self.database.dialect().shows(expression)
    }

    fn as_bytes(&self, expression: &str) -> String {
        format!("CAST({expression} AS {})", self.database.dialect().bytes)
    }

    fn text_type(&self) -> &'static str {
        self.database.dialect().text
    }

    fn rows_after(&mut self, sop_instance_uid: &str) -> Result<Vec<ImageRow>, Failure> {
        let sql = self.statement(Verb::RowsAfter, Level::Instance, PAGE);
        let rows = self.database.fetch_with(&sql, &[Value::Text(sop_instance_uid)], Keep::Prepared)?;
        let image = |row: Vec<Option<String>>| {
            let [uid, path, series, study, patient, unfinished] =
                <[Option<String>; 6]>::try_from(row).unwrap_or_default();
            let is_unfinished =
                |level: Level| unfinished.as_deref().is_some_and(|levels| levels.contains(level.table().name()));
            let (is_series_unfinished, is_study_unfinished) =
                (is_unfinished(Level::Series), is_unfinished(Level::Study));
            let [sop_instance_uid, path, series, study] = [uid, path, series, study].map(Option::unwrap_or_default);
            let has_patient = patient.is_some();
            ImageRow { sop_instance_uid, series, study, path, has_patient, is_series_unfinished, is_study_unfinished }
        };
        Ok(rows.into_iter().map(image).collect())
    }

    fn variants(&mut self, patient_ids: &[&str]) -> Result<Vec<Existing>, Failure> {
        let mut variants = Vec::new();
        for part in patient_ids.chunks(FEW) {
            let size = if part.len() == 1 { 1 } else { FEW };
            let sql = self.statement(Verb::Variants, Level::Patient, size);
            let filling = part.last().into_iter().cycle().take(size - part.len());
            let values = self.database.dialect().prefix.values;
            let texts: Vec<String> = part.iter().chain(filling).flat_map(|id| values(id)).collect();
            let values: Vec<Value> = texts.iter().map(|text| Value::Text(text)).collect();
            let rows = self.database.fetch_with(&sql, &values, Keep::Prepared)?;
            let patients = self.tables.of(Table::Patient);
            variants.extend(rows.into_iter().map(|row| read(patients, Table::Patient, Show::Nothing, row)));
        }
        Ok(variants)
    }

    fn variants_after(&mut self, patient_id: &str, after: &str) -> Result<Vec<Existing>, Failure> {
        let sql = self.statement(Verb::VariantsAfter, Level::Patient, LOOKUP_SIZES[0]);
        let values = (self.database.dialect().prefix.page_values)(patient_id, after);
        let values: Vec<Value> = values.iter().map(|value| Value::Text(value)).collect();
        let rows = self.database.fetch_with(&sql, &values, Keep::Prepared)?;
        let patients = self.tables.of(Table::Patient);
        Ok(rows.into_iter().map(|row| read(patients, Table::Patient, Show::Nothing, row)).collect())
    }

    fn studies_of(&mut self, patient_ids: &[&str], view: View) -> Result<Vec<LinkedStudy>, Failure> {
        let rows = self.over_keys(Verb::StudiesOf(view), Level::Study, patient_ids)?;
        let study = |row: Vec<Option<String>>| {
            let [patient, study, unfinished] = <[Option<String>; 3]>::try_from(row).unwrap_or_default();
            Some(LinkedStudy { patient: patient?, study: study?, is_unfinished: unfinished.is_some() })
        };
        Ok(rows.into_iter().filter_map(study).collect())
    }

    fn edited(&mut self, level: Level, keys: &[&str]) -> Result<Vec<String>, Failure> {
        let edits = self.tables.edits;
        if !(edits.jobs || edits.worklist || edits.matched) {
            return Ok(Vec::new());
        }
        Ok(self.over_keys(Verb::Edited, level, keys)?.into_iter().flatten().flatten().collect())
    }

    fn insert(&mut self, table: Table, rows: usize, values: &[Value<'_>]) -> Result<(), Failure> {
        let sql = self.statement(Verb::Insert, table, rows);
        let keep = if D::INSERT_SIZES.contains(&rows) { Keep::Prepared } else { Keep::Once };
        let before = self.tried.len();
        self.note_tried(table, values);
        let done = self.database.execute(&sql, values, keep).map(|_| ());
        // In tables without transactions, a failed statement of several rows may have left some of
        // them behind.
        if matches!(done, Err(Failure::Duplicate | Failure::Refused(_))) && (self.tables.is_transactional || rows == 1)
        {
            self.tried.truncate(before);
        }
        done
    }

    fn update(&mut self, update: &RowUpdate<'_>) -> Result<bool, Failure> {
        let RowUpdate { table, key, path, changes, .. } = *update;
        let tables = Arc::clone(&self.tables);
        let column = tables.of(table).derived.as_ref();
        let derived = column.map_or(Derived::Unchanged, |_| update.derived);
        if changes.is_empty() && derived == Derived::Unchanged {
            return Ok(true);
        }
        let modalities = match (derived, column) {
            (Derived::Modalities(text), Some(column)) => Some(Value::Text(column.cut(text))),
            _ => None,
        };
        let sql = statements::update(&tables, self.database.dialect(), &RowUpdate { derived, ..*update });
        let expected = changes.iter().filter_map(|change| match change.expected {
            Expected::Shown(shown) => Some(shown.map_or(Value::Null, Value::Text)),
            Expected::Any => None,
        });
        let new = changes.iter().map(|change| change.to);
        let condition = path.into_iter().chain(update.studies.map(|_| key));
        let values: Vec<Value> =
            new.chain(modalities).chain([Value::Text(key)]).chain(expected).chain(condition.map(Value::Text)).collect();
        // Each set of columns has its own text.
        Ok(self.database.execute(&sql.into(), &values, Keep::Once)? > 0)
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.database.begin()
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.database.commit()
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        self.database.roll_back()
    }

    fn take_tried(&mut self) -> Vec<(Table, Box<str>)> {
        std::mem::take(&mut self.tried)
    }

    fn reconnect(&mut self, allow_replica: bool) -> Result<(), Failure> {
        self.database = (self.connect)(allow_replica)?;
        // The statements contain the collation of Patient IDs, which may differ on the new
        // connection.
        self.statements.clear();
        Ok(())
    }

    fn modalities(&mut self, studies: &[&str], which: Derive) -> Result<Vec<(String, String)>, Failure> {
        if !self.derived(Level::Study) || self.tables.of(Level::Series).column("modality").is_none() {
            return Ok(Vec::new());
        }
        let rows = self.over_keys(Verb::Modalities(which), Level::Series, studies)?;
        let pair = |row: Vec<Option<String>>| {
            let mut row = row.into_iter();
            Some((row.next()??, row.next()??))
        };
        Ok(rows.into_iter().filter_map(pair).collect())
    }

    fn set_modalities(&mut self, studies: &[&str], modalities: &str) -> Result<(), Failure> {
        let tables = Arc::clone(&self.tables);
        let Some(column) = &tables.of(Level::Study).derived else { return Ok(()) };
        let modalities = Value::Text(column.cut(modalities));
        self.over_keys_with(&[modalities], Verb::SetModalities, Level::Study, studies).map(|_| ())
    }

    fn count_instances(&mut self, series: &[&str], which: Derive) -> Result<(), Failure> {
        if self.derived(Level::Series) {
            self.over_keys(Verb::CountInstances(which), Level::Series, series)?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) {
        self.database.close();
    }
}

/// Returns texts as values, with the last one repeated up to a size.
fn filled<T: AsRef<str>>(texts: &[T], size: usize) -> impl Iterator<Item = Value<'_>> {
    let filling = std::iter::repeat_n(texts.last(), size - texts.len()).flatten();
    texts.iter().chain(filling).map(|text| Value::Text(text.as_ref()))
}

/// Parses a row of the query [`statements::find`].
fn read(of: &WrittenTable, table: Table, show: Show, row: Vec<Option<String>>) -> Existing {
    let mut row = row.into_iter();
    let next = |row: &mut std::vec::IntoIter<Option<String>>| row.next().flatten().unwrap_or_default();
    let mut existing = Existing { key: next(&mut row), ..Existing::default() };
    match table.level() {
        Level::Patient => existing.identity = next(&mut row),
        _ => existing.identity.clone_from(&existing.key),
    }
    if table == Table::Patient {
        let parts = [(); 3].map(|()| row.next().flatten());
        if parts.iter().any(Option::is_some) {
            existing.name = Some(Name(parts.map(|part| part.unwrap_or_default().into())));
        }
    } else if link(table).is_some() {
        existing.link = next(&mut row);
    }
    if of.derived.as_ref().is_some_and(|column| column.nullable) {
        existing.is_unfinished = row.next().flatten().is_some();
    }
    if table == Table::Image {
        existing.path = next(&mut row);
    }
    existing.shown = match show {
        Show::Nothing => Vec::new(),
        Show::Nulls => next(&mut row).bytes().map(|bit| (bit == b'0').then(String::new)).collect(),
        Show::Values => row.take(of.fed().count()).collect(),
    };
    existing
}
