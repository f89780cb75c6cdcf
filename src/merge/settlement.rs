//! The remaining work of the closing step, once all instances are in the index.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use super::decided::DecidedAgain;
use super::finding::Finding;
use super::fold::Shape;
use super::ghost::Ghost;
use super::group_source::GroupSource;
use super::known::Known;
use super::known_row::{Series, Study};
use crate::disk::aggregate::{Aggregated, decode};
use crate::disk::runs::Runs;
use crate::index::companion_changes::Parents;

/// The remaining work. Rows are on disk, in the order of their keys.
pub struct Settlement {
    /// Whether the closing step makes all rows final. Otherwise it leaves them provisional.
    pub in_full: bool,
    pub shapes: Arc<[Shape; 3]>,
    pub known: Known,
    pub(super) series: Aggregated<Series>,
    pub(super) studies: Aggregated<Study>,
    /// The patients and their studies, if the run has decided about them.
    pub(super) groups: Option<Arc<GroupSource>>,
    /// The patients' rows. Existing rows come first, because new rows are needed or not depending
    /// on whether a PACS uses an existing row.
    pub(super) patients: Runs,
    /// The final Patient ID of each study whose row has a different one.
    pub(super) patient_of: Runs,
    pub(super) findings: Runs,
    /// The decisions about patients whose rows a PACS uses. They replace the former ones.
    pub(super) again: DecidedAgain,
    /// The keys of rows that a PACS has begun to use.
    pub(super) shared: Mutex<BTreeSet<String>>,
    /// The keys of rows of patients with a suffix that this program inserted and that no study
    /// needs any more.
    pub abandoned: Vec<String>,
    /// Rows of this program that no indexed file names.
    pub ghosts: Vec<Ghost>,
    /// The number of rows of patients, studies and series to process.
    pub counts: [u64; 3],
    /// The number of rows of other programs that look unfinished, and remain so.
    pub unfinished: Parents,
}

impl Settlement {
    /// Marks the studies of a series as stale: the study that the row of the series was linked to,
    /// and the studies that the files of the series name.
    pub fn note_stale(&self, series: &Series) {
        let mut known = self.known.lock();
        series.others.iter().chain([&series.study]).for_each(|study| known.reopen(study));
    }

    /// Returns the number of rows to process.
    pub fn len(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces the decisions about some patients.
    pub(super) fn replace(&mut self, later: DecidedAgain) {
        self.again.extend(later);
    }

    /// Calls a function with each finding, in the order of the findings.
    pub fn for_each_finding(&self, mut each: impl FnMut(&Finding)) -> io::Result<()> {
        for entry in self.findings.entries()? {
            let finding = decode(entry?.value())?;
            if !self.again.replaces_finding(&finding) {
                each(&finding);
            }
        }
        self.again.decided.findings.iter().for_each(each);
        Ok(())
    }
}
