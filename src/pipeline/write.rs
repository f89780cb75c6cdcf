//! The write stage: entries into batches, batches into the index, outcomes into the account.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::Run;
use crate::error::Result;
use crate::index::batch::Writer;
use crate::index::outcome::{Outcome, Written};
use crate::index::{Entry, Failure};
use crate::report::account::Fate;

/// Whole statements of the largest size, so that a batch has no tail of small ones.
const BATCH: usize = 500;

/// A batch is not held back for longer: a slow archive is searchable as it is read, and an interruption loses little.
const AGE: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// Writes until no entry can come. The writer comes back for the closing step.
    pub(super) fn write(&self, mut writer: Writer, entries: &Receiver<Vec<Entry>>) -> (Writer, Result<()>) {
        let mut batch: Vec<Entry> = Vec::with_capacity(BATCH);
        let mut due = Instant::now() + AGE;
        let mut open = true;
        while open || !batch.is_empty() {
            match entries.recv_deadline(due) {
                Ok(mut part) => batch.append(&mut part),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
            let late = !open || Instant::now() >= due;
            if batch.len() < BATCH && !late {
                continue;
            }
            let rest = batch.split_off(batch.len().min(BATCH));
            if !batch.is_empty() && !self.gate.pass(self.plan.stop) {
                self.give_up(batch.len() + rest.len(), entries);
                return (writer, Ok(()));
            }
            if let Err(failure) = self.flush(&mut writer, &batch) {
                let result = self.index_failed(failure);
                self.give_up(batch.len() + rest.len(), entries);
                return (writer, result);
            }
            batch = rest;
            due = Instant::now() + AGE;
        }
        (writer, Ok(()))
    }

    fn flush(&self, writer: &mut Writer, batch: &[Entry]) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        let written = writer.write(batch)?;
        self.tell(batch, &written);
        for written in written {
            match written.outcome {
                Outcome::Inserted => self.account.add(Fate::Inserted, 1),
                Outcome::Unchanged => self.account.add(Fate::Unchanged, 1),
                Outcome::Updated { .. } => self.account.add(Fate::Updated, 1),
                Outcome::Duplicate { .. } => self.account.add(Fate::Duplicate, 1),
                Outcome::Refused(refusal) => self.account.rejected(refusal.code),
            }
        }
        Ok(())
    }

    /// Lists what there is to tell of a batch that is committed.
    pub(super) fn tell(&self, batch: &[Entry], written: &[Written]) {
        if let Some(led) = &self.led {
            led.note(batch, written);
        }
        // Files of other slices are not known here: what conflicts is told when all are.
        let in_slice = self.plan.slice.is_some();
        let (account, listing) = (&self.account, self.plan.listing);
        for (entry, written) in batch.iter().zip(written) {
            let path = &entry.file.path;
            if written.link_differs && !in_slice {
                listing.add("conflict", path, "link-differs", "image.seriesuid is not what the file says; it stays");
                account.conflicts.fetch_add(1, Relaxed);
            }
            match &written.outcome {
                // One of a run that is continued is tried again.
                Outcome::Refused(refusal) if !refusal.code.is_empty() => {
                    listing.add("rejected", path, refusal.code, &refusal.detail);
                }
                _ if in_slice => {}
                Outcome::Updated { corrected: Some(former) } => {
                    let detail = format!("the index named {former}, which is not there or another instance");
                    listing.add("note", path, "path-corrected", &detail);
                }
                Outcome::Duplicate { loser } => {
                    let loser = loser.as_ref().and_then(|loser| self.plan.path_map.from_index(loser));
                    let detail = format!("another file of instance {}", entry.instance.sop_instance_uid());
                    listing.add("duplicate", loser.as_deref().unwrap_or(path), "same-instance", &detail);
                }
                _ => {}
            }
        }
    }

    /// The index cannot be written, or not for now: the other stages end, and what they still send was not reached.
    fn give_up(&self, unwritten: usize, entries: &Receiver<Vec<Entry>>) {
        self.plan.stop.set();
        self.account.add(Fate::NotReached, unwritten);
        for part in entries {
            self.account.add(Fate::NotReached, part.len());
        }
    }
}
