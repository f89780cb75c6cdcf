//! The index side of the audit: lists the rows in pages, and looks up suspect rows again. Also runs
//! the checks that need only tables.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::Sender;

use super::checks::{Asks, AtPath, Check, Row};
use super::finding::{Finding, Mend};
use super::listed::{self, FILE, ListedRow, ROW};
use super::{Audit, Depth, MANY, MANY_OF_ALL, Plan, defect, failed, not_kept};
use crate::archive::file::Location;
use crate::archive::{FoundFile, Standing, stub};
use crate::error::Result;
use crate::full_disk;
use crate::index::Failure;
use crate::index::inspect::{AuditedRow, Inspector};
use crate::sorted::{Sorter, Table};

/// The suspects after the first look.
pub struct Suspects {
    /// The UIDs of suspect rows, and whether other rows name the same path: one line each, on disk.
    rows: BufReader<File>,
    count: u64,
    /// The hashes of the paths of files that no row names.
    pub files: Table<16>,
}

impl Suspects {
    pub fn any(&self) -> bool {
        self.count > 0 || self.files.count > 0
    }

    /// Returns the next rows, at most `most`. The result is empty at the end.
    fn next(&mut self, most: usize) -> io::Result<Vec<(String, bool)>> {
        let mut part = Vec::new();
        let mut line = String::new();
        while part.len() < most && self.rows.read_line(&mut line)? > 0 {
            let (is_twice, uid) = (line.starts_with('2'), line[1..].trim_end_matches('\n').to_owned());
            part.push((uid, is_twice));
            line.clear();
        }
        Ok(part)
    }
}

