//! What a transaction did, entry by entry and row by row: as it is told, and as it is written down.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use super::companion_changes::Put;
use super::patience::Redone;
use super::{Entry, Existing, Refusal};

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Inserted,
    /// Its row was there, and was filled, refreshed or led to this file.
    Updated {
        /// The path that the row had, if that was corrected.
        corrected: Option<String>,
    },
    /// The existing row named the file by a path that the PACS does not know, and has the mapped path now.
    PathMapped {
        former: String,
    },
    /// Its row was there, and names this file.
    Unchanged,
    /// One of the files of its instance, this or that of the path, is not the indexed one.
    Duplicate {
        loser: Option<String>,
    },
    /// It is tried again whenever it is come upon.
    Refused(#[serde(skip)] Refusal),
    /// A row of this program named a file that is missing or is another instance by now, and names this file.
    Repointed {
        former: String,
    },
}

impl Outcome {
    /// Returns whether the row of the instance names this file.
    pub fn is_indexed(&self) -> bool {
        !matches!(self, Outcome::Duplicate { loser: None } | Outcome::Refused(_))
    }

    /// The path in the row before, if the row named another file.
    pub fn replaced(&self) -> Option<&str> {
        match self {
            Outcome::Duplicate { loser: Some(former) }
            | Outcome::Updated { corrected: Some(former) }
            | Outcome::Repointed { former } => Some(former),
            _ => None,
        }
    }

    /// Whether the row named another file before.
    pub fn replaces_a_file(&self) -> bool {
        self.replaced().is_some()
    }

    /// The row names the file since.
    pub fn leads(&self) -> bool {
        matches!(
            self,
            Outcome::Inserted
                | Outcome::Updated { corrected: Some(_) }
                | Outcome::PathMapped { .. }
                | Outcome::Repointed { .. }
                | Outcome::Duplicate { loser: Some(_) }
        )
    }
}

/// What became of an entry, and of its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub outcome: Outcome,
    /// The row links the image to another series than the file does.
    pub link_differs: bool,
}

impl Written {
    /// There is nothing to be said of it now.
    pub fn is_told_later(&mut self) {
        *self = Written { outcome: Outcome::Refused(Refusal::default()), link_differs: false };
    }

    pub(crate) fn new(outcome: Outcome, reach: &Reach) -> Self {
        Written { link_differs: !reach.series && outcome.is_indexed(), outcome }
    }
}

/// What a transaction did, or is about to have done.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Rows above the images that it found or inserted, by identity.
    pub(crate) rows: [HashMap<Box<str>, RowOf>; 3],
    pub reach: Vec<Reach>,
    pub outcomes: Vec<Outcome>,
    /// Of files that are not indexed, the path of the one that is.
    pub(crate) winners: Vec<Option<Box<str>>>,
    /// Studies and series below which something was inserted.
    pub(crate) opened: [BTreeSet<Box<str>>; 2],
    pub(crate) edited: HashSet<String>,
    pub(crate) titles: Put,
}

impl Attempt {
    /// Whether it can be of so many entries: one that was read back may be anything.
    pub fn is_of(&self, entries: usize) -> bool {
        let is_within = |row: &RowOf| match row {
            RowOf::Inserted { member, .. } => *member < entries,
            RowOf::There(_) => true,
        };
        [self.reach.len(), self.outcomes.len(), self.winners.len()].iter().all(|length| *length == entries)
            && self.rows.iter().flat_map(HashMap::values).all(is_within)
    }

    /// Whether a row above the images was inserted with the values of an entry.
    pub(crate) fn has_inserted_for(&self, entry: usize) -> bool {
        self.rows.iter().flat_map(HashMap::values).any(|row| row.is_told_by(entry))
    }

    /// Of each entry the path in the row of its instance.
    pub fn row_paths<'a>(&'a self, entries: &'a [Entry]) -> impl Iterator<Item = &'a str> {
        entries.iter().zip(&self.winners).map(|(entry, winner)| winner.as_deref().unwrap_or(&entry.path))
    }
}

impl Redone for Attempt {
    fn after(mut self, first: Option<Self>) -> Self {
        let Some(first) = first else { return self };
        for (outcome, first) in self.outcomes.iter_mut().zip(first.outcomes) {
            if *outcome == Outcome::Unchanged {
                *outcome = first;
            }
        }
        self.titles = self.titles.after(Some(first.titles));
        self
    }
}

/// The rows above an image whose values its file may determine: not those that the index links otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    pub series: bool,
    pub study: bool,
    /// The identity of the patient.
    pub patient: Option<Arc<str>>,
}

/// A row above the images.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowOf {
    There(Existing),
    Inserted {
        /// As this entry says.
        member: usize,
        patient: Box<str>,
    },
}

impl RowOf {
    pub fn link(&self) -> Option<&str> {
        match self {
            RowOf::There(row) => Some(&row.link),
            RowOf::Inserted { .. } => None,
        }
    }

    /// The link of a row that this program has not inserted.
    pub(crate) fn foreign_link(&self) -> Option<&str> {
        match self {
            RowOf::There(row) if row.history.is_none() => Some(&row.link),
            _ => None,
        }
    }

    /// It was inserted as this entry says.
    pub fn is_told_by(&self, entry: usize) -> bool {
        matches!(self, RowOf::Inserted { member, .. } if *member == entry)
    }
}
