//! The state of patients, studies and series during a run: which program inserted each row, and all
//! values of the instances below the row.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::few::Few;
use super::fold::{Fold, Shape};
use super::own_values::OwnValues;
use crate::dicom::Level;
use crate::disk::aggregate::Part;
use crate::disk::bytes;
use crate::index::entry::IDENTITY;
use crate::index::patient_name::Name;
use crate::index::row_history::RowHistory;
use crate::index::{Entry, Existing, Value};

/// A row, and the values of its instances.
#[derive(Clone, Default, Deserialize)]
#[serde(from = "StoredRow")]
pub struct Row {
    /// The values by which this program recognizes its own values in the row; `None` if another
    /// program inserted the row.
    pub own: Option<OwnValues>,
    pub fold: Fold,
    /// Whether the values in earlier parts are those of files that are not indexed any more.
    is_emptied: bool,
}

/// A row on disk. `is_as_last` saves space, because nearly always a row was inserted with the
/// values of the last instance.
#[derive(Deserialize)]
struct StoredRow {
    own: Option<OwnValues>,
    is_as_last: bool,
    fold: Fold,
    is_emptied: bool,
}

impl From<StoredRow> for Row {
    fn from(StoredRow { own, is_as_last, fold, is_emptied }: StoredRow) -> Self {
        let last = fold.last().filter(|_| is_as_last).cloned();
        Row { own: last.map(OwnValues::ThisRun).or(own), fold, is_emptied }
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_as_last = self.written().is_some() && self.written() == self.fold.last();
        let own = self.own.as_ref().filter(|_| !is_as_last);
        (own, is_as_last, &self.fold, self.is_emptied).serialize(serializer)
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Patient {
    /// Whether the row was found or inserted.
    pub is_row: bool,
    /// The ID in the row.
    pub id: Arc<str>,
    pub ours: bool,
    /// The values with which this run inserted the row, if it did.
    #[serde(with = "bytes::optional")]
    pub written: Option<Arc<[u8]>>,
    /// The versions of the row in the ledger, if an earlier run inserted the row.
    pub history: Option<Arc<RowHistory>>,
    /// Whether a study of the patient was unfinished when the row was found.
    pub is_unfinished: bool,
    /// Whether the row is not in the ledger as a row of this program, and is to be completed.
    pub is_completed: bool,
    /// The name in the row that was found, or with which the row was inserted.
    pub name: Option<Arc<Name>>,
    /// All spellings of the ID in files, each with the smallest Study Instance UID in which it
    /// occurs.
    pub spellings: Few<Arc<str>, Option<Arc<str>>>,
    /// Whether the spellings in earlier parts are those of files that are not indexed any more.
    pub(super) is_emptied: bool,
    /// The values of instances, by the name in the instance. While the run reads files, they are
    /// kept in a separate map.
    #[serde(skip)]
    pub named: Few<Arc<Name>, Fold>,
    /// Whether there are too many names for memory, so that they are kept on disk.
    #[serde(skip)]
    pub is_crowd: bool,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Study {
    /// Whether the row was found or inserted.
    pub is_row: bool,
    pub row: Row,
    /// The ID of the patient in the row.
    pub patient: Arc<str>,
    /// The time of receipt in the row, if this run inserted the row.
    pub received: Box<str>,
    /// Whether series were inserted below the row.
    pub open: bool,
    /// Whether the row was unfinished when it was found.
    pub is_unfinished: bool,
    /// Whether the PACS has edited the study, or is about to.
    pub edited: bool,
    /// Whether files name another patient than the row.
    pub link_differs: bool,
    /// Whether files name the patient in the row.
    pub link_agrees: bool,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Series {
    /// Whether the row was found or inserted.
    pub is_row: bool,
    pub row: Row,
    /// The study in the row.
    pub study: Arc<str>,
    /// Whether images were inserted below the row.
    pub open: bool,
    /// Whether the row was unfinished when it was found.
    pub is_unfinished: bool,
    /// Whether files name another study than the row.
    pub link_differs: bool,
    /// Whether files name the study in the row.
    pub link_agrees: bool,
    /// The studies that instances name other than the study in the row.
    pub others: BTreeSet<Arc<str>>,
}

impl Row {
    /// Returns whether this program inserted the row, in this run or an earlier one.
    pub fn is_ours(&self) -> bool {
        matches!(self.own, Some(OwnValues::ThisRun(_) | OwnValues::EarlierRun { .. }))
    }

    pub fn is_of_this_run(&self) -> bool {
        self.written().is_some()
    }

    /// Returns the values with which this run inserted the row.
    pub fn written(&self) -> Option<&Arc<[u8]>> {
        match &self.own {
            Some(OwnValues::ThisRun(written)) => Some(written),
            _ => None,
        }
    }

    /// Creates the state of a row that was found.
    pub(super) fn found(row: &Existing, completes: bool) -> Self {
        let mut new = Row::default();
        new.learn_owner(row, completes);
        new
    }

    /// Determines which program inserted a row that was found.
    pub(super) fn learn_owner(&mut self, row: &Existing, completes: bool) {
        self.own = match &row.history {
            Some(history) => {
                Some(OwnValues::EarlierRun { history: history.clone(), is_unfinished: false, inserted: None })
            }
            None if completes && row.is_unfinished => {
                self.fold.keep_all();
                Some(OwnValues::OfFiles)
            }
            None => None,
        };
    }

    /// Removes the values of instances.
    pub(super) fn empty(&mut self) {
        self.fold.clear();
        self.is_emptied = true;
    }

    fn absorb(&mut self, later: Row) {
        // This run inserted a row again that the index had lost.
        if self.own.is_none() || later.is_of_this_run() {
            self.own = later.own.or(self.own.take());
        }
        if later.is_emptied {
            self.empty();
        }
        self.fold.merge(later.fold);
    }

    fn weight(&self) -> usize {
        self.fold.weight() + self.own.as_ref().map_or(0, OwnValues::weight)
    }

    /// Adds the values of an instance. Rows that are completed need all sets of values.
    pub(super) fn add(&mut self, shape: &Shape, entry: &Entry, order: &[u8], scratch: &mut Vec<u8>, keeps_all: bool) {
        if keeps_all {
            self.fold.keep_all();
        }
        let written = match &self.own {
            Some(OwnValues::ThisRun(written)) => Some(written),
            _ => None,
        };
        self.fold.add_entry(shape, entry, order, scratch, written);
    }
}

impl Patient {
    /// Returns whether files with the ID have several names.
    pub(super) fn has_several_names(&self) -> bool {
        self.is_crowd || self.named.iter().nth(1).is_some()
    }

    pub(super) fn note_spelling(&mut self, entry: &Entry) {
        let (id, study) = (entry.key(Level::Patient), entry.key(Level::Study));
        let smallest = match self.spellings.get_mut(id) {
            Some(smallest) => smallest,
            None => self.spellings.entry(if *self.id == *id { self.id.clone() } else { id.into() }),
        };
        if smallest.as_ref().is_none_or(|smallest| **smallest > *study) {
            *smallest = Some(study.into());
        }
    }

    /// Removes the spellings of the ID. The values by name are emptied separately.
    pub(super) fn empty(&mut self) {
        self.spellings.values_mut().for_each(|study| *study = None);
        self.is_emptied = true;
    }
}

impl Part for Row {
    fn absorb(&mut self, later: Self) {
        Row::absorb(self, later);
    }

    fn weight(&self) -> usize {
        Row::weight(self)
    }
}

impl Part for Patient {
    fn absorb(&mut self, later: Self) {
        if !self.is_row || later.written.is_some() {
            (self.id, self.name) = (later.id, later.name);
        }
        if later.written.is_some() {
            self.written = later.written;
        }
        self.is_row |= later.is_row;
        self.ours |= later.ours;
        self.history = self.history.take().or(later.history);
        self.is_unfinished |= later.is_unfinished;
        self.is_completed |= later.is_completed;
        if later.is_emptied {
            self.empty();
        }
        for (spelled, study) in later.spellings.iter() {
            let smallest = self.spellings.entry(spelled.clone());
            *smallest = [smallest.take(), study.clone()].into_iter().flatten().min();
        }
    }

    fn weight(&self) -> usize {
        let history = self.history.as_ref().map_or(0, |history| history.versions.len() * 128);
        let spellings = self.spellings.keys().map(|spelled| spelled.len() + 64).sum::<usize>();
        size_of::<Self>() + self.id.len() + history + spellings + self.written.as_ref().map_or(0, |values| values.len())
    }
}

impl Part for Study {
    fn absorb(&mut self, later: Self) {
        if !self.is_row || later.row.is_of_this_run() {
            (self.patient, self.received) = (later.patient, later.received);
        }
        if later.row.is_emptied {
            (self.link_differs, self.link_agrees) = (false, false);
        }
        self.is_row |= later.is_row;
        self.row.absorb(later.row);
        self.open |= later.open;
        self.is_unfinished |= later.is_unfinished;
        self.edited |= later.edited;
        self.link_differs |= later.link_differs;
        self.link_agrees |= later.link_agrees;
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.patient.len() + self.received.len() + self.row.weight()
    }
}

impl Part for Series {
    fn absorb(&mut self, later: Self) {
        if !self.is_row || later.row.is_of_this_run() {
            self.study = later.study;
        }
        if later.row.is_emptied {
            self.others.clear();
            (self.link_differs, self.link_agrees) = (false, false);
        }
        self.is_row |= later.is_row;
        self.row.absorb(later.row);
        self.open |= later.open;
        self.is_unfinished |= later.is_unfinished;
        self.link_differs |= later.link_differs;
        self.link_agrees |= later.link_agrees;
        self.others.extend(later.others);
        self.others.remove(&self.study);
    }

    fn weight(&self) -> usize {
        let others = self.others.iter().map(|study| study.len() + 64).sum::<usize>();
        size_of::<Self>() + self.study.len() + others + self.row.weight()
    }
}

/// Returns the Patient ID and the name of a study's patient: those in its last instance that has
/// both. If no instance has both, the last instance with an ID counts, then the last one with a
/// name, then the last one.
pub(super) fn who(study: &Study) -> (Box<str>, Name) {
    let identity = |values: &[Value<'_>]| -> [Box<str>; 4] {
        let from = values.len().saturating_sub(IDENTITY.len());
        let mut texts = values[from..].iter().map(|value| match value {
            Value::Text(text) => (*text).into(),
            _ => "".into(),
        });
        [(); 4].map(|()| texts.next().unwrap_or_default())
    };
    let has_id = |values: &[Value<'_>]| !identity(values)[0].is_empty();
    let has_name = |values: &[Value<'_>]| identity(values)[1..].iter().any(|part| !part.is_empty());
    let fold = &study.row.fold;
    let last = fold
        .last_that(|values| has_id(values) && has_name(values))
        .or_else(|| fold.last_that(has_id))
        .or_else(|| fold.last_that(has_name))
        .or_else(|| fold.last_that(|_| true));
    let [id, last, first, middle] = identity(&last.unwrap_or_default());
    (id, Name([last, first, middle]))
}
