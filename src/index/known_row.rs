//! Patients, studies and series as a run knows them: whose each row is, and all values that the instances below the row have.

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashMap;

use super::few::Few;
use super::fold::{Fold, Shape};
use super::names::Name;
use super::row_history::RowHistory;
use super::settlement::OwnValues;
use super::{Entry, Existing};
use crate::dicom::Level;

/// A row, and the values of its instances.
#[derive(Clone, Default)]
pub struct Row {
    /// The values by which this program recognizes its own; `None` if another program has inserted the row.
    pub own: Option<OwnValues>,
    pub fold: Fold,
}

#[derive(Clone, Default)]
pub struct Patient {
    /// The ID in the row.
    pub id: Arc<str>,
    pub ours: bool,
    /// The versions of the row in the ledger, if an earlier run inserted the row.
    pub history: Option<Arc<RowHistory>>,
    /// A study of the patient was unfinished when the row was found.
    pub is_unfinished: bool,
    /// The row is not this program's, as far as the ledger knows, and is to be completed.
    pub is_completed: bool,
    /// The name in the row that was found, or with which the row was inserted.
    pub name: Option<Arc<Name>>,
    /// All spellings of the ID in files, each with the smallest Study Instance UID.
    pub spellings: Few<Arc<str>, Option<Arc<str>>>,
    /// The values of instances, by the name in them. The row was inserted with the values of one of them.
    pub named: Few<Arc<Name>, Row>,
}

#[derive(Default)]
pub struct Study {
    pub row: Row,
    /// The ID of the patient in the row.
    pub patient: Arc<str>,
    /// The received time in the row, if this run has inserted it.
    pub received: Box<str>,
    /// Series were inserted below.
    pub open: bool,
    /// The row was unfinished when it was found.
    pub is_unfinished: bool,
    /// The PACS has edited it, or is about to.
    pub edited: bool,
    /// Files name another patient.
    pub link_differs: bool,
    /// Files name the patient in the row.
    pub link_agrees: bool,
}

#[derive(Default)]
pub struct Series {
    pub row: Row,
    /// The study in the row.
    pub study: Arc<str>,
    /// Images were inserted below.
    pub open: bool,
    /// The row was unfinished when it was found.
    pub is_unfinished: bool,
    /// Files name another study.
    pub link_differs: bool,
    /// Files name the study in the row.
    pub link_agrees: bool,
    /// Studies that instances name beside that in the row.
    pub others: BTreeSet<Arc<str>>,
}

impl Row {
    /// This program inserted the row, in this run or an earlier one.
    pub fn is_ours(&self) -> bool {
        matches!(self.own, Some(OwnValues::ThisRun(_) | OwnValues::EarlierRun { .. }))
    }

    pub fn is_of_this_run(&self) -> bool {
        self.written().is_some()
    }

    /// The values that this run inserted the row with.
    pub fn written(&self) -> Option<&Arc<[u8]>> {
        match &self.own {
            Some(OwnValues::ThisRun(written)) => Some(written),
            _ => None,
        }
    }

    /// A row that was found.
    pub(super) fn found(row: &Existing, completes: bool) -> Self {
        let mut new = Row::default();
        new.learn_owner(row, completes);
        new
    }

    /// Learns which program inserted a row that was found.
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

    pub(super) fn add(&mut self, shape: &Shape, entry: &Entry, order: &[u8], scratch: &mut Vec<u8>) {
        let written = match &self.own {
            Some(OwnValues::ThisRun(written)) => Some(written),
            _ => None,
        };
        self.fold.add_entry(shape, entry, order, scratch, written);
    }
}

impl Patient {
    /// Whether a row that is completed needs all values of files. Another program may use a row that this run has inserted.
    pub(super) fn keeps_all(&self) -> bool {
        self.is_completed || self.ours && self.history.is_none()
    }

    pub(super) fn note_spelling(&mut self, entry: &Entry, studies: &HashMap<Arc<str>, Study>) {
        let (id, study) = (entry.key(Level::Patient), entry.key(Level::Study));
        let smallest = match self.spellings.get_mut(id) {
            Some(smallest) => smallest,
            None => self.spellings.entry(if *self.id == *id { self.id.clone() } else { id.into() }),
        };
        if smallest.as_ref().is_none_or(|smallest| **smallest > *study) {
            let known = studies.get_key_value(study);
            *smallest = Some(known.map_or_else(|| study.into(), |(key, _)| key.clone()));
        }
    }

    /// The values of the instances that have the entry's name. Nearly always there is one name.
    pub(super) fn named_by(&mut self, entry: &Entry) -> &mut Row {
        let parts = entry.patient_name_parts();
        let is_known = |name: &Name| name.0.iter().map(|part| &**part).eq(parts);
        let name = match (&self.named, &self.name) {
            (Few::One(name, _), _) | (_, Some(name)) if is_known(name) => name.clone(),
            _ => Arc::new(entry.patient_name()),
        };
        self.named.entry(name)
    }
}
