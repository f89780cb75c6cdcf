//! The index on any SQL database: the statements, which SQLite and MySQL share, above what differs between them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::columns::{Blank, Column};
use super::{Derive, Entry, Existing, Failure, Index, Tables, Value, View, key, table};
use crate::dicom::Level;

/// One connection to a database that takes `?` for a value and backquotes around a name.
pub trait Database {
    /// Rows per insert, largest first. One fixed size is prepared once and used for most rows; the smaller ones
    /// take the tails. Bounded by the values that a statement may bind: 65,535 in MySQL, 32,766 in SQLite.
    const INSERT_SIZES: &'static [usize];

    /// What makes a SELECT see rows that were committed since the transaction began.
    const LATEST: &'static str;

    fn statement_bytes(&self) -> usize;

    fn execute(&mut self, sql: &Arc<str>, values: &[Value<'_>], keep: Keep) -> Result<(), Failure>;

    /// Rows of texts.
    fn fetch(&mut self, sql: &Arc<str>, values: &[Value<'_>]) -> Result<Vec<Vec<Option<String>>>, Failure>;

    fn begin(&mut self) -> Result<(), Failure>;
    fn commit(&mut self) -> Result<(), Failure>;
    fn roll_back(&mut self) -> Result<(), Failure>;
    fn close(self);
}

/// Whether a statement comes again, and stays prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Prepared,
    Once,
}

/// Keys per lookup. Lists are filled up to one of these sizes, so that few statements are prepared.
const LOOKUP_SIZES: [usize; 3] = [500, 50, 1];

pub struct SqlIndex<D> {
    database: D,
    tables: Arc<Tables>,
    statements: HashMap<(Verb, Level, usize), Arc<str>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Verb {
    Insert,
    Find(View),
    Any,
    Modalities(Derive),
    SetModalities,
    SetReceived,
    CountInstances(Derive),
    TakeBack,
}

impl<D: Database> SqlIndex<D> {
    pub fn new(database: D, tables: Arc<Tables>) -> Self {
        SqlIndex { database, tables, statements: HashMap::new() }
    }

    fn statement(&mut self, verb: Verb, level: Level, count: usize) -> Arc<str> {
        let tables = &self.tables;
        let text = || match verb {
            Verb::Insert => insert(tables, level, count),
            Verb::Find(View::Begun) => find(level, count),
            Verb::Find(View::Now) => find(level, count) + D::LATEST,
            Verb::Any => format!("SELECT 1 FROM `{}` LIMIT 1", table(level)),
            Verb::Modalities(which) => format!(
                "SELECT DISTINCT `studyuid`, `modality` FROM `series` WHERE `modality` IS NOT NULL AND `studyuid` IN \
                 (SELECT `uuid` FROM `study` WHERE `uuid` IN ({}){})",
                marks(count),
                where_null(which, &tables.modalities)
            ),
            Verb::SetModalities => {
                format!("UPDATE `study` SET {} = ? WHERE `uuid` = ?", name(&tables.modalities))
            }
            Verb::SetReceived => {
                "UPDATE `study` SET `received` = ? WHERE `uuid` = ? AND (`received` IS NULL OR `received` < ?)".into()
            }
            Verb::CountInstances(which) => format!(
                "UPDATE `series` SET {} = (SELECT COUNT(*) FROM `image` WHERE `image`.`seriesuid` = `series`.`uuid`) \
                 WHERE `uuid` IN ({}){}",
                name(&tables.instances),
                marks(count),
                where_null(which, &tables.instances)
            ),
            Verb::TakeBack => {
                let column = if level == Level::Study { &tables.modalities } else { &tables.instances };
                format!("UPDATE `{}` SET {} = NULL WHERE `uuid` IN ({})", table(level), name(column), marks(count))
            }
        };
        self.statements.entry((verb, level, count)).or_insert_with(|| text().into()).clone()
    }

    /// Runs a statement over a list of keys, part by part.
    fn over_keys(&mut self, verb: Verb, level: Level, keys: &[&str]) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let mut rows = Vec::new();
        for part in keys.chunks(LOOKUP_SIZES[0]) {
            let size = *LOOKUP_SIZES.iter().rfind(|size| **size >= part.len()).unwrap_or(&LOOKUP_SIZES[0]);
            let filling = std::iter::repeat_n(part.last(), size - part.len());
            let values: Vec<Value> = part.iter().map(Some).chain(filling).flatten().map(|k| Value::Text(k)).collect();
            let sql = self.statement(verb, level, size);
            rows.extend(match verb {
                Verb::CountInstances(_) | Verb::TakeBack => {
                    self.database.execute(&sql, &values, Keep::Prepared)?;
                    Vec::new()
                }
                _ => self.database.fetch(&sql, &values)?,
            });
        }
        Ok(rows)
    }
}

impl<D: Database> Index for SqlIndex<D> {
    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn insert_sizes(&self) -> &'static [usize] {
        D::INSERT_SIZES
    }

    fn is_empty(&mut self, level: Level) -> Result<bool, Failure> {
        let sql = self.statement(Verb::Any, level, 0);
        Ok(self.database.fetch(&sql, &[])?.is_empty())
    }

    fn statement_bytes(&self) -> usize {
        self.database.statement_bytes()
    }

    fn find(&mut self, level: Level, keys: &[&str], view: View) -> Result<Vec<Existing>, Failure> {
        let rows = self.over_keys(Verb::Find(view), level, keys)?;
        let existing = |row: Vec<Option<String>>| {
            let mut row = row.into_iter();
            Some(Existing { key: row.next()??, path: row.next().flatten() })
        };
        Ok(rows.into_iter().filter_map(existing).collect())
    }

    fn insert(&mut self, level: Level, entries: &[&Entry]) -> Result<(), Failure> {
        let sql = self.statement(Verb::Insert, level, entries.len());
        let columns = self.tables.of(level);
        let mut values = Vec::with_capacity(entries.len() * columns.len());
        for entry in entries {
            values.extend(columns.iter().map(|column| column.fit(entry.value(column.source))));
        }
        let keep = if D::INSERT_SIZES.contains(&entries.len()) { Keep::Prepared } else { Keep::Once };
        self.database.execute(&sql, &values, keep)
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

    fn modalities(&mut self, studies: &[&str], which: Derive) -> Result<Vec<(String, String)>, Failure> {
        if self.tables.modalities.is_none() {
            return Ok(Vec::new());
        }
        let rows = self.over_keys(Verb::Modalities(which), Level::Series, studies)?;
        let pair = |row: Vec<Option<String>>| {
            let mut row = row.into_iter();
            Some((row.next()??, row.next()??))
        };
        Ok(rows.into_iter().filter_map(pair).collect())
    }

    fn set_modalities(&mut self, study: &str, modalities: &str) -> Result<(), Failure> {
        let Some(column) = &self.tables.modalities else { return Ok(()) };
        let modalities = if modalities.is_empty() { Value::Null } else { column.fit(Value::Text(modalities)) };
        let sql = self.statement(Verb::SetModalities, Level::Study, 0);
        self.database.execute(&sql, &[modalities, Value::Text(study)], Keep::Prepared)
    }

    fn set_received(&mut self, study: &str, received: &str) -> Result<(), Failure> {
        let (study, received) = (Value::Text(study), Value::Text(received));
        let sql = self.statement(Verb::SetReceived, Level::Study, 0);
        self.database.execute(&sql, &[received, study, received], Keep::Prepared)
    }

    fn count_instances(&mut self, series: &[&str], which: Derive) -> Result<(), Failure> {
        if self.tables.instances.is_some() {
            self.over_keys(Verb::CountInstances(which), Level::Series, series)?;
        }
        Ok(())
    }

    fn take_back(&mut self, level: Level, keys: &[&str]) -> Result<(), Failure> {
        let column = if level == Level::Study { &self.tables.modalities } else { &self.tables.instances };
        if column.as_ref().is_some_and(|column| column.blank == Blank::Null) {
            self.over_keys(Verb::TakeBack, level, keys)?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) {
        self.database.close();
    }
}

fn insert(tables: &Tables, level: Level, rows: usize) -> String {
    let columns = tables.of(level);
    let names: Vec<String> = columns.iter().map(|column| format!("`{}`", column.name)).collect();
    let row = format!("({})", marks(columns.len()));
    let mut sql = format!("INSERT INTO `{}` ({}) VALUES ", table(level), names.join(","));
    sql.push_str(&vec![row; rows].join(","));
    sql
}

fn find(level: Level, keys: usize) -> String {
    let key = key(level);
    let mut sql = format!("SELECT `{key}`");
    if level == Level::Instance {
        sql.push_str(", `path`");
    }
    let _ = write!(sql, " FROM `{}` WHERE `{key}` IN ({})", table(level), marks(keys));
    sql
}

/// Statements with a column that the database lacks are never run.
fn name(column: &Option<Column>) -> String {
    column.as_ref().map_or("NULL".into(), |column| format!("`{}`", column.name))
}

fn where_null(which: Derive, column: &Option<Column>) -> String {
    match which {
        Derive::All => String::new(),
        Derive::WhereNull => format!(" AND {} IS NULL", name(column)),
    }
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(",")
}
