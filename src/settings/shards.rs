//! Shards: the settings of a run that reads one, and the shards that a merge writes.

#![allow(clippy::disallowed_methods, reason = "directories of this program's own")]

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use xxhash_rust::xxh3::xxh3_64;

use super::{Reindex, StateDirectory, archive, stubs};
use crate::archive::locator::Rules;
use crate::archive::{Locator, PathMap, Roots, Shard};
use crate::cli;
use crate::error::{Error, Result};
use crate::journal::{Begun, Busy, Journal, RunKind, ShardLog};
use crate::progress::Form;

/// The beginning of the name of the directory of a shard.
const KIND: &str = "shard";

/// How long a PACS may be writing a file. A shard asks no index whether there is a PACS.
const SETTLE: SignedDuration = SignedDuration::from_mins(15);

/// The settings of a run that reads a shard.
pub struct ReadShard {
    pub roots: Roots,
    pub shard: Shard,
    pub locator: Arc<Locator>,
    pub since: Option<Date>,
    /// Younger files are left to the PACS.
    pub settle: SignedDuration,
    /// Files that are unchanged are read all the same.
    pub reads_all: bool,
    pub accept_pending: bool,
    pub time_zone: TimeZone,
    pub io_threads: usize,
    pub walk_threads: usize,
    pub state: StateDirectory,
    /// The directory of the shard, and the note in it.
    pub journal: (PathBuf, String),
    pub busy: Busy,
    pub rejected: PathBuf,
    pub rejected_is_default: bool,
    /// `None` shows nothing.
    pub progress: Option<Form>,
    /// A hash of the settings that determine which files are found, and what is read of them.
    reading: u64,
}

impl ReadShard {
    pub fn resolve(typed: &cli::Reindex, shard: Shard) -> Result<Self> {
        let writing = &typed.writing;
        if !StateDirectory::is_named(writing.state.as_deref()) {
            return Err(Error::usage(
                "--shard needs a directory for its records, which --merge-shards reads",
                "Name the directory: --state DIR, or the environment variable PACS_INDEX_STATE.",
            ));
        }
        let roots = Roots::check(&typed.roots, writing.require_mount)?;
        let rules = stubs::rules(&writing.stubs, stubs::policy(typed)?, &roots)?;
        archive::check_outside(writing.rejected.as_deref().map(|file| ("--rejected", file)).into_iter(), |file| {
            roots.hold(file) || rules.hold(file)
        })?;
        let state = StateDirectory::find(writing.state.as_deref())?;
        state.check_apart(|path| roots.hold(path) || rules.hold(path))?;
        let note = note(shard, &roots);
        let io_threads = writing.io_threads.map_or_else(super::default_io_threads, usize::from);
        Ok(ReadShard {
            journal: (state.keyed(KIND, &note), note),
            rejected: writing.rejected.clone().unwrap_or_else(|| state.new_file("rejected")),
            rejected_is_default: writing.rejected.is_none(),
            reading: hash_of_reading(typed, &rules),
            locator: Arc::new(Locator::new(&roots, &PathMap::default(), rules)),
            roots,
            shard,
            since: typed.since,
            settle: typed.settle.map(super::not_negative).transpose()?.unwrap_or(SETTLE),
            reads_all: typed.force,
            accept_pending: typed.accept_pending,
            time_zone: super::time_zone(writing.timezone.as_deref())?,
            io_threads,
            walk_threads: io_threads.min(super::MOST_WALK_THREADS),
            state,
            busy: if writing.wait { Busy::Wait } else { Busy::Leave },
            progress: super::progress(writing.quiet, writing.progress),
        })
    }

    /// How the run begins.
    pub fn begun(&self) -> Begun {
        Begun {
            settings: self.reading,
            former_settings: self.reading,
            since: self.since.map(|day| day.to_string()),
            with_empty_index: false,
            kind: RunKind::Walk,
            roots: self.roots.paths().iter().map(|root| root.as_os_str().as_encoded_bytes().to_vec()).collect(),
        }
    }
}

/// The note in the directory of a shard, which people can read.
fn note(shard: Shard, roots: &Roots) -> String {
    let roots: String = roots.paths().iter().map(|root| format!("root {}\n", root.display())).collect();
    format!("shard {shard}\n{roots}")
}

fn values<'n>(note: &'n str, name: &'n str) -> impl Iterator<Item = &'n str> {
    note.lines().filter_map(move |line| line.strip_prefix(name))
}

/// A hash of the settings by which files are found and read: all shards of a merge, and the merge, have the same ones.
fn hash_of_reading(typed: &cli::Reindex, rules: &Rules) -> u64 {
    let cli::Stubs { skip_dir, pointer_rule, stub_path, .. } = &typed.writing.stubs;
    let mut skip_dir: Vec<&String> = skip_dir.iter().collect();
    skip_dir.sort();
    let (declared, targets) = (&rules.declared, &rules.target_roots);
    let text = format!(
        "{skip_dir:?} {pointer_rule:?} {stub_path:?} {:?} {:?} {targets:?} {:?}",
        declared.nearline, declared.online, typed.recall
    );
    xxh3_64(text.as_bytes())
}

/// The shards that a merge writes.
pub struct MergedShards {
    pub logs: Vec<ShardLog>,
    /// The roots of all shards.
    pub roots: Vec<PathBuf>,
    /// The first day whose directories the shards have read.
    pub since: Option<Date>,
}

