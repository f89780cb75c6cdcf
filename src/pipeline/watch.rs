//! The progress state of a run. One thread samples the counters ten times a second for the
//! observer.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Intake;
use crate::progress::{Notice, Observer, Phase, Readings, Sampler};
use crate::report::account::Fate;

const INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub struct Watch {
    directory: Mutex<PathBuf>,
    is_checking: AtomicBool,
    checked: AtomicU64,
    to_check: AtomicU64,
    checking_took: Mutex<Duration>,
    is_looking_again: AtomicBool,
    put_by: AtomicU64,
    recalled: AtomicU64,
    to_recall: AtomicU64,
    is_closing: AtomicBool,
    to_close: AtomicU64,
    closed: AtomicU64,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Watch {
    /// Records that a reader is in this directory. Does not block.
    pub fn at(&self, directory: &Path) {
        if let Ok(mut place) = self.directory.try_lock()
            && *place != directory
        {
            *place = directory.to_path_buf();
        }
    }

    /// Begins the phase that loads the rows of the index: about as many as there are known files.
    pub fn checking(&self, rows: u64) {
        self.is_checking.store(true, Relaxed);
        self.to_check.store(rows, Relaxed);
    }

    pub fn checked(&self, rows: usize) {
        self.checked.fetch_add(rows as u64, Relaxed);
    }

    /// Returns the number of index rows that were checked, and how long that took.
    pub fn was_checked(&self) -> (u64, Duration) {
        let took = *self.checking_took.lock().unwrap_or_else(PoisonError::into_inner);
        (self.checked.load(Relaxed), took)
    }

    pub fn checking_took(&self, time: Duration) {
        *self.checking_took.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    pub fn indexing(&self) {
        self.is_checking.store(false, Relaxed);
    }

    /// Sets the number of files that were read and are buffered, to be written in key order.
    pub fn are_put_by(&self, files: usize) {
        self.put_by.store(files as u64, Relaxed);
    }

    pub fn looking_again(&self) {
        self.is_looking_again.store(true, Relaxed);
    }

    /// Sets the number of stubs within the recall budget.
    pub fn recalling(&self, stubs: usize) {
        self.to_recall.store(stubs as u64, Relaxed);
    }

    pub fn recalled(&self) {
        self.recalled.fetch_add(1, Relaxed);
    }

    pub fn closing(&self, rows: u64) {
        self.is_closing.store(true, Relaxed);
        self.to_close.fetch_add(rows, Relaxed);
    }

    pub fn closed(&self, rows: u64) {
        self.closed.fetch_add(rows, Relaxed);
    }

    pub fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.notify_all();
    }

    /// Shows progress until the run ends.
    pub fn show(
        &self,
        intake: &Intake<'_>,
        notices: impl Fn() -> Vec<Notice>,
        started: Instant,
        observer: &mut dyn Observer,
    ) {
        let mut sampler = Sampler::default();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            observer.update(&sampler.sample(started.elapsed(), self.readings(intake)));
            report(notices(), started, observer);
            ended = self.end.wait_timeout(ended, INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        }
        report(notices(), started, observer);
        observer.finish(&sampler.sample(started.elapsed(), self.readings(intake)));
    }

    fn readings(&self, intake: &Intake<'_>) -> Readings {
        let (account, census) = (&intake.account, &intake.census);
        let counted = census.total().is_some();
        let listed = census.directories_listed.load(Relaxed);
        Readings {
            phase: match [&self.is_closing, &self.is_looking_again, &self.is_checking].map(|is| is.load(Relaxed)) {
                [true, ..] => Phase::Closing,
                [_, true, _] if self.to_recall.load(Relaxed) > 0 => Phase::Recalling,
                [_, true, _] => Phase::LookingAgain,
                [.., true] => Phase::Checking,
                _ => Phase::Indexing,
            },
            checked: self.checked.load(Relaxed),
            to_check: self.to_check.load(Relaxed),
            // Files that came after the count are still found.
            found: account.files_found().max(census.files.load(Relaxed)),
            found_is_total: counted || self.is_closing.load(Relaxed),
            directories_listed: listed,
            directories_waiting: census.directories_known.load(Relaxed).saturating_sub(listed),
            done: account.done(),
            put_by: self.put_by.load(Relaxed),
            bytes: account.bytes.load(Relaxed),
            stopping: intake.sources.stop.is_set(),
            rejected: account.count(Fate::Rejected),
            pending: account.count(Fate::Pending),
            recalled: self.recalled.load(Relaxed),
            to_recall: self.to_recall.load(Relaxed),
            directory: self.directory.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            closed: self.closed.load(Relaxed),
            to_close: self.to_close.load(Relaxed),
        }
    }
}

fn report(notices: Vec<Notice>, started: Instant, observer: &mut dyn Observer) {
    notices.iter().for_each(|notice| observer.tell(started.elapsed(), notice));
}
