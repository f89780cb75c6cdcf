//! Compares rows with their files, column by column. Files of the same series, study or patient may
//! differ from each other: the row of a series, study or patient is wrong only if it differs from
//! all of its files.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use super::finding::Finding;
use super::{Audit, failed, text};
use crate::dicom::{Instance, Level, Rejection, Table};
use crate::error::Result;
use crate::index::columns::Source;
use crate::index::{Entry, Existing, LEVELS, Tables, Value, table};

pub const CHECK: &str = "header-differs";

/// Number of rows that are looked up together.
const TOGETHER: usize = 500;

/// Bit for the column that links a row to its parent row. The other bits represent the remaining
/// columns.
const LINK: u64 = 1 << 63;

/// Results of the comparison so far.
#[derive(Default)]
pub struct Compared {
    /// Rows above the images, with the columns that agree with at least one file and the columns
    /// that differ from at least one file.
    above: HashMap<(Level, String), Columns>,
    /// Rows that differ, to be rechecked.
    differing: Vec<Differing>,
    /// Files that cannot be read, or that contain a different instance than the row that names
    /// them. Each file is paired with the UID in the row.
    pub files: Vec<(PathBuf, String)>,
    /// Files whose image row differs, to be read again.
    again: Vec<PathBuf>,
}

/// A row, and the finding to report if the row is unchanged at the recheck.
struct Differing {
    level: Level,
    key: String,
    shown: u64,
    finding: Finding,
}

impl Compared {
    pub fn any(&self) -> bool {
        !(self.differing.is_empty() && self.files.is_empty() && self.again.is_empty())
    }
}

#[derive(Default)]
struct Columns {
    agree: u64,
    differ: u64,
    /// The number of images that were compared.
    images: u64,
    /// A hash of the values of the row, and the UID of one of the studies below the row, which is
    /// reported for a patient.
    shown: u64,
    study: String,
}

