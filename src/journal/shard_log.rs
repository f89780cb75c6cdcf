//! The records of a shard, as the merge reads them: read-only and without the lock, so that the
//! merge can follow a shard that is still being read.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::begun::Begun;
use super::claim::LOCK;
use super::log::{Frame, HEAD, Kind, Log};
use super::record::{self, Record, take_length};
use super::{LOG, frames, states};

/// Counts of the files and directories that a run over a shard has left out. The merge does not
/// find them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEnd {
    pub directories_unreadable: u64,
    /// Files that are so new that they are left to the PACS.
    pub young: u64,
    /// Whether most files of a shard are young, although a PACS receives no files in their
    /// directories.
    pub are_most_young: bool,
}

impl ShardEnd {
    /// Adds the counts of another shard.
    pub fn add(&mut self, other: ShardEnd) {
        self.directories_unreadable += other.directories_unreadable;
        self.young += other.young;
        self.are_most_young |= other.are_most_young;
    }
}

/// The log of a shard.
pub struct ShardLog {
    /// The name of the shard in messages.
    name: String,
    directory: PathBuf,
    /// The settings with which the shard had been read when the log was opened.
    settings: u64,
    log: Log,
    /// The end of the last frame that was read of the latest run over the shard.
    at: u64,
    /// The parts of the log that earlier runs wrote, the latest last. They are read after the
    /// latest run, whose records supersede theirs.
    earlier: Vec<Range<u64>>,
    progress: Progress,
    /// The offset from which on records were valid when the log was opened.
    valid_from: u64,
    /// Whether any record is damaged.
    is_damaged: bool,
}

/// The progress of a shard, as recorded in the frames up to an offset.
#[derive(Clone, Default)]
struct Progress {
    /// The end of the last frame that was read.
    at: u64,
    begun: Option<Begun>,
    /// The counts of a complete shard. `None` if the shard is not complete.
    end: Option<ShardEnd>,
    files: u64,
    /// Records before this offset are not valid: they were read with other settings, or are to be
    /// read again.
    valid_from: u64,
    /// The offsets of the runs after it.
    runs: Vec<u64>,
}

/// Whether more records may follow in the log of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardState {
    /// All files of the shard have been read.
    Complete,
    /// Another process is reading the shard.
    AtWork,
    /// Files are missing, but no process is reading the shard: the last one was interrupted or
    /// killed.
    Stopped,
}

