//! The import, on one page: what lies below the sources is read, chosen, compared with what the archive has, copied to its
//! place there, and indexed like all files of the archive.
//!
//! ```text
//! sources -> walk -> header -> chosen? -> there already? -> copy -> sync, verify, rename -> the way of all files
//! ```
//!
//! Nothing in the archive is overwritten, and no source is touched, unless it is to be moved: then it is removed last,
//! once its copy is verified and its row is committed.

mod candidate;
mod compare;
mod copy;
pub mod disk;
pub mod ledger;
pub mod list;
pub mod listing;
pub mod medium;

mod removal;
mod rows;
pub mod selection;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_channel::{Receiver, bounded};
use xxhash_rust::xxh3::xxh3_64;

use crate::archive::filing::Unsafe;
use crate::archive::skip::Rule;
use crate::archive::{FileState, Filing, FoundFile, Locator, PathMap, Roots};
use crate::dicom::HeaderReader;
use crate::error::{Error, Result};
use crate::index::duplicates::Archive;
use crate::pipeline::{Bring, Reception, Stop, Stored};
use crate::report::listing::Listing;
use candidate::{Candidate, Met};
use compare::Standing;
use copy::{Batch, Failed};
pub use ledger::Ledger;
use medium::{Compared, Named};
pub use removal::Removed;
pub use rows::Rows;
use selection::Selection;

/// Everything that an import needs to know.
pub struct Plan<'a> {
    pub sources: &'a Roots,
    /// Of the sources: their stubs are told as those of an archive.
    pub locator: &'a Locator,
    pub selection: &'a Selection,
    pub path_map: &'a PathMap,
    /// What stands in the archive.
    pub stored: Stored,
    /// Sources are removed at the end.
    pub moves: bool,
    /// Files without preamble or file meta information get what they lack.
    pub completes: bool,
    pub copies_at_a_time: usize,
}

/// Where copies go.
pub struct Destination {
    pub filing: Filing,
    pub ledger: Ledger,
    pub mark: disk::Mark,
}

/// So many files are looked up at a time, and their copies are synced together.
const PORTION: usize = 64;

/// So many portions may wait for their end, their files open.
const BATCHES_WAITING: usize = 1;

pub struct Importer<'a> {
    plan: &'a Plan<'a>,
    rows: Rows,
    /// `None` indexes what is chosen where it lies.
    to: Option<Destination>,
    /// Hashes of the SOP Instance UIDs that were met.
    claimed: Mutex<HashSet<u64>>,
    later: Mutex<Vec<PathBuf>>,
    /// What says what a medium should hold.
    dicomdirs: Mutex<Vec<PathBuf>>,
    /// What may be removed at the end.
    brought: Option<removal::Brought>,
    pub copied: AtomicU64,
    pub copied_bytes: AtomicU64,
}

/// What was done at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// So many files are named by a DICOMDIR, and neither on its medium nor in the index.
    pub not_on_medium: u64,
    /// Of a move.
    pub removed: Option<Removed>,
}

#[derive(Default)]
struct Desk {
    reader: HeaderReader,
    buffer: Vec<u8>,
}

impl<'a> Importer<'a> {
    pub fn new(plan: &'a Plan<'a>, rows: Rows, to: Option<Destination>, scratch: &Path) -> Result<Self> {
        let brought = plan.moves.then(|| removal::Brought::new(scratch)).transpose()?;
        Ok(Importer {
            plan,
            rows,
            to,
            claimed: Mutex::default(),
            later: Mutex::default(),
            dicomdirs: Mutex::default(),
            brought,
            copied: AtomicU64::new(0),
            copied_bytes: AtomicU64::new(0),
        })
    }

    /// Once all is written: compares each DICOMDIR with its medium, and removes the sources of a move.
    pub fn end(&self, stop: &Stop, listing: &Listing) -> Result<Ended> {
        let mut ended = Ended::default();
        for dicomdir in &*poisoned(&self.dicomdirs) {
            ended.not_on_medium += self.compare_medium(dicomdir, listing)?;
        }
        if let Some(brought) = &self.brought {
            ended.removed = Some(brought.remove(&self.rows, self.plan, stop, listing)?);
        }
        if let (Some(to), false) = (&self.to, stop.is_set()) {
            to.ledger.ended();
        }
        Ok(ended)
    }

