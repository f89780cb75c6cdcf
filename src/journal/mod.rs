//! The journal: what former runs have read, so that a file that is as it was need not be opened again, and what a run
//! that was killed has written, so that the next one goes on as if it had not been.
//!
//! It may save the reading of a header, never a look at the index: each run asks the index for its rows, and what has
//! none there is written again, from the record of the file. So a journal that is lost, or older than the index, or of
//! an index that was restored, costs time and nothing else.
//!
//! In its directory lie the [`log`], to which runs append; [`states`], sorted by path, made anew from the log when
//! a run begins; and a lock. It holds data of patients, and only its owner may read it.

mod batch;
mod log;
pub mod record;
mod states;

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

pub use batch::Batch;
use log::{Frame, HEAD, Kind, Log};
use record::{Record, encode};
use serde::{Deserialize, Serialize};
pub use states::{Fate, State};

use crate::dicom::ATTRIBUTES;
use crate::error::{Error, Result};
use crate::index::ImageRow;
use crate::sorted::{Cursor, Sorter, Table};

const STATES: &str = "states";
const ABOUT: &str = "about";

/// What a run does that finds another one at work on its journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Busy {
    #[default]
    Leave,
    Wait,
}

/// How a run begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// All that makes a difference to rows.
    pub settings: String,
    /// The index had no image.
    pub with_empty_index: bool,
}

pub struct Journal {
    directory: PathBuf,
    /// Held until the end of the run.
    _lock: File,
    log: Log,
    /// From the end of the last run that settled everything.
    frames: Vec<Frame>,
    states: Option<Table<{ states::SIZE }>>,
    /// Hashes of the rows of the index, as they were when the run began.
    rows: Option<Table<8>>,
    /// Where in the log the run begins that this one continues, if there is one.
    continued: Option<u64>,
    /// What was known when the run began.
    begun: Begun,
}

/// What one reader has read of a journal last.
#[derive(Default)]
pub struct Cursors {
    states: Cursor<{ states::SIZE }>,
    rows: Cursor<8>,
    block: Option<(u64, Vec<Option<Record>>)>,
}

impl Journal {
    /// Of what the journal in a directory is.
    pub fn key(directory: &Path) -> io::Result<String> {
        std::fs::read_to_string(directory.join(ABOUT))
    }

