//! The import, on one page: what lies below the sources is read, chosen, compared with what the archive has, copied to its
//! place there, and indexed like all files of the archive.
//!
//! ```text
//! sources -> walk -> header -> chosen? -> there already? -> copy -> sync, verify, rename -> the way of all files
//! ```
//!
//! Nothing in the archive is overwritten, and no source is touched, unless it is to be moved: then it is removed last,
//! once its copy is verified and its row is committed.

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

/// What is looked at.
pub struct Sources {
    pub roots: Roots,
    /// Their stubs are told as those of an archive.
    pub locator: Locator,
    pub selection: Selection,
}

/// Everything that an import needs to know.
pub struct Plan<'a> {
    pub sources: &'a Sources,
    pub path_map: &'a PathMap,
    /// What stands in the archive.
    pub stored: Stored,
    /// Sources are removed at the end.
    pub moves: bool,
    /// Files without preamble or file meta information get what they lack.
    pub completes: bool,
    pub copies_at_a_time: usize,
}

/// Where copies go.
pub struct Destination {
    pub filing: Filing,
    pub ledger: Ledger,
    pub mark: disk::Mark,
    pub access: CopyAccess,
}

pub struct Importer<'a> {
    plan: &'a Plan<'a>,
    rows: Rows,
    /// `None` indexes what is chosen where it lies.
    to: Option<Destination>,
    /// Hashes of the SOP Instance UIDs that were met.
    claimed: Mutex<HashSet<u64>>,
    later: Mutex<Vec<DeferredFile>>,
    /// The paths in the index of deferred files that were copied, by the hash of the instance.
    deferred_copies: Mutex<HashMap<u64, String>>,
    /// What says what a medium should hold.
    dicomdirs: Mutex<Vec<PathBuf>>,
    /// What may be removed at the end.
    brought: Option<removal::Brought>,
    copied: AtomicU64,
    /// Files that are not imported, since the archive has another one of their instance.
    in_conflict: AtomicU64,
    /// Instances that were chosen, and those of them that do not end where they should.
    taken: AtomicU64,
    damaged: AtomicU64,
    copied_bytes: AtomicU64,
}

/// So many rows are asked for at a time.
const TOGETHER: usize = 500;

/// What was done at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// So many files are named by a DICOMDIR, and neither on its medium nor in the index.
    pub not_on_medium: u64,
    /// Of a move.
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

    /// Once all is written: compares each DICOMDIR with its medium, and removes the sources of a move.
    pub fn end(&self, stop: &Stop, listing: &Listing) -> Result<Ended> {
        let mut ended = Ended::default();
        // Several may name the same.
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

    /// Nothing more will be asked of the index.
    pub fn close(&self) {
        self.rows.close();
    }

    /// Lists the instances that a DICOMDIR names and that are neither on its medium nor in the index.
    fn compare_medium(
        &self,
        dicomdir: &Path,
        stop: &Stop,
        listing: &Listing,
        missing: &mut HashSet<String>,
    ) -> Result<()> {
        // One that cannot be read says nothing.
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

    /// What an import did beside indexing.
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
