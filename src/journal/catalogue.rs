//! Finds the directory of the catalogue of a database by the identities of the database, regardless
//! of the roots of a run and of how the URL of the database is written.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::claim::{self, Busy, Owner, StateError};
use super::{Journal, LOG, states_failed};

/// The prefix of the name of such a directory.
pub const KIND: &str = "catalogue";

/// The location of the catalogue of a database. The catalogue may not exist yet.
pub struct CatalogueSite {
    /// The directory that contains all state.
    pub state: PathBuf,
    /// The identities of the database.
    pub identities: Vec<String>,
    /// For each identity, the directory of a new catalogue.
    pub named: Vec<PathBuf>,
    /// The directory and the note of the journal of earlier versions of this program, which had one
    /// journal for each list of roots.
    pub former: (PathBuf, String),
}

impl CatalogueSite {
    /// Opens the catalogue, or creates one.
    pub fn open(&self, busy: Busy, is_interrupted: impl Fn() -> bool) -> Result<Journal, StateError> {
        let (directory, ambiguity) = self.find();
        let directory = match directory {
            Some(directory) => directory,
            None => self.adopt(busy, &is_interrupted)?,
        };
        let mut journal = Journal::open(&directory, Owner::Database(&self.identities), busy, is_interrupted)?;
        journal.messages.extend(ambiguity);
        Ok(journal)
    }

    /// Returns the directory whose note names this database, or one whose note may have been
    /// damaged. If several match, the newest is used, and a message reports the choice.
    fn find(&self) -> (Option<PathBuf>, Option<String>) {
        let mut matching = self.matching();
        matching.sort_by_key(|directory| (written(directory), directory.clone()));
        match (matching.pop(), matching.last()) {
            (None, _) => (self.named.iter().find(|directory| directory.symlink_metadata().is_ok()).cloned(), None),
            (newest, None) => (newest, None),
            (Some(newest), Some(older)) => {
                let message = format!(
                    "the catalogues {} and {} belong to this index; this run uses the first, which is newer",
                    newest.display(),
                    older.display()
                );
                (Some(newest), Some(message))
            }
        }
    }

    /// Returns the catalogues whose note names this database.
    fn matching(&self) -> Vec<PathBuf> {
        let owner = Owner::Database(&self.identities);
        let entries = std::fs::read_dir(&self.state).into_iter().flatten().flatten();
        let names_the_database = |directory: &PathBuf| {
            let note = is_catalogue(directory).then(|| claim::note(directory));
            matches!(note, Some(Ok(Some(note))) if owner.is_named(&note))
        };
        entries.map(|entry| entry.path()).filter(names_the_database).collect()
    }

    /// Renames the journal of an earlier version of this program, if there is one. Returns the
    /// directory of the catalogue.
    fn adopt(&self, busy: Busy, is_interrupted: &impl Fn() -> bool) -> Result<PathBuf, StateError> {
        let (former, note) = &self.former;
        let new = &self.named[0];
        if former.symlink_metadata().is_err() {
            return Ok(new.clone());
        }
        let failed = |error: io::Error| states_failed(former, error);
        let claimed = claim::claim(former, Owner::Key(note), busy, is_interrupted, failed)?;
        // Some systems cannot rename a directory that contains an open file. Releasing the lock
        // first is safe, because another run would rename the same directory.
        drop(claimed);
        std::fs::rename(former, new).and_then(|()| claim::sync_directory(&self.state)).map_err(failed)?;
        Ok(new.clone())
    }
}

/// Returns whether a path has the name of a catalogue that was not moved aside.
fn is_catalogue(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix(KIND).is_some_and(|rest| rest.starts_with('-')) && path.extension().is_none()
}

/// Returns the mtime of the log.
fn written(directory: &Path) -> Option<SystemTime> {
    directory.join(LOG).metadata().and_then(|metadata| metadata.modified()).ok()
}
