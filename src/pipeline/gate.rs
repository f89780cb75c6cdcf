//! The gate that writers pass before each batch. The gate is closed while a replica lags.
//!
//! A pause lasts from the moment the first writer waits until the gate opens. A replica that lags
//! while there is nothing to write delays no writer and is not reported.

use std::mem::{discriminant, take};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Stop;
use crate::index::replica::Lag;
use crate::progress::{Notice, text};

/// Poll interval: a signal cannot wake a waiting writer.
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct Gate {
    limit: Duration,
    /// The only cost of an open gate.
    closed: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    replicas: Vec<(String, Lag)>,
    /// When the first writer of this pause began to wait.
    since: Option<Instant>,
    waited: Duration,
    notices: Vec<Notice>,
    ended: bool,
}

impl Gate {
    /// Creates a gate for replicas with these names and lags.
    pub fn new(replicas: Vec<(String, Lag)>, limit: Duration) -> Self {
        let state = State { replicas, ..State::default() };
        let closed = AtomicBool::new(state.why(limit).is_some());
        Gate { limit, closed, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits while a replica lags. Returns `false` if the run was interrupted before the gate
    /// opened.
    pub fn pass(&self, stop: &Stop) -> bool {
        !self.closed.load(Ordering::Relaxed) || self.wait(stop)
    }

    fn wait(&self, stop: &Stop) -> bool {
        let mut state = self.lock();
        while let Some(why) = state.why(self.limit) {
            if stop.is_set() {
                state.end_pause();
                return false;
            }
            if state.since.is_none() {
                state.since = Some(Instant::now());
                state.notices.push(Notice::Waits { why });
            }
            state = self.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Records the current lag of a replica. Opens or closes the gate.
    pub fn report(&self, replica: usize, lag: Lag) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.replicas[replica].1, lag);
        let why = state.why(self.limit);
        self.closed.store(why.is_some(), Ordering::Relaxed);
        match why {
            None => {
                if let Some(waited) = state.end_pause() {
                    state.notices.push(Notice::GoesOn { waited });
                }
                self.changed.notify_all();
            }
            // The lag changes with each query; only a change of the kind of reason is worth a line.
            Some(why) if state.since.is_some() && discriminant(&before) != discriminant(&state.replicas[replica].1) => {
                state.notices.push(Notice::Waits { why });
            }
            Some(_) => {}
        }
    }

    /// Takes the notices since the last call.
    pub fn notices(&self) -> Vec<Notice> {
        take(&mut self.lock().notices)
    }

    /// Sleeps between two queries of a replica. Returns `false` if the run has ended.
    pub fn rest(&self, time: Duration) -> bool {
        let woken = self.changed.wait_timeout_while(self.lock(), time, |state| !state.ended);
        !woken.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Ends the gate: no more writes follow.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Returns how long writing waited, in all pauses together.
    pub fn waited(&self) -> Duration {
        self.lock().waited
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns why the gate is closed, or `None` if it is open.
    fn why(&self, limit: Duration) -> Option<String> {
        let reason = |(name, lag): &(String, Lag)| match lag {
            Lag::Behind(behind) if *behind <= limit => None,
            Lag::Behind(_) => Some(format!("the replica {name} {lag} (limit {})", text::duration(limit))),
            Lag::Stopped | Lag::Lost(_) => Some(format!("the replica {name} {lag}")),
        };
        let reasons: Vec<String> = self.replicas.iter().filter_map(reason).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    fn end_pause(&mut self) -> Option<Duration> {
        let waited = self.since.take()?.elapsed();
        self.waited += waited;
        Some(waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const LIMIT: Duration = Duration::from_secs(10);

    fn behind(seconds: u64) -> Lag {
        Lag::Behind(Duration::from_secs(seconds))
    }

    fn gate(lag: Lag) -> Gate {
        Gate::new(vec![("db2:3306".into(), lag)], LIMIT)
    }

    fn told(gate: &Gate) -> Vec<String> {
        gate.notices().iter().map(Notice::to_string).collect()
    }

    #[test]
    fn a_replica_within_the_limit_holds_nobody_up() {
        let gate = gate(behind(10));
        assert!(gate.pass(&Stop::default()));
        assert_eq!((told(&gate), gate.waited()), (vec![], Duration::ZERO));
        assert!(Gate::new(Vec::new(), LIMIT).pass(&Stop::default()));
    }

    #[test]
    fn a_lag_while_nobody_writes_is_no_pause() {
        let gate = gate(behind(34));
        gate.report(0, behind(0));
        assert_eq!((told(&gate), gate.waited()), (vec![], Duration::ZERO));
    }

    #[test]
    fn a_writer_waits_until_the_replica_has_caught_up() {
        let gate = gate(behind(34));
        thread::scope(|scope| {
            let writer = scope.spawn(|| gate.pass(&Stop::default()));
            while told(&gate) != ["writing waits: the replica db2:3306 is 34 s behind (limit 10 s)"] {}
            gate.report(0, behind(30));
            gate.report(0, Lag::Stopped);
            gate.report(0, Lag::Lost("it does not answer".into()));
            assert!(!writer.is_finished());
            gate.report(0, behind(1));
            assert!(writer.join().unwrap());
        });
        assert_eq!(
            told(&gate),
            [
                "writing waits: the replica db2:3306 does not replicate",
                "writing waits: the replica db2:3306 cannot be reached: it does not answer",
                "writing goes on after 0 s",
            ]
        );
        assert!(gate.waited() > Duration::ZERO);
    }

    #[test]
    fn an_interrupt_ends_a_pause() {
        let gate = gate(Lag::Stopped);
        let stop = Stop::default();
        thread::scope(|scope| {
            let writer = scope.spawn(|| gate.pass(&stop));
            while told(&gate).is_empty() {}
            stop.set();
            assert!(!writer.join().unwrap());
        });
        assert!(gate.waited() > Duration::ZERO);
    }
}
