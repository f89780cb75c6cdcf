//! Adds the values of files of earlier runs to the rows that a run has touched. Their rows are looked up as in a batch, and
//! nothing is written.

use super::Failure;
use super::batch::Writer;
use super::entry::Entry;
use super::known::PARENTS;
use super::lookup::{Batch, RowOf};
use crate::dicom::Level;

impl Writer {
    /// The rows that this program has inserted in an earlier run, and those that are to be completed, as far as this run has
    /// found them, by level and key.
    /// Patients are named by the identity of their ID.
    pub fn own_groups(&self) -> Vec<(Level, String)> {
        let known = self.known.lock();
        // Another run may have written files of rows of the run that is continued.
        let all = self.is_interleaved;
        let is_gathered = |patient: &super::known_row::Patient| {
            patient.history.is_some() || patient.is_completed || patient.ours && all
        };
        let patients = known.patients.iter().filter(|(_, patient)| is_gathered(patient));
        let patients = patients.map(|(identity, _)| (Level::Patient, identity.to_string()));
        let is_earlier = |row: &super::known_row::Row| row.own.is_some() && (all || !row.is_of_this_run());
        let studies = known.studies.iter().filter(|(_, study)| is_earlier(&study.row));
        let series = known.series.iter().filter(|(_, series)| is_earlier(&series.row));
        patients
            .chain(studies.map(|(key, _)| (Level::Study, key.to_string())))
            .chain(series.map(|(key, _)| (Level::Series, key.to_string())))
            .collect()
    }

    /// Adds the values of these files, if the rows of their instances name them. `are_own` names the files for which this program
    /// has inserted the row of the instance.
    pub fn gather(&mut self, entries: &[Entry], are_own: &[bool]) -> Result<(), Failure> {
        self.look_first = [true; 4];
        self.patiently(|writer| {
            let mut batch = Batch::new(entries, &writer.policy.files);
            batch.are_own_images = are_own.to_vec();
            let ids: Vec<&str> = entries.iter().map(|entry| entry.key(Level::Patient)).collect();
            writer.learn_identities(&ids)?;
            writer.find_images(&mut batch)?;
            let chosen = writer.chosen(&batch);
            batch.candidates.clone_from(&chosen);
            writer.look_above(&mut batch)?;
            let mut known = writer.known.lock();
            for level in PARENTS {
                for (identity, row) in &batch.rows[level as usize] {
                    if let RowOf::There(row) = row {
                        known.found(level, identity, row);
                    }
                }
            }
            for ((entry, reach), is_chosen) in entries.iter().zip(&batch.reach).zip(chosen) {
                match is_chosen {
                    true => known.add(entry, reach),
                    false if batch.there.contains_key(entry.key(Level::Instance)) => known.add_unchosen(entry, reach),
                    false => {}
                }
            }
            Ok(())
        })
    }
}
