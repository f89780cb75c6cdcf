//! A column as the database describes it, and what it can hold.

use super::Value;
use super::columns::Source;
use super::repertoire::Repertoire;

/// A column as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    pub name: String,
    pub kind: Kind,
    /// The most characters that it holds.
    pub characters: Option<usize>,
    /// The most bytes that it holds; only where characters do not say (TEXT).
    pub bytes: Option<usize>,
    pub repertoire: Repertoire,
    /// Character set and collation, by which the database compares.
    pub collation: Option<(String, String)>,
    pub nullable: bool,
    /// Takes no NULL, has no default, and is not made by the server.
    pub must_be_given: bool,
    /// The server sets it to the time of an update.
    pub on_update: bool,
    /// It alone is a primary or a unique key of its table.
    pub is_unique: bool,
    /// The user may look at it, but not insert into and update it.
    pub is_read_only: bool,
}

impl Default for Found {
    fn default() -> Self {
        Found {
            name: String::new(),
            kind: Kind::Text,
            characters: None,
            bytes: None,
            repertoire: Repertoire::Full,
            collation: None,
            nullable: true,
            must_be_given: false,
            on_update: false,
            is_unique: false,
            is_read_only: false,
        }
    }
}

/// What kind of values a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer {
        least: i64,
        most: i64,
    },
    /// Numbers of single precision are rounded before they are sent, so that what is read back compares equal.
    Real {
        single: bool,
    },
    Date,
    Time,
    DateTime,
    Year,
    /// An enumeration or a set, whose values are numbered.
    Enumeration,
    Other,
}

impl Kind {
    /// From the type's name, in small letters: `int`, `varchar`, `datetime`.
    pub fn of(name: &str, is_unsigned: bool) -> Self {
        let integer = |bits: u32| match is_unsigned {
            true => Kind::Integer { least: 0, most: if bits == 64 { i64::MAX } else { (1 << bits) - 1 } },
            false if bits == 64 => Kind::Integer { least: i64::MIN, most: i64::MAX },
            false => Kind::Integer { least: -(1 << (bits - 1)), most: (1 << (bits - 1)) - 1 },
        };
        match name {
            "tinyint" => integer(8),
            "smallint" => integer(16),
            "mediumint" => integer(24),
            "int" | "integer" => integer(32),
            "bigint" => integer(64),
            "bit" => Kind::Integer { least: 0, most: 1 },
            "float" => Kind::Real { single: true },
            "double" | "real" | "decimal" | "numeric" => Kind::Real { single: false },
            "date" => Kind::Date,
            "time" => Kind::Time,
            "datetime" | "timestamp" => Kind::DateTime,
            "year" => Kind::Year,
            "enum" | "set" => Kind::Enumeration,
            name if ["char", "text", "blob", "binary"].iter().any(|part| name.contains(part)) => Kind::Text,
            _ => Kind::Other,
        }
    }

    /// What stands for no value where NULL is not allowed.
    pub fn zero(self) -> Value<'static> {
        match self {
            Kind::Integer { .. } | Kind::Real { .. } | Kind::Year => Value::Integer(0),
            Kind::Date => Value::Text("0000-00-00"),
            Kind::Time => Value::Text("00:00:00"),
            Kind::DateTime => Value::Text("0000-00-00 00:00:00"),
            Kind::Enumeration => Value::Integer(1),
            Kind::Text | Kind::Other => Value::Text(""),
        }
    }
}

/// A column that is written.
#[derive(Clone, Debug)]
pub struct Column {
    /// As the database spells it.
    pub name: String,
    /// As this program knows it; empty if it does not.
    pub known: &'static str,
    pub source: Source,
    pub kind: Kind,
    pub characters: usize,
    pub bytes: usize,
    pub repertoire: Repertoire,
    pub collation: Option<(String, String)>,
    pub nullable: bool,
    /// It links rows or names a file, and is never cut.
    pub exact: bool,
}

impl Column {
    pub fn new(found: &Found, known: &'static str, source: Source, exact: bool) -> Self {
        Column {
            name: found.name.clone(),
            known,
            source,
            kind: found.kind,
            characters: found.characters.unwrap_or(usize::MAX),
            bytes: found.bytes.unwrap_or(usize::MAX),
            repertoire: found.repertoire,
            collation: found.collation.clone(),
            nullable: found.nullable,
            exact,
        }
    }

    /// The value as it is written: what stands for no value depends on the column.
    pub fn blank<'a>(&self, value: Value<'a>) -> Value<'a> {
        match value {
            Value::Null if !self.nullable => self.kind.zero(),
            value => value,
        }
    }

    /// An expression as if it stood in this column: a database does not compare texts of different collations.
    pub fn compared(&self, expression: &str) -> String {
        match &self.collation {
            Some((set, collation)) => format!("CONVERT({expression} USING {set}) COLLATE {collation}"),
            None => expression.to_owned(),
        }
    }

    /// The part of a text that the column has room for.
    pub fn cut<'a>(&self, text: &'a str) -> &'a str {
        // No text has more characters than bytes.
        if text.len() <= self.characters.min(self.bytes) {
            return text;
        }
        let by_characters = text.char_indices().nth(self.characters).map_or(text.len(), |(at, _)| at);
        let end = text.floor_char_boundary(by_characters.min(self.bytes));
        &text[..end]
    }

    /// Whether a text stands in the column as it is.
    pub fn holds(&self, text: &str) -> bool {
        self.cut(text).len() == text.len() && matches!(self.repertoire.fit(text), std::borrow::Cow::Borrowed(_))
    }

    /// Whether what the database shows of the column, as text, is this value.
    pub fn shows(&self, shown: Option<&str>, value: Value<'_>) -> bool {
        match (shown, value) {
            (None, Value::Null) => true,
            (Some(shown), Value::Text(text)) => shown == text,
            (Some(shown), Value::Integer(number)) => shown.parse() == Ok(number),
            // As text a single has six digits.
            (Some(shown), Value::Real(number)) => {
                shown.parse::<f64>().is_ok_and(|shown| (shown - number).abs() <= number.abs() * 1e-5)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(characters: usize, bytes: usize) -> Column {
        let found = Found { characters: Some(characters), bytes: Some(bytes), ..Found::default() };
        Column::new(&found, "x", Source::Path, false)
    }

    #[test]
    fn text_is_cut_by_characters_never_within_one() {
        assert_eq!(column(3, usize::MAX).cut("Jérôme"), "Jér");
        assert_eq!(column(6, usize::MAX).cut("Jérôme"), "Jérôme");
        assert_eq!(column(usize::MAX, 2).cut("Jérôme"), "J");
        assert!(column(6, usize::MAX).holds("Jérôme"));
        assert!(!column(5, usize::MAX).holds("Jérôme"));
    }

    #[test]
    fn what_the_database_shows_is_compared_as_what_it_means() {
        let column = column(9, 9);
        assert!(column.shows(Some("1.72"), Value::Real(1.72_f32.into())));
        assert!(!column.shows(Some("1.73"), Value::Real(1.72)));
        assert!(column.shows(Some("007"), Value::Integer(7)));
        assert!(!column.shows(None, Value::Text("")));
        assert!(column.shows(None, Value::Null));
    }

    #[test]
    fn integer_types_have_the_ranges_of_the_manual() {
        assert_eq!(Kind::of("smallint", true), Kind::Integer { least: 0, most: 65_535 });
        assert_eq!(Kind::of("int", false), Kind::Integer { least: -2_147_483_648, most: 2_147_483_647 });
        assert_eq!(Kind::of("mediumint", false), Kind::Integer { least: -8_388_608, most: 8_388_607 });
    }
}
