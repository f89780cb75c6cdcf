//! The queue of directories that a walk has not listed yet: newest first, and bounded in size.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use jiff::civil::Date;

use super::layout;

/// A directory that has not been listed yet.
#[derive(PartialEq, Eq)]
pub struct Directory {
    pub path: PathBuf,
    pub root: Arc<Path>,
    pub rank: Rank,
    sequence: u64,
}

/// The priority of a directory: roots first, since their contents are unknown; then directories
/// with a day, the newest first; then directories without a day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Undated,
    Dated(Date),
    Root,
}

impl Ord for Directory {
    /// Orders directories of equal rank by the time they were found, the latest first, so that a
    /// tree is finished before the next one is begun.
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank).then(self.sequence.cmp(&other.sequence))
    }
}

impl PartialOrd for Directory {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The queue, with the number of directories that are being listed.
pub struct Pending {
    state: Mutex<State>,
    changed: Condvar,
    /// The number of directories that the queue can still accept.
    free: AtomicUsize,
}

struct State {
    waiting: BinaryHeap<Directory>,
    being_listed: usize,
    sequence: u64,
    stopped: bool,
}

impl Pending {
    pub fn new(roots: &[PathBuf], limit: usize) -> Self {
        let root = |(n, path): (usize, &PathBuf)| Directory {
            path: path.clone(),
            root: path.as_path().into(),
            rank: Rank::Root,
            sequence: u64::MAX - n as u64,
        };
        let waiting = roots.iter().enumerate().map(root).collect();
        Pending {
            state: Mutex::new(State { waiting, being_listed: 0, sequence: 0, stopped: false }),
            changed: Condvar::new(),
            free: AtomicUsize::new(limit),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the next directory to list, and waits for one if necessary. Returns `None` if the
    /// queue is empty and no directory is being listed, or if the walk has been stopped.
    pub fn next(&self) -> Option<Directory> {
        let mut state = self.lock();
        loop {
            if state.stopped || (state.waiting.is_empty() && state.being_listed == 0) {
                self.changed.notify_all();
                return None;
            }
            if let Some(directory) = state.waiting.pop() {
                state.being_listed += 1;
                if directory.rank != Rank::Root {
                    self.free.fetch_add(1, Relaxed);
                }
                return Some(directory);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub fn reserve(&self) -> bool {
        self.free.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(1)).is_ok()
    }

    pub fn put_aside(&self, root: &Arc<Path>, directories: Vec<PathBuf>) {
        if directories.is_empty() {
            return;
        }
        let mut state = self.lock();
        for path in directories {
            let rank = layout::newest_day(root, &path).map_or(Rank::Undated, Rank::Dated);
            state.sequence += 1;
            let sequence = state.sequence;
            state.waiting.push(Directory { path, root: Arc::clone(root), rank, sequence });
        }
        self.changed.notify_all();
    }

    pub fn listed(&self, stop: bool) {
        let mut state = self.lock();
        state.being_listed -= 1;
        state.stopped |= stop;
        if state.stopped || state.being_listed == 0 {
            self.changed.notify_all();
        }
    }
}
