//! An instance: the typed values of its indexed attributes. An instance cannot exist without its
//! three UIDs.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::attributes::{ATTRIBUTES, Form, Table, position};
use super::charset::{Charset, Kind};
use super::data_end::DataEnd;
use super::date_time;
use super::flaw::{Flaw, Flaws};
use super::header::{Header, trim_uid};
use super::packed;
use super::packed_form::PackedForm;
use super::rejection::Rejection;
use super::value::{self, Parsed};
use super::wanted::WANTED;

/// The revision of the values that are read from a file, and of their packed form. Each change
/// increments the revision, so that a file is read again if an older program packed its instance.
pub const REVISION: u32 = 3;

/// The maximum length of a UID in characters (PS3.5 9.1).
const UID_LENGTH: usize = 64;

const SOP_INSTANCE_UID: usize = position(Table::Image, "uuid");
const SERIES_INSTANCE_UID: usize = position(Table::Series, "uuid");
const STUDY_INSTANCE_UID: usize = position(Table::Study, "uuid");
const PATIENT_ID: usize = position(Table::Patient, "origid");
const TRANSFER_SYNTAX_UID: usize = position(Table::Image, "xfersyntax");

/// The value of one attribute. A text is a range of the text of the instance.
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
    pub flaws: Flaws,
    /// Whether the file ended within its header.
    pub cut: bool,
    pub data_end: DataEnd,
}

