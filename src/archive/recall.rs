//! When an image may be brought back from slow storage: never by accident, and by intent only within a budget.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What `--recall` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Nor is the target of a link or a pointer read.
    Never,
    #[default]
    OnlineOnly,
    Allow(Budget),
}

/// What may be recalled in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub files: u64,
    /// Of whole files, since that is what is recalled.
    pub bytes: u64,
    pub at_a_time: usize,
    /// Zero: as fast as they come.
    pub a_minute: u32,
}

impl Policy {
    pub fn leaves_targets(&self) -> bool {
        *self == Policy::Never
    }

    pub fn budget(&self) -> Option<Budget> {
        match self {
            Policy::Allow(budget) => Some(*budget),
            Policy::Never | Policy::OnlineOnly => None,
        }
    }
}

/// That one file may be recalled, as long as this is kept. Only [`Recalls`] gives any.
#[derive(Debug)]
pub struct Permit(Arc<Slots>);

#[derive(Debug)]
struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// The recalls of a run.
pub struct Recalls {
    left: Budget,
    slots: Arc<Slots>,
    last: Option<Instant>,
}

/// How long a stop goes unnoticed.
const A_MOMENT: Duration = Duration::from_millis(100);

impl Recalls {
    pub fn within(budget: Budget) -> Self {
        let slots = Arc::new(Slots { free: Mutex::new(budget.at_a_time), freed: Condvar::new() });
        Recalls { left: budget, slots, last: None }
    }

    /// What is left of the budget when these were recalled.
    pub fn spend(&mut self, files: u64, bytes: u64) {
        self.left.files = self.left.files.saturating_sub(files);
        self.left.bytes = self.left.bytes.saturating_sub(bytes);
    }

    /// Waits until one more file of this size may be recalled. `None`: the budget does not allow it, or the run is to
    /// stop.
    pub fn next(&mut self, size: u64, is_stopped: impl Fn() -> bool) -> Option<Permit> {
        if self.left.files == 0 || self.left.bytes < size {
            return None;
        }
        self.spend(1, size);
        while let Some(wait) = self.until_due() {
            if is_stopped() {
                return None;
            }
            std::thread::sleep(wait.min(A_MOMENT));
        }
        let mut free = self.slots.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            if is_stopped() {
                return None;
            }
            free = self.slots.freed.wait_timeout(free, A_MOMENT).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        drop(free);
        self.last = Some(Instant::now());
        Some(Permit(self.slots.clone()))
    }

    fn until_due(&self) -> Option<Duration> {
        let each = Duration::from_secs(60).checked_div(self.left.a_minute)?;
        each.checked_sub(self.last?.elapsed()).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { files: 3, bytes: 1000, at_a_time: 2, a_minute: 0 };

    #[test]
    fn no_more_files_and_bytes_are_recalled_than_the_budget_says() {
        let permitted = |budget, size| {
            let mut recalls = Recalls::within(budget);
            (0..10).filter_map(|_| recalls.next(size, || false)).count()
        };
        assert_eq!(permitted(BUDGET, 10), 3);
        assert_eq!(permitted(BUDGET, 400), 2);
        assert_eq!(permitted(BUDGET, 1001), 0);
    }

    #[test]
    fn no_more_are_recalled_at_a_time() {
        let mut recalls = Recalls::within(BUDGET);
        let first = recalls.next(1, || false);
        let _second = recalls.next(1, || false);
        assert!(recalls.next(1, || true).is_none(), "it did not wait");
        drop(first);
        assert!(Recalls { left: BUDGET, ..recalls }.next(1, || false).is_some());
    }

    #[test]
    fn they_keep_to_their_rate() {
        let mut recalls = Recalls::within(Budget { a_minute: 600, ..BUDGET });
        let begun = Instant::now();
        (0..3).for_each(|_| drop(recalls.next(1, || false)));
        assert!(begun.elapsed() >= Duration::from_millis(200));
    }
}