impl Audit<'_> {
    /// Compares instances with the image rows that name their files. `images` contains these rows
    /// by UID.
    pub fn compare_headers(
        &mut self,
        entries: &[Entry],
        images: HashMap<String, Existing>,
        is_again: bool,
    ) -> Result<()> {
        let fails = |failure| failed(self.plan, failure);
        let studies: Vec<&str> = distinct(entries.iter().map(|entry| entry.key(Level::Study)));
        let edited: HashSet<String> = self.inspector.edited(&studies).map_err(fails)?.into_iter().collect();
        let mut rows: [HashMap<String, Existing>; 4] = Default::default();
        rows[Level::Instance as usize] = images;
        for level in [Level::Series, Level::Study] {
            let keys = distinct(entries.iter().map(|entry| entry.key(level)));
            rows[level as usize] = by_key(self.inspector.rows(level, &keys).map_err(fails)?);
        }
        // The patients are looked up by the link of the study, because a patient ID may have a
        // suffix.
        let patients = distinct(rows[Level::Study as usize].values().map(|study| study.link.as_str()));
        rows[Level::Patient as usize] = by_key(self.inspector.rows(Level::Patient, &patients).map_err(fails)?);
        let tables = self.inspector.tables();
        for entry in entries.iter().filter(|entry| !edited.contains(entry.key(Level::Study))) {
            let Some(study) = rows[Level::Study as usize].get(entry.key(Level::Study)) else { continue };
            // The study belongs to another patient than the file: the study was edited.
            if !is_variant(&study.link, entry.key(Level::Patient)) {
                continue;
            }
            // A suffix, as in `P1[...]`, means that the patient is another one on purpose. Neither
            // the patient nor the study is compared.
            let is_own = study.link.eq_ignore_ascii_case(entry.key(Level::Patient));
            let levels = if is_own { &LEVELS[..] } else { &[Level::Series, Level::Instance] };
            for level in levels.iter().copied() {
                let key = if level == Level::Patient { study.link.as_str() } else { entry.key(level) };
                let Some(row) = rows[level as usize].get(key) else { continue };
                let (agree, differ) = compare(&tables, level, entry, row);
                match level {
                    Level::Instance if differ == 0 => {}
                    Level::Instance if !is_again => self.compared.again.push(entry.file.path.clone()),
                    Level::Instance => {
                        let path = Some(text(&entry.file.path));
                        self.differs(level, key, hash(row), path, names(&tables, level, differ));
                    }
                    _ => {
                        let columns = self.compared.above.entry((level, key.to_owned())).or_default();
                        columns.agree |= agree;
                        columns.differ |= differ;
                        columns.images += 1;
                        if columns.study.is_empty() {
                            (columns.shown, columns.study) = (hash(row), study.key.clone());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Finds rows above the images that differ from all of their files. Call this after all files
    /// are compared.
    ///
    /// A row is not reported if some of its files were not compared: files of another part, stubs
    /// and lost files.
    pub fn compare_above(&mut self) -> Result<()> {
        let tables = self.inspector.tables();
        for ((level, key), columns) in std::mem::take(&mut self.compared.above) {
            let wrong = columns.differ & !columns.agree;
            let fails = |failure| failed(self.plan, failure);
            if wrong != 0
                && self.inspector.images_below(level, &key).map_err(fails)? == columns.images
                && !(level == Level::Patient && self.inspector.has_edited_study(&key).map_err(fails)?)
            {
                let of_study =
                    if level == Level::Patient { format!(" (of study {})", columns.study) } else { "".into() };
                self.differs(level, &key, columns.shown, None, names(&tables, level, wrong) + &of_study);
            }
        }
        Ok(())
    }

    /// Compares images again whose file or row may have changed since the first comparison.
    fn read_again(&mut self) -> Result<()> {
        let tables = self.inspector.tables();
        let (again, files) = (std::mem::take(&mut self.compared.again), std::mem::take(&mut self.compared.files));
        for part in again.chunks(TOGETHER) {
            let read = part.iter().filter_map(|path| Some((path.clone(), self.plan.instance_of(path)?.ok()?)));
            let read: Vec<(PathBuf, Instance)> = read.collect();
            let uids: Vec<&str> = read.iter().map(|(_, instance)| instance.sop_instance_uid()).collect();
            let rows = self.inspector.rows(Level::Instance, &uids).map_err(|failure| failed(self.plan, failure))?;
            let images = by_key(rows);
            let entries = read.into_iter().filter_map(|(path, instance)| {
                let named = images.get(instance.sop_instance_uid()).map(|row| &row.path);
                let named = named.filter(|named| self.plan.is_named(named, &path))?.clone();
                entry(&tables, instance, path, named)
            });
            let entries: Vec<Entry> = entries.collect();
            self.compare_headers(&entries, images, true)?;
        }
        // The rows above these images were compared by `compare_above`.
        self.compared.above.clear();
        for (path, uid) in files {
            let Some(reading) = self.plan.instance_of(&path) else { continue };
            let row = self.inspector.images(&[&uid]).map_err(|failure| failed(self.plan, failure))?.pop();
            if !row.is_some_and(|row| self.plan.is_named(&row.path, &path)) {
                continue;
            }
            let (name, detail) = match reading {
                Ok(instance) if instance.sop_instance_uid() == uid => continue,
                Ok(instance) => ("other-instance", format!("the file holds instance {}", instance.sop_instance_uid())),
                Err(Rejection::Empty) => continue,
                Err(rejection) => ("unreadable-file", rejection.to_string()),
            };
            if let Some(check) = self.plan.checks.iter().find(|check| check.name == name) {
                let (severity, path) = (check.severity, Some(text(&path)));
                self.done.findings.push(Finding { check: name, severity, uid: Some(uid), path, detail, mend: None });
            }
        }
        Ok(())
    }

    fn differs(&mut self, level: Level, key: &str, shown: u64, path: Option<String>, columns: String) {
        let Some(check) = self.plan.checks.iter().find(|check| check.name == CHECK) else { return };
        // The key of a patient is patient data and is not reported.
        let uid = (level != Level::Patient).then(|| key.to_owned());
        let detail = format!("{}: {columns}", table(level));
        let finding = Finding { check: check.name, severity: check.severity, uid, path, detail, mend: None };
        self.compared.differing.push(Differing { level, key: key.to_owned(), shown, finding });
    }

    /// Rechecks the rows that differ, and reports those whose values are unchanged.
    pub fn look_at_headers(&mut self) -> Result<()> {
        self.read_again()?;
        let differing = std::mem::take(&mut self.compared.differing);
        for level in LEVELS {
            let of_level: Vec<&Differing> = differing.iter().filter(|differing| differing.level == level).collect();
            for part in of_level.chunks(TOGETHER) {
                let keys: Vec<&str> = part.iter().map(|differing| differing.key.as_str()).collect();
                let rows = self.inspector.rows(level, &keys).map_err(|failure| failed(self.plan, failure))?;
                let now: HashMap<String, u64> = rows.iter().map(|row| (row.key.clone(), hash(row))).collect();
                let still = part.iter().filter(|differing| now.get(&differing.key) == Some(&differing.shown));
                self.done.findings.extend(still.map(|differing| differing.finding.clone()));
            }
        }
        Ok(())
    }
}

/// Returns a hash of the values of a row and its link to the parent row.
fn hash(row: &Existing) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    (&row.link, &row.shown).hash(&mut hasher);
    hasher.finish()
}

/// Returns the entry that a run would write for an instance.
pub fn entry(tables: &Tables, mut instance: Instance, path: PathBuf, indexed_path: String) -> Option<Entry> {
    use crate::archive::FileState;
    use crate::index::entry::FileRecord;
    use crate::index::entry::StoredFile;
    tables.fit(&mut instance).ok()?;
    let record = FileRecord { state: FileState { size: 0, modified: i64::MIN }, leads_on: false, bytes: Vec::new() };
    let file = StoredFile { path, modified: i128::MIN, size: 0, root: 0 };
    Some(Entry::new(instance, file, indexed_path, jiff::civil::DateTime::ZERO, tables.charset_term(), record))
}

/// Returns the columns that agree and the columns that differ, as bits. An attribute that is
/// missing in the file counts as neither.
fn compare(tables: &Tables, level: Level, entry: &Entry, row: &Existing) -> (u64, u64) {
    let (mut agree, mut differ) = (0, 0);
    let mut note = |bit: u64, is_same: bool| if is_same { agree |= bit } else { differ |= bit };
    match level {
        Level::Patient => {}
        Level::Study => note(LINK, is_variant(&row.link, entry.link(level))),
        Level::Series | Level::Instance => note(LINK, row.link == entry.link(level)),
    }
    for (n, (column, shown)) in tables.of(level).fed().zip(&row.shown).enumerate() {
        let value = column.blank(entry.value(column.source));
        let says_nothing = matches!(value, Value::Null | Value::Text(""));
        // A name is compared as a whole: an empty part of a nonempty name is a value, and must be
        // empty in the row too.
        let is_of_name = matches!(column.known, "lastname" | "firstname" | "middlename");
        if says_nothing
            && is_of_name
            && entry.patient_name_parts().iter().any(|part| !part.is_empty())
            && shown.as_deref().unwrap_or_default().is_empty()
        {
            note(1 << n.min(62), true);
        }
        if matches!(column.source, Source::Attribute(_)) && column.known != "sourceae" && !says_nothing {
            note(1 << n.min(62), column.shows(shown.as_deref(), value));
        }
    }
    (agree, differ)
}

fn names(tables: &Tables, level: Level, bits: u64) -> String {
    let link = crate::index::link(Table::from(level)).filter(|_| bits & LINK != 0);
    let columns = tables.of(level).fed().enumerate().filter(|(n, _)| bits & (1 << (*n).min(62)) != 0);
    link.into_iter().chain(columns.map(|(_, column)| column.name.as_str())).collect::<Vec<_>>().join(", ")
}

/// Whether `id` is `of`, or `of` with a suffix. `P1[...]` is a patient who has the same ID as
/// another patient: see `--patient-conflicts`.
fn is_variant(id: &str, of: &str) -> bool {
    let base = match id.strip_suffix(']').and_then(|id| id.rsplit_once('[')) {
        Some((base, _)) if !of.eq_ignore_ascii_case(id) => base,
        _ => id,
    };
    base.to_lowercase() == of.to_lowercase()
}

fn distinct<'k>(keys: impl Iterator<Item = &'k str>) -> Vec<&'k str> {
    let mut seen = HashSet::new();
    keys.filter(|key| seen.insert(*key)).collect()
}

pub fn by_key(rows: Vec<Existing>) -> HashMap<String, Existing> {
    rows.into_iter().map(|row| (row.key.clone(), row)).collect()
}