/// A value that is borrowed from an instance.
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
        let mut instance = Instance { cut: header.cut, data_end: header.data_end, ..Instance::empty() };
        instance.flaws.has_unknown_charset = !charset.is_understood;
        let wanted = &*WANTED;
        // Attributes that share a slot, such as the parts of a name, are adjacent, so that their
        // text is decoded once.
        let mut decoded = (usize::MAX, Cow::Borrowed(""));
        for (i, attribute) in ATTRIBUTES.iter().enumerate() {
            let slot = wanted.slots[i];
            let raw = header.raw(slot).unwrap_or_default();
            instance.cells[i] = match attribute.form {
                Form::Uid => instance.uid(i, trim_uid(raw)),
                form if raw.is_empty() && !is_never_null(form) => Cell::Null,
                form => {
                    if decoded.0 != slot {
                        decoded = (slot, instance.decode(i, form, raw, &charset));
                    }
                    instance.value(i, form, &decoded.1)
                }
            };
        }
        let syntax = header.transfer_syntax();
        instance.cells[TRANSFER_SYNTAX_UID] = instance.uid(TRANSFER_SYNTAX_UID, syntax.as_bytes());
        instance.check()?;
        Ok(instance)
    }

    /// Creates an instance without values, which is not valid yet.
    fn empty() -> Self {
        Instance {
            text: String::with_capacity(512),
            cells: vec![Cell::Null; ATTRIBUTES.len()].into_boxed_slice(),
            flaws: Flaws::default(),
            cut: false,
            data_end: DataEnd::Unknown,
        }
    }

    /// Creates an instance that has only these values.
    #[cfg(test)]
    pub fn with_texts(values: &[(Table, &str, &str)]) -> Self {
        let mut instance = Instance::empty();
        values.iter().for_each(|(table, column, text)| instance.set(position(*table, column), Value::Text(text)));
        instance
    }

    /// Serializes the instance.
    pub fn pack(&self, into: &mut Vec<u8>) {
        self.data_end.pack(self.cut, into);
        self.flaws.pack(into);
        (0..ATTRIBUTES.len()).for_each(|n| packed::put(self.get(n), into));
    }

    /// Takes a packed instance from the front. `None` if the bytes are not an instance. Attributes
    /// that the form lacks are NULL.
    pub fn unpack(from: &mut &[u8], form: &PackedForm) -> Option<Self> {
        let (data_end, cut) = DataEnd::unpack(from)?;
        let mut instance = Instance { cut, data_end, flaws: form.flaws(Flaws::unpack(from)?), ..Instance::empty() };
        for position in form.positions() {
            let value = packed::take(from)?;
            position.iter().for_each(|position| instance.set(*position, value));
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

    /// Returns the Patient ID, which is empty if the file has none.
    pub fn patient_id(&self) -> &str {
        self.text(PATIENT_ID)
    }

    /// Returns whether the instance has a value for a column of the table other than its key. If
    /// not, the row of a companion table is not written.
    pub fn fills(&self, table: Table) -> bool {
        /// The positions in [`ATTRIBUTES`] of the attributes of each [`Table`], except that of its
        /// key.
        static PLACES: LazyLock<[Vec<usize>; Table::COUNT]> = LazyLock::new(|| {
            let mut places = [const { Vec::new() }; Table::COUNT];
            for (place, attribute) in ATTRIBUTES.iter().enumerate() {
                if attribute.column != attribute.table.key() {
                    places[attribute.table as usize].push(place);
                }
            }
            places
        });
        PLACES[table as usize].iter().any(|place| self.get(*place) != Value::Null)
    }

    /// Returns the number of bytes of text in the instance.
    pub fn weight(&self) -> usize {
        self.text.len()
    }

    /// Returns the value of an attribute, by its position in [`ATTRIBUTES`].
    #[inline]
    pub fn get(&self, attribute: usize) -> Value<'_> {
        match self.cells[attribute] {
            Cell::Null => Value::Null,
            Cell::Text { from, to } => Value::Text(&self.text[from as usize..to as usize]),
            Cell::Integer(number) => Value::Integer(number.into()),
            Cell::Real(number) => Value::Real(number),
        }
    }

    /// Replaces the value of an attribute with one that the index can store.
    pub fn set(&mut self, attribute: usize, value: Value<'_>) {
        self.cells[attribute] = match value {
            Value::Null => Cell::Null,
            Value::Text(text) => self.push(text),
            Value::Integer(number) => i32::try_from(number).map_or(Cell::Null, Cell::Integer),
            Value::Real(number) => Cell::Real(number),
        };
    }

    /// Removes the flaws of an attribute that is not stored. A flaw of its text is moved to the
    /// next attribute that has the same text and is stored.
    pub fn remove_flaws(&mut self, attribute: usize, is_stored: impl Fn(usize) -> bool) {
        let slots = &WANTED.slots;
        for flaw in Flaw::ALL {
            if !self.flaws.remove(flaw, attribute) {
                continue;
            }
            let mut others = attribute + 1..slots.len();
            let heir = others.find(|other| slots[*other] == slots[attribute] && is_stored(*other));
            if let (Flaw::Undecodable | Flaw::Partial, Some(heir)) = (flaw, heir) {
                self.flaws.add(flaw, heir);
            }
        }
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

    /// Adds a UID. An invalid UID stays NULL, which makes the instance invalid if the UID is a key.
    fn uid(&mut self, attribute: usize, raw: &[u8]) -> Cell {
        if raw.is_empty() {
            return Cell::Null;
        }
        match str::from_utf8(raw) {
            Ok(uid) if is_valid_uid(raw) => self.push(uid),
            _ => {
                self.flaws.add(Flaw::Invalid, attribute);
                Cell::Null
            }
        }
    }

    fn decode<'h>(&mut self, attribute: usize, form: Form, raw: &'h [u8], charset: &Charset) -> Cow<'h, str> {
        let kind = match form {
            Form::PersonName | Form::PersonNames | Form::NameComponent(_) | Form::NameGroup(_) => Kind::Name,
            _ => Kind::Text,
        };
        // A column's text contains no NUL. Bytes behind a NUL are remnants in the buffer of the
        // writer.
        let nul = raw.iter().position(|byte| *byte == 0).filter(|_| !charset.is_wide());
        let (text, behind) = raw.split_at(nul.unwrap_or(raw.len()));
        if behind.iter().any(|byte| !matches!(byte, 0 | b' ')) {
            self.flaws.add(Flaw::Partial, first_of_slot(attribute));
        }
        let decoded = charset.decode(text, kind);
        if decoded.damaged {
            self.flaws.add(Flaw::Undecodable, first_of_slot(attribute));
        }
        if !charset.is_wide() {
            return decoded.text;
        }
        match decoded.text.split_once('\0') {
            Some((text, behind)) => {
                if !behind.trim_matches(['\0', ' ']).is_empty() {
                    self.flaws.add(Flaw::Partial, first_of_slot(attribute));
                }
                Cow::Owned(text.to_owned())
            }
            None => decoded.text,
        }
    }

    fn value(&mut self, attribute: usize, form: Form, text: &str) -> Cell {
        let cell = self.typed(attribute, form, text);
        if cell == Cell::Null && is_measured(form) && !text.trim().is_empty() {
            self.flaws.add(Flaw::Invalid, attribute);
        } else if has_one_value(form) && value::has_second(text) {
            self.flaws.add(Flaw::Partial, first_of_slot(attribute));
        }
        cell
    }

    fn typed(&mut self, attribute: usize, form: Form, text: &str) -> Cell {
        match form {
            Form::Uid | Form::Text | Form::PersonName | Form::PersonNames => self.push_unless_empty(text.trim()),
            Form::PatientId => self.push(text.trim()),
            Form::LongText => self.push_unless_empty(text.trim_end()),
            Form::UpperCase => self.push_upper_case(value::first(text)),
            Form::NameComponent(n @ 0..=1) => self.push(value::name_component(value::first(text), n)),
            Form::NameComponent(n) => self.push_unless_empty(value::name_component(value::first(text), n)),
            Form::NameGroup(n) => self.push_unless_empty(value::name_group(value::first(text), n)),
            Form::Years | Form::Decimal | Form::Integer | Form::Unsigned | Form::Frames => {
                self.number(attribute, form, value::first(text))
            }
            Form::Date => {
                let date = self.accept(attribute, date_time::date(value::first(text)));
                self.push_with(date, date_time::push_date)
            }
            Form::Time => {
                let time = self.accept(attribute, date_time::time(value::first(text)));
                self.push_with(time, date_time::push_time)
            }
            Form::DateTime => {
                let at = self.accept(attribute, date_time::date_time(value::first(text)));
                self.push_with(at, date_time::push_date_time)
            }
        }
    }

    fn number(&mut self, attribute: usize, form: Form, text: &str) -> Cell {
        let cell = match form {
            Form::Decimal => self.accept(attribute, value::decimal(text)).map(Cell::Real),
            Form::Years => self.accept(attribute, value::years(text)).map(Cell::Real),
            Form::Frames => {
                let frames = value::integer(text).filter(|frames| frames.value >= 1);
                self.accept(attribute, frames).map(Cell::Integer)
            }
            _ => self.accept(attribute, value::integer(text)).map(Cell::Integer),
        };
        cell.unwrap_or(Cell::Null)
    }

    /// Returns the value, if there is one, and records a repair.
    fn accept<T>(&mut self, attribute: usize, parsed: Option<Parsed<T>>) -> Option<T> {
        let Parsed { value, is_repaired } = parsed?;
        if is_repaired {
            self.flaws.add(Flaw::Repaired, attribute);
        }
        Some(value)
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

    /// Returns the text that was appended since the text had this length.
    fn pushed(&self, from: u32) -> Cell {
        Cell::Text { from, to: self.end() }
    }
}

