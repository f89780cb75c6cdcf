//! The files of a run that outlive it, and their directory.

use std::path::PathBuf;

use super::{Reindex, StateDirectory, name};
use crate::archive::Roots;
use crate::cli;
use crate::error::Result;
use crate::index::Location;
use crate::journal::CatalogueSite;
use crate::journal::catalogue::KIND;

/// The prefix of the journal names of version 0.1.0, which kept one journal for each list of roots.
const JOURNAL: &str = "journal";

/// Marks a run that keeps a catalogue of the database.
pub struct KeptJournal {
    /// The directory and the note of the journal that version 0.1.0 kept.
    pub former: (PathBuf, String),
}

/// The files of a run that outlive it, and the directory of those that the user did not name.
pub struct Kept {
    pub directory: Option<StateDirectory>,
    pub journal: Option<KeptJournal>,
    pub undo: Option<PathBuf>,
    pub rejected: PathBuf,
}

impl Kept {
    pub fn of(typed: &cli::Reindex, location: &Location, roots: &Roots) -> Result<Self> {
        let state = typed.writing.state.as_deref();
        let overwrites = matches!(typed.existing, cli::Existing::Refresh | cli::Existing::Complete) && !typed.dry_run;
        let has_journal = !typed.dry_run;
        let needs_directory = typed.writing.rejected.is_none() || overwrites && typed.undo.is_none() || has_journal;
        let directory = needs_directory.then(|| StateDirectory::find(state)).transpose()?;
        let in_directory =
            |named: Option<&PathBuf>, kind: &str| named.cloned().or_else(|| Some(directory.as_ref()?.new_file(kind)));
        let key = former_key(location, roots);
        let journal = directory.as_ref().filter(|_| has_journal);
        Ok(Kept {
            journal: journal.map(|directory| KeptJournal { former: (directory.keyed(JOURNAL, &key), key) }),
            undo: in_directory(typed.undo.as_ref(), "undo").filter(|_| overwrites),
            rejected: in_directory(typed.writing.rejected.as_ref(), "rejected").unwrap_or_default(),
            directory,
        })
    }
}

/// Returns the note of the journal that version 0.1.0 kept: the index and the directories.
fn former_key(location: &Location, roots: &Roots) -> String {
    let mut paths: Vec<String> = roots.paths().iter().map(|root| format!("root {}\n", root.display())).collect();
    paths.sort();
    format!("index {}\n{}", name(location), paths.concat())
}

impl Reindex {
    /// Returns the location of the catalogue, if the run keeps one. Queries the server for its
    /// identities.
    pub fn catalogue_site(&self) -> Result<Option<CatalogueSite>> {
        let (Some(state), Some(KeptJournal { former })) = (&self.kept_in, &self.journal) else {
            return Ok(None);
        };
        let mut identities = vec![name(&self.location).replace('\n', "%0A")];
        for identity in self.location.server_identities()? {
            if !identities.contains(&identity) {
                identities.push(identity);
            }
        }
        let named = identities.iter().map(|identity| state.keyed(KIND, identity)).collect();
        Ok(Some(CatalogueSite { state: state.path().to_owned(), identities, named, former: former.clone() }))
    }
}
