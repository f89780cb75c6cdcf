//! The archive side of the audit: lists the files with their sizes, and reads the files that no row
//! names.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::checks::{Asks, AtPath, Check, File, RowElsewhere};
use super::finding::{Finding, Mend};
use super::headers;
use super::listed::{self, FILE, ROW};
use super::one_file::read_header;
use super::rows::Suspects;
use super::{Audit, Coverage, Plan, defect, failed, not_kept, poisoned, text};
use crate::archive::walk::{Enough, Found, Walk};
use crate::archive::{FoundFile, Seen, Standing, Stub, skip};
use crate::dicom::{Instance, Level, Rejection};
use crate::error::{Error, Result};
use crate::sorted::{Cursor, Sorter, Table};

/// Capacity of the channel between readers and comparison, in messages of several files each. It is
/// large enough that readers do not wait while rows are compared.
const MESSAGES_WAITING: usize = 128;

/// Number of files whose rows are looked up together.
const TOGETHER: usize = 500;
const HELD_BACK: Duration = Duration::from_millis(500);

impl Audit<'_> {
    pub fn list_files(&mut self) -> Result<Table<FILE>> {
        let files = Mutex::new(Sorter::new(&self.plan.scratch));
        let (failure, telling) = (Mutex::new(None), Mutex::new(Vec::new()));
        let (count, stubs) = (AtomicU64::new(0), AtomicU64::new(0));
        let plan = self.plan;
        let coverage = Coverage::default();
        self.plan.walk(&coverage, &|found| {
            let list = |file| plan.list(file, &coverage, &telling, &stubs);
            let records: Vec<_> = found.iter().filter_map(list).collect();
            count.fetch_add(records.len() as u64, Relaxed);
            plan.watch.files.fetch_add(found.len() as u64, Relaxed);
            let mut files = poisoned(&files);
            if let Err(error) = records.into_iter().try_for_each(|record| files.push(record)) {
                poisoned(&failure).get_or_insert(error);
                return false;
            }
            true
        })?;
        if let Some(error) = failure.into_inner().unwrap_or_default() {
            return Err(not_kept(error));
        }
        self.done.coverage = coverage;
        (self.done.files, self.done.stubs) = (count.into_inner(), stubs.into_inner());
        self.stubs = telling.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        listed::table(files.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner), &self.plan.scratch)
            .map_err(not_kept)
    }

    /// Compares the headers of files with the rows that name the files. Differences are kept for
    /// the recheck.
    pub fn compare_all(&mut self, suspects: &Suspects, rows: &Table<ROW>) -> Result<()> {
        self.read(suspects, Which::Named, |audit, files| {
            let tables = audit.inspector.tables();
            let uids = uids_of(&files);
            let images = audit.inspector.rows(Level::Instance, &uids).map_err(|failure| failed(audit.plan, failure))?;
            let images = headers::by_key(images);
            let mut entries = Vec::new();
            for (path, reading) in files {
                // The row that names the file, regardless of the instance in the file.
                let mut cursor = Cursor::default();
                let row = rows.find(&listed::hash(&path), &mut cursor).map_err(not_kept)?;
                let uid = row.map(|row| listed::uid(&row));
                let is_own = |instance: &Instance| uid.as_deref() == Some(instance.sop_instance_uid());
                match reading {
                    Ok(instance) => {
                        let row = images.get(instance.sop_instance_uid()).map(|row| row.path.as_str());
                        if let Some(named) = row.filter(|named| audit.plan.is_named(named, &path)) {
                            entries.extend(headers::entry(&tables, instance, path, named.to_owned()));
                        } else if !is_own(&instance) {
                            audit.compared.files.extend(uid.map(|uid| (path, uid)));
                        }
                    }
                    Err(_) => audit.compared.files.extend(uid.map(|uid| (path, uid))),
                }
            }
            audit.compare_headers(&entries, images, false)
        })
    }

    /// Reads the files that no row names. Returns, by UID, the files of instances whose row names a
    /// missing file.
    pub fn look_at_files(&mut self, suspects: &Suspects) -> Result<HashMap<String, PathBuf>> {
        let mut moved = HashMap::new();
        let is_asked =
            |check: &&Check| matches!(check.asks, Asks::File(_)) || matches!(check.name, "moved-file" | "missing-file");
        if suspects.files.count > 0 && self.plan.checks.iter().any(is_asked) {
            self.read(suspects, Which::Unnamed, |audit, files| audit.tell_files(files, &mut moved))?;
        }
        Ok(moved)
    }

    /// Rechecks the stubs that had a finding at the first look.
    pub fn look_at_stubs(&mut self) {
        for file in std::mem::take(&mut self.stubs) {
            if let Ok(Seen { standing: Standing::Stub(stub), .. }) = self.plan.locator.look(&file) {
                self.tell_stub(file.path(), &stub);
            }
        }
    }

    fn tell_stub(&mut self, path: &Path, stub: &Stub) {
        for (check, detail) in self.plan.tells(stub) {
            let (severity, path) = (check.severity, Some(text(path)));
            self.done.findings.push(Finding { check: check.name, severity, uid: None, path, detail, mend: None });
        }
    }

    /// Returns the files that cannot be read to their end.
    pub fn read_to_end(&mut self) -> Result<Vec<FoundFile>> {
        let damaged = Mutex::new(Vec::new());
        let plan = self.plan;
        if plan.checks.iter().any(|check| matches!(check.asks, Asks::Whole)) {
            let coverage = Coverage::default();
            plan.walk(&coverage, &|found| {
                let of_message = found.into_iter().filter(|file| plan.damage(file).is_some());
                let of_message: Vec<FoundFile> = of_message.collect();
                poisoned(&damaged).extend(of_message);
                true
            })?;
            self.done.coverage.add(coverage);
        }
        Ok(damaged.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub fn look_at_damaged(&mut self, damaged: Vec<FoundFile>) {
        let Some(check) = self.plan.checks.iter().find(|check| matches!(check.asks, Asks::Whole)) else { return };
        for file in damaged {
            if let Some(detail) = self.plan.damage(&file) {
                let uid = read_header(self.plan.locator, &file).and_then(Result::ok);
                let uid = uid.map(|instance| instance.sop_instance_uid().to_owned());
                let (severity, path) = (check.severity, Some(text(file.path())));
                self.done.findings.push(Finding { check: check.name, severity, uid, path, detail, mend: None });
            }
        }
    }

    /// Reads headers in parallel, and passes them to `each` in groups.
    fn read(
        &mut self,
        suspects: &Suspects,
        which: Which,
        mut each: impl FnMut(&mut Self, Vec<Read>) -> Result<()>,
    ) -> Result<()> {
        let (sender, read) = crossbeam_channel::bounded::<Vec<Read>>(MESSAGES_WAITING);
        let plan = self.plan;
        let coverage = Coverage::default();
        let seen = &coverage;
        let walked = std::thread::scope(|scope| {
            let walking = scope.spawn(move || {
                plan.walk(seen, &|found| {
                    let mut message = Vec::with_capacity(found.len());
                    for file in found {
                        let mut cursor = Cursor::default();
                        // If the lookup fails, the file counts as unnamed and is read.
                        let named = matches!(suspects.files.find(&listed::hash(file.path()), &mut cursor), Ok(None));
                        if named == (which == Which::Named)
                            && let Some(reading) = read_header(plan.locator, &file)
                        {
                            message.push((file.into_path(), reading));
                        }
                    }
                    plan.watch.read.fetch_add(message.len() as u64, Relaxed);
                    // Sending fails if the audit has failed and the receiver is dropped.
                    message.is_empty() || sender.send(message).is_ok()
                })
            });
            let mut receive = || {
                let (mut together, mut since) = (Vec::new(), Instant::now());
                for message in &read {
                    together.extend(message);
                    if together.len() >= TOGETHER || since.elapsed() >= HELD_BACK {
                        each(self, std::mem::take(&mut together))?;
                        since = Instant::now();
                    }
                }
                each(self, together)
            };
            let result = receive();
            // Dropping the receiver ends the walk.
            drop(read);
            let walked = walking.join().unwrap_or_else(|_| Err(defect()));
            result.and(walked)
        });
        self.done.coverage.add(coverage);
        walked
    }

    /// Returns the paths in the index of the instances in these files, by UID.
    fn rows_of(&mut self, files: &[Read]) -> Result<HashMap<String, String>> {
        let rows = self.inspector.images(&uids_of(files)).map_err(|failure| failed(self.plan, failure))?;
        Ok(rows.into_iter().map(|row| (row.sop_instance_uid, row.path)).collect())
    }

    fn tell_files(&mut self, files: Vec<Read>, moved: &mut HashMap<String, PathBuf>) -> Result<()> {
        let rows = self.rows_of(&files)?;
        for (path, reading) in files {
            if let Err(Rejection::NotDicom { .. }) = &reading
                && let Some(stub) = self.plan.pointer_of(&path)
            {
                self.tell_stub(&path, &stub);
                continue;
            }
            let uid = reading.as_ref().ok().map(|instance| instance.sop_instance_uid().to_owned());
            let row = match uid.as_ref().and_then(|uid| rows.get(uid)) {
                // The row was inserted after the first look, or spells the path differently.
                Some(named) if self.plan.is_named(named, &path) => continue,
                // The row names this file in a directory that the PACS does not have.
                Some(named) if self.plan.mapped_name(named, &path).is_some() => {
                    moved.extend(uid.map(|uid| (uid, path)));
                    continue;
                }
                Some(named) => {
                    let at_path = self.plan.at_path(named);
                    // If the file of the row has moved, this file is compared with the moved one,
                    // as a second file of the instance.
                    let first =
                        uid.as_ref().and_then(|uid| moved.get(uid)).filter(|_| matches!(at_path, AtPath::Nothing));
                    let other = first.cloned().or_else(|| self.plan.here(named));
                    let is_same = other.and_then(|other| self.plan.are_same(&path, &other));
                    let at_path = if first.is_some() { AtPath::File { size: 1 } } else { at_path };
                    Some(RowElsewhere { path: named.clone(), at_path, is_same })
                }
                None => None,
            };
            if let (Some(uid), Some(RowElsewhere { at_path: AtPath::Nothing, .. })) = (&uid, &row) {
                moved.insert(uid.clone(), path.clone());
            }
            let file = File { reading, row };
            for (check, tells) in self.plan.of_files() {
                if let Some(detail) = tells(&file) {
                    let can_insert = check.name == "unindexed-file" && self.plan.locator.stored_path(&path).is_some();
                    let mend = (can_insert && path.to_str().is_some()).then_some(Mend::Insert);
                    let path = Some(text(&path));
                    let (uid, severity) = (uid.clone(), check.severity);
                    self.done.findings.push(Finding { check: check.name, severity, uid, path, detail, mend });
                }
            }
        }
        Ok(())
    }
}

/// A file, and the instance in it or the reason why it cannot be read.
type Read = (PathBuf, Result<Instance, Rejection>);

fn uids_of(files: &[Read]) -> Vec<&str> {
    files.iter().filter_map(|(_, read)| Some(read.as_ref().ok()?.sop_instance_uid())).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Named,
    Unnamed,
}

impl Plan<'_> {
    /// Waits until the next files may be inspected under the rate limit, which all threads share.
    fn keep_to_rate(&self, files: usize) {
        let Some(rate) = self.max_rate else { return };
        let due = {
            let mut due = poisoned(&self.watch.due);
            let now = Instant::now();
            let from = due.unwrap_or(now).max(now);
            *due = Some(from + Duration::from_secs_f64(files as f64 / f64::from(rate)));
            from
        };
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }

    /// Returns the record of a file that may contain an instance. Stubs with findings are also
    /// added to the other list.
    fn list(
        &self,
        file: &FoundFile,
        coverage: &Coverage,
        telling: &Mutex<Vec<FoundFile>>,
        stubs: &AtomicU64,
    ) -> Option<[u8; FILE]> {
        if file.path().file_name().and_then(skip::by_name).is_some() {
            return None;
        }
        let seen = match self.locator.look(file) {
            Ok(seen) => seen,
            // A file that was deleted after the walk found it is not recorded, so its row counts as
            // a row without a file.
            Err(error) => {
                // The directory may be listed but not entered, so that none of its files can be
                // inspected.
                if let (ErrorKind::PermissionDenied, Some(directory)) = (error.kind(), file.path().parent()) {
                    coverage.add_unreadable(directory.to_owned(), &error);
                }
                return None;
            }
        };
        let size = match seen.standing {
            Standing::Readable(location) => location.state.size,
            Standing::MetElsewhere(_) => listed::STUB,
            Standing::Stub(stub) => {
                stubs.fetch_add(1, Relaxed);
                if self.tells(&stub).next().is_some() {
                    poisoned(telling).push(FoundFile::named(file.path().into()));
                }
                listed::STUB
            }
        };
        Some(listed::file(file.path(), size))
    }

    /// Lists the files below the roots until `each` returns false.
    fn walk(&self, coverage: &Coverage, each: &(impl Fn(Vec<FoundFile>) -> bool + Sync)) -> Result<()> {
        let lost_root = Mutex::new(None);
        let sink = |found: Found| {
            match found {
                Found::Files(files) => {
                    self.keep_to_rate(files.len());
                    if !each(files) {
                        return Err(Enough);
                    }
                }
                // A PACS that purges removes directories too.
                Found::UnreadableDirectory { error, .. } | Found::Unreadable { error, .. }
                    if error.kind() == ErrorKind::NotFound => {}
                // The files of all rows below the root would seem to be missing.
                Found::UnreadableDirectory { path, error } if self.roots.paths().contains(&path) => {
                    poisoned(&lost_root).get_or_insert((path, error));
                    return Err(Enough);
                }
                Found::UnreadableDirectory { path, error } => coverage.add_unreadable(path, &error),
                Found::Unreadable { path, error } => coverage.add_unreadable_entry(path, &error),
                Found::SkippedDirectory { reason, .. } => coverage.add_skipped(reason.kind),
                Found::Special(_) | Found::Directory { .. } | Found::Earlier(_) => {}
            }
            if self.stop.is_set() { Err(Enough) } else { Ok(()) }
        };
        let walk = Walk::new(self.roots.paths(), self.io_threads, self.locator.skipped_directories());
        walk.of_shard(self.part).run(&sink).map_err(|error| {
            Error::unfinished(format!("no threads can be started: {error}"), "Set a smaller number of --io-threads.")
        })?;
        match lost_root.into_inner().unwrap_or_default() {
            None => Ok(()),
            Some((root, error)) => Err(Error::unfinished(
                format!("the root {} cannot be read: {error}", root.display()),
                "Is it still mounted? Run the audit as a user who may read the archive. Nothing was changed.",
            )),
        }
    }
}
