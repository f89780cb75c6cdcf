//! Files that come from elsewhere: somebody brings them into the archive while the run goes on. What is in its place
//! there goes the way of all files; what is not brought has its fate at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::entries::{self, NoRow};
use super::{FILES_WAITING, Intake, defect, walk};
use crate::archive::skip::Rule;
use crate::archive::{FoundFile, Locator, Roots, Stub};
use crate::dicom::Rejection;
use crate::error::Result;
use crate::report::account::{Fate, Outcome};

pub trait Bring: Sync {
    fn sources(&self) -> &Roots;

    fn locator(&self) -> &Locator;

    /// Whether the files that are received are copies, which nobody else changes.
    fn makes_copies(&self) -> bool;

    /// So many receive loops run side by side.
    fn threads(&self) -> usize;

    /// One receive loop over what the walk of the sources finds.
    fn bring(&self, found: &Receiver<Vec<FoundFile>>, reception: &Reception<'_>) -> Result<()>;

    /// What had to wait until the rows of all others are written.
    fn bring_rest(&self, reception: &Reception<'_>) -> Result<()>;
}

/// Where files are received that somebody has brought, and where it is told what became of the others.
pub struct Reception<'a> {
    intake: &'a Intake<'a>,
    files: &'a Sender<Vec<FoundFile>>,
    failed: AtomicBool,
}

pub(super) fn bring(intake: &Intake<'_>, brings: &dyn Bring, files: &Sender<Vec<FoundFile>>) -> Result<()> {
    let (found, to_bring) = bounded(FILES_WAITING);
    let reception = &Reception { intake, files, failed: AtomicBool::new(false) };
    thread::scope(|scope| {
        let walk = scope.spawn(move || walk::walk(intake, &found));
        // Where nothing more can be brought, what was is indexed all the same, and the rest is counted.
        let one_loop = |to_bring: Receiver<Vec<FoundFile>>| {
            let brought = brings.bring(&to_bring, reception);
            if brought.is_err() {
                reception.fails();
            }
            to_bring.into_iter().for_each(|left| reception.not_reached(left.len()));
            brought
        };
        let loops: Vec<_> = (0..brings.threads())
            .map(|_| to_bring.clone())
            .map(|to_bring| scope.spawn(move || one_loop(to_bring)))
            .collect();
        drop(to_bring);
        let results = loops.into_iter().map(|one| one.join().unwrap_or_else(|_| Err(defect("import"))));
        let results: Vec<Result<()>> = results.collect();
        walk.join().unwrap_or_else(|_| Err(defect("walk")))?;
        results.into_iter().collect()
    })
}

pub(super) fn bring_rest(intake: &Intake<'_>, brings: &dyn Bring, files: &Sender<Vec<FoundFile>>) -> Result<()> {
    brings.bring_rest(&Reception { intake, files, failed: AtomicBool::new(false) })
}

impl Reception<'_> {
    /// Nobody has interrupted the run, and all loops can go on.
    pub fn goes_on(&self) -> bool {
        !self.intake.sources.stop.is_set() && !self.failed.load(Relaxed)
    }

    /// Nothing more can be brought.
    pub fn fails(&self) {
        self.failed.store(true, Relaxed);
    }

    /// These lie in the archive by now, and are indexed.
    pub fn receive(&self, files: Vec<PathBuf>) {
        let roots = self.intake.sources.roots.paths();
        let below = |path: PathBuf| FoundFile::below(&roots[entries::root_of(self.intake, &path)], path);
        walk::send(self.intake, files.into_iter().map(below).collect(), self.files);
    }

    /// The same files, which lie where they are indexed.
    pub fn pass_on(&self, files: Vec<FoundFile>) {
        walk::send(self.intake, files, self.files);
    }

    pub fn not_reached(&self, files: usize) {
        self.intake.account.add(Fate::NotReached, files);
    }

    /// One that is looked at again when all others are written; until then it was not reached.
    pub fn puts_off(&self) {
        self.not_reached(1);
    }

    pub fn takes_up(&self) {
        self.intake.account.take_back(Fate::NotReached, 1);
    }

    pub fn skip(&self, rule: Rule) {
        self.intake.account.skipped(rule);
    }

    /// The archive had its bytes before this run came to it, from another file of the sources.
    pub fn has(&self) {
        self.intake.account.add(Fate::Unchanged, 1);
    }

    pub fn leave(&self, file: &FoundFile, stub: &Stub) {
        self.intake.account.add(Fate::Pending, 1);
        self.intake.account.stub(stub, Outcome::Pending);
        self.intake.sources.listing.add_stub(file.path(), stub);
    }

    /// A link or a pointer file was read through.
    pub fn read_through(&self, stub: &Stub) {
        self.intake.account.stub(stub, Outcome::Read);
    }

    /// It leads to what is met with where it lies.
    pub fn meets_elsewhere(&self, stub: &Stub) {
        self.intake.account.add(Fate::Link, 1);
        self.intake.account.stub(stub, Outcome::MetElsewhere);
    }

    pub fn reject(&self, path: &Path, rejection: &Rejection) {
        entries::reject(self.intake, path, rejection);
    }

    /// It cannot be brought, for a reason of its own.
    pub fn refuse(&self, path: &Path, code: &'static str, detail: String) {
        entries::list_rejected(self.intake, path, &NoRow { code, detail });
    }

    /// Another file of this instance is the one in the archive.
    pub fn conflicts(&self, path: &Path, reason: &str, detail: &str) {
        self.intake.account.add(Fate::Duplicate, 1);
        self.intake.sources.listing.add("conflict", path, reason, detail);
    }

    /// Lists a damaged file that is brought all the same, by the check of an audit that would find it.
    pub fn report_damage(&self, path: &Path, check: &str, detail: &str) {
        self.intake.sources.listing.add("damaged", path, check, detail);
    }

    /// Something is to be known of a file that is brought all the same.
    pub fn note(&self, path: &Path, reason: &str, detail: &str) {
        self.intake.sources.listing.add("note", path, reason, detail);
    }
}
