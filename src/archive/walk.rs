//! The walk of the archive: lists directories in parallel, one level at a time, the newest first.
//! Opens no files.
//!
//! Pending directories are stored in a bounded heap. When the heap is full, the task that finds
//! another directory descends into that directory itself, so that even a million directories take
//! no additional memory. All results are passed to one function, which interprets them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use walkdir::{DirEntry, WalkDir};

use super::changed::{self, Since};
use super::file::FoundFile;
use super::layout;
use super::pending::{Directory, Pending, Rank};
use super::shard::Shard;
use super::skipped_directories::{SkipReason, SkippedDirectories};

/// The number of files per message. Larger messages are not faster on a warm disk, and leave a slow
/// disk idle at the end.
pub const FILES_PER_MESSAGE: usize = 8;

/// The maximum number of pending directories: more than eight times the daily directories of twenty
/// years. At some hundred bytes each, they take a few megabytes.
const PENDING_LIMIT: usize = 65_536;

/// A result of the walk.
#[derive(Debug)]
pub enum Found {
    /// Files, and symbolic links to anything.
    Files(Vec<FoundFile>),
    /// A FIFO, a socket or a device.
    Special(PathBuf),
    /// A directory that was listed completely, and the number of its subdirectories that were
    /// deferred.
    Directory {
        path: PathBuf,
        put_aside: usize,
    },
    UnreadableDirectory {
        path: PathBuf,
        error: io::Error,
    },
    /// A directory entry whose type cannot be determined.
    Unreadable {
        path: PathBuf,
        error: io::Error,
    },
    /// A directory without live images. The walk does not descend into it.
    SkippedDirectory {
        path: PathBuf,
        reason: SkipReason,
    },
    /// A directory of a day before the first day of the walk. The walk does not descend into it.
    Earlier(Date),
}

/// Returned by the sink to stop the walk.
pub struct Enough;

pub struct Walk<'a> {
    roots: &'a [PathBuf],
    threads: usize,
    skipped: &'a SkippedDirectories,
    pending_limit: usize,
    since: Option<Since>,
    first_day: Option<Date>,
    shard: Option<Shard>,
}

impl<'a> Walk<'a> {
    pub fn new(roots: &'a [PathBuf], threads: usize, skipped: &'a SkippedDirectories) -> Self {
        Walk { roots, threads, skipped, pending_limit: PENDING_LIMIT, since: None, first_day: None, shard: None }
    }

    /// Skips directories of an earlier day. Directories without a day, and the roots, are searched.
    pub fn from_day(self, first_day: Option<Date>) -> Self {
        Walk { first_day, ..self }
    }

    /// Skips directories of other shards, or only searches them for directories of this shard.
    pub fn of_shard(self, shard: Option<Shard>) -> Self {
        Walk { shard, ..self }
    }

    /// Reports only the files that are new or have changed since a point in time. An unchanged
    /// directory is reported as listed, without its files.
    pub fn changed_since(self, since: Since) -> Self {
        Walk { since: Some(since), ..self }
    }

    /// Lists everything below the roots. All threads call `sink`; the walk ends when `sink` returns
    /// [`Enough`].
    pub fn run(&self, sink: &(impl Fn(Found) -> Result<(), Enough> + Sync)) -> io::Result<()> {
        let pending = Pending::new(self.roots, self.pending_limit);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .thread_name(|n| format!("walk-{n}"))
            .build()
            .map_err(io::Error::other)?;
        pool.broadcast(|_| {
            while let Some(directory) = pending.next() {
                let result = Listing::new(&pending, &directory, self, sink).list(&directory.path, true);
                pending.listed(result.is_err());
            }
        });
        Ok(())
    }
}

/// Lists one directory, and all directories below it for which the heap has no room.
struct Listing<'a, F> {
    pending: &'a Pending,
    walk: &'a Walk<'a>,
    root: Arc<Path>,
    /// Whether the directory is a root, which may be a link. No other link is followed.
    is_root: bool,
    sink: &'a F,
    files: Vec<FoundFile>,
}

