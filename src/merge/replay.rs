//! Replay of the batches of a killed run in the run that resumes it.
//!
//! The record of a batch contains the changes that its transaction was about to commit. The rows in
//! the index show whether the transaction was committed. Files whose rows do not exist are written
//! again.

use std::collections::HashSet;
use std::path::Path;

use foldhash::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::known::PARENTS;
use super::writer::Writer;
use super::{identities, learn, lookup};
use crate::dicom::{Level, Table};
use crate::index::hashes::Hashes;
use crate::index::outcome::{Attempt, Outcome, Reach, RowOf, Written};
use crate::index::{Entry, Failure, ImageRow, Look, Refusal, Show, View, patient_name};

/// A lookup that waits for a transaction of the killed run that the server has not ended yet.
const NOW: Look = Look { view: View::Now, show: Show::Nothing };
const BEGUN: Look = Look { view: View::Begun, show: Show::Nothing };

/// Records the rows that a batch of the killed run found and inserted.
pub fn replay_rows(writer: &mut Writer, entries: &[Entry], mut attempt: Attempt) -> Result<(), Failure> {
    own_images(writer, entries, &attempt)?;
    writer.patiently(|writer| find_again(writer, &mut attempt))?;
    learn::learn_rows(writer, entries, &attempt);
    writer.known.lock().relieve();
    find_displaced(writer, entries, &attempt)
}

/// Records the series of files that the batch indexed and that rows no longer name. The batch that
/// pointed such a row to a better file may be one that the index has partly lost.
fn find_displaced(writer: &mut Writer, entries: &[Entry], attempt: &Attempt) -> Result<(), Failure> {
    let keys: Vec<&str> = entries.iter().map(|entry| entry.key(Level::Instance)).collect();
    let there = writer.patiently(|writer| writer.index.find(Table::Image, &keys, BEGUN))?;
    let there: HashMap<&str, &str> = there.iter().map(|row| (row.key.as_str(), row.path.as_str())).collect();
    let mut known = writer.known.lock();
    for (entry, outcome) in entries.iter().zip(&attempt.outcomes) {
        let named = there.get(entry.key(Level::Instance));
        if outcome.leads() && named.is_some_and(|named| !writer.policy.files.is_named_by(entry, named)) {
            known.displaced.insert(entry.key(Level::Series).into());
        }
    }
    Ok(())
}

/// Adds the values of the files in a batch of the killed run. The rows of all batches must be
/// known. Returns the outcome of each entry.
pub fn replay_values(writer: &mut Writer, entries: &[Entry], attempt: Attempt) -> Vec<Written> {
    learn::learn_values(writer, entries, attempt)
}

/// Looks up the existing rows of a batch again: earlier runs may have inserted them, and other runs
/// may have changed them since.
fn find_again(writer: &mut Writer, attempt: &mut Attempt) -> Result<(), Failure> {
    for level in PARENTS {
        let known = writer.known.clone();
        let is_new = |identity: &str| !known.lock().knows(level, identity);
        let there = attempt.rows[level as usize].iter().filter_map(|(identity, row)| match row {
            RowOf::There(row) if is_new(identity) => Some(row.key.clone()),
            _ => None,
        });
        let there: Vec<String> = there.collect();
        if there.is_empty() {
            continue;
        }
        for row in lookup::find_rows(writer, level, &texts(&there))? {
            attempt.rows[level as usize].insert(row.identity.as_str().into(), RowOf::There(row));
        }
    }
    Ok(())
}

