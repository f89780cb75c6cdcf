//! The work that is left for the closing step, once all instances are in the index.

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

/// All that is left to do. Rows are on disk, in the order of their keys.
pub struct Settlement {
    /// The closing step makes all rows final. Otherwise it leaves them provisional.
    pub in_full: bool,
    pub shapes: Arc<[Shape; 3]>,
    pub known: Known,
    pub(super) series: Aggregated<Series>,
    pub(super) studies: Aggregated<Study>,
    /// The patients and their studies, if these were decided about.
    pub(super) groups: Option<Arc<GroupSource>>,
    /// Rows that exist come first: whether a PACS uses one of them decides which new rows are needed.
    pub(super) patients: Runs,
    /// The Patient ID of each study whose row has another.
    pub(super) patient_of: Runs,
    pub(super) findings: Runs,
    /// The decision about patients whose rows a PACS uses, which replaces the former one.
    pub(super) again: DecidedAgain,
    /// The keys of rows that a PACS has begun to use.
    pub(super) shared: Mutex<BTreeSet<String>>,
    /// The keys of rows of patients with a suffix that this program has inserted, and that no study needs any more.
    pub abandoned: Vec<String>,
    /// Rows of this program that no indexed file names.
    pub ghosts: Vec<Ghost>,
    /// The number of rows of patients, studies and series that there are to look at.
    pub counts: [u64; 3],
    /// Rows of others that look unfinished, and stay so.
    pub unfinished: Parents,
}

impl Settlement {
    /// Notes that the studies of a series are stale: the one that its row was linked to, and those that its files name.
    pub fn note_stale(&self, series: &Series) {
        let mut known = self.known.lock();
        series.others.iter().chain([&series.study]).for_each(|study| known.reopen(study));
    }

    /// How many rows there are to look at.
    pub fn len(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces the decision about some patients.
    pub(super) fn replace(&mut self, later: DecidedAgain) {
        self.again.extend(later);
    }

    /// Calls a function with each finding, in their order.
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
