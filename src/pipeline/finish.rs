//! The end of a run in slices: what conflicts between them is settled, once each has written what it holds.
//!
//! Their journals are gone through three times. First it is learnt which rows they inserted: each slice took those of the
//! others for rows that were there. Then it is known which rows a file says something of; what a slice could not decide
//! is written once more. Last, rows tell which files are not indexed. The closing step is that of any run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Instant;

use super::close::{self, Closed};
use super::entries::Noted;
use super::{Done, Plan, Run, defect, gather, journal_failed, resume, unrecorded, write};
use crate::error::{Error, Result};
use crate::index::outcome::{Outcome, Written};
use crate::index::{Entry, Refusal};
use crate::journal::record::{Reading, Record};
use crate::journal::{Batch, Journal, Slice};
use crate::merge::replay;
use crate::merge::write_batch::write_batch;
use crate::merge::writer::Writer;
use crate::progress::Observer;
use crate::report::account::Fate;

/// Entries that are written once more, at a time.
const PORTION: usize = 500;

/// Settles what the slices of these journals have written.
pub fn finish(
    plan: &Plan<'_>,
    mut writers: Vec<Writer>,
    journals: &mut [Journal],
    catalogue: Option<Journal>,
    observer: &mut dyn Observer,
) -> Result<Done> {
    let slices = take_up(plan, journals)?;
    let journals = &*journals;
    let started = Instant::now();
    let run = Run::new(plan, Vec::new())?;
    // All is settled, and only some say so.
    if slices.contains(&Slice::Settled) {
        journals
            .iter()
            .zip(&slices)
            .filter(|(_, slice)| **slice != Slice::Settled)
            .try_for_each(|(j, _)| j.close())
            .map_err(unrecorded)?;
        return Ok(run.done(Closed::default(), None, started, false));
    }
    writers.iter().take(1).for_each(|writer| writer.note_given(journals.iter().flat_map(Journal::given)));
    for writer in &mut writers {
        writer.continues = slices.contains(&Slice::HalfSettled);
    }
    if let (Some(mut catalogue), Some(writer)) = (catalogue, writers.first_mut()) {
        resume::resolve_doubts(&run, &catalogue, writer)?;
        catalogue.begin_merge(journals, &plan.begun()).map_err(journal_failed)?;
        let catalogue = run.journal.get_or_init(|| Arc::new(catalogue));
        writers.iter_mut().for_each(|writer| writer.recorder = Some(catalogue.clone()));
    }
    journals.iter().try_for_each(Journal::begin_to_finish).map_err(unrecorded)?;
    let (closed, failure) = thread::scope(|scope| {
        scope.spawn(|| run.watch.show(&run, started, observer));
        let settled =
            writers.first_mut().ok_or_else(|| defect("finish")).and_then(|writer| unite(&run, journals, writer));
        let (closed, result) = close::close(&run, writers, settled.is_ok() && !plan.stop.is_set(), journals.first());
        let mut failure = settled.err().or(result.err());
        if failure.is_none() && !plan.stop.is_set() {
            let ended = run.journal().map_or(Ok(()), |catalogue| catalogue.end_merge(&plan.begun()));
            failure = ended.and_then(|()| journals.iter().try_for_each(Journal::close)).err().map(unrecorded);
        }
        run.watch.end();
        (closed, failure)
    });
    let is_whole = failure.is_none() && !plan.stop.is_set();
    let slices_have_no_file = is_whole && journals.iter().all(|journal| journal.known_files() == 0);
    let done = run.done(closed, failure, started, false);
    Ok(Done { slices_have_no_file, ..done })
}

/// Each slice has ended, and they had the settings of this command.
fn take_up(plan: &Plan<'_>, journals: &mut [Journal]) -> Result<Vec<Slice>> {
    let now = plan.begun();
    let slices: Vec<Slice> = journals.iter_mut().map(|journal| journal.take_up_slice(&now)).collect();
    let all_were_begun = slices.iter().all(|slice| matches!(slice, Slice::Settled | Slice::HalfSettled));
    let is_interrupted = all_were_begun && slices.contains(&Slice::HalfSettled);
    for (journal, slice) in journals.iter_mut().zip(&slices) {
        let directory = journal.directory.display();
        let (what, advice) = match slice {
            Slice::Settled if is_interrupted => continue,
            Slice::Ended | Slice::HalfSettled => {
                journal.update().map_err(journal_failed)?;
                continue;
            }
            Slice::Settled => ("was settled before", "Run it again: files that are as they were are not read again."),
            Slice::NotEnded => ("has not ended", "Run it again; it goes on from where it was."),
            Slice::OfOtherSettings => (
                "had other settings, or the tables of the index have changed",
                "Give the same options as to the slices: --path-map, --timezone, --received-from, --duplicates, ...",
            ),
        };
        return Err(Error::usage(format!("--finish {directory}: this slice {what}"), advice));
    }
    Ok(slices)
}

