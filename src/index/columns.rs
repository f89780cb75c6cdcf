//! The columns that are written: those that this program knows and the database has.
//!
//! Tag-fed columns are listed in `dicom::attributes`. This module lists the others, and the names
//! of columns in old databases.

use super::column::{Column, Found, Kind};
use super::{Level, companions, table};
use crate::dicom::attributes::position;
use crate::dicom::{ATTRIBUTES, Table};
use crate::error::{Error, Result};

/// The source of a column's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A tag, by its index in [`ATTRIBUTES`].
    Attribute(usize),
    Path,
    Received,
    /// The character set in which patient text is stored.
    Charset,
    /// A user flag, which is not set in a new row. Consumers compare the flag with `= 0`, so NULL
    /// would hide the row.
    Zero,
    /// No source: the column is unknown to this program, and is NOT NULL without a default. The
    /// column gets the zero of its type.
    Unknown,
    /// Other rows, in the closing step.
    Derived,
}

/// Columns that no tag feeds. The following columns are not written, and are NULL in a new row:
/// read marks (`reviewed`, `verified`), `lastaccess`, `compressed`, `updated`, and `overlay`,
/// `curve`, `lut`, which no program reads. The columns `modalities` and `instances` are derived at
/// the end.
const OTHERS: [(Level, &str, Source); 9] = [
    (Level::Patient, "charset", Source::Charset),
    (Level::Patient, "private", Source::Zero),
    (Level::Patient, "patientmatchworklist", Source::Zero),
    (Level::Study, "received", Source::Received),
    (Level::Study, "private", Source::Zero),
    (Level::Study, "matched", Source::Zero),
    (Level::Study, "studymatchworklist", Source::Zero),
    (Level::Instance, "path", Source::Path),
    (Level::Instance, "tagged", Source::Zero),
];

/// Columns for derived values, which not every database has.
const DERIVED: [(Level, &str); 2] = [(Level::Study, "modalities"), (Level::Series, "instances")];

/// Columns that link rows or name files. A truncated value would refer to another row or file.
const EXACT: [(Level, &str); 8] = [
    (Level::Patient, "origid"),
    (Level::Study, "uuid"),
    (Level::Study, "patientid"),
    (Level::Series, "uuid"),
    (Level::Series, "studyuid"),
    (Level::Instance, "uuid"),
    (Level::Instance, "seriesuid"),
    (Level::Instance, "path"),
];

/// Column names before PacsOne 6.2.1. A database has either the old name or the new one.
const FORMER: [(Level, &str, &str); 10] = [
    (Level::Study, "uuid", "uid"),
    (Level::Study, "studydate", "date"),
    (Level::Study, "studytime", "time"),
    (Level::Series, "uuid", "uid"),
    (Level::Series, "seriesnumber", "number"),
    (Level::Series, "seriesdate", "date"),
    (Level::Series, "seriestime", "time"),
    (Level::Instance, "uuid", "uid"),
    (Level::Instance, "instancedate", "date"),
    (Level::Instance, "instancetime", "time"),
];

/// Returns whether this program writes a column of this name, in any table.
pub fn is_known(name: &str) -> bool {
    ATTRIBUTES.iter().any(|attribute| attribute.column == name)
        || OTHERS.iter().any(|(_, other, _)| *other == name)
        || FORMER.iter().any(|(.., former)| *former == name)
}

/// The written columns of a table, as found in the database.
#[derive(Clone, Debug, Default)]
pub struct WrittenTable {
    /// The columns to write into a new row.
    pub columns: Vec<Column>,
    /// Columns that every update sets to their present values, because the server would otherwise
    /// set them to the time of the update.
    pub preserved: Vec<String>,
    /// The column that the closing step fills from other rows.
    pub derived: Option<Column>,
}

impl WrittenTable {
    /// Returns the name of a known column in this database.
    pub fn name(&self, known: &str) -> &str {
        self.column(known).map_or("", |column| &column.name)
    }

