//! An index that looks and does not write: it remembers what a run would have inserted, so that a second file of one
//! instance is still seen as a duplicate.

use std::collections::HashMap;

use super::{Derive, Entry, Existing, Failure, Index, LEVELS, Tables, View};
use crate::dicom::Level;

pub struct DryRun<I> {
    index: I,
    inserted: [HashMap<Box<str>, Box<str>>; 4],
}

impl<I: Index> DryRun<I> {
    pub fn new(index: I) -> Self {
        DryRun { index, inserted: LEVELS.map(|_| HashMap::new()) }
    }
}

impl<I: Index> Index for DryRun<I> {
    fn tables(&self) -> &Tables {
        self.index.tables()
    }

    fn insert_sizes(&self) -> &'static [usize] {
        self.index.insert_sizes()
    }

    /// Never: to look first is all that it does.
    fn is_empty(&mut self, _: Level) -> Result<bool, Failure> {
        Ok(false)
    }

    fn statement_bytes(&self) -> usize {
        self.index.statement_bytes()
    }

    fn find(&mut self, level: Level, keys: &[&str], view: View) -> Result<Vec<Existing>, Failure> {
        let mut existing = self.index.find(level, keys, view)?;
        let remembered = keys.iter().filter_map(|key| self.inserted[level as usize].get_key_value(*key));
        existing.extend(remembered.map(|(key, path)| Existing { key: key.to_string(), path: Some(path.to_string()) }));
        Ok(existing)
    }

    fn insert(&mut self, level: Level, entries: &[&Entry]) -> Result<(), Failure> {
        for entry in entries {
            let path = if level == Level::Instance { entry.path.as_str() } else { "" };
            self.inserted[level as usize].insert(entry.key(level).into(), path.into());
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn modalities(&mut self, _: &[&str], _: Derive) -> Result<Vec<(String, String)>, Failure> {
        Ok(Vec::new())
    }

    fn set_modalities(&mut self, _: &str, _: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn set_received(&mut self, _: &str, _: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn count_instances(&mut self, _: &[&str], _: Derive) -> Result<(), Failure> {
        Ok(())
    }

    fn take_back(&mut self, _: Level, _: &[&str]) -> Result<(), Failure> {
        Ok(())
    }

    fn close(self: Box<Self>) {
        Box::new(self.index).close();
    }
}