    /// Opens the journal in a directory, which is made if it is missing. `key` says of what it is.
    pub fn open(directory: &Path, key: &str, busy: Busy) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::usage(
                format!("the journal in {} cannot be used: {error}", directory.display()),
                "Name a directory that you may write to, with room: --state DIR",
            )
        };
        make_private(directory).map_err(failed)?;
        let lock = lock(directory, busy, failed)?;
        check_key(directory, key, failed)?;
        Self::read(directory, lock).map_err(failed)
    }

    fn read(directory: &Path, lock: File) -> io::Result<Self> {
        let log = Log::open(&directory.join("log"), meaning())?;
        let states = File::open(directory.join(STATES)).and_then(Table::open);
        let mut states = states.ok().filter(|states| states.note[0] == log.id);
        let mut frames = log.frames(states.as_ref().map_or(HEAD, |states| states.note[2]))?;
        if states.as_ref().is_some_and(|states| states.note[1] > log.end()) {
            states = None;
            frames = log.frames(HEAD)?;
        }
        log.cut()?;
        let begun = Begun::default();
        let directory = directory.to_owned();
        let mut journal = Journal { directory, _lock: lock, log, frames, states, rows: None, continued: None, begun };
        journal.continued = journal.open_frames().first().map(|frame| frame.at);
        Ok(journal)
    }

    /// The frames of a run that did not settle everything.
    fn open_frames(&self) -> &[Frame] {
        let closed = self.frames.iter().rposition(|frame| frame.kind == Kind::Closed);
        &self.frames[closed.map_or(0, |closed| closed + 1)..]
    }

    /// Begins a run, or goes on with the one before, if that did not settle everything and had the same settings.
    /// Returns whether it goes on; what the other then has written stands as it is.
    pub fn begin(&mut self, now: Begun) -> bool {
        let frame = self.open_frames().iter().find(|frame| frame.kind == Kind::Begun);
        let payload = frame.and_then(|frame| self.log.payload(frame).ok());
        let before = payload.and_then(|payload| record::decode::<Begun>(&payload).ok());
        if let Some(before) = before.filter(|before| before.settings == now.settings) {
            self.begun = before;
            return true;
        }
        if self.continued.take().is_some() {
            self.log.append(Kind::Closed, &[]);
        }
        self.log.append(Kind::Begun, &encode(&now));
        self.begun = now;
        false
    }

    /// The index had no image when the run began, be it this one or the one that it continues.
    pub fn began_with_empty_index(&self) -> bool {
        self.begun.with_empty_index
    }

    pub fn is_continued(&self) -> bool {
        self.continued.is_some()
    }

    /// The last batch of each writer, if nobody knows whether it is committed.
    pub fn in_doubt(&self) -> io::Result<Vec<Batch>> {
        let mut last = HashMap::new();
        for frame in self.open_frames() {
            match frame.kind {
                Kind::Batch => drop(last.insert(self.writer_of(frame)?, *frame)),
                Kind::Committed => drop(last.remove(&self.writer_of(frame)?)),
                _ => {}
            }
        }
        // One that is torn was not followed by a commit.
        Ok(last.into_values().filter_map(|frame| Batch::decode(&self.log.payload(&frame).ok()?).ok()).collect())
    }

    fn writer_of(&self, frame: &Frame) -> io::Result<Vec<u8>> {
        self.log.read(frame.at, 4)
    }

    /// Brings the states up to what the log has.
    pub fn update(&mut self) -> io::Result<()> {
        let known = self.frames.last().map_or(self.log.end(), Frame::end);
        let appended = self.log.frames(known)?;
        self.frames.extend(appended);
        let covered = self.states.as_ref().map_or(HEAD, |states| states.note[1]);
        let mut sorter = Sorter::new(&self.directory);
        let mut is_new = false;
        for (frame, is_committed) in self.with_commits() {
            if frame.at < covered || !is_committed {
                continue;
            }
            // A frame that is damaged is of files that are read again.
            for state in batch::states(&self.log, &frame).unwrap_or_default() {
                is_new = true;
                sorter.push(state.encode())?;
            }
        }
        let settled = self.frames.iter().rfind(|frame| frame.kind == Kind::Closed).map_or(HEAD, Frame::end);
        if is_new {
            let new = tempfile::Builder::new().prefix(STATES).tempfile_in(&self.directory)?;
            let note = [self.log.id, self.log.end(), settled.max(self.states.as_ref().map_or(HEAD, |s| s.note[2]))];
            let table = sorter.finish(self.states.as_slice(), states::KEY, note, new.reopen()?)?;
            new.persist(self.directory.join(STATES)).map_err(|error| error.error)?;
            self.states = Some(table);
        }
        Ok(())
    }

    /// Frames with records, and whether what they tell is committed.
    fn with_commits(&self) -> Vec<(Frame, bool)> {
        let mut all: Vec<(Frame, bool)> = Vec::new();
        let mut pending: HashMap<Vec<u8>, usize> = HashMap::new();
        for frame in &self.frames {
            match (frame.kind, self.writer_of(frame)) {
                (Kind::Batch, Ok(writer)) => {
                    pending.insert(writer, all.len());
                    all.push((*frame, false));
                }
                (Kind::Committed, Ok(writer)) => {
                    pending.remove(&writer).into_iter().for_each(|n| all[n].1 = true);
                }
                (Kind::Noted, _) => all.push((*frame, true)),
                // Numbers of writers begin anew.
                (Kind::Begun | Kind::Closed, _) => pending.clear(),
                _ => {}
            }
        }
        all
    }

    /// What the run that is continued has committed, batch by batch.
    pub fn replay<E>(&self, mut each: impl FnMut(Batch) -> Result<(), E>) -> Result<(), E> {
        self.replay_frames(Kind::Batch, |payload| Batch::decode(payload).map_or(Ok(()), &mut each))
    }

    /// Its files without an entry.
    pub fn noted<E>(&self, mut each: impl FnMut(Record) -> Result<(), E>) -> Result<(), E> {
        self.replay_frames(Kind::Noted, |payload| {
            batch::noted_records(payload).unwrap_or_default().into_iter().try_for_each(&mut each)
        })
    }

    fn replay_frames<E>(&self, kind: Kind, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let Some(from) = self.continued else { return Ok(()) };
        for (frame, is_committed) in self.with_commits() {
            if frame.kind == kind
                && frame.at >= from
                && is_committed
                && let Ok(payload) = self.log.payload(&frame)
            {
                each(&payload)?;
            }
        }
        Ok(())
    }

    /// Whether anything is known of any file, so that it is worth asking for the rows of the index.
    pub fn knows_files(&self) -> bool {
        self.states.as_ref().is_some_and(|states| states.count > 0)
    }

    /// Takes the rows of the index: `next` is called until it has no more.
    pub fn take_rows<E: From<io::Error>>(
        &mut self,
        mut next: impl FnMut() -> Result<Vec<ImageRow>, E>,
    ) -> Result<(), E> {
        let mut sorter = Sorter::new(&self.directory);
        loop {
            let rows = next()?;
            if rows.is_empty() {
                break;
            }
            for ImageRow { sop_instance_uid, path, has_patient } in rows {
                let row = states::row(&sop_instance_uid, &path);
                if has_patient {
                    sorter.push(row.to_be_bytes())?;
                }
                if self.continued.is_some() {
                    sorter.push(provisional(row).to_be_bytes())?;
                    sorter.push(states::instance(&sop_instance_uid).to_be_bytes())?;
                }
            }
        }
        self.rows = Some(sorter.finish(&[], 8, [0; 3], tempfile::tempfile_in(&self.directory)?)?);
        Ok(())
    }

    /// What is known of a file.
    pub fn state(&self, path: &Path, cursors: &mut Cursors) -> Option<State> {
        let found = self.states.as_ref()?.find(&states::key(path), &mut cursors.states).ok()??;
        Some(State::decode(&found))
    }

    /// Whether the row that a file had was there when the run began. One of a run that is continued may lack its patient.
    pub fn has_row(&self, state: &State, cursors: &mut Cursors) -> bool {
        self.has(if self.is_of_this_run(state) { provisional(state.row) } else { state.row }, cursors)
    }

    /// Whether an instance had a row, whatever file that names. Known in a run that is continued.
    pub fn has_instance(&self, sop_instance_uid: &str, cursors: &mut Cursors) -> bool {
        self.has(states::instance(sop_instance_uid), cursors)
    }

    fn has(&self, hash: u64, cursors: &mut Cursors) -> bool {
        let found = self.rows.as_ref().map(|rows| rows.find(&hash.to_be_bytes(), &mut cursors.rows));
        matches!(found, Some(Ok(Some(_))))
    }

    /// The state is of the run that this one continues.
    pub fn is_of_this_run(&self, state: &State) -> bool {
        self.continued.is_some_and(|from| state.at >= from)
    }

    /// The record of a file, if it can be had and is this file's.
    pub fn record(&self, state: &State, path: &Path, cursors: &mut Cursors) -> Option<Record> {
        for _ in 0..2 {
            let (at, records) = cursors.block.get_or_insert_default();
            match records.get_mut(usize::from(state.member)) {
                Some(record) if *at == state.at && record.is_some() => {
                    return record
                        .take()
                        .filter(|record| record.state == state.file && Path::new(&record.path) == path);
                }
                _ => {
                    let records = batch::block(&self.log, state.at).ok()?;
                    (*at, cursors.block.as_mut()?.1) = (state.at, records.into_iter().map(Some).collect());
                }
            }
        }
        None
    }

    /// A slice has read and written all that it holds. What its rows conflict with is settled with the other slices.
    pub fn complete(&self) {
        self.log.append(Kind::Complete, &[]);
        self.log.sync();
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the last run was a slice that completed.
    pub fn is_complete(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.kind == Kind::Complete)
    }

    /// With which settings the run began that did not settle everything yet.
    pub fn settings(&self) -> Option<String> {
        let frame = self.open_frames().iter().find(|frame| frame.kind == Kind::Begun)?;
        record::decode::<Begun>(&self.log.payload(frame).ok()?).ok().map(|begun| begun.settings)
    }

    /// The run has settled everything.
    pub fn close(&self) {
        self.log.append(Kind::Closed, &[]);
        self.log.sync();
    }

    /// What kept the journal from being written, if anything did.
    pub fn failure(&self) -> Option<String> {
        self.log.failure().map(|why| format!("{}: {why}", self.directory.display()))
    }
}

