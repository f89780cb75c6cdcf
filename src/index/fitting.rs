//! Fits values to their columns before they are sent, because a strict server would reject the
//! whole row.

use std::borrow::Cow;

use super::column::{Column, Kind};
use super::{Refusal, Tables, Value, table};
use crate::dicom::attributes::Form;
use crate::dicom::flaw::Flaw;
use crate::dicom::{ATTRIBUTES, Instance, Level, Table};

/// The changes that were necessary to make an instance fit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fitted {
    /// The number of texts that were truncated.
    pub cut: u64,
    /// Columns that cannot store some characters of their text, which were substituted.
    pub substituted: Vec<String>,
}

impl Tables {
    /// Fits the values of an instance to their columns. A value that its column cannot store
    /// becomes NULL and is recorded as invalid: a number out of range, text in a column of another
    /// type, a value outside of an ENUM or SET. Keys and links are never changed: an instance whose
    /// keys do not fit is rejected.
    pub fn fit(&self, instance: &mut Instance) -> Result<Fitted, Refusal> {
        let mut fitted = Fitted::default();
        for (n, attribute) in ATTRIBUTES.iter().enumerate() {
            let value = instance.get(n);
            let Some(column) = self.of_attribute(n) else {
                // A value that is not written must not make instances differ.
                if attribute.table != Table::Image {
                    instance.set(n, Value::Null);
                }
                instance.remove_flaws(n, |other| self.of_attribute(other).is_some());
                continue;
            };
            match value {
                Value::Null => {}
                // A companion table that cannot store the key does not reject the instance. The key
                // is checked when the companion row is written.
                _ if column.exact && !attribute.table.is_core() => {}
                Value::Text(text) if column.exact => column.take(attribute.level(), text)?,
                Value::Text(text) if column.has_room_for(text, attribute.form) => {}
                value => match column.store(attribute.form, value) {
                    None => {
                        instance.flaws.add(Flaw::Invalid, n);
                        instance.set(n, Value::Null);
                    }
                    Some(ColumnValue::Unchanged) => {}
                    Some(ColumnValue::Number(number)) => instance.set(n, number),
                    Some(ColumnValue::Text(text)) => {
                        let text = text.into_owned();
                        instance.set(n, Value::Text(&text));
                    }
                    Some(ColumnValue::Fitted { text, is_cut, is_substituted }) => {
                        fitted.cut += u64::from(is_cut);
                        if is_substituted {
                            fitted.substituted.push(format!("{}.{}", attribute.table.name(), column.name));
                        }
                        let text = text.into_owned();
                        instance.set(n, Value::Text(&text));
                    }
                },
            }
        }
        Ok(fitted)
    }

    /// Checks that the path column stores a path unchanged.
    pub fn check_path(&self, path: &str) -> Result<(), Refusal> {
        match self.of(Level::Instance).column("path") {
            Some(column) => column.take(Level::Instance, path),
            None => Ok(()),
        }
    }
}

impl Column {
    /// Checks that the column stores a text unchanged. Returns the error `too-long` or
    /// `not-in-charset` otherwise.
    fn take(&self, level: Level, text: &str) -> Result<(), Refusal> {
        let refusal =
            |code, what: &str| Err(Refusal { code, detail: format!("{what} {}.{} holds", table(level), self.name) });
        if self.cut(text).len() < text.len() {
            return refusal("too-long", "longer than");
        }
        if !self.holds(text) {
            return refusal("not-in-charset", "has characters other than those that");
        }
        Ok(())
    }

    /// Returns whether a text obviously needs no change, which is the usual case.
    fn has_room_for(&self, text: &str, form: Form) -> bool {
        let is_text = matches!(self.kind, Kind::Text | Kind::Other);
        let is_own = matches!((self.kind, form), (Kind::Date, Form::Date) | (Kind::Time, Form::Time));
        is_own || (is_text && text.len() <= self.characters.min(self.bytes) && text.is_ascii())
    }

