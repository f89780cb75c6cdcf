//! A shard: one process walks its part of the archive and records the contents of the files. A
//! shard needs no index. A merge writes the rows from the records of all shards.
//!
//! ```text
//! roots -> walk -> files -> read headers -> records
//! ```

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rayon::ThreadPool;

use super::entries::{self, NoRow};
use super::read::{self, Desk, Read};
use super::remembered::is_current;
use super::{FILES_WAITING, Intake, Sources, again, defect, journal_failed, recall, unrecorded, walk};
use crate::archive::{FoundFile, skip};
use crate::dicom::{Rejection, rejection};
use crate::error::{Error, Result};
use crate::journal::record::{Reading, Record};
use crate::journal::{Begun, Journal, ShardEnd};
use crate::progress::Observer;
use crate::report::account::{Account, Fate, Outcome};
use crate::report::details::YoungFiles;

/// The result of the run over a shard.
pub struct Recorded {
    pub account: Account,
    pub elapsed: Duration,
    /// The number of files counted ahead of the work; `None` if they were not counted.
    pub counted_ahead: Option<u64>,
    /// The number of files that are left as too young, outside of the directories of today and
    /// yesterday.
    pub young_in_old_directories: u64,
    /// The error that kept the run from finishing, if any.
    pub failure: Option<Error>,
}

/// Records the contents of the files of a shard. Files that are unchanged since they were recorded
/// are not read again.
pub fn record(
    sources: &Sources<'_>,
    mut journal: Journal,
    begun: Begun,
    observer: &mut dyn Observer,
) -> Result<Recorded> {
    let started = Instant::now();
    let mut intake = Intake::new(sources, Some(&journal))?;
    let pool = read::pool(sources.io_threads)?;
    if sources.reads_all {
        // A file whose size and mtime are unchanged may have other contents, so all former records
        // are invalidated.
        journal.distrust();
    }
    journal.begin(begun);
    journal.update().map_err(journal_failed)?;
    journal.failure().map_or(Ok(()), |why| Err(unrecorded(why)))?;
    let journal = &**intake.journal.get_or_init(|| Arc::new(journal));
    let failure = thread::scope(|scope| {
        let intake = &intake;
        scope.spawn(move || intake.watch.show(intake, Vec::new, started, observer));
        if sources.count_ahead {
            scope.spawn(|| intake.count_ahead());
        }
        let is_whole = |failures: &[Error]| failures.is_empty() && !sources.stop.is_set();
        let mut failures = pass(intake, journal, &pool, |files| walk::walk(intake, files));
        // Files that came or were moved during the first pass.
        if is_whole(&failures) {
            intake.watch.looking_again();
            failures = pass(intake, journal, &pool, |files| again::walk_again(intake, files));
        }
        recall::leave_wanted(intake, true);
        failures.extend(intake.storage.lost());
        if is_whole(&failures) {
            failures.extend(journal.close_shard(end_of(intake)).err().map(unrecorded));
        } else {
            failures.extend(journal.sync().err().map(unrecorded));
        }
        intake.watch.end();
        failures.into_iter().next()
    });
    let failure = intake.take_lack().or(failure);
    Ok(Recorded {
        elapsed: started.elapsed(),
        counted_ahead: intake.census.total(),
        young_in_old_directories: intake.again.in_old_directories.into_inner(),
        account: intake.account,
        failure,
    })
}

/// Returns the counts of files that the shard leaves to other runs.
fn end_of(intake: &Intake<'_>) -> ShardEnd {
    let (limit, in_old_directories) = (intake.sources.settle, intake.again.in_old_directories.load(Relaxed));
    ShardEnd {
        directories_unreadable: intake.account.directories_unreadable.load(Relaxed),
        young: intake.account.count(Fate::TooYoung),
        are_most_young: YoungFiles { limit, in_old_directories }.are_most(&intake.account),
    }
}

/// Walks the archive and reads the files that the walk finds.
fn pass(
    intake: &Intake<'_>,
    journal: &Journal,
    pool: &ThreadPool,
    walk: impl FnOnce(&Sender<Vec<FoundFile>>) -> Result<()> + Send,
) -> Vec<Error> {
    let (files, files_to_read) = bounded::<Vec<FoundFile>>(FILES_WAITING);
    thread::scope(|scope| {
        let walk = scope.spawn(move || walk(&files));
        let read = scope.spawn(|| pool.broadcast(|_| read_files(intake, journal, &files_to_read)));
        let mut failures = Vec::from_iter(walk.join().unwrap_or_else(|_| Err(defect("walk"))).err());
        failures.extend(read.join().map_err(|_| defect("read")).err());
        failures.extend(journal.failure().map(unrecorded));
        failures
    })
}

