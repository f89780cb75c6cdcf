//! Stubs: lists those that are not read, and runs the last pass, which recalls some of them if the
//! site allows it.
//!
//! The newest stubs are recalled, up to the number in the budget, in whatever order they were
//! found. Only that number of stubs is remembered.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem::take;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::Sender;
use jiff::civil::Date;

use super::Intake;
use super::walk;
use crate::archive::recall::{Budget, Policy, Recalls};
use crate::archive::{FoundFile, Stub};
use crate::error::Result;
use crate::report::account::{Fate, Outcome};

/// The stubs that may be recalled, the oldest on top of the heap.
pub struct Wanted {
    budget: Option<Budget>,
    heap: Mutex<BinaryHeap<Reverse<Want>>>,
}

struct Want {
    /// The day of receipt and the mtime; the path breaks ties.
    age: (Option<Date>, i64, PathBuf),
    file: FoundFile,
    stub: Stub,
}

impl Wanted {
    pub fn new(policy: &Policy) -> Self {
        Wanted { budget: policy.budget(), heap: Mutex::default() }
    }

    pub fn is_allowed(&self) -> bool {
        self.budget.is_some()
    }

    /// Adds a stub that may be recalled. Returns the stub that no longer fits into the budget, if
    /// any.
    fn offer(&self, want: Want) -> Option<Want> {
        let room = self.budget.map_or(0, |budget| budget.files);
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        heap.push(Reverse(want));
        let is_full = heap.len() as u64 > room;
        is_full.then(|| heap.pop()).flatten().map(|oldest| oldest.0)
    }

    /// Takes all stubs, the newest first.
    fn take(&self) -> Vec<Want> {
        let heap = take(&mut *self.heap.lock().unwrap_or_else(PoisonError::into_inner));
        heap.into_sorted_vec().into_iter().map(|want| want.0).collect()
    }
}

/// Counts a stub that may not be read, and lists it or keeps it for recall. A row that the index
/// has of it stays.
pub(super) fn leave(intake: &Intake<'_>, file: FoundFile, modified: i64, stub: Stub) {
    intake.account.add(Fate::Pending, 1);
    intake.account.stub(&stub, Outcome::Pending);
    let left = match intake.recall.is_allowed() && stub.can_be_recalled() && file.permit().is_none() {
        true => intake.recall.offer(Want { age: (file.received_on, modified, file.path().into()), file, stub }),
        false => return intake.sources.listing.add_stub(file.path(), &stub),
    };
    left.iter().for_each(|want| list(intake, want));
}

fn list(intake: &Intake<'_>, want: &Want) {
    intake.sources.listing.add_stub(want.file.path(), &want.stub);
}

/// Lists the stubs that were not recalled in the end. A dry run counts those that would be
/// recalled.
pub(super) fn leave_wanted(intake: &Intake<'_>, recalls: bool) {
    let wanted = intake.recall.take();
    let mut left = intake.recall.budget.map_or(0, |budget| budget.bytes);
    for want in &wanted {
        list(intake, want);
        let size = want.stub.claimed_size.unwrap_or(0);
        if let (false, Some(rest)) = (recalls, left.checked_sub(size)) {
            left = rest;
            intake.account.would_recall.0.fetch_add(1, Relaxed);
            intake.account.would_recall.1.fetch_add(size, Relaxed);
        }
    }
}

/// The walk stage of the last pass: sends one file after the other, as soon as it may be recalled.
pub(super) fn recall(intake: &Intake<'_>, files: &Sender<Vec<FoundFile>>) -> Result<()> {
    let Some(budget) = intake.recall.budget else { return Ok(()) };
    let mut recalls = Recalls::within(budget);
    let (before, bytes) = intake.journal().map_or((0, 0), |journal| journal.recalled());
    recalls.spend(before, bytes);
    let wanted = intake.recall.take();
    intake.watch.recalling(wanted.len());
    for want in wanted {
        let size = want.stub.claimed_size.unwrap_or(0);
        match recalls.next(size, || intake.sources.stop.is_set()) {
            Some(permit) => {
                intake.watch.recalled();
                // Recorded before the recall, so that a run that continues this one stays within
                // the budget.
                intake.journal().iter().for_each(|journal| journal.recalls(size));
                intake.account.take_back(Fate::Pending, 1);
                intake.account.stub_taken_back(&want.stub);
                walk::send(intake, vec![want.file.permitted(permit)], files);
            }
            // Another stub may still fit into the budget.
            None => list(intake, &want),
        }
    }
    Ok(())
}

impl PartialEq for Want {
    fn eq(&self, other: &Self) -> bool {
        self.age == other.age
    }
}

impl Eq for Want {}

impl PartialOrd for Want {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Want {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.age.cmp(&other.age)
    }
}