    /// How many files a DICOMDIR names that are neither on its medium nor in the index.
    fn compare_medium(&self, dicomdir: &Path, listing: &Listing) -> Result<u64> {
        // One that cannot be read says nothing.
        let Ok(compared) = Compared::of(self.plan.locator, dicomdir) else { return Ok(0) };
        let not_read = [compared.missing, compared.unreadable].concat();
        let others = compared.others.into_iter().map(|(named, _)| named);
        let mut missing = 0;
        for portion in not_read.into_iter().chain(others).collect::<Vec<_>>().chunks(PORTION) {
            let uids: Vec<&str> = portion.iter().map(|named| named.sop_instance_uid.as_str()).collect();
            let Some(rows) = self.rows.paths(&uids)? else { break };
            for Named { file, sop_instance_uid } in portion {
                if !rows.contains_key(sop_instance_uid) {
                    missing += 1;
                    let detail = format!("it names {file} ({sop_instance_uid}), which is not on the medium");
                    listing.add("medium", dicomdir, "not-on-medium", &detail);
                }
            }
        }
        Ok(missing)
    }

    /// Those of some files that are chosen, and were not met before.
    fn chosen(
        &self,
        desk: &mut Desk,
        files: Vec<FoundFile>,
        is_rest: bool,
        reception: &Reception<'_>,
    ) -> Vec<Candidate> {
        let mut chosen = Vec::new();
        for file in files {
            match candidate::look(self.plan.locator, &mut desk.reader, &file) {
                Ok(Met::Instance(candidate)) if !self.plan.selection.takes(&candidate.instance) => {
                    reception.skip(Rule::NotSelected);
                }
                Ok(Met::Instance(candidate)) if self.to.is_none() => {
                    drop(candidate);
                    reception.pass_on(vec![file]);
                }
                Ok(Met::Instance(candidate)) => {
                    let uid = xxh3_64(candidate.instance.sop_instance_uid().as_bytes());
                    if is_rest || poisoned(&self.claimed).insert(uid) {
                        candidate.through.iter().for_each(|stub| reception.read_through(stub));
                        chosen.push(*candidate);
                    } else {
                        reception.puts_off();
                        poisoned(&self.later).push(file.into_path());
                    }
                }
                Ok(Met::Stub(stub)) => reception.leave(&file, &stub),
                Ok(Met::Elsewhere(stub)) => reception.meets_elsewhere(&stub),
                Ok(Met::Skipped(rule)) => {
                    reception.skip(rule);
                    if rule == Rule::Dicomdir && self.plan.selection.is_all() {
                        poisoned(&self.dicomdirs).push(file.into_path());
                    }
                }
                Err(rejection) => reception.reject(file.path(), &rejection),
            }
        }
        chosen
    }

    /// Brings some files into the archive, but for the end of their copies.
    fn portion<'b>(
        &'b self,
        desk: &mut Desk,
        files: Vec<FoundFile>,
        is_rest: bool,
        reception: &'b Reception<'b>,
        mut end: impl FnMut(Batch<'b>),
    ) -> Result<()> {
        if let Some(directory) = files.first().and_then(|file| file.path().parent()) {
            reception.at(directory);
        }
        let chosen = self.chosen(desk, files, is_rest, reception);
        let Some(to) = &self.to else { return Ok(()) };
        let uids: Vec<&str> = chosen.iter().map(|candidate| candidate.instance.sop_instance_uid()).collect();
        let rows = self.rows.paths(&uids).inspect_err(|_| reception.not_reached(chosen.len()))?;
        let mut batch = Batch::new(self, to, reception);
        let mut failure = None;
        for candidate in chosen {
            let Some(rows) = rows.as_ref().filter(|_| failure.is_none() && reception.goes_on()) else {
                reception.not_reached(1);
                continue;
            };
            let row = rows.get(candidate.instance.sop_instance_uid()).map(String::as_str);
            match self.place(to, &candidate, row) {
                Ok(Place::Free(target)) => failure = batch.copy(candidate, target, &mut desk.buffer).err(),
                Ok(Place::Taken(at, state)) => batch.has(&candidate, at, state, row.is_some() && is_rest),
                Ok(Place::No { reason, detail }) => reception.conflicts(&candidate.path, reason, &detail),
                Err(why) => reception.refuse(&candidate.path, "unsafe-name", format!("it cannot be filed: {why}")),
            }
            if batch.is_full() {
                end(std::mem::replace(&mut batch, Batch::new(self, to, reception)));
            }
        }
        // What was copied by then is worth its place, whatever has failed.
        end(batch);
        failure.map_or(Ok(()), |failed| Err(failed.told(&to.filing.archive)))
    }