/// Runs one receive loop.
fn read_files(intake: &Intake<'_>, journal: &Journal, files: &Receiver<Vec<FoundFile>>) {
    let mut desk = Desk::default();
    loop {
        // While there is nothing to read, no records are held back.
        let waiting = files.try_recv().or_else(|_| {
            read::note(intake, &mut desk);
            files.recv()
        });
        let Ok(files) = waiting else { return };
        // Without a journal, all further reading would be lost.
        if journal.failure().is_some() {
            intake.sources.stop.set();
        }
        if intake.sources.stop.is_set() {
            intake.account.add(Fate::NotReached, files.len());
            continue;
        }
        if let Some(directory) = files.first().and_then(|file| file.path().parent()) {
            intake.watch.at(directory);
        }
        files.into_iter().for_each(|file| read_file(intake, journal, &mut desk, file));
        read::note_when_due(intake, &mut desk);
    }
}

fn read_file(intake: &Intake<'_>, journal: &Journal, desk: &mut Desk, file: FoundFile) {
    let path = file.path().to_owned();
    let noted = desk.noted.len();
    let is_left = match find_out(intake, journal, desk, file) {
        Ok(is_left) => is_left,
        Err(rejection) => {
            entries::reject(intake, &path, &rejection);
            true
        }
    };
    // The merge accounts for each file that was found.
    if is_left && desk.noted.len() == noted {
        desk.noted.extend(read::unread(&path));
    }
}

/// Reads a file, unless its record is current. Returns whether the file is left for the merge to
/// inspect, if it has no record yet.
fn find_out(intake: &Intake<'_>, journal: &Journal, desk: &mut Desk, file: FoundFile) -> Result<bool, Rejection> {
    let account = &intake.account;
    if let Some(rule) = file.path().file_name().and_then(skip::by_name) {
        account.skipped(rule);
        return Ok(true);
    }
    let seen = intake.sources.locator.look(&file).map_err(Rejection::Unreadable)?;
    let modified = seen.state.modified;
    if !intake.sources.reads_all
        && let Some(state) = journal.state(file.path(), &mut desk.cursors)
        && let Some(record) = journal.record(&state, file.path(), &mut desk.cursors)
        && is_current(intake, &file, &seen, &record)
    {
        account.bytes.fetch_add(record.state.size, Relaxed);
        // A merge ignores records that were made with other settings, so the record is added again.
        if !journal.is_of_these_settings(&state) {
            desk.noted.push((file.path().to_owned(), read::file_record(&record)));
        }
        is_unchanged(intake, file.path(), record);
        return Ok(false);
    }
    match read::open_and_read(intake, desk, &file, seen)? {
        Read::Held(held) => {
            // A path that is not UTF-8 has no row and no record.
            if file.path().to_str().is_none() {
                entries::reject_path_without_text(intake, file.path());
                return Ok(false);
            }
            account.add(Fate::Recorded, 1);
            desk.noted.push((file.into_path(), held.record));
            Ok(false)
        }
        Read::TooYoung => {
            account.add(Fate::TooYoung, 1);
            intake.again.left(file.without_permit());
            Ok(false)
        }
        Read::Stub(stub) => {
            recall::leave(intake, file, modified, stub);
            Ok(true)
        }
        Read::MetElsewhere(stub) => {
            account.add(Fate::Link, 1);
            account.stub(&stub, Outcome::MetElsewhere);
            Ok(true)
        }
    }
}

/// Counts a file that was recorded before. Its problems are listed in each run.
fn is_unchanged(intake: &Intake<'_>, path: &Path, record: Record) {
    match record.reading {
        Reading::Instance(_) | Reading::Unread => intake.account.add(Fate::Unchanged, 1),
        Reading::Skipped(rule) => intake.account.skipped(rule),
        Reading::Rejected { code, detail } => {
            entries::list_rejected(intake, path, &NoRow { code: rejection::code_named(&code), detail });
        }
    }
}