    pub fn column(&self, known: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.known == known)
    }

    /// Returns the unknown columns that are NOT NULL without a default.
    pub fn unknown(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.source == Source::Unknown)
    }
}

/// The columns to write, by table.
#[derive(Clone, Debug)]
pub struct Tables {
    /// A companion table that is not written has no columns.
    tables: [WrittenTable; 8],
    /// The column of each attribute, or `None` if the database lacks the column.
    attributes: Vec<Option<Column>>,
    /// Existing companion tables that are not written, each with the reason.
    pub unwritten: Vec<String>,
    /// Existing tables that contain values of files, but are left to the PACS.
    pub not_rebuilt: Vec<&'static str>,
    /// Whether the tables support transactions, so that a failed statement leaves nothing behind.
    pub is_transactional: bool,
    /// Whether the database also contains the other tables of a PACS.
    pub is_of_a_pacs: bool,
    pub edits: Edits,
}

/// The tables and columns that show whether a study was edited, and whether the database has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edits {
    pub jobs: bool,
    pub worklist: bool,
    pub matched: bool,
}

/// Properties of a database as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Engine {
    pub is_transactional: bool,
    pub is_of_a_pacs: bool,
    pub has_jobs: bool,
    pub has_worklist: bool,
}

impl Tables {
    /// Creates the description of all tables. `found` returns the columns of a table by its name,
    /// or an empty list if the table does not exist.
    pub fn new(engine: Engine, mut found: impl FnMut(&str) -> Result<Vec<Found>>) -> Result<Self> {
        let mut tables: [WrittenTable; 8] = Default::default();
        for table in Table::CORE {
            tables[table as usize] = written(table, &found(table.name())?)?;
        }
        let mut unwritten = Vec::new();
        for table in Table::COMPANIONS {
            let there = found(table.name())?;
            match companions::why_not(table, &there) {
                None if there.is_empty() => {}
                None => tables[table as usize] = written(table, &there)?,
                Some(why) => unwritten.push(format!("{} is not written: {why}", table.name())),
            }
        }
        let mut not_rebuilt = Vec::new();
        for name in companions::NOT_REBUILT {
            if !found(name)?.is_empty() {
                not_rebuilt.push(name);
            }
        }
        let of_attribute = |n: usize| {
            let columns = &tables[ATTRIBUTES[n].table as usize].columns;
            columns.iter().find(|column| column.source == Source::Attribute(n)).cloned()
        };
        let attributes = (0..ATTRIBUTES.len()).map(of_attribute).collect();
        let matched = tables[Table::Study as usize].column("matched").is_some();
        let edits = Edits { jobs: engine.has_jobs, worklist: engine.has_worklist, matched };
        let Engine { is_transactional, is_of_a_pacs, .. } = engine;
        Ok(Tables { tables, attributes, unwritten, not_rebuilt, is_transactional, is_of_a_pacs, edits })
    }

    /// Returns the names of the tables that are written.
    pub fn names(&self) -> Vec<String> {
        let all = Table::CORE.into_iter().chain(Table::COMPANIONS);
        all.filter(|table| !self.of(*table).columns.is_empty()).map(|table| table.name().to_owned()).collect()
    }

    pub fn of(&self, table: impl Into<Table>) -> &WrittenTable {
        &self.tables[table.into() as usize]
    }

    /// Returns the companion tables of a level that are written.
    pub fn companions(&self, level: Level) -> impl Iterator<Item = Table> {
        let is_written = move |table: &Table| table.level() == level && !self.of(*table).columns.is_empty();
        Table::COMPANIONS.into_iter().filter(is_written)
    }

    /// Returns the name of a table's key column in this database.
    pub fn key(&self, table: impl Into<Table>) -> &str {
        let table = table.into();
        self.of(table).name(table.key())
    }

