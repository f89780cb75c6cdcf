//! The account of a run: every file found has exactly one outcome. The program checks that the
//! outcomes add up to the files found.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use jiff::civil::Date;

use super::value_notes::ValueNotes;
use crate::archive::Stub;
use crate::archive::locality::Locality;
use crate::archive::skip::Rule;
use crate::archive::skipped_directories::{DirectoryKind, SkippedCounts};
use crate::dicom::Instance;
use crate::dicom::flaw::Flaw;
use crate::index::fitting::Fitted;

/// The outcome of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A shard has read and recorded the file.
    Recorded,
    Inserted,
    Updated,
    Unchanged,
    /// The index has another file of the same instance.
    Duplicate,
    Rejected,
    Unreadable,
    /// A link or a pointer whose target is indexed at its own location.
    Link,
    /// A stub that was not read.
    Pending,
    Skipped,
    /// Left to the PACS, which may still be writing the file.
    TooYoung,
    /// The run ended before it reached the file.
    NotReached,
}

impl Fate {
    pub const ALL: [Fate; 12] = [
        Fate::Recorded,
        Fate::Inserted,
        Fate::Updated,
        Fate::Unchanged,
        Fate::Duplicate,
        Fate::Rejected,
        Fate::Unreadable,
        Fate::Link,
        Fate::Pending,
        Fate::Skipped,
        Fate::TooYoung,
        Fate::NotReached,
    ];

    pub fn describe(self) -> &'static str {
        match self {
            Fate::Recorded => "recorded",
            Fate::Inserted => "inserted",
            Fate::Updated => "updated",
            Fate::Unchanged => "unchanged",
            Fate::Duplicate => "duplicates not chosen",
            Fate::Rejected => "rejected",
            Fate::Unreadable => "unreadable or vanished",
            Fate::Link => "links within the archive",
            Fate::Pending => "stubs not read",
            Fate::Skipped => "skipped by rule",
            Fate::TooYoung => "left to the PACS (young)",
            Fate::NotReached => "not reached",
        }
    }

    /// Whether a person should look at the file.
    pub fn is_finding(self) -> bool {
        matches!(self, Fate::Duplicate | Fate::Rejected | Fate::Unreadable | Fate::Pending)
    }
}

/// The outcome of a stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Read,
    /// The stub points to a file that the run reads at another location.
    MetElsewhere,
    Pending,
}

impl Outcome {
    pub fn describe(self) -> &'static str {
        match self {
            Outcome::Read => "read",
            Outcome::MetElsewhere => "met elsewhere",
            Outcome::Pending => "not read",
        }
    }
}

