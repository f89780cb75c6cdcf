//! What is written of one file: its instance, and the facts of the file that columns hold.

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

/// How long a date with a time is.
pub(crate) const RECEIVED: usize = "YYYY-MM-DD HH:MM:SS".len();

#[derive(Debug)]
pub struct Entry {
    pub instance: Instance,
    pub file: StoredFile,
    /// The file as the PACS calls it: absolute.
    pub path: String,
    /// When the PACS received the file, in its local time, as the index writes it.
    received: String,
    /// What is written down of the file, if anything is.
    pub record: FileRecord,
    /// The term for how the patient's text stands in the index, where it is not plain ASCII.
    charset: Option<&'static str>,
}

/// The file of an entry, as it is called here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    pub path: PathBuf,
    /// Nanoseconds since 1970; the least number where nothing is known.
    pub modified: i128,
    /// In bytes.
    pub size: u64,
    /// The root that it lies below, by its place on the command line.
    pub root: usize,
}

/// What stands in front of an entry's instance where it is put by.
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
    /// Puts all of it in one piece. A file that the index can name has a path of text.
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
        // Nothing in it has a length that is not known beforehand: it can always be put.
        *into = postcard::to_extend(&head, std::mem::take(into)).unwrap_or_default();
        self.instance.pack(into);
    }

    /// Of one that was packed. The term is that of [`Entry::new`].
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

    /// Whether an instance has the same patient, study and series as this one.
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

    /// The key of the row above.
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

    /// `YYYY-MM-DD HH:MM:SS`.
    pub fn received(&self) -> &str {
        &self.received
    }

    /// About how many bytes its values take in a statement.
    pub fn weight(&self) -> usize {
        self.instance.weight() + self.path.len() + 256
    }

    /// The value for a column. The front end reads names by the term in `patient.charset`, and as plain ASCII where it
    /// is NULL.
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

/// What reading a file gave, as it is kept, and what the file was then.
#[derive(Clone, Debug)]
pub struct FileRecord {
    pub state: FileState,
    /// It is a link or a pointer, and what was read is elsewhere.
    pub leads_on: bool,
    pub bytes: Vec<u8>,
}

/// By which patient a study is: its values stand at the end of a study's.
pub const IDENTITY: [usize; 4] = [
    position(Table::Study, "patientid"),
    position(Table::Patient, "lastname"),
    position(Table::Patient, "firstname"),
    position(Table::Patient, "middlename"),
];