/// The hash of a row whose patient may be missing.
fn provisional(row: u64) -> u64 {
    !row
}

/// What records mean depends on the attributes that are read, and on the program that reads them.
fn meaning() -> u64 {
    let attributes: Vec<String> = ATTRIBUTES.iter().map(|attribute| format!("{attribute:?}")).collect();
    let text = (env!("CARGO_PKG_VERSION"), attributes);
    xxhash_rust::xxh3::xxh3_64(&encode(&text))
}

fn lock(directory: &Path, busy: Busy, failed: impl Fn(io::Error) -> Error) -> Result<File> {
    let path = directory.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(path).map_err(&failed)?;
    match (lock.try_lock(), busy) {
        (Ok(()), _) => Ok(lock),
        (Err(TryLockError::WouldBlock), Busy::Leave) => Err(Error::unfinished(
            format!("another run is at work on this index and these roots: it holds {}", directory.display()),
            "Nothing was done. Let it end, or add --wait to begin when it has ended.",
        )),
        (Err(TryLockError::WouldBlock), Busy::Wait) => lock.lock().map(|()| lock).map_err(failed),
        (Err(TryLockError::Error(error)), _) => Err(failed(error)),
    }
}

/// A directory that holds the journal of something else is not written to.
fn check_key(directory: &Path, key: &str, failed: impl Fn(io::Error) -> Error) -> Result<()> {
    let path = directory.join(ABOUT);
    match std::fs::read_to_string(&path) {
        Ok(about) if about == key => Ok(()),
        Ok(about) => Err(Error::usage(
            format!("--state {} holds the journal of another run:\n{}", directory.display(), about.trim_end()),
            "Name another directory.",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::write(&path, key).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
