//! An instance: the typed values of its indexed attributes. It cannot exist without its three UIDs.

use std::borrow::Cow;

use super::attributes::{ATTRIBUTES, Form, Table, position};
use super::charset::{Charset, Kind};
use super::header::{Header, trim_uid};
use super::packed;
use super::rejection::Rejection;
use super::value;
use super::wanted::WANTED;

/// PS3.5 9.1.
const UID_LENGTH: usize = 64;

const SOP_INSTANCE_UID: usize = position(Table::Image, "uuid");
const SERIES_INSTANCE_UID: usize = position(Table::Series, "uuid");
const STUDY_INSTANCE_UID: usize = position(Table::Study, "uuid");
const PATIENT_ID: usize = position(Table::Patient, "origid");
const TRANSFER_SYNTAX_UID: usize = position(Table::Image, "xfersyntax");

/// The value of one attribute, its text kept in the instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    Null,
    Text { from: u32, to: u32 },
    Integer(i32),
    Real(f64),
}

/// The indexed attributes of one instance.
#[derive(Clone, Debug)]
pub struct Instance {
    text: String,
    cells: Box<[Cell]>,
    /// Values that were there and could not be used (an impossible date, a number that is none).
    pub unusable: u32,
    /// Texts of which some bytes could not be decoded.
    pub undecodable: u32,
    /// The file ended within its header.
    pub cut: bool,
}

/// A value of an instance, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Text(&'a str),
    Integer(i64),
    Real(f64),
}

impl Instance {
    pub fn from_header(header: &Header) -> Result<Self, Rejection> {
        let charset = header.raw(WANTED.charset).map_or_else(Charset::default, Charset::from_raw);
        let mut instance = Instance { cut: header.cut, ..Instance::empty() };
        let wanted = &*WANTED;
        // Attributes that share a place, as the parts of a name do, stand together: its text is decoded once.
        let mut decoded = (usize::MAX, Cow::Borrowed(""));
        for (i, attribute) in ATTRIBUTES.iter().enumerate() {
            let slot = wanted.slots[i];
            let raw = header.raw(slot).unwrap_or_default();
            instance.cells[i] = match attribute.form {
                Form::Uid => instance.uid(trim_uid(raw)),
                form if raw.is_empty() && !is_never_null(form) => Cell::Null,
                form => {
                    if decoded.0 != slot {
                        decoded = (slot, instance.decode(i, form, raw, &charset));
                    }
                    instance.value(form, &decoded.1)
                }
            };
        }
        let syntax = header.transfer_syntax();
        instance.cells[TRANSFER_SYNTAX_UID] = instance.uid(syntax.as_bytes());
        instance.check()?;
        Ok(instance)
    }

    /// Without values, and so none yet.
    fn empty() -> Self {
        Instance {
            text: String::with_capacity(512),
            cells: vec![Cell::Null; ATTRIBUTES.len()].into_boxed_slice(),
            unusable: 0,
            undecodable: 0,
            cut: false,
        }
    }

    /// One that has these values, and no others.
    #[cfg(test)]
    pub fn with_texts(values: &[(Table, &str, &str)]) -> Self {
        let mut instance = Instance::empty();
        values.iter().for_each(|(table, column, text)| instance.set(position(*table, column), Value::Text(text)));
        instance
    }

    /// Puts all of it in one piece.
    pub fn pack(&self, into: &mut Vec<u8>) {
        into.extend([self.unusable, self.undecodable, self.cut.into()].into_iter().flat_map(u32::to_le_bytes));
        (0..ATTRIBUTES.len()).for_each(|n| packed::put(self.get(n), into));
    }

    /// Takes what was packed from the front. `None` if that is no instance.
    pub fn unpack(from: &mut &[u8]) -> Option<Self> {
        let [unusable, undecodable, cut] = *from.split_off(..12)?.as_chunks().0 else { return None };
        let [unusable, undecodable, cut] = [unusable, undecodable, cut].map(u32::from_le_bytes);
        let mut instance = Instance { unusable, undecodable, cut: cut != 0, ..Instance::empty() };
        for n in 0..ATTRIBUTES.len() {
            instance.set(n, packed::take(from)?);
        }
        instance.check().ok()?;
        Some(instance)
    }

    pub fn sop_instance_uid(&self) -> &str {
        self.text(SOP_INSTANCE_UID)
    }

    pub fn series_instance_uid(&self) -> &str {
        self.text(SERIES_INSTANCE_UID)
    }

    pub fn study_instance_uid(&self) -> &str {
        self.text(STUDY_INSTANCE_UID)
    }

    /// Empty when the file has none.
    pub fn patient_id(&self) -> &str {
        self.text(PATIENT_ID)
    }

    /// Whether it has more to say in a table than the key: a companion's row without that is not written.
    pub fn fills(&self, table: Table) -> bool {
        let mut columns = ATTRIBUTES.iter().enumerate().filter(|(_, attribute)| attribute.table == table);
        columns.any(|(i, attribute)| attribute.column != table.key() && self.get(i) != Value::Null)
    }

    /// How many bytes of text it holds.
    pub fn weight(&self) -> usize {
        self.text.len()
    }

