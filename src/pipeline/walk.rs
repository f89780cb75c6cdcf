//! The walk stage: sends the files that the walk finds to the readers, and counts everything else.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::Sender;

use super::{Files, Intake, Sources, entries, no_threads};
use crate::archive::skip::Rule;
use crate::archive::walk::{Enough, FILES_PER_MESSAGE, Found, Walk};
use crate::archive::{FoundFile, Roots};
use crate::error::Result;
use crate::report::account::Fate;

impl Sources<'_> {
    /// Returns the directories that are walked.
    pub(super) fn walked(&self) -> &Roots {
        match self.files {
            Files::Brought(brings) => brings.sources(),
            _ => self.roots,
        }
    }

    pub(super) fn walk(&self) -> Walk<'_> {
        let locator = match self.files {
            Files::Brought(brings) => brings.locator(),
            _ => self.locator,
        };
        Walk::new(self.walked().paths(), self.walk_threads, locator.skipped_directories())
            .from_day(self.first_day)
            .of_shard(self.shard)
    }
}

pub(super) fn send(intake: &Intake<'_>, found: Vec<FoundFile>, files: &Sender<Vec<FoundFile>>) {
    if let Err(unsent) = files.send(found) {
        intake.account.add(Fate::NotReached, unsent.into_inner().len());
    }
}

/// Sends the files of a list, except for those that no walk reaches.
pub(super) fn send_named(intake: &Intake<'_>, named: &[PathBuf], files: &Sender<Vec<FoundFile>>) -> Result<()> {
    for part in named.chunks(FILES_PER_MESSAGE) {
        if intake.sources.stop.is_set() {
            break;
        }
        let found = |path: &PathBuf| {
            FoundFile::below(&intake.sources.roots.paths()[entries::root_of(intake, path)], path.clone())
        };
        intake.account.found(part.len());
        send(intake, part.iter().filter(|path| !skip_named(intake, path)).map(found).collect(), files);
    }
    Ok(())
}

/// Skips and lists a file below a recycle bin, a snapshot or the like. Returns false for any other
/// file.
fn skip_named(intake: &Intake<'_>, path: &Path) -> bool {
    let locator = intake.sources.locator;
    let Some(reason) = locator.skip_reason(path).or_else(|| locator.skip_reason_behind_links(path)) else {
        return false;
    };
    intake.account.skipped(Rule::SkippedDirectory);
    intake.sources.listing.add("note", path, reason.code(), &format!("{reason}; not indexed"));
    true
}

/// Walks the directories. Entries that are neither files nor links are counted at once.
pub(super) fn walk(intake: &Intake<'_>, files: &Sender<Vec<FoundFile>>) -> Result<()> {
    let (account, listing) = (&intake.account, intake.sources.listing);
    let sink = |found: Found| {
        match found {
            Found::Files(found) => {
                account.found(found.len());
                if let Files::Walked = intake.sources.files {
                    intake.again.found(&found);
                }
                send(intake, found, files);
            }
            Found::Special(_) => {
                account.found(1);
                account.skipped(Rule::Special);
            }
            Found::Directory { .. } => count(&account.directories_listed),
            Found::SkippedDirectory { path, reason } => {
                account.directory_skipped(reason.kind);
                listing.add_skipped_directory(&path, &reason);
            }
            Found::Earlier(day) => account.not_looked_at(day),
            Found::Unreadable { path, error } => {
                account.found(1);
                account.add(Fate::Unreadable, 1);
                listing.add("unreadable", &path, "unreadable", &error.to_string());
            }
            Found::UnreadableDirectory { path, error } if intake.stops_without_root(&path, &error) => {}
            Found::UnreadableDirectory { path, error } => {
                count(&account.directories_unreadable);
                listing.add("directory", &path, "unreadable", &error.to_string());
            }
        }
        if intake.sources.stop.is_set() { Err(Enough) } else { Ok(()) }
    };
    intake.sources.walk().run(&sink).map_err(no_threads)
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