    /// Where the copy of an instance belongs.
    fn place(&self, to: &Destination, candidate: &Candidate, row: Option<&str>) -> Result<Place, Unsafe> {
        let target = to.filing.place(&candidate.instance)?;
        let stored = &self.plan.stored;
        let indexed = row.filter(|path| !stored.is_stale(path, candidate.instance.sop_instance_uid()));
        let at = match indexed {
            Some(path) => match self.plan.path_map.from_index(path) {
                Some(file) => file,
                None => return Ok(Place::unknown(path, "it is not mapped to a directory of this system")),
            },
            None => target.clone(),
        };
        Ok(match self.standing(candidate, &at, &to.ledger) {
            Standing::Free if indexed.is_none() => Place::Free(target),
            Standing::Free => Place::unknown(&at.to_string_lossy(), "its directory is not there"),
            Standing::Same(state) => Place::Taken(at, state),
            Standing::Other => Place::No { reason: OTHER, detail: other(&at) },
            Standing::Unknown(why) => Place::unknown(&at.to_string_lossy(), &why),
        })
    }
}

const OTHER: &str = "different-content";

fn other(at: &Path) -> String {
    format!("{} is another file of this instance; it was left as it is", at.display())
}

enum Place {
    Free(PathBuf),
    /// The same bytes are there.
    Taken(PathBuf, FileState),
    /// It is not brought.
    No {
        reason: &'static str,
        detail: String,
    },
}

impl Place {
    fn unknown(path: &str, why: &str) -> Self {
        let detail = format!("{path} cannot be compared with it: {why}; it was not imported");
        Place::No { reason: "not-compared", detail }
    }
}

impl Bring for Importer<'_> {
    fn sources(&self) -> &Roots {
        self.plan.sources
    }

    fn threads(&self) -> usize {
        self.plan.copies_at_a_time
    }

    /// Copies are synced and verified beside, while others are made.
    fn bring(&self, found: &Receiver<Vec<FoundFile>>, reception: &Reception<'_>) -> Result<()> {
        std::thread::scope(|scope| {
            let (copied, to_end) = bounded(BATCHES_WAITING);
            let ending = scope.spawn(move || self.end_batches(to_end));
            let mut desk = Desk::default();
            let mut brought = Ok(());
            while let (Ok(()), Ok(mut files)) = (&brought, found.recv()) {
                while files.len() < PORTION
                    && let Ok(more) = found.try_recv()
                {
                    files.extend(more);
                }
                match reception.goes_on() {
                    // It ends all that it is given.
                    true => {
                        brought = self.portion(&mut desk, files, false, reception, |batch| drop(copied.send(batch)))
                    }
                    false => reception.not_reached(files.len()),
                }
            }
            drop(copied);
            let ended = ending.join().unwrap_or_else(|_| Err(defect()));
            brought.and(ended)
        })
    }

    /// Further files of instances that were met with: what the first has become can be told by now.
    fn bring_rest(&self, reception: &Reception<'_>) -> Result<()> {
        let (mut desk, mut buffer) = (Desk::default(), Vec::new());
        let mut later = std::mem::take(&mut *poisoned(&self.later));
        later.sort();
        for path in later {
            if !reception.goes_on() {
                break;
            }
            reception.takes_up();
            let mut ended = Ok(());
            let end = |batch: Batch<'_>| ended = self.end_batch(batch, &mut buffer);
            self.portion(&mut desk, vec![FoundFile::named(path)], true, reception, end)?;
            ended?;
        }
        Ok(())
    }
}

impl Importer<'_> {
    /// Each gets its end, also when one has failed: what can be put into its place is.
    fn end_batches(&self, batches: Receiver<Batch<'_>>) -> Result<()> {
        let mut buffer = Vec::new();
        batches.into_iter().map(|batch| self.end_batch(batch, &mut buffer)).fold(Ok(()), Result::and)
    }

    fn end_batch(&self, batch: Batch<'_>, buffer: &mut Vec<u8>) -> Result<()> {
        let archive = self.to.as_ref().map_or(Path::new(""), |to| &to.filing.archive);
        let reception = batch.reception;
        batch.end(buffer).map_err(|failed| {
            reception.fails();
            failed.told(archive)
        })
    }

    /// So many files were copied, of so many bytes.
    pub fn copies(&self) -> (u64, u64) {
        (self.copied.load(Relaxed), self.copied_bytes.load(Relaxed))
    }
}

fn defect() -> Error {
    Error::unfinished(
        "the import failed, which is a defect of this program",
        "Please report it. Run the same command again: it goes on from there.",
    )
}

fn poisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Failed {
    fn told(self, archive: &Path) -> Error {
        let advice = "What was copied and indexed stays, and no source was touched. Run the same command again: it goes on \
                      from there.";
        match self {
            Failed::Full(what) => Error::unfinished(
                format!("the disk of the archive {} is full: {what}", archive.display()),
                format!("Make room there. {advice}"),
            ),
            Failed::Target(path, error) => Error::unfinished(
                format!("the archive cannot be written: {}: {error}", path.display()),
                format!("Is it mounted, and may you write there? {advice}"),
            ),
        }
    }
}
