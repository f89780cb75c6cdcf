//! The columns that are written: those that this program knows and the database has.
//!
//! Tag-fed columns stand in `dicom::attributes`; here are the others, and the names that they had in old databases.

use super::column::{Column, Found, Kind};
use super::{Level, companions, table};
use crate::dicom::attributes::position;
use crate::dicom::{ATTRIBUTES, Table};
use crate::error::{Error, Result};

/// Where a column's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A tag, by its place in [`ATTRIBUTES`].
    Attribute(usize),
    Path,
    Received,
    /// The character set that patient text is stored in.
    Charset,
    /// A flag of the user's, not set in a new row. Consumers compare it with `= 0`, so that NULL would hide the row.
    Zero,
    /// A column that this program does not know, and that takes neither NULL nor a default: its type's zero.
    Unknown,
    /// From other rows, in the closing step.
    Derived,
}

/// Columns that no tag feeds. Left out, so NULL in a new row: read marks (`reviewed`, `verified`), `lastaccess`,
/// `compressed`, `updated`, and `overlay`, `curve`, `lut`, which nobody reads. `modalities` and `instances` are
/// derived at the end.
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

/// Columns that derived values go to, where they exist.
const DERIVED: [(Level, &str); 2] = [(Level::Study, "modalities"), (Level::Series, "instances")];

/// Columns that link rows or name files: cut, they would name another.
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

/// Names of before PacsOne 6.2.1: a database has the one or the other.
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

/// Whether this program writes a column of that name, in any table.
pub fn is_known(name: &str) -> bool {
    ATTRIBUTES.iter().any(|attribute| attribute.column == name)
        || OTHERS.iter().any(|(_, other, _)| *other == name)
        || FORMER.iter().any(|(.., former)| *former == name)
}

/// A table as it was found, and what is written of it.
#[derive(Clone, Debug, Default)]
pub struct WrittenTable {
    /// Written into a new row.
    pub columns: Vec<Column>,
    /// Set to themselves in every update, since the server would set them to the time of the update.
    pub preserved: Vec<String>,
    /// Filled from other rows in the closing step.
    pub derived: Option<Column>,
}

impl WrittenTable {
    /// The name that a known column has in this database.
    pub fn name(&self, known: &str) -> &str {
        self.column(known).map_or("", |column| &column.name)
    }

    pub fn column(&self, known: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.known == known)
    }

    /// Columns that take no NULL, have no default and are not known.
    pub fn unknown(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.source == Source::Unknown)
    }
}

/// What is written of each table.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Without columns where a companion is not written.
    tables: [WrittenTable; 8],
    /// For each attribute its column, if the database has it.
    attributes: Vec<Option<Column>>,
    /// Companions that are there and not written, each with the reason.
    pub unwritten: Vec<String>,
    /// Tables that are there, hold what files say, and are left to the PACS.
    pub not_rebuilt: Vec<&'static str>,
    /// A statement that fails leaves nothing behind.
    pub is_transactional: bool,
    /// The database holds the other tables of a PACS, too.
    pub is_of_a_pacs: bool,
    pub edits: Edits,
}

/// What there is to tell that a study was edited.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edits {
    pub jobs: bool,
    pub worklist: bool,
    pub matched: bool,
}

/// What is known of a database as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Engine {
    pub is_transactional: bool,
    pub is_of_a_pacs: bool,
    pub has_jobs: bool,
    pub has_worklist: bool,
}

impl Tables {
    /// `found` describes a table by its name; an empty list is a table that is not there.
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

    /// The tables that are written.
    pub fn names(&self) -> Vec<String> {
        let all = Table::CORE.into_iter().chain(Table::COMPANIONS);
        all.filter(|table| !self.of(*table).columns.is_empty()).map(|table| table.name().to_owned()).collect()
    }

    pub fn of(&self, table: impl Into<Table>) -> &WrittenTable {
        &self.tables[table.into() as usize]
    }

    /// The companions of a level's rows that are written.
    pub fn companions(&self, level: Level) -> impl Iterator<Item = Table> {
        let is_written = move |table: &Table| table.level() == level && !self.of(*table).columns.is_empty();
        Table::COMPANIONS.into_iter().filter(is_written)
    }

    /// The name that the key of a table has in this database.
    pub fn key(&self, table: impl Into<Table>) -> &str {
        let table = table.into();
        self.of(table).name(table.key())
    }

    /// Of the tables' unknown columns, those that are written all the same.
    pub fn unknown(&self) -> Vec<String> {
        let of = |table: Table| {
            self.of(table).unknown().map(move |column| format!("{}.{}", table.name(), column.name)).collect::<Vec<_>>()
        };
        Table::CORE.into_iter().chain(Table::COMPANIONS).flat_map(of).collect()
    }

    /// The column of an attribute, if the database has it.
    pub fn of_attribute(&self, attribute: usize) -> Option<&Column> {
        self.attributes[attribute].as_ref()
    }

    /// The term that tells the front end how patients' text is stored.
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
