//! Reports of a database outage: one when the first writer begins to wait, one a minute after that,
//! and one when all writers continue.

use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Stop;
use crate::index::patience::Outages;
use crate::progress::{Notice, text};

const REMINDER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Outage {
    limit: Duration,
    stop: Stop,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: u32,
    since: Option<Instant>,
    told: Option<Instant>,
    waited: Duration,
    notices: Vec<Notice>,
}

impl Outage {
    pub fn new(limit: Duration, stop: Stop) -> Self {
        Outage { limit, stop, state: Mutex::default() }
    }

    /// Takes the notices since the last call.
    pub fn notices(&self) -> Vec<Notice> {
        take(&mut self.lock().notices)
    }

    /// Returns how long writing waited, in all outages together.
    pub fn waited(&self) -> Duration {
        self.lock().waited
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outages for Outage {
    fn begins(&self, why: &str) {
        let mut state = self.lock();
        state.waiting += 1;
        if state.since.is_none() {
            let now = Some(Instant::now());
            (state.since, state.told) = (now, now);
            let limit = text::duration(self.limit);
            let why = format!("the database cannot be reached ({why}); giving up after {limit}");
            state.notices.push(Notice::Waits { why });
        }
    }

    fn lasts(&self, why: &str) {
        let mut state = self.lock();
        let (Some(since), Some(told)) = (state.since, state.told) else { return };
        if told.elapsed() >= REMINDER {
            state.told = Some(Instant::now());
            let (lasts, limit) = (text::duration(since.elapsed()), text::duration(self.limit));
            let why = format!("the database cannot be reached for {lasts} ({why}); giving up after {limit}");
            state.notices.push(Notice::Waits { why });
        }
    }

    fn ends(&self, goes_on: bool) {
        let mut state = self.lock();
        state.waiting = state.waiting.saturating_sub(1);
        if state.waiting == 0
            && let Some(since) = state.since.take()
        {
            let waited = since.elapsed();
            state.waited += waited;
            if goes_on {
                state.notices.push(Notice::GoesOn { waited });
            }
        }
    }

    fn is_interrupted(&self) -> bool {
        self.stop.is_set()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_however_many_writers_wait() {
        let outage = Outage::new(Duration::from_secs(600), Stop::default());
        outage.begins("connection refused");
        outage.begins("error 1040");
        outage.lasts("connection refused");
        outage.ends(true);
        outage.ends(true);
        let told: Vec<String> = outage.notices().iter().map(Notice::to_string).collect();
        let waits = "writing waits: the database cannot be reached (connection refused); giving up after 10 min 0 s";
        assert_eq!(told, [waits, "writing goes on after 0 s"]);
        assert!(outage.waited() > Duration::ZERO && outage.notices().is_empty());
    }

    #[test]
    fn an_outage_that_is_not_over_does_not_go_on() {
        let outage = Outage::new(Duration::from_secs(2), Stop::default());
        outage.begins("connection refused");
        outage.ends(false);
        assert_eq!(outage.notices().len(), 1);
    }
}
