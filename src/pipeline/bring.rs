//! Import: files from outside of the archive are brought into it while the run goes on. Files that
//! are in place in the archive go through the same stages as all files; the outcome of the other
//! files is counted at once.

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

    /// Whether the imported files are copies, which no other program changes.
    fn makes_copies(&self) -> bool;

    /// The number of import loops that run in parallel.
    fn threads(&self) -> usize;

    /// Runs one import loop over the files that the walk of the sources finds.
    fn bring(&self, found: &Receiver<Vec<FoundFile>>, reception: &Reception<'_>) -> Result<()>;

    /// Imports the files that had to wait until the rows of all other files are written.
    fn bring_rest(&self, reception: &Reception<'_>) -> Result<()>;
}

/// Receives the imported files, and the outcomes of the files that were not imported.
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
        // If an import loop fails, the files imported so far are still indexed, and the rest is
        // counted as not reached.
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
    /// Returns whether import loops may continue: the run is not interrupted, and no loop has
    /// failed.
    pub fn goes_on(&self) -> bool {
        !self.intake.sources.stop.is_set() && !self.failed.load(Relaxed)
    }

    /// Stops all import loops.
    pub fn fails(&self) {
        self.failed.store(true, Relaxed);
    }

    /// Sends files that are now in the archive to the readers.
    pub fn receive(&self, files: Vec<PathBuf>) {
        let roots = self.intake.sources.roots.paths();
        let below = |path: PathBuf| FoundFile::below(&roots[entries::root_of(self.intake, &path)], path);
        walk::send(self.intake, files.into_iter().map(below).collect(), self.files);
    }

    /// Sends files that are indexed at their present location to the readers.
    pub fn pass_on(&self, files: Vec<FoundFile>) {
        walk::send(self.intake, files, self.files);
    }

    pub fn not_reached(&self, files: usize) {
        self.intake.account.add(Fate::NotReached, files);
    }

    /// Defers a file until all others are written. Until then, the file counts as not reached.
    pub fn puts_off(&self) {
        self.not_reached(1);
    }

    pub fn takes_up(&self) {
        self.intake.account.take_back(Fate::NotReached, 1);
    }

    pub fn skip(&self, rule: Rule) {
        self.intake.account.skipped(rule);
    }

    /// Counts a file as unchanged: the archive already contains its bytes, from another source
    /// file, and indexes them.
    pub fn has(&self) {
        self.intake.account.add(Fate::Unchanged, 1);
    }

    pub fn leave(&self, file: &FoundFile, stub: &Stub) {
        self.intake.account.add(Fate::Pending, 1);
        self.intake.account.stub(stub, Outcome::Pending);
        self.intake.sources.listing.add_stub(file.path(), stub);
    }

    /// Counts a link or a pointer file that was read through.
    pub fn read_through(&self, stub: &Stub) {
        self.intake.account.stub(stub, Outcome::Read);
    }

    /// Counts a link or a pointer file whose target is indexed at its own location.
    pub fn meets_elsewhere(&self, stub: &Stub) {
        self.intake.account.add(Fate::Link, 1);
        self.intake.account.stub(stub, Outcome::MetElsewhere);
    }

    pub fn reject(&self, path: &Path, rejection: &Rejection) {
        entries::reject(self.intake, path, rejection);
    }

    /// Lists a file that cannot be imported, for a reason specific to the file.
    pub fn refuse(&self, path: &Path, code: &'static str, detail: String) {
        entries::list_rejected(self.intake, path, &NoRow { code, detail });
    }

    /// Lists a file whose instance the archive has in another file.
    pub fn conflicts(&self, path: &Path, reason: &str, detail: &str) {
        self.intake.account.add(Fate::Duplicate, 1);
        self.intake.sources.listing.add("conflict", path, reason, detail);
    }

    /// Lists a damaged file that is imported anyway, under the audit check that would find it.
    pub fn report_damage(&self, path: &Path, check: &str, detail: &str) {
        self.intake.sources.listing.add("damaged", path, check, detail);
    }

    /// Lists a note about a file that is imported anyway.
    pub fn note(&self, path: &Path, reason: &str, detail: &str) {
        self.intake.sources.listing.add("note", path, reason, detail);
    }
}
