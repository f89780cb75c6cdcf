//! The read stage: turns a found file into an entry for the index, or into the reason why it has
//! none.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::entries::{Held, Noted, is_met_by_another, list_rejected, reject, rule_by_content, to_entry};
use super::remembered::{self, Remembered};
use super::{Files, Intake, Run, no_threads, recall, recorded};
use crate::archive::file::Location;
use crate::archive::{FileState, FoundFile, OpenFile, Seen, Standing, Stub, skip};
use crate::dicom::{HeaderReader, Instance, Rejection};
use crate::error::Result;
use crate::index::Entry;
use crate::index::entry::FileRecord;
use crate::journal::Cursors;
use crate::journal::record::{self, Content, Record};
use crate::report::account::{Account, Fate, Outcome};

/// Stack size of a reader in bytes: far more than a reader needs, which does not recurse. Only the
/// pages that are used take memory.
const STACK: usize = 8 * 1024 * 1024;

/// Readers wait for storage most of the time, so there are more of them than cores.
pub fn pool(threads: usize) -> Result<ThreadPool> {
    let builder = ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).thread_name(|n| format!("read-{n}"));
    builder.build().map_err(no_threads)
}

/// The working state of a reader.
#[derive(Default)]
pub(super) struct Desk {
    reader: HeaderReader,
    pub cursors: Cursors,
    /// Records for the journal that no writer adds: those of files without an entry, and all those
    /// of a shard.
    pub noted: Vec<(PathBuf, FileRecord)>,
    /// The directory of the file that was recorded last, and whether a walk reaches it.
    reached: Option<(PathBuf, bool)>,
}

impl Desk {
    /// Returns whether no directory between the root and a file is a symlink.
    fn is_reached_by_a_walk(&mut self, intake: &Intake<'_>, file: &Path) -> bool {
        let Some(directory) = file.parent() else { return false };
        if let Some((known, is_reached)) = &self.reached
            && known == directory
        {
            return *is_reached;
        }
        let roots = intake.sources.roots.paths();
        let below = directory.ancestors().take_while(|above| !roots.iter().any(|root| root == above));
        let is_link = |above: &Path| above.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        let is_reached = !below.into_iter().any(is_link);
        self.reached = Some((directory.to_owned(), is_reached));
        is_reached
    }
}

/// The outcome of opening a file that has no current record.
pub(super) enum Read {
    Held(Held),
    TooYoung,
    /// A stub that may not be read.
    Stub(Stub),
    MetElsewhere(Stub),
}

/// Maximum number of steps to the data of a file: a pointer may point to a pointer, and a file may
/// change while it is inspected.
const LONGEST_WAY: usize = 8;

/// The minimum number of records that a reader adds to the journal at a time while files are
/// waiting.
const NOTED_TOGETHER: usize = 500;

/// A message to the readers: the files that a walk has found, or the records of shards.
pub(super) trait Message: Send {
    fn files(&self) -> usize;

    /// The directory of the first file.
    fn directory(&self) -> Option<&Path>;

    /// Returns the files, each with the record that a shard made of it.
    fn into_files(self, intake: &Intake<'_>) -> impl Iterator<Item = (FoundFile, Option<Record>)>;
}

impl Message for Vec<FoundFile> {
    fn files(&self) -> usize {
        self.len()
    }

    fn directory(&self) -> Option<&Path> {
        self.first()?.path().parent()
    }

    fn into_files(self, _: &Intake<'_>) -> impl Iterator<Item = (FoundFile, Option<Record>)> {
        self.into_iter().map(|file| (file, None))
    }
}

impl Message for Vec<Record> {
    fn files(&self) -> usize {
        self.len()
    }

    fn directory(&self) -> Option<&Path> {
        Path::new(&self.first()?.path).parent()
    }

