//! The read stage: from a found file to an entry for the index, or to the reason why there is none.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use rayon::{ThreadPool, ThreadPoolBuilder};
use xxhash_rust::xxh3::xxh3_64;

use super::remembered::Remembered;
use super::stored::nanoseconds;
use super::{Files, Run, no_threads};
use crate::archive::file::Location;
use crate::archive::path_map::UnstorablePath;
use crate::archive::{FileState, FoundFile, OpenFile, Seen, Standing, Stub, skip};
use crate::dicom::{HeaderReader, Instance, Rejection};
use crate::error::Result;
use crate::index::Entry;
use crate::index::entry::StoredFile;
use crate::index::recorder::FileRecord;
use crate::journal::Cursors;
use crate::journal::record::{self, Content};
use crate::report::account::{Account, Fate, Outcome};

/// Far more than a reader needs, which does not recurse: only what is touched costs memory.
const STACK: usize = 8 * 1024 * 1024;

/// Readers wait for storage most of the time, so there are more of them than cores.
pub fn pool(threads: usize) -> Result<ThreadPool> {
    let builder = ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).thread_name(|n| format!("read-{n}"));
    builder.build().map_err(no_threads)
}

/// What a reader works with.
#[derive(Default)]
struct Desk {
    reader: HeaderReader,
    cursors: Cursors,
    /// Records of files without an entry, for the journal.
    noted: Vec<(PathBuf, FileRecord)>,
}

/// What a file holds, whether it was read or is known from a former run.
pub(super) struct Held {
    pub instance: Instance,
    /// Of the file that holds it.
    pub state: FileState,
    /// Where that is, if a link or a pointer led there.
    pub content: Option<Content>,
    /// For the journal.
    pub record: FileRecord,
}

/// What became of a file that was not known.
enum Read {
    Held(Held),
    TooYoung,
    /// It may not be read.
    Stub(Stub),
    MetElsewhere(Stub),
}

/// A pointer may lead to a pointer, and a file may change while it is looked at.
const LONGEST_WAY: usize = 8;

/// The number of files without an entry that a reader records together, at least, while others wait.
const NOTED_TOGETHER: usize = 500;

/// What is noted for the user when an entry is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    All,
    /// Values are counted. An earlier run has listed them.
    Counts,
    /// Another entry of the same file has been counted, or another run is responsible for the file.
    Nothing,
}

/// Why a file has no row, by the code and the detail that it is listed with.
pub(super) struct NoRow {
    pub code: &'static str,
    pub detail: String,
}

