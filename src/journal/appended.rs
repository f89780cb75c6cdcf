//! What this run has appended to the log. The tables cover the log up to the beginning of the run.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use super::Journal;
use super::batch;
use super::log::{Frame, HEAD, Kind};
use super::places::{Place, Places};
use super::record::Record;

impl Journal {
    /// The place of the log from which on the tables do not cover it.
    fn covered(&self) -> u64 {
        self.places.as_ref().map_or(HEAD, Places::covered)
    }

    fn appended(&self) -> io::Result<Vec<Frame>> {
        self.log.frames(self.covered())
    }

    /// The blocks of records that this run has appended and that belong to one of these groups, by the hashes of the groups.
    pub fn appended_blocks_of(&self, topics: &HashSet<u64>) -> io::Result<BTreeSet<u64>> {
        let mut blocks = BTreeSet::new();
        for frame in self.appended()?.iter().filter(|frame| frame.kind == Kind::Groups) {
            let groups = batch::groups(&self.log, frame)?;
            blocks.extend(groups.into_iter().filter(|(topic, _)| topics.contains(topic)).map(|(_, block)| block));
        }
        Ok(blocks)
    }

    /// The records of instances in a block that this run has appended.
    pub fn appended_records(&self, block: u64) -> io::Result<Vec<Record>> {
        let mut records = batch::block(&self.log, block)?;
        records.retain(|record| record.instance().is_some());
        Ok(records)
    }

    /// The places where the log has the values that this run has written to these rows of the ledger, by the hashes of the rows.
    pub(super) fn find_appended_rows(&self, rows: &HashSet<u64>) -> io::Result<HashMap<u64, Vec<Place>>> {
        let mut places: HashMap<u64, Vec<Place>> = HashMap::new();
        for (frame, is_committed) in self.commits_of(&self.appended()?) {
            if frame.kind == Kind::Rows {
                for row in self.row_hashes_at(frame.at)?.into_iter().filter(|row| rows.contains(row)) {
                    places.entry(row).or_default().push(Place { at: frame.at, is_committed });
                }
            }
        }
        Ok(places)
    }
}
