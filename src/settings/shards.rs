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
use crate::progress::{Form, text};

/// The prefix of the directory name of a shard.
const KIND: &str = "shard";

/// The default minimum age of a file, because a PACS may still be writing it. A shard cannot find
/// out from an index whether there is a PACS.
const SETTLE: SignedDuration = SignedDuration::from_mins(15);

/// The settings of a run that reads a shard.
pub struct ReadShard {
    pub roots: Roots,
    pub shard: Shard,
    pub locator: Arc<Locator>,
    pub since: Option<Date>,
    /// The minimum age of a file; younger files are left to the PACS.
    pub settle: SignedDuration,
    /// Whether to read unchanged files too.
    pub reads_all: bool,
    pub accept_pending: bool,
    pub time_zone: TimeZone,
    pub io_threads: usize,
    pub walk_threads: usize,
    pub state: StateDirectory,
    /// The directory of the shard, and its note.
    pub journal: (PathBuf, String),
    pub busy: Busy,
    pub rejected: PathBuf,
    pub rejected_is_default: bool,
    /// `None` disables the progress display.
    pub progress: Option<Form>,
    /// A hash of the settings that determine which files are found, and which values are read from
    /// them.
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
        let is_odd = |root: &&PathBuf| root.to_str().is_none_or(|root| root.contains(char::is_control));
        if let Some(root) = roots.paths().iter().find(is_odd) {
            return Err(Error::usage(
                format!("--shard: the name of {} is not UTF-8, or contains a control character", text::path(root)),
                "Mount the archive at another place, or index it without shards.",
            ));
        }
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
            settle: typed.min_age.map(super::not_negative).transpose()?.unwrap_or(SETTLE),
            reads_all: typed.force,
            accept_pending: typed.allow_unread_stubs,
            time_zone: super::time_zone(writing.timezone.as_deref())?,
            io_threads,
            walk_threads: io_threads.min(super::MOST_WALK_THREADS),
            state,
            busy: if writing.wait { Busy::Wait } else { Busy::Leave },
            progress: super::progress(writing.quiet, writing.progress),
        })
    }

    /// Returns the header of the run in the log of the shard.
    pub fn begun(&self) -> Begun {
        Begun {
            settings: with_since(self.reading, self.since),
            former_settings: with_since(self.reading, self.since),
            since: self.since.map(|day| day.to_string()),
            with_empty_index: false,
            kind: RunKind::Walk,
            roots: self.roots.paths().iter().map(|root| root.as_os_str().as_encoded_bytes().to_vec()).collect(),
        }
    }
}

/// Returns the human-readable note in the directory of a shard.
fn note(shard: Shard, roots: &Roots) -> String {
    let roots: String = roots.paths().iter().map(|root| format!("root {}\n", root.display())).collect();
    format!("shard {shard}\n{roots}")
}

fn values<'n>(note: &'n str, name: &'n str) -> impl Iterator<Item = &'n str> {
    note.lines().filter_map(move |line| line.strip_prefix(name))
}

/// Returns a hash of the settings that determine how files are found and read. A merge and all of
/// its shards must have the same hash.
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

/// Returns a hash of all settings of a shard. With other settings a shard may find other files.
fn with_since(reading: u64, since: Option<Date>) -> u64 {
    xxh3_64(format!("{reading} {since:?}").as_bytes())
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
    /// The directory that the user has named.
    named: PathBuf,
    directory: PathBuf,
    note: String,
    shard: Shard,
}

impl FoundShard {
    fn name(&self) -> String {
        format!("shard {} in {}", self.shard, self.named.display())
    }
}

impl MergedShards {
    /// Opens the shards below the directories of `--merge-shards`. Returns `None` without that
    /// option.
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
        let logs: Vec<ShardLog> = found.iter().map(open).collect::<Result<_>>()?;
        for (found, log) in found.iter().zip(&logs) {
            let noted = values(&found.note, "root ").map(|root| root.as_bytes().to_vec());
            if log.begun().is_some_and(|begun| !noted.eq(begun.roots.iter().cloned())) {
                return Err(Error::usage(
                    format!("--merge-shards: the roots in the note of {} are not those that it has read", found.name()),
                    "Run that shard again, with a new directory for --state.",
                ));
            }
        }
        let since = logs.first().and_then(|log| log.begun()?.since.as_ref()?.parse().ok());
        Ok(Some(MergedShards { logs, roots: roots.unwrap_or_default(), since }))
    }

    /// Checks that all shards were read with the settings of this merge.
    pub(super) fn check_settings(&self, typed: &cli::Reindex, rules: &Rules) -> Result<()> {
        let expected = hash_of_reading(typed, rules);
        let first = self.logs.first().and_then(ShardLog::begun);
        for log in &self.logs {
            let Some((begun, first)) = log.begun().zip(first) else { continue };
            let since = |begun: &Begun| begun.since.clone().unwrap_or_else(|| "none".into());
            if begun.since != first.since {
                let (this, other) = (since(begun), since(first));
                return Err(Error::usage(
                    format!("--merge-shards: {} was read with a different --since ({this}, not {other})", log.name()),
                    "Run all shards with the same --since.",
                ));
            }
            if begun.settings != with_since(expected, self.since) {
                return Err(Error::usage(
                    format!("--merge-shards: {} was read with different storage settings", log.name()),
                    "Give the merge and all shards the same --skip-dir, --nearline, --online, --target-root, --pointer-rule, \
                     --stub-path and --recall.",
                ));
            }
        }
        Ok(())
    }
}

