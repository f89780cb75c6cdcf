//! What a run does before its first file: it takes up the journal, and with it the run that was killed before, if one
//! was; and it asks the index which rows it has.

use super::read::Held;
use super::{Run, journal_failed};
use crate::archive::FoundFile;
use crate::error::Result;
use crate::index::Entry;
use crate::index::batch::{Attempt, Writer};
use crate::index::recorder::FileRecord;
use crate::journal::record::{Reading, Record};
use crate::journal::{Batch, Begun, Journal};

impl Run<'_> {
    pub(super) fn take_up_journal(&self, journal: &mut Journal, writer: &mut Writer) -> Result<()> {
        let now = Begun { settings: self.plan.settings.clone(), with_empty_index: writer.began_empty() };
        if journal.begin(now) {
            self.resolve_doubts(journal, writer)?;
            journal.update().map_err(journal_failed)?;
            self.continue_run(journal, writer)?;
        } else {
            journal.update().map_err(journal_failed)?;
        }
        if journal.knows_files() && !self.plan.reads_all {
            self.take_rows(journal, writer)?;
        }
        Ok(())
    }

    /// Batches that the killed run was committing.
    fn resolve_doubts(&self, journal: &Journal, writer: &mut Writer) -> Result<()> {
        for batch in journal.in_doubt().map_err(journal_failed)? {
            let files: Vec<(&str, String)> = batch.records.iter().filter_map(|record| self.named_by(record)).collect();
            if files.len() < batch.records.len() {
                continue;
            }
            let found = writer.what_is_there(&files, batch.attempt.clone());
            if let Some((kept, attempt)) = found.or_else(|failure| self.index_failed(failure))? {
                journal.is_done(&batch, &kept, &attempt);
            }
        }
        Ok(())
    }

    /// The instance in a record, and its file as the index names it.
    fn named_by<'r>(&self, record: &'r Record) -> Option<(&'r str, String)> {
        let Reading::Instance(instance) = &record.reading else { return None };
        Some((instance.sop_instance_uid(), self.plan.path_map.to_index(record.path.as_ref()).ok()?))
    }

    /// The killed run has done this much: it is known, and told, as if this run had.
    fn continue_run(&self, journal: &Journal, writer: &mut Writer) -> Result<()> {
        journal.replay(|batch| -> Result<()> {
            let Some((entries, attempt)) = self.entries_of(batch, true) else { return Ok(()) };
            let written = writer.replay(&entries, attempt).or_else(|failure| self.index_failed(failure))?;
            self.tell(&entries, &written);
            Ok(())
        })?;
        writer.forget_missing().or_else(|failure| self.index_failed(failure))
    }

    /// The entries of a batch, as they were made from what was read; what there is to note of them is told. `None` if one
    /// cannot be made any more.
    pub(super) fn entries_of(&self, batch: Batch, is_told: bool) -> Option<(Vec<Entry>, Attempt)> {
        let records = batch.records.into_iter();
        let entries: Option<Vec<Entry>> = records.map(|record| self.entry_of(record, is_told)).collect();
        Some((entries?, batch.attempt))
    }

    fn entry_of(&self, record: Record, is_told: bool) -> Option<Entry> {
        let root = &self.plan.roots.paths()[self.root_of(record.path.as_ref())];
        let file = FoundFile::below(root, record.path.clone().into());
        let state = record.state;
        let held = Held { instance: record.into_instance()?, state, record: FileRecord { state, bytes: Vec::new() } };
        self.to_entry(file, held, is_told).ok()
    }

    /// Which rows the index has, a page at a time: nobody waits for a long look.
    fn take_rows(&self, journal: &mut Journal, writer: &mut Writer) -> Result<()> {
        self.watch.checking();
        let mut last = String::new();
        journal.take_rows(|| {
            if self.plan.stop.is_set() {
                return Ok(Vec::new());
            }
            let rows = writer.rows_after(&last).or_else(|failure| self.index_failed(failure))?;
            self.watch.checked(rows.len());
            if let Some(row) = rows.last() {
                last.clone_from(&row.sop_instance_uid);
            }
            Ok(rows)
        })
    }
}