impl ShardLog {
    /// Opens the log of the shard in a directory. `name` is used in messages.
    pub fn open(directory: &Path, name: String) -> io::Result<Self> {
        let log = Log::open_to_read(&directory.join(LOG))?;
        let mut progress = Progress { at: HEAD, valid_from: HEAD, ..Progress::default() };
        progress.extend(&log)?;
        let valid_from = progress.valid_from;
        let starts: Vec<u64> = [valid_from].into_iter().chain(progress.runs.iter().copied()).collect();
        Ok(ShardLog {
            name,
            directory: directory.to_owned(),
            settings: progress.begun.as_ref().map_or(0, |begun| begun.settings),
            log,
            at: starts.last().copied().unwrap_or(valid_from),
            earlier: starts.windows(2).map(|pair| pair[0]..pair[1]).collect(),
            progress,
            valid_from,
            is_damaged: false,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the counts of the shard, if it is complete.
    pub fn end(&self) -> Option<ShardEnd> {
        self.progress.end
    }

    /// Returns whether the shard was begun with other settings, or with `--force`, since the log
    /// was opened.
    pub fn was_begun_anew(&self) -> bool {
        self.progress.valid_from != self.valid_from || self.begun().is_none_or(|begun| begun.settings != self.settings)
    }

    /// Returns the header of the latest run over the shard. `None` if there was none.
    pub fn begun(&self) -> Option<&Begun> {
        self.progress.begun.as_ref()
    }

    /// Returns whether a merge may begin: the shard is complete, or is being read.
    pub fn may_be_merged(&self) -> io::Result<bool> {
        Ok(self.progress.begun.is_some() && (self.progress.end.is_some() || self.is_at_work()?))
    }

    /// Returns the number of records in the log when it was opened, including superseded ones.
    pub fn files(&self) -> u64 {
        self.progress.files
    }

    /// Returns the next records of the log. `None` if the log contains no more at present.
    ///
    /// The records of the latest run come first. Damaged records are left out.
    pub fn read_next(&mut self) -> io::Result<Option<Vec<Record>>> {
        while let Some(frame) = self.log.frame_at(self.at)? {
            let records = frame.kind.has_files().then(|| self.records_of(&frame));
            // A network file system may show the new length of a log before its contents.
            let may_be_incomplete = matches!(records, Some(Err(_))) && self.log.frame_at(frame.end())?.is_none();
            if may_be_incomplete && self.is_at_work()? {
                break;
            }
            self.at = frame.end();
            match records {
                Some(Ok(records)) => return Ok(Some(records)),
                Some(Err(_)) => self.is_damaged = true,
                None => {}
            }
        }
        while let Some(part) = self.earlier.last_mut() {
            let frame = self.log.frame_at(part.start)?.filter(|frame| frame.start() < part.end);
            let Some(frame) = frame else {
                self.earlier.pop();
                continue;
            };
            part.start = frame.end();
            match frame.kind.has_files().then(|| self.records_of(&frame)) {
                Some(Ok(records)) => return Ok(Some(records)),
                Some(Err(_)) => self.is_damaged = true,
                None => {}
            }
        }
        Ok(None)
    }

    /// Returns whether any record of the shard could not be read.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Returns whether more records may follow. Opens the log again if the shard has rewritten it.
    pub fn state(&mut self) -> io::Result<ShardState> {
        // The order matters: a process may complete the shard after its log was read and before its
        // lock is tried.
        let is_at_work = self.is_at_work()?;
        if Log::id_of(&self.directory.join(LOG))? != self.log.id {
            // A rewritten log starts with the same records.
            let settings = self.settings;
            *self = ShardLog::open(&self.directory, self.name.clone())?;
            self.settings = settings;
            return Ok(ShardState::AtWork);
        }
        self.progress.extend(&self.log)?;
        let has_more = self.log.frame_at(self.at)?.is_some() || !self.earlier.is_empty();
        // A process that holds the lock of a complete shard is about to read it again.
        match (has_more || is_at_work, self.progress.end.is_some()) {
            (true, _) => Ok(ShardState::AtWork),
            (false, true) => Ok(ShardState::Complete),
            (false, false) => Ok(ShardState::Stopped),
        }
    }

    /// Returns whether another process holds the lock of the shard.
    fn is_at_work(&self) -> io::Result<bool> {
        let path = self.directory.join(LOCK);
        // A FIFO would block.
        if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Ok(false);
        }
        match File::open(path) {
            Ok(lock) => match lock.try_lock_shared() {
                Ok(()) => Ok(false),
                Err(TryLockError::WouldBlock) => Ok(true),
                Err(TryLockError::Error(error)) => Err(error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn records_of(&mut self, frame: &Frame) -> io::Result<Vec<Record>> {
        let payload = self.log.payload(frame)?;
        if self.log.form_at(frame.at).is_err() {
            self.log.learn_forms()?;
        }
        frames::noted_records(&payload, self.log.form_at(frame.at)?)
    }
}

impl Progress {
    /// Reads the frames that were appended since the last call. A merge that follows a shard calls
    /// this five times a second.
    fn extend(&mut self, log: &Log) -> io::Result<()> {
        while let Some(frame) = log.frame_at(self.at)? {
            self.at = frame.end();
            match frame.kind {
                Kind::Begun => {
                    let begun = log.payload(&frame).and_then(|payload| Begun::decode(&payload));
                    (self.begun, self.end) = (begun.ok(), None);
                    self.runs.push(frame.start());
                }
                Kind::Closed => {
                    let end = log.payload(&frame).and_then(|payload| record::decode(&payload));
                    self.end = Some(end.unwrap_or_default());
                }
                Kind::Distrusted => {
                    (self.valid_from, self.files) = (self.at, 0);
                    self.runs.clear();
                }
                kind if kind.has_files() => {
                    // A damaged count must not be used: no frame contains more files than its size
                    // allows.
                    let files = take_length(&mut log.read(frame.at, 4)?.as_slice())? as u64;
                    self.files += files.min((frame.end() - frame.at) / states::SIZE as u64);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