    /// Returns the unknown columns that are nevertheless written, because they are NOT NULL without
    /// a default.
    pub fn unknown(&self) -> Vec<String> {
        let of = |table: Table| {
            self.of(table).unknown().map(move |column| format!("{}.{}", table.name(), column.name)).collect::<Vec<_>>()
        };
        Table::CORE.into_iter().chain(Table::COMPANIONS).flat_map(of).collect()
    }

    /// Returns the column of an attribute, or `None` if the database lacks the column.
    pub fn of_attribute(&self, attribute: usize) -> Option<&Column> {
        self.attributes[attribute].as_ref()
    }

    /// Returns the defined term by which the front end decodes patient text.
    pub fn charset_term(&self) -> &'static str {
        let name = self.of_attribute(position(Table::Patient, "lastname"));
        name.map_or("ISO_IR 192", |column| column.repertoire.term())
    }
}

fn written(table: Table, there: &[Found]) -> Result<WrittenTable> {
    let is_exact = |known: &str| table.key() == known || EXACT.iter().any(|(l, e)| l.table() == table && *e == known);
    let find = |known: &'static str, source: Source| {
        let former = FORMER.iter().find(|(l, name, _)| l.table() == table && *name == known);
        let named = |name: &str| there.iter().find(|found| found.name.eq_ignore_ascii_case(name));
        let found = named(known).or_else(|| named(former?.2))?;
        Some(Column::new(found, known, source, is_exact(known)))
    };
    let tags = ATTRIBUTES.iter().enumerate().filter(|(_, a)| a.table == table);
    let tags = tags.map(|(i, attribute)| (attribute.column, Source::Attribute(i)));
    let others = OTHERS.iter().filter(|(l, ..)| l.table() == table).map(|(_, name, source)| (*name, *source));
    let mut columns: Vec<Column> = tags.chain(others).filter_map(|(name, source)| find(name, source)).collect();
    for (level, name) in EXACT.iter().filter(|(l, _)| l.table() == table) {
        if !columns.iter().any(|column| column.known == *name) {
            return Err(missing(*level, name));
        }
    }
    let derived = DERIVED.iter().find(|(l, _)| l.table() == table).and_then(|(_, name)| find(name, Source::Derived));
    let is_written = |name: &str| columns.iter().chain(&derived).any(|column| column.name.eq_ignore_ascii_case(name));
    let unknown: Vec<Column> = there
        .iter()
        .filter(|found| found.must_be_given && !is_written(&found.name) && found.kind != Kind::Other)
        .map(|found| Column::new(found, "", Source::Unknown, false))
        .collect();
    columns.extend(unknown);
    let preserved = there.iter().filter(|found| found.on_update).map(|found| found.name.clone()).collect();
    Ok(WrittenTable { columns, preserved, derived })
}

fn missing(level: Level, name: &str) -> Error {
    let (table, key) = (table(level), super::key(level));
    Error::usage(
        format!("the index has no column `{table}`.`{name}`"),
        format!(
            "A PacsOne database has a table `{table}` with the key `{key}` (before 6.2.1: `uid`): is the database the \
             right one?"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Vec<Found> {
        names.iter().map(|name| Found { name: (*name).into(), ..Found::default() }).collect()
    }

    #[test]
    fn names_of_before_6_2_1_are_mapped_and_the_new_ones_come_first() {
        let old = written(Table::Study, &found(&["uid", "patientid", "date", "time", "received"])).unwrap();
        assert_eq!((old.name("uuid"), old.name("studydate"), old.name("studytime")), ("uid", "date", "time"));
        let new = written(Table::Study, &found(&["uid", "uuid", "patientid", "studydate"])).unwrap();
        assert_eq!((new.name("uuid"), new.name("studydate")), ("uuid", "studydate"));
        let error = written(Table::Study, &found(&["uid"])).err().unwrap().to_string();
        assert!(error.contains("`study`.`patientid`"), "{error}");
    }
}
