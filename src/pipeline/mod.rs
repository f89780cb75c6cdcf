//! The flow of a run, on one page:
//!
//! ```text
//! roots -> walk -> files -> read headers -> entries -> batches -> index -> account
//! ```
//!
//! A run goes through the stages twice: the second pass reads files that the PACS stored or moved
//! during the first.
//!
//! Stages are joined by bounded channels. A stage that falls behind holds up the stage before it
//! (backpressure), so that memory does not grow with the archive.
//!
//! Two commands use a part of the stages. A shard ([`shard`]) walks and reads, and ends at records
//! on disk. A merge ([`recorded`]) takes the records of shards in place of the walk.

mod again;
pub mod bring;
mod census;
mod close;
mod entries;
mod gate;
mod gather;
mod gone;
pub mod intake;
pub mod key_order;
mod lag;
mod outage;
mod read;
mod recall;
pub mod received;
pub mod recorded;
mod remembered;
mod resume;
pub mod shard;
pub mod spool;
pub mod stop;
mod storage;
mod stored;
mod walk;
mod watch;
mod write;

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use close::Closed;
use crossbeam_channel::{Sender, bounded};
use key_order::PutBy;
use rayon::ThreadPool;

use crate::archive::{FoundFile, PathMap};
use crate::error::{Error, Result};
use crate::index::companion_changes::{Companions, Parents};
use crate::index::dry_run::Changed;
use crate::index::existing::Mode;
use crate::index::hashes::Hashes;
use crate::index::replica::{Lag, Replica};
use crate::index::{Entry, Failure, Tables};
use crate::journal::{Begun, Journal, RunKind, ShardEnd};
use crate::merge::writer::Writer;
use crate::progress::{Observer, text};
use crate::report::account::{Account, Fate};

pub use bring::{Bring, Reception};
use intake::Intake;
pub use intake::{Files, Sources};
pub use outage::Outage;
pub use received::Receipt;
pub use recorded::Shards;
pub use stop::Stop;
pub use stored::Stored;

/// The number of messages, of some files each, that may wait for a reader and for a writer. A
/// thousand entries of about two kilobytes keep both busy.
const FILES_WAITING: usize = 64;
const ENTRIES_WAITING: usize = 32;

/// The input of a run. Workers see neither the command line nor the environment.
pub struct Plan<'a> {
    pub sources: Sources<'a>,
    pub tables: &'a Tables,
    pub path_map: &'a PathMap,
    /// Whether to recall stubs, as far as the policy allows. Otherwise the run reports which stubs
    /// it would recall.
    pub recalls: bool,
    /// Whether files may vanish during the run, so that the run looks for missing files of its rows
    /// at the end.
    pub watch_rows: bool,
    /// Which values of existing rows are updated.
    pub existing: Mode,
    /// A hash of all settings that affect rows. A run with another hash is not continued.
    pub settings: u64,
    /// The same hash as version 0.1.0 computes it.
    pub former_settings: u64,
    /// Which entries are buffered, to be written in key order.
    pub insert_order: key_order::When,
    /// The number of files in a transaction, if it is fixed.
    pub portion: Option<usize>,
    /// The name of the index in messages.
    pub index: String,
    pub outage: &'a Outage,
    /// Maximum lag of a replica. Writing waits while a replica lags more.
    pub max_replica_lag: Duration,
}

impl Plan<'_> {
    /// Returns the header that the journal records of this run, as far as it depends on the
    /// settings.
    fn begun(&self) -> Begun {
        let roots =
            self.sources.roots.paths().iter().map(|root| root.as_os_str().as_encoded_bytes().to_vec()).collect();
        let kind = match self.sources.files {
            Files::Walked | Files::Recorded(_) => RunKind::Walk,
            Files::Named(_) => RunKind::Named,
            Files::Brought(_) => RunKind::Import,
        };
        Begun {
            settings: self.settings,
            former_settings: self.former_settings,
            since: self.sources.first_day.map(|day| day.to_string()),
            with_empty_index: false,
            kind,
            roots,
        }
    }
}

