//! The write stage: entries into batches, batches into the index, outcomes into the account.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{Run, index_failed};
use crate::error::Result;
use crate::index::Entry;
use crate::index::batch::{Outcome, Writer};
use crate::report::account::Fate;

/// One statement of the largest size, so that a batch costs one round trip for its images.
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
            if let Err(error) = self.flush(&mut writer, &batch) {
                self.give_up(batch.len() + rest.len(), entries);
                return (writer, Err(error));
            }
            batch = rest;
            due = Instant::now() + AGE;
        }
        (writer, Ok(()))
    }

    fn flush(&self, writer: &mut Writer, batch: &[Entry]) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let outcomes = writer.write(batch).map_err(index_failed)?;
        let (account, listing) = (&self.account, self.plan.listing);
        for (entry, outcome) in batch.iter().zip(outcomes) {
            let path = &entry.file;
            match outcome {
                Outcome::Inserted => account.add(Fate::Inserted, 1),
                Outcome::Unchanged => account.add(Fate::Unchanged, 1),
                Outcome::Duplicate { indexed } => {
                    account.add(Fate::Duplicate, 1);
                    listing.add("duplicate", path, "same-instance", &format!("the index holds {indexed}"));
                }
                Outcome::Refused(refusal) => {
                    account.rejected(refusal.code);
                    listing.add("rejected", path, refusal.code, &refusal.detail);
                }
            }
        }
        Ok(())
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
