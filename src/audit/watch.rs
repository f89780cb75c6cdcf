//! The progress of an audit.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::poisoned;
use crate::progress::{Observer, Phase, Readings, Sampler};

const INTERVAL: Duration = Duration::from_millis(100);

#[derive(Default)]
pub struct Watch {
    phase: Mutex<Phase>,
    pub files: AtomicU64,
    pub rows: AtomicU64,
    pub read: AtomicU64,
    pub suspects: AtomicU64,
    /// The time at which the next file may be inspected, under the rate limit.
    pub(super) due: Mutex<Option<Instant>>,
    ended: AtomicBool,
}

impl Watch {
    pub fn begins(&self, phase: Phase) {
        *poisoned(&self.phase) = phase;
    }

    pub fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Shows the progress until `end` is called.
    pub fn show(&self, observer: &mut dyn Observer) {
        let (begun, mut sampler) = (Instant::now(), Sampler::default());
        while !self.ended.load(Relaxed) {
            observer.update(&sampler.sample(begun.elapsed(), self.readings()));
            std::thread::sleep(INTERVAL);
        }
        observer.finish(&sampler.sample(begun.elapsed(), self.readings()));
    }

    fn readings(&self) -> Readings {
        let phase = *poisoned(&self.phase);
        let suspects = self.suspects.load(Relaxed);
        Readings {
            phase,
            found: self.files.load(Relaxed),
            done: self.read.load(Relaxed),
            checked: self.rows.load(Relaxed),
            to_check: if phase == Phase::Settling { suspects } else { 0 },
            ..Readings::default()
        }
    }
}