impl Run<'_> {
    /// One receive loop.
    pub(super) fn read(&self, files: &Receiver<Vec<FoundFile>>, writers: &[Sender<Vec<Entry>>]) {
        let mut desk = Desk::default();
        let mut outbox = Outbox::new(&self.account, writers);
        loop {
            // Nothing is held back while there is nothing to read.
            let waiting = files.try_recv().or_else(|_| {
                outbox.send();
                self.note(&mut desk);
                files.recv()
            });
            let Ok(files) = waiting else { return };
            if self.plan.stop.is_set() {
                self.account.add(Fate::NotReached, files.len());
                continue;
            }
            if let Some(directory) = files.first().and_then(|file| file.path().parent()) {
                self.watch.at(directory);
            }
            for file in files {
                if let Some(entry) = self.entry(&mut desk, file) {
                    outbox.put(entry);
                }
            }
            outbox.send_if_due();
            // A reader that always finds files waiting must not keep these records: there may be millions, and a kill loses them.
            if desk.noted.len() >= NOTED_TOGETHER {
                self.note(&mut desk);
            }
        }
    }

    fn note(&self, desk: &mut Desk) {
        if let Some(journal) = self.journal() {
            journal.note(&desk.noted.iter().map(|(path, record)| (path.as_path(), record)).collect::<Vec<_>>());
        }
        desk.noted.clear();
    }

    /// The entry of a file. `None` if it has another fate, which is then in the account.
    fn entry(&self, desk: &mut Desk, file: FoundFile) -> Option<Entry> {
        let path = file.path();
        if let Some(rule) = path.file_name().and_then(skip::by_name) {
            self.account.skipped(rule);
            return None;
        }
        let seen = self.plan.locator.look(&file).map_err(Rejection::Unreadable);
        let seen = seen.map_err(|rejection| self.reject(path, &rejection)).ok()?;
        let modified = seen.state.modified;
        let held = match self.remembered(&file, &seen, &mut desk.cursors) {
            Remembered::Settled => return None,
            Remembered::Record(record) => self.held_by(record, path)?,
            Remembered::Nothing => match self.open_and_read(desk, &file, seen) {
                Ok(Read::Held(held)) => held,
                Ok(Read::TooYoung) => {
                    self.account.add(Fate::TooYoung, 1);
                    self.again.left(file.without_permit());
                    return None;
                }
                Ok(Read::Stub(stub)) => {
                    self.leave(file, modified, stub);
                    return None;
                }
                Ok(Read::MetElsewhere(stub)) => {
                    self.account.add(Fate::Link, 1);
                    self.account.stub(&stub, Outcome::MetElsewhere);
                    return None;
                }
                Err(rejection) => {
                    self.reject(path, &rejection);
                    return None;
                }
            },
        };
        if self.is_met_by_another(held.content.as_ref()) {
            self.account.add(Fate::Link, 1);
            return None;
        }
        self.to_entry(file, held, Noted::All).map_err(|(path, no_row)| self.list_rejected(&path, &no_row)).ok()
    }

    /// Another pointer has led to the same file, by which both would name the row.
    pub(super) fn is_met_by_another(&self, content: Option<&Content>) -> bool {
        let named = content.and_then(|content| content.named(self.plan.locator.named_by()));
        named.is_some_and(|named| {
            let mut met = self.targets_met.lock().unwrap_or_else(PoisonError::into_inner);
            let hash = xxh3_64(named.as_bytes());
            let is_met = met.contains(hash);
            met.insert(hash);
            is_met
        })
    }

    pub(super) fn reject(&self, path: &Path, rejection: &Rejection) {
        let (account, listing) = (&self.account, self.plan.listing);
        match rejection {
            Rejection::Unreadable(error) if self.is_gone(path, error) => account.add(Fate::NotReached, 1),
            Rejection::Unreadable(error) => {
                account.add(Fate::Unreadable, 1);
                listing.add("unreadable", path, "unreadable", &error.to_string());
            }
            rejection => match rule_by_content(rejection) {
                Some(rule) => account.skipped(rule),
                None => {
                    let detail = rejection.to_string();
                    self.list_rejected(path, &NoRow { code: rejection.code(), detail });
                }
            },
        }
    }

    pub(super) fn list_rejected(&self, path: &Path, NoRow { code, detail }: &NoRow) {
        self.account.rejected(code);
        self.plan.listing.add("rejected", path, code, detail);
    }

    /// What is written of a file that holds an instance, and what there is to note of it.
    pub(super) fn to_entry(&self, file: FoundFile, held: Held, noted: Noted) -> Result<Entry, (PathBuf, NoRow)> {
        let Held { mut instance, state, content, record } = held;
        let path = file.path();
        let fails = |code, detail| (path.to_owned(), NoRow { code, detail });
        let unstorable = |why: UnstorablePath| fails(why.code(), why.to_string());
        let named =
            content.as_ref().and_then(|content| content.named(self.plan.locator.named_by())).map_or(path, Path::new);
        // The journal and lists call it by this.
        if path.to_str().is_none() {
            return Err(unstorable(UnstorablePath::NotText));
        }
        let indexed_path = self.plan.path_map.to_index(named).map_err(unstorable)?;
        let received = self.plan.receipt.of(&instance, self.root_of(path), file.received_on, state.modified(), noted);
        let tables = self.plan.tables;
        let fitted = tables.check_path(&indexed_path).and_then(|()| tables.fit(&mut instance));
        let fitted = fitted.map_err(|refusal| fails(refusal.code, refusal.detail))?;
        if noted != Noted::Nothing {
            self.account.note(&instance, &fitted);
        }
        if noted == Noted::All && !fitted.substituted.is_empty() {
            let columns = fitted.substituted.join(", ");
            let detail = format!("characters that these columns cannot hold were substituted: {columns}");
            self.plan.listing.add("note", path, "not-in-charset", &detail);
        }
        // As whoever asks for the file of its row finds it.
        let is_pointer = named == path && content.as_ref().is_some_and(|content| content.by_pointer);
        let modified = if is_pointer { record.state.modified() } else { state.modified() };
        let root = self.plan.locator.place(named).map_or(0, |(place, _)| place);
        let stored = StoredFile { path: file.into_path(), modified: nanoseconds(modified), size: state.size, root };
        Ok(Entry::new(instance, stored, indexed_path, received, tables.charset_term(), record))
    }

    pub(super) fn root_of(&self, path: &Path) -> usize {
        let roots = self.plan.roots.paths();
        if roots.len() == 1 { 0 } else { roots.iter().position(|root| path.starts_with(root)).unwrap_or(0) }
    }

    /// To where the bytes of a file are, and what they hold.
    fn open_and_read<'f>(&self, desk: &mut Desk, file: &'f FoundFile, mut seen: Seen<'f>) -> Result<Read, Rejection> {
        let own = seen.state;
        let mut by_pointer = false;
        for _ in 0..LONGEST_WAY {
            let location = match seen.standing {
                Standing::Readable(location) => location,
                Standing::Stub(stub) => return Ok(Read::Stub(stub)),
                Standing::MetElsewhere(stub) => return Ok(Read::MetElsewhere(stub)),
            };
            if self.plan.receipt.is_younger(location.state.modified(), self.plan.settle) {
                return Ok(Read::TooYoung);
            }
            if location.state.size == 0 {
                return self.held(desk, file, own, None, Err(Rejection::Empty)).map(Read::Held);
            }
            let Some(open) = location.open().map_err(Rejection::Unreadable)? else {
                seen = self.plan.locator.look(file).map_err(Rejection::Unreadable)?;
                continue;
            };
            let outcome = self.read_header(desk, &open)?;
            if let Err(Rejection::NotDicom { .. }) = outcome
                && let Some(pointer) =
                    self.plan.locator.pointer(location.path(), &open).map_err(Rejection::Unreadable)?
            {
                let permit = file.permit().filter(|_| !location.is_recalled());
                let at = location.path().to_owned();
                // Its reading is over: looking at what it leads to may take long.
                drop(open);
                seen = self.plan.locator.follow(&pointer, &at, permit, own);
                by_pointer = true;
                continue;
            }
            let content = content_of(&location, by_pointer);
            if let Some(stub) = &location.through {
                self.account.stub(stub, Outcome::Read);
            }
            return self.held(desk, file, own, content, outcome).map(Read::Held);
        }
        Ok(Read::Stub(Stub::too_far()))
    }

    /// What the header says, or why there is none; or the file cannot be read.
    fn read_header(&self, desk: &mut Desk, open: &OpenFile) -> Result<Result<Instance, Rejection>, Rejection> {
        self.account.bytes.fetch_add(open.state.size, Relaxed);
        // A defect of the reader costs the one file.
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

    /// With the record of it, for the journal.
    fn held(
        &self,
        desk: &mut Desk,
        file: &FoundFile,
        own: FileState,
        content: Option<Content>,
        outcome: Result<Instance, Rejection>,
    ) -> Result<Held, Rejection> {
        // A path that is no text, and a file that may change unseen, are read each time.
        let path = file.path().to_str().filter(|_| self.journal().is_some());
        let is_copy = matches!(self.plan.files, Files::Brought(brings) if brings.makes_copies());
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
                // What a pointer leads to may be mended while the pointer stays as it is.
                let record = path
                    .filter(|_| content.is_none())
                    .and_then(|path| record::of_rejection(path, state, &rejection, rule));
                desk.noted.extend(record.map(|record| (file.path().to_owned(), record)));
                Err(rejection)
            }
        }
    }
}

fn content_of(location: &Location, by_pointer: bool) -> Option<Content> {
    // One that is no text is told from others all the same, and names no row.
    let target = location.target.as_ref()?.to_string_lossy().into_owned();
    Some(Content { target, by_pointer, state: location.state })
}

fn rule_by_content(rejection: &Rejection) -> Option<skip::Rule> {
    match rejection {
        Rejection::Dicomdir => Some(skip::Rule::Dicomdir),
        Rejection::NotDicom { first_bytes } => skip::by_content(first_bytes),
        _ => None,
    }
}

/// Entries on their way to the writers. All those of a patient go to one writer, so that writers do not wait for each
/// other's rows; those that are put by go to whichever is free.
struct Outbox<'a> {
    account: &'a Account,
    writers: &'a [Sender<Vec<Entry>>],
    parts: Vec<Vec<Entry>>,
    sent: Instant,
}

/// Writers are not woken for a handful of entries, unless these have waited for a while.
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