    /// Returns the value as the column stores it, or `None` if the column cannot store the value.
    fn store<'v>(&self, form: Form, value: Value<'v>) -> Option<ColumnValue<'v>> {
        match (self.kind, value) {
            (Kind::Enumeration | Kind::Set, value) => match &self.members {
                Some(members) => Some(ColumnValue::Text(Cow::Owned(members.fit(&shown(value))?.into_owned()))),
                None => Some(ColumnValue::Unchanged),
            },
            (Kind::Integer { least, most }, value) => {
                whole(value).filter(|number| (least..=most).contains(number)).map(ColumnValue::integer)
            }
            (Kind::Bits { most }, value) => {
                whole(value).filter(|number| (0..=most).contains(number)).map(ColumnValue::integer)
            }
            // The server interprets a number of two digits as a year of a century.
            (Kind::Year, value) => whole(value).filter(|year| (1901..=2155).contains(year)).map(ColumnValue::integer),
            (Kind::Real(kind), value) => Some(ColumnValue::Number(Value::Real(kind.fit(real(value)?)?))),
            (Kind::Date | Kind::Time | Kind::DateTime | Kind::Timestamp, Value::Text(text)) => {
                moment(self.kind, form, text).map(ColumnValue::Text)
            }
            (Kind::Date | Kind::Time | Kind::DateTime | Kind::Timestamp, _) => None,
            (Kind::Text | Kind::Other, Value::Text(text)) => self.store_text(form, text),
            (Kind::Text | Kind::Other, value) => self.holds(&shown(value)).then_some(ColumnValue::Unchanged),
        }
    }

    fn store_text<'v>(&self, form: Form, text: &'v str) -> Option<ColumnValue<'v>> {
        let room = self.cut(text);
        let is_cut = room.len() < text.len();
        // A truncated date or time would be a different one.
        if is_cut && matches!(form, Form::Date | Form::Time | Form::DateTime) {
            return None;
        }
        let held = self.repertoire.fit(room);
        let is_substituted = matches!(held, Cow::Owned(_));
        Some(match is_cut || is_substituted {
            true => ColumnValue::Fitted { text: held, is_cut, is_substituted },
            false => ColumnValue::Unchanged,
        })
    }
}

/// A value as a column stores it.
enum ColumnValue<'v> {
    Unchanged,
    Number(Value<'static>),
    Text(Cow<'v, str>),
    /// A text that had to be changed.
    Fitted {
        text: Cow<'v, str>,
        is_cut: bool,
        is_substituted: bool,
    },
}

impl ColumnValue<'_> {
    /// Creates the value of an integer column. An instance stores integers beyond 32 bits as text.
    fn integer(number: i64) -> Self {
        match i32::try_from(number) {
            Ok(_) => ColumnValue::Number(Value::Integer(number)),
            Err(_) => ColumnValue::Text(Cow::Owned(number.to_string())),
        }
    }
}

fn shown(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::Text(text) => Cow::Borrowed(text),
        Value::Integer(number) => Cow::Owned(number.to_string()),
        Value::Real(number) => Cow::Owned(number.to_string()),
    }
}

/// Returns the value as an integer. Halves are rounded away from zero, so that all servers store
/// the same number. A text must be an integer.
fn whole(value: Value<'_>) -> Option<i64> {
    /// The bound below which a rounded f64 is converted to i64 without loss.
    const EXACT: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
    match value {
        Value::Null => None,
        Value::Integer(number) => Some(number),
        Value::Real(number) => (number.abs() < EXACT).then(|| number.round() as i64),
        Value::Text(text) => text.trim().parse().ok(),
    }
}

fn real(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Null => None,
        Value::Integer(number) => Some(number as f64),
        Value::Real(number) => Some(number),
        Value::Text(text) => text.trim().parse().ok(),
    }
}

/// Returns a date or time as a column of another type stores it, or `None` if the column cannot
/// store it.
fn moment(kind: Kind, form: Form, text: &str) -> Option<Cow<'_, str>> {
    const DATE: usize = "YYYY-MM-DD".len();
    let moment = match (form, kind) {
        (Form::Date, Kind::Date) | (Form::Time, Kind::Time) | (Form::DateTime, Kind::DateTime | Kind::Timestamp) => {
            Cow::Borrowed(text)
        }
        (Form::Date, Kind::DateTime | Kind::Timestamp) => Cow::Owned(format!("{text} 00:00:00")),
        (Form::DateTime, Kind::Date) => Cow::Borrowed(text.get(..DATE)?),
        (Form::DateTime, Kind::Time) => Cow::Borrowed(text.get(DATE + 1..)?),
        _ => return None,
    };
    // One day within the bounds of TIMESTAMP, which depend on the time zone of the server.
    let is_held = kind != Kind::Timestamp || ("1970-01-02".."2038-01-19").contains(&moment.get(..DATE)?);
    is_held.then_some(moment)
}
