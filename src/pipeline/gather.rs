//! Runs before the closing step: for the rows that this run has touched and an earlier run has
//! inserted, reads the records of their other files. The final values of a row then do not depend
//! on which run has read which file.

use std::collections::{BTreeSet, HashSet};

use xxhash_rust::xxh3::xxh3_64;

use super::entries::Noted;
use super::{Run, resume};
use crate::archive::FileState;
use crate::dicom::Level;
use crate::error::Result;
use crate::index::Entry;
use crate::index::hashes::Hashes;
use crate::journal::gathered::GroupRecord;
use crate::journal::record::Record;
use crate::journal::{Journal, Topic, gathered};
use crate::merge::gather::Candidate;
use crate::merge::writer::Writer;
use crate::merge::{fold_again, gather};
use crate::sorted::{Note, Sorter};

/// The number of entries to look up at a time.
const PORTION: usize = 500;

pub(super) fn gather(run: &Run<'_>, writer: &mut Writer) -> Result<()> {
    let Some(journal) = run.journal() else { return Ok(()) };
    let mut gathered = Hashes::new(&journal.directory);
    // The hashes of the records that were gathered, and of the blocks whose records all were.
    let mut taken = Hashes::new(&journal.directory);
    let displaced = empty_displaced(run, journal, writer)?;
    let mut is_first = true;
    let mut appended = match displaced.is_empty() {
        true => BTreeSet::new(),
        false => gathered::appended_blocks_of(journal, &displaced).map_err(super::journal_failed)?,
    };
    loop {
        // Hashes of groups, which are read in order: ten million studies would not fit into memory.
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
            of_new.extend(found.into_iter().filter(|block| !taken.contains(whole_block(*block))));
        }
        let mut portion = Vec::new();
        let known = of_new.into_iter().map(|block| (block, false));
        for (block, is_appended) in known.chain(std::mem::take(&mut appended).into_iter().map(|block| (block, true))) {
            if run.plan.sources.stop.is_set() {
                return Ok(());
            }
            let records = match is_appended {
                false => gathered::current_records(journal, block),
                true => appended_records(journal, block)?,
            };
            let is_new = |record: &GroupRecord| !taken.contains(place(block, record.member));
            portion.extend(records.into_iter().filter(is_new).filter_map(|record| {
                let candidate = Candidate {
                    entry: resume::entry_of(run, record.record, Noted::Nothing)?,
                    has_own_row: record.has_own_row,
                };
                Some(((block, record.member), candidate))
            }));
            if portion.len() >= PORTION {
                gather_portion(run, writer, &mut portion, &gathered, &mut taken)?;
            }
        }
        gather_portion(run, writer, &mut portion, &gathered, &mut taken)?;
    }
}

/// Returns the hash that identifies a record: its block, and its position in the block.
fn place(block: u64, member: usize) -> u64 {
    xxh3_64(&[block.to_le_bytes(), (member as u64).to_le_bytes()].concat())
}

fn whole_block(block: u64) -> u64 {
    place(block, usize::MAX)
}

/// Empties the rows that contain values of files that are not indexed any more. Returns the hashes
/// of their groups.
fn empty_displaced(run: &Run<'_>, journal: &Journal, writer: &mut Writer) -> Result<HashSet<u64>> {
    let series = fold_again::take_displaced(writer);
    let groups = fold_again::displaced_groups(writer).or_else(|failure| run.index_failed(failure))?;
    if series.is_empty() && groups.is_empty() {
        return Ok(HashSet::new());
    }
    let topics: HashSet<u64> = series.iter().map(|key| Topic::Series.hash(key)).collect();
    let mut entries = Vec::new();
    for block in gathered::appended_blocks_of(journal, &topics).map_err(super::journal_failed)? {
        entries.extend(appended_records(journal, block)?.into_iter().map(|record| record.record));
        note_displaced(run, writer, &mut entries, PORTION)?;
    }
    for topic in &topics {
        for block in gathered::blocks_of(journal, *topic).map_err(super::journal_failed)? {
            entries.extend(gathered::current_records(journal, block).into_iter().map(|record| record.record));
            note_displaced(run, writer, &mut entries, PORTION)?;
        }
    }
    note_displaced(run, writer, &mut entries, 0)?;
    fold_again::empty_displaced(writer).or_else(|failure| run.index_failed(failure))?;
    let groups = fold_again::displaced_groups(writer).or_else(|failure| run.index_failed(failure))?;
    Ok(groups.iter().map(|(level, key)| Topic::of_level(*level).hash(key)).collect())
}

fn appended_records(journal: &Journal, block: u64) -> Result<Vec<GroupRecord>> {
    let mut records = gathered::appended_records(journal, block).map_err(super::journal_failed)?;
    for GroupRecord { record, .. } in &mut records {
        let (path, state) = match &mut record.content {
            Some(content) => (&content.target, &mut content.state),
            None => (&record.path, &mut record.state),
        };
        // The mtime of a file that was written a moment ago is not recorded, so that the next run
        // reads the file again.
        if !state.is_known() {
            *state = FileState::at(path.as_ref()).unwrap_or(*state);
        }
    }
    Ok(records)
}

/// Marks the rows that the files of these records name, if other files of their instances are
/// indexed. Does nothing until there are more than `waiting` records.
fn note_displaced(run: &Run<'_>, writer: &mut Writer, records: &mut Vec<Record>, waiting: usize) -> Result<()> {
    if records.len() <= waiting {
        return Ok(());
    }
    let entries: Vec<Entry> =
        records.drain(..).filter_map(|record| resume::entry_of(run, record, Noted::Nothing)).collect();
    fold_again::note_displaced(writer, &entries).or_else(|failure| run.index_failed(failure))
}

/// Gathers the values of candidates. Each candidate comes with its block and its position in the
/// block. All candidates of a block are in one portion.
fn gather_portion(
    run: &Run<'_>,
    writer: &mut Writer,
    portion: &mut Vec<((u64, usize), Candidate)>,
    gathered: &Hashes,
    taken: &mut Hashes,
) -> Result<()> {
    let (places, candidates): (Vec<(u64, usize)>, Vec<Candidate>) = portion.drain(..).unzip();
    if candidates.is_empty() {
        return Ok(());
    }
    let is_group = |level: Level, key: &str| gathered.contains(Topic::of_level(level).hash(key));
    let are_members = gather::gather(writer, candidates, &is_group).or_else(|failure| run.index_failed(failure))?;
    for block in places.iter().zip(&are_members).collect::<Vec<_>>().chunk_by(|((a, _), _), ((b, _), _)| a == b) {
        let members = block.iter().filter(|(_, is_member)| **is_member);
        members.for_each(|((block, member), _)| taken.insert(place(*block, *member)));
        if block.iter().all(|(_, is_member)| **is_member) {
            taken.insert(whole_block(block[0].0.0));
        }
    }
    Ok(())
}
