//! The closing stage: derives and decides everything that depends on all rows being written.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::{io, thread};

use crossbeam_channel::bounded;

use super::walk::count;
use super::{Run, defect, unrecorded};
use crate::dicom::Level;
use crate::error::Result;
use crate::index::Failure;
use crate::index::companion_changes::{Companions, Parents};
use crate::index::dry_run::Changed;
use crate::journal::Journal;
use crate::merge::closing_part::Part;
use crate::merge::finding::Finding;
use crate::merge::settlement::Settlement;
use crate::merge::writer::Writer;
use crate::merge::{close, settle_again, settle_run, withdraw};

/// The maximum number of passes over the rows. A network that cuts every connection would otherwise
/// keep the run from ending; the next run settles the rows that are still unfinished.
const PASSES: u32 = 3;

/// The totals of the closing stage.
#[derive(Default)]
pub struct Closed {
    pub parents: Parents,
    pub updated: Parents,
    pub companions: Companions,
    pub changes: Vec<(String, Changed)>,
    /// Rows of other programs that look unfinished, and stay so.
    pub unfinished: Parents,
}

/// Runs the closing stage: decides which rows are left to settle; then each writer settles a part
/// of them on its own connection, parents first. A run that another run will continue only counts
/// its rows.
pub(super) fn close(
    run: &Run<'_>,
    mut writers: Vec<Writer>,
    in_full: bool,
    journal: Option<&Journal>,
) -> (Closed, Result<()>) {
    let mut closed = Closed::default();
    let result = match writers.first_mut().map(|writer| settle_run::settle(writer, in_full)) {
        Some(Ok(mut settlement)) => {
            closed.unfinished = settlement.unfinished;
            record_given(&settlement, journal).and_then(|()| settle(run, &mut writers, &mut settlement, journal))
        }
        Some(Err(failure)) => run.index_failed(failure),
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
fn record_given(settlement: &Settlement, journal: Option<&Journal>) -> Result<()> {
    settlement.for_each_given(|ids| journal.map_or(Ok(()), |journal| journal.gives(ids)).map_err(unrecorded))
}

fn settle(run: &Run<'_>, writers: &mut [Writer], settlement: &mut Settlement, journal: Option<&Journal>) -> Result<()> {
    let mut refused = take_refused(writers);
    // A server that was unreachable may have lost commits of this step. Settling again does not
    // change rows that are already settled.
    for pass in 1..=PASSES {
        let connected = reconnections(writers);
        settle_levels(run, writers, settlement, journal)?;
        if let (true, Some(writer)) = (settlement.in_full, writers.first_mut()) {
            withdraw::withdraw(writer, settlement).or_else(|failure| run.index_failed(failure))?;
        }
        let refused_now = take_refused(writers);
        if reconnections(writers) == connected || pass == PASSES || run.plan.sources.stop.is_set() {
            refused.extend(refused_now);
            break;
        }
    }
    settlement.for_each_finding(|finding| list_finding(run, finding))?;
    refused.iter().for_each(|finding| list_finding(run, finding));
    Ok(())
}

fn list_finding(run: &Run<'_>, finding: &Finding) {
    let (what, counter) = match finding.is_note {
        true => ("note", &run.intake.account.disagreements),
        false => ("conflict", &run.intake.account.conflicts),
    };
    count(counter);
    run.plan.sources.listing.add_row(what, &finding.uid, finding.reason.code(), &finding.detail);
}

fn settle_levels(
    run: &Run<'_>,
    writers: &mut [Writer],
    settlement: &mut Settlement,
    journal: Option<&Journal>,
) -> Result<()> {
    if !settlement.in_full {
        // A run that is to be continued leaves its rows unfinished.
        return Ok(());
    }
    run.intake.watch.closing(settlement.len());
    // Derived columns mark finished rows. The derived columns of a study are written last, so that
    // its patient is finished before: they depend on the series of the study, and the link of a
    // study is settled before its former patient is withdrawn.
    withdraw_ghosts(run, writers, settlement, Level::Series)?;
    settle_rows(run, writers, settlement, settlement.series()?)?;
    withdraw_ghosts(run, writers, settlement, Level::Study)?;
    settle_rows(run, writers, settlement, settlement.existing_patients()?)?;
    settle_shared(run, writers, settlement, journal)?;
    settle_rows(run, writers, settlement, settlement.new_patients()?)?;
    settle_rows(run, writers, settlement, settlement.studies()?)?;
    withdraw_ghosts(run, writers, settlement, Level::Patient)
}

fn withdraw_ghosts(run: &Run<'_>, writers: &mut [Writer], settlement: &Settlement, level: Level) -> Result<()> {
    let Some(writer) = writers.first_mut() else { return Ok(()) };
    withdraw::withdraw_ghosts(writer, settlement, level).or_else(|failure| run.index_failed(failure))
}

/// Repeats the decision about patients whose rows a PACS has begun to use.
fn settle_shared(
    run: &Run<'_>,
    writers: &mut [Writer],
    settlement: &mut Settlement,
    journal: Option<&Journal>,
) -> Result<()> {
    let Some(writer) = writers.first_mut() else { return Ok(()) };
    let is_shared = settle_again::settle_shared(writer, settlement).or_else(|failure| run.index_failed(failure))?;
    if is_shared { record_given(settlement, journal) } else { Ok(()) }
}

/// Writes the final values of rows. Each writer takes the next part as soon as it has written one.
fn settle_rows(
    run: &Run<'_>,
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
            // The closing stage waits for replicas too, unless the run is interrupted.
            run.gate.pass(run.plan.sources.stop);
            if let Err(failure) = close::close(writer, settlement, &part) {
                has_failed.store(true, Relaxed);
                written = Err(failure);
            }
            run.intake.watch.closed(part.len() as u64);
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
                    sent = Err(Failure::of_temporary_file(error));
                    break;
                }
            }
        }
        drop(send);
        let mut stages = stages.into_iter();
        let closed = |stage: thread::ScopedJoinHandle<_>| stage.join().map_err(|_| defect("closing"));
        let written = stages.try_for_each(|stage| closed(stage)?.or_else(|failure| run.index_failed(failure)));
        written.and(sent.or_else(|failure| run.index_failed(failure)))
    })
}

/// Takes the changes that the database has rejected since the last call.
fn take_refused(writers: &mut [Writer]) -> Vec<Finding> {
    writers.iter_mut().flat_map(|writer| std::mem::take(&mut writer.refused)).collect()
}

/// Returns the number of connections that replaced lost ones.
fn reconnections(writers: &[Writer]) -> u64 {
    writers.iter().map(|writer| writer.reconnections).sum()
}
