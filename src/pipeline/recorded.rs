//! The source of a merge: the records of shards, in place of a walk.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;
use xxhash_rust::xxh3::xxh3_64;

use super::Intake;
use crate::archive::FoundFile;
use crate::archive::walk::FILES_PER_MESSAGE;
use crate::error::{Error, Result};
use crate::index::hashes::Hashes;
use crate::journal::record::Record;
use crate::journal::{ShardEnd, ShardLog, ShardState};
use crate::report::account::Fate;

/// Poll interval while the shards are still being read.
const INTERVAL: Duration = Duration::from_millis(200);

/// The logs of the shards that are merged.
pub struct Shards {
    logs: Mutex<Vec<ShardLog>>,
    /// The number of records in the logs when they were opened, including superseded ones.
    pub files: u64,
}

impl Shards {
    pub fn new(logs: Vec<ShardLog>) -> Self {
        Shards { files: logs.iter().map(ShardLog::files).sum(), logs: Mutex::new(logs) }
    }

    /// Returns the files that the shards have left to other runs.
    pub fn left(&self) -> ShardEnd {
        let mut left = ShardEnd::default();
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter().filter_map(ShardLog::end).for_each(|end| left.add(end));
        left
    }
}

/// Sends the records of all shards, a part of each in turn, until each shard is complete.
pub(super) fn send(intake: &Intake<'_>, shards: &Shards, records: &Sender<Vec<Record>>) -> Result<()> {
    let mut logs = shards.logs.lock().unwrap_or_else(PoisonError::into_inner);
    let mut met = Hashes::new(intake.sources.listing.directory());
    while !intake.sources.stop.is_set() {
        let mut has_sent = false;
        for log in logs.iter_mut() {
            if let Some(mut found) = log.read_next().map_err(|error| unreadable(log, &error))? {
                // A shard that was read several times may have several records of a file.
                found.retain(|record| is_first(&mut met, &record.path));
                let roots = intake.sources.roots.paths();
                let is_below_a_root =
                    |record: &Record| roots.iter().any(|root| Path::new(&record.path).starts_with(root));
                if !found.iter().all(is_below_a_root) {
                    return Err(damaged(log));
                }
                has_sent = true;
                send_part(intake, found, records);
            }
        }
        if let Some(why) = met.failure() {
            return Err(Error::unfinished(format!("a temporary file cannot be read: {why}"), super::JOURNAL_ADVICE));
        }
        if !has_sent && has_ended(&mut logs)? {
            return Ok(());
        }
        if !has_sent {
            thread::sleep(INTERVAL);
        }
    }
    Ok(())
}

fn is_first(met: &mut Hashes, path: &str) -> bool {
    let hash = xxh3_64(path.as_bytes());
    let is_first = !met.contains(hash);
    met.insert(hash);
    is_first
}

/// Sends the records of a frame, which may be hundreds, in small messages: many messages wait for
/// the readers.
fn send_part(intake: &Intake<'_>, part: Vec<Record>, records: &Sender<Vec<Record>>) {
    intake.account.found(part.len());
    let mut part = part.into_iter().peekable();
    while part.peek().is_some() {
        if let Err(unsent) = records.send(part.by_ref().take(FILES_PER_MESSAGE).collect()) {
            intake.account.add(Fate::NotReached, unsent.into_inner().len());
        }
    }
}

/// Returns the file of a record.
pub(super) fn file_of(intake: &Intake<'_>, record: &Record) -> FoundFile {
    let root = super::entries::root_of(intake, Path::new(&record.path));
    FoundFile::below(&intake.sources.roots.paths()[root], record.path.clone().into())
}

/// Returns whether all records have been sent. Fails if a shard has stopped before its end and no
/// other shard is being read.
fn has_ended(logs: &mut [ShardLog]) -> Result<bool> {
    let mut stopped = None;
    for log in logs.iter_mut() {
        let state = log.state().map_err(|error| unreadable(log, &error))?;
        if log.was_begun_anew() {
            return Err(Error::unfinished(
                format!("{} was begun with other settings or --force while it was merged", log.name()),
                "Run the merge again once all shards are complete.",
            ));
        }
        match state {
            ShardState::AtWork => return Ok(false),
            ShardState::Stopped => stopped = stopped.or(Some(log.name().to_owned())),
            ShardState::Complete if log.is_damaged() => return Err(damaged(log)),
            ShardState::Complete => {}
        }
    }
    match stopped {
        None => Ok(true),
        Some(name) => Err(Error::unfinished(
            format!("{name} stopped before it had read all of its files"),
            "Run that shard again: it continues from there. Then run the merge again.",
        )),
    }
}

fn damaged(log: &ShardLog) -> Error {
    Error::unfinished(
        format!("records of {} are damaged", log.name()),
        "Run that shard again with --force, which reads its files once more; then run the merge again.",
    )
}

fn unreadable(log: &ShardLog, error: &std::io::Error) -> Error {
    Error::unfinished(
        format!("the records of {} cannot be read: {error}", log.name()),
        "Is the directory still mounted? Run the merge again: it continues from there.",
    )
}
