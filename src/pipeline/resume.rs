//! Prepares a run before its first file: opens the journal, resumes a run that was killed, if any,
//! and loads from the index which rows it has.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Instant;

use xxhash_rust::xxh3::xxh3_64;

use super::entries::{self, Held, Noted};
use super::{Run, journal_failed, write};
use crate::archive::FoundFile;
use crate::error::Result;
use crate::index::entry::FileRecord;
use crate::index::outcome::{Attempt, Outcome};
use crate::index::{Entry, ImageRow};
use crate::journal::record::{Reading, Record};
use crate::journal::{Batch, Begun, Journal};
use crate::merge::replay::{self, Left, Superseded};
use crate::merge::writer::Writer;

pub(super) fn take_up_journal(run: &Run<'_>, journal: &mut Journal, writer: &mut Writer) -> Result<()> {
    resolve_doubts(run, journal, writer)?;
    let is_continued = journal.begin(Begun { with_empty_index: writer.began_empty(), ..run.plan.begun() });
    journal.update().map_err(journal_failed)?;
    if is_continued {
        keep_what_is_left(run, journal, writer)?;
    }
    // Runs of other kinds inspect all of their files, even unchanged ones.
    if journal.known_files() == 0 || !run.plan.sources.files.is_whole_archive() {
        return Ok(());
    }
    let unfinished = take_rows(run, journal, writer)?;
    if let Some(at) = unfinished
        && journal.reopen(at).map_err(journal_failed)?
    {
        keep_what_is_left(run, journal, writer)?;
        take_rows(run, journal, writer)?;
    }
    Ok(())
}

/// Determines whether the batches that the last run was committing when it was killed are
/// committed.
pub(super) fn resolve_doubts(run: &Run<'_>, journal: &Journal, writer: &mut Writer) -> Result<()> {
    for batch in journal.in_doubt() {
        let Some(files) = files_of(run, &batch) else { continue };
        let found = replay::what_is_there(writer, &files, batch.attempt.clone());
        if let Some((kept, attempt)) = found.or_else(|failure| run.index_failed(failure))? {
            journal.record_done(&batch, &kept, &attempt);
        }
    }
    Ok(())
}