/// The key that groups similar stubs: kind, locality, outcome and mount point.
pub type StubKey = (&'static str, Locality, Outcome, Option<PathBuf>);

#[derive(Clone, Debug, Default)]
pub struct Stubs {
    pub files: u64,
    /// Total size in bytes, as the stubs claim.
    pub bytes: u64,
    /// The target of one of these stubs, and the explanation of that stub.
    pub target: Option<String>,
    pub why: String,
}

/// Counters that all threads increment.
#[derive(Debug, Default)]
pub struct Account {
    pub found: AtomicU64,
    fates: [AtomicU64; Fate::ALL.len()],
    /// Bytes of the files that were opened.
    pub bytes: AtomicU64,
    pub directories_listed: AtomicU64,
    pub directories_unreadable: AtomicU64,
    directories_skipped: Mutex<SkippedCounts>,
    /// The number of directories of days before the first day requested, and the first and last of
    /// their days.
    earlier: Mutex<Option<(u64, Date, Date)>>,
    pub unusable_values: AtomicU64,
    pub undecodable_texts: AtomicU64,
    /// Values that break the rules of DICOM and were read because they have only one meaning.
    pub repaired_values: AtomicU64,
    /// Values of which a part was lost, or that mix two values.
    pub partial_values: AtomicU64,
    /// Files that declare an unknown character set.
    pub unknown_charsets: AtomicU64,
    pub cut_texts: AtomicU64,
    pub cut_headers: AtomicU64,
    pub substituted_texts: AtomicU64,
    /// Rows that a person should look at, and rows whose instances disagree.
    pub conflicts: AtomicU64,
    pub disagreements: AtomicU64,
    /// Rows of this run whose file has vanished since.
    pub gone: AtomicU64,
    /// Files that shards have found and that were removed before the merge.
    pub gone_before_merge: AtomicU64,
    /// Number and size in bytes of the files that a real run would recall.
    pub would_recall: (AtomicU64, AtomicU64),
    /// The notes on values that were listed.
    pub value_notes: ValueNotes,
    rejections: Mutex<BTreeMap<&'static str, u64>>,
    skips: Mutex<BTreeMap<Rule, u64>>,
    stubs: Mutex<BTreeMap<StubKey, Stubs>>,
}

impl Account {
    pub fn found(&self, files: usize) {
        self.found.fetch_add(files as u64, Relaxed);
    }

    pub fn add(&self, fate: Fate, files: usize) {
        self.fates[fate as usize].fetch_add(files as u64, Relaxed);
    }

    /// Subtracts files that a shard has found and that were removed before the merge.
    pub fn take_back_gone(&self, files: usize) {
        self.found.fetch_sub(files as u64, Relaxed);
        self.gone_before_merge.fetch_add(files as u64, Relaxed);
    }

    /// Subtracts files from an outcome. The files are inspected again and then get a new outcome.
    pub fn take_back(&self, fate: Fate, files: usize) {
        self.fates[fate as usize].fetch_sub(files as u64, Relaxed);
    }

    pub fn rejected(&self, reason: &'static str) {
        self.add(Fate::Rejected, 1);
        *self.rejections.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    pub fn skipped(&self, rule: Rule) {
        self.add(Fate::Skipped, 1);
        *self.skips.lock().unwrap_or_else(PoisonError::into_inner).entry(rule).or_default() += 1;
    }

    pub fn directory_skipped(&self, kind: DirectoryKind) {
        *self.directories_skipped.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    }

    pub fn directories_skipped(&self) -> SkippedCounts {
        self.directories_skipped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn stub(&self, stub: &Stub, outcome: Outcome) {
        let mut stubs = self.stubs.lock().unwrap_or_else(PoisonError::into_inner);
        let alike = stubs.entry((stub.kind, stub.locality, outcome, stub.mount.clone())).or_default();
        alike.files += 1;
        alike.bytes = alike.bytes.saturating_add(stub.claimed_size.unwrap_or(0));
        // The stub that is shown does not depend on the order of the stubs.
        let shown = (stub.target.as_ref(), &stub.why);
        if alike.files == 1 || shown < (alike.target.as_ref(), &alike.why) {
            (alike.target, alike.why) = (stub.target.clone(), stub.why.clone());
        }
    }

    /// Subtracts a stub that is recalled after all.
    pub fn stub_taken_back(&self, stub: &Stub) {
        let mut stubs = self.stubs.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (stub.kind, stub.locality, Outcome::Pending, stub.mount.clone());
        if let Some(alike) = stubs.get_mut(&key) {
            alike.files = alike.files.saturating_sub(1);
            alike.bytes = alike.bytes.saturating_sub(stub.claimed_size.unwrap_or(0));
        }
        stubs.retain(|_, alike| alike.files > 0);
    }

    pub fn stubs(&self) -> BTreeMap<StubKey, Stubs> {
        self.stubs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn not_looked_at(&self, day: Date) {
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, first, last) = earlier.unwrap_or((0, day, day));
        *earlier = Some((count + 1, first.min(day), last.max(day)));
    }

    pub fn earlier(&self) -> Option<(u64, Date, Date)> {
        *self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the flaws of an instance that is indexed nevertheless.
    pub fn note(&self, instance: &Instance, fitted: &Fitted) {
        let bump = |counter: &AtomicU64, by: u64| {
            if by > 0 {
                counter.fetch_add(by, Relaxed);
            }
        };
        let flaws = &instance.flaws;
        bump(&self.unusable_values, flaws.of(Flaw::Invalid).len().into());
        bump(&self.undecodable_texts, flaws.of(Flaw::Undecodable).len().into());
        bump(&self.repaired_values, flaws.of(Flaw::Repaired).len().into());
        bump(&self.partial_values, flaws.of(Flaw::Partial).len().into());
        bump(&self.unknown_charsets, flaws.has_unknown_charset.into());
        bump(&self.cut_headers, instance.cut.into());
        bump(&self.cut_texts, fitted.cut);
        bump(&self.substituted_texts, fitted.substituted.len() as u64);
    }

    pub fn files_found(&self) -> u64 {
        self.found.load(Relaxed)
    }

    pub fn count(&self, fate: Fate) -> u64 {
        self.fates[fate as usize].load(Relaxed)
    }

    /// Returns the number of files with an outcome.
    pub fn done(&self) -> u64 {
        Fate::ALL.into_iter().map(|fate| self.count(fate)).sum()
    }

    pub fn adds_up(&self) -> bool {
        self.done() == self.files_found()
    }

    pub fn rejections(&self) -> BTreeMap<&'static str, u64> {
        self.rejections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn skips(&self) -> BTreeMap<Rule, u64> {
        self.skips.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_fate_is_noticed() {
        let account = Account::default();
        account.found(3);
        account.add(Fate::Inserted, 1);
        account.rejected("not-dicom");
        assert!(!account.adds_up());
        account.skipped(Rule::Sidecar);
        assert!(account.adds_up());
        assert_eq!(account.rejections()["not-dicom"], 1);
    }
}
