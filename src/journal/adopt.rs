//! The merge of slices, as the catalogue of the database records it.
//!
//! Each slice has a journal of its own. Before the merge changes anything, the rows and the records of the slices are added to
//! the catalogue, so that later runs recognize the rows. Until the merge has ended, they belong to a run that has not settled its
//! rows: if the merge is killed, the next run over all files writes these files again, from their records.

use std::io;

use super::log::{Frame, HEAD, Kind};
use super::record::{Record, encode};
use super::states::State;
use super::{Begun, Cursors, Journal, RunKind, states};
use crate::index::recorder::Recorder;

impl Journal {
    /// Begins a merge, and adds the rows and records of the slices that the catalogue lacks.
    pub fn begin_merge(&mut self, slices: &[Journal], now: &Begun) -> io::Result<()> {
        self.begin(Begun { kind: RunKind::Named, ..now.clone() });
        self.update()?;
        // Each transaction of a slice becomes that of a writer whose number no writer of this run has.
        let mut writers = (0..u32::MAX).rev();
        for slice in slices {
            let frames = slice.log.frames(HEAD)?;
            self.add_rows_of(slice, &frames, &mut writers)?;
            let is_new = |state: &State, record: &Record| !self.has_state(state, record);
            slice.copy_files(&frames, &self.log, |state, record| is_new(&state, record).then_some(state))?;
        }
        self.sync().map_err(io::Error::other)?;
        self.add_to_states()?;
        self.add_to_places()
    }

    /// Records that the rows of the slices are settled, and by which settings.
    pub fn end_merge(&self, now: &Begun) -> Result<(), String> {
        self.log.append(Kind::Begun, &encode(now));
        self.close()
    }

    fn add_rows_of(
        &self,
        slice: &Journal,
        frames: &[Frame],
        writers: &mut impl Iterator<Item = u32>,
    ) -> io::Result<()> {
        for (frame, is_committed) in slice.commits_of(frames) {
            // A frame that is damaged is of rows that count as foreign.
            let (Kind::Rows, Ok(mut tables)) = (frame.kind, slice.rows_at(frame.at)) else { continue };
            for rows in &mut tables {
                let mut new = Vec::new();
                for row in std::mem::take(&mut rows.rows) {
                    if !self.has_version(&rows.table, &rows.columns, &row, is_committed)? {
                        new.push(row);
                    }
                }
                rows.rows = new;
            }
            tables.retain(|rows| !rows.rows.is_empty());
            if let (false, Some(writer)) = (tables.is_empty(), writers.next()) {
                self.append_rows(writer, 0, &tables);
                if is_committed {
                    self.record_commit(writer);
                }
            }
        }
        Ok(())
    }

    /// Whether the catalogue has this state of a file, or a merge that was killed has pointed a row to the file since.
    fn has_state(&self, state: &State, record: &Record) -> bool {
        let known = self.state(record.path.as_ref(), &mut Cursors::default());
        known.is_some_and(|known| {
            let same = State { at: known.at, member: known.member, key: states::key(record.path.as_ref()), ..*state };
            known == same || known.is_own && known.file == state.file
        })
    }
}
