//! Reports files that vanished after this run wrote a row for them. Runs after the rescan, so that
//! files that were only moved are not reported. Deletes no row.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use super::Run;
use super::again::spool_failed;
use super::spool::Spool;
use crate::archive::Roots;
use crate::archive::changed::{Directory, Since};
use crate::dicom::Level;
use crate::error::Result;
use crate::index::Entry;
use crate::index::outcome::Written;
use crate::merge::gone;
use crate::merge::writer::Writer;

/// Rows per lookup.
const PORTION: usize = 500;

/// Maximum number of directories to remember: batches return to the directories that are being
/// written about.
const DIRECTORIES: usize = 10_000;

/// The files that the rows written by this run point to, on disk.
pub struct Led(Spool);

impl Led {
    pub fn new(directory: &Path) -> io::Result<Self> {
        Spool::create(directory).map(Led)
    }

    /// Records the files of a batch after its commit.
    pub fn note(&self, batch: &[Entry], written: &[Written]) {
        let led = batch.iter().zip(written).filter(|(_, written)| written.outcome.leads());
        let mut records: Vec<String> = led.filter_map(|(entry, _)| record(entry)).collect();
        records.sort_unstable();
        self.0.append(records);
    }
}

/// Packs the path of the file, and the UID of the instance unless it is the name of the file.
/// Returns `None` for a path that is not UTF-8, which has no row.
fn record(entry: &Entry) -> Option<String> {
    let (path, uid) = (entry.file.path.to_str()?, entry.key(Level::Instance));
    let is_name = entry.file.path.file_name().is_some_and(|name| name == uid);
    Some(if is_name { format!("{path}\0") } else { format!("{path}\0{uid}") })
}

fn unpack(record: &[u8]) -> Option<(&Path, &str)> {
    let (path, uid) = str::from_utf8(record).ok()?.split_once('\0')?;
    let path = Path::new(path);
    Some((path, if uid.is_empty() { path.file_name()?.to_str()? } else { uid }))
}

/// Looks for files that are missing in directories that changed, and for their rows.
pub(super) fn list_gone(run: &Run<'_>, writer: &mut Writer) -> Result<()> {
    let Some(led) = &run.led else { return Ok(()) };
    let mut places = Places { since: run.intake.again.since, roots: run.plan.sources.roots, may_miss: HashMap::new() };
    let mut missing: Vec<(String, PathBuf)> = Vec::new();
    let mut result = Ok(());
    let replayed = led.0.replay(|record| {
        let Some((path, uid)) = unpack(record) else { return ControlFlow::Continue(()) };
        if places.misses(path) {
            missing.push((uid.into(), path.into()));
        }
        if missing.len() == PORTION {
            result = list_those_named(run, writer, std::mem::take(&mut missing));
        }
        if result.is_err() || run.plan.sources.stop.is_set() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    result?;
    replayed.map_err(spool_failed)?;
    list_those_named(run, writer, missing)
}

/// Lists missing files that their rows still name. A row that now names another file was changed by
/// the rescan or by the PACS.
fn list_those_named(run: &Run<'_>, writer: &mut Writer, missing: Vec<(String, PathBuf)>) -> Result<()> {
    let uids: Vec<&str> = missing.iter().map(|(uid, _)| uid.as_str()).collect();
    let named = gone::paths(writer, &uids).or_else(|failure| run.index_failed(failure))?;
    for (uid, path) in &missing {
        let is_named = run.plan.path_map.to_index(path).is_ok_and(|path| named.get(uid) == Some(&path));
        if is_named {
            run.intake.account.gone.fetch_add(1, Relaxed);
            let detail = format!("was there when instance {uid} was indexed; its row stays");
            run.plan.sources.listing.add("conflict", path, "file-gone", &detail);
        }
    }
    Ok(())
}

/// Directories in which files may be missing.
struct Places<'a> {
    since: Since,
    roots: &'a Roots,
    may_miss: HashMap<PathBuf, bool>,
}

impl Places<'_> {
    fn misses(&mut self, file: &Path) -> bool {
        let Some(directory) = file.parent() else { return false };
        let may_miss = match self.may_miss.get(directory) {
            Some(known) => *known,
            None => {
                let may_miss = self.may_miss(directory);
                if self.may_miss.len() == DIRECTORIES {
                    self.may_miss.clear();
                }
                self.may_miss.insert(directory.into(), may_miss);
                may_miss
            }
        };
        let is_missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        may_miss && std::fs::symlink_metadata(file).is_err_and(is_missing)
    }

    /// Returns whether files may be missing in a directory: the directory changed or vanished, and
    /// its root is present. If the root is not mounted any more, the files may still exist.
    fn may_miss(&self, directory: &Path) -> bool {
        let is_there = |root: &Path| std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
        let mut roots = self.roots.paths().iter();
        self.since.directory(directory) != Directory::AsBefore
            && roots.any(|root| directory.starts_with(root) && is_there(root))
    }
}