impl<'a, F: Fn(Found) -> Result<(), Enough>> Listing<'a, F> {
    fn new(pending: &'a Pending, directory: &Directory, walk: &'a Walk<'a>, sink: &'a F) -> Self {
        Listing {
            pending,
            walk,
            root: Arc::clone(&directory.root),
            is_root: directory.rank == Rank::Root,
            sink,
            files: Vec::with_capacity(FILES_PER_MESSAGE),
        }
    }

    /// Lists a directory. With `one_level`, subdirectories are deferred while the heap has room, so
    /// that any idle thread can list them.
    fn list(&mut self, directory: &Path, one_level: bool) -> Result<(), Enough> {
        let mut aside = Vec::new();
        let depth = if one_level { 1 } else { usize::MAX };
        let walk = WalkDir::new(directory).min_depth(1).max_depth(depth).follow_root_links(self.is_root && one_level);
        let mut entries = walk.into_iter();
        let mut current = Current::new(self.walk, &self.root, directory.to_path_buf());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(&current.path).to_path_buf();
                    let is_directory = path == current.path;
                    current.failed |= is_directory;
                    // A directory of another shard may contain directories of this shard.
                    if !current.is_held && !is_directory {
                        continue;
                    }
                    let error = error.into();
                    (self.sink)(match is_directory {
                        true => Found::UnreadableDirectory { path, error },
                        false => Found::Unreadable { path, error },
                    })?;
                    continue;
                }
            };
            if !one_level && entry.path().parent() != Some(current.entries_of.as_path()) {
                current.come_back(self.walk, &self.root, entry.path());
            }
            if !entry.file_type().is_dir() {
                if self.is_told(&current, &entry) {
                    self.entry(entry, current.received_on)?;
                }
            } else if let Some(reason) = self.walk.skipped.reason(&self.root, entry.path()) {
                entries.skip_current_dir();
                if current.is_held {
                    (self.sink)(Found::SkippedDirectory { path: entry.into_path(), reason })?;
                }
            } else if let Some(day) = self.earlier_day(entry.path()) {
                entries.skip_current_dir();
                (self.sink)(Found::Earlier(day))?;
            } else if self.walk.shard.is_some_and(|shard| shard.passes_over(&self.root, entry.path())) {
                entries.skip_current_dir();
            } else if !one_level {
                self.flush()?;
                let entered = Current::new(self.walk, &self.root, entry.into_path());
                self.listed(std::mem::replace(&mut current, entered), 0)?;
            } else if self.pending.reserve() {
                aside.push(entry.into_path());
            } else {
                self.list(&entry.into_path(), false)?;
            }
        }
        self.flush()?;
        let put_aside = aside.len();
        self.pending.put_aside(&self.root, aside);
        self.listed(current, put_aside)
    }

    fn listed(&self, directory: Current, put_aside: usize) -> Result<(), Enough> {
        if directory.failed { Ok(()) } else { (self.sink)(Found::Directory { path: directory.path, put_aside }) }
    }

    /// The day of a directory, if it is before the first day of the walk. Directories of years and
    /// months are searched, since such a name may be a Patient ID.
    fn earlier_day(&self, directory: &Path) -> Option<Date> {
        let first_day = self.walk.first_day?;
        layout::received_on(&self.root, directory).filter(|day| *day < first_day)
    }

    fn is_told(&self, directory: &Current, entry: &DirEntry) -> bool {
        if !directory.is_held {
            return false;
        }
        let Some(since) = self.walk.since else { return true };
        let has_changed = || entry.metadata().is_ok_and(|metadata| since.has_changed(&metadata));
        directory.has_changed && has_changed()
    }

    fn entry(&mut self, entry: DirEntry, received_on: Option<Date>) -> Result<(), Enough> {
        let kind = entry.file_type();
        if !kind.is_file() && !kind.is_symlink() {
            return (self.sink)(Found::Special(entry.into_path()));
        }
        self.files.push(FoundFile::new(entry.into_path(), received_on));
        if self.files.len() == FILES_PER_MESSAGE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Enough> {
        if self.files.is_empty() {
            return Ok(());
        }
        let files = std::mem::replace(&mut self.files, Vec::with_capacity(FILES_PER_MESSAGE));
        (self.sink)(Found::Files(files))
    }
}