    fn into_files(self, intake: &Intake<'_>) -> impl Iterator<Item = (FoundFile, Option<Record>)> {
        self.into_iter().map(|record| (recorded::file_of(intake, &record), Some(record)))
    }
}

/// Runs one receive loop.
pub(super) fn read<M: Message>(run: &Run<'_>, messages: &Receiver<M>, writers: &[Sender<Vec<Entry>>]) {
    let mut desk = Desk::default();
    let mut outbox = Outbox::new(&run.intake.account, writers);
    loop {
        // While there is nothing to read, no entries or records are held back.
        let waiting = messages.try_recv().or_else(|_| {
            outbox.send();
            note(&run.intake, &mut desk);
            messages.recv()
        });
        let Ok(message) = waiting else { return };
        if run.plan.sources.stop.is_set() {
            run.intake.account.add(Fate::NotReached, message.files());
            continue;
        }
        message.directory().into_iter().for_each(|directory| run.intake.watch.at(directory));
        for (file, record) in message.into_files(&run.intake) {
            if let Some(entry) = entry(run, &mut desk, file, record) {
                outbox.put(entry);
            }
        }
        outbox.send_if_due();
        note_when_due(&run.intake, &mut desk);
    }
}

/// Adds records to the journal if there are enough of them. A reader that always has files waiting
/// must not accumulate its records: there may be millions, and a kill loses them.
pub(super) fn note_when_due(intake: &Intake<'_>, desk: &mut Desk) {
    if desk.noted.len() >= NOTED_TOGETHER {
        note(intake, desk);
    }
}

pub(super) fn note(intake: &Intake<'_>, desk: &mut Desk) {
    if let Some(journal) = intake.journal() {
        journal.note(&desk.noted.iter().map(|(path, record)| (path.as_path(), record)).collect::<Vec<_>>());
    }
    desk.noted.clear();
}

/// Returns the record of a file that was found and not read. `None` for a path that is not UTF-8.
pub(super) fn unread(path: &Path) -> Option<(PathBuf, FileRecord)> {
    Some((path.to_owned(), record::of_unread(path.to_str()?)))
}

/// Returns the entry of a file, or `None` if the file has another outcome, which is then counted.
/// `recorded` is the record that a shard made of the file.
fn entry(run: &Run<'_>, desk: &mut Desk, file: FoundFile, recorded: Option<Record>) -> Option<Entry> {
    let intake = &run.intake;
    let path = file.path();
    if let Some(rule) = path.file_name().and_then(skip::by_name) {
        intake.account.skipped(rule);
        return None;
    }
    let seen = match intake.sources.locator.look(&file) {
        Err(error)
            if recorded.is_some()
                && error.kind() == io::ErrorKind::NotFound
                && !intake.stops_without_root(path, &error) =>
        {
            // The file was removed after the shard found it.
            intake.account.take_back_gone(1);
            return None;
        }
        // No walk follows a symlink to a directory: the directory of the file was moved away.
        Ok(_) if recorded.is_some() && !desk.is_reached_by_a_walk(intake, path) => {
            intake.account.take_back_gone(1);
            return None;
        }
        seen => seen.map_err(|error| reject(intake, path, &Rejection::Unreadable(error))).ok()?,
    };
    let modified = seen.state.modified;
    let recorded = recorded.filter(|record| remembered::is_current(intake, &file, &seen, record));
    let held = match (remembered::remembered(run, &file, &seen, &mut desk.cursors), recorded) {
        (Remembered::Settled, _) => return None,
        (Remembered::Record(record), _) => remembered::held_by(run, record, path)?,
        (Remembered::Nothing, Some(record)) => {
            intake.account.bytes.fetch_add(record.state.size, Relaxed);
            note_without_entry(desk, &file, &record);
            remembered::held_by(run, record, path)?
        }
        (Remembered::Nothing, None) => match open_and_read(intake, desk, &file, seen) {
            Ok(Read::Held(held)) => held,
            Ok(Read::TooYoung) => {
                intake.account.add(Fate::TooYoung, 1);
                intake.again.left(file.without_permit());
                return None;
            }
            Ok(Read::Stub(stub)) => {
                recall::leave(intake, file, modified, stub);
                return None;
            }
            Ok(Read::MetElsewhere(stub)) => {
                intake.account.add(Fate::Link, 1);
                intake.account.stub(&stub, Outcome::MetElsewhere);
                return None;
            }
            Err(rejection) => {
                reject(intake, path, &rejection);
                return None;
            }
        },
    };
    if is_met_by_another(run, held.content.as_ref()) {
        intake.account.add(Fate::Link, 1);
        return None;
    }
    to_entry(run, file, held, Noted::All).map_err(|(path, no_row)| list_rejected(intake, &path, &no_row)).ok()
}

/// Adds a record of a shard to the journal, unless the record has an entry, which a writer adds.
fn note_without_entry(desk: &mut Desk, file: &FoundFile, record: &Record) {
    if record.instance().is_none() {
        desk.noted.push((file.path().to_owned(), file_record(record)));
    }
}

/// Encodes a record so that it can be added to a journal again.
pub(super) fn file_record(record: &Record) -> FileRecord {
    FileRecord { state: record.state, leads_on: record.content.is_some(), bytes: record.encode() }
}

/// Follows links and pointers to the data of a file, and reads its header.
pub(super) fn open_and_read<'f>(
    intake: &Intake<'_>,
    desk: &mut Desk,
    file: &'f FoundFile,
    mut seen: Seen<'f>,
) -> Result<Read, Rejection> {
    let own = seen.state;
    let mut by_pointer = false;
    for _ in 0..LONGEST_WAY {
        let location = match seen.standing {
            Standing::Readable(location) => location,
            Standing::Stub(stub) => return Ok(Read::Stub(stub)),
            Standing::MetElsewhere(stub) => return Ok(Read::MetElsewhere(stub)),
        };
        if intake.sources.receipt.is_younger(location.state.modified(), intake.sources.settle) {
            return Ok(Read::TooYoung);
        }
        if location.state.size == 0 {
            return held(intake, desk, file, own, None, Err(Rejection::Empty)).map(Read::Held);
        }
        let Some(open) = location.open().map_err(Rejection::Unreadable)? else {
            seen = intake.sources.locator.look(file).map_err(Rejection::Unreadable)?;
            continue;
        };
        let outcome = read_header(intake, desk, &open)?;
        if let Err(Rejection::NotDicom { .. }) = outcome
            && let Some(pointer) =
                intake.sources.locator.pointer(location.path(), &open).map_err(Rejection::Unreadable)?
        {
            let permit = file.permit().filter(|_| !location.is_recalled());
            let at = location.path().to_owned();
            // Close the pointer first: inspecting its target may take long.
            drop(open);
            seen = intake.sources.locator.follow(&pointer, &at, permit, own);
            by_pointer = true;
            continue;
        }
        let content = content_of(&location, by_pointer);
        if let Some(stub) = &location.through {
            intake.account.stub(stub, Outcome::Read);
        }
        return held(intake, desk, file, own, content, outcome).map(Read::Held);
    }
    Ok(Read::Stub(Stub::too_far()))
}

