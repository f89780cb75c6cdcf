//! The results of a transaction, by entry and by row, for reports and for the write-ahead log.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use super::companion_changes::Put;
use super::patience::Redone;
use super::{Entry, Existing, Refusal};

/// The result of writing an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Inserted,
    /// The existing row was filled, refreshed or pointed to this file.
    Updated {
        /// The former path in the row, if the path was corrected.
        corrected: Option<String>,
    },
    /// The existing row pointed to this file by a path that the PACS does not know. The row now has
    /// the mapped path.
    PathMapped {
        former: String,
    },
    /// The existing row already points to this file.
    Unchanged,
    /// The instance has two files, and one of them is not indexed: the file at the path `loser`, or
    /// this file if `loser` is `None`.
    Duplicate {
        loser: Option<String>,
    },
    /// Rejected by the database. Every later run retries it.
    Refused(#[serde(skip)] Refusal),
    /// A row of this program pointed to a file that is missing or now contains another instance.
    /// The row now points to this file.
    Repointed {
        former: String,
    },
}

impl Outcome {
    /// Returns whether the row of the instance points to this file.
    pub fn is_indexed(&self) -> bool {
        !matches!(self, Outcome::Duplicate { loser: None } | Outcome::Refused(_))
    }

    /// Returns the former path in the row, if the row pointed to another file.
    pub fn replaced(&self) -> Option<&str> {
        match self {
            Outcome::Duplicate { loser: Some(former) }
            | Outcome::Updated { corrected: Some(former) }
            | Outcome::Repointed { former } => Some(former),
            _ => None,
        }
    }

    /// Returns whether the row pointed to another file before.
    pub fn replaces_a_file(&self) -> bool {
        self.replaced().is_some()
    }

    /// Returns whether this transaction pointed the row to the file.
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

/// The result of writing an entry, with the check of its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub outcome: Outcome,
    /// Whether the row links the image to another series than the file does.
    pub link_differs: bool,
}

impl Written {
    /// Suppresses the report for now; it follows later.
    pub fn is_told_later(&mut self) {
        *self = Written { outcome: Outcome::Refused(Refusal::default()), link_differs: false };
    }

    pub(crate) fn new(outcome: Outcome, reach: &Reach) -> Self {
        Written { link_differs: !reach.series && outcome.is_indexed(), outcome }
    }
}

/// The results of a transaction that is committed or about to be.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The rows above the images that the transaction found or inserted, by collation key.
    pub(crate) rows: [HashMap<Box<str>, RowOf>; 3],
    pub reach: Vec<Reach>,
    pub outcomes: Vec<Outcome>,
    /// For each entry whose file is not indexed, the path of the indexed file.
    pub(crate) winners: Vec<Option<Box<str>>>,
    /// The studies and series below which a row was inserted.
    pub(crate) opened: [BTreeSet<Box<str>>; 2],
    pub(crate) edited: HashSet<String>,
    pub(crate) titles: Put,
}

impl Attempt {
    /// Returns whether the data are consistent with this number of entries: data that were read
    /// back from disk may be corrupt.
    pub fn is_of(&self, entries: usize) -> bool {
        let is_within = |row: &RowOf| match row {
            RowOf::Inserted { member, .. } => *member < entries,
            RowOf::There(_) => true,
        };
        [self.reach.len(), self.outcomes.len(), self.winners.len()].iter().all(|length| *length == entries)
            && self.rows.iter().flat_map(HashMap::values).all(is_within)
    }

    /// Returns whether a row above the images was inserted with the values of an entry.
    pub(crate) fn has_inserted_for(&self, entry: usize) -> bool {
        self.rows.iter().flat_map(HashMap::values).any(|row| row.is_told_by(entry))
    }

    /// Returns, for each entry, the path in the row of its instance.
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

/// The rows above an image whose values its file may determine. Excludes the rows of the file if
/// the index links the image to other rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    pub series: bool,
    pub study: bool,
    /// The collation key of the patient.
    pub patient: Option<Arc<str>>,
}

/// A row above the images.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowOf {
    There(Existing),
    Inserted {
        /// The index of the entry with the row's values.
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

    /// Returns the link of an existing row that this program has not inserted.
    pub(crate) fn foreign_link(&self) -> Option<&str> {
        match self {
            RowOf::There(row) if row.history.is_none() => Some(&row.link),
            _ => None,
        }
    }

    /// Returns whether the row was inserted with the values of this entry.
    pub fn is_told_by(&self, entry: usize) -> bool {
        matches!(self, RowOf::Inserted { member, .. } if *member == entry)
    }
}
