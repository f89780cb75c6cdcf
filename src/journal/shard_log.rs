//! The records of a shard, as the merge reads them: read-only and without the lock, so that the merge can follow a shard that is
//! still being read.

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
    /// The end of the last frame that was read of the latest run over the shard.
    at: u64,
    /// The parts of the log that earlier runs wrote, the latest last. They are read after the latest run, whose records of files
    /// supersede theirs.
    earlier: Vec<Range<u64>>,
    progress: Progress,
    /// The place from which on records counted when the log was opened.
    valid_from: u64,
    /// Whether records are damaged.
    is_damaged: bool,
}

/// What the frames up to a place say of a shard.
#[derive(Clone, Default)]
struct Progress {
    /// The end of the last frame that was looked at.
    at: u64,
    begun: Option<Begun>,
    /// What the shard has left. `None` if it is not complete.
    end: Option<ShardEnd>,
    files: u64,
    /// Records before this place were read by other settings, or are to be read again, and do not count.
    valid_from: u64,
    /// The beginnings of the runs from there on.
    runs: Vec<u64>,
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

    /// What the shard has left, if it is complete.
    pub fn end(&self) -> Option<ShardEnd> {
        self.progress.end
    }

    /// Whether the shard was begun with other settings, or with `--force`, since the log was opened.
    pub fn was_begun_anew(&self) -> bool {
        self.progress.valid_from != self.valid_from || self.begun().is_none_or(|begun| begun.settings != self.settings)
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
    /// The records of the latest run come first. Damaged records are left out.
    pub fn read_next(&mut self) -> io::Result<Option<Vec<Record>>> {
        while let Some(frame) = self.log.frame_at(self.at)? {
            let records = frame.kind.has_files().then(|| self.records_of(&frame));
            // A network file system may show the end of a log that is being written before its contents.
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

    /// Whether records of the shard could not be read.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Returns what may follow behind the records that were read. Opens the log again if the shard has written a new one.
    pub fn state(&mut self) -> io::Result<ShardState> {
        // The order matters: a process may complete the shard after its log was read, and before its lock is tried.
        let is_at_work = self.is_at_work()?;
        if Log::id_of(&self.directory.join(LOG))? != self.log.id {
            // A shard that writes its log anew starts with the same records.
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

    /// Whether another process holds the lock of the shard.
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
    /// Looks at the frames that were appended since. A merge that follows a shard asks five times a second.
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
                    // A damaged number must not count: no frame has more files than its size allows.
                    let files = take_length(&mut log.read(frame.at, 4)?.as_slice())? as u64;
                    self.files += files.min((frame.end() - frame.at) / states::SIZE as u64);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
