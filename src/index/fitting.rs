//! Values are made to fit their columns before they are sent: a strict server would reject the whole row.

use std::borrow::Cow;

use super::column::{Column, Kind};
use super::{Refusal, Tables, Value, table};
use crate::dicom::attributes::Form;
use crate::dicom::flaw::Flaw;
use crate::dicom::{ATTRIBUTES, Instance, Level, Table};

/// The changes that make an instance fit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fitted {
    /// Texts that were cut.
    pub cut: u64,
    /// Columns whose text has characters that they cannot hold, now substituted.
    pub substituted: Vec<String>,
}

impl Tables {
    /// Makes the instance fit. Values that their columns cannot store become NULL and invalid: numbers out of range, text
    /// in a column of another type, values outside an ENUM or SET. Keys and links are never changed: an instance whose keys do not fit is refused.
    pub fn fit(&self, instance: &mut Instance) -> Result<Fitted, Refusal> {
        let mut fitted = Fitted::default();
        for (n, attribute) in ATTRIBUTES.iter().enumerate() {
            let value = instance.get(n);
            let Some(column) = self.of_attribute(n) else {
                // What is not written makes no difference either.
                if attribute.table != Table::Image {
                    instance.set(n, Value::Null);
                }
                instance.remove_flaws(n, |other| self.of_attribute(other).is_some());
                continue;
            };
            match value {
                Value::Null => {}
                // A companion that cannot hold the key costs no instance: it is looked at when its row is written.
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

    /// Whether a path stands in its column as it is.
    pub fn check_path(&self, path: &str) -> Result<(), Refusal> {
        match self.of(Level::Instance).column("path") {
            Some(column) => column.take(Level::Instance, path),
            None => Ok(()),
        }
    }
}

impl Column {
    /// A text that is never changed.
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

    /// Returns whether a text needs no change, as most do not.
    fn has_room_for(&self, text: &str, form: Form) -> bool {
        let is_text = matches!(self.kind, Kind::Text | Kind::Other);
        let is_own = matches!((self.kind, form), (Kind::Date, Form::Date) | (Kind::Time, Form::Time));
        is_own || (is_text && text.len() <= self.characters.min(self.bytes) && text.is_ascii())
    }

    /// The value as the column stores it. `None` if the column cannot store the value.
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
            // The server takes numbers of two digits for years of a century.
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
        // A part of a date would be another date.
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
    /// Text that had to be changed.
    Fitted {
        text: Cow<'v, str>,
        is_cut: bool,
        is_substituted: bool,
    },
}

impl ColumnValue<'_> {
    /// An instance holds larger integers as text.
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

/// The value as an integer. Halves are rounded away from zero, so that all servers store the same. Text must be an
/// integer.
fn whole(value: Value<'_>) -> Option<i64> {
    /// No f64 below has a fraction that an i64 would lose, and none is out of its range.
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

/// A date or time as a column of another type stores it.
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
    // Within a day of its bounds, whatever the time zone of the server.
    let is_held = kind != Kind::Timestamp || ("1970-01-02".."2038-01-19").contains(&moment.get(..DATE)?);
    is_held.then_some(moment)
}