/// Returns whether a text consists of components of digits with dots between them, and is not too
/// long (PS3.5 9.1).
fn is_valid_uid(text: &[u8]) -> bool {
    let mut before = b'.';
    let is_in_place = |byte: &u8| {
        let is_in_place = byte.is_ascii_digit() || (*byte == b'.' && before != b'.');
        before = *byte;
        is_in_place
    };
    text.len() <= UID_LENGTH && text.iter().all(is_in_place) && text.last() != Some(&b'.')
}

/// Returns whether columns of this form contain the empty string if the attribute is missing.
fn is_never_null(form: Form) -> bool {
    matches!(form, Form::PatientId | Form::NameComponent(0 | 1))
}

/// Returns whether a text can be invalid in this form.
fn is_measured(form: Form) -> bool {
    use Form::*;
    matches!(form, Date | Time | DateTime | Integer | Unsigned | Frames | Decimal | Years)
}

/// Returns whether attributes of this form have one value, so that a second one is lost or mixed
/// with the first. Other text keeps all values.
fn has_one_value(form: Form) -> bool {
    is_measured(form)
        || matches!(form, Form::UpperCase | Form::PersonName | Form::NameComponent(_) | Form::NameGroup(_))
}

/// Returns the first attribute that is filled from the same text, so that a flaw of the text counts
/// once.
fn first_of_slot(attribute: usize) -> usize {
    let slots = &WANTED.slots;
    slots.iter().position(|slot| *slot == slots[attribute]).unwrap_or(attribute)
}