/// A shard that was found on disk.
struct FoundShard {
    directory: PathBuf,
    note: String,
    shard: Shard,
}

impl MergedShards {
    /// Opens the shards below the directories of `--merge-shards`. `None` without that option.
    pub fn open(directories: &[PathBuf]) -> Result<Option<Self>> {
        if directories.is_empty() {
            return Ok(None);
        }
        let mut found = Vec::new();
        for directory in directories {
            found.extend(shards_in(directory)?);
        }
        check_complete(&found)?;
        let roots = found.first().map(|first| values(&first.note, "root ").map(PathBuf::from).collect());
        let logs: Vec<ShardLog> = found.iter().map(|found| open(&found.directory)).collect::<Result<_>>()?;
        let since = logs.first().and_then(|log| log.begun()?.since.as_ref()?.parse().ok());
        Ok(Some(MergedShards { logs, roots: roots.unwrap_or_default(), since }))
    }

    /// Checks that all shards have been read by the settings of this merge.
    pub(super) fn check_settings(&self, typed: &cli::Reindex, rules: &Rules) -> Result<()> {
        let expected = hash_of_reading(typed, rules);
        let first = self.logs.first().and_then(ShardLog::begun);
        for log in &self.logs {
            let directory = log.directory().display();
            let Some((begun, first)) = log.begun().zip(first) else { continue };
            if begun.settings != expected {
                return Err(Error::usage(
                    format!("--merge-shards {directory}: this shard was read by other settings of the storage"),
                    "Give the merge and all shards the same --skip-dir, --nearline, --online, --target-root, --pointer-rule, \
                     --stub-path and --recall.",
                ));
            }
            if begun.since != first.since {
                return Err(Error::usage(
                    format!("--merge-shards {directory}: this shard was read with another --since than the first"),
                    "Run all shards with the same --since.",
                ));
            }
        }
        Ok(())
    }
}

fn open(directory: &Path) -> Result<ShardLog> {
    let refused =
        |why: String, advice: &str| Error::usage(format!("--merge-shards {}: {why}", directory.display()), advice);
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::InvalidData => refused("its log is damaged, or of another version of this program".into(), AGAIN),
        _ => refused(format!("its log cannot be read: {error}"), "Correct its permissions, or copy it once more."),
    };
    let log = ShardLog::open(directory).map_err(failed)?;
    if !log.may_be_merged().map_err(failed)? {
        return Err(refused("this shard stopped before it had read all of its files".into(), AGAIN));
    }
    Ok(log)
}

const AGAIN: &str = "Run that shard again: it continues from where it stopped.";

/// Refuses shards that are not those of one run, or not all of them.
fn check_complete(found: &[FoundShard]) -> Result<()> {
    let Some(first) = found.first() else { return Ok(()) };
    let of = first.shard.of();
    for other in found {
        if other.shard.of() != of || !values(&other.note, "root ").eq(values(&first.note, "root ")) {
            return Err(Error::usage(
                format!(
                    "--merge-shards {}: this shard is of another run than {}:\n{}",
                    other.directory.display(),
                    first.directory.display(),
                    other.note.trim_end()
                ),
                "Name the directories of the shards of one run. A state directory that contains several runs has a directory \
                 shard-... for each shard.",
            ));
        }
    }
    for number in 1..=of {
        let count = found.iter().filter(|found| found.shard.number() == number).count();
        if count != 1 {
            let what = if count == 0 { "is missing" } else { "is named more than once" };
            return Err(Error::usage(
                format!("--merge-shards: shard {number}/{of} {what}"),
                "Name the directory of each shard once, and run a shard that was not run yet.",
            ));
        }
    }
    Ok(())
}

/// The shards in a state directory, or the shard that a directory is.
fn shards_in(directory: &Path) -> Result<Vec<FoundShard>> {
    let refused = |why: &str| {
        Error::usage(
            format!("--merge-shards {}: {why}", directory.display()),
            "Name the directories that the shards were given as --state.",
        )
    };
    let directories = journals_in(directory).map_err(|error| refused(&format!("it cannot be read: {error}")))?;
    let (mut found, mut damaged) = (Vec::new(), None);
    for directory in directories {
        match Journal::note_in(&directory) {
            Ok(note) => {
                let shard = values(&note, "shard ").next().and_then(|shard| shard.parse().ok());
                found.extend(shard.map(|shard| FoundShard { directory, note, shard }));
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(refused(&format!("{} cannot be read: {error}", directory.display())));
            }
            Err(_) => damaged = Some(directory),
        }
    }
    match (found.is_empty(), damaged) {
        (false, _) => Ok(found),
        (true, Some(damaged)) => {
            Err(refused(&format!("the note in {} is damaged; run that shard again", damaged.display())))
        }
        (true, None) => Err(refused("it contains no shard")),
    }
}

fn journals_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    if Journal::is_in(directory) {
        return Ok(vec![directory.to_owned()]);
    }
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if Journal::is_in(&path) && path.extension().is_none() {
            journals.push(path);
        }
    }
    journals.sort();
    Ok(journals)
}

impl Reindex {
    /// Settings of a merge: the shards determine the roots, and which days were read.
    pub(super) fn merges(mut self, shards: MergedShards) -> Self {
        self.since = shards.since;
        self.merged_shards = Some(shards.logs);
        self
    }
}
