//! Runs before the closing step. Reads the records of the other files of the rows that this run has touched and that an
//! earlier run has inserted. The final values of a row then do not depend on which run has read which file.

use std::collections::{BTreeSet, HashSet};

use super::entries::Noted;
use super::{Run, resume};
use crate::archive::FileState;
use crate::error::Result;
use crate::index::Entry;
use crate::index::hashes::Hashes;
use crate::journal::record::Record;
use crate::journal::{Journal, Topic, gathered};
use crate::merge::writer::Writer;
use crate::merge::{fold_again, gather};
use crate::sorted::{Note, Sorter};

/// The number of entries that are looked up at a time.
const PORTION: usize = 500;

pub(super) fn gather(run: &Run<'_>, writer: &mut Writer) -> Result<()> {
    let Some(journal) = run.journal() else { return Ok(()) };
    let mut gathered = Hashes::new(&journal.directory);
    let mut blocks = BTreeSet::new();
    let displaced = empty_displaced(run, journal, writer)?;
    let mut is_first = true;
    let mut appended = match displaced.is_empty() {
        true => BTreeSet::new(),
        false => gathered::appended_blocks_of(journal, &displaced).map_err(super::journal_failed)?,
    };
    loop {
        // Hashes of groups, which are read in their order: ten million studies would not fit into memory.
        let mut new = Sorter::<8>::new(&journal.directory);
        let mut push = |topic: u64| {
            if gathered.contains(topic) {
                return Ok(());
            }
            gathered.insert(topic);
            new.push(topic.to_be_bytes())
        };
        let mut pushed = Ok(());
        if std::mem::take(&mut is_first) {
            displaced.iter().copied().try_for_each(&mut push)?;
            journal.unfinished_studies()?.try_for_each(|study| push(study?))?;
        }
        let of_rows = gather::own_groups(writer, |level, key| {
            if pushed.is_ok() {
                pushed = push(Topic::of_level(level).hash(key));
            }
        });
        of_rows.and(pushed).map_err(super::journal_failed)?;
        let new = new.finish(&[], 8, Note::default(), tempfile::tempfile_in(&journal.directory)?)?;
        if new.count == 0 {
            return Ok(());
        }
        let mut of_new = BTreeSet::new();
        for topic in new.records()? {
            let found = gathered::blocks_of(journal, u64::from_be_bytes(topic?))?;
            of_new.extend(found.into_iter().filter(|block| blocks.insert(*block)));
        }
        let mut portion = Vec::new();
        let known = of_new.into_iter().map(|block| (block, false));
        for (block, is_appended) in known.chain(std::mem::take(&mut appended).into_iter().map(|block| (block, true))) {
            if run.plan.sources.stop.is_set() {
                return Ok(());
            }
            let records = match is_appended {
                false => gathered::current_records(journal, block),
                true => appended_records(journal, block)?.into_iter().map(|record| (record, false)).collect(),
            };
            let entries = records.into_iter();
            portion.extend(
                entries.filter_map(|(record, is_own)| Some((resume::entry_of(run, record, Noted::Nothing)?, is_own))),
            );
            if portion.len() >= PORTION {
                gather_portion(run, writer, &mut portion)?;
            }
        }
        gather_portion(run, writer, &mut portion)?;
    }
}

/// Empties the rows that contain values of files which are not indexed any more. Returns the hashes of their groups.
fn empty_displaced(run: &Run<'_>, journal: &Journal, writer: &mut Writer) -> Result<HashSet<u64>> {
    let series = fold_again::take_displaced(writer);
    let groups = fold_again::displaced_groups(writer).or_else(|failure| run.index_failed(failure))?;
    if series.is_empty() && groups.is_empty() {
        return Ok(HashSet::new());
    }
    let topics: HashSet<u64> = series.iter().map(|key| Topic::Series.hash(key)).collect();
    let mut entries = Vec::new();
    for block in gathered::appended_blocks_of(journal, &topics).map_err(super::journal_failed)? {
        entries.extend(appended_records(journal, block)?);
        note_displaced(run, writer, &mut entries, PORTION)?;
    }
    for topic in &topics {
        for block in gathered::blocks_of(journal, *topic).map_err(super::journal_failed)? {
            entries.extend(gathered::current_records(journal, block).into_iter().map(|(record, _)| record));
            note_displaced(run, writer, &mut entries, PORTION)?;
        }
    }
    note_displaced(run, writer, &mut entries, 0)?;
    fold_again::empty_displaced(writer).or_else(|failure| run.index_failed(failure))?;
    let groups = fold_again::displaced_groups(writer).or_else(|failure| run.index_failed(failure))?;
    Ok(groups.iter().map(|(level, key)| Topic::of_level(*level).hash(key)).collect())
}

fn appended_records(journal: &Journal, block: u64) -> Result<Vec<Record>> {
    let mut records = gathered::appended_records(journal, block).map_err(super::journal_failed)?;
    for record in &mut records {
        let (path, state) = match &mut record.content {
            Some(content) => (&content.target, &mut content.state),
            None => (&record.path, &mut record.state),
        };
        // The time of a file that was written a moment ago is not recorded, so that the next run reads the file again.
        if !state.is_known() {
            *state = FileState::at(path.as_ref()).unwrap_or(*state);
        }
    }
    Ok(records)
}

/// Notes the rows that records name whose files have lost their place, once there are more records than `waiting`.
fn note_displaced(run: &Run<'_>, writer: &mut Writer, records: &mut Vec<Record>, waiting: usize) -> Result<()> {
    if records.len() <= waiting {
        return Ok(());
    }
    let entries: Vec<Entry> =
        records.drain(..).filter_map(|record| resume::entry_of(run, record, Noted::Nothing)).collect();
    fold_again::note_displaced(writer, &entries).or_else(|failure| run.index_failed(failure))
}

fn gather_portion(run: &Run<'_>, writer: &mut Writer, portion: &mut Vec<(Entry, bool)>) -> Result<()> {
    let (entries, are_own): (Vec<Entry>, Vec<bool>) = portion.drain(..).unzip();
    if entries.is_empty() {
        return Ok(());
    }
    gather::gather(writer, &entries, &are_own).or_else(|failure| run.index_failed(failure))
}