/// The results of the checks that need only tables.
type Asked = Vec<(&'static Check, Vec<Told>)>;

/// A result row of such a check: the key, a detail, and a possible repair.
type Told = (Option<String>, String, Option<Mend>);

/// Sends all images of the index in pages, until the receiver is dropped or the run is interrupted.
fn pages_of(plan: &Plan<'_>, inspector: &mut Inspector, pages: &Sender<Vec<AuditedRow>>) -> Result<()> {
    let mut last = String::new();
    while !plan.stop.is_set() {
        let page = inspector.images_after(&last, plan.depth >= Depth::Size).map_err(|failure| failed(plan, failure))?;
        let Some(end) = page.last() else { break };
        last.clone_from(&end.sop_instance_uid);
        plan.watch.rows.fetch_add(page.len() as u64, Relaxed);
        if pages.send(page).is_err() {
            break;
        }
    }
    Ok(())
}

impl Audit<'_> {
    pub fn list_rows(&mut self) -> Result<Table<ROW>> {
        let mut rows = Sorter::new(&self.plan.scratch);
        let plan = self.plan;
        let Audit { inspector, done, .. } = self;
        // A page is read while the previous one is sorted.
        std::thread::scope(|scope| {
            let (pages, read) = crossbeam_channel::bounded(1);
            let reading = scope.spawn(move || pages_of(plan, inspector, &pages));
            for row in read.iter().flatten() {
                // A path that is invalid on this system is listed unchanged. No file has this path.
                let (path, is_covered) = plan.locate(&row.path).unwrap_or_else(|| (row.path.clone().into(), false));
                if plan.is_of_part(&path) && !done.coverage.leave_out(&path) {
                    done.rows += 1;
                    let is_unmapped = !is_covered && plan.naming.mapped(&row.path).is_some();
                    let listed = listed::row(&path, &row.sop_instance_uid, row.least_size, is_unmapped);
                    rows.push(listed).map_err(not_kept)?;
                }
            }
            drop(read);
            reading.join().unwrap_or_else(|_| Err(defect()))
        })?;
        listed::table(rows, &self.plan.scratch).map_err(not_kept)
    }

    pub fn suspects(&mut self, files: &Table<FILE>, rows: &Table<ROW>) -> Result<Suspects> {
        let mut unnamed: Sorter<16> = Sorter::new(&self.plan.scratch);
        let scratch = &self.plan.scratch;
        let not_kept = |error| not_kept(full_disk::named(scratch, error));
        let mut out = BufWriter::new(tempfile::tempfile_in(scratch).map_err(not_kept)?);
        let mut count = 0;
        listed::side_by_side(files, rows, |at| {
            if at.rows.is_empty() {
                return if at.size == Some(listed::STUB) { Ok(()) } else { unnamed.push(at.hash) };
            }
            let is_twice = at.rows.len() > 1;
            for ListedRow { uid, least_size, is_unmapped } in &at.rows {
                let is_small = at.size.is_some_and(|size| size == 0 || size < *least_size);
                if at.size.is_none() || is_small || is_twice || *is_unmapped {
                    count += 1;
                    // A valid UID has no line feed. In an invalid one, a space replaces the line
                    // feed, so the recheck does not find the row.
                    writeln!(out, "{}{}", if is_twice { 2 } else { 1 }, uid.replace('\n', " "))?;
                }
            }
            Ok(())
        })
        .map_err(not_kept)?;
        let files = listed::table(unnamed, &self.plan.scratch).map_err(not_kept)?;
        self.plan.watch.suspects.store(files.count + count, Relaxed);
        let mut lines = out.into_inner().map_err(|error| not_kept(error.into_error()))?;
        lines.rewind().map_err(not_kept)?;
        Ok(Suspects { rows: BufReader::new(lines), count, files })
    }

    /// Rechecks the suspect rows. `moved` contains the files where the instances of some rows were
    /// found.
    pub fn look_at_rows(&mut self, mut suspects: Suspects, moved: &HashMap<String, PathBuf>) -> Result<()> {
        let most = (self.done.rows / MANY_OF_ALL).max(MANY);
        let mut missing = 0;
        // The rows that still name a path which several rows named, by path.
        let mut twice: HashMap<String, Vec<AuditedRow>> = HashMap::new();
        while !self.plan.stop.is_set() {
            let part = suspects.next(500).map_err(not_kept)?;
            if part.is_empty() {
                break;
            }
            let uids: Vec<&str> = part.iter().map(|(uid, _)| uid.as_str()).collect();
            let rows = self.inspector.images(&uids).map_err(|failure| failed(self.plan, failure))?;
            let is_twice: HashMap<&str, bool> = part.iter().map(|(uid, is_twice)| (uid.as_str(), *is_twice)).collect();
            for row in rows {
                // The directory of the file became unreadable after the first look.
                if self.plan.here(&row.path).is_some_and(|file| self.done.coverage.leave_out(&file)) {
                    continue;
                }
                if is_twice.get(row.sop_instance_uid.as_str()) == Some(&true) {
                    twice.entry(row.path.clone()).or_default().push(row);
                    continue;
                }
                let moved_to = moved.get(&row.sop_instance_uid).cloned();
                missing += u64::from(self.tell_row(&row, 1, moved_to));
            }
            if missing > most {
                self.alarm(missing);
                return Ok(());
            }
        }
        for rows in twice.into_values() {
            for row in &rows {
                let moved_to = moved.get(&row.sop_instance_uid).cloned();
                self.tell_row(row, rows.len(), moved_to);
            }
        }
        Ok(())
    }

    /// Replaces the findings of rows without a file by one alarm.
    fn alarm(&mut self, missing: u64) {
        let rows = self.done.rows;
        self.done.findings.retain(|finding| finding.check != "missing-file");
        self.done.alarm = Some(format!(
            "more than {} of {rows} rows have no file below these roots: is all of the archive mounted, and are the roots and \
             path maps right? Rows are not told one by one",
            missing - 1
        ));
    }

    /// Records the findings of a row. Returns whether the row has no file.
    fn tell_row(&mut self, row: &AuditedRow, rows_of_path: usize, moved_to: Option<PathBuf>) -> bool {
        let least_size = if self.plan.depth >= Depth::Size { row.least_size } else { 0 };
        let at_path = self.plan.at_path(&row.path);
        let unmapped = self.plan.mapped_path(row, &at_path, moved_to.as_deref());
        let moved_to = moved_to.filter(|_| unmapped.is_none());
        let looked = Row { at_path, rows_of_path, least_size, moved_to, unmapped };
        let set_path = |to: String| Mend::Set {
            table: "image".into(),
            column: "path".into(),
            from: Some(row.path.clone()),
            to: Some(to),
        };
        let locator = self.plan.locator;
        for (check, tells) in self.plan.of_rows() {
            if let Some(detail) = tells(&looked) {
                // Only repairs that `repair` can perform are planned.
                let mend = match &looked {
                    Row { moved_to: Some(to), .. } if check.name == "moved-file" => {
                        locator.stored_path(to).map(set_path)
                    }
                    Row { unmapped: Some(to), .. } if check.name == "unmapped-path" => {
                        let path = locator.file_of_row(to).and_then(|file| locator.stored_path(&file));
                        path.filter(|path| path == to).map(set_path)
                    }
                    Row { at_path: AtPath::Nothing, .. } if check.name == "missing-file" => {
                        locator.file_of_row(&row.path).map(|_| Mend::RemoveImage)
                    }
                    _ => None,
                };
                let (uid, path) = (Some(row.sop_instance_uid.clone()), Some(row.path.clone()));
                self.done.findings.push(Finding {
                    check: check.name,
                    severity: check.severity,
                    uid,
                    path,
                    detail,
                    mend,
                });
            }
        }
        matches!(looked.at_path, AtPath::Nothing) && looked.moved_to.is_none() && looked.unmapped.is_none()
    }

    pub fn ask_tables(&mut self) -> Result<Asked> {
        let mut asked = Vec::new();
        if self.plan.part.is_some_and(|part| part.number() != 1) {
            return Ok(asked);
        }
        for check in self.plan.checks.clone() {
            let Asks::Tables(sql) = check.asks else { continue };
            if self.plan.stop.is_set() {
                break;
            }
            let Some(sql) = sql(&self.inspector.tables()) else {
                self.done.not_answered.push((check.name, "not in this index".into()));
                continue;
            };
            match self.inspector.ask(&sql) {
                Ok(rows) => asked.push((check, rows.into_iter().filter_map(found).collect())),
                Err(Failure::Lost(why)) if is_unknown(&why) => {
                    self.done.not_answered.push((check.name, "the index lacks a table or a column".into()))
                }
                Err(Failure::Denied(right)) => self.done.not_answered.push((check.name, right.to_string())),
                Err(failure) => return Err(failed(self.plan, failure)),
            }
        }
        Ok(asked)
    }

    /// Runs the checks of tables again. A row is a finding if both runs report it.
    pub fn ask_tables_again(&mut self, asked: Asked) -> Result<()> {
        for (check, before) in asked {
            let Asks::Tables(sql) = check.asks else { continue };
            let Some(sql) = sql(&self.inspector.tables()).filter(|_| !before.is_empty()) else { continue };
            let now = self.inspector.ask(&sql).map_err(|failure| failed(self.plan, failure))?;
            let before: HashSet<Option<String>> = before.into_iter().map(|(uid, ..)| uid).collect();
            let still = now.into_iter().filter_map(found).filter(|(uid, ..)| before.contains(uid));
            self.done.findings.extend(still.map(|(uid, detail, mend)| Finding {
                check: check.name,
                severity: check.severity,
                uid,
                path: None,
                detail,
                mend,
            }));
        }
        Ok(())
    }
}

