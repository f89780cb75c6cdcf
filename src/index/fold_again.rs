//! Rows that contain values of files which are not indexed any more: a better file of the instance was read later.
//!
//! Values cannot be taken out of a fold. Before the closing step, such rows are emptied and folded again from the records of
//! the files that are indexed. A row of this program that no indexed file names then is a ghost, and is withdrawn.

use std::collections::BTreeSet;
use std::mem::take;

use super::batch::Writer;
use super::known::Rows;
use super::known_row::Patient;
use super::lookup::Batch;
use super::names;
use super::{Entry, Failure};
use crate::dicom::Level;

/// A row of this program that no indexed file names.
pub struct Ghost {
    pub level: Level,
    /// The UID, or the ID in the row of a patient.
    pub key: String,
}

impl Writer {
    /// The series in which images were pointed to better files since this was called last.
    pub fn take_displaced(&mut self) -> BTreeSet<Box<str>> {
        take(&mut self.known.lock().displaced)
    }

    /// Notes the rows that files of these series name, if other files of their instances are indexed.
    pub fn note_displaced(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        self.look_first = [true; 4];
        let ids: Vec<&str> = entries.iter().map(|entry| entry.key(Level::Patient)).collect();
        self.patiently(|writer| {
            writer.learn_identities(&ids)?;
            let mut batch = Batch::new(entries, &writer.policy.files);
            writer.find_images(&mut batch)?;
            let chosen = writer.chosen(&batch);
            let mut known = writer.known.lock();
            for (entry, _) in entries.iter().zip(chosen).filter(|(_, is_chosen)| !is_chosen) {
                known.note_displaced(entry);
            }
            Ok(())
        })
    }

    /// Empties the rows that are folded again. Rows that an earlier run inserted for files which have lost their place are looked up.
    pub fn empty_displaced(&mut self) -> Result<(), Failure> {
        let displaced = self.known.lock().folded_again.clone();
        for level in [Level::Series, Level::Study, Level::Patient] {
            let keys: Vec<&str> = {
                let known = self.known.lock();
                let unknown = displaced[level as usize].iter().filter(|(identity, _)| !known.knows(level, identity));
                unknown.map(|(_, key)| &**key).collect()
            };
            self.patiently(|writer| {
                let found = writer.find_rows(level, &keys)?;
                let mut known = writer.known.lock();
                found.iter().for_each(|row| known.found(level, &row.identity, row));
                Ok(())
            })?;
        }
        self.known.lock().empty_displaced();
        Ok(())
    }

    /// The rows that are folded again, by level, and by the identity of the patient or by the UID. A slice has recorded the files
    /// of a patient with a suffix as those of the ID without it.
    pub fn displaced_groups(&self) -> Vec<(Level, String)> {
        let known = self.known.lock();
        let groups =
            |level: Level| known.folded_again[level as usize].keys().map(move |identity| (level, identity.to_string()));
        let ids = known.folded_again[Level::Patient as usize].values();
        let bases = ids.filter_map(|id| known.identities.get(names::base(id)));
        let bases = bases.map(|identity| (Level::Patient, identity.to_string()));
        [Level::Series, Level::Study, Level::Patient].into_iter().flat_map(groups).chain(bases).collect()
    }

    /// For each entry whether the row of the instance names its file. A row may still have the path that the file had under an
    /// earlier path map.
    pub(super) fn chosen(&self, batch: &Batch<'_>) -> Vec<bool> {
        let was_named =
            |entry: &Entry, path: &str| self.recorder.as_ref().is_some_and(|recorder| recorder.was_named(entry, path));
        let is_chosen = |entry: &Entry| {
            let row = batch.there.get(entry.key(Level::Instance));
            row.is_some_and(|row| self.policy.files.is_named_by(entry, &row.path) || was_named(entry, &row.path))
        };
        batch.entries.iter().map(is_chosen).collect()
    }
}

impl Rows {
    /// Notes the rows that a file names which has lost its place.
    pub(super) fn note_displaced(&mut self, entry: &Entry) {
        let study = entry.key(Level::Study);
        let mut ids = vec![entry.key(Level::Patient).to_owned()];
        // A file counts for the patient that its study is linked to, unless the study is this program's.
        let foreign = self.studies.get(study).filter(|study| !study.row.is_ours());
        ids.extend(foreign.map(|study| study.patient.to_string()));
        for level in [Level::Series, Level::Study] {
            self.folded_again[level as usize].insert(entry.key(level).into(), entry.key(level).into());
        }
        for id in ids {
            let Some(identity) = self.identities.get(id.as_str()) else { continue };
            self.folded_again[Level::Patient as usize].insert((**identity).into(), id.into());
        }
    }

    fn empty_displaced(&mut self) {
        let [patients, studies, series] = &self.folded_again;
        for key in series.keys() {
            let Some(one) = self.series.get_mut(&**key) else { continue };
            one.row.fold.clear();
            one.others.clear();
            (one.link_differs, one.link_agrees) = (false, false);
            // The derived column must not depend on the order in which the files were read.
            one.open |= one.row.is_ours();
        }
        for key in studies.keys() {
            let Some(one) = self.studies.get_mut(&**key) else { continue };
            one.row.fold.clear();
            (one.link_differs, one.link_agrees) = (false, false);
            one.open |= one.row.is_ours();
        }
        for key in patients.keys() {
            let Some(one) = self.patients.get_mut(&**key) else { continue };
            one.named.values_mut().for_each(|row| row.fold.clear());
            one.spellings.values_mut().for_each(|study| *study = None);
        }
    }

    /// Takes out the rows of this program that no indexed file names.
    pub(super) fn take_ghosts(&mut self) -> Vec<Ghost> {
        let [patients, studies, series] = take(&mut self.folded_again);
        self.displaced_patients.clone_from(&patients);
        let mut ghosts = Vec::new();
        let ghost = |level: Level, key: &str| Ghost { level, key: key.to_owned() };
        for key in series.keys() {
            if self.series.get(&**key).is_some_and(|series| series.row.is_ours() && series.row.fold.is_empty()) {
                let removed = self.series.remove(&**key);
                let study = removed.and_then(|series| self.studies.get_mut(&series.study));
                study.into_iter().for_each(|study| study.open = true);
                ghosts.push(ghost(Level::Series, key));
            }
        }
        for key in studies.keys() {
            if self.studies.get(&**key).is_some_and(|study| study.row.is_ours() && study.row.fold.is_empty()) {
                self.studies.remove(&**key);
                ghosts.push(ghost(Level::Study, key));
            }
        }
        for identity in patients.keys() {
            // The values of a patient with a suffix are those of a name of the patient without it.
            let is_ghost = |patient: &Patient| {
                let is_empty = patient.named.iter().all(|(_, row)| row.fold.is_empty());
                patient.ours && is_empty && !names::has_own_suffix(&patient.id)
            };
            if let Some(patient) = self.patients.get(&**identity).filter(|patient| is_ghost(patient)) {
                ghosts.push(ghost(Level::Patient, &patient.id));
                self.patients.remove(&**identity);
            }
        }
        ghosts
    }
}
