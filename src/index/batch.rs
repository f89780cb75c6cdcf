//! A batch into the index: parents first, each level sorted by key, only what is missing, in one short transaction.
//!
//! A row that the database will not hold is found by halving and reported, and the others are written. A deadlock
//! with the PACS is tried again. Rows that were there before are not touched.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::civil::DateTime;

use super::{Entry, Existing, Failure, Index, Refusal};
use crate::dicom::Level;

/// The PACS may hold a lock for as long as its own statement takes; the pauses add up to about half a minute.
const ATTEMPTS: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Inserted,
    /// Its row was there, and names this file.
    Unchanged,
    /// The row of its instance names another file.
    Duplicate {
        indexed: String,
    },
    Refused(Refusal),
}

/// Rows that were inserted above the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parents {
    pub patients: u64,
    pub studies: u64,
    pub series: u64,
}

/// Writes batches through one connection, and remembers what the closing step needs of them.
pub struct Writer {
    pub(super) index: Box<dyn Index + Send>,
    /// A table that was empty is inserted into without looking first.
    look_first: [bool; 4],
    patients: HashSet<Box<str>>,
    pub(super) studies: HashMap<Box<str>, Study>,
    pub(super) series: HashMap<Box<str>, Series>,
    pub inserted: Parents,
}

/// What the closing step needs of a study.
#[derive(Clone, Copy, Debug)]
pub(super) struct Study {
    /// This run inserted its row; otherwise its `received` is not ours.
    pub ours: bool,
    /// What was written, and the latest seen since.
    pub written: DateTime,
    pub latest: DateTime,
    /// This run inserted series below it.
    pub has_new_series: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Series {
    pub has_new_instances: bool,
}

/// Whether a row is in the index now.
#[derive(Clone, Debug)]
enum Presence {
    Inserted,
    There { path: Option<String> },
    Refused(Refusal),
}

impl Writer {
    pub fn new(mut index: Box<dyn Index + Send>) -> Result<Self, Failure> {
        let mut look_first = [true; 4];
        for level in super::LEVELS {
            look_first[level as usize] = !index.is_empty(level)?;
        }
        Ok(Writer {
            index,
            look_first,
            patients: HashSet::new(),
            studies: HashMap::new(),
            series: HashMap::new(),
            inserted: Parents::default(),
        })
    }

    /// The index had no image when the run began.
    pub fn began_empty(&self) -> bool {
        !self.look_first[Level::Instance as usize]
    }

    /// Writes a batch; the outcomes stand in the order of the entries.
    pub fn write(&mut self, entries: &[Entry]) -> Result<Vec<Outcome>, Failure> {
        let done = self.in_transaction(|writer| writer.attempt(entries))?;
        Ok(self.remember(entries, done))
    }

