//! The decisions of the closing step, sorted on disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::closing_part::patient_key;
use super::decided::Decided;
use super::finding::Finding;
use super::fold::Shape;
use super::ghost::Ghost;
use crate::dicom::Level;
use crate::disk::aggregate::put;
use crate::disk::runs::Sorter;
use crate::index::companion_changes::Parents;

/// The number of bytes of decisions of each kind that are sorted in memory.
const SORTED_IN_MEMORY: usize = 1 << 20;

/// A collector of decisions.
pub(super) struct Decisions {
    pub(super) shapes: Arc<[Shape; 3]>,
    pub(super) patients: Sorter,
    pub(super) patient_of: Sorter,
    pub(super) findings: Sorter,
    /// The keys of rows with a suffix that no name needs any more.
    pub(super) abandoned: Vec<String>,
    pub(super) ghosts: Vec<Ghost>,
    /// The IDs of patients whose values were recomputed.
    pub(super) displaced: Vec<Arc<str>>,
    pub(super) counts: [u64; 3],
    pub(super) unfinished: Parents,
}

impl Decisions {
    /// Creates an empty collector. Decisions that exceed the memory limit are written to temporary
    /// files in `directory`.
    pub(super) fn new(directory: &Path, shapes: Arc<[Shape; 3]>) -> Self {
        let sorter = || Sorter::new(directory, SORTED_IN_MEMORY);
        Decisions {
            shapes,
            patients: sorter(),
            patient_of: sorter(),
            findings: sorter(),
            abandoned: Vec::new(),
            ghosts: Vec::new(),
            displaced: Vec::new(),
            counts: [0; 3],
            unfinished: Parents::default(),
        }
    }

    pub(super) fn report(&mut self, finding: &Finding) -> io::Result<()> {
        self.findings.push_with(&finding.sort_key(), |bytes| put(finding, bytes))
    }

    pub(super) fn add(&mut self, decided: Decided) -> io::Result<()> {
        self.counts[Level::Patient as usize] += decided.patients.len() as u64;
        self.abandoned.extend(decided.abandoned);
        for patient in decided.patients {
            self.patients.push_with(&patient_key(&patient), |bytes| put(&patient, bytes))?;
        }
        for (study, patient) in &decided.patient_of {
            self.patient_of.push(study.as_bytes(), patient.as_bytes())?;
        }
        decided.findings.iter().try_for_each(|finding| self.report(finding))
    }
}
