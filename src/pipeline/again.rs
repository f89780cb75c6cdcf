//! The second look: a run over terabytes takes hours, and the PACS goes on receiving and moving files meanwhile.
//!
//! When all has been read and written, directories are listed again. Those that changed since the run began are looked
//! into; files there that are new go through the same stages. Nothing is opened to find them.
//!
//! The account stays exact by two rules. A file that the first walk has found is known by its hash and is not found again:
//! its fate stands. Files that were left as too young lose that fate when they are taken up, and get another one.

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

/// As many young files are remembered, some hundred bytes each; further ones are left to the next run.
const YOUNG: usize = 200_000;

/// As many files of changed directories are compared at a time with what the first walk has found.
const PORTION: usize = 65_536;

pub struct Again {
    pub since: Since,
    /// The hash of each path that the first walk has found: eight bytes a file, on disk.
    found: Spool,
    young: Mutex<Vec<FoundFile>>,
    /// The number of young files outside of the directories of today and yesterday.
    pub in_old_directories: AtomicU64,
    yesterday: Date,
}

impl Again {
    /// `today` is the day by the clock of the PACS.
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

    /// A file was left as too young.
    pub fn left(&self, file: FoundFile) {
        self.in_old_directories.fetch_add(self.is_old_directory(&file).into(), Relaxed);
        let mut young = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        if young.len() < YOUNG {
            young.push(file);
        }
    }

    /// Those that the first walk has not found, directory by directory.
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

/// Ten million paths would not fit into memory, and hardly into a state directory.
fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Both walks spell a path alike: it is hashed whole, and not by its parts.
    path.as_os_str().hash(&mut hasher);
    hasher.finish()
}

/// The walk stage of the second look.
pub(super) fn walk_again(intake: &Intake<'_>, files: &Sender<Vec<FoundFile>>) -> Result<()> {
    take_up(intake, files);
    let pending: Mutex<Vec<FoundFile>> = Mutex::default();
    let sink = |found: Found| {
        // Whatever else there is was told by the first walk, or the next run tells it.
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

/// Young files are looked at once more; they are old enough now, or are left again. One that has gone was indeed
/// left to the PACS.
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
        format!("what the run had found could not be kept on disk: {error}"),
        "Files that came or went during the run were not looked at; all others are indexed. Make room beside the list of \
         rejected files, and run the command again.",
    )
}