/// Records which batches of the killed run the index has lost since, in whole or in part. Their
/// files are written again.
fn keep_what_is_left(run: &Run<'_>, journal: &mut Journal, writer: &mut Writer) -> Result<()> {
    let mut superseded = Superseded::new(&journal.directory);
    journal.replay_backwards(|batch| {
        let Some(files) = files_of(run, &batch) else { return Ok(()) };
        superseded.learn(writer, batch.at, &files, &batch.attempt).or_else(|failure| run.index_failed(failure))
    })?;
    journal.replay(|batch| -> Result<()> {
        let Some(files) = files_of(run, &batch) else { return Ok(()) };
        let left = replay::what_is_left(writer, batch.at, &files, batch.attempt.clone(), &superseded);
        let left = left.map(Some).or_else(|failure| run.index_failed(failure))?;
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

/// Restores the state of the killed run, and lists its findings again. Files that are read again
/// are listed then.
pub(super) fn continue_run(run: &Run<'_>, journal: &Journal, writer: &mut Writer) -> Result<()> {
    // The part that is left of a batch is recorded again behind later batches, whose files may be
    // below its rows.
    let is_in_order = !journal.has_lost_batches();
    if !is_in_order {
        journal.replay(|batch| {
            let Some((entries, attempt)) = entries_of(run, batch, Noted::Nothing) else { return Ok(()) };
            replay::replay_rows(writer, &entries, attempt).or_else(|failure| run.index_failed(failure))
        })?;
    }
    let noted = if run.plan.sources.reads_all { Noted::Counts } else { Noted::All };
    let is_read = |record: &Record| run.plan.sources.reads_all || !record.state.is_known();
    journal.replay(|batch| {
        let is_read: Vec<bool> = batch.records.iter().map(is_read).collect();
        let Some((entries, attempt)) = entries_of(run, batch, noted) else { return Ok(()) };
        if is_in_order {
            replay::replay_rows(writer, &entries, attempt.clone()).or_else(|failure| run.index_failed(failure))?;
        }
        let mut written = replay::replay_values(writer, &entries, attempt);
        let read_again = written.iter_mut().zip(is_read).filter(|(_, is_read)| *is_read);
        read_again.for_each(|(written, _)| written.is_told_later());
        write::tell(run, &entries, &written);
        let mut told = run.told_losers.lock().unwrap_or_else(PoisonError::into_inner);
        for written in &written {
            if let Outcome::Duplicate { loser: Some(loser) } = &written.outcome {
                told.insert(xxh3_64(loser.as_bytes()));
            }
        }
        Ok(())
    })
}

pub(super) fn files_of<'b>(run: &Run<'_>, batch: &'b Batch) -> Option<Vec<(&'b str, String)>> {
    batch.records.iter().map(|record| named_by(run, record)).collect()
}

/// For a file that this run inserted and whose row now names another file: returns whether the file
/// is still to be listed as a duplicate. Without transactions, a killed run may have changed the
/// row and stopped before the report.
pub(super) fn was_lost_untold(run: &Run<'_>, path: &Path) -> bool {
    let is_told = |path: String| {
        let told = run.told_losers.lock().unwrap_or_else(PoisonError::into_inner);
        told.contains(xxh3_64(path.as_bytes()))
    };
    !run.plan.tables.is_transactional && run.plan.path_map.to_index(path).is_ok_and(|path| !is_told(path))
}

/// Returns the instance in a record, and the path of its file in the index.
fn named_by<'r>(run: &Run<'_>, record: &'r Record) -> Option<(&'r str, String)> {
    let Reading::Instance(instance) = &record.reading else { return None };
    Some((
        instance.sop_instance_uid(),
        run.plan.path_map.to_index(record.named(run.plan.sources.locator.named_by()).as_ref()).ok()?,
    ))
}

/// Makes the entries of a batch again from its records, and reports their notes. `None` if an entry
/// cannot be made any more.
pub(super) fn entries_of(run: &Run<'_>, batch: Batch, noted: Noted) -> Option<(Vec<Entry>, Attempt)> {
    let records = batch.records.into_iter();
    let entries: Option<Vec<Entry>> = records.map(|record| entry_of(run, record, noted)).collect();
    Some((entries?, batch.attempt))
}

pub(super) fn entry_of(run: &Run<'_>, known: Record, noted: Noted) -> Option<Entry> {
    let path = Path::new(&known.path);
    let root = run.plan.sources.roots.paths().iter().find(|root| path.starts_with(root));
    // A file below a root of another run is taken to be below the root of the file system.
    let root = root.map_or_else(|| path.ancestors().last().unwrap_or(path), PathBuf::as_path);
    let file = FoundFile::below(root, known.path.clone().into());
    let (own, content) = (known.state, known.content.clone());
    let record = FileRecord { state: own, leads_on: content.is_some(), bytes: Vec::new() };
    let state = content.as_ref().map_or(own, |content| content.state);
    if noted != Noted::Nothing {
        entries::is_met_by_another(run, content.as_ref());
    }
    let held = Held { instance: known.into_instance()?, state, content, record };
    entries::to_entry(run, file, held, noted).ok()
}

/// Streams the index's rows in pages, so that no query holds locks for long.
///
/// Returns the position in the journal of the earliest batch with a row that is unfinished although
/// its run has ended.
fn take_rows(run: &Run<'_>, journal: &mut Journal, writer: &mut Writer) -> Result<Option<u64>> {
    run.intake.watch.checking(journal.known_files());
    let begun = Instant::now();
    let mut last = String::new();
    let file_of = |row: &ImageRow| run.plan.path_map.from_index(&row.path);
    let next = || -> Result<Vec<ImageRow>> {
        if run.plan.sources.stop.is_set() {
            return Ok(Vec::new());
        }
        let rows = replay::rows_after(writer, &last).or_else(|failure| run.index_failed(failure))?;
        run.intake.watch.checked(rows.len());
        if let Some(row) = rows.last() {
            last.clone_from(&row.sop_instance_uid);
        }
        Ok(rows)
    };
    let unfinished = journal.take_rows(next, file_of)?;
    run.intake.watch.checking_took(begun.elapsed());
    Ok(unfinished)
}