    /// The value of an attribute, by its place in [`ATTRIBUTES`].
    #[inline]
    pub fn get(&self, attribute: usize) -> Value<'_> {
        match self.cells[attribute] {
            Cell::Null => Value::Null,
            Cell::Text { from, to } => Value::Text(&self.text[from as usize..to as usize]),
            Cell::Integer(number) => Value::Integer(number.into()),
            Cell::Real(number) => Value::Real(number),
        }
    }

    /// Puts another value in the place of an attribute's: one that an index can hold.
    pub fn set(&mut self, attribute: usize, value: Value<'_>) {
        self.cells[attribute] = match value {
            Value::Null => Cell::Null,
            Value::Text(text) => self.push(text),
            Value::Integer(number) => i32::try_from(number).map_or(Cell::Null, Cell::Integer),
            Value::Real(number) => Cell::Real(number),
        };
    }

    fn text(&self, attribute: usize) -> &str {
        match self.get(attribute) {
            Value::Text(text) => text,
            _ => "",
        }
    }

    fn check(&self) -> Result<(), Rejection> {
        let keys = [
            (SOP_INSTANCE_UID, "SOP Instance UID (0008,0018)"),
            (SERIES_INSTANCE_UID, "Series Instance UID (0020,000E)"),
            (STUDY_INSTANCE_UID, "Study Instance UID (0020,000D)"),
        ];
        match keys.into_iter().find(|(key, _)| self.text(*key).is_empty()) {
            Some((_, attribute)) => Err(Rejection::InvalidUid { attribute }),
            None => Ok(()),
        }
    }

    /// A UID that is none stays NULL; for a key that is the end of the instance.
    fn uid(&mut self, raw: &[u8]) -> Cell {
        let valid = raw.len() <= UID_LENGTH && raw.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        match str::from_utf8(raw) {
            Ok("") => Cell::Null,
            Ok(uid) if valid => self.push(uid),
            _ => {
                self.unusable += 1;
                Cell::Null
            }
        }
    }

    fn decode<'h>(&mut self, attribute: usize, form: Form, raw: &'h [u8], charset: &Charset) -> Cow<'h, str> {
        let kind = match form {
            Form::PersonName | Form::NameComponent(_) | Form::NameGroup(_) => Kind::Name,
            _ => Kind::Text,
        };
        // A column's text holds no NUL: what stands behind one is what its writer forgot in the buffer.
        let text = if raw.contains(&0) { raw.split(|byte| *byte == 0).next().unwrap_or_default() } else { raw };
        let decoded = charset.decode(text, kind);
        // A text that feeds several columns is counted once.
        if decoded.damaged && !WANTED.slots[..attribute].contains(&WANTED.slots[attribute]) {
            self.undecodable += 1;
        }
        decoded.text
    }

    fn value(&mut self, form: Form, text: &str) -> Cell {
        let cell = self.typed(form, text);
        if cell == Cell::Null && is_measured(form) && !text.trim().is_empty() {
            self.unusable += 1;
        }
        cell
    }

    fn typed(&mut self, form: Form, text: &str) -> Cell {
        match form {
            Form::Uid | Form::Text | Form::PersonName => self.push_unless_empty(text.trim()),
            Form::PatientId => self.push(text.trim()),
            Form::LongText => self.push_unless_empty(text.trim_end()),
            Form::UpperCase => self.push_upper_case(value::first(text)),
            Form::NameComponent(n @ 0..=1) => self.push(value::name_component(text, n)),
            Form::NameComponent(n) => self.push_unless_empty(value::name_component(text, n)),
            Form::NameGroup(n) => self.push_unless_empty(value::name_group(text, n)),
            Form::Date => self.push_with(value::date(value::first(text)), value::push_date),
            Form::Time => self.push_with(value::time(value::first(text)), value::push_time),
            Form::DateTime => self.push_with(value::date_time(value::first(text)), value::push_date_time),
            Form::Integer | Form::Unsigned => value::integer(value::first(text)).map_or(Cell::Null, Cell::Integer),
            Form::Frames => value::integer(value::first(text)).filter(|n| *n > 1).map_or(Cell::Null, Cell::Integer),
            Form::Decimal => value::decimal(value::first(text)).map_or(Cell::Null, Cell::Real),
            Form::Years => value::years(value::first(text)).map_or(Cell::Null, Cell::Real),
        }
    }

    fn push_unless_empty(&mut self, text: &str) -> Cell {
        if text.is_empty() { Cell::Null } else { self.push(text) }
    }

    fn push_upper_case(&mut self, text: &str) -> Cell {
        let from = self.end();
        self.text.push_str(text);
        self.text[from as usize..].make_ascii_uppercase();
        if text.is_empty() { Cell::Null } else { self.pushed(from) }
    }

    fn push(&mut self, text: &str) -> Cell {
        let from = self.end();
        self.text.push_str(text);
        self.pushed(from)
    }

    fn push_with<T>(&mut self, value: Option<T>, push: fn(&mut String, T)) -> Cell {
        let from = self.end();
        value.map_or(Cell::Null, |value| {
            push(&mut self.text, value);
            self.pushed(from)
        })
    }

    fn end(&self) -> u32 {
        self.text.len() as u32
    }

    /// What was pushed since the text had this length.
    fn pushed(&self, from: u32) -> Cell {
        Cell::Text { from, to: self.end() }
    }
}

/// Columns that are the empty string when the attribute is missing.
fn is_never_null(form: Form) -> bool {
    matches!(form, Form::PatientId | Form::NameComponent(0 | 1))
}

/// Forms that can fail to mean anything.
fn is_measured(form: Form) -> bool {
    matches!(
        form,
        Form::Date | Form::Time | Form::DateTime | Form::Integer | Form::Unsigned | Form::Decimal | Form::Years
    )
}
