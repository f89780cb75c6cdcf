//! The index's side: rows are listed a page at a time, and those that look wrong are asked for again; and the checks that
//! tables alone answer.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use super::checks::{Asks, AtPath, Check, Row};
use super::finding::{Finding, Mend};
use super::listed::{self, FILE, ROW};
use super::{Audit, Depth, MANY, MANY_OF_ALL, Plan, failed, not_kept};
use crate::archive::{FoundFile, Standing};
use crate::error::Result;
use crate::index::Failure;
use crate::index::inspect::AuditedRow;
use crate::sorted::{Sorter, Table};

/// What looks wrong after the first look.
pub struct Suspects {
    /// The UIDs of rows, and how many rows name their path.
    pub rows: Vec<(String, usize)>,
    /// Paths, by their hash, of files that no row names.
    pub files: Table<16>,
    /// Rows that were too many to look at again.
    pub more: u64,
}

impl Suspects {
    pub fn any(&self) -> bool {
        !self.rows.is_empty() || self.files.count > 0
    }
}

/// What the tables alone tell, check by check.
type Asked = Vec<(&'static Check, Vec<Told>)>;

/// A row that a statement finds: the key, a detail, and what could be set.
type Told = (Option<String>, String, Option<Mend>);

impl Audit<'_> {
    pub fn list_rows(&mut self) -> Result<Table<ROW>> {
        let mut rows = Sorter::new(&self.plan.scratch);
        let mut last = String::new();
        while !self.plan.stop.is_set() {
            let page = self.inspector.images_after(&last).map_err(|failure| failed(self.plan, failure))?;
            let Some(end) = page.last() else { break };
            last.clone_from(&end.sop_instance_uid);
            self.plan.watch.rows.fetch_add(page.len() as u64, Relaxed);
            for row in page {
                let least_size = if self.plan.depth >= Depth::Size { row.least_size } else { 0 };
                // A path that cannot be one here stands for itself: no file has it.
                let path = self.plan.path_map.from_index(&row.path).unwrap_or_else(|| row.path.clone().into());
                if !self.plan.is_of_part(&path) {
                    continue;
                }
                self.done.rows += 1;
                rows.push(listed::row(&path, &row.sop_instance_uid, least_size)).map_err(not_kept)?;
            }
        }
        listed::table(rows, &self.plan.scratch).map_err(not_kept)
    }

    pub fn suspects(&mut self, files: &Table<FILE>, rows: &Table<ROW>) -> Result<Suspects> {
        let most = (self.done.rows / MANY_OF_ALL).max(MANY);
        let mut unnamed: Sorter<16> = Sorter::new(&self.plan.scratch);
        let (mut suspects, mut more, mut missing) = (Vec::new(), 0, 0);
        listed::side_by_side(files, rows, |at| {
            if at.rows.is_empty() {
                return if at.size == Some(listed::STUB) { Ok(()) } else { unnamed.push(at.hash) };
            }
            let is_twice = at.rows.len() > 1;
            for (uid, least_size) in &at.rows {
                let is_small = at.size.is_some_and(|size| size == 0 || size < *least_size);
                missing += u64::from(at.size.is_none());
                if at.size.is_some() && !is_small && !is_twice {
                    continue;
                }
                if suspects.len() as u64 > most {
                    more += 1;
                } else {
                    suspects.push((uid.clone(), at.rows.len()));
                }
            }
            Ok(())
        })
        .map_err(not_kept)?;
        if missing > most {
            let rows = self.done.rows;
            self.done.alarm = Some(format!(
                "{missing} of {rows} rows have no file below these roots: is all of the archive mounted, and are the roots \
                 and path maps right? Rows are not told one by one"
            ));
        }
        let files = listed::table(unnamed, &self.plan.scratch).map_err(not_kept)?;
        self.plan.watch.suspects.store(files.count + suspects.len() as u64, Relaxed);
        Ok(Suspects { rows: suspects, files, more })
    }

    /// Rows that looked wrong, as they are now. `moved` tells where the files of some are.
    pub fn look_at_rows(&mut self, suspects: &Suspects, moved: &HashMap<String, PathBuf>) -> Result<()> {
        if self.done.alarm.is_some() {
            return Ok(());
        }
        if suspects.more > 0 {
            self.done.more.insert("rows that were not looked at again", suspects.more);
        }
        for part in suspects.rows.chunks(500) {
            if self.plan.stop.is_set() {
                return Ok(());
            }
            let uids: Vec<&str> = part.iter().map(|(uid, _)| uid.as_str()).collect();
            let rows = self.inspector.images(&uids).map_err(|failure| failed(self.plan, failure))?;
            let of_path: HashMap<&str, usize> = part.iter().map(|(uid, rows)| (uid.as_str(), *rows)).collect();
            for row in rows {
                let rows_of_path = of_path.get(row.sop_instance_uid.as_str()).copied().unwrap_or(1);
                let moved_to = moved.get(&row.sop_instance_uid).cloned();
                self.tell_row(&row, rows_of_path, moved_to);
            }
        }
        Ok(())
    }

    fn tell_row(&mut self, row: &AuditedRow, rows_of_path: usize, moved_to: Option<PathBuf>) {
        let least_size = if self.plan.depth >= Depth::Size { row.least_size } else { 0 };
        let looked = Row { at_path: self.plan.at_path(&row.path), rows_of_path, least_size, moved_to };
        for (check, tells) in self.plan.of_rows() {
            if let Some(detail) = tells(&looked) {
                let mend = match &looked {
                    Row { moved_to: Some(to), .. } if check.name == "moved-file" => {
                        self.plan.path_map.to_index(to).ok().map(|to| Mend::Set {
                            table: "image".into(),
                            column: "path".into(),
                            from: Some(row.path.clone()),
                            to: Some(to),
                        })
                    }
                    Row { at_path: AtPath::Nothing, .. } if check.name == "missing-file" => Some(Mend::RemoveImage),
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
    }

    pub fn ask_tables(&mut self) -> Result<Asked> {
        let mut asked = Vec::new();
        if self.plan.part.is_some_and(|part| part.number() != 1) {
            return Ok(asked);
        }
        for check in self.plan.checks.clone() {
            let Asks::Tables(sql) = check.asks else { continue };
            let Some(sql) = sql(&self.inspector.tables()).filter(|_| !self.plan.stop.is_set()) else { continue };
            match self.inspector.ask(&sql) {
                Ok(rows) => asked.push((check, rows.into_iter().filter_map(found).collect())),
                // Tables and columns of a PACS that this index does not have.
                Err(Failure::Lost(why)) => self.done.not_answered.push(format!("{}: {why}", check.name)),
                Err(failure) => return Err(failed(self.plan, failure)),
            }
        }
        Ok(asked)
    }

    /// What they still tell.
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
    /// What stands at a path of the index.
    pub fn at_path(&self, path: &str) -> AtPath {
        let Some(here) = self.path_map.from_index(path) else { return AtPath::Outside };
        if !self.is_below_a_root(&here) {
            return AtPath::Outside;
        }
        match self.locator.look(&FoundFile::named(here)) {
            Ok(seen) => match seen.standing {
                Standing::Readable(location) => AtPath::File { size: location.state.size },
                Standing::Stub(_) | Standing::MetElsewhere(_) => AtPath::Stub,
            },
            Err(error) if error.kind() == ErrorKind::NotFound || is_no_directory(&error) => AtPath::Nothing,
            Err(error) => AtPath::Unknown(error.to_string()),
        }
    }

    fn is_below_a_root(&self, path: &Path) -> bool {
        self.root_of(path).is_some()
    }

    fn root_of(&self, path: &Path) -> Option<&PathBuf> {
        self.roots.paths().iter().find(|root| path.starts_with(root))
    }

    /// A path below no root, and what tables alone tell, is of the first part.
    fn is_of_part(&self, path: &Path) -> bool {
        let Some(part) = self.part else { return true };
        match (self.root_of(path), path.parent()) {
            (Some(root), Some(directory)) => part.holds(root, directory),
            _ => part.number() == 1,
        }
    }
}

/// Key and detail; then table and column that could be set, from what, and to what.
fn found(row: Vec<Option<String>>) -> Option<Told> {
    let mut columns = row.into_iter();
    let (key, detail) = (columns.next()?, columns.next()??);
    let [table, column, from, to] = [(); 4].map(|()| columns.next().flatten());
    let mend = table.zip(column).map(|(table, column)| Mend::Set { table, column, from, to });
    Some((key, detail, mend))
}

/// A file stands where a directory was.
fn is_no_directory(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotADirectory
}
