//! The closing stage: what can only be derived or decided when all has been written.

use std::ops::Range;
use std::thread;

use super::walk::count;
use super::{Run, defect, unrecorded};
use crate::dicom::Level;
use crate::error::Result;
use crate::index::batch::{Parents, Writer};
use crate::index::companion_rows::Companions;
use crate::index::dry_run::Changed;
use crate::index::settlement::{Finding, Settlement};
use crate::journal::Journal;

/// The maximum number of times that rows are settled. A network that cuts each connection would never let a run end; the next
/// run settles rows that are unfinished all the same.
const PASSES: u32 = 3;

/// What the closing stage has summed up.
#[derive(Default)]
pub struct Closed {
    pub parents: Parents,
    pub updated: Parents,
    pub companions: Companions,
    pub changes: Vec<(String, Changed)>,
    /// Rows of others that look unfinished, and stay so.
    pub unfinished: Parents,
}

impl Run<'_> {
    /// The closing stage: first it is decided what is left to do, then each writer does a part of it on its own
    /// connection, parents first. A run that another will continue only counts what is there.
    pub(super) fn close(
        &self,
        mut writers: Vec<Writer>,
        in_full: bool,
        journal: Option<&Journal>,
    ) -> (Closed, Result<()>) {
        let mut closed = Closed::default();
        let result = match writers.first_mut().map(|writer| writer.settle(in_full)) {
            Some(Ok(mut settlement)) => {
                closed.unfinished = settlement.unfinished;
                let given = settlement.given();
                let recorded = journal.map_or(Ok(()), |journal| journal.gives(&given)).map_err(unrecorded);
                recorded.and_then(|()| self.settle(&mut writers, &mut settlement, journal))
            }
            Some(Err(failure)) => self.index_failed(failure),
            None => Ok(()),
        };
        for writer in writers {
            closed.parents = closed.parents + writer.inserted;
            closed.updated = closed.updated + writer.updated;
            closed.companions = closed.companions + writer.companions;
            closed.changes.extend(writer.end());
        }
        (closed, result)
    }

    fn settle(&self, writers: &mut [Writer], settlement: &mut Settlement, journal: Option<&Journal>) -> Result<()> {
        let mut refused = take_refused(writers);
        // A server that was away may have lost what it had committed of this step. Settling again changes nothing that is
        // settled already.
        for pass in 1..=PASSES {
            let connected = reconnections(writers);
            self.settle_levels(writers, settlement, journal)?;
            if let (true, Some(writer)) = (settlement.in_full, writers.first_mut()) {
                writer.withdraw(settlement).or_else(|failure| self.index_failed(failure))?;
            }
            let refused_now = take_refused(writers);
            if reconnections(writers) == connected || pass == PASSES || self.plan.stop.is_set() {
                refused.extend(refused_now);
                break;
            }
        }
        for finding in settlement.findings.iter().cloned().chain(refused) {
            let (what, counter) = match finding.is_note {
                true => ("note", &self.account.disagreements),
                false => ("conflict", &self.account.conflicts),
            };
            count(counter);
            self.plan.listing.add_row(what, &finding.uid, finding.reason, &finding.detail);
        }
        Ok(())
    }

    fn settle_levels(
        &self,
        writers: &mut [Writer],
        settlement: &mut Settlement,
        journal: Option<&Journal>,
    ) -> Result<()> {
        // Derived columns mark finished rows. Those of a study come last, so that its patient is finished before. A run that is
        // to be continued, and a slice, leave their rows unfinished.
        let levels = if settlement.in_full { &[Level::Series, Level::Patient, Level::Study][..] } else { &[] };
        self.watch.closing(levels.iter().map(|level| settlement.count(*level) as u64).sum());
        for level in levels.iter().copied() {
            // The derived columns of a study depend on its series, and the link of a study is settled before its former patient is
            // withdrawn.
            if level != Level::Study {
                let ghosts = if level == Level::Patient { Level::Study } else { Level::Series };
                self.withdraw_ghosts(writers, settlement, ghosts)?;
            }
            if level == Level::Patient {
                self.settle_rows(writers, settlement, level, 0..settlement.existing_patients)?;
                self.settle_shared(writers, settlement, journal)?;
                self.settle_rows(writers, settlement, level, settlement.existing_patients..settlement.count(level))?;
            } else {
                self.settle_rows(writers, settlement, level, 0..settlement.count(level))?;
            }
        }
        if settlement.in_full { self.withdraw_ghosts(writers, settlement, Level::Patient) } else { Ok(()) }
    }

    fn withdraw_ghosts(&self, writers: &mut [Writer], settlement: &Settlement, level: Level) -> Result<()> {
        let Some(writer) = writers.first_mut() else { return Ok(()) };
        writer.withdraw_ghosts(settlement, level).or_else(|failure| self.index_failed(failure))
    }

    /// Decides again about patients whose rows a PACS has begun to use.
    fn settle_shared(
        &self,
        writers: &mut [Writer],
        settlement: &mut Settlement,
        journal: Option<&Journal>,
    ) -> Result<()> {
        let Some(writer) = writers.first_mut() else { return Ok(()) };
        let is_shared = writer.settle_shared(settlement).or_else(|failure| self.index_failed(failure))?;
        match journal.filter(|_| is_shared) {
            Some(journal) => journal.gives(&settlement.given()).map_err(unrecorded),
            None => Ok(()),
        }
    }

    fn settle_rows(
        &self,
        writers: &mut [Writer],
        settlement: &Settlement,
        level: Level,
        rows: Range<usize>,
    ) -> Result<()> {
        let parts = writers.len();
        let place = |n: usize| rows.start + n * rows.len() / parts;
        thread::scope(|scope| {
            // Closing waits for replicas too, but for a run that was told to end.
            let close = |(n, writer): (usize, &mut Writer)| {
                self.gate.pass(self.plan.stop);
                writer.close(settlement, level, place(n)..place(n + 1), |rows| {
                    self.watch.closed(rows);
                    self.gate.pass(self.plan.stop);
                })
            };
            let stages: Vec<_> = writers.iter_mut().enumerate().map(|part| scope.spawn(move || close(part))).collect();
            let mut stages = stages.into_iter();
            let closed = |stage: thread::ScopedJoinHandle<_>| stage.join().map_err(|_| defect("closing"));
            stages.try_for_each(|stage| closed(stage)?.or_else(|failure| self.index_failed(failure)))
        })
    }
}

/// The changes that the database has refused since this was asked last.
fn take_refused(writers: &mut [Writer]) -> Vec<Finding> {
    writers.iter_mut().flat_map(|writer| std::mem::take(&mut writer.refused)).collect()
}

/// The number of connections that were made in place of lost ones.
fn reconnections(writers: &[Writer]) -> u64 {
    writers.iter().map(|writer| writer.reconnections).sum()
}
