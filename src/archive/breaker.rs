//! A circuit breaker for each mount. Some storage shows a file like any other and recalls its data
//! from tape when it is read; only the time that a read takes reveals this. If files that are
//! classified as online answer slowly again and again, the breaker opens, and the rest of the mount
//! is left unread.
//!
//! Until a mount has answered quickly for a while, only one file is read there at a time, so that
//! few files are recalled before the breaker opens. Reads that stall together count once: a server
//! that pauses is not a tape.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::mount::Mount;

/// The number of quick reads after which all threads may read from a mount at once.
const PROBATION: u32 = 32;

/// The period in which slow reads are counted together.
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The duration from which a read is slow. Zero disables the breaker.
    pub slow: Duration,
    /// The number of slow reads within a minute that open the breaker. Reads that stall together
    /// count once.
    pub strikes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { slow: Duration::from_secs(2), strikes: 3 }
    }
}

pub struct Breaker {
    limits: Limits,
    is_open: AtomicBool,
    quick: AtomicU32,
    state: Mutex<State>,
    turned: Condvar,
}

#[derive(Default)]
struct State {
    /// The time at which the single permitted read began, while only one read is permitted and in
    /// progress.
    alone_since: Option<Instant>,
    /// The times at which slow reads were counted.
    strikes: Vec<Instant>,
}

/// A permitted read of one file, from its opening until its first bytes have arrived.
pub struct Turn {
    mount: Arc<Mount>,
    begun: Instant,
    alone: bool,
}

impl Breaker {
    pub fn new(limits: Limits) -> Self {
        let (is_open, quick) = (AtomicBool::new(false), AtomicU32::new(0));
        Breaker { limits, is_open, quick, state: Mutex::default(), turned: Condvar::new() }
    }

    /// Whether the breaker is open, so that no more files are read from the mount.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Relaxed)
    }

    fn is_off(&self) -> bool {
        self.limits.slow.is_zero()
    }

    fn on_probation(&self) -> bool {
        self.quick.load(Relaxed) < PROBATION
    }

    /// Waits until the caller may read. Returns whether its read is the only one, or `None` if the
    /// breaker is open.
    fn wait_for_turn(&self) -> Option<bool> {
        if self.is_off() || !self.on_probation() {
            return (!self.is_open()).then_some(false);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.is_open() {
                return None;
            }
            let Some(since) = state.alone_since else {
                let alone = self.on_probation();
                state.alone_since = alone.then(Instant::now);
                return Some(alone);
            };
            let Some(left) = self.limits.slow.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) else {
                // The current read is already slow and may never return, so the next caller gets
                // its turn.
                state.alone_since = None;
                self.strike(&mut state);
                continue;
            };
            state = self.turned.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn strike(&self, state: &mut State) {
        state.strikes.retain(|strike| strike.elapsed() < WINDOW);
        state.strikes.push(Instant::now());
        if state.strikes.len() >= self.limits.strikes {
            self.is_open.store(true, Relaxed);
            self.turned.notify_all();
        }
    }

    fn ended(&self, begun: Instant, alone: bool) {
        if self.is_off() {
            return;
        }
        let is_slow = begun.elapsed() >= self.limits.slow;
        if !is_slow && !alone {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // If this read was slow, another read may hold the turn.
        if alone && state.alone_since.is_some_and(|since| since <= begun) {
            state.alone_since = None;
        }
        match is_slow {
            false => {
                self.quick.fetch_add(1, Relaxed);
            }
            // A slow read that began before the last strike stalled together with it, and does not
            // count.
            true if state.strikes.last().is_none_or(|last| begun >= *last) => self.strike(&mut state),
            true => {}
        }
        self.turned.notify_all();
    }
}

impl Turn {
    /// Waits until the caller may read from the mount. Returns `None` if the breaker is open.
    pub fn on(mount: &Arc<Mount>) -> Option<Self> {
        let alone = mount.breaker.wait_for_turn()?;
        Some(Turn { mount: mount.clone(), begun: Instant::now(), alone })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.mount.breaker.ended(self.begun, self.alone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::mount::OfSystem;
    use std::thread;

    const SLOW: Duration = Duration::from_millis(40);

    fn mount() -> Arc<Mount> {
        let limits = Limits { slow: SLOW, strikes: 3 };
        Arc::new(Mount::new("/".into(), "ext4", Arc::new(OfSystem), limits))
    }

    fn read(mount: &Arc<Mount>, takes: Duration) -> bool {
        let turn = Turn::on(mount);
        thread::sleep(if turn.is_some() { takes } else { Duration::ZERO });
        turn.is_some()
    }

    #[test]
    fn a_new_mount_that_is_slow_is_given_up_after_three_files_however_many_want_to_read() {
        let mount = mount();
        let read_by = |_| (0..20).filter(|_| read(&mount, SLOW)).count();
        let read: usize = thread::scope(|scope| {
            let readers: Vec<_> = (0..16).map(|n| scope.spawn(move || read_by(n))).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).sum()
        });
        assert_eq!(read, 3);
    }

    #[test]
    fn reads_that_stall_together_count_once() {
        let mount = mount();
        (0..PROBATION).for_each(|_| assert!(read(&mount, Duration::ZERO)));
        let stall = || {
            let together = std::sync::Barrier::new(16);
            let one = || {
                let turn = Turn::on(&mount);
                together.wait();
                thread::sleep(SLOW);
                drop(turn);
            };
            thread::scope(|scope| (0..16).for_each(|_| drop(scope.spawn(one))));
        };
        stall();
        stall();
        assert!(!mount.breaker.is_open() && read(&mount, Duration::ZERO));
        stall();
        assert!(mount.breaker.is_open() && !read(&mount, Duration::ZERO));
    }

    #[test]
    fn files_that_never_answer_are_slow_ones() {
        let mount = mount();
        let stuck: Vec<_> = (0..3).map(|_| Turn::on(&mount)).collect();
        assert!(stuck.iter().all(Option::is_some), "each had its turn when the one before was known to be slow");
        assert!(Turn::on(&mount).is_none());
    }
}
