//! Inserts the rows of patients who share a Patient ID with others but have a different name.

use std::collections::{HashMap, HashSet};

use super::intent;
use super::patient_row::{PatientRow, needs_charset};
use super::refusals::note_refused;
use super::settlement::Settlement;
use super::writer::Writer;
use crate::dicom::{Level, Table};
use crate::index::column::Column;
use crate::index::columns::Source;
use crate::index::existing::Applied;
use crate::index::missing::{Missing, Presence, Row};
use crate::index::row_history::IntendedRows;
use crate::index::{Existing, Failure, Look, Show, Tables, Value, View};

/// The row of a patient that is to be inserted.
struct NewPatient<'a> {
    id: &'a str,
    identity: &'a str,
    values: Vec<Value<'a>>,
}

impl Row for NewPatient<'_> {
    fn key(&self, _: Table) -> &str {
        self.id
    }

    fn identity(&self) -> &str {
        self.identity
    }

    fn weight(&self) -> usize {
        let text = |value: &Value<'_>| if let Value::Text(text) = value { text.len() } else { 0 };
        self.values.iter().map(text).sum()
    }

    fn values<'a>(&'a self, _: &[Column], into: &mut Vec<Value<'a>>) {
        into.extend(&self.values);
    }
}

/// Inserts the rows of patients that are missing. Returns the number of rows that did not exist
/// before the run.
pub(super) fn insert_patients(
    writer: &mut Writer,
    settlement: &Settlement,
    patients: &[&PatientRow],
) -> Result<u64, Failure> {
    let ids: Vec<&str> = patients.iter().map(|patient| &*patient.id).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let look = Look { view: View::Now, show: Show::Nothing };
    let found = writer.index.find(Table::Patient, &ids, look)?;
    let identities = writer.index.identities(&ids)?;
    let found: HashMap<&str, &Existing> = found.iter().map(|row| (row.identity.as_str(), row)).collect();
    // If the run is resumed, rows that were found may have been inserted before it was killed.
    let is_counted = |row: &&&Existing| writer.continues || writer.is_left(Table::Patient, &row.key);
    let mut inserted = found.values().filter(is_counted).count() as u64;
    let tables = writer.index.tables();
    let attributes = settlement.shapes[Level::Patient as usize].own();
    let mut seen = HashSet::new();
    let missing = patients
        .iter()
        .zip(&identities)
        .filter(|(_, identity)| !found.contains_key(identity.as_str()) && seen.insert(identity.as_str()));
    let missing: Vec<NewPatient> = missing
        .map(|(patient, identity)| NewPatient {
            id: &patient.id,
            identity,
            values: values_of(&tables, attributes, patient),
        })
        .collect();
    let recorded = tables.of(Table::Patient).recorded();
    let mut intended = IntendedRows::new(Table::Patient, &recorded);
    for patient in &missing {
        let written = tables.of(Table::Patient).columns.iter().zip(&patient.values);
        let written = written.filter(|(column, _)| recorded.iter().any(|known| known.name == column.name));
        intended.push(patient.id, true, written.map(|(_, value)| *value));
    }
    intent::intend(writer, intended)?;
    let presence = Missing::new(&mut *writer.index, Table::Patient, &missing, &writer.left, false).insert(true)?;
    for (patient, presence) in missing.iter().zip(presence) {
        inserted += match presence {
            Presence::Inserted => 1,
            Presence::There(_) => 0,
            Presence::Refused(_) => u64::from(insert_bare_patient(writer, &patient.values)?),
        };
    }
    Ok(inserted)
}

fn values_of<'a>(tables: &'a Tables, attributes: &[usize], patient: &'a PatientRow) -> Vec<Value<'a>> {
    let said = patient.fold.own_values(attributes);
    let said_of = |attribute| said.get(attributes.iter().position(|a| *a == attribute)?).copied();
    let columns = tables.of(Level::Patient).columns.iter();
    let value = |column: &Column| {
        column.blank(match column.source {
            Source::Attribute(_) if column.known == "origid" => Value::Text(&patient.id),
            Source::Attribute(attribute) => said_of(attribute).unwrap_or(Value::Null),
            Source::Charset if needs_charset(&said) => Value::Text(tables.charset_term()),
            Source::Zero => Value::Integer(0),
            _ => Value::Null,
        })
    };
    columns.map(value).collect()
}

/// Inserts a row that contains only the ID and the name of a patient, because the database rejected
/// another value. Without a row, the patient's studies would have no patient. Returns whether the
/// row was inserted.
fn insert_bare_patient(writer: &mut Writer, values: &[Value<'_>]) -> Result<bool, Failure> {
    let tables = writer.index.tables();
    let is_kept = |column: &Column| {
        matches!(column.known, "origid" | "lastname" | "firstname") || !matches!(column.source, Source::Attribute(_))
    };
    let columns = tables.of(Level::Patient).columns.iter();
    let bare: Vec<Value> = columns
        .zip(values)
        .map(|(column, value)| if is_kept(column) { *value } else { column.blank(Value::Null) })
        .collect();
    let applied = Applied { changed: false, refused: vec!["origid".into()] };
    match writer.index.insert(Table::Patient, 1, &bare) {
        Ok(()) => Ok(true),
        Err(Failure::Duplicate) => Ok(false),
        Err(Failure::Refused(_)) => {
            note_refused(writer, Table::Patient, "", &applied);
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}
