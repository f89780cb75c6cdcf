//! The state that the stages before the index share: which files are read, and how.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jiff::SignedDuration;
use jiff::civil::Date;

use super::bring::Bring;
use super::recorded::Shards;
use super::stop::Stop;
use super::{Receipt, again, census, recall, storage, watch};
use crate::archive::{Locator, Roots, Shard};
use crate::error::{Error, Result};
use crate::journal::{Journal, Room};
use crate::report::account::Account;
use crate::report::listing::Listing;

/// The files that a run indexes.
#[derive(Clone, Copy)]
pub enum Files<'a> {
    /// All files below the roots.
    Walked,
    /// Only these files.
    Named(&'a [PathBuf]),
    /// Files that an import brings below the roots.
    Brought(&'a dyn Bring),
    /// Files that shards have recorded.
    Recorded(&'a Shards),
}

impl Files<'_> {
    /// Whether the run finds all files below its roots, so that files which it does not find are
    /// gone.
    pub fn is_whole_archive(&self) -> bool {
        matches!(self, Files::Walked | Files::Recorded(_))
    }
}

/// The files to read, and how to read them.
pub struct Sources<'a> {
    pub roots: &'a Roots,
    pub files: Files<'a>,
    /// The part of the archive to read; `None` reads all of it.
    pub shard: Option<Shard>,
    /// The first day to read: directories of earlier days are skipped.
    pub first_day: Option<Date>,
    pub locator: &'a Locator,
    pub receipt: Receipt,
    /// Minimum age of a file. Younger files are left to the PACS.
    pub settle: SignedDuration,
    /// Whether to open all files, even those that are unchanged according to the journal.
    pub reads_all: bool,
    pub walk_threads: usize,
    pub io_threads: usize,
    /// Whether to count the files ahead of the work, for a progress bar.
    pub count_ahead: bool,
    pub listing: &'a Listing,
    pub stop: &'a Stop,
}

/// The state of the stages before the index.
pub struct Intake<'a> {
    pub sources: &'a Sources<'a>,
    pub journal: OnceLock<Arc<Journal>>,
    /// The disk space that the journal needs.
    room: Option<Room>,
    /// The error if the disk has no room for the journal of all files.
    lacks_room: OnceLock<Error>,
    pub account: Account,
    pub census: census::Census,
    pub again: again::Again,
    pub watch: watch::Watch,
    pub storage: storage::Storage,
    pub recall: recall::Wanted,
}

impl<'a> Intake<'a> {
    pub fn new(sources: &'a Sources<'a>, journal: Option<&Journal>) -> Result<Self> {
        let scratch = sources.listing.directory();
        Ok(Intake {
            sources,
            journal: OnceLock::new(),
            room: journal.map(Room::of),
            lacks_room: OnceLock::new(),
            account: Account::default(),
            census: census::Census::default(),
            again: again::Again::new(scratch, sources.receipt.today()).map_err(again::spool_failed)?,
            watch: watch::Watch::default(),
            storage: storage::Storage::of([("archive", sources.roots), ("source", sources.walked())]),
            recall: recall::Wanted::new(sources.locator.policy()),
        })
    }

    /// Returns the journal, once it is open.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.get().map(Arc::as_ref)
    }

    /// Counts the files ahead of the work. Stops the run if the journal has no room for all of
    /// them.
    pub fn count_ahead(&self) {
        self.census.count(self.sources);
        if let (Some(files), Some(room)) = (self.census.total(), &self.room)
            && let Err(error) = room.check(files)
        {
            self.lacks_room.get_or_init(|| error);
            self.sources.stop.set();
        }
    }

    /// Takes the error of a run that was stopped because its journal has no room.
    pub fn take_lack(&mut self) -> Option<Error> {
        self.lacks_room.take()
    }

    /// Checks whether a file cannot be read because its root is gone. If so, stops the run.
    pub fn stops_without_root(&self, path: &Path, error: &io::Error) -> bool {
        let is_gone = self.storage.fails(path, error);
        if is_gone {
            self.sources.stop.set();
        }
        is_gone
    }
}