fn open(found: &FoundShard) -> Result<ShardLog> {
    let refused = |why: String, advice: &str| Error::usage(format!("--merge-shards: {}: {why}", found.name()), advice);
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::InvalidData => refused("its log is damaged, or of another version of this program".into(), AGAIN),
        _ => refused(format!("its log cannot be read: {error}"), "Correct its permissions, or copy it once more."),
    };
    let log = ShardLog::open(&found.directory, found.name()).map_err(failed)?;
    if !log.may_be_merged().map_err(failed)? {
        return Err(refused("this shard stopped before it had read all of its files".into(), AGAIN));
    }
    Ok(log)
}

const AGAIN: &str = "Run that shard again: files that it has recorded are not read again. If this does not help, the log is damaged: \
     use another directory for --state.";

/// Refuses shards of different runs, and an incomplete or repeated set of shards.
fn check_complete(found: &[FoundShard]) -> Result<()> {
    let Some(first) = found.first() else { return Ok(()) };
    let of = first.shard.of();
    for other in found {
        if other.shard.of() != of || !values(&other.note, "root ").eq(values(&first.note, "root ")) {
            return Err(Error::usage(
                format!(
                    "--merge-shards: {} and {} belong to different runs:\n{}{}",
                    first.name(),
                    other.name(),
                    described(first),
                    described(other)
                ),
                "Name the directories of the shards of one run, which have the same number of shards and the same roots in the \
                 same order. If a state directory contains shards of several runs, name the directories shard-... in it.",
            ));
        }
    }
    for number in 1..=of {
        let count = found.iter().filter(|found| found.shard.number() == number).count();
        if count != 1 {
            let what = if count == 0 { "is missing" } else { "is named more than once" };
            return Err(Error::usage(
                format!("--merge-shards: shard {number}/{of} {what}"),
                "Name the directory of each shard once, and run any shard that has not been run yet.",
            ));
        }
    }
    Ok(())
}

fn described(found: &FoundShard) -> String {
    let roots: Vec<&str> = values(&found.note, "root ").collect();
    let roots = text::path(Path::new(&roots.join(", ")));
    format!("  {}: shard {}, roots {roots}\n", found.directory.display(), found.shard)
}

/// Returns the shards in a state directory, or the one shard if the directory is a shard itself.
fn shards_in(directory: &Path) -> Result<Vec<FoundShard>> {
    let refused = |why: &str| {
        Error::usage(
            format!("--merge-shards {}: {why}", directory.display()),
            "Name the directories that the shards were given as --state.",
        )
    };
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => refused("no such directory; did the shard run?"),
        _ => unreadable(directory, &error),
    };
    let directories = journals_in(directory).map_err(failed)?;
    let (mut found, mut damaged) = (Vec::new(), None);
    for journal in directories {
        match Journal::note_in(&journal) {
            Ok(note) => {
                let shard = values(&note, "shard ").next().and_then(|shard| shard.parse().ok());
                let named = directory.to_owned();
                found.extend(shard.map(|shard| FoundShard { named, directory: journal, note, shard }));
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(unreadable(&journal, &error)),
            Err(_) => damaged = Some(journal),
        }
    }
    match (found.is_empty(), damaged) {
        (false, _) => Ok(found),
        (true, Some(damaged)) => {
            Err(refused(&format!("{} does not say which shard it contains; run that shard again", damaged.display())))
        }
        (true, None) => Err(refused("it contains no shard")),
    }
}

fn unreadable(directory: &Path, error: &io::Error) -> Error {
    Error::usage(
        format!("--merge-shards {}: {error}", directory.display()),
        "Correct its permissions, or copy it once more.",
    )
}

fn journals_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    if Journal::is_in(directory) {
        return Ok(vec![directory.to_owned()]);
    }
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_shard = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(KIND));
        if is_shard && path.extension().is_none() {
            journals.push(path);
        }
    }
    journals.sort();
    Ok(journals)
}

impl Reindex {
    /// Returns the settings of a merge. The shards determine the roots and the first day.
    pub(super) fn merges(mut self, shards: MergedShards) -> Self {
        self.since = shards.since;
        self.merged_shards = Some(shards.logs);
        self
    }
}
