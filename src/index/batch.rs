//! A batch into the index: parents first, each level sorted by key, only what is missing, in one short transaction.
//!
//! A deadlock with the PACS is tried again. Rows that were there before are not touched, but for values derived from
//! the rows below them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use jiff::civil::DateTime;

use super::missing::{Missing, Presence};
use super::{Entry, Failure, Index, Refusal};
use crate::dicom::Level;

/// The PACS may hold a lock for as long as its own statement takes; the pauses add up to about half a minute.
const ATTEMPTS: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How many other instances are asked when a parent's row is refused.
const OTHERS: usize = 3;

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
    pub(super) series: HashMap<Box<str>, Below>,
    pub inserted: Parents,
}

/// What the closing step needs of a study.
#[derive(Clone, Copy, Debug)]
pub(super) struct Study {
    pub below: Below,
    /// What was written, and the latest seen since.
    pub written: DateTime,
    pub latest: DateTime,
}

/// What this run did at a row and below it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Below {
    /// It inserted the row. Otherwise what stands in it is not ours.
    pub ours: bool,
    /// It inserted rows below, so that what is derived from them is open.
    pub open: bool,
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

    /// Ends the connection in order.
    pub fn end(self) {
        self.index.close();
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
        let mut levels: Vec<Vec<Group>> = Vec::with_capacity(4);
        let mut refused: HashMap<usize, Refusal> = HashMap::new();
        for level in super::LEVELS {
            let mut groups = self.distinct(level, entries, &refused);
            let chosen: Vec<&Entry> = groups.iter().map(|group| &entries[group.members[0]]).collect();
            let presence = self.insert_missing(level, &chosen)?;
            for (group, presence) in groups.iter_mut().zip(presence) {
                group.presence = presence;
                if level != Level::Instance {
                    self.try_others(level, entries, group)?;
                }
                if let Presence::Refused(refusal) = &group.presence {
                    refused.extend(group.members.iter().map(|member| (*member, refusal.clone())));
                }
            }
            levels.push(groups);
        }
        self.take_back(entries, &levels)?;
        Ok(Attempt { levels, refused })
    }

    /// The row of a parent that was refused as one instance tells of it may be held as another does.
    fn try_others(&mut self, level: Level, entries: &[Entry], group: &mut Group) -> Result<(), Failure> {
        for member in group.members.iter().skip(1).take(OTHERS) {
            if !matches!(group.presence, Presence::Refused(_)) {
                break;
            }
            if let Some(presence) = self.insert_missing(level, &[&entries[*member]])?.pop() {
                group.presence = presence;
            }
        }
        Ok(())
    }

    /// The keys of a level that are not known to be in the index, sorted, and which entries bear them, by path.
    fn distinct(&self, level: Level, entries: &[Entry], refused: &HashMap<usize, Refusal>) -> Vec<Group> {
        let mut order: Vec<usize> = (0..entries.len())
            .filter(|n| !refused.contains_key(n) && !self.knows(level, entries[*n].key(level)))
            .collect();
        order.sort_by(|a, b| {
            let (a, b) = (&entries[*a], &entries[*b]);
            a.key(level).cmp(b.key(level)).then_with(|| a.path.cmp(&b.path))
        });
        let same = |a: &usize, b: &usize| entries[*a].key(level) == entries[*b].key(level);
        let nothing = Presence::There { path: None };
        order.chunk_by(same).map(|members| Group { members: members.to_vec(), presence: nothing.clone() }).collect()
    }

    fn knows(&self, level: Level, key: &str) -> bool {
        match level {
            Level::Patient => self.patients.contains(key),
            Level::Study => self.studies.contains_key(key),
            Level::Series => self.series.contains_key(key),
            Level::Instance => false,
        }
    }

    /// Derived values of rows that were there before are out of date with the first row inserted below them. They
    /// are taken back until the closing step: a run that is killed leaves no wrong value, and the next one fills them.
    fn take_back(&mut self, entries: &[Entry], levels: &[Vec<Group>]) -> Result<(), Failure> {
        for (parent, child) in [(Level::Study, Level::Series), (Level::Series, Level::Instance)] {
            let inserted = levels[child as usize].iter().filter(|group| matches!(group.presence, Presence::Inserted));
            let keys: BTreeSet<&str> = inserted.map(|group| entries[group.members[0]].key(parent)).collect();
            let new: HashSet<&str> = levels[parent as usize]
                .iter()
                .filter(|group| matches!(group.presence, Presence::Inserted))
                .map(|group| entries[group.members[0]].key(parent))
                .collect();
            let keys: Vec<&str> = keys
                .into_iter()
                .filter(|key| {
                    !new.contains(key) && self.below(parent, key).is_none_or(|below| !below.ours && !below.open)
                })
                .collect();
            self.index.take_back(parent, &keys)?;
        }
        Ok(())
    }

    fn below(&self, level: Level, key: &str) -> Option<Below> {
        match level {
            Level::Study => self.studies.get(key).map(|study| study.below),
            Level::Series => self.series.get(key).copied(),
            _ => None,
        }
    }

    fn insert_missing(&mut self, level: Level, entries: &[&Entry]) -> Result<Vec<Presence>, Failure> {
        Missing::new(&mut *self.index, level, entries).insert(self.look_first[level as usize])
    }

    /// After the commit: what is known now, and what became of each entry.
    fn remember(&mut self, entries: &[Entry], attempt: Attempt) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; entries.len()];
        for (level, groups) in super::LEVELS.into_iter().zip(attempt.levels) {
            for Group { members, presence } in groups {
                self.remember_row(level, &entries[members[0]], &presence);
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
                series.open = true;
            }
        }
        outcomes.into_iter().flatten().collect()
    }

    fn remember_row(&mut self, level: Level, entry: &Entry, presence: &Presence) {
        let key = entry.key(level);
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
                let below = Below { ours, open: ours };
                let study = Study { below, written: entry.received, latest: entry.received };
                self.studies.insert(key.into(), study);
            }
            Level::Series => {
                self.inserted.series += u64::from(ours);
                self.series.insert(key.into(), Below { ours, open: ours });
                if ours && let Some(study) = self.studies.get_mut(entry.key(Level::Study)) {
                    study.below.open = true;
                }
            }
            Level::Instance => {}
        }
    }
}

/// The entries of a batch that share a key, by path, and what became of its row.
struct Group {
    members: Vec<usize>,
    presence: Presence,
}

/// A committed transaction.
struct Attempt {
    levels: Vec<Vec<Group>>,
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