impl Plan<'_> {
    /// Returns the state of a path in the index.
    pub fn at_path(&self, path: &str) -> AtPath {
        let Some(here) = self.here(path).filter(|here| self.locator.place(here).is_some()) else {
            return AtPath::Outside;
        };
        let skipped = self.locator.skip_reason(&here);
        match (self.locator.look(&FoundFile::named(here.clone())), skipped) {
            (Ok(_), Some(reason)) => AtPath::Skipped(reason),
            (Ok(seen), None) => match seen.standing {
                // The file points to an image in another file.
                Standing::Readable(location) if self.is_pointer(&location) => AtPath::Stub,
                Standing::Readable(location) => AtPath::File { size: location.state.size },
                Standing::Stub(_) | Standing::MetElsewhere(_) => AtPath::Stub,
            },
            (Err(error), _) if error.kind() == ErrorKind::NotFound || is_no_directory(&error) => {
                match self.locator.empty_target_root(&here) {
                    None => AtPath::Nothing,
                    Some(root) => AtPath::Unknown(format!("no file is below {}: is it mounted?", root.display())),
                }
            }
            (Err(error), _) => AtPath::Unknown(error.to_string()),
        }
    }

    /// Returns the local path for a path in the index. A path below a resolved root is returned in
    /// the spelling in which the root was given, which may be a symlink.
    pub fn here(&self, path: &str) -> Option<PathBuf> {
        self.locate(path).map(|(here, _)| here)
    }

    /// Returns the local path, and whether a path map covers the path in the index.
    fn locate(&self, path: &str) -> Option<(PathBuf, bool)> {
        let (here, is_covered) = self.naming.path_map.locate(path)?;
        Some((self.roots.as_given(here), is_covered))
    }

    /// Returns the path by which the PACS knows the file of a row, if the row has another path.
    /// `elsewhere` is the file that contains the instance if the path in the row names no file.
    fn mapped_path(&self, row: &AuditedRow, at_path: &AtPath, elsewhere: Option<&Path>) -> Option<String> {
        match (elsewhere, at_path) {
            (Some(file), _) => self.mapped_name(&row.path, file),
            (None, AtPath::File { .. } | AtPath::Stub) => self.naming.mapped(&row.path),
            _ => None,
        }
    }

    /// Returns the mapped path of a file, if the path in a row differs from it only by the
    /// directory.
    pub fn mapped_name(&self, path: &str, file: &Path) -> Option<String> {
        let mapped = self.naming.path_map.to_index(file).ok()?;
        self.naming.differs_by_directory(path, &mapped).then_some(mapped)
    }

    /// Whether a file is a pointer. Reads the file only if it is small, and only from `Depth::Size`
    /// on.
    fn is_pointer(&self, location: &Location) -> bool {
        self.depth >= Depth::Size
            && (1..=stub::MOST).contains(&location.state.size)
            && location
                .open()
                .ok()
                .flatten()
                .is_some_and(|open| matches!(self.locator.pointer(location.path(), &open), Ok(Some(_))))
    }

    fn root_of(&self, path: &Path) -> Option<&PathBuf> {
        self.roots.paths().iter().find(|root| path.starts_with(root))
    }

    /// Whether a path belongs to the audited part. A path below no root belongs to the first part.
    fn is_of_part(&self, path: &Path) -> bool {
        let Some(part) = self.part else { return true };
        match (self.root_of(path), path.parent()) {
            (Some(root), Some(directory)) => part.holds(root, directory),
            _ => part.number() == 1,
        }
    }
}

/// Parses a result row: key and detail, then table, column, old value and new value of a possible
/// repair.
fn found(row: Vec<Option<String>>) -> Option<Told> {
    let mut columns = row.into_iter();
    let (key, detail) = (columns.next()?, columns.next()??);
    let [table, column, from, to] = [(); 4].map(|()| columns.next().flatten());
    let mend = table.zip(column).map(|(table, column)| Mend::Set { table, column, from, to });
    Some((key, detail, mend))
}

/// Whether an error means that a table or a column is missing. The numbers are from the error
/// references of the MySQL and MariaDB manuals. SQLite has no numbers for these errors.
fn is_unknown(why: &str) -> bool {
    ["error 1146:", "error 1054:", "no such table", "no such column"].iter().any(|message| why.contains(message))
}

/// Whether a component of the path is a file instead of a directory.
fn is_no_directory(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotADirectory
}
