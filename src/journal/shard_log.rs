//! The records of a shard, as the merge reads them: read-only and without the lock, so that the merge can follow a shard that is
//! still being read.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LOG;
use super::begun::Begun;
use super::claim::LOCK;
use super::frames;
use super::log::{Frame, HEAD, Kind, Log};
use super::record::{self, Record, take_length};

/// What a run over a shard has left: the merge does not meet these files and directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEnd {
    pub directories_unreadable: u64,
    /// Files that are left to the PACS.
    pub young: u64,
    /// Whether most files of a shard are young, in directories where a PACS receives none.
    pub are_most_young: bool,
}

impl ShardEnd {
    /// Adds what another shard has left.
    pub fn add(&mut self, other: ShardEnd) {
        self.directories_unreadable += other.directories_unreadable;
        self.young += other.young;
        self.are_most_young |= other.are_most_young;
    }
}

/// The log of a shard.
pub struct ShardLog {
    /// The shard, as messages name it.
    name: String,
    directory: PathBuf,
    /// The settings by which the shard had been read when the log was opened.
    settings: u64,
    log: Log,
    /// The end of the last frame that was read.
    at: u64,
    progress: Progress,
    /// Whether records that were read since the shard was begun last are damaged.
    is_damaged: bool,
}

/// What the frames up to a place say of a shard.
#[derive(Clone, Default)]
struct Progress {
    begun: Option<Begun>,
    /// What the shard has left. `None` if it is not complete.
    end: Option<ShardEnd>,
    files: u64,
    /// Records before this place were read by other settings, and do not count.
    valid_from: u64,
}

/// What may follow in the log of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardState {
    /// Nothing. All files of the shard have been read.
    Complete,
    /// Another process is reading the shard.
    AtWork,
    /// Nothing, although files are missing. The process that read the shard was interrupted or killed.
    Stopped,
}

impl ShardLog {
    /// Opens the log of the shard in a directory. Messages call the shard by its name.
    pub fn open(directory: &Path, name: String) -> io::Result<Self> {
        let log = Log::open_to_read(&directory.join(LOG))?;
        let (progress, directory) = (Progress::default(), directory.to_owned());
        let mut shard = ShardLog { name, directory, settings: 0, log, at: HEAD, progress, is_damaged: false };
        shard.progress = shard.progress_to_end()?;
        shard.at = shard.progress.valid_from;
        shard.settings = shard.begun().map_or(0, |begun| begun.settings);
        Ok(shard)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the shard has left, if it is complete.
    pub fn end(&self) -> Option<ShardEnd> {
        self.progress.end
    }

    /// Whether the shard was begun with other settings since the log was opened.
    pub fn has_other_settings(&self) -> bool {
        self.begun().is_none_or(|begun| begun.settings != self.settings)
    }

    /// How the shard was begun last. `None` if it was not.
    pub fn begun(&self) -> Option<&Begun> {
        self.progress.begun.as_ref()
    }

    /// Whether a merge may begin: the shard is complete, or is being read.
    pub fn may_be_merged(&self) -> io::Result<bool> {
        Ok(self.progress.begun.is_some() && (self.progress.end.is_some() || self.is_at_work()?))
    }

    /// The number of records in the log when it was opened, superseded ones among them.
    pub fn files(&self) -> u64 {
        self.progress.files
    }

    /// Returns the next records of the log. `None` if the log contains no more, for now.
    ///
    /// Damaged records are left out. Where the shard was begun once more behind them, it has read their files again.
    pub fn read_next(&mut self) -> io::Result<Option<Vec<Record>>> {
        while let Some(frame) = self.log.frame_at(self.at)? {
            let mut records = None;
            match frame.kind {
                Kind::Begun => self.is_damaged = false,
                kind if kind.has_files() => match self.records_of(&frame) {
                    Ok(found) => records = Some(found),
                    // A network file system may show the end of a log that is being written before its contents.
                    Err(_) if self.is_at_work()? => return Ok(None),
                    Err(_) => self.is_damaged = true,
                },
                _ => {}
            }
            self.at = frame.end();
            if records.is_some() {
                return Ok(records);
            }
        }
        Ok(None)
    }

    /// Whether records of the shard could not be read.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Returns what may follow behind the records that were read. Opens the log again if the shard has written a new one.
    pub fn state(&mut self) -> io::Result<ShardState> {
        // The order matters: a process may complete the shard after its log was read, and before its lock is tried.
        let is_at_work = self.is_at_work()?;
        if Log::id_of(&self.directory.join(LOG))? != self.log.id {
            let settings = self.settings;
            *self = ShardLog::open(&self.directory, std::mem::take(&mut self.name))?;
            self.settings = settings;
            return Ok(ShardState::AtWork);
        }
        self.progress = self.progress_to_end()?;
        match (self.log.frame_at(self.at)?.is_some(), self.progress.end.is_some(), is_at_work) {
            (true, ..) => Ok(ShardState::AtWork),
            (false, true, _) => Ok(ShardState::Complete),
            (false, false, true) => Ok(ShardState::AtWork),
            (false, false, false) => Ok(ShardState::Stopped),
        }
    }

    /// Whether another process holds the lock of the shard.
    fn is_at_work(&self) -> io::Result<bool> {
        match File::open(self.directory.join(LOCK)) {
            Ok(lock) => match lock.try_lock_shared() {
                Ok(()) => Ok(false),
                Err(TryLockError::WouldBlock) => Ok(true),
                Err(TryLockError::Error(error)) => Err(error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn progress_to_end(&self) -> io::Result<Progress> {
        let (mut progress, mut at) = (Progress { valid_from: HEAD, ..Progress::default() }, HEAD);
        while let Some(frame) = self.log.frame_at(at)? {
            at = frame.end();
            match frame.kind {
                Kind::Begun => {
                    let begun = self.log.payload(&frame).and_then(|payload| Begun::decode(&payload));
                    (progress.begun, progress.end) = (begun.ok(), None);
                }
                Kind::Closed => {
                    let end = self.log.payload(&frame).and_then(|payload| record::decode(&payload));
                    progress.end = Some(end.unwrap_or_default());
                }
                Kind::Distrusted => (progress.valid_from, progress.files) = (at, 0),
                kind if kind.has_files() => {
                    progress.files += take_length(&mut self.log.read(frame.at, 4)?.as_slice())? as u64;
                }
                _ => {}
            }
        }
        Ok(progress)
    }

    fn records_of(&mut self, frame: &Frame) -> io::Result<Vec<Record>> {
        let payload = self.log.payload(frame)?;
        if self.log.form_at(frame.at).is_err() {
            self.log.learn_forms()?;
        }
        frames::noted_records(&payload, self.log.form_at(frame.at)?)
    }
}
