//! Determines which of the rows that a run finds were inserted by an earlier run of this program.
//!
//! A study or series that was linked to another row since belongs to the program that linked it. A
//! patient belongs to other programs once its name was edited, or once a study is linked to the
//! patient that this program did not insert. The name of such a patient is fixed.

use std::collections::{HashMap, HashSet};

use super::identities;
use super::writer::Writer;
use crate::dicom::attributes::{position, value_of};
use crate::dicom::{Level, Table};
use crate::index::column::Column;
use crate::index::columns::Source;
use crate::index::{Existing, Failure, LinkedStudy, Look, Show, View, link};

/// Adds the history in the ledger to the rows that this program inserted.
pub(super) fn learn_histories(writer: &mut Writer, level: Level, rows: &mut [Existing]) -> Result<(), Failure> {
    let Some(recorder) = writer.recorder.clone() else { return Ok(()) };
    let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    let histories = recorder.histories(level.table(), &keys)?;
    if level == Level::Patient {
        for (row, history) in rows.iter_mut().zip(histories) {
            row.history = history;
        }
        let known = writer.known.clone();
        return keep_own_patients(writer, rows, &|study| known.lock().is_ours(Level::Study, &study.study));
    }
    let tables = writer.index.tables();
    let column = link(level.table()).and_then(|link| tables.of(level).column(link));
    for (row, history) in rows.iter_mut().zip(histories) {
        let is_own = |history: &crate::index::row_history::RowHistory| {
            history.is_inserted(row.is_unfinished)
                && column.is_none_or(|column| history.owns(&tables, level.table(), column, row))
        };
        row.history = history.filter(|history| is_own(history));
    }
    Ok(())
}

/// Removes the history of patients that other programs use, or whose name was edited. `is_ours`
/// returns whether this run knows that this program inserted a study.
fn keep_own_patients(
    writer: &mut Writer,
    rows: &mut [Existing],
    is_ours: &dyn Fn(&LinkedStudy) -> bool,
) -> Result<(), Failure> {
    let keys: Vec<String> = rows.iter().filter(|row| row.history.is_some()).map(|row| row.key.clone()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let uses = uses_of(writer, &keys, is_ours)?;
    let look = Look { view: View::Begun, show: Show::Values };
    let shown: HashMap<String, Existing> =
        writer.index.find(Table::Patient, &keys, look)?.into_iter().map(|row| (row.key.clone(), row)).collect();
    let tables = writer.index.tables();
    let name = value_of(position(Table::Patient, "lastname"));
    let is_of_the_name = |column: &&Column| matches!(column.source, Source::Attribute(n) if value_of(n) == name);
    let names: Vec<&Column> = tables.of(Table::Patient).columns.iter().filter(is_of_the_name).collect();
    for row in rows {
        let (is_unfinished, is_shared) = uses.get(&row.identity).copied().unwrap_or_default();
        row.is_unfinished = is_unfinished;
        let shown = shown.get(&row.key).map(|shown| Existing { is_unfinished, ..shown.clone() });
        row.history = row.history.take().filter(|history| {
            let owns = |column: &&Column| {
                shown.as_ref().is_some_and(|shown| history.owns(&tables, Table::Patient, column, shown))
            };
            !is_shared && history.is_inserted(is_unfinished) && names.iter().all(owns)
        });
    }
    Ok(())
}

/// Returns for each of these patients, by collation key, whether a study is unfinished, and whether
/// a study was not inserted by this program.
fn uses_of(
    writer: &mut Writer,
    patients: &[&str],
    is_ours: &dyn Fn(&LinkedStudy) -> bool,
) -> Result<HashMap<String, (bool, bool)>, Failure> {
    let studies = writer.index.studies_of(patients, View::Begun)?;
    let links: Vec<&str> = studies.iter().map(|study| study.patient.as_str()).collect();
    identities::learn_identities(writer, &links)?;
    let foreign = foreign_studies(writer, &studies, is_ours)?;
    let known = writer.known.lock();
    let mut uses: HashMap<String, (bool, bool)> = HashMap::new();
    for study in &studies {
        let Some(identity) = known.identities.get(study.patient.as_str()) else { continue };
        let (is_unfinished, is_shared) = uses.entry(identity.to_string()).or_default();
        *is_unfinished |= study.is_unfinished;
        *is_shared |= foreign.contains(&study.study);
    }
    Ok(uses)
}

/// Returns the patients that have an unfinished study.
pub(super) fn unfinished_patients<'p>(writer: &mut Writer, patients: &[&'p str]) -> Result<HashSet<&'p str>, Failure> {
    let studies = writer.index.studies_of(patients, View::Begun)?;
    let unfinished = patients_of(writer, studies.iter().filter(|study| study.is_unfinished))?;
    let identities = writer.index.identities(patients)?;
    let with_identity = patients.iter().zip(identities);
    Ok(with_identity.filter(|(_, identity)| unfinished.contains(identity)).map(|(patient, _)| *patient).collect())
}

/// Returns the collation keys of the patients that studies are linked to.
pub(super) fn patients_of<'s>(
    writer: &mut Writer,
    studies: impl Iterator<Item = &'s LinkedStudy>,
) -> Result<HashSet<String>, Failure> {
    let links: Vec<&str> = studies.map(|study| study.patient.as_str()).collect();
    Ok(writer.index.identities(&links)?.into_iter().collect())
}

/// Returns the studies that this program did not insert.
pub(super) fn foreign_studies(
    writer: &mut Writer,
    studies: &[LinkedStudy],
    is_ours: &dyn Fn(&LinkedStudy) -> bool,
) -> Result<HashSet<String>, Failure> {
    let mut others: Vec<&LinkedStudy> = studies.iter().filter(|study| !is_ours(study)).collect();
    if let Some(recorder) = &writer.recorder {
        let keys: Vec<&str> = others.iter().map(|study| study.study.as_str()).collect();
        let mut histories = recorder.histories(Table::Study, &keys)?.into_iter();
        others.retain(|study| {
            let history = histories.next().flatten();
            !history.is_some_and(|history| history.is_inserted(study.is_unfinished))
        });
    }
    Ok(others.into_iter().map(|study| study.study.clone()).collect())
}

/// Records for patients that this program did not insert whether one of their studies looks
/// unfinished and was not inserted by this program either.
pub(super) fn learn_unfinished_patients(writer: &mut Writer, rows: &mut [Existing]) -> Result<(), Failure> {
    let keys: Vec<String> = rows.iter().filter(|row| row.history.is_none()).map(|row| row.key.clone()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut studies = writer.index.studies_of(&keys, View::Begun)?;
    studies.retain(|study| study.is_unfinished);
    let known = writer.known.clone();
    let foreign = foreign_studies(writer, &studies, &|study| known.lock().is_ours(Level::Study, &study.study))?;
    let unfinished = patients_of(writer, studies.iter().filter(|study| foreign.contains(&study.study)))?;
    for row in rows.iter_mut().filter(|row| row.history.is_none()) {
        row.is_unfinished = unfinished.contains(&row.identity);
    }
    Ok(())
}
