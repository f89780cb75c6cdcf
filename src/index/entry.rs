//! An entry: the values to write for one file, from its instance and from the facts about the file
//! that columns contain.

use std::path::PathBuf;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::Value;
use super::columns::Source;
use super::patient_name::Name;
use crate::archive::FileState;
use crate::dicom::attributes::position;
use crate::dicom::{ATTRIBUTES, Instance, Level, PackedForm, Table, date_time};

const NAME: [usize; 3] = [
    position(Table::Patient, "lastname"),
    position(Table::Patient, "firstname"),
    position(Table::Patient, "middlename"),
];

/// The length of a date with a time, in bytes.
pub(crate) const RECEIVED: usize = "YYYY-MM-DD HH:MM:SS".len();

#[derive(Debug)]
pub struct Entry {
    pub instance: Instance,
    pub file: StoredFile,
    /// The absolute path of the file, as the PACS names it.
    pub path: String,
    /// The time at which the PACS received the file, in its local time and in the format of the
    /// index.
    received: String,
    /// The record of the file in the journal. Its bytes are empty if nothing is recorded.
    pub record: FileRecord,
    /// The defined term for the character set in which the index stores the patient's text. `None`
    /// if the text is plain ASCII.
    charset: Option<&'static str>,
}

/// The file of an entry, by its path on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    pub path: PathBuf,
    /// The mtime, in nanoseconds since 1970. The minimum of the type if the mtime is unknown.
    pub modified: i128,
    /// The size in bytes.
    pub size: u64,
    /// The index of the root that contains the file, in the order of the command line.
    pub root: usize,
}

/// The header of a serialized entry, which precedes its instance.
#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    file: &'a str,
    modified: i128,
    size: u64,
    root: usize,
    path: &'a str,
    received: &'a str,
    has_charset: bool,
    state: FileState,
    leads_on: bool,
    record: &'a [u8],
}

impl Entry {
    /// Appends the serialized entry to a buffer. The path is text, because the index cannot name a
    /// file with any other path.
    pub fn pack(&self, into: &mut Vec<u8>) {
        let StoredFile { path, modified, size, root } = &self.file;
        let head = Packed {
            file: path.to_str().unwrap_or_default(),
            modified: *modified,
            size: *size,
            root: *root,
            path: &self.path,
            received: &self.received,
            has_charset: self.charset.is_some(),
            state: self.record.state,
            leads_on: self.record.leads_on,
            record: &self.record.bytes,
        };
        // Serialization cannot fail, because the length of every part is known beforehand.
        *into = postcard::to_extend(&head, std::mem::take(into)).unwrap_or_default();
        self.instance.pack(into);
    }

    /// Deserializes an entry. `term` is the term that was passed to [`Entry::new`].
    pub fn unpack(packed: &[u8], term: &'static str) -> Option<Self> {
        let (head, mut rest) = postcard::take_from_bytes::<Packed>(packed).ok()?;
        let instance = Instance::unpack(&mut rest, &PackedForm::current())?;
        Some(Entry {
            instance,
            file: StoredFile { path: head.file.into(), modified: head.modified, size: head.size, root: head.root },
            path: head.path.into(),
            received: head.received.into(),
            record: FileRecord { state: head.state, leads_on: head.leads_on, bytes: head.record.into() },
            charset: head.has_charset.then_some(term),
        })
    }

    pub fn new(
        instance: Instance,
        file: StoredFile,
        path: String,
        received: DateTime,
        term: &'static str,
        record: FileRecord,
    ) -> Self {
        let is_ascii = |(i, _)| !matches!(instance.get(i), Value::Text(text) if !text.is_ascii());
        let of_patient = ATTRIBUTES
            .iter()
            .enumerate()
            .filter(|(_, attribute)| attribute.table == Table::Patient && attribute.column != "origid");
        let charset = if of_patient.clone().all(is_ascii) { None } else { Some(term) };
        let mut text = String::with_capacity(RECEIVED);
        date_time::push_date_time(&mut text, received);
        Entry { instance, file, path, received: text, record, charset }
    }

    /// Returns whether an instance has the same patient, study and series as this one.
    pub fn names_rows_of(&self, other: &Instance) -> bool {
        self.instance.patient_id() == other.patient_id()
            && self.instance.study_instance_uid() == other.study_instance_uid()
            && self.instance.series_instance_uid() == other.series_instance_uid()
    }

    pub fn key(&self, level: Level) -> &str {
        match level {
            Level::Patient => self.instance.patient_id(),
            Level::Study => self.instance.study_instance_uid(),
            Level::Series => self.instance.series_instance_uid(),
            Level::Instance => self.instance.sop_instance_uid(),
        }
    }

    /// Returns the key of the parent row.
    pub fn link(&self, level: Level) -> &str {
        match level {
            Level::Patient => "",
            Level::Study => self.key(Level::Patient),
            Level::Series => self.key(Level::Study),
            Level::Instance => self.key(Level::Series),
        }
    }

    pub fn patient_name(&self) -> Name {
        Name(self.patient_name_parts().map(Into::into))
    }

    pub fn patient_name_parts(&self) -> [&str; 3] {
        NAME.map(|attribute| match self.instance.get(attribute) {
            Value::Text(text) => text,
            _ => "",
        })
    }

    /// Returns the time of receipt as `YYYY-MM-DD HH:MM:SS`.
    pub fn received(&self) -> &str {
        &self.received
    }

    /// Returns the approximate size of the entry's values in a statement, in bytes.
    pub fn weight(&self) -> usize {
        self.instance.weight() + self.path.len() + 256
    }

    /// Returns the value for a column. The front end decodes names by the term in
    /// `patient.charset`, and as plain ASCII if the term is NULL.
    pub fn value(&self, source: Source) -> Value<'_> {
        match source {
            Source::Attribute(attribute) => self.instance.get(attribute),
            Source::Path => Value::Text(&self.path),
            Source::Received => Value::Text(&self.received),
            Source::Charset => self.charset.map_or(Value::Null, Value::Text),
            Source::Derived | Source::Unknown => Value::Null,
            Source::Zero => Value::Integer(0),
        }
    }
}

/// The encoded result of reading a file, with the state of the file at that time.
#[derive(Clone, Debug)]
pub struct FileRecord {
    pub state: FileState,
    /// Whether the file is a link or a pointer, so that the data were read from another file.
    pub leads_on: bool,
    pub bytes: Vec<u8>,
}

/// Attributes that identify a study's patient. Their values follow the study's own values.
pub const IDENTITY: [usize; 4] = [
    position(Table::Study, "patientid"),
    position(Table::Patient, "lastname"),
    position(Table::Patient, "firstname"),
    position(Table::Patient, "middlename"),
];
