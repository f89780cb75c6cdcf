//! Writes a batch to the index in one short transaction: parents first, each level sorted by key,
//! only missing rows.
//!
//! First the writer looks up, from the images upwards, which rows exist and which of them each file
//! belongs to. Then missing rows are inserted, from the patients downwards. After a deadlock with
//! the PACS, the transaction is retried.

use std::collections::BTreeSet;

use super::entry_batch::Batch;
use super::known::PARENTS;
use super::learn::remember;
use super::lookup::{self, patient_of};
use super::writer::Writer;
use super::{companion_rows, images, modalities, recording};
use crate::dicom::Level;
use crate::index::missing::{Missing, NewRow, Presence};
use crate::index::outcome::{Attempt, RowOf, Written};
use crate::index::{Derive, Entry, Failure};

/// The number of further instances to try if the database rejects the row of a parent.
const OTHERS: usize = 3;

/// Writes a batch. Returns the outcome of each entry, in the order of the entries.
pub fn write_batch(writer: &mut Writer, entries: &[Entry]) -> Result<Vec<Written>, Failure> {
    let recorder = writer.recorder.clone();
    let done = writer.in_transaction(|writer| attempt(writer, entries))?;
    recorder.iter().for_each(|recorder| recorder.record_commit(writer.number));
    Ok(remember(writer, entries, done))
}

/// Writes a batch and records it on disk, without the commit.
fn attempt(writer: &mut Writer, entries: &[Entry]) -> Result<Attempt, Failure> {
    // These claims belong to an attempt that failed.
    for (level, identity) in std::mem::take(&mut writer.claims) {
        writer.known.lock().disclaim(level, &identity);
    }
    for key in writer.corrections.drain(..) {
        writer.known.lock().image_was_not_corrected(&key);
    }
    let mut batch = Batch::new(entries, &writer.policy.files);
    lookup::look(writer, &mut batch)?;
    if !writer.index.tables().is_transactional {
        recording::record_plan(writer, &batch)?;
    }
    loop {
        for level in PARENTS {
            insert_parents(writer, level, &mut batch)?;
        }
        if !batch.choose_next_candidates() {
            break;
        }
    }
    let foreseen = recording::record_ahead(writer, &batch);
    insert_images(writer, &mut batch)?;
    let titles = companion_rows::write_titles(writer, &batch)?;
    writer.known.lock().check_images()?;
    let opened = batch.opened();
    recount(writer, &opened)?;
    let attempt = batch.into_attempt(opened, titles);
    recording::record(writer, entries, &attempt, foreseen.as_ref())?;
    Ok(attempt)
}

fn insert_parents(writer: &mut Writer, level: Level, batch: &mut Batch<'_>) -> Result<(), Failure> {
    let wanted = Vec::from_iter(batch.wanted(level, &writer.known));
    let patients: Vec<Box<str>> =
        wanted.iter().map(|(_, members)| patient_of(writer, level, batch, members[0])).collect();
    let row = |n: usize, member: usize| NewRow {
        entry: &batch.entries[member],
        identity: &wanted[n].0,
        patient: &patients[n],
    };
    let rows: Vec<NewRow> = (0..wanted.len()).map(|n| row(n, wanted[n].1[0])).collect();
    {
        let mut known = writer.known.lock();
        rows.iter().for_each(|row| known.claim(level, row.identity));
    }
    writer.claims.extend(rows.iter().map(|row| (level, row.identity.into())));
    let presence = insert_missing(writer, level, &rows)?;
    let mut settled = Vec::with_capacity(wanted.len());
    for (n, mut presence) in presence.into_iter().enumerate() {
        let mut member = 0;
        // The database may accept the row of a parent with the values of another instance.
        while matches!(presence, Presence::Refused(_)) && member < OTHERS.min(wanted[n].1.len() - 1) {
            member += 1;
            presence = insert_missing(writer, level, &[row(n, wanted[n].1[member])])?.remove(0);
        }
        settled.push((presence, wanted[n].1[member]));
    }
    for (((identity, members), patient), (presence, member)) in wanted.into_iter().zip(patients).zip(settled) {
        match presence {
            Presence::Inserted => batch.put(level, identity, RowOf::Inserted { member, patient }),
            Presence::There(row) => {
                writer.disclaim(level, &identity);
                batch.put(level, identity, RowOf::There(row));
            }
            Presence::Refused(refusal) => {
                writer.disclaim(level, &identity);
                members.into_iter().for_each(|member| batch.refuse(member, &refusal));
            }
        }
    }
    Ok(())
}

fn insert_images(writer: &mut Writer, batch: &mut Batch<'_>) -> Result<(), Failure> {
    let missing: Vec<usize> = batch.without_row().collect();
    let rows: Vec<NewRow> = missing.iter().map(|member| NewRow::of(&batch.entries[*member])).collect();
    let presence = insert_missing(writer, Level::Instance, &rows)?;
    // This precedes the commit, so that another writer that then finds the row knows that this run
    // inserted it.
    let mut known = writer.known.lock();
    for (member, presence) in missing.into_iter().zip(presence) {
        match presence {
            Presence::Inserted => {
                let entry = &batch.entries[member];
                known.image_was_inserted(entry.key(Level::Instance));
                known.image_names(entry.key(Level::Instance), &entry.path);
                batch.inserted(member);
            }
            Presence::There(row) => {
                batch.there.insert(batch.entries[member].key(Level::Instance).into(), row);
            }
            Presence::Refused(refusal) => batch.refuse(member, &refusal),
        }
    }
    drop(known);
    images::settle_images(writer, batch)
}

fn insert_missing(writer: &mut Writer, level: Level, rows: &[NewRow<'_>]) -> Result<Vec<Presence>, Failure> {
    let looks_first = writer.looks_first(level);
    let begins_anew = writer.begins_anew();
    Missing::new(&mut *writer.index, level.table(), rows, &writer.left, begins_anew).insert(looks_first)
}

/// Recomputes the derived columns of existing rows below which something was inserted. This happens
/// in the same transaction, so that a killed run leaves no wrong value. Rows of this run, and
/// unfinished rows of earlier runs, stay unfinished until the closing step.
fn recount(writer: &mut Writer, opened: &[BTreeSet<Box<str>>; 2]) -> Result<(), Failure> {
    let foreign = |level: Level, opened: &BTreeSet<Box<str>>| -> Vec<Box<str>> {
        let known = writer.known.lock();
        opened.iter().filter(|key| !known.is_of_this_run(level, key)).cloned().collect()
    };
    let studies = foreign(Level::Study, &opened[0]);
    let series = foreign(Level::Series, &opened[1]);
    writer.index.count_instances(&texts(&series), Derive::WhereSet)?;
    let modalities = modalities::modalities_of(writer, &texts(&studies), Derive::WhereSet)?;
    modalities::set_modalities(writer, &modalities)
}

fn texts(keys: &[Box<str>]) -> Vec<&str> {
    keys.iter().map(|key| &**key).collect()
}
