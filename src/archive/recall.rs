//! Controls recalls of images from slow storage: never by accident, and on request only within a
//! budget.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The policy of `--recall`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Recalls nothing, and does not read the targets of links and pointers either.
    Never,
    #[default]
    OnlineOnly,
    Allow(Budget),
}

/// The limits on the recalls of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub files: u64,
    /// The total size of the files. Whole files count, since a recall fetches a whole file.
    pub bytes: u64,
    pub at_a_time: usize,
    /// The maximum number of recalls per minute. Zero means no limit.
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

/// Permission to recall one file, held for the lifetime of this value. Only [`Recalls`] issues
/// permits.
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

/// The interval at which waits check for a cancelled run.
const A_MOMENT: Duration = Duration::from_millis(100);

impl Recalls {
    pub fn within(budget: Budget) -> Self {
        let slots = Arc::new(Slots { free: Mutex::new(budget.at_a_time), freed: Condvar::new() });
        Recalls { left: budget, slots, last: None }
    }

    /// Deducts recalled files from the budget.
    pub fn spend(&mut self, files: u64, bytes: u64) {
        self.left.files = self.left.files.saturating_sub(files);
        self.left.bytes = self.left.bytes.saturating_sub(bytes);
    }

    /// Waits until one more file of this size may be recalled. Returns `None` if the budget does
    /// not allow the recall, or if the run is being cancelled.
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
