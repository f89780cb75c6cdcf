//! The undo file: the values that `--existing refresh` and `complete` overwrite, recorded before
//! each write. The format is JSON Lines with table, key, column, old and new value.
//!
//! Unlike logs and lists, the file contains values from the database, including patient data, and
//! only its owner may read it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::{Failure, Value};
use crate::dicom::Table;
use crate::error::Result;
use crate::full_disk;
use crate::new_file;

pub struct Undo {
    path: PathBuf,
    state: Mutex<(File, u64)>,
}

#[derive(Serialize)]
struct Line<'a> {
    table: &'a str,
    key: &'a str,
    column: &'a str,
    old: Option<&'a str>,
    new: String,
}

/// A column that is about to be overwritten.
pub struct Overwritten<'a> {
    pub column: &'a str,
    pub old: Option<&'a str>,
    pub new: Value<'a>,
}

impl Undo {
    /// Creates the file. An existing file is never overwritten.
    pub fn create(path: &Path, make_directory: bool) -> Result<Self> {
        let file = new_file::create(path, "the undo file", "--undo", make_directory)?;
        Ok(Undo { path: path.to_path_buf(), state: Mutex::new((file, 0)) })
    }

    /// Returns the lines for columns that are about to be overwritten.
    pub fn lines_of(&self, table: Table, key: &str, columns: &[Overwritten<'_>]) -> Result<String, Failure> {
        let mut text = String::new();
        for Overwritten { column, old, new } in columns {
            let new = match new {
                Value::Null => String::new(),
                Value::Text(text) => (*text).to_owned(),
                Value::Integer(number) => number.to_string(),
                Value::Real(number) => number.to_string(),
            };
            let line = serde_json::to_string(&Line { table: table.name(), key, column, old: *old, new });
            text += &line.map_err(|error| self.failed(&error.into()))?;
            text.push('\n');
        }
        Ok(text)
    }

    /// Writes lines to disk and waits until they are durable. Called before the commit of the
    /// changes that the lines describe.
    pub fn write(&self, lines: &str) -> Result<(), Failure> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let written = state.0.write_all(lines.as_bytes()).and_then(|()| state.0.sync_data());
        written.map_err(|error| self.failed(&full_disk::named_by_file(&self.path, error)))?;
        state.1 += lines.lines().count() as u64;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::Lost(format!("the undo file {} cannot be written: {error}", self.path.display()))
    }

    /// Returns the path of the file and the number of lines in it, or `None` if the file is empty.
    pub fn lines(&self) -> Option<(&Path, u64)> {
        let lines = self.state.lock().unwrap_or_else(PoisonError::into_inner).1;
        (lines > 0).then_some((self.path.as_path(), lines))
    }
}

impl Drop for Undo {
    /// Removes an empty file.
    fn drop(&mut self) {
        if self.lines().is_none() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
