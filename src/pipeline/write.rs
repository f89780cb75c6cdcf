//! The write stage: collects entries into batches, writes batches to the index, and counts the
//! outcomes.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::Run;
use super::key_order::{Contributor, PutBy, When, is_random};
use crate::dicom::Level;
use crate::error::{Error, Result};
use crate::full_disk;
use crate::index::outcome::{Outcome, Written};
use crate::index::{Entry, Failure};
use crate::merge::write_batch::write_batch;
use crate::merge::writer::Writer;
use crate::report::account::Fate;

/// Rows per batch: whole statements of the largest size, so that a batch has no remainder of small
/// ones.
const BATCH: usize = 500;

/// Maximum age of a batch: a slow archive becomes searchable while it is read, and an interruption
/// loses little.
const AGE: Duration = Duration::from_secs(1);

/// Number of entries with random UIDs between two queries of whether the table is larger than the
/// memory of the server.
const ASKED_EVERY: usize = 10_000;

/// The work of one writer.
struct Hand<'a> {
    batch: Vec<Entry>,
    put_by: &'a PutBy,
    contributor: Contributor<'a>,
    has_outgrown: bool,
    until_asked: usize,
}

impl Hand<'_> {
    /// Returns whether the table is larger than the memory of the server. The server is queried
    /// only once per [`ASKED_EVERY`] entries.
    fn has_outgrown(&mut self, entries: usize, writer: &mut Writer) -> Result<bool, Failure> {
        if !self.has_outgrown && self.until_asked == 0 {
            self.has_outgrown = writer.outgrows_memory()?;
            self.until_asked = ASKED_EVERY;
        }
        self.until_asked = self.until_asked.saturating_sub(entries);
        Ok(self.has_outgrown)
    }
}

/// Writes until no more entries can come. Returns the writer for the closing step.
pub(super) fn write(
    run: &Run<'_>,
    mut writer: Writer,
    entries: &Receiver<Vec<Entry>>,
    put_by: &PutBy,
) -> (Writer, Result<()>) {
    let batch = Vec::with_capacity(BATCH);
    let contributor = put_by.contributor();
    let mut hand = Hand { batch, put_by, contributor, has_outgrown: false, until_asked: 0 };
    let result = write_all(run, &mut writer, &mut hand, entries);
    if !hand.batch.is_empty() || result.is_err() {
        give_up(run, hand.batch.len(), entries);
    }
    (writer, result)
}

/// Writes all entries. Entries that are left in `hand` were not written.
fn write_all(run: &Run<'_>, writer: &mut Writer, hand: &mut Hand<'_>, entries: &Receiver<Vec<Entry>>) -> Result<()> {
    let mut due = Instant::now() + AGE;
    let mut ended = false;
    loop {
        let taken = take_in_order(run, hand)?;
        if !receive(run, entries, (!taken).then_some(due), hand, writer)? && !ended {
            ended = true;
            hand.contributor.end();
            continue;
        }
        let size = run.plan.portion.unwrap_or(BATCH);
        let late = taken || ended || run.plan.portion.is_none() && Instant::now() >= due;
        while hand.batch.len() >= size || (late && !hand.batch.is_empty()) {
            if !run.gate.pass(run.plan.sources.stop) {
                return Ok(());
            }
            let portion = hand.batch.len().min(size);
            if let Err(failure) = flush(run, writer, &hand.batch[..portion]) {
                return run.index_failed(failure);
            }
            hand.batch.drain(..portion);
            due = Instant::now() + AGE;
        }
        if ended && !taken {
            return Ok(());
        }
        if hand.batch.is_empty() {
            due = Instant::now() + AGE;
        }
    }
}

/// Waits for entries, or, if entries from the key-order buffer are being written, takes those that
/// are available. Returns whether more may come.
fn receive(
    run: &Run<'_>,
    entries: &Receiver<Vec<Entry>>,
    until: Option<Instant>,
    hand: &mut Hand<'_>,
    writer: &mut Writer,
) -> Result<bool> {
    if let Some(due) = until {
        return match entries.recv_deadline(due) {
            Ok(part) => hold(run, part, hand, writer).map(|()| true),
            Err(error) => Ok(error == RecvTimeoutError::Timeout),
        };
    }
    let mut received = 0;
    while received < BATCH && !hand.put_by.is_full() {
        match entries.try_recv() {
            Ok(part) => {
                received += part.len();
                hold(run, part, hand, writer)?;
            }
            Err(error) => return Ok(error == TryRecvError::Empty),
        }
    }
    Ok(true)
}

