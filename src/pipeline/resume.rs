//! What a run does before its first file: it takes up the journal, and with it the run that was killed before, if one
//! was; and it asks the index which rows it has.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Instant;

use xxhash_rust::xxh3::xxh3_64;

use super::read::{Held, Noted};
use super::{Files, Run, journal_failed};
use crate::archive::FoundFile;
use crate::error::Result;
use crate::index::Entry;
use crate::index::ImageRow;
use crate::index::batch::Writer;
use crate::index::outcome::{Attempt, Outcome};
use crate::index::recorder::FileRecord;
use crate::index::replay::Left;
use crate::journal::record::{Reading, Record};
use crate::journal::{Batch, Begun, Journal};

impl Run<'_> {
    pub(super) fn take_up_journal(&self, journal: &mut Journal, writer: &mut Writer) -> Result<()> {
        self.resolve_doubts(journal, writer)?;
        let is_continued = journal.begin(Begun { with_empty_index: writer.began_empty(), ..self.plan.begun() });
        journal.update().map_err(journal_failed)?;
        if is_continued {
            self.keep_what_is_left(journal, writer)?;
        }
        // The other kinds of runs look at all of their files, whatever is known of them.
        if journal.known_files() == 0 || !matches!(self.plan.files, Files::Walked) {
            return Ok(());
        }
        let unfinished = self.take_rows(journal, writer)?;
        if let Some(at) = unfinished.filter(|_| self.plan.slice.is_none())
            && journal.reopen(at).map_err(journal_failed)?
        {
            self.keep_what_is_left(journal, writer)?;
            self.take_rows(journal, writer)?;
        }
        Ok(())
    }

    /// Finds out whether the batches are committed that the last run was committing when it was killed.
    pub(super) fn resolve_doubts(&self, journal: &Journal, writer: &mut Writer) -> Result<()> {
        for batch in journal.in_doubt() {
            let Some(files) = self.files_of(&batch) else { continue };
            let found = writer.what_is_there(&files, batch.attempt.clone());
            if let Some((kept, attempt)) = found.or_else(|failure| self.index_failed(failure))? {
                journal.record_done(&batch, &kept, &attempt);
            }
        }
        Ok(())
    }

    /// Forgets what the killed run has written and the index has lost since. The files are written again.
    fn keep_what_is_left(&self, journal: &mut Journal, writer: &mut Writer) -> Result<()> {
        journal.replay(|batch| -> Result<()> {
            let Some(files) = self.files_of(&batch) else { return Ok(()) };
            let left = writer.what_is_left(&files, batch.attempt.clone());
            let left = left.map(Some).or_else(|failure| self.index_failed(failure))?;
            if let Some(Left::Part(kept, attempt)) = &left {
                journal.record_done(&batch, kept, attempt);
            }
            if matches!(left, Some(Left::Part(..) | Left::Nothing)) {
                journal.record_lost(&batch);
            }
            Ok(())
        })?;
        journal.update().map_err(journal_failed)
    }

    /// Learns what the killed run has done, and lists what it listed. Files that are read once more are listed then.
    pub(super) fn continue_run(&self, journal: &Journal, writer: &mut Writer) -> Result<()> {
        // A batch of which the index has lost a part is recorded anew behind later batches, which have files below its rows.
        let is_in_order = !journal.has_lost_batches();
        if !is_in_order {
            journal.replay(|batch| {
                let Some((entries, attempt)) = self.entries_of(batch, Noted::Nothing) else { return Ok(()) };
                writer.replay_rows(&entries, attempt).or_else(|failure| self.index_failed(failure))
            })?;
        }
        let noted = if self.plan.reads_all { Noted::Counts } else { Noted::All };
        let is_read = |record: &Record| self.plan.reads_all || !record.state.is_known();
        journal.replay(|batch| {
            let is_read: Vec<bool> = batch.records.iter().map(is_read).collect();
            let Some((entries, attempt)) = self.entries_of(batch, noted) else { return Ok(()) };
            if is_in_order {
                writer.replay_rows(&entries, attempt.clone()).or_else(|failure| self.index_failed(failure))?;
            }
            let mut written = writer.replay_values(&entries, attempt);
            let read_again = written.iter_mut().zip(is_read).filter(|(_, is_read)| *is_read);
            read_again.for_each(|(written, _)| written.is_told_later());
            self.tell(&entries, &written);
            let mut told = self.told_losers.lock().unwrap_or_else(PoisonError::into_inner);
            for written in &written {
                if let Outcome::Duplicate { loser: Some(loser) } = &written.outcome {
                    told.insert(xxh3_64(loser.as_bytes()));
                }
            }
            Ok(())
        })
    }

    pub(super) fn files_of<'b>(&self, batch: &'b Batch) -> Option<Vec<(&'b str, String)>> {
        batch.records.iter().map(|record| self.named_by(record)).collect()
    }

    /// A file that this run had inserted, whose row names another one by now, has lost its place to that. Where tables know
    /// no transactions, a run that was killed may have got no further than the row, and nobody has told.
    pub(super) fn was_lost_untold(&self, path: &Path) -> bool {
        let is_told = |path: String| {
            let told = self.told_losers.lock().unwrap_or_else(PoisonError::into_inner);
            told.contains(xxh3_64(path.as_bytes()))
        };
        !self.plan.tables.is_transactional && self.plan.path_map.to_index(path).is_ok_and(|path| !is_told(path))
    }

    /// The instance in a record, and its file as the index names it.
    fn named_by<'r>(&self, record: &'r Record) -> Option<(&'r str, String)> {
        let Reading::Instance(instance) = &record.reading else { return None };
        Some((
            instance.sop_instance_uid(),
            self.plan.path_map.to_index(record.named(self.plan.locator.named_by()).as_ref()).ok()?,
        ))
    }

    /// The entries of a batch, as they were made from what was read; what there is to note of them is told. `None` if one
    /// cannot be made any more.
    pub(super) fn entries_of(&self, batch: Batch, noted: Noted) -> Option<(Vec<Entry>, Attempt)> {
        let records = batch.records.into_iter();
        let entries: Option<Vec<Entry>> = records.map(|record| self.entry_of(record, noted)).collect();
        Some((entries?, batch.attempt))
    }

    pub(super) fn entry_of(&self, known: Record, noted: Noted) -> Option<Entry> {
        let path = Path::new(&known.path);
        let root = self.plan.roots.paths().iter().find(|root| path.starts_with(root));
        // A file below a root of another run.
        let root = root.map_or_else(|| path.ancestors().last().unwrap_or(path), PathBuf::as_path);
        let file = FoundFile::below(root, known.path.clone().into());
        let (own, content) = (known.state, known.content.clone());
        let record = FileRecord { state: own, leads_on: content.is_some(), bytes: Vec::new() };
        let state = content.as_ref().map_or(own, |content| content.state);
        if noted != Noted::Nothing {
            self.is_met_by_another(content.as_ref());
        }
        let held = Held { instance: known.into_instance()?, state, content, record };
        self.to_entry(file, held, noted).ok()
    }

    /// Which rows the index has, a page at a time: nobody waits for a long look.
    ///
    /// Returns the place in the journal of the earliest batch with a row that is unfinished although its run has ended.
    fn take_rows(&self, journal: &mut Journal, writer: &mut Writer) -> Result<Option<u64>> {
        self.watch.checking(journal.known_files());
        let begun = Instant::now();
        let mut last = String::new();
        let file_of = |row: &ImageRow| self.plan.path_map.from_index(&row.path);
        let next = || -> Result<Vec<ImageRow>> {
            if self.plan.stop.is_set() {
                return Ok(Vec::new());
            }
            let rows = writer.rows_after(&last).or_else(|failure| self.index_failed(failure))?;
            self.watch.checked(rows.len());
            if let Some(row) = rows.last() {
                last.clone_from(&row.sop_instance_uid);
            }
            Ok(rows)
        };
        let unfinished = journal.take_rows(next, file_of)?;
        self.watch.checking_took(begun.elapsed());
        Ok(unfinished)
    }
}
