//! The catalogue of one database: the records of files, by path, and the ledger of rows.
//!
//! A record replaces reading a file, but never a query of the index: each run reads the rows of the
//! index, and if the row of a file is missing, the run writes it again from the record.
//!
//! The ledger records each patient, study, series and companion row that this program inserts or
//! corrects, with the values that the transaction is about to commit. A later run uses the ledger
//! to recognize the rows and values of this program, and changes no others. Without the ledger, all
//! rows count as rows of other programs.
//!
//! The directory contains the write-ahead `log`, to which runs append and which is synced before
//! each commit; the tables `states` (by path) and `places` (rows, and records by patient, study and
//! series), which are built from the log when a run begins; and a lock. The catalogue contains
//! patient data, and only its owner may read it.

#![allow(clippy::disallowed_methods, reason = "files of this program's own")]

mod batch;
mod begun;
pub mod catalogue;
pub mod claim;
mod commits;
mod compact;
mod form;
mod frames;
pub mod gathered;
mod ledger;
mod log;
mod places;
pub mod record;
mod room;
mod row_frames;
mod run;
mod shard_log;
mod states;
mod synced_file;
mod topic;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use batch::Batch;
use begun::Span;
pub use begun::{Begun, RunKind};
pub use catalogue::CatalogueSite;
pub use claim::{Busy, Owner, StateError, claim};
use ledger::{Ledger, UnfinishedOwnRows};
use log::{Frame, HEAD, Log, LogFormat};
use record::Record;
pub use room::Room;
pub use shard_log::{ShardEnd, ShardLog, ShardState};
use states::Noted;
pub use states::{Fate, State};
pub use topic::Topic;

use crate::damaged::{self, Condition};
use crate::dicom::PackedForm;
use crate::error::{Error, Result};
use crate::full_disk;
use crate::index::ImageRow;
use crate::index::hashes::Hashes;
use crate::sorted::{Cursor, Note, Sorter, Table};

use xxhash_rust::xxh3::xxh3_64;

const STATES: &str = "states";
const LOG: &str = "log";
const NEW_LOG: &str = "log.new";

pub struct Journal {
    pub directory: PathBuf,
    /// Messages about files that were damaged when the journal was opened, and about a choice
    /// between directories.
    pub messages: Vec<String>,
    /// Whether the journal contains the records of a shard, for which no index has rows.
    is_of_shard: bool,
    /// Held until the end of the run.
    _lock: File,
    log: Log,
    /// The frames from the end of the last run after which all rows were finalized.
    frames: Vec<Frame>,
    states: Option<Table<{ states::SIZE }>>,
    /// Hashes of the rows that the index contained when the run began.
    rows: Option<Table<8>>,
    ledger: Ledger,
    /// Hashes of the paths of files that this run has read or written again.
    written_again: Mutex<Hashes>,
    /// Hashes of the studies with an unfinished row of a run that has ended.
    unfinished: Option<Table<8>>,
    /// Batches that the index has lost, in the order of the log.
    lost: Vec<Frame>,
    /// The parts of the log that were written by the runs that this one resumes.
    continued: Vec<Span>,
    /// The parts of other runs whose rows are not finalized. This run writes their files again, so
    /// that it finalizes their rows.
    left_open: Vec<Span>,
    /// Whether this run may finalize the rows of the runs that it resumes.
    may_settle: bool,
    /// The offset up to which the recorded outcomes of files no longer count. The values read from
    /// the files still do.
    distrusted: u64,
    /// The header of the run, and the offset of its frame in the log.
    begun: Begun,
    begun_at: u64,
    /// The settings of the last walk.
    walk_settings: u64,
}

/// The read positions of one reader of a journal, and the last block that it has read.
#[derive(Default)]
pub struct Cursors {
    states: Cursor<{ states::SIZE }>,
    rows: Cursor<8>,
    block: Option<(u64, Vec<Option<Record>>)>,
}

impl Journal {
    /// Reads the note in a directory: the index, or the number and the roots of a shard.
    pub fn note_in(directory: &Path) -> io::Result<String> {
        claim::note(directory)?.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Returns whether a directory contains a journal, damaged or not.
    pub fn is_in(directory: &Path) -> bool {
        [LOG, claim::ABOUT].iter().any(|name| directory.join(name).symlink_metadata().is_ok())
    }

    /// Opens the journal in a directory. Creates the directory if it does not exist.
    pub fn open(
        directory: &Path,
        owner: Owner<'_>,
        busy: Busy,
        is_interrupted: impl Fn() -> bool,
    ) -> Result<Self, StateError> {
        let failed = |error: io::Error| states_failed(directory, error);
        let claim = claim(directory, owner, busy, is_interrupted, failed)?;
        let mut damaged = claim.damaged;
        for name in [LOG, STATES, NEW_LOG] {
            let has_format = |head: &[u8]| name != LOG || LogFormat::of(head) != LogFormat::NotALog;
            match damaged::set_aside_unless(&directory.join(name), has_format).map_err(failed)? {
                Condition::Usable => {}
                Condition::MovedAside(message) => drop(damaged.get_or_insert(message)),
                Condition::Unreadable(message) => return Err(StateError::Unreadable(message)),
            }
        }
        match Self::format(directory).map_err(failed)? {
            LogFormat::Usable | LogFormat::NotALog => {}
            LogFormat::Newer => return Err(newer(directory).into()),
            LogFormat::Outdated => {
                let path = directory.join(LOG);
                let aside = damaged::set_aside(&path).map_err(failed)?;
                damaged = Some(outdated(&path, &aside));
            }
        }
        let is_of_shard = matches!(owner, Owner::Key(_));
        let read = Self::read(directory, claim.lock, damaged);
        read.map(|journal| Journal { is_of_shard, ..journal }).map_err(|error| failed(error).into())
    }

    fn format(directory: &Path) -> io::Result<LogFormat> {
        match damaged::head(&directory.join(LOG)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LogFormat::Usable),
            head => match LogFormat::of(&head?.unwrap_or_default()) {
                LogFormat::Usable if Log::open(&directory.join(LOG))?.has_newer_form() => Ok(LogFormat::Newer),
                format => Ok(format),
            },
        }
    }

