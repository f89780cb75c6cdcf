//! Rescan: finds the files that the PACS stored or moved during the run, which may take hours.
//!
//! After all files are read and written, the rescan lists the directories again and inspects those
//! that changed since the run began. New files in them go through the same stages. Finding them
//! opens no file.
//!
//! Two rules keep the counts exact. A file that the first walk found is recognized by the hash of
//! its path and is not counted again. A file that was skipped as too young is removed from that
//! count when the rescan sends it on, and is then counted with its new outcome.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::mem::take;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::Sender;
use jiff::civil::Date;

use super::spool::Spool;
use super::walk;
use super::{Intake, no_threads};
use crate::archive::FoundFile;
use crate::archive::changed::Since;
use crate::archive::walk::{Enough, FILES_PER_MESSAGE, Found};
use crate::error::{Error, Result};
use crate::report::account::Fate;

/// Maximum number of young files to remember, at about a hundred bytes each. Further young files
/// are left to the next run.
const YOUNG: usize = 200_000;

/// Number of files of changed directories to compare with the first walk's files at a time.
const PORTION: usize = 65_536;

pub struct Again {
    pub since: Since,
    /// Hashes of the paths that the first walk found: eight bytes per file, on disk.
    found: Spool,
    young: Mutex<Vec<FoundFile>>,
    /// The number of young files outside of the directories of today and yesterday.
    pub in_old_directories: AtomicU64,
    yesterday: Date,
}

impl Again {
    /// Creates the rescan state. `today` is the current day by the clock of the PACS.
    pub fn new(directory: &Path, today: Date) -> io::Result<Self> {
        Ok(Again {
            since: Since::now(),
            found: Spool::create(directory)?,
            young: Mutex::default(),
            in_old_directories: AtomicU64::new(0),
            yesterday: today.yesterday().unwrap_or(today),
        })
    }

    fn is_old_directory(&self, file: &FoundFile) -> bool {
        file.received_on.is_none_or(|day| day < self.yesterday)
    }

    pub fn found(&self, files: &[FoundFile]) {
        self.found.append(files.iter().map(|file| hash(file.path()).to_le_bytes()));
    }

    /// Records a file that was skipped as too young.
    pub fn left(&self, file: FoundFile) {
        self.in_old_directories.fetch_add(self.is_old_directory(&file).into(), Relaxed);
        let mut young = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        if young.len() < YOUNG {
            young.push(file);
        }
    }

    /// Returns the files that the first walk did not find, sorted by path.
    fn new_of(&self, files: Vec<FoundFile>) -> io::Result<Vec<FoundFile>> {
        if files.is_empty() {
            return Ok(files);
        }
        let mut new: HashMap<[u8; 8], FoundFile> =
            files.into_iter().map(|file| (hash(file.path()).to_le_bytes(), file)).collect();
        self.found.replay(|hash| {
            new.remove(hash);
            if new.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let mut new: Vec<FoundFile> = new.into_values().collect();
        new.sort_unstable_by(|a, b| a.path().cmp(b.path()));
        Ok(new)
    }
}

/// Returns the hash of a path. Ten million paths would not fit into memory, and hardly into a state
/// directory.
fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Both walks spell a path the same way, so the whole path is hashed, not its components.
    path.as_os_str().hash(&mut hasher);
    hasher.finish()
}

/// The walk stage of the rescan.
pub(super) fn walk_again(intake: &Intake<'_>, files: &Sender<Vec<FoundFile>>) -> Result<()> {
    take_up(intake, files);
    let pending: Mutex<Vec<FoundFile>> = Mutex::default();
    let sink = |found: Found| {
        // The first walk has reported everything else, or the next run will.
        if let Found::Files(changed) = found {
            let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.extend(changed);
            if pending.len() >= PORTION {
                send_new(intake, take(&mut pending), files).map_err(|_| Enough)?;
            }
        }
        if intake.sources.stop.is_set() { Err(Enough) } else { Ok(()) }
    };
    let walk = intake.sources.walk().changed_since(intake.again.since);
    walk.run(&sink).map_err(no_threads)?;
    send_new(intake, pending.into_inner().unwrap_or_else(PoisonError::into_inner), files).map_err(spool_failed)
}

/// Sends young files to the readers again. A file that is still too young is skipped again; a file
/// that no longer exists still counts as too young.
fn take_up(intake: &Intake<'_>, files: &Sender<Vec<FoundFile>>) {
    let mut young = take(&mut *intake.again.young.lock().unwrap_or_else(PoisonError::into_inner));
    young.retain(|file| std::fs::symlink_metadata(file.path()).is_ok());
    for part in in_messages(young) {
        if intake.sources.stop.is_set() {
            return;
        }
        intake.account.take_back(Fate::TooYoung, part.len());
        let old = part.iter().filter(|file| intake.again.is_old_directory(file)).count() as u64;
        intake.again.in_old_directories.fetch_sub(old, Relaxed);
        walk::send(intake, part, files);
    }
}

fn send_new(intake: &Intake<'_>, changed: Vec<FoundFile>, files: &Sender<Vec<FoundFile>>) -> io::Result<()> {
    for part in in_messages(intake.again.new_of(changed)?) {
        if intake.sources.stop.is_set() {
            return Ok(());
        }
        intake.account.found(part.len());
        walk::send(intake, part, files);
    }
    Ok(())
}

fn in_messages(files: Vec<FoundFile>) -> impl Iterator<Item = Vec<FoundFile>> {
    let mut files = files.into_iter();
    std::iter::from_fn(move || {
        let part: Vec<FoundFile> = files.by_ref().take(FILES_PER_MESSAGE).collect();
        (!part.is_empty()).then_some(part)
    })
}

pub fn spool_failed(error: io::Error) -> Error {
    Error::unfinished(
        format!("cannot write the files found by the run to disk: {error}"),
        "Files that came or went during the run were not looked at; all others are indexed. Make room beside the list of \
         rejected files, and run the command again.",
    )
}