/// Takes a batch of buffered entries in key order once they are due. There may be many, so an
/// interruption does not wait for them.
fn take_in_order(run: &Run<'_>, hand: &mut Hand<'_>) -> Result<bool> {
    if run.plan.sources.stop.is_set() {
        return Ok(false);
    }
    let mut taken = hand.put_by.take(BATCH, run.plan.tables.charset_term()).map_err(|error| not_kept(run, error))?;
    if taken.is_empty() {
        return Ok(false);
    }
    run.intake.watch.are_put_by(hand.put_by.entries());
    hand.batch.append(&mut taken);
    Ok(true)
}

/// Buffers the entries that are better written in key order, and adds the others to the batch.
fn hold(run: &Run<'_>, part: Vec<Entry>, hand: &mut Hand<'_>, writer: &mut Writer) -> Result<()> {
    let when = run.plan.insert_order;
    let (candidates, others) = match when {
        When::Always => (part, Vec::new()),
        When::Outgrown => part.into_iter().partition(|entry| is_random(entry.key(Level::Instance))),
        When::Never => (Vec::new(), part),
    };
    hand.batch.extend(others);
    if candidates.is_empty() {
        return Ok(());
    }
    let puts_by = if when == When::Always { Ok(true) } else { hand.has_outgrown(candidates.len(), writer) };
    if let Ok(true) = puts_by {
        hand.put_by.put(&candidates);
        run.intake.watch.are_put_by(hand.put_by.entries());
    } else {
        hand.batch.extend(candidates);
    }
    puts_by.map(|_| ()).or_else(|failure| run.index_failed(failure))
}

fn flush(run: &Run<'_>, writer: &mut Writer, batch: &[Entry]) -> Result<(), Failure> {
    let written = write_batch(writer, batch)?;
    tell(run, batch, &written);
    for written in written {
        match written.outcome {
            Outcome::Inserted => run.intake.account.add(Fate::Inserted, 1),
            Outcome::Unchanged => run.intake.account.add(Fate::Unchanged, 1),
            Outcome::Updated { .. } | Outcome::Repointed { .. } | Outcome::PathMapped { .. } => {
                run.intake.account.add(Fate::Updated, 1)
            }
            Outcome::Duplicate { .. } => run.intake.account.add(Fate::Duplicate, 1),
            Outcome::Refused(refusal) => run.intake.account.rejected(refusal.code),
        }
    }
    Ok(())
}

/// Lists the findings of a batch that is committed.
pub(super) fn tell(run: &Run<'_>, batch: &[Entry], written: &[Written]) {
    if let Some(led) = &run.led {
        led.note(batch, written);
    }
    let (account, listing) = (&run.intake.account, run.plan.sources.listing);
    for (entry, written) in batch.iter().zip(written) {
        let path = &entry.file.path;
        if written.link_differs {
            listing.add("conflict", path, "link-differs", "image.seriesuid differs from the file; it stays");
            account.conflicts.fetch_add(1, Relaxed);
        }
        if written.outcome.is_indexed() {
            account.value_notes.list(listing, path, &entry.instance);
        }
        match &written.outcome {
            // A rejection without a code is not listed: the file of a continued run is read again.
            Outcome::Refused(refusal) if !refusal.code.is_empty() => {
                listing.add("rejected", path, refusal.code, &refusal.detail);
            }
            Outcome::Updated { corrected: Some(former) } | Outcome::Repointed { former } => {
                let detail = format!("the index named {former}, which is not there or another instance");
                listing.add("note", path, "path-corrected", &detail);
            }
            Outcome::PathMapped { former } => {
                let detail = format!("the index named {former}, a path that the PACS does not know");
                listing.add("note", path, "path-corrected", &detail);
            }
            Outcome::Duplicate { loser } => {
                let loser = loser.as_ref().and_then(|loser| run.plan.path_map.from_index(loser));
                list_duplicate(run, loser.as_deref().unwrap_or(path), entry.instance.sop_instance_uid());
            }
            _ => {}
        }
    }
}

pub(super) fn list_duplicate(run: &Run<'_>, path: &Path, sop_instance_uid: &str) {
    let detail = format!("another file of instance {sop_instance_uid}");
    run.plan.sources.listing.add("duplicate", path, "same-instance", &detail);
}

/// Ends the other stages, because the index cannot be written, or not for now. Entries that the
/// other stages still send count as not reached.
fn give_up(run: &Run<'_>, unwritten: usize, entries: &Receiver<Vec<Entry>>) {
    run.plan.sources.stop.set();
    run.intake.account.add(Fate::NotReached, unwritten);
    for part in entries {
        run.intake.account.add(Fate::NotReached, part.len());
    }
}

pub(super) fn not_kept(run: &Run<'_>, error: std::io::Error) -> Error {
    let error = full_disk::named(run.plan.sources.listing.directory(), error);
    Error::unfinished(
        format!("entries could not be buffered on disk: {error}"),
        "See to the directory of the list of rejected files (--rejected), and run the same command again.",
    )
}