/// Reads the header. Returns the instance, or the reason why the file has none. Fails if the file
/// cannot be read.
fn read_header(
    intake: &Intake<'_>,
    desk: &mut Desk,
    open: &OpenFile,
) -> Result<Result<Instance, Rejection>, Rejection> {
    intake.account.bytes.fetch_add(open.state.size, Relaxed);
    // A panic of the reader only costs this file.
    let read = catch_unwind(AssertUnwindSafe(|| desk.reader.read(open).and_then(Instance::from_header)));
    let outcome = read.unwrap_or_else(|_| {
        desk.reader = HeaderReader::new();
        Err(Rejection::Panicked)
    });
    match open.may_be_mixed() {
        true => Err(Rejection::Unreadable(io::Error::other("the file changed while it was read"))),
        false => Ok(outcome),
    }
}

/// Completes the result of reading a file with its record for the journal.
fn held(
    intake: &Intake<'_>,
    desk: &mut Desk,
    file: &FoundFile,
    own: FileState,
    content: Option<Content>,
    outcome: Result<Instance, Rejection>,
) -> Result<Held, Rejection> {
    // A path that is not UTF-8, and a file that may change without a new mtime, are read in each
    // run.
    let path = file.path().to_str().filter(|_| intake.journal().is_some());
    let is_copy = matches!(intake.sources.files, Files::Brought(brings) if brings.makes_copies());
    let state = if is_copy || own.tells_changes() { own } else { FileState { modified: i64::MIN, ..own } };
    match outcome {
        Ok(instance) => {
            let none = || FileRecord { state, leads_on: content.is_some(), bytes: Vec::new() };
            let of = |path| record::of_instance(path, state, content.clone(), &instance);
            let record = path.map_or_else(none, of);
            Ok(Held { instance, state: content.as_ref().map_or(own, |content| content.state), content, record })
        }
        Err(rejection) => {
            let rule = rule_by_content(&rejection);
            // The target of a pointer may be repaired while the pointer stays unchanged.
            let record =
                path.filter(|_| content.is_none()).and_then(|path| record::of_rejection(path, state, &rejection, rule));
            desk.noted.extend(record.map(|record| (file.path().to_owned(), record)));
            Err(rejection)
        }
    }
}

fn content_of(location: &Location, by_pointer: bool) -> Option<Content> {
    // A target that is not UTF-8 is still distinguished from other targets, and names no row.
    let target = location.target.as_ref()?.to_string_lossy().into_owned();
    Some(Content { target, by_pointer, state: location.state })
}

/// Entries on their way to the writers. All entries of a patient go to the same writer, so that
/// writers do not wait for each other's rows. Entries that are buffered in key order go to any free
/// writer.
struct Outbox<'a> {
    account: &'a Account,
    writers: &'a [Sender<Vec<Entry>>],
    parts: Vec<Vec<Entry>>,
    sent: Instant,
}

/// Minimum number of entries to wake a writer for, and the maximum time that fewer entries wait.
const PART: usize = 32;
const HELD_BACK: Duration = Duration::from_millis(200);

impl<'a> Outbox<'a> {
    fn new(account: &'a Account, writers: &'a [Sender<Vec<Entry>>]) -> Self {
        Outbox { account, writers, parts: writers.iter().map(|_| Vec::new()).collect(), sent: Instant::now() }
    }

    fn put(&mut self, entry: Entry) {
        let writer = writer_of(&entry, self.writers.len());
        self.parts[writer].push(entry);
        if self.parts[writer].len() >= PART {
            self.send_part(writer);
        }
    }

    fn send_if_due(&mut self) {
        if self.sent.elapsed() >= HELD_BACK {
            self.send();
        }
    }

    fn send(&mut self) {
        (0..self.writers.len()).for_each(|writer| self.send_part(writer));
        self.sent = Instant::now();
    }

    fn send_part(&mut self, writer: usize) {
        let part = std::mem::take(&mut self.parts[writer]);
        if part.is_empty() {
            return;
        }
        if let Err(unsent) = self.writers[writer].send(part) {
            self.account.add(Fate::NotReached, unsent.into_inner().len());
        }
    }
}

fn writer_of(entry: &Entry, writers: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    entry.instance.patient_id().to_ascii_lowercase().hash(&mut hasher);
    (hasher.finish() % writers as u64) as usize
}
