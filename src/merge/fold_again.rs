//! Recomputation of rows that contain values of files which are not indexed any more, because a
//! better file of the instance was read later.
//!
//! Values cannot be removed from a fold. Before the closing step, such rows are therefore emptied
//! and recomputed from the records of the indexed files. A row of this program that no indexed file
//! names afterwards is a ghost, and is withdrawn.

use std::collections::BTreeSet;
use std::io;
use std::mem::take;

use super::entry_batch::Batch;
use super::ghost::Ghost;
use super::known_row::{Patient, Series, Study};
use super::known_rows::Rows;
use super::patient_group::PatientGroups;
use super::writer::Writer;
use super::{identities, lookup};
use crate::dicom::Level;
use crate::disk::key::{self, text};
use crate::index::{Entry, Failure, patient_name};

/// Returns the series in which images were pointed to better files since the last call.
pub fn take_displaced(writer: &mut Writer) -> BTreeSet<Box<str>> {
    take(&mut writer.known.lock().displaced)
}

/// Marks for recomputation the rows that the files of these series name, if other files of their
/// instances are indexed.
pub fn note_displaced(writer: &mut Writer, entries: &[Entry]) -> Result<(), Failure> {
    writer.look_first = [true; 4];
    let ids: Vec<&str> = entries.iter().map(|entry| entry.key(Level::Patient)).collect();
    writer.patiently(|writer| {
        identities::learn_identities(writer, &ids)?;
        let mut batch = Batch::new(entries, &writer.policy.files);
        lookup::find_images(writer, &mut batch)?;
        let chosen = chosen(writer, &batch);
        let mut known = writer.known.lock();
        for (entry, _) in entries.iter().zip(chosen).filter(|(_, is_chosen)| !is_chosen) {
            let row = batch.there.get(entry.key(Level::Instance));
            let was_pointed = row.is_some_and(|row| known.has_named(&row.key, &row.path));
            known.note_displaced(entry, was_pointed);
        }
        Ok(())
    })
}

/// Empties the rows that are recomputed. Rows that an earlier run inserted for files that are not
/// indexed any more are looked up first.
pub fn empty_displaced(writer: &mut Writer) -> Result<(), Failure> {
    note_displaced_patients(writer)?;
    let displaced = writer.known.lock().folded_again.clone();
    for level in [Level::Series, Level::Study, Level::Patient] {
        let keys: Vec<&str> = {
            let known = writer.known.lock();
            let unknown = displaced[level as usize].iter().filter(|(identity, _)| !known.knows(level, identity));
            unknown.map(|(_, key)| &**key).collect()
        };
        writer.patiently(|writer| {
            let found = lookup::find_rows(writer, level, &keys)?;
            let mut known = writer.known.lock();
            found.iter().for_each(|row| known.found(level, &row.identity, row));
            Ok(())
        })?;
    }
    writer.known.lock().empty_displaced().map_err(Failure::of_temporary_file)
}

/// Marks for recomputation the patients that studies of other programs are linked to, if files of
/// these studies are not indexed any more. A file counts for the patient that its study is linked
/// to.
fn note_displaced_patients(writer: &mut Writer) -> Result<(), Failure> {
    let studies = {
        let mut known = writer.known.lock();
        if known.folded_again[Level::Study as usize].is_empty() {
            return Ok(());
        }
        known.studies.values()
    };
    let mut ids = BTreeSet::new();
    for study in studies.iter().map_err(Failure::of_temporary_file)? {
        let (key, study) = study.map_err(Failure::of_temporary_file)?;
        let is_displaced = || writer.known.lock().folded_again[Level::Study as usize].contains_key(&*text(&key));
        if study.is_row && !study.row.is_ours() && is_displaced() {
            ids.insert(study.patient);
        }
    }
    let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
    writer.patiently(|writer| identities::learn_identities(writer, &ids))?;
    let mut known = writer.known.lock();
    ids.into_iter().for_each(|id| known.note_displaced_patient(id));
    Ok(())
}

/// Returns the rows that are recomputed, by level, and by the collation key of the Patient ID or by
/// the UID. The journal may contain the files of a patient with a suffix under the ID without the
/// suffix.
pub fn displaced_groups(writer: &mut Writer) -> Result<Vec<(Level, String)>, Failure> {
    let ids: Vec<Box<str>> = writer.known.lock().folded_again[Level::Patient as usize].values().cloned().collect();
    let bases: Vec<&str> = ids.iter().map(|id| patient_name::base(id)).collect();
    writer.patiently(|writer| identities::learn_identities(writer, &bases))?;
    let known = writer.known.lock();
    let groups =
        |level: Level| known.folded_again[level as usize].keys().map(move |identity| (level, identity.to_string()));
    let bases = bases.into_iter().filter_map(|id| known.identities.get(id));
    let bases = bases.map(|identity| (Level::Patient, identity.to_string()));
    Ok([Level::Series, Level::Study, Level::Patient].into_iter().flat_map(groups).chain(bases).collect())
}

