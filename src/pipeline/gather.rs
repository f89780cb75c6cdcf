//! Runs before the closing step. Reads the records of the other files of the rows that this run has touched and that an
//! earlier run has inserted. The final values of a row then do not depend on which run has read which file.

use std::collections::{BTreeSet, HashSet};

use super::Run;
use super::read::Noted;
use crate::error::Result;
use crate::index::Entry;
use crate::index::batch::Writer;
use crate::journal::Topic;

/// The number of entries that are looked up at a time.
const PORTION: usize = 500;

impl Run<'_> {
    pub(super) fn gather(&self, writer: &mut Writer) -> Result<()> {
        let Some(journal) = self.journal() else { return Ok(()) };
        let mut topics: HashSet<u64> = journal.unfinished_studies().clone();
        let mut gathered = HashSet::new();
        let mut blocks = BTreeSet::new();
        loop {
            topics.extend(writer.own_groups().iter().map(|(level, key)| Topic::of_level(*level).hash(key)));
            let new: Vec<u64> = topics.iter().copied().filter(|topic| gathered.insert(*topic)).collect();
            if new.is_empty() {
                return Ok(());
            }
            let mut of_new = BTreeSet::new();
            for topic in new {
                let found = journal.blocks_of(topic).map_err(super::journal_failed)?;
                of_new.extend(found.into_iter().filter(|block| blocks.insert(*block)));
            }
            let mut portion = Vec::new();
            for block in of_new {
                if self.plan.stop.is_set() {
                    return Ok(());
                }
                let records = journal.current_records(block).into_iter();
                portion.extend(
                    records.filter_map(|(record, is_own)| Some((self.entry_of(record, Noted::Nothing)?, is_own))),
                );
                if portion.len() >= PORTION {
                    self.gather_portion(writer, &mut portion)?;
                }
            }
            self.gather_portion(writer, &mut portion)?;
        }
    }

    fn gather_portion(&self, writer: &mut Writer, portion: &mut Vec<(Entry, bool)>) -> Result<()> {
        let (entries, are_own): (Vec<Entry>, Vec<bool>) = portion.drain(..).unzip();
        if entries.is_empty() {
            return Ok(());
        }
        writer.gather(&entries, &are_own).or_else(|failure| self.index_failed(failure))
    }
}
