//! Adds the values of files of earlier runs to the rows that this run has touched. The rows of
//! these files are looked up as in a batch. Nothing is written.

use std::io;

use super::entry_batch::Batch;
use super::known::PARENTS;
use super::known_row::Row;
use super::known_rows::Rows;
use super::writer::Writer;
use super::{fold_again, identities, lookup};
use crate::dicom::Level;
use crate::disk::key::text;
use crate::index::Failure;
use crate::index::entry::Entry;
use crate::index::outcome::RowOf;

/// Calls a function with the level and the key of each row that this run has found, and that this
/// program inserted in an earlier run or that is to be completed. Patients are identified by the
/// collation key of their ID.
pub fn own_groups(writer: &Writer, mut each: impl FnMut(Level, &str)) -> io::Result<()> {
    let (patients, studies, series) = {
        let mut known = writer.known.lock();
        if !known.has_earlier_rows && !writer.is_interleaved {
            return Ok(());
        }
        (known.patients.values(), known.studies.values(), known.series.values())
    };
    // Another run may have written files that belong to rows of the run that is resumed.
    let all = writer.is_interleaved;
    let is_earlier = |row: &Row| row.own.is_some() && (all || !row.is_of_this_run());
    for patient in patients.iter()? {
        let (identity, patient) = patient?;
        if patient.history.is_some() || patient.is_completed || patient.ours && all {
            each(Level::Patient, &text(&identity));
        }
    }
    for study in studies.iter()? {
        let (key, study) = study?;
        if is_earlier(&study.row) {
            each(Level::Study, &text(&key));
        }
    }
    for series in series.iter()? {
        let (key, series) = series?;
        if is_earlier(&series.row) {
            each(Level::Series, &text(&key));
        }
    }
    Ok(())
}

/// A record of an earlier run that may belong to a row whose values are gathered.
pub struct Candidate {
    pub entry: Entry,
    /// Whether this program inserted the row of the instance for this file.
    pub has_own_row: bool,
}

/// Adds the values of the candidates that belong to a group, if the rows of their instances name
/// their files. Records are stored in blocks. A candidate that belongs to no group adds nothing, so
/// that the result does not depend on which records share a block. `is_group` returns whether a
/// level and a key identify a group; the key of a patient is the collation key of the ID. Returns
/// for each candidate whether it belongs to a group.
pub fn gather(
    writer: &mut Writer,
    candidates: Vec<Candidate>,
    is_group: &dyn Fn(Level, &str) -> bool,
) -> Result<Vec<bool>, Failure> {
    writer.look_first = [true; 4];
    let (entries, are_own): (Vec<Entry>, Vec<bool>) =
        candidates.into_iter().map(|candidate| (candidate.entry, candidate.has_own_row)).unzip();
    let are_members = writer.patiently(|writer| are_members(writer, &entries, &are_own, is_group))?;
    let members = entries.into_iter().zip(are_own).zip(&are_members).filter(|(_, is_member)| **is_member);
    let (entries, are_own): (Vec<Entry>, Vec<bool>) = members.map(|(member, _)| member).unzip();
    if !entries.is_empty() {
        writer.patiently(|writer| add_values(writer, &entries, &are_own))?;
    }
    Ok(are_members)
}

/// Returns for each entry whether it belongs to a group by its series, its study, or the patient
/// that its values count for.
fn are_members(
    writer: &mut Writer,
    entries: &[Entry],
    are_own: &[bool],
    is_group: &dyn Fn(Level, &str) -> bool,
) -> Result<Vec<bool>, Failure> {
    let is_below =
        |entry: &Entry| [Level::Series, Level::Study].into_iter().any(|level| is_group(level, entry.key(level)));
    let mut are_members: Vec<bool> = entries.iter().map(is_below).collect();
    if !are_members.contains(&false) {
        return Ok(are_members);
    }
    let (batch, _) = look_up(writer, entries, are_own)?;
    for (is_member, reach) in are_members.iter_mut().zip(&batch.reach) {
        *is_member |= reach.patient.as_ref().is_some_and(|patient| is_group(Level::Patient, patient));
    }
    Ok(are_members)
}

/// Looks up the rows of entries. Also returns for each entry whether the row of the instance names
/// its file.
fn look_up<'a>(writer: &mut Writer, entries: &'a [Entry], are_own: &[bool]) -> Result<(Batch<'a>, Vec<bool>), Failure> {
    let mut batch = Batch::new(entries, &writer.policy.files);
    batch.are_own_images = are_own.to_vec();
    let ids: Vec<&str> = entries.iter().map(|entry| entry.key(Level::Patient)).collect();
    identities::learn_identities(writer, &ids)?;
    lookup::find_images(writer, &mut batch)?;
    let chosen = fold_again::chosen(writer, &batch);
    batch.candidates.clone_from(&chosen);
    lookup::look_above(writer, &mut batch)?;
    Ok((batch, chosen))
}

fn add_values(writer: &mut Writer, entries: &[Entry], are_own: &[bool]) -> Result<(), Failure> {
    let (batch, chosen) = look_up(writer, entries, are_own)?;
    let mut known = writer.known.lock();
    known.found_all(&batch);
    for ((entry, reach), is_chosen) in entries.iter().zip(&batch.reach).zip(chosen) {
        match is_chosen {
            true => known.add(entry, reach),
            false if batch.there.contains_key(entry.key(Level::Instance)) => known.add_unchosen(entry, reach),
            false => {}
        }
    }
    known.relieve();
    Ok(())
}

impl Rows {
    /// Records the existing rows that a batch has found.
    pub(super) fn found_all(&mut self, batch: &Batch<'_>) {
        for level in PARENTS {
            for (identity, row) in &batch.rows[level as usize] {
                if let RowOf::There(row) = row {
                    self.found(level, identity, row);
                }
            }
        }
    }
}
