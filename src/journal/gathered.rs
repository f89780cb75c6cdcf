//! The records of the files that belong to a patient, a study or a series.

use std::collections::{BTreeSet, HashSet};
use std::io;

use super::log::Kind;
use super::record::Record;
use super::{Cursors, Journal, frames};

/// Returns the offsets of the blocks of records that belong to a group, as far as earlier runs have
/// written them.
pub fn blocks_of(journal: &Journal, topic: u64) -> io::Result<Vec<u64>> {
    journal.ledger.blocks_of(topic)
}

/// A record of a file that belongs to a group.
pub struct GroupRecord {
    /// The position of the record in its block.
    pub member: usize,
    pub record: Record,
    /// Whether an earlier run inserted the row of the instance for the file.
    pub has_own_row: bool,
}

/// Returns the records in a block that are the latest of their files. A damaged block has none: its
/// files are read again.
pub fn current_records(journal: &Journal, block: u64) -> Vec<GroupRecord> {
    let mut cursors = Cursors::default();
    let records = frames::block(&journal.log, block).unwrap_or_default();
    let current = records.into_iter().enumerate().filter_map(|(member, record)| {
        let state = journal.state(record.path.as_ref(), &mut cursors)?;
        let is_last = (state.at, usize::from(state.member)) == (block, member);
        let is_current = is_last && record.instance().is_some() && !journal.is_written_again(&record.path);
        is_current.then_some(GroupRecord { member, record, has_own_row: state.has_own_row() })
    });
    current.collect()
}

/// Returns the offsets of the blocks of records that this run has appended and that belong to any
/// of these groups. `topics` are the hashes of the groups.
pub fn appended_blocks_of(journal: &Journal, topics: &HashSet<u64>) -> io::Result<BTreeSet<u64>> {
    let mut blocks = BTreeSet::new();
    for frame in journal.ledger.appended(&journal.log)?.iter().filter(|frame| frame.kind == Kind::Groups) {
        let groups = frames::groups(&journal.log, frame)?;
        blocks.extend(groups.into_iter().filter(|(topic, _)| topics.contains(topic)).map(|(_, block)| block));
    }
    Ok(blocks)
}

/// Returns the records of instances in a block that this run has appended.
pub fn appended_records(journal: &Journal, block: u64) -> io::Result<Vec<GroupRecord>> {
    let records = frames::block(&journal.log, block)?.into_iter().enumerate();
    let instances = records.filter(|(_, record)| record.instance().is_some());
    Ok(instances.map(|(member, record)| GroupRecord { member, record, has_own_row: false }).collect())
}
