//! The read stage: from a found file to an entry for the index, or to the reason why there is none.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use jiff::Timestamp;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::stored::nanoseconds;
use super::{Run, no_threads};
use crate::archive::{FoundFile, skip};
use crate::dicom::{HeaderReader, Instance, Rejection};
use crate::error::Result;
use crate::index::Entry;
use crate::index::entry::StoredFile;
use crate::report::account::{Account, Fate};

/// Far more than a reader needs, which does not recurse: only what is touched costs memory.
const STACK: usize = 8 * 1024 * 1024;

/// Readers wait for storage most of the time, so there are more of them than cores.
pub fn pool(threads: usize) -> Result<ThreadPool> {
    let builder = ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).thread_name(|n| format!("read-{n}"));
    builder.build().map_err(no_threads)
}

impl Run<'_> {
    /// One receive loop.
    pub(super) fn read(&self, files: &Receiver<Vec<FoundFile>>, writers: &[Sender<Vec<Entry>>]) {
        let mut reader = HeaderReader::new();
        let mut outbox = Outbox::new(&self.account, writers);
        loop {
            // Nothing is held back while there is nothing to read.
            let waiting = files.try_recv().or_else(|_| {
                outbox.send();
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
                if let Some(entry) = self.entry(&mut reader, file) {
                    outbox.put(entry);
                }
            }
            outbox.send_if_due();
        }
    }

    /// The entry of a file. `None` if it has another fate, which is then in the account.
    fn entry(&self, reader: &mut HeaderReader, file: FoundFile) -> Option<Entry> {
        let (account, listing, path) = (&self.account, self.plan.listing, file.path());
        if let Some(rule) = path.file_name().and_then(skip::by_name) {
            account.skipped(rule);
            return None;
        }
        let reject = |code: &'static str, detail: &str| {
            account.rejected(code);
            listing.add("rejected", path, code, detail);
        };
        let (instance, modified) = match self.instance(reader, &file) {
            Ok(Some(read)) => read,
            Ok(None) => {
                account.add(Fate::TooYoung, 1);
                self.again.left(file);
                return None;
            }
            Err(Rejection::Dicomdir) => {
                account.skipped(skip::Rule::Dicomdir);
                return None;
            }
            Err(Rejection::Unreadable(error)) if self.is_gone(path, &error) => {
                account.add(Fate::NotReached, 1);
                return None;
            }
            Err(Rejection::Unreadable(error)) => {
                account.add(Fate::Unreadable, 1);
                listing.add("unreadable", path, "unreadable", &error.to_string());
                return None;
            }
            Err(rejection) => {
                match rule_by_content(&rejection) {
                    Some(rule) => account.skipped(rule),
                    None => reject(rejection.code(), &rejection.to_string()),
                }
                return None;
            }
        };
        let mut instance = instance;
        let indexed_path = match self.plan.path_map.to_index(path) {
            Ok(indexed_path) => indexed_path,
            Err(not_text) => {
                reject("path-not-text", &not_text.to_string());
                return None;
            }
        };
        let root = self.root_of(path);
        let received = self.plan.receipt.of(&instance, root, file.received_on, modified);
        let tables = self.plan.tables;
        let fitted = match tables.check_path(&indexed_path).and_then(|()| tables.fit(&mut instance)) {
            Ok(fitted) => fitted,
            Err(refusal) => {
                reject(refusal.code, &refusal.detail);
                return None;
            }
        };
        account.note(&instance, &fitted);
        if !fitted.substituted.is_empty() {
            let columns = fitted.substituted.join(", ");
            let detail = format!("characters that these columns cannot hold were substituted: {columns}");
            listing.add("note", path, "not-in-charset", &detail);
        }
        let stored = StoredFile { path: file.into_path(), modified: nanoseconds(modified), root };
        Some(Entry::new(instance, stored, indexed_path, received, tables.charset_term()))
    }

    pub(super) fn root_of(&self, path: &Path) -> usize {
        let roots = self.plan.roots.paths();
        if roots.len() == 1 { 0 } else { roots.iter().position(|root| path.starts_with(root)).unwrap_or(0) }
    }

    /// `None` if the file is too young.
    fn instance(
        &self,
        reader: &mut HeaderReader,
        file: &FoundFile,
    ) -> Result<Option<(Instance, Option<Timestamp>)>, Rejection> {
        let open = file.open().map_err(Rejection::Unreadable)?;
        self.storage.answers(self.root_of(file.path()));
        if self.plan.receipt.is_younger(open.modified, self.plan.settle) {
            return Ok(None);
        }
        self.account.bytes.fetch_add(open.size, Relaxed);
        // A defect of the reader costs the one file.
        let read = catch_unwind(AssertUnwindSafe(|| reader.read(&open).and_then(Instance::from_header)));
        let outcome = read.unwrap_or_else(|_| {
            *reader = HeaderReader::new();
            Err(Rejection::Panicked)
        });
        if open.may_be_mixed() {
            return Err(Rejection::Unreadable(io::Error::other("the file changed while it was read")));
        }
        Ok(Some((outcome?, open.modified)))
    }
}

fn rule_by_content(rejection: &Rejection) -> Option<skip::Rule> {
    match rejection {
        Rejection::NotDicom { first_bytes } => skip::by_content(first_bytes),
        _ => None,
    }
}

/// Entries on their way to the writers. All those of a patient go to one writer, so that writers do not wait for each
/// other's rows.
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
