//! The closing stage: what can only be derived or decided when all has been written.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crossbeam_channel::bounded;

use super::walk::count;
use super::{Run, defect, unrecorded};
use crate::dicom::Level;
use crate::error::Result;
use crate::index::Failure;
use crate::index::batch::{Parents, Writer};
use crate::index::closing_part::Part;
use crate::index::companion_rows::Companions;
use crate::index::dry_run::Changed;
use crate::index::known::unreadable;
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
                self.record_given(&settlement, journal)
                    .and_then(|()| self.settle(&mut writers, &mut settlement, journal))
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

    /// Records the IDs of patients that are about to be inserted.
    fn record_given(&self, settlement: &Settlement, journal: Option<&Journal>) -> Result<()> {
        settlement.for_each_given(|ids| journal.map_or(Ok(()), |journal| journal.gives(ids)).map_err(unrecorded))
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
        settlement.for_each_finding(|finding| self.list_finding(finding))?;
        refused.iter().for_each(|finding| self.list_finding(finding));
        Ok(())
    }

    fn list_finding(&self, finding: &Finding) {
        let (what, counter) = match finding.is_note {
            true => ("note", &self.account.disagreements),
            false => ("conflict", &self.account.conflicts),
        };
        count(counter);
        self.plan.listing.add_row(what, &finding.uid, finding.reason.code(), &finding.detail);
    }

    fn settle_levels(
        &self,
        writers: &mut [Writer],
        settlement: &mut Settlement,
        journal: Option<&Journal>,
    ) -> Result<()> {
        if !settlement.in_full {
            // A run that is to be continued, and a slice, leave their rows unfinished.
            return Ok(());
        }
        self.watch.closing(settlement.len());
        // Derived columns mark finished rows. Those of a study come last, so that its patient is finished before: they depend on its
        // series, and the link of a study is settled before its former patient is withdrawn.
        self.withdraw_ghosts(writers, settlement, Level::Series)?;
        self.settle_rows(writers, settlement, settlement.series()?)?;
        self.withdraw_ghosts(writers, settlement, Level::Study)?;
        self.settle_rows(writers, settlement, settlement.existing_patients()?)?;
        self.settle_shared(writers, settlement, journal)?;
        self.settle_rows(writers, settlement, settlement.new_patients()?)?;
        self.settle_rows(writers, settlement, settlement.studies()?)?;
        self.withdraw_ghosts(writers, settlement, Level::Patient)
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
        if is_shared { self.record_given(settlement, journal) } else { Ok(()) }
    }

    /// Writes the final values of rows. Each writer takes the next part as soon as it has written one.
    fn settle_rows(
        &self,
        writers: &mut [Writer],
        settlement: &Settlement,
        parts: impl Iterator<Item = io::Result<Part>>,
    ) -> Result<()> {
        let (send, parts_to_write) = bounded::<Part>(writers.len());
        // Once a writer has failed, the rest is left for the next run.
        let has_failed = AtomicBool::new(false);
        let close = |writer: &mut Writer| -> Result<(), Failure> {
            let mut written = Ok(());
            for part in &parts_to_write {
                if has_failed.load(Relaxed) {
                    continue;
                }
                // Closing waits for replicas too, but for a run that was told to end.
                self.gate.pass(self.plan.stop);
                if let Err(failure) = writer.close(settlement, &part) {
                    has_failed.store(true, Relaxed);
                    written = Err(failure);
                }
                self.watch.closed(part.len() as u64);
            }
            written
        };
        let close = &close;
        thread::scope(|scope| {
            let stages: Vec<_> = writers.iter_mut().map(|writer| scope.spawn(move || close(writer))).collect();
            let mut sent = Ok(());
            for part in parts {
                match part {
                    Ok(part) => drop(send.send(part)),
                    Err(error) => {
                        sent = Err(unreadable(error));
                        break;
                    }
                }
            }
            drop(send);
            let mut stages = stages.into_iter();
            let closed = |stage: thread::ScopedJoinHandle<_>| stage.join().map_err(|_| defect("closing"));
            let written = stages.try_for_each(|stage| closed(stage)?.or_else(|failure| self.index_failed(failure)));
            written.and(sent.or_else(|failure| self.index_failed(failure)))
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
