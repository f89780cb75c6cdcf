//! A writer: one connection to the index, the shared state of the run, and the rules by which
//! conflicts are decided.

use std::collections::HashSet;
use std::sync::Arc;

use super::duplicates::FileChoice;
use super::finding::Finding;
use super::known::Known;
use super::names::Conflicts;
use crate::dicom::Level;
use crate::index::companion_changes::{Companions, Parents};
use crate::index::existing::{Mode, Pending};
use crate::index::patience::{Patience, Tried};
use crate::index::recorder::Recorder;
use crate::index::stored_column::Reference;
use crate::index::undo::Undo;
use crate::index::{Failure, Index, LEVELS};

/// The rules by which conflicts of files and names are decided, and which values of existing rows
/// may change.
#[derive(Clone)]
pub struct Policy {
    pub mode: Mode,
    pub files: FileChoice,
    pub conflicts: Conflicts,
    pub undo: Option<Arc<Undo>>,
    pub patience: Patience,
}

/// Writes batches through one connection.
pub struct Writer {
    /// The number of the writer within its run.
    pub(super) number: u32,
    /// The log in which the writer records batches and rows. `None` in a dry run.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// Whether a killed run is resumed.
    pub continues: bool,
    /// Whether other runs have written since the killed one.
    pub is_interleaved: bool,
    pub(super) index: Box<dyn Index + Send>,
    pub(super) known: Known,
    pub(super) policy: Policy,
    /// Whether rows of each level are looked up before they are inserted. A table that was empty
    /// needs no lookup.
    pub(super) look_first: [bool; 4],
    /// The number of attempts at transactions so far.
    pub(super) attempts: u32,
    /// The number of restarts of the transaction because an insert conflicted with a row.
    pub(super) collisions: u32,
    /// Whether the table of each level was empty when the run began.
    pub(super) was_empty: [bool; 4],
    /// The rows that this writer is inserting.
    pub(super) claims: Vec<(Level, Box<str>)>,
    /// The images whose path this batch corrects.
    pub(super) corrections: Vec<Box<str>>,
    pub(super) pending: Option<Pending>,
    /// The number of reconnections after lost connections.
    pub reconnections: u64,
    /// The rows that attempts of this transaction left behind. Filled only if the tables are not
    /// transactional.
    pub(super) left: HashSet<Tried>,
    /// The changes that the database rejected.
    pub refused: Vec<Finding>,
    pub inserted: Parents,
    /// The number of existing rows above the images that were changed.
    pub updated: Parents,
    pub companions: Companions,
    /// The columns of other tables that may refer to rows of each level, once they were queried.
    pub(super) references: [Option<Arc<[Reference]>>; 4],
}

impl Writer {
    pub fn new(number: u32, mut index: Box<dyn Index + Send>, known: Known, policy: Policy) -> Result<Self, Failure> {
        let mut was_empty = [false; 4];
        for level in LEVELS {
            index.probe(level)?;
            was_empty[level as usize] = index.is_empty(level)?;
        }
        let pending = policy.undo.clone().map(|undo| Pending { undo, lines: String::new() });
        Ok(Writer {
            number,
            recorder: None,
            continues: false,
            is_interleaved: false,
            pending,
            index,
            known,
            policy,
            look_first: was_empty.map(|was_empty| !was_empty),
            // Each run counts from a different number.
            attempts: first_attempt(),
            collisions: 0,
            was_empty,
            claims: Vec::new(),
            corrections: Vec::new(),
            reconnections: 0,
            left: HashSet::new(),
            refused: Vec::new(),
            inserted: Parents::default(),
            updated: Parents::default(),
            companions: Companions::default(),
            references: Default::default(),
        })
    }

    /// Records IDs that the killed run has given to patients, for all writers.
    pub fn note_given(&self, ids: impl Iterator<Item = String>) {
        let mut known = self.known.lock();
        ids.for_each(|id| known.note_given(&id));
    }

    /// Returns whether the killed run has given an ID to a patient.
    pub(super) fn has_given(&self, id: &str) -> bool {
        self.known.lock().has_given(id)
    }

    /// Returns whether the index contained no image when the run began.
    pub fn began_empty(&self) -> bool {
        self.was_empty[Level::Instance as usize]
    }

    /// Returns whether the images take more space than the memory in which the server caches
    /// tables.
    pub fn outgrows_memory(&mut self) -> Result<bool, Failure> {
        self.patiently(|writer| writer.index.outgrows_memory())
    }

    /// Closes the connection. Returns the changes that a dry run would have made.
    pub fn end(self) -> Vec<(String, crate::index::dry_run::Changed)> {
        let changes = self.index.changes();
        self.index.close();
        changes
    }

    pub(super) fn disclaim(&mut self, level: Level, identity: &str) {
        self.claims.retain(|(l, claimed)| !(*l == level && **claimed == *identity));
        self.known.lock().disclaim(level, identity);
    }

    /// Returns whether rows of a level are looked up before they are inserted. A table that was
    /// empty needs no lookup until a row is found there.
    pub(super) fn looks_first(&self, level: Level) -> bool {
        self.look_first[level as usize]
    }
}

pub(super) fn first_attempt() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_micros() as u32).saturating_add(1)
}
