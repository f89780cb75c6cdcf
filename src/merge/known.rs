//! The patients, studies and series that a run has found or inserted, shared by all writers of the
//! run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::known_rows::Rows;
use crate::dicom::Level;
use crate::index::existing::Mode;
use crate::index::patience::Tried;
use crate::index::{LEVELS, Tables};

/// The rows that a run knows. All clones share the same rows.
#[derive(Clone)]
pub struct Known {
    rows: Arc<Mutex<Rows>>,
    /// The images in the last committed transaction of each writer, by the number of the writer. A
    /// server that has none of the images of one writer has lost commits.
    witnesses: Arc<Mutex<BTreeMap<u32, Vec<Tried>>>>,
    /// The directory of temporary files.
    directory: Arc<Path>,
}

impl Known {
    /// Creates the state of a run that has just begun.
    pub fn new(tables: &Tables, directory: &Path, mode: Mode, portion: Option<usize>) -> Self {
        let rows = Arc::new(Mutex::new(Rows::new(tables, directory, mode, portion)));
        Known { rows, witnesses: Arc::default(), directory: directory.into() }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a writer has committed a transaction that inserted these images.
    pub fn set_witnesses(&self, writer: u32, images: Vec<Tried>) {
        self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).insert(writer, images);
    }

    /// Returns the witnesses of all writers.
    pub fn witnesses(&self) -> Vec<Vec<Tried>> {
        self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// The levels above the image.
pub const PARENTS: [Level; 3] = [LEVELS[0], LEVELS[1], LEVELS[2]];