/// The result of a run.
pub struct Done {
    pub account: Account,
    pub parents: Parents,
    /// Rows above the images that existed before the run and were changed.
    pub updated: Parents,
    pub companions: Companions,
    /// Rows of other programs that look unfinished, and stay so.
    pub unfinished: Parents,
    /// The changes that a dry run would have made.
    pub changes: Vec<(String, Changed)>,
    pub elapsed: Duration,
    /// How long writing waited for replicas, and for the database.
    pub waited: Duration,
    pub waited_for_database: Duration,
    /// The number of files counted ahead of the work; `None` if they were not counted.
    pub counted_ahead: Option<u64>,
    /// The number of index rows that were compared with the journal, and how long that took.
    pub rows_checked: (u64, Duration),
    /// Whether this run continued a run that was killed or interrupted.
    pub continued: bool,
    /// Whether the index contained no image before the run.
    pub began_empty: bool,
    /// The number of files that are left as too young, outside of the directories of today and
    /// yesterday.
    pub young_in_old_directories: u64,
    /// The files that the merged shards have left to other runs.
    pub left_by_shards: ShardEnd,
    /// The error that kept the run from finishing, if any.
    pub failure: Option<Error>,
}

/// The state that all stages share.
struct Run<'a> {
    plan: &'a Plan<'a>,
    intake: Intake<'a>,
    led: Option<gone::Led>,
    gate: gate::Gate,
    /// Hashes of the paths of files that were already reached through a pointer.
    targets_met: Mutex<Hashes>,
    /// Hashes of the paths of files that lost their row to another file and are already listed.
    told_losers: Mutex<Hashes>,
}

