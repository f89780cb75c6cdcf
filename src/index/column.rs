//! A column as the database describes it, and what it can hold.

use std::sync::Arc;

use super::Value;
use super::columns::Source;
use super::members::EnumMembers;
use super::real_type::RealType;
use super::repertoire::Repertoire;
use crate::dicom::Table;
use crate::dicom::attributes::is_of_the_name;

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
    /// The members of an ENUM or SET.
    pub members: Option<Arc<EnumMembers>>,
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
            members: None,
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Text,
    Integer {
        least: i64,
        most: i64,
    },
    Real(RealType),
    /// A number that the server shows as the bytes of its bits.
    Bits {
        most: i64,
    },
    Date,
    Time,
    DateTime,
    /// A date and time within the years that the server counts in seconds.
    Timestamp,
    Year,
    /// One of the members of the column, which are numbered.
    Enumeration,
    /// Any number of the members of the column.
    Set,
    Other,
}

impl Kind {
    /// Reads a type from its name and its declaration, both in lower case: `decimal`, `decimal(5,2) unsigned`.
    pub fn of(name: &str, declaration: &str) -> Self {
        let is_unsigned = declaration.contains("unsigned");
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
            "bit" => {
                let bits = declaration.trim_start_matches("bit(").trim_end_matches(')').parse().unwrap_or(1);
                Kind::Bits { most: 1i64.checked_shl(bits).map_or(i64::MAX, |end| end.wrapping_sub(1)) }
            }
            "float" | "double" | "real" | "decimal" | "numeric" => Kind::Real(RealType::of(name, declaration)),
            "date" => Kind::Date,
            "time" => Kind::Time,
            "datetime" => Kind::DateTime,
            "timestamp" => Kind::Timestamp,
            "year" => Kind::Year,
            "enum" => Kind::Enumeration,
            "set" => Kind::Set,
            name if ["char", "text", "blob", "binary"].iter().any(|part| name.contains(part)) => Kind::Text,
            _ => Kind::Other,
        }
    }

    /// The value that replaces NULL where a column does not take NULL.
    fn zero(self) -> Value<'static> {
        match self {
            Kind::Integer { .. } | Kind::Real(_) | Kind::Bits { .. } | Kind::Year => Value::Integer(0),
            Kind::Date => Value::Text("0000-00-00"),
            Kind::Time => Value::Text("00:00:00"),
            Kind::DateTime | Kind::Timestamp => Value::Text("0000-00-00 00:00:00"),
            Kind::Enumeration => Value::Integer(1),
            Kind::Text | Kind::Set | Kind::Other => Value::Text(""),
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
    pub members: Option<Arc<EnumMembers>>,
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
            members: found.members.clone(),
            collation: found.collation.clone(),
            nullable: found.nullable,
            exact,
        }
    }

    /// Whether the column is a part of the name or the ID of a patient.
    pub fn is_of_the_patient(&self) -> bool {
        self.known == Table::Patient.key() || matches!(self.source, Source::Attribute(n) if is_of_the_name(n))
    }

    /// The value to write. A column that does not take NULL gets the zero of its type.
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

    /// An expression for the value of the column as text, of the type by which the database shows text.
    pub fn as_text(&self, text: &str) -> String {
        match self.kind {
            Kind::Bits { .. } => format!("CAST(`{}` + 0 AS {text})", self.name),
            _ => format!("CAST(`{}` AS {text})", self.name),
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
            (Some(shown), Value::Integer(number)) if self.kind == Kind::Enumeration => {
                self.members.as_ref().is_some_and(|members| members.at(number) == Some(shown))
            }
            // A zero may have digits behind the point.
            (Some(shown), Value::Integer(number)) => {
                shown.parse() == Ok(number) || shown.parse::<f64>().is_ok_and(|shown| shown == number as f64)
            }
            // As text a single has six digits.
            (Some(shown), Value::Real(number)) => {
                shown.parse::<f64>().is_ok_and(|shown| (shown - number).abs() <= number.abs() * 1e-5)
            }
            _ => false,
        }
    }
}

pub fn is_empty(value: Value<'_>) -> bool {
    matches!(value, Value::Null | Value::Text(""))
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
        assert!(column.shows(Some("0.00"), Value::Integer(0)));
        assert!(!column.shows(None, Value::Text("")));
        assert!(column.shows(None, Value::Null));
    }

    #[test]
    fn integer_types_have_the_ranges_of_the_manual() {
        let kind = |name, declaration| Kind::of(name, declaration);
        assert_eq!(kind("smallint", "smallint(5) unsigned"), Kind::Integer { least: 0, most: 65_535 });
        assert_eq!(kind("int", "int(11)"), Kind::Integer { least: -2_147_483_648, most: 2_147_483_647 });
        assert_eq!(kind("mediumint", "mediumint"), Kind::Integer { least: -8_388_608, most: 8_388_607 });
        assert_eq!(kind("bit", "bit(1)"), Kind::Bits { most: 1 });
        assert_eq!(kind("bit", "bit(8)"), Kind::Bits { most: 255 });
        assert_eq!(kind("bit", "bit(64)"), Kind::Bits { most: i64::MAX });
    }
}