    fn read(directory: &Path, lock: File, mut damaged: Option<String>) -> io::Result<Self> {
        let path = |name: &str| directory.join(name);
        let mut log = Log::open(&path(LOG))?;
        let is_of_log = |table: &Table<_>| table.note[Noted::Log as usize] == log.id;
        let table = File::open(path(STATES)).and_then(Table::open);
        if table.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            // The log contains all values of the table.
            let message = format!("{} was damaged; this run builds it anew", path(STATES).display());
            damaged.get_or_insert(message);
        }
        let mut states = table.ok().filter(is_of_log);
        let noted = |states: &Option<Table<_>>, n: Noted| states.as_ref().map_or(0, |table| table.note[n as usize]);
        let mut frames = log.frames(noted(&states, Noted::Settled))?;
        if noted(&states, Noted::Covered) > log.end() {
            states = None;
            frames = log.frames(HEAD)?;
        }
        if states.is_none() {
            // Once the log has grown past the covered end, the table would look valid again.
            let _ = std::fs::remove_file(directory.join(STATES));
        }
        log.cut()?;
        let ledger = Ledger::open(directory, &log);
        log.begin_form()?;
        if frames.is_empty() {
            directory.parent().map_or(Ok(()), claim::sync_directory)?;
        }
        let distrusted = noted(&states, Noted::Distrusted);
        let walk_settings = noted(&states, Noted::Settings);
        let (directory, begun_at) = (directory.to_owned(), log.end());
        let written_again = Mutex::new(Hashes::new(&directory));
        Ok(Journal {
            directory,
            messages: damaged.into_iter().collect(),
            is_of_shard: false,
            _lock: lock,
            log,
            frames,
            states,
            rows: None,
            ledger,
            written_again,
            unfinished: None,
            lost: Vec::new(),
            continued: Vec::new(),
            left_open: Vec::new(),
            may_settle: true,
            distrusted,
            begun: Begun::default(),
            begun_at,
            walk_settings,
        })
    }

    /// Returns the number of files with a state. If the number is zero, the rows of the index need
    /// not be loaded.
    pub fn known_files(&self) -> u64 {
        self.states.as_ref().map_or(0, |states| states.count)
    }

    /// Loads the rows of the index: calls `next` until it returns no rows. `file_of` returns the
    /// path of the file that a row names. Returns the offset in the log of the earliest batch that
    /// wrote a row which is still unfinished.
    pub fn take_rows<E: From<io::Error>>(
        &mut self,
        mut next: impl FnMut() -> Result<Vec<ImageRow>, E>,
        file_of: impl Fn(&ImageRow) -> Option<PathBuf>,
    ) -> Result<Option<u64>, E> {
        self.unfinished = None;
        let (mut sorter, mut studies) = (Sorter::new(&self.directory), Sorter::new(&self.directory));
        let (mut unfinished, mut cursors): (Option<u64>, _) = (None, Cursors::default());
        let mut own_rows = UnfinishedOwnRows::default();
        loop {
            let rows = next()?;
            if rows.is_empty() {
                break;
            }
            for image in rows {
                let ImageRow { sop_instance_uid, series, study, path, has_patient, .. } = &image;
                let row = states::row([sop_instance_uid, series, study], path);
                if own_rows.are_above(&self.ledger, &self.log, &image)?
                    && let Some(state) = file_of(&image).and_then(|file| self.state(&file, &mut cursors))
                    && matches!(state.fate, Fate::Inserted | Fate::Won)
                    && state.row == row
                    && !self.is_of_this_run(&state)
                    && !self.was_lost(&state)
                    && !self.is_left_open(&state)
                {
                    unfinished = Some(unfinished.map_or(state.at, |earliest| earliest.min(state.at)));
                    studies.push(Topic::Study.hash(study).to_be_bytes())?;
                }
                if *has_patient {
                    sorter.push(row.to_be_bytes())?;
                }
                if self.is_continued() {
                    sorter.push(provisional(row).to_be_bytes())?;
                    sorter.push(states::instance(sop_instance_uid).to_be_bytes())?;
                }
            }
        }
        let finish = |sorter: Sorter<8>| -> io::Result<Table<8>> {
            sorter.finish(&[], 8, Note::default(), tempfile::tempfile_in(&self.directory)?)
        };
        let (rows, studies) = (finish(sorter)?, finish(studies)?);
        (self.rows, self.unfinished) = (Some(rows), Some(studies));
        Ok(unfinished)
    }

    /// Returns the state of a file.
    pub fn state(&self, path: &Path, cursors: &mut Cursors) -> Option<State> {
        let found = self.states.as_ref()?.find(&states::key(path), &mut cursors.states).ok()??;
        let mut state = State::decode(&found);
        if !self.log.form_at(state.at).is_ok_and(PackedForm::is_current) {
            // The file is read again, because another version of this program has read it.
            state.file.modified = i64::MIN;
        }
        Some(state)
    }

    /// Returns whether the row of a file existed when the run began. A row of a resumed run may
    /// lack its patient.
    pub fn has_row(&self, state: &State, cursors: &mut Cursors) -> bool {
        match self.is_of_this_run(state) {
            true => self.has(provisional(state.row), cursors),
            false => {
                state.at >= self.distrusted
                    && !self.was_lost(state)
                    && !self.is_left_open(state)
                    && self.has(state.row, cursors)
            }
        }
    }

    /// Returns whether an instance had a row, regardless of the file that the row names. Known only
    /// in a run that resumes another.
    pub fn has_instance(&self, sop_instance_uid: &str, cursors: &mut Cursors) -> bool {
        self.has(states::instance(sop_instance_uid), cursors)
    }

    fn has(&self, hash: u64, cursors: &mut Cursors) -> bool {
        let found = self.rows.as_ref().map(|rows| rows.find(&hash.to_be_bytes(), &mut cursors.rows));
        matches!(found, Some(Ok(Some(_))))
    }

    /// Returns whether a state was recorded by a run that this one resumes.
    pub fn is_of_this_run(&self, state: &State) -> bool {
        self.continued.iter().any(|span| span.contains(state.at)) && !self.was_lost(state)
    }

    /// Returns whether a state was recorded by a run that has not finalized its rows and that this
    /// run does not resume.
    pub(super) fn is_left_open(&self, state: &State) -> bool {
        self.left_open.iter().any(|span| span.contains(state.at))
    }

    /// Returns the hashes of the studies with an unfinished row.
    pub fn unfinished_studies(&self) -> io::Result<impl Iterator<Item = io::Result<u64>>> {
        let studies = self.unfinished.as_ref().map(Table::records).transpose()?;
        Ok(studies.into_iter().flatten().map(|hash| hash.map(u64::from_be_bytes)))
    }

    fn write_again<'p>(&self, paths: impl Iterator<Item = &'p Path>) {
        if self.known_files() > 0 {
            let mut again = self.written_again.lock().unwrap_or_else(PoisonError::into_inner);
            paths.for_each(|path| again.insert(xxh3_64(path.as_os_str().as_encoded_bytes())));
        }
    }

    fn is_written_again(&self, path: &str) -> bool {
        let again = self.written_again.lock().unwrap_or_else(PoisonError::into_inner);
        again.contains(xxh3_64(path.as_bytes()))
    }

    /// Returns the record of a file, if it can be read and belongs to this file.
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
                    let records = frames::block(&self.log, state.at).ok()?;
                    (*at, cursors.block.as_mut()?.1) = (state.at, records.into_iter().map(Some).collect());
                }
            }
        }
        None
    }

    /// Writes the log to disk. The error names the directory.
    pub fn sync(&self) -> Result<(), String> {
        self.log.sync();
        self.failure().map_or(Ok(()), Err)
    }

    /// Returns the error that prevented a write to the journal, if there was one. The error names
    /// the directory.
    pub fn failure(&self) -> Option<String> {
        let error = self.log.failure()?;
        let error = full_disk::named(&self.directory, error);
        Some(format!("the journal in {} cannot be written: {error}", self.directory.display()))
    }
}

fn newer(directory: &Path) -> Error {
    Error::usage(
        format!("a newer version of this program has written the journal in {}", directory.display()),
        "Use that version, or name another directory with --state.",
    )
}

fn outdated(path: &Path, aside: &Path) -> String {
    let aside = aside.file_name().unwrap_or_default().to_string_lossy();
    let path = path.display();
    format!(
        "{path} is of an earlier version of this program; it was renamed to {aside}, and this run continues without it"
    )
}

/// Returns the error of a run that cannot use the journal in a directory.
fn states_failed(directory: &Path, error: io::Error) -> Error {
    let error = full_disk::named(directory, error);
    Error::usage(
        format!("the journal in {} cannot be used: {error}", directory.display()),
        "Name a directory that you may write to, with room: --state DIR",
    )
}

/// Returns the hash of a row whose patient may be missing.
fn provisional(row: u64) -> u64 {
    !row
}

/// Returns options for files that only their owner may read, because they contain patient data.
pub fn private() -> std::fs::OpenOptions {
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
