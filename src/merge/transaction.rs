//! A short transaction of a writer. It is retried while the database is busy or unreachable, and
//! when an insert conflicts with a row of another program.

use std::time::Duration;

use super::writer::Writer;
use crate::dicom::Table;
use crate::index::Failure;
use crate::index::patience::{Redone, Tried};

/// The maximum number of attempts. The PACS may hold a lock for as long as its own statement takes;
/// the pauses add up to about half a minute.
const ATTEMPTS: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The maximum number of images that witness a transaction. A PACS may purge some of them.
const WITNESSES: usize = 16;

/// The maximum number of restarts of a transaction because an insert conflicts with a row. After
/// that, the transaction continues with the existing row.
const COLLISIONS: u32 = 3;

impl Writer {
    /// Runs one transaction, and retries it while the database is busy or unreachable.
    pub(super) fn in_transaction<T: Redone>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let refused = self.refused.len();
        // The result of an attempt whose commit is in doubt, and the rows that show whether it was
        // committed.
        let mut in_doubt: Option<(T, Vec<Tried>)> = None;
        let mut first: Option<T> = None;
        self.index.take_tried();
        self.left.clear();
        self.patiently(|writer| {
            let is_committed = in_doubt.as_ref().map(|(_, tried)| writer.was_committed(tried)).transpose()?;
            let (done, tried) = match (in_doubt.take(), is_committed) {
                (Some(committed), Some(true)) => committed,
                (former, _) => {
                    if let Some((done, tried)) = former {
                        writer.leave(tried);
                        first = Some(done.after(first.take()));
                    }
                    writer.transaction(refused, &mut work, &mut in_doubt)?
                }
            };
            let done = done.after(first.take());
            let images: Vec<Tried> = tried.into_iter().filter(|row| row.0 == Table::Image).collect();
            if !images.is_empty() {
                let witnesses = images.into_iter().rev().take(WITNESSES).collect();
                writer.known.set_witnesses(writer.number, witnesses);
            }
            Ok(done)
        })
    }

    fn transaction<T>(
        &mut self,
        refused: usize,
        work: &mut impl FnMut(&mut Self) -> Result<T, Failure>,
        in_doubt: &mut Option<(T, Vec<Tried>)>,
    ) -> Result<(T, Vec<Tried>), Failure> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        self.collisions = 0;
        loop {
            // Discards the state of a failed attempt.
            self.attempts = self.attempts.wrapping_add(1).max(1);
            self.refused.truncate(refused);
            self.pending.iter_mut().for_each(|pending| pending.lines.clear());
            let tried = self.index.take_tried();
            self.leave(tried);
            let done = self.index.begin().and_then(|()| work(self)).and_then(|done| {
                self.pending.as_ref().map_or(Ok(()), |pending| pending.undo.write(&pending.lines))?;
                Ok(done)
            });
            let failure = match done.map(|done| (done, self.index.commit())) {
                Ok((done, Ok(()))) => return Ok((done, self.index.take_tried())),
                Ok((done, Err(failure))) => {
                    if matches!(failure, Failure::Unreachable(_) | Failure::RolledBack(_)) {
                        *in_doubt = Some((done, self.index.take_tried()));
                    }
                    failure
                }
                Err(failure) => failure,
            };
            // A lost connection cannot roll back.
            if !matches!(failure, Failure::Unreachable(_)) {
                // If the database has already rolled back, this fails without consequences. The
                // first failure is the one that is reported.
                let _ = self.index.roll_back();
            }
            match failure {
                // Another program inserts into these tables, too. From now on, rows are looked up
                // first.
                Failure::Duplicate if self.begins_anew() => {
                    self.look_first = [true; 4];
                    self.collisions += 1;
                }
                Failure::Busy(_) if attempt < ATTEMPTS => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    attempt += 1;
                }
                failure => return Err(failure),
            }
        }
    }

    /// Remembers the rows that a failed attempt tried to insert. If the tables are not
    /// transactional, some of these rows exist, because nothing rolls them back.
    fn leave(&mut self, tried: Vec<Tried>) {
        if !self.index.tables().is_transactional {
            self.left.extend(tried);
        }
    }

    /// Returns whether an existing row was left behind by an attempt of the same transaction.
    pub(super) fn is_left(&self, table: Table, key: &str) -> bool {
        !self.left.is_empty() && self.left.contains(&(table, key.into()))
    }

    /// Returns whether the transaction restarts when an insert conflicts with an existing row. Such
    /// a row stays locked, and a write to it may end in a deadlock with a transaction that waits
    /// for it. The restarted transaction looks up rows first. A conflict that occurs even then is
    /// due to a unique key that the site has added.
    pub(super) fn begins_anew(&self) -> bool {
        self.collisions < COLLISIONS
    }
}
