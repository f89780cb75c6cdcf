//! Counts of the rows that were inserted into and changed in companion tables.

use serde::{Deserialize, Serialize};

use super::patience::Redone;
use crate::dicom::{Level, Table};

/// The rows of a companion table that were inserted or changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The keys of the inserted rows.
    pub inserted: Vec<Box<str>>,
    pub updated: u64,
}

impl Redone for Put {
    fn after(mut self, first: Option<Self>) -> Self {
        let Some(first) = first else { return self };
        if self.inserted.is_empty() {
            self.inserted = first.inserted;
        }
        self.updated = self.updated.max(first.updated);
        self
    }
}

/// The numbers of rows that were inserted into and changed in companion tables, in the order of
/// [`Table::COMPANIONS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Companions {
    pub inserted: [u64; 4],
    pub updated: [u64; 4],
}

impl Companions {
    pub fn add(&mut self, table: Table, put: &Put) {
        let n = Table::COMPANIONS.iter().position(|companion| *companion == table).unwrap_or_default();
        self.inserted[n] += put.inserted.len() as u64;
        self.updated[n] += put.updated;
    }
}

impl std::ops::Add for Companions {
    type Output = Companions;

    fn add(self, other: Companions) -> Companions {
        let sum = |a: [u64; 4], b: [u64; 4]| std::array::from_fn(|n| a[n] + b[n]);
        Companions { inserted: sum(self.inserted, other.inserted), updated: sum(self.updated, other.updated) }
    }
}

/// The numbers of rows that were inserted into the patient, study and series tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parents {
    pub patients: u64,
    pub studies: u64,
    pub series: u64,
}

impl Parents {
    pub(crate) fn of(&mut self, level: Level) -> &mut u64 {
        match level {
            Level::Patient => &mut self.patients,
            Level::Study => &mut self.studies,
            Level::Series | Level::Instance => &mut self.series,
        }
    }
}

impl std::ops::Add for Parents {
    type Output = Parents;

    fn add(self, other: Parents) -> Parents {
        Parents {
            patients: self.patients + other.patients,
            studies: self.studies + other.studies,
            series: self.series + other.series,
        }
    }
}
