//! The files of a run that outlive it, and their directory.

use std::path::PathBuf;

use super::{Reindex, StateDirectory, name};
use crate::cli;
use crate::error::{Error, Result};
use crate::journal::CatalogueSite;
use crate::journal::catalogue::KIND;

/// The beginning of the name of the journal of a slice. Version 0.1.0 had such a journal for each list of roots.
const JOURNAL: &str = "journal";

/// The journal that a run keeps.
pub enum KeptJournal {
    /// The directory of a slice, and the note in it.
    Slice(PathBuf, String),
    /// The catalogue of the database. Contains the directory and the note of the journal that version 0.1.0 had.
    Catalogue(PathBuf, String),
}

/// The files of a run that outlive it, and the directory of those that the user has not named.
pub struct Kept {
    pub directory: Option<StateDirectory>,
    pub journal: Option<KeptJournal>,
    pub undo: Option<PathBuf>,
    pub rejected: PathBuf,
}

impl Kept {
    /// `key` is the note in the directory of a slice.
    pub fn of(typed: &cli::Reindex, key: String) -> Result<Self> {
        let state = typed.writing.state.as_deref();
        if typed.slice.is_some() && !StateDirectory::is_named(state) {
            return Err(Error::usage(
                "--slice needs a directory for its state, which --finish reads",
                "Name the directory: --state DIR, or the environment variable PACS_INDEX_STATE.",
            ));
        }
        let overwrites = matches!(typed.existing, cli::Existing::Refresh | cli::Existing::Complete) && !typed.dry_run;
        let has_journal = !typed.dry_run;
        let needs_directory = typed.writing.rejected.is_none() || overwrites && typed.undo.is_none() || has_journal;
        let directory = needs_directory.then(|| StateDirectory::find(state)).transpose()?;
        let in_directory =
            |named: Option<&PathBuf>, kind: &str| named.cloned().or_else(|| Some(directory.as_ref()?.new_file(kind)));
        let journal = directory.as_ref().filter(|_| has_journal).map(|it| (it.keyed(JOURNAL, &key), key));
        Ok(Kept {
            journal: journal.map(|(directory, key)| match typed.slice {
                Some(_) => KeptJournal::Slice(directory, key),
                None => KeptJournal::Catalogue(directory, key),
            }),
            undo: in_directory(typed.undo.as_ref(), "undo").filter(|_| overwrites),
            rejected: in_directory(typed.writing.rejected.as_ref(), "rejected").unwrap_or_default(),
            directory,
        })
    }
}

impl Reindex {
    /// The place of the catalogue, if the run keeps one. Asks the server which database it is.
    pub fn catalogue_site(&self) -> Result<Option<CatalogueSite>> {
        let (Some(state), Some(KeptJournal::Catalogue(former, key))) = (&self.kept_in, &self.journal) else {
            return Ok(None);
        };
        let mut identities = vec![name(&self.location).replace('\n', "%0A")];
        for identity in self.location.server_identities()? {
            if !identities.contains(&identity) {
                identities.push(identity);
            }
        }
        let named = identities.iter().map(|identity| state.keyed(KIND, identity)).collect();
        let former = (former.clone(), key.clone());
        Ok(Some(CatalogueSite { state: state.path().to_owned(), identities, named, former }))
    }
}