/// Brings the index up to date with the archive. Without a journal, the run uses no results of
/// earlier runs and leaves none for later runs.
pub fn run(
    plan: &Plan<'_>,
    writers: Vec<Writer>,
    journal: Option<Journal>,
    replicas: Vec<Replica>,
    observer: &mut dyn Observer,
) -> Result<Done> {
    let started = Instant::now();
    let lags = replicas.iter().map(|replica| (replica.name().to_owned(), replica.lag().clone())).collect();
    let mut run = Run::new(plan, lags, journal.as_ref())?;
    let began_empty = writers.iter().all(Writer::began_empty);
    let has_journal = journal.is_some();
    let pool = read::pool(plan.sources.io_threads)?;
    let (closed, failure) = thread::scope(|scope| {
        let run = &run;
        let notices = || run.gate.notices().into_iter().chain(plan.outage.notices()).collect();
        scope.spawn(move || run.intake.watch.show(&run.intake, notices, started, observer));
        // Query the lag of the replicas.
        for (number, replica) in replicas.into_iter().enumerate() {
            scope.spawn(move || lag::follow(run, number, replica));
        }
        // Count the files ahead of the work, for the progress display.
        if plan.sources.count_ahead {
            scope.spawn(|| run.intake.count_ahead());
        }
        let mut writers = writers;
        let is_whole = |failures: &[Error]| failures.is_empty() && !plan.sources.stop.is_set();
        // Resume the work that earlier runs have left.
        let mut failures = Vec::from_iter(run.open_journal(journal, &mut writers).err());
        // Walk the directories, newest first; read headers; write batches.
        if is_whole(&failures) {
            let intake = &run.intake;
            (writers, failures) = match plan.sources.files {
                Files::Walked => run.pass(&pool, writers, |files| walk::walk(intake, files)),
                Files::Named(named) => run.pass(&pool, writers, |files| walk::send_named(intake, named, files)),
                Files::Brought(brings) => run.pass(&pool, writers, |files| bring::bring(intake, brings, files)),
                Files::Recorded(shards) => run.pass(&pool, writers, |records| recorded::send(intake, shards, records)),
            };
        }
        // Files that came or were moved during the first pass go through the same stages.
        if is_whole(&failures) && matches!(plan.sources.files, Files::Walked | Files::Brought(_)) {
            run.intake.watch.looking_again();
            (writers, failures) = run.pass(&pool, writers, |files: &Sender<Vec<FoundFile>>| match plan.sources.files {
                Files::Brought(brings) => bring::bring_rest(&run.intake, brings, files),
                _ => again::walk_again(&run.intake, files),
            });
        }
        // Stubs on slow storage are recalled, as far as the policy allows.
        if is_whole(&failures) && run.intake.recall.is_allowed() && plan.recalls {
            (writers, failures) = run.pass(&pool, writers, |files| recall::recall(&run.intake, files));
        }
        recall::leave_wanted(&run.intake, plan.recalls);
        // The rescan has found the files that were moved: files that are still missing are gone.
        if let (true, [writer, ..]) = (is_whole(&failures), writers.as_mut_slice()) {
            failures.extend(gone::list_gone(run, writer).err());
        }
        // Derive the values that depend on all rows being written.
        let is_complete = is_whole(&failures);
        let may_settle = run.journal().map_or(!has_journal, |journal| is_complete && journal.may_settle());
        if let (true, [writer, ..]) = (may_settle, writers.as_mut_slice()) {
            failures.extend(gather::gather(run, writer).err());
        }
        let in_full = may_settle && is_whole(&failures);
        let (closed, result) = close::close(run, writers, in_full, run.journal());
        failures.extend(result.err());
        failures.extend(run.intake.storage.lost());
        if let (true, true, Some(journal)) = (is_complete, is_whole(&failures), run.journal()) {
            let recorded = match in_full {
                true => journal.close(),
                false => journal.sync(),
            };
            failures.extend(recorded.err().map(unrecorded));
        }
        run.intake.watch.end();
        run.gate.end();
        (closed, failures.into_iter().next())
    });
    let failure = run.intake.take_lack().or(failure);
    Ok(run.done(closed, failure, started, began_empty))
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan<'a>, lags: Vec<(String, Lag)>, journal: Option<&Journal>) -> Result<Self> {
        let scratch = plan.sources.listing.directory();
        Ok(Run {
            plan,
            intake: Intake::new(&plan.sources, journal)?,
            led: plan.watch_rows.then(|| gone::Led::new(scratch)).transpose().map_err(again::spool_failed)?,
            gate: gate::Gate::new(lags, plan.max_replica_lag),
            targets_met: Mutex::new(Hashes::new(scratch)),
            told_losers: Mutex::new(Hashes::new(scratch)),
        })
    }

    fn done(self, closed: Closed, failure: Option<Error>, started: Instant, began_empty: bool) -> Done {
        let journal = self.intake.journal.into_inner();
        let Closed { parents, updated, companions, changes, unfinished } = closed;
        Done {
            parents,
            updated,
            companions,
            unfinished,
            changes,
            elapsed: started.elapsed(),
            rows_checked: self.intake.watch.was_checked(),
            waited: self.gate.waited(),
            waited_for_database: self.plan.outage.waited(),
            counted_ahead: self.intake.census.total(),
            young_in_old_directories: self.intake.again.in_old_directories.into_inner(),
            left_by_shards: match self.plan.sources.files {
                Files::Recorded(shards) => shards.left(),
                _ => ShardEnd::default(),
            },
            account: self.intake.account,
            began_empty: journal.as_ref().map_or(began_empty, |journal| journal.began_with_empty_index()),
            continued: journal.as_ref().is_some_and(|journal| journal.is_continued()),
            failure,
        }
    }

    fn journal(&self) -> Option<&Journal> {
        self.intake.journal()
    }

    fn open_journal(&self, journal: Option<Journal>, writers: &mut [Writer]) -> Result<()> {
        let (Some(mut journal), [first, ..]) = (journal, &mut *writers) else { return Ok(()) };
        resume::take_up_journal(self, &mut journal, first)?;
        journal.failure().map_or(Ok(()), |why| Err(unrecorded(why)))?;
        let journal = self.intake.journal.get_or_init(|| Arc::new(journal));
        first.note_given(journal.given());
        for writer in &mut *writers {
            writer.recorder = Some(journal.clone());
            writer.continues = journal.is_continued();
            writer.is_interleaved = journal.is_interleaved();
        }
        if let (true, [first, ..]) = (journal.is_continued(), writers) {
            resume::continue_run(self, journal, first)?;
        }
        self.intake.watch.indexing();
        Ok(())
    }

    /// Runs the stages from the walk to the index in parallel. Returns the writers for the work
    /// that is left.
    fn pass<M: read::Message>(
        &self,
        pool: &ThreadPool,
        writers: Vec<Writer>,
        walk: impl FnOnce(&Sender<M>) -> Result<()> + Send,
    ) -> (Vec<Writer>, Vec<Error>) {
        let put_by = match PutBy::new(self.plan.sources.listing.directory(), writers.len()) {
            Ok(put_by) => put_by,
            Err(error) => return (writers, vec![write::not_kept(self, error)]),
        };
        let put_by = &put_by;
        let (files, files_to_read) = bounded::<M>(FILES_WAITING);
        let (entries, entries_to_write): (Vec<_>, Vec<_>) =
            writers.iter().map(|_| bounded::<Vec<Entry>>(ENTRIES_WAITING)).unzip();
        thread::scope(|scope| {
            let walk = scope.spawn(move || walk(&files));
            // One receive loop per thread, in a thread pool that runs nothing else.
            let read = scope.spawn(move || pool.broadcast(|_| read::read(self, &files_to_read, &entries)));
            // One connection per thread.
            let write = |(writer, entries)| scope.spawn(move || write::write(self, writer, &entries, put_by));
            let write: Vec<_> = writers.into_iter().zip(entries_to_write).map(write).collect();
            let mut failures = Vec::from_iter(walk.join().unwrap_or_else(|_| Err(defect("walk"))).err());
            failures.extend(read.join().map_err(|_| defect("read")).err());
            let (writers, results): (Vec<_>, Vec<_>) = write
                .into_iter()
                .filter_map(|stage| stage.join().map_err(|_| failures.push(defect("write"))).ok())
                .unzip();
            failures.extend(results.into_iter().filter_map(Result::err));
            // Entries that are still buffered after an interruption are not written.
            self.intake.account.add(Fate::NotReached, put_by.leave());
            self.intake.watch.are_put_by(0);
            (writers, failures)
        })
    }

    /// Converts a failure of the index to an error. An interrupted wait for the database is not an
    /// error: the run ends as requested.
    fn index_failed<T: Default>(&self, failure: Failure) -> Result<T> {
        if matches!(failure, Failure::Interrupted) {
            return Ok(T::default());
        }
        if let Failure::Unrecorded(why) = failure {
            return Err(unrecorded(why));
        }
        let (account, count) = (&self.intake.account, text::count);
        let found = account.files_found();
        let settled = count(account.done().saturating_sub(account.count(Fate::NotReached)));
        Err(Error::unfinished(
            format!("the index {} cannot be written: {failure}", self.plan.index),
            format!(
                "{settled} of {} files found were settled. What was committed stays. Mend the database, then run the \
                 same command again: it goes on from there.",
                count(found)
            ),
        ))
    }
}

fn no_threads(error: impl std::fmt::Display) -> Error {
    Error::unfinished(format!("no threads can be started: {error}"), "Set a smaller number of --io-threads.")
}

/// The error of a run whose journal cannot be read, or whose tables cannot be built.
fn journal_failed(error: std::io::Error) -> Error {
    Error::unfinished(format!("the journal cannot be used: {error}"), JOURNAL_ADVICE)
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        journal_failed(error)
    }
}

/// The error of a run that ends because its journal cannot be written. The reason names the
/// directory.
fn unrecorded(why: String) -> Error {
    Error::unfinished(why, JOURNAL_ADVICE)
}

const JOURNAL_ADVICE: &str = "Make room there, or repair the disk, then run the same command again: it continues from there. Only rows that the \
                              journal has are in the index.";

fn defect(stage: &str) -> Error {
    Error::unfinished(
        format!("the {stage} stage failed, which is a defect of this program"),
        "Please report it. Committed rows are in the index; run the same command again to resume.",
    )
}