    /// One transaction, tried again while the database is busy.
    pub(super) fn in_transaction<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let done = self.index.begin().and_then(|()| work(self)).and_then(|done| {
                self.index.commit()?;
                Ok(done)
            });
            match done {
                Ok(done) => return Ok(done),
                Err(Failure::Busy(_)) if attempt < ATTEMPTS => {
                    // Where the database has rolled back already there is nothing to roll back.
                    let _ = self.index.roll_back();
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    attempt += 1;
                }
                Err(failure) => {
                    // What went wrong first is what is reported.
                    let _ = self.index.roll_back();
                    return Err(failure);
                }
            }
        }
    }

    fn attempt(&mut self, entries: &[Entry]) -> Result<Attempt, Failure> {
        let mut levels = Vec::with_capacity(4);
        let mut refused: HashMap<usize, Refusal> = HashMap::new();
        for level in super::LEVELS {
            let distinct = self.distinct(level, entries, &refused);
            let chosen: Vec<&Entry> = distinct.iter().map(|(_, members)| &entries[members[0]]).collect();
            let presence = self.insert_missing(level, &chosen)?;
            for ((_, members), presence) in distinct.iter().zip(&presence) {
                if let Presence::Refused(refusal) = presence {
                    refused.extend(members.iter().map(|member| (*member, refusal.clone())));
                }
            }
            let groups = distinct.into_iter().zip(presence);
            levels.push(groups.map(|((key, members), presence)| (key.to_owned(), members, presence)).collect());
        }
        Ok(Attempt { levels, refused })
    }

    /// The keys of a level that are not known to be in the index, sorted, and which entries bear them, by path.
    fn distinct<'e>(
        &self,
        level: Level,
        entries: &'e [Entry],
        refused: &HashMap<usize, Refusal>,
    ) -> Vec<(&'e str, Vec<usize>)> {
        let mut order: Vec<usize> = (0..entries.len())
            .filter(|n| !refused.contains_key(n) && !self.knows(level, entries[*n].key(level)))
            .collect();
        order.sort_by(|a, b| {
            let (a, b) = (&entries[*a], &entries[*b]);
            a.key(level).cmp(b.key(level)).then_with(|| a.path.cmp(&b.path))
        });
        let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
        for n in order {
            let key = entries[n].key(level);
            match groups.last_mut() {
                Some((last, members)) if *last == key => members.push(n),
                _ => groups.push((key, vec![n])),
            }
        }
        groups
    }

    fn knows(&self, level: Level, key: &str) -> bool {
        match level {
            Level::Patient => self.patients.contains(key),
            Level::Study => self.studies.contains_key(key),
            Level::Series => self.series.contains_key(key),
            Level::Instance => false,
        }
    }

    fn insert_missing(&mut self, level: Level, entries: &[&Entry]) -> Result<Vec<Presence>, Failure> {
        let mut presence: Vec<Option<Presence>> = vec![None; entries.len()];
        let all: Vec<usize> = (0..entries.len()).collect();
        if self.look_first[level as usize] {
            self.look(level, entries, &all, &mut presence)?;
        }
        let missing: Vec<usize> = all.into_iter().filter(|n| presence[*n].is_none()).collect();
        let mut rest = missing.as_slice();
        for size in self.index.insert_sizes() {
            while rest.len() >= *size {
                let (part, after) = rest.split_at(*size);
                self.insert_part(level, entries, part, &mut presence)?;
                rest = after;
            }
        }
        Ok(presence.into_iter().flatten().collect())
    }

    /// Marks what is there.
    fn look(
        &mut self,
        level: Level,
        entries: &[&Entry],
        part: &[usize],
        presence: &mut [Option<Presence>],
    ) -> Result<(), Failure> {
        let keys: Vec<&str> = part.iter().map(|n| entries[*n].key(level)).collect();
        let existing = self.index.find(level, &keys)?;
        let by_key: HashMap<String, Option<String>> =
            existing.into_iter().map(|Existing { key, path }| (key, path)).collect();
        for n in part {
            if let Some(path) = by_key.get(entries[*n].key(level)) {
                presence[*n] = Some(Presence::There { path: path.clone() });
            }
        }
        Ok(())
    }

    /// Inserts rows that seem to be missing. If they cannot be, looks again, then halves.
    fn insert_part(
        &mut self,
        level: Level,
        entries: &[&Entry],
        part: &[usize],
        presence: &mut [Option<Presence>],
    ) -> Result<(), Failure> {
        let rows: Vec<&Entry> = part.iter().map(|n| entries[*n]).collect();
        match (self.index.insert(level, &rows), part) {
            (Ok(()), _) => {
                part.iter().for_each(|n| presence[*n] = Some(Presence::Inserted));
                Ok(())
            }
            (Err(Failure::Refused(refusal)), [n]) => {
                presence[*n] = Some(Presence::Refused(refusal));
                Ok(())
            }
            (Err(Failure::Duplicate), [n]) => {
                self.look(level, entries, part, presence)?;
                // The database takes another spelling for the same key.
                presence[*n].get_or_insert(Presence::There { path: None });
                Ok(())
            }
            (Err(Failure::Duplicate | Failure::Refused(_)), _) => {
                self.look(level, entries, part, presence)?;
                let missing: Vec<usize> = part.iter().copied().filter(|n| presence[*n].is_none()).collect();
                let (left, right) = missing.split_at(missing.len() / 2);
                for half in [left, right].into_iter().filter(|half| !half.is_empty()) {
                    self.insert_part(level, entries, half, presence)?;
                }
                Ok(())
            }
            (Err(failure), _) => Err(failure),
        }
    }

    /// After the commit: what is known now, and what became of each entry.
    fn remember(&mut self, entries: &[Entry], attempt: Attempt) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; entries.len()];
        for (level, groups) in super::LEVELS.into_iter().zip(attempt.levels) {
            for (key, members, presence) in groups {
                self.remember_row(level, key, &entries[members[0]], &presence);
                if level == Level::Instance {
                    settle(entries, &members, &presence, &mut outcomes);
                }
            }
        }
        for (n, refusal) in attempt.refused {
            outcomes[n] = Some(Outcome::Refused(refusal));
        }
        for (entry, outcome) in entries.iter().zip(&outcomes) {
            // A file that is not the indexed one of its instance says nothing of when the study was received.
            if matches!(outcome, Some(Outcome::Inserted | Outcome::Unchanged))
                && let Some(study) = self.studies.get_mut(entry.key(Level::Study))
            {
                study.latest = study.latest.max(entry.received);
            }
            if *outcome == Some(Outcome::Inserted)
                && let Some(series) = self.series.get_mut(entry.key(Level::Series))
            {
                series.has_new_instances = true;
            }
        }
        outcomes.into_iter().flatten().collect()
    }

    fn remember_row(&mut self, level: Level, key: String, entry: &Entry, presence: &Presence) {
        let ours = match presence {
            Presence::Inserted => true,
            Presence::There { .. } => false,
            Presence::Refused(_) => return,
        };
        match level {
            Level::Patient => {
                self.inserted.patients += u64::from(ours);
                self.patients.insert(key.into());
            }
            Level::Study => {
                self.inserted.studies += u64::from(ours);
                let study = Study { ours, written: entry.received, latest: entry.received, has_new_series: false };
                self.studies.insert(key.into(), study);
            }
            Level::Series => {
                self.inserted.series += u64::from(ours);
                self.series.insert(key.into(), Series::default());
                if ours && let Some(study) = self.studies.get_mut(entry.key(Level::Study)) {
                    study.has_new_series = true;
                }
            }
            Level::Instance => {}
        }
    }
}

/// A committed transaction.
struct Attempt {
    /// For each level its keys, the entries that bear them, and what became of the row.
    levels: Vec<Vec<(String, Vec<usize>, Presence)>>,
    /// Entries of which a row was refused, at any level.
    refused: HashMap<usize, Refusal>,
}

/// The outcomes of all files of one instance.
fn settle(entries: &[Entry], members: &[usize], presence: &Presence, outcomes: &mut [Option<Outcome>]) {
    let first = &entries[members[0]].path;
    for (n, member) in members.iter().enumerate() {
        let path = &entries[*member].path;
        outcomes[*member] = match presence {
            Presence::Refused(_) => None,
            Presence::Inserted if n == 0 => Some(Outcome::Inserted),
            Presence::Inserted => Some(Outcome::Duplicate { indexed: first.clone() }),
            Presence::There { path: Some(indexed) } if indexed == path => Some(Outcome::Unchanged),
            Presence::There { path: indexed } => {
                Some(Outcome::Duplicate { indexed: indexed.clone().unwrap_or_default() })
            }
        };
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
