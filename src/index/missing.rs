//! Rows of one level into the index, as far as they are missing.
//!
//! Statements carry many rows. One that fails is halved, so that a row that the database will not hold, or that
//! somebody else has just written, is found, and the others are inserted.

use std::collections::HashMap;

use super::{Entry, Existing, Failure, Index, Refusal, View};
use crate::dicom::Level;

/// Whether a row is in the index now.
#[derive(Clone, Debug)]
pub enum Presence {
    Inserted,
    There {
        /// Of an image, the path that it holds.
        path: Option<String>,
    },
    Refused(Refusal),
}

pub struct Missing<'a> {
    index: &'a mut dyn Index,
    level: Level,
    /// One entry a key.
    entries: &'a [&'a Entry],
    presence: Vec<Option<Presence>>,
}

impl<'a> Missing<'a> {
    pub fn new(index: &'a mut dyn Index, level: Level, entries: &'a [&'a Entry]) -> Self {
        Missing { index, level, entries, presence: vec![None; entries.len()] }
    }

    /// Inserts what is missing. `look_first` saves statements that would fail; in an empty table there are none.
    pub fn insert(mut self, look_first: bool) -> Result<Vec<Presence>, Failure> {
        let all: Vec<usize> = (0..self.entries.len()).collect();
        // Where a failed statement leaves rows behind, only a look beforehand tells whose they are.
        if look_first || !self.index.tables().is_transactional {
            self.look(&all, View::Begun, |path| Presence::There { path })?;
        }
        let missing = self.without_presence(&all);
        let mut rest = missing.as_slice();
        for size in self.index.insert_sizes() {
            while rest.len() >= *size && (*size == 1 || self.weight(&rest[..*size]) <= self.index.statement_bytes()) {
                let (part, after) = rest.split_at(*size);
                self.insert_part(part)?;
                rest = after;
            }
        }
        Ok(self.presence.into_iter().flatten().collect())
    }

    fn weight(&self, part: &[usize]) -> usize {
        part.iter().map(|n| self.entries[*n].weight()).sum()
    }

    fn without_presence(&self, part: &[usize]) -> Vec<usize> {
        part.iter().copied().filter(|n| self.presence[*n].is_none()).collect()
    }

    /// Marks the rows that are there.
    fn look(&mut self, part: &[usize], view: View, there: impl Fn(Option<String>) -> Presence) -> Result<(), Failure> {
        let keys: Vec<&str> = part.iter().map(|n| self.entries[*n].key(self.level)).collect();
        let existing = self.index.find(self.level, &keys, view)?;
        let by_key: HashMap<String, Option<String>> =
            existing.into_iter().map(|Existing { key, path }| (key, path)).collect();
        for n in part {
            if let Some(path) = by_key.get(self.entries[*n].key(self.level)) {
                self.presence[*n] = Some(there(path.clone()));
            }
        }
        Ok(())
    }

    fn insert_part(&mut self, part: &[usize]) -> Result<(), Failure> {
        let rows: Vec<&Entry> = part.iter().map(|n| self.entries[*n]).collect();
        match (self.index.insert(self.level, &rows), part) {
            (Ok(()), _) => {
                part.iter().for_each(|n| self.presence[*n] = Some(Presence::Inserted));
                Ok(())
            }
            (Err(Failure::Refused(refusal)), [n]) => {
                self.presence[*n] = Some(Presence::Refused(refusal));
                Ok(())
            }
            (Err(Failure::Duplicate), [n]) => {
                self.look(part, View::Now, |path| Presence::There { path })?;
                // Not even now: the database takes another spelling for the same key.
                self.presence[*n].get_or_insert(Presence::There { path: None });
                Ok(())
            }
            (Err(Failure::Duplicate | Failure::Refused(_)), _) => self.halve(part),
            (Err(failure), _) => Err(failure),
        }
    }

    fn halve(&mut self, part: &[usize]) -> Result<(), Failure> {
        if self.index.tables().is_transactional {
            self.look(part, View::Now, |path| Presence::There { path })?;
        } else {
            // They were not there before: the failed statement left them behind.
            self.look(part, View::Now, |_| Presence::Inserted)?;
        }
        let missing = self.without_presence(part);
        let (left, right) = missing.split_at(missing.len() / 2);
        for half in [left, right].into_iter().filter(|half| !half.is_empty()) {
            self.insert_part(half)?;
        }
        Ok(())
    }
}