/// Returns for each entry whether the row of the instance names its file. A row may still contain
/// the path that the file had under an earlier path map.
pub(super) fn chosen(writer: &Writer, batch: &Batch<'_>) -> Vec<bool> {
    let was_named =
        |entry: &Entry, path: &str| writer.recorder.as_ref().is_some_and(|recorder| recorder.was_named(entry, path));
    let is_chosen = |entry: &Entry| {
        let row = batch.there.get(entry.key(Level::Instance));
        row.is_some_and(|row| writer.policy.files.is_named_by(entry, &row.path) || was_named(entry, &row.path))
    };
    batch.entries.iter().map(is_chosen).collect()
}

impl Rows {
    /// Marks for recomputation the rows that a file names which is not indexed any more.
    /// `was_pointed` is true if this run has pointed the row of the instance to another file.
    pub(super) fn note_displaced(&mut self, entry: &Entry, was_pointed: bool) {
        let is_moved = was_pointed || self.is_of_this_run(Level::Instance, entry.key(Level::Instance));
        for level in [Level::Series, Level::Study] {
            self.folded_again[level as usize].insert(entry.key(level).into(), entry.key(level).into());
            if is_moved {
                self.moved_from.insert(entry.key(level).into());
            }
        }
        self.note_displaced_patient(entry.key(Level::Patient));
    }

    fn note_displaced_patient(&mut self, id: &str) {
        if let Some(identity) = self.identities.get(id) {
            self.folded_again[Level::Patient as usize].insert((**identity).into(), id.into());
        }
    }

    fn empty_displaced(&mut self) -> io::Result<()> {
        let [patients, studies, series] = self.folded_again.clone();
        for key in series.keys().filter(|key| self.knows(Level::Series, key)).collect::<Vec<_>>() {
            // The derived column must not depend on the order in which the files were read. A
            // column that an earlier run derived may have been edited since.
            let is_open = self.is_ours(Level::Series, key) && self.moved_from.contains(key);
            let one = self.series.part(&**key);
            one.row.empty();
            one.others.clear();
            (one.link_differs, one.link_agrees) = (false, false);
            one.open |= is_open;
        }
        for key in studies.keys().filter(|key| self.knows(Level::Study, key)).collect::<Vec<_>>() {
            let is_open = self.is_ours(Level::Study, key) && self.moved_from.contains(key);
            let one = self.studies.part(&**key);
            one.row.empty();
            (one.link_differs, one.link_agrees) = (false, false);
            one.open |= is_open;
        }
        for key in patients.keys().filter(|key| self.knows(Level::Patient, key)).collect::<Vec<_>>() {
            self.patients.part(&**key).empty();
        }
        let people = self.people.values();
        for person in people.iter()? {
            let (key, _) = person?;
            let identity = key::decode(&key).into_iter().next().unwrap_or_default();
            if patients.contains_key(identity.as_str()) {
                self.people.part(&*key).empty();
            }
        }
        Ok(())
    }

    /// Returns whether this program inserted a series that no indexed file names.
    pub(super) fn is_ghost_series(&self, key: &str, series: &Series) -> bool {
        series.row.is_ours()
            && series.row.fold.is_empty()
            && self.folded_again[Level::Series as usize].contains_key(key)
    }

    /// Returns whether this program inserted a study that no indexed file names.
    pub(super) fn is_ghost_study(&self, key: &str, study: &Study) -> bool {
        study.row.is_ours() && study.row.fold.is_empty() && self.folded_again[Level::Study as usize].contains_key(key)
    }
}

impl PatientGroups {
    /// Removes and returns the patients of this program that no indexed file names.
    pub(super) fn take_ghosts(&mut self) -> Vec<Ghost> {
        let mut ghosts = Vec::new();
        for identity in self.displaced.keys() {
            // The values of a patient with a suffix are grouped by name under the ID without the
            // suffix.
            let is_ghost = |patient: &Patient| {
                let is_empty = patient.named.iter().all(|(_, fold)| fold.is_empty());
                patient.ours && is_empty && !patient_name::has_own_suffix(&patient.id)
            };
            if let Some(patient) = self.patients.get(identity).filter(|patient| is_ghost(patient)) {
                ghosts.push(Ghost { level: Level::Patient, key: patient.id.to_string() });
                self.patients.remove(identity);
            }
        }
        ghosts
    }
}
