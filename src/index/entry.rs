//! What is written of one file: its instance, and the facts of the file that columns hold.

use std::path::PathBuf;

use jiff::civil::DateTime;

use super::Value;
use super::columns::Source;
use crate::dicom::{ATTRIBUTES, Instance, Level, Table};

#[derive(Debug)]
pub struct Entry {
    pub instance: Instance,
    /// The file as it is called here.
    pub file: PathBuf,
    /// The file as the PACS calls it: absolute.
    pub path: String,
    /// When the PACS received the file, in its local time.
    pub received: DateTime,
    /// `received` as the index writes it.
    received_text: String,
    /// Some text of the patient is not ASCII, and so stands in the index as UTF-8.
    patient_is_utf8: bool,
}

impl Entry {
    pub fn new(instance: Instance, file: PathBuf, path: String, received: DateTime) -> Self {
        let patient_is_utf8 = ATTRIBUTES.iter().enumerate().any(|(i, attribute)| {
            attribute.table == Table::Patient && matches!(instance.get(i), Value::Text(text) if !text.is_ascii())
        });
        let received_text = date_time_text(received);
        Entry { instance, file, path, received, received_text, patient_is_utf8 }
    }

    pub fn key(&self, level: Level) -> &str {
        match level {
            Level::Patient => self.instance.patient_id(),
            Level::Study => self.instance.study_instance_uid(),
            Level::Series => self.instance.series_instance_uid(),
            Level::Instance => self.instance.sop_instance_uid(),
        }
    }

    /// About how many bytes its values take in a statement.
    pub fn weight(&self) -> usize {
        self.instance.weight() + self.path.len() + 256
    }

    /// The value for a column. The front end reads names as UTF-8 where `patient.charset` says so, and plain ASCII
    /// where it is NULL.
    pub fn value(&self, source: Source) -> Value<'_> {
        match source {
            Source::Attribute(attribute) => self.instance.get(attribute),
            Source::Path => Value::Text(&self.path),
            Source::Received => Value::Text(&self.received_text),
            Source::Charset if self.patient_is_utf8 => Value::Text("ISO_IR 192"),
            Source::Charset | Source::Derived => Value::Null,
            Source::Zero => Value::Integer(0),
        }
    }
}

/// `YYYY-MM-DD HH:MM:SS`.
pub fn date_time_text(at: DateTime) -> String {
    let whole_seconds = at.time().with().subsec_nanosecond(0).build().unwrap_or(at.time());
    format!("{} {}", at.date(), whole_seconds)
}