fn unite(run: &Run<'_>, journals: &[Journal], writer: &mut Writer) -> Result<()> {
    for journal in journals {
        if is_lost(run, journal, writer)? {
            return Err(Error::unfinished(
                format!("the index has nothing of what the slice of {} wrote last", journal.directory.display()),
                "Was the database restored? Run all slices again, with the same --state: files are not read again.",
            ));
        }
        journal.replay(|batch| own(run, batch, writer))?;
    }
    let mut again = Vec::new();
    for journal in journals {
        journal.replay(|batch| contribute(run, journal, batch, writer, &mut again))?;
        journal.noted(|record| count_noted(run, record))?;
    }
    write_again(run, writer, again)?;
    gather::gather(run, writer)?;
    journals.iter().try_for_each(|journal| journal.replay(|batch| list_duplicates(run, journal, &batch, writer)))
}

/// The database was restored since, or is another one.
fn is_lost(run: &Run<'_>, journal: &Journal, writer: &mut Writer) -> Result<bool> {
    for batch in journal.last_committed() {
        let Some(files) = resume::files_of(run, &batch) else { continue };
        if !replay::has_image_of(writer, &files).or_else(|failure| run.index_failed(failure))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn own(run: &Run<'_>, batch: Batch, writer: &mut Writer) -> Result<()> {
    let Some((entries, attempt)) = resume::entries_of(run, batch, Noted::Nothing) else { return Ok(()) };
    replay::own(writer, &entries, attempt).or_else(|failure| run.index_failed(failure))
}

/// What was read of a file later takes the place of what was read before.
fn contribute(
    run: &Run<'_>,
    journal: &Journal,
    batch: Batch,
    writer: &mut Writer,
    again: &mut Vec<Entry>,
) -> Result<()> {
    if run.plan.stop.is_set() {
        return Ok(());
    }
    let is_last = journal.are_last(&batch);
    let mut records: Vec<Vec<u8>> = batch.records.iter().map(Record::encode).collect();
    let Some((entries, mut attempt)) = resume::entries_of(run, batch, Noted::Counts) else { return Ok(()) };
    let superseded = attempt.outcomes.iter_mut().zip(&is_last).filter(|(_, is_last)| !**is_last);
    superseded.for_each(|(outcome, _)| *outcome = Outcome::Refused(Refusal::default()));
    let contributed = replay::contribute(writer, &entries, &attempt);
    let (written, mut undecided) = contributed.or_else(|failure| run.index_failed(failure))?;
    write::tell(run, &entries, &written);
    run.account.found(is_last.iter().filter(|is_last| **is_last).count());
    for (outcome, _) in attempt.outcomes.iter().zip(&is_last).filter(|(_, is_last)| **is_last) {
        match outcome {
            Outcome::Refused(_) => run.account.rejected("refused-by-index"),
            Outcome::Inserted => run.account.add(Fate::Inserted, 1),
            Outcome::Updated { .. } | Outcome::PathMapped { .. } => run.account.add(Fate::Updated, 1),
            Outcome::Unchanged => run.account.add(Fate::Unchanged, 1),
            Outcome::Duplicate { .. } => run.account.add(Fate::Duplicate, 1),
        }
    }
    undecided.reverse();
    for (n, mut entry) in entries.into_iter().enumerate() {
        if undecided.pop_if(|next| *next == n).is_some() {
            // The catalogue records what is written.
            entry.record.bytes = std::mem::take(&mut records[n]);
            again.push(entry);
        }
    }
    if again.len() >= PORTION { write_again(run, writer, std::mem::take(again)) } else { Ok(()) }
}

fn write_again(run: &Run<'_>, writer: &mut Writer, entries: Vec<Entry>) -> Result<()> {
    if !entries.is_empty() {
        let mut written = write_batch(writer, &entries).or_else(|failure| run.index_failed(failure))?;
        written.iter_mut().for_each(Written::is_duplicate_later);
        write::tell(run, &entries, &written);
    }
    Ok(())
}

/// What a file lost to is of no account, nor when it did: a command that was killed may have led rows to other files.
fn list_duplicates(run: &Run<'_>, journal: &Journal, batch: &Batch, writer: &mut Writer) -> Result<()> {
    if run.plan.stop.is_set() {
        return Ok(());
    }
    let Some(files) = resume::files_of(run, batch) else { return Ok(()) };
    let named: Vec<(&str, &str)> = files.iter().map(|(uid, path)| (*uid, path.as_str())).collect();
    let passed_over = replay::passed_over(writer, &named).or_else(|failure| run.index_failed(failure))?;
    if passed_over.is_empty() {
        return Ok(());
    }
    let is_last = journal.are_last(batch);
    let is_refused = |n: usize| matches!(batch.attempt.outcomes[n], Outcome::Refused(_));
    for n in passed_over.into_iter().filter(|n| is_last[*n] && !is_refused(*n)) {
        let (uid, path) = (files[n].0, Path::new(&batch.records[n].path));
        // One that was moved since is found where it lies now.
        if path.symlink_metadata().is_ok() {
            write::list_duplicate(run, path, uid);
        }
    }
    Ok(())
}

/// The slices have listed them.
fn count_noted(run: &Run<'_>, record: Record) -> Result<(), Error> {
    run.account.found(1);
    match record.reading {
        Reading::Skipped(rule) => run.account.skipped(rule),
        Reading::Rejected { code, .. } => run.account.rejected(crate::dicom::rejection::code_named(&code)),
        Reading::Instance(_) => run.account.add(Fate::Unchanged, 1),
    }
    run.account.bytes.fetch_add(record.state.size, Relaxed);
    Ok(())
}
