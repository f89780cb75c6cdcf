//! The columns that are written: those that this program knows and the database has.
//!
//! Tag-fed columns stand in `dicom::attributes`; here are the others, and how a value fits into a column.

use super::{Entry, Refusal, Value, key, table};
use crate::dicom::{ATTRIBUTES, Level};
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
const MODALITIES: &str = "modalities";
const INSTANCES: &str = "instances";

/// Columns that link rows or name files: cut, they would name another.
const EXACT: [&str; 6] = ["origid", "uuid", "patientid", "studyuid", "seriesuid", "path"];

/// A column as the database describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    /// The most characters that it holds.
    pub characters: Option<usize>,
    /// The most bytes that it holds; only where characters do not say (TEXT).
    pub bytes: Option<usize>,
    /// What stands for no value: NULL, or the type's zero where NULL is not allowed.
    pub blank: Blank,
}

/// How a column holds no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blank {
    Null,
    EmptyText,
    Zero,
}

impl Blank {
    /// Of a column of a type that is not nullable. A date has no zero that every server takes; it stays NULL, and the
    /// row is refused.
    pub fn of(kind: &str, nullable: bool) -> Self {
        let kind = kind.to_ascii_lowercase();
        let is_one_of = |kinds: &[&str]| kinds.iter().any(|part| kind.contains(part));
        match nullable {
            true => Blank::Null,
            false if is_one_of(&["char", "text"]) => Blank::EmptyText,
            false if is_one_of(&["int", "float", "double", "decimal", "real"]) => Blank::Zero,
            false => Blank::Null,
        }
    }
}

/// A column that is written.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub source: Source,
    characters: usize,
    bytes: usize,
    exact: bool,
    pub blank: Blank,
}

impl Column {
    /// The value, cut to what the column holds.
    pub fn fit<'a>(&self, value: Value<'a>) -> Value<'a> {
        match value {
            Value::Text(text) => Value::Text(self.cut(text)),
            Value::Null => match self.blank {
                Blank::Null => Value::Null,
                Blank::EmptyText => Value::Text(""),
                Blank::Zero => Value::Integer(0),
            },
            other => other,
        }
    }

    fn cut<'a>(&self, text: &'a str) -> &'a str {
        // No text has more characters than bytes.
        if text.len() <= self.characters.min(self.bytes) {
            return text;
        }
        let by_characters = text.char_indices().nth(self.characters).map_or(text.len(), |(at, _)| at);
        let end = text.floor_char_boundary(by_characters.min(self.bytes));
        &text[..end]
    }

    fn holds(&self, value: Value<'_>) -> bool {
        match value {
            Value::Text(text) => self.cut(text).len() == text.len(),
            _ => true,
        }
    }
}

/// Whether this program writes a column of that name, in any table.
pub fn is_known(name: &str) -> bool {
    ATTRIBUTES.iter().any(|attribute| attribute.column == name) || OTHERS.iter().any(|(_, other, _)| *other == name)
}

/// The columns to write of each level's table.
#[derive(Clone, Debug)]
pub struct Tables {
    levels: [Vec<Column>; 4],
    /// The columns of derived values, where the database has them.
    pub modalities: Option<Column>,
    pub instances: Option<Column>,
    /// A statement that fails leaves nothing behind.
    pub is_transactional: bool,
}

impl Tables {
    /// The known columns that were found. `found` describes the table of a level; an empty list is a table that is
    /// not there.
    pub fn new(is_transactional: bool, mut found: impl FnMut(Level) -> Result<Vec<Found>>) -> Result<Self> {
        let mut levels: [Vec<Column>; 4] = Default::default();
        let (mut modalities, mut instances) = (None, None);
        for level in super::LEVELS {
            let there = found(level)?;
            match level {
                Level::Study => modalities = column(&there, MODALITIES, Source::Derived),
                Level::Series => instances = column(&there, INSTANCES, Source::Derived),
                _ => {}
            }
            levels[level as usize] = written(level, &there)?;
        }
        Ok(Tables { levels, modalities, instances, is_transactional })
    }

    pub fn of(&self, level: Level) -> &[Column] {
        &self.levels[level as usize]
    }

    /// Whether keys, links and path fit; they are never cut.
    pub fn check(&self, entry: &Entry) -> std::result::Result<(), Refusal> {
        for level in super::LEVELS {
            let misfit = self.of(level).iter().find(|column| column.exact && !column.holds(entry.value(column.source)));
            if let Some(column) = misfit {
                return Err(Refusal {
                    code: "too-long",
                    detail: format!("longer than {}.{} holds", table(level), column.name),
                });
            }
        }
        Ok(())
    }

    /// How many texts of an entry are cut.
    pub fn cuts(&self, entry: &Entry) -> u64 {
        let columns = self.levels.iter().flatten();
        columns.filter(|column| !column.exact && !column.holds(entry.value(column.source))).count() as u64
    }
}

fn column(there: &[Found], name: &str, source: Source) -> Option<Column> {
    let found = there.iter().find(|found| found.name.eq_ignore_ascii_case(name))?;
    Some(Column {
        name: found.name.clone(),
        source,
        characters: found.characters.unwrap_or(usize::MAX),
        bytes: found.bytes.unwrap_or(usize::MAX),
        exact: EXACT.contains(&name),
        blank: found.blank,
    })
}

fn written(level: Level, there: &[Found]) -> Result<Vec<Column>> {
    let tags = ATTRIBUTES.iter().enumerate().filter(|(_, a)| a.table == level.table());
    let tags = tags.map(|(i, attribute)| (attribute.column, Source::Attribute(i)));
    let others = OTHERS.iter().filter(|(l, ..)| *l == level).map(|(_, name, source)| (*name, *source));
    let columns: Vec<Column> = tags.chain(others).filter_map(|(name, source)| column(there, name, source)).collect();
    let needed = EXACT.iter().filter(|name| {
        ATTRIBUTES.iter().any(|a| a.table == level.table() && a.column == **name)
            || (level == Level::Instance && **name == "path")
    });
    for name in needed {
        if !columns.iter().any(|column| column.name.eq_ignore_ascii_case(name)) {
            let (table, key) = (table(level), key(level));
            return Err(Error::usage(
                format!("the index has no column `{table}`.`{name}`"),
                format!(
                    "A PacsOne database of version 6.2.1 or later has a table `{table}` with the key `{key}`: is the \
                     database the right one?"
                ),
            ));
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(characters: usize, bytes: usize) -> Column {
        Column { name: "x".into(), source: Source::Path, characters, bytes, exact: false, blank: Blank::Null }
    }

    #[test]
    fn text_is_cut_by_characters_never_within_one() {
        assert_eq!(column(3, usize::MAX).fit(Value::Text("Jérôme")), Value::Text("Jér"));
        assert_eq!(column(6, usize::MAX).fit(Value::Text("Jérôme")), Value::Text("Jérôme"));
        assert_eq!(column(usize::MAX, 2).fit(Value::Text("Jérôme")), Value::Text("J"));
        assert!(column(6, usize::MAX).holds(Value::Text("Jérôme")));
        assert!(!column(5, usize::MAX).holds(Value::Text("Jérôme")));
    }
}