fn own_images(writer: &mut Writer, entries: &[Entry], attempt: &Attempt) -> Result<(), Failure> {
    let links = attempt.rows[Level::Study as usize].values().filter_map(RowOf::link);
    let links = links.flat_map(|link| [link, patient_name::base(link)]);
    let ids = Vec::from_iter(entries.iter().map(|entry| entry.key(Level::Patient)).chain(links));
    writer.patiently(|writer| identities::learn_identities(writer, &ids))?;
    let mut known = writer.known.lock();
    // A batch does not record which series a row was linked to before it was pointed to another
    // file.
    if attempt.outcomes.iter().any(Outcome::replaces_a_file) {
        known.displaced.extend(attempt.opened[1].iter().cloned());
    }
    for (entry, outcome) in entries.iter().zip(&attempt.outcomes) {
        let key = entry.key(Level::Instance);
        if outcome.leads() {
            known.image_names(key, &entry.path);
        }
        match outcome {
            Outcome::Inserted => known.image_was_inserted(key),
            Outcome::Updated { corrected: Some(_) } if !known.is_ours(Level::Instance, key) => {
                known.image_was_corrected(key);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the part of a batch that the index contains, if the batch may not have been committed:
/// the positions of its files, and the result for these files. `files` contains the UID and the
/// path in the index of each file.
pub fn what_is_there(
    writer: &mut Writer,
    files: &[(&str, String)],
    mut attempt: Attempt,
) -> Result<Option<(Vec<usize>, Attempt)>, Failure> {
    let there = led(writer, files, &attempt, NOW)?;
    // A transaction is committed as a whole or not at all.
    if writer.index.tables().is_transactional {
        let is_done = match attempt.outcomes.iter().any(Outcome::leads) {
            true => there.contains(&true),
            false => has_inserted(writer, &attempt)?,
        };
        return Ok(is_done.then(|| ((0..files.len()).collect(), attempt)));
    }
    keep_rows_there(writer, &mut attempt)?;
    let kept = attempt.keep_there(&there);
    Ok(Some((kept, attempt)))
}

/// Returns whether the index contains a row above the images that a batch was to insert.
fn has_inserted(writer: &mut Writer, attempt: &Attempt) -> Result<bool, Failure> {
    for level in PARENTS {
        let rows = &attempt.rows[level as usize];
        let inserted = rows.iter().filter(|(_, row)| matches!(row, RowOf::Inserted { .. }));
        let inserted: HashMap<Box<str>, RowOf> = inserted.map(|(key, row)| (key.clone(), row.clone())).collect();
        if !identities_there(writer, level.into(), &keys(level, &inserted), NOW)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns for each file whether the index contains the row that the batch pointed to this file.
fn led(writer: &mut Writer, files: &[(&str, String)], attempt: &Attempt, look: Look) -> Result<Vec<bool>, Failure> {
    let keys: Vec<&str> = files.iter().map(|(uid, _)| *uid).collect();
    let there = writer.patiently(|writer| writer.index.find(Table::Image, &keys, look))?;
    let there: HashMap<&str, &str> = there.iter().map(|row| (row.key.as_str(), row.path.as_str())).collect();
    let is_led = |((uid, path), outcome): (&(&str, String), &Outcome)| {
        outcome.leads() && there.get(uid).is_some_and(|named| named == path)
    };
    Ok(files.iter().zip(&attempt.outcomes).map(is_led).collect())
}

/// The batches that pointed rows to files which later batches replaced by better ones. Such a batch
/// is not lost, although the row names another file. The batches of a run are processed in reverse
/// order.
pub struct Superseded {
    /// The instances whose row names the file that a batch pointed it to. Earlier batches with the
    /// same instance are superseded.
    named: Hashes,
    superseded: Hashes,
}

impl Superseded {
    /// Creates an empty set. `directory` is the directory of temporary files.
    pub fn new(directory: &Path) -> Self {
        Superseded { named: Hashes::new(directory), superseded: Hashes::new(directory) }
    }

    /// Processes the next batch, in the reverse order of the log. `at` is the position of the
    /// batch.
    pub fn learn(
        &mut self,
        writer: &mut Writer,
        at: u64,
        files: &[(&str, String)],
        attempt: &Attempt,
    ) -> Result<(), Failure> {
        let replaces = |n: &usize| attempt.outcomes[*n].leads() && attempt.outcomes[*n] != Outcome::Inserted;
        let replacing: Vec<usize> = (0..files.len()).filter(replaces).collect();
        if replacing.is_empty() {
            return Ok(());
        }
        let uids: Vec<&str> = replacing.iter().map(|n| files[*n].0).collect();
        let there = writer.patiently(|writer| writer.index.find(Table::Image, &uids, NOW))?;
        let there: HashMap<&str, &str> = there.iter().map(|row| (row.key.as_str(), row.path.as_str())).collect();
        for n in replacing {
            let (uid, path) = &files[n];
            let instance = xxh3_64(uid.as_bytes());
            match there.get(uid) {
                Some(named) if named == path => self.named.insert(instance),
                Some(_) if self.named.contains(instance) => self.superseded.insert(self.hash(at, n)),
                _ => {}
            }
        }
        let failure = self.named.failure().or_else(|| self.superseded.failure());
        failure.map_or(Ok(()), |why| Err(Failure::Lost(format!("a temporary file cannot be read: {why}"))))
    }

    fn contains(&self, at: u64, entry: usize) -> bool {
        self.superseded.contains(self.hash(at, entry))
    }

    fn hash(&self, at: u64, entry: usize) -> u64 {
        xxh3_64(&[at.to_le_bytes(), (entry as u64).to_le_bytes()].concat())
    }
}

/// Returns the part of a committed batch that the index still contains. A server may have failed
/// over to a replica that lacks commits, or a database may have been restored. `at` is the position
/// of the batch in the log.
pub fn what_is_left(
    writer: &mut Writer,
    at: u64,
    files: &[(&str, String)],
    mut attempt: Attempt,
    superseded: &Superseded,
) -> Result<Left, Failure> {
    let uids: Vec<&str> = files.iter().map(|(uid, _)| *uid).collect();
    let there = writer.patiently(|writer| writer.index.find(Table::Image, &uids, NOW))?;
    let there: HashMap<&str, &str> = there.iter().map(|row| (row.key.as_str(), row.path.as_str())).collect();
    // A later batch may have pointed the row of an inserted instance to another file.
    let is_there = |(n, ((uid, path), outcome)): (usize, (&(&str, String), &Outcome))| match outcome {
        Outcome::Inserted => there.contains_key(uid),
        outcome if outcome.leads() => there.get(uid).is_some_and(|named| named == path || superseded.contains(at, n)),
        _ => true,
    };
    let is_there: Vec<bool> = files.iter().zip(&attempt.outcomes).enumerate().map(is_there).collect();
    let written = attempt.outcomes.iter().zip(&is_there).filter(|(outcome, _)| outcome.leads());
    let has_image = written.clone().any(|(_, is_there)| *is_there);
    let has_lost_image = written.clone().any(|(_, is_there)| !is_there);
    let has_inserted = has_inserted(writer, &attempt)?;
    let before = attempt.rows.clone();
    keep_rows_there(writer, &mut attempt)?;
    let is_lost = |level: Level, identity: &str| {
        before[level as usize].contains_key(identity) && !attempt.rows[level as usize].contains_key(identity)
    };
    let has_lost_parent =
        PARENTS[1..].iter().any(|level| before[*level as usize].len() > attempt.rows[*level as usize].len());
    let lacks_row = |reach: &Reach| {
        has_lost_parent || reach.patient.as_ref().is_some_and(|patient| is_lost(Level::Patient, patient))
    };
    let lacks_row: Vec<bool> = attempt.reach.iter().map(lacks_row).collect();
    if !has_lost_image && !lacks_row.contains(&true) {
        return Ok(Left::All);
    }
    if !has_image && !has_inserted {
        return Ok(Left::Nothing);
    }
    // Files with values for a missing row are written again, and insert that row.
    let stands: Vec<bool> = is_there.iter().zip(&lacks_row).map(|(is_there, lacks)| *is_there && !lacks).collect();
    let kept = attempt.keep_there(&stands);
    Ok(Left::Part(kept, Box::new(attempt)))
}

/// Removes the rows above the images that do not exist from the result of a batch.
fn keep_rows_there(writer: &mut Writer, attempt: &mut Attempt) -> Result<(), Failure> {
    for level in PARENTS {
        let rows = &mut attempt.rows[level as usize];
        let there = identities_there(writer, level.into(), &keys(level, rows), NOW)?;
        rows.retain(|identity, _| there.contains(&**identity));
    }
    Ok(())
}

fn identities_there(
    writer: &mut Writer,
    table: Table,
    keys: &[String],
    look: Look,
) -> Result<HashSet<String>, Failure> {
    let found = writer.patiently(|writer| writer.index.find(table, &texts(keys), look))?;
    Ok(found.into_iter().map(|row| row.identity).collect())
}

/// Returns images after a UID, as listed by [`crate::index::Index::rows_after`].
pub fn rows_after(writer: &mut Writer, sop_instance_uid: &str) -> Result<Vec<ImageRow>, Failure> {
    writer.patiently(|writer| writer.index.rows_after(sop_instance_uid))
}

/// The part of a batch that the index still contains.
pub enum Left {
    All,
    /// The positions of some files in the batch, and the result for these files.
    Part(Vec<usize>, Box<Attempt>),
    Nothing,
}

fn keys(level: Level, rows: &HashMap<Box<str>, RowOf>) -> Vec<String> {
    let key = |identity: &str, row: &RowOf| match row {
        RowOf::Inserted { patient, .. } if level == Level::Patient => patient.to_string(),
        RowOf::Inserted { .. } => identity.to_owned(),
        RowOf::There(row) => row.key.clone(),
    };
    rows.iter().map(|(identity, row)| key(identity, row)).collect()
}

fn texts(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

impl Attempt {
    /// Keeps the entries whose rows exist, and entries from which an existing row above was
    /// inserted. Returns the positions of the entries that were kept.
    fn keep_there(&mut self, is_there: &[bool]) -> Vec<usize> {
        let tells_of_a_row = |n: usize| self.rows.iter().flat_map(HashMap::values).any(|row| row.is_told_by(n));
        let kept: Vec<usize> = (0..is_there.len()).filter(|n| is_there[*n] || tells_of_a_row(*n)).collect();
        let undone = kept.iter().filter(|n| !is_there[**n]);
        undone.for_each(|n| self.outcomes[*n] = Outcome::Refused(Refusal::default()));
        self.keep(&kept);
        kept
    }

    /// Keeps only the entries at these positions, which include those from which rows were
    /// inserted.
    fn keep(&mut self, kept: &[usize]) {
        let place = |member: usize| kept.iter().position(|n| *n == member).unwrap_or_default();
        for row in self.rows.iter_mut().flat_map(HashMap::values_mut) {
            if let RowOf::Inserted { member, .. } = row {
                *member = place(*member);
            }
        }
        self.reach = kept.iter().map(|n| self.reach[*n].clone()).collect();
        self.outcomes = kept.iter().map(|n| self.outcomes[*n].clone()).collect();
        self.winners = kept.iter().map(|n| self.winners[*n].clone()).collect();
    }
}
