//! Retries work on a new connection while the database is unreachable.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::writer::Writer;
use crate::dicom::Table;
use crate::index::patience::{Patience, Tried};
use crate::index::{Failure, LEVELS, Look, Show, View};
use crate::progress::text;

pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);

pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Poll interval for interrupts: a signal cannot wake a waiting writer.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// The maximum number of lookups for transactions that seem to be missing, one per [`TICK`].
pub(super) const LOOKS: u32 = 20;

pub(super) const OTHER: &str = "the database that answers now lacks rows that this run had committed: it is another one, or has lost \
                     them";

impl Writer {
    /// Does work that can be repeated. Reconnects and repeats the work whenever the connection to
    /// the database is lost.
    pub(super) fn patiently<T>(&mut self, mut work: impl FnMut(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut done = work(self);
        let Patience { limit, outages, .. } = self.policy.patience.clone();
        let lost = Instant::now();
        let mut tries = 0;
        while let Err(Failure::Unreachable(why) | Failure::RolledBack(why)) = &done {
            // The first retry is immediate: a single connection that was closed is not an outage.
            match tries {
                0 => {}
                1 => outages.begins(why),
                _ => outages.lasts(why),
            }
            if lost.elapsed() >= limit {
                let lost = Failure::Lost(format!("{why}; waited for it for {}", text::duration(limit)));
                done = Err(if limit.is_zero() { Failure::Lost(why.clone()) } else { lost });
            } else if tries > 0 && !self.pause(tries, limit.saturating_sub(lost.elapsed())) {
                done = Err(Failure::Interrupted);
            } else {
                done = self.reconnect().and_then(|()| work(self));
            }
            tries += 1;
        }
        if tries > 1 {
            outages.ends(done.is_ok());
        }
        done
    }

    /// Waits before the next attempt, with a random component so that writers do not reconnect
    /// simultaneously. Returns `false` if the run is interrupted.
    fn pause(&self, tries: u32, at_most: Duration) -> bool {
        let mut hasher = DefaultHasher::new();
        (std::process::id(), std::thread::current().id(), tries).hash(&mut hasher);
        let pause = FIRST_PAUSE.saturating_mul(1 << tries.min(16)).min(LONGEST_PAUSE);
        let pause = pause.mul_f64(0.75 + (hasher.finish() % 256) as f64 / 1024.0).min(at_most);
        let begun = Instant::now();
        while begun.elapsed() < pause {
            if self.policy.patience.outages.is_interrupted() {
                return false;
            }
            sleep(TICK.min(pause.saturating_sub(begun.elapsed())));
        }
        true
    }

    /// Reconnects to the index that this run has written. Checks that the tables exist and accept
    /// rows, and that at least one image of the last transaction of each writer exists. A server
    /// that was restored, or promoted without one of these transactions, has none of its images.
    /// One image is enough, because a PACS may purge single images.
    fn reconnect(&mut self) -> Result<(), Failure> {
        let connected = self.index.reconnect(self.policy.patience.allow_replica);
        let checked = connected.and_then(|()| {
            LEVELS.into_iter().try_for_each(|level| self.index.probe(level))?;
            if self.lacks_a_transaction()? {
                return Err(Failure::Lost(OTHER.into()));
            }
            self.reconnections += 1;
            Ok(())
        });
        checked.map_err(|failure| match failure {
            Failure::Busy(why) => Failure::Unreachable(why),
            failure => failure,
        })
    }

    /// Returns whether the index has no image of the last transaction of some writer. Retries,
    /// because another node of a cluster may lag slightly behind the node that has committed.
    fn lacks_a_transaction(&mut self) -> Result<bool, Failure> {
        for look in 0..LOOKS {
            if look > 0 {
                sleep(TICK);
            }
            if self.has_all_witnesses()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn has_all_witnesses(&mut self) -> Result<bool, Failure> {
        for images in self.known.witnesses() {
            let keys: Vec<&str> = images.iter().map(|(_, key)| &**key).collect();
            if self.index.find(Table::Image, &keys, Look { view: View::Begun, show: Show::Nothing })?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether the rows of a transaction show that its commit succeeded although the reply
    /// was lost. Reads the latest committed state, so that the lookup waits for a transaction that
    /// the server has not rolled back yet.
    pub(super) fn was_committed(&mut self, tried: &[Tried]) -> Result<bool, Failure> {
        match self.are_there(tried, View::Now) {
            Err(Failure::Busy(why)) => Err(Failure::Unreachable(why)),
            are_there => Ok(!tried.is_empty() && are_there?),
        }
    }

    fn are_there(&mut self, rows: &[Tried], view: View) -> Result<bool, Failure> {
        for part in rows.chunk_by(|a, b| a.0 == b.0) {
            let keys: Vec<&str> = part.iter().map(|(_, key)| &**key).collect();
            let found = self.index.find(part[0].0, &keys, Look { view, show: Show::Nothing })?;
            if keys.iter().any(|key| !found.iter().any(|row| row.key == *key)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
