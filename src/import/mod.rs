//! The import, on one page. The files below the sources are read, chosen, compared with the
//! archive, copied to their place in the archive, and indexed like all files of the archive.
//!
//! ```text
//! sources -> walk -> header -> chosen? -> in archive? -> copy -> sync, verify, rename -> index
//! ```
//!
//! Nothing in the archive is overwritten. No source is changed, except in a move: a move removes a
//! source last, after its copy is verified and its row is committed.

pub mod access;
mod bring;
mod candidate;
mod compare;
mod copy;
pub mod disk;
pub mod ledger;
pub mod list;
pub mod listing;
pub mod medium;
mod place;

mod removal;
mod rows;
pub mod selection;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::archive::{Filing, Locator, PathMap, Roots};
use crate::error::Result;
use crate::pipeline::{Stop, Stored};
use crate::report::listing::Listing;
use crate::report::summary::Imported;
pub use access::CopyAccess;
use bring::DeferredFile;
use candidate::Candidate;
pub use ledger::Ledger;
use medium::{Compared, Named};
pub use removal::Removed;
pub use rows::Rows;
use selection::Selection;

/// The sources of an import.
pub struct Sources {
    pub roots: Roots,
    /// Detects stubs in the sources by the same rules as in an archive.
    pub locator: Locator,
    pub selection: Selection,
}

/// The options of an import.
pub struct Plan<'a> {
    pub sources: &'a Sources,
    pub path_map: &'a PathMap,
    /// Access to the files in the archive.
    pub stored: Stored,
    /// Whether the sources are removed at the end.
    pub moves: bool,
    /// Whether copies of files without preamble or file meta information get the missing parts.
    pub completes: bool,
    pub copies_at_a_time: usize,
}

/// The destination of the copies.
pub struct Destination {
    pub filing: Filing,
    pub ledger: Ledger,
    pub mark: disk::Mark,
    pub access: CopyAccess,
}

pub struct Importer<'a> {
    plan: &'a Plan<'a>,
    rows: Rows,
    /// `None` indexes the chosen files in place.
    to: Option<Destination>,
    /// Hashes of the SOP Instance UIDs of the files that were chosen so far.
    claimed: Mutex<HashSet<u64>>,
    later: Mutex<Vec<DeferredFile>>,
    /// The paths in the index of deferred files that were copied, by the hash of the instance.
    deferred_copies: Mutex<HashMap<u64, String>>,
    /// The DICOMDIR files, which list the files that their media should contain.
    dicomdirs: Mutex<Vec<PathBuf>>,
    /// The sources of a move, which may be removed at the end.
    brought: Option<removal::Brought>,
    copied: AtomicU64,
    /// Files that are not imported, because the archive has a different file of the same instance.
    in_conflict: AtomicU64,
    /// The number of chosen instances. `damaged` counts the imported files that do not end where
    /// they should.
    taken: AtomicU64,
    damaged: AtomicU64,
    copied_bytes: AtomicU64,
}

/// Number of rows that are looked up together.
const TOGETHER: usize = 500;

/// Results of the final steps of an import.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// The number of instances that a DICOMDIR names, and that are neither on its medium nor in the
    /// index.
    pub not_on_medium: u64,
    /// The result of removing the sources. `None` if the import is not a move.
    pub removed: Option<Removed>,
}

impl<'a> Importer<'a> {
    pub fn new(plan: &'a Plan<'a>, rows: Rows, to: Option<Destination>, scratch: &Path) -> Result<Self> {
        let brought = plan.moves.then(|| removal::Brought::new(scratch)).transpose()?;
        Ok(Importer {
            plan,
            rows,
            to,
            claimed: Mutex::default(),
            later: Mutex::default(),
            deferred_copies: Mutex::default(),
            dicomdirs: Mutex::default(),
            brought,
            copied: AtomicU64::new(0),
            in_conflict: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            copied_bytes: AtomicU64::new(0),
        })
    }

    /// Compares each DICOMDIR with its medium, and removes the sources of a move. Call this after
    /// all rows are written.
    pub fn end(&self, stop: &Stop, listing: &Listing) -> Result<Ended> {
        let mut ended = Ended::default();
        // Several DICOMDIR files may name the same instance.
        let mut missing = HashSet::new();
        for dicomdir in &*poisoned(&self.dicomdirs) {
            self.compare_medium(dicomdir, stop, listing, &mut missing)?;
        }
        ended.not_on_medium = missing.len() as u64;
        if let Some(brought) = &self.brought {
            ended.removed = Some(brought.remove(&self.rows, self.plan, stop, listing)?);
        }
        if let (Some(to), false) = (&self.to, stop.is_set()) {
            to.ledger.ended();
        }
        Ok(ended)
    }

    /// Closes the connection to the index.
    pub fn close(&self) {
        self.rows.close();
    }

    /// Lists the instances that a DICOMDIR names and that are neither on its medium nor in the
    /// index.
    fn compare_medium(
        &self,
        dicomdir: &Path,
        stop: &Stop,
        listing: &Listing,
        missing: &mut HashSet<String>,
    ) -> Result<()> {
        // A DICOMDIR that cannot be read is ignored.
        let Ok(compared) = Compared::of(&self.plan.sources.locator, dicomdir, stop) else { return Ok(()) };
        let missing_files = compared.missing.into_iter().map(|named| (named, "is not on the medium"));
        let unreadable = compared.unreadable.into_iter().map(|named| (named, "holds no instance that can be read"));
        let others = compared.others.into_iter().map(|(named, _)| (named, "is not on the medium"));
        let not_read: Vec<(Named, &str)> = missing_files.chain(unreadable).chain(others).collect();
        for portion in not_read.chunks(TOGETHER) {
            let uids: Vec<&str> = portion.iter().map(|(named, _)| named.sop_instance_uid.as_str()).collect();
            let Some(rows) = self.rows.paths(&uids)? else { break };
            for (Named { file, sop_instance_uid }, why) in portion {
                if !rows.contains_key(sop_instance_uid) && missing.insert(sop_instance_uid.clone()) {
                    let detail = format!("it names {file} ({sop_instance_uid}), which {why}");
                    listing.add("medium", dicomdir, "not-on-medium", &detail);
                }
            }
        }
        Ok(())
    }

    /// Returns the results of the import beside indexing.
    pub fn did(&self, ended: Ended) -> Imported {
        Imported {
            copies: (self.copied.load(Relaxed), self.copied_bytes.load(Relaxed)),
            in_conflict: self.in_conflict.load(Relaxed),
            damaged: self.damaged.load(Relaxed),
            fits_nothing: !self.plan.sources.selection.is_all() && self.taken.load(Relaxed) == 0,
            not_on_medium: ended.not_on_medium,
            shortfall: self.to.as_ref().and_then(|to| to.access.shortfall()),
            removed: ended.removed.map(|removed| (removed.files, removed.left)),
        }
    }
}

fn poisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
