//! Lookups of a batch before it writes, from the images upwards: which rows exist, and which of
//! them each file contributes values to.
//!
//! A file contributes nothing to a series, study or patient that the index does not link it to. The
//! PACS may have moved the study to another patient, and the values that the file has for the
//! former patient then belong to no row.

use std::collections::BTreeSet;

use super::entry_batch::Batch;
use super::identities::learn_identities;
use super::names::Conflicts;
use super::writer::Writer;
use super::{candidates, own_rows};
use crate::dicom::{Level, Table};
use crate::index::existing::Mode;
use crate::index::outcome::RowOf;
use crate::index::{Existing, Failure, Look, Show, View, patient_name};

/// Looks up the existing rows, and determines which rows above the image each entry belongs to.
pub(super) fn look(writer: &mut Writer, batch: &mut Batch<'_>) -> Result<(), Failure> {
    let ids: Vec<&str> = batch.entries.iter().map(|entry| entry.key(Level::Patient)).collect();
    learn_identities(writer, &ids)?;
    find_images(writer, batch)?;
    candidates::choose_candidates(writer, batch);
    candidates::learn_own_images(writer, batch);
    look_above(writer, batch)
}

/// Finds the rows of the instances of a batch.
pub(super) fn find_images(writer: &mut Writer, batch: &mut Batch<'_>) -> Result<(), Failure> {
    if writer.looks_first(Level::Instance) {
        let show = match writer.policy.mode {
            Mode::Fill | Mode::Complete => Show::Nulls,
            Mode::Refresh => Show::Values,
        };
        let keys: Vec<&str> = batch.images().map(|(key, _)| key).collect();
        let found = writer.index.find(Table::Image, &keys, Look { view: View::Begun, show })?;
        let found = found.into_iter().filter(|row| !writer.is_left(Table::Image, &row.key));
        batch.there = found.map(|row| (row.key.as_str().into(), row)).collect();
    }
    Ok(())
}

/// Finds the rows above the images that the files of a batch may determine.
pub(super) fn look_above(writer: &mut Writer, batch: &mut Batch<'_>) -> Result<(), Failure> {
    reach_series(writer, batch);
    look_above_series(writer, batch)
}

/// Like [`look_above`], if it is already known which files may determine their series.
pub(super) fn look_above_series(writer: &mut Writer, batch: &mut Batch<'_>) -> Result<(), Failure> {
    look_for(writer, Level::Series, batch)?;
    reach_studies(writer, batch);
    look_for(writer, Level::Study, batch)?;
    reach_patients(writer, batch)?;
    look_for(writer, Level::Patient, batch)?;
    look_for_names(writer, batch)
}

/// Looks up the names of patients whose rows this run inserted, if the state of these rows has been
/// moved to disk since.
fn look_for_names(writer: &mut Writer, batch: &mut Batch<'_>) -> Result<(), Failure> {
    let is_unknown = |n: &usize| {
        let identity = batch.reach[*n].patient.as_deref();
        identity.is_some_and(|identity| {
            !batch.known.people.contains_key(identity)
                && !batch.rows[Level::Patient as usize].contains_key(identity)
                && writer.known.lock().knows(Level::Patient, identity)
        })
    };
    let unknown: BTreeSet<&str> = (0..batch.entries.len()).filter(is_unknown).map(|n| batch.patient_id(n)).collect();
    let look = Look { view: View::Begun, show: Show::Nothing };
    let found = writer.index.find(Table::Patient, &Vec::from_iter(unknown), look)?;
    let mut known = writer.known.lock();
    for Existing { key, identity, name, .. } in found {
        known.learn_name(&identity, &key, name.clone());
        batch.known.people.insert(identity.into(), (key.into(), name));
    }
    Ok(())
}

/// Looks up the rows of a level that entries belong to and that are not known yet.
fn look_for(writer: &mut Writer, level: Level, batch: &mut Batch<'_>) -> Result<(), Failure> {
    batch.note_known(level, &writer.known.lock());
    if !writer.looks_first(level) {
        return Ok(());
    }
    let wanted = batch.wanted(level, &writer.known);
    let keys: Vec<&str> = wanted.values().map(|members| batch.key(level, members[0])).collect();
    let found = find_rows(writer, level, &keys)?;
    if level == Level::Study && writer.policy.mode != Mode::Fill {
        let keys: Vec<&str> = found.iter().map(|row| row.key.as_str()).collect();
        batch.edited.extend(writer.index.edited(Level::Study, &keys)?);
    }
    for row in found {
        batch.put(level, row.identity.as_str().into(), RowOf::There(row));
    }
    Ok(())
}