/// The state of the directory whose entries are being read.
struct Current {
    path: PathBuf,
    /// The directory that `path` names, or a directory above it that the walk has returned to.
    entries_of: PathBuf,
    received_on: Option<Date>,
    /// Whether the files of this directory belong to the shard of the walk.
    is_held: bool,
    has_changed: bool,
    failed: bool,
}

impl Current {
    fn new(walk: &Walk<'_>, root: &Path, path: PathBuf) -> Self {
        Current {
            received_on: layout::received_on(root, &path),
            is_held: walk.shard.is_none_or(|shard| shard.holds(root, &path)),
            has_changed: walk.since.is_some_and(|since| since.directory(&path) != changed::Directory::AsBefore),
            entries_of: path.clone(),
            path,
            failed: false,
        }
    }

    fn come_back(&mut self, walk: &Walk<'_>, root: &Path, entry: &Path) {
        if let Some(parent) = entry.parent() {
            let Current { path, failed, .. } = std::mem::replace(self, Current::new(walk, root, parent.into()));
            (self.path, self.failed) = (path, failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for day in ["2020-01-01-WED", "2021-11-12-FRI", "2021-11-11-THU", "stowrs", ".snapshot"] {
            for study in 0..5 {
                let directory = root.path().join(day).join(format!("1.2.{study}"));
                fs::create_dir_all(&directory).unwrap();
                for instance in 0..10 {
                    fs::write(directory.join(format!("1.2.{study}.{instance}")), "").unwrap();
                }
            }
        }
        root
    }

    fn files(root: &Path, threads: usize, pending_limit: usize) -> Vec<PathBuf> {
        let found = Mutex::new(Vec::new());
        let skipped = SkippedDirectories::default();
        let walk = Walk { roots: &[root.to_path_buf()], threads, pending_limit, ..Walk::new(&[], 1, &skipped) };
        walk.run(&|what| {
            if let Found::Files(files) = what {
                found.lock().unwrap().extend(files.iter().map(|file| file.path().to_path_buf()));
            }
            Ok(())
        })
        .unwrap();
        found.into_inner().unwrap()
    }

    #[test]
    fn every_file_is_found_once_however_little_room_there_is() {
        let root = tree();
        let mut expected = files(root.path(), 1, 1000);
        expected.sort();
        assert_eq!(expected.len(), 200, "four trees of fifty files, and none of the snapshot");
        for (threads, limit) in [(1, 0), (1, 1), (4, 0), (4, 3), (16, 1000)] {
            let mut found = files(root.path(), threads, limit);
            found.sort();
            assert_eq!(found, expected, "{threads} threads, room for {limit}");
        }
    }

    #[test]
    fn the_newest_day_comes_first() {
        let root = tree();
        let found = files(root.path(), 1, 1000);
        let day = |n: usize| found[n].strip_prefix(root.path()).unwrap().iter().next().unwrap().to_owned();
        assert_eq!([0, 50, 100, 150].map(day), ["2021-11-12-FRI", "2021-11-11-THU", "2020-01-01-WED", "stowrs"]);
    }

    #[test]
    fn a_walk_that_is_told_to_stop_stops() {
        let root = tree();
        let calls = AtomicUsize::new(0);
        let roots = [root.path().to_path_buf()];
        let stop = |_| {
            calls.fetch_add(1, Relaxed);
            Err(Enough)
        };
        Walk::new(&roots, 4, &SkippedDirectories::default()).run(&stop).unwrap();
        assert!(calls.into_inner() <= 4);
    }
}
