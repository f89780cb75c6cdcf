//! Computes rates and the remaining time from counters. The sampler reads no clock: the caller
//! passes the times.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Eta, Phase, Readings, Snapshot};

/// Window of the current rate: a shorter one fluctuates, and a longer one hides a storage unit that
/// has just stalled.
const NOW: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Sampler {
    /// Times of the last seconds, each with the number of files done by then.
    recent: VecDeque<(Duration, u64)>,
}

impl Sampler {
    pub fn sample(&mut self, elapsed: Duration, readings: Readings) -> Snapshot {
        self.recent.push_back((elapsed, readings.done));
        while self.recent.len() > 2 && self.recent[1].0 + NOW <= elapsed {
            self.recent.pop_front();
        }
        let (since, done) = self.recent[0];
        let rate_now = rate(readings.done - done.min(readings.done), elapsed.saturating_sub(since));
        let rate_mean = rate(readings.done, elapsed);
        let eta = eta(&readings, rate_now, rate_mean);
        Snapshot { readings, elapsed, rate_now, rate_mean, eta }
    }
}

fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

fn eta(readings: &Readings, rate_now: f64, rate_mean: f64) -> Eta {
    let slow = rate_now.min(rate_mean);
    let fast = rate_now.max(rate_mean);
    if readings.phase != Phase::Indexing || slow < 0.01 {
        return Eta::Unknown;
    }
    let left = readings.found.saturating_sub(readings.done) as f64;
    if readings.found_is_total {
        return Eta::About(seconds(left / rate_mean));
    }
    // Directories that are not listed yet are assumed to contain as many files as the others.
    let density = readings.found as f64 / readings.directories_listed.max(1) as f64;
    let waiting = readings.directories_waiting as f64 * density;
    Eta::Between(seconds(left / fast), seconds((left + waiting) / slow))
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(found: u64, total: bool, waiting: u64, done: u64) -> Readings {
        Readings {
            phase: Phase::Indexing,
            checked: 0,
            to_check: 0,
            found,
            found_is_total: total,
            directories_listed: 10,
            directories_waiting: waiting,
            done,
            put_by: 0,
            pending: 0,
            recalled: 0,
            to_recall: 0,
            stopping: false,
            bytes: 0,
            rejected: 0,
            directory: "/".into(),
            closed: 0,
            to_close: 0,
        }
    }

    #[test]
    fn the_time_left_is_a_range_until_all_files_are_counted() {
        let mut sampler = Sampler::default();
        let at = Duration::from_secs;
        sampler.sample(at(0), readings(0, false, 1, 0));
        let counting = sampler.sample(at(10), readings(2_000, false, 30, 1_000));
        assert_eq!(counting.rate_mean, 100.0);
        assert_eq!(counting.eta, Eta::Between(at(10), at(70)));
        let counted = sampler.sample(at(20), readings(5_000, true, 0, 2_000));
        assert_eq!(counted.eta, Eta::About(at(30)));
    }

    #[test]
    fn the_rate_now_shows_a_storage_unit_that_stalls() {
        let mut sampler = Sampler::default();
        for second in 0..=10 {
            sampler.sample(Duration::from_secs(second), readings(5_000, true, 0, second * 100));
        }
        let mut last = None;
        for second in 11..=20 {
            last = Some(sampler.sample(Duration::from_secs(second), readings(5_000, true, 0, 1_000)));
        }
        let last = last.unwrap();
        assert_eq!((last.rate_now, last.rate_mean), (0.0, 50.0));
    }
}