/// Finds rows of a level, together with their history in the ledger.
pub(super) fn find_rows(writer: &mut Writer, level: Level, keys: &[&str]) -> Result<Vec<Existing>, Failure> {
    let found = writer.index.find(level.table(), keys, Look { view: View::Begun, show: Show::Nothing })?;
    let mut found = Vec::from_iter(found.into_iter().filter(|row| !writer.is_left(level.table(), &row.key)));
    own_rows::learn_histories(writer, level, &mut found)?;
    if level == Level::Patient && writer.policy.mode == Mode::Complete {
        own_rows::learn_unfinished_patients(writer, &mut found)?;
    }
    Ok(found)
}

fn reach_series(writer: &Writer, batch: &mut Batch<'_>) {
    let known = writer.known.lock();
    for ((entry, reach), is_own) in batch.entries.iter().zip(&mut batch.reach).zip(&batch.are_own_images) {
        let key = entry.key(Level::Instance);
        let row = batch.there.get(key).filter(|_| !is_own && !known.is_ours(Level::Instance, key));
        reach.series = row.is_none_or(|row| row.link == entry.link(Level::Instance));
    }
}

fn reach_studies(writer: &Writer, batch: &mut Batch<'_>) {
    let known = writer.known.lock();
    for (entry, reach) in batch.entries.iter().zip(&mut batch.reach).filter(|(_, reach)| reach.series) {
        let key = entry.key(Level::Series);
        let link = match batch.known.studies.get(key) {
            Some(study) => Some(&**study),
            None => batch.rows[Level::Series as usize].get(key).and_then(RowOf::foreign_link),
        };
        let link = link.filter(|_| !known.is_ours(Level::Series, key));
        reach.study = link.is_none_or(|link| link == entry.link(Level::Series));
    }
}

fn reach_patients(writer: &mut Writer, batch: &mut Batch<'_>) -> Result<(), Failure> {
    let links: Vec<&str> = batch.rows[Level::Study as usize].values().filter_map(RowOf::link).collect();
    let bases: Vec<&str> = links.iter().map(|link| patient_name::base(link)).collect();
    let ids = batch.entries.iter().map(|entry| entry.key(Level::Patient)).collect();
    learn_identities(writer, &[links, bases, ids].concat())?;
    let known = writer.known.lock();
    let identity = |id: &str| known.identities.get(id).cloned();
    for (n, entry) in batch.entries.iter().enumerate() {
        if !batch.reach[n].study {
            continue;
        }
        let key = entry.key(Level::Study);
        let link = match batch.known.patients.get(key) {
            Some(patient) => Some(&**patient),
            None => batch.rows[Level::Study as usize].get(key).and_then(RowOf::foreign_link),
        };
        let id = entry.key(Level::Patient);
        let patient = match link.filter(|_| !known.is_ours(Level::Study, key)) {
            None => Some(id),
            // The ID of the patient in the index now.
            Some(link) => {
                [link, patient_name::base(link)].iter().any(|link| identity(link) == identity(id)).then_some(link)
            }
        };
        batch.reach[n].patient = patient.and_then(identity);
        batch.patients[n] = patient.filter(|patient| *patient != id).map(Into::into);
    }
    Ok(())
}

/// Returns the mode in which an image and its companion rows may be written.
pub(super) fn mode_of(writer: &Writer, batch: &Batch<'_>, member: usize) -> Mode {
    let study = batch.entries[member].key(Level::Study);
    let is_edited = batch.edited.contains(study);
    // If a file names a study or patient other than the one in the index, its other values must not
    // replace values either.
    if is_edited || batch.reach[member].patient.is_none() { Mode::Fill } else { writer.policy.mode }
}

/// Returns the Patient ID that a new row has until the closing step. If the name of a study's
/// patient conflicts with the name in the patient's row, the study is never displayed under the
/// wrong name, not even during a run.
pub(super) fn patient_of(writer: &Writer, level: Level, batch: &Batch<'_>, member: usize) -> Box<str> {
    let entry = &batch.entries[member];
    if level != Level::Study {
        return batch.patient_id(member).into();
    }
    let id = batch.spelled_patient_id(member);
    if writer.policy.conflicts == Conflicts::Separate {
        let name = entry.patient_name();
        let conflicts = batch.patient_name(member).is_some_and(|row| !row.agrees(&name));
        let suffixed = format!("{id}{}", patient_name::suffix(&name));
        let holds = |column: &crate::index::column::Column| column.holds(&suffixed);
        if conflicts && writer.index.tables().of(Level::Study).column("patientid").is_some_and(holds) {
            return suffixed.into();
        }
    }
    id.into()
}
