//! The rows of the closing step, read from disk in parts, in the order of their keys.

use std::io;
use std::sync::Arc;

use super::known_row::{Series, Study};
use super::patient_row::{PatientRow, State};
use super::settlement::Settlement;
use crate::disk::aggregate::decode;
use crate::disk::key::text;
use crate::disk::runs::Entry;

/// Rows per transaction.
const PER_TRANSACTION: usize = 500;

/// The rows of one transaction.
pub enum Part {
    Patients(Vec<PatientRow>),
    Studies(Vec<ClosingStudy>),
    Series(Vec<(Arc<str>, Series)>),
}

/// A study with the Patient ID that its row receives.
pub struct ClosingStudy {
    pub key: Arc<str>,
    pub study: Study,
    pub patient: Arc<str>,
}

impl Part {
    pub fn len(&self) -> usize {
        match self {
            Part::Patients(rows) => rows.len(),
            Part::Studies(rows) => rows.len(),
            Part::Series(rows) => rows.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Returns the sort key of a patient's row. Existing rows come first. Of two decisions about a row,
/// the one that contains this program's values comes first.
pub(super) fn patient_key(row: &PatientRow) -> Vec<u8> {
    let is_new = matches!(row.state, State::New);
    crate::disk::key::encode([kind(is_new), &row.id, if matches!(row.state, State::There) { "1" } else { "0" }])
}

fn kind(is_new: bool) -> &'static str {
    if is_new { "1" } else { "0" }
}

impl Settlement {
    /// Returns the series in parts, without those that are withdrawn.
    pub fn series(&self) -> io::Result<impl Iterator<Item = io::Result<Part>> + use<'_>> {
        let is_kept = |row: &io::Result<(Arc<str>, Series)>| match row {
            Ok((key, series)) => series.is_row && !self.known.lock().is_ghost_series(key, series),
            Err(_) => true,
        };
        let rows = self.series.iter()?.map(|row| row.map(|(key, series)| (Arc::from(&*text(&key)), series)));
        Ok(parts(rows.filter(is_kept), Part::Series))
    }

    /// Returns the studies in parts, without those that are withdrawn.
    pub fn studies(&self) -> io::Result<impl Iterator<Item = io::Result<Part>> + use<'_>> {
        let mut decided = self.patient_of.entries()?.peekable();
        let mut patient_of = move |key: &[u8]| -> io::Result<Option<Arc<str>>> {
            let mut last = None;
            while let Some(entry) = decided.next_if(|next| next.as_ref().map_or(true, |next| next.key() <= key)) {
                let entry = entry?;
                if entry.key() == key {
                    last = Some(Arc::from(&*text(entry.value())));
                }
            }
            Ok(last)
        };
        let again = &self.again;
        let rows = self.studies.iter()?.map(move |row| {
            let (key, study) = row?;
            let decided = patient_of(&key)?;
            let key: Arc<str> = Arc::from(&*text(&key));
            let decided = match again.studies.contains(&key) {
                true => again.decided.patient_of.get(&key).cloned(),
                false => decided,
            };
            let patient = decided.unwrap_or_else(|| study.patient.clone());
            Ok(ClosingStudy { key, study, patient })
        });
        let is_kept = |row: &io::Result<ClosingStudy>| match row {
            Ok(row) => row.study.is_row && !self.known.lock().is_ghost_study(&row.key, &row.study),
            Err(_) => true,
        };
        Ok(parts(rows.filter(is_kept), Part::Studies))
    }

    /// Returns the patients whose rows exist, in parts.
    pub fn existing_patients(&self) -> io::Result<impl Iterator<Item = io::Result<Part>> + use<'_>> {
        self.patients(false)
    }

    /// Returns the patients whose rows are inserted, and then the patients that were decided again,
    /// in parts.
    pub fn new_patients(&self) -> io::Result<impl Iterator<Item = io::Result<Part>> + use<'_>> {
        let again = self.again.decided.patients.iter().cloned().map(Ok);
        let again = parts(again, Part::Patients);
        Ok(self.patients(true)?.chain(again))
    }

    /// Calls a function with the IDs of the patients whose rows are inserted, one part at a time.
    pub fn for_each_given<E: From<io::Error>>(&self, mut each: impl FnMut(&[&str]) -> Result<(), E>) -> Result<(), E> {
        for part in self.new_patients()? {
            let Part::Patients(patients) = part? else { continue };
            let new = patients.iter().filter(|patient| matches!(patient.state, State::New));
            each(&new.map(|patient| &*patient.id).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    fn patients(&self, is_new: bool) -> io::Result<impl Iterator<Item = io::Result<Part>> + use<'_>> {
        let first_new = crate::disk::key::encode([kind(true)]);
        let entries = self.patients.entries()?;
        let is_of_part = move |entry: &io::Result<Entry>| match entry {
            Ok(entry) => (*entry.key() >= *first_new) == is_new,
            Err(_) => true,
        };
        let rows = entries.filter(is_of_part).map(|entry| decode::<PatientRow>(entry?.value()));
        let is_kept = |row: &io::Result<PatientRow>| row.as_ref().map_or(true, |row| !self.again.replaces(row));
        Ok(parts(merged(rows.filter(is_kept)), Part::Patients))
    }
}

/// Merges consecutive decisions about the same row. An existing row, or one that this program
/// inserted, may be decided once for new studies and once for its own studies.
fn merged(rows: impl Iterator<Item = io::Result<PatientRow>>) -> impl Iterator<Item = io::Result<PatientRow>> {
    let mut rows = rows.peekable();
    std::iter::from_fn(move || {
        let mut row = match rows.next()? {
            Ok(row) => row,
            error => return Some(error),
        };
        while let Some(Ok(same)) = rows.next_if(|next| next.as_ref().is_ok_and(|next| row.is_same(next))) {
            row.absorb(same);
        }
        Some(Ok(row))
    })
}

/// Groups rows into parts of [`PER_TRANSACTION`] rows. If reading a row fails, the error replaces
/// its part.
fn parts<T>(
    mut rows: impl Iterator<Item = io::Result<T>>,
    part: impl Fn(Vec<T>) -> Part,
) -> impl Iterator<Item = io::Result<Part>> {
    std::iter::from_fn(move || {
        let rows: io::Result<Vec<T>> = rows.by_ref().take(PER_TRANSACTION).collect();
        match rows {
            Ok(rows) if rows.is_empty() => None,
            rows => Some(rows.map(&part)),
        }
    })
}
