//! The work of an import: files are read, chosen, looked up and copied in portions. A second thread
//! completes the copies while others are written.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, bounded};
use xxhash_rust::xxh3::xxh3_64;

use super::candidate::{self, Candidate, Damage, Met};
use super::copy::Batch;
use super::place::Place;
use super::{Importer, poisoned};
use crate::archive::skip::Rule;
use crate::archive::{FoundFile, Locator, Roots};
use crate::dicom::{Completeness, HeaderReader};
use crate::error::{Error, Result};
use crate::pipeline::{Bring, Reception};

/// Number of files that are looked up together, and whose copies are synced together.
const PORTION: usize = 32;

/// Maximum number of portions whose copies are open and wait to be completed.
const BATCHES_WAITING: usize = 1;

/// A file that is copied after all others. Complete files come first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct DeferredFile {
    is_damaged: bool,
    path: PathBuf,
}

#[derive(Default)]
struct Desk {
    reader: HeaderReader,
    buffer: Vec<u8>,
}

impl Importer<'_> {
    /// Returns the chosen files to copy now. Damaged files, and further files of an instance, are
    /// deferred. If the import makes no copies, the chosen files are indexed in place.
    fn chosen(
        &self,
        desk: &mut Desk,
        files: Vec<FoundFile>,
        is_rest: bool,
        reception: &Reception<'_>,
    ) -> Vec<(Candidate, Option<Damage>)> {
        let mut chosen = Vec::new();
        for file in files {
            match candidate::look(&self.plan.sources.locator, &mut desk.reader, &file) {
                Ok(Met::Instance(candidate)) if !self.plan.sources.selection.takes(&candidate.instance) => {
                    reception.skip(Rule::NotSelected);
                }
                Ok(Met::Instance(candidate)) => {
                    self.taken.fetch_add(1, Relaxed);
                    let damage = candidate::damage(&mut desk.reader, &candidate);
                    let completeness = candidate.instance.completeness(candidate.open.state.size);
                    let is_damaged = damage.is_some() || completeness == Completeness::Incomplete;
                    let uid = xxh3_64(candidate.instance.sop_instance_uid().as_bytes());
                    // Another file of the instance may be complete, so a damaged file waits until
                    // all others are processed.
                    let is_next = || is_rest || !is_damaged && poisoned(&self.claimed).insert(uid);
                    if self.to.is_none() {
                        self.report_damage(damage, &candidate, reception);
                        drop(candidate);
                        reception.pass_on(vec![file]);
                    } else if is_next() {
                        candidate.through.iter().for_each(|stub| reception.read_through(stub));
                        chosen.push((*candidate, damage));
                    } else {
                        reception.puts_off();
                        poisoned(&self.later).push(DeferredFile { is_damaged, path: file.into_path() });
                    }
                }
                Ok(Met::Stub(stub)) => reception.leave(&file, &stub),
                Ok(Met::Elsewhere(stub)) => reception.meets_elsewhere(&stub),
                Ok(Met::Skipped(rule)) => {
                    reception.skip(rule);
                    if rule == Rule::Dicomdir && self.plan.sources.selection.is_all() {
                        poisoned(&self.dicomdirs).push(file.into_path());
                    }
                }
                Err(rejection) => reception.reject(file.path(), &rejection),
            }
        }
        chosen
    }

    /// Reports a damaged file, which is imported unchanged: a better file may exist elsewhere.
    fn report_damage(&self, damage: Option<Damage>, candidate: &Candidate, reception: &Reception<'_>) {
        if let Some(Damage { check, detail }) = damage {
            self.damaged.fetch_add(1, Relaxed);
            reception.report_damage(&candidate.origin.path, check, &detail);
        }
    }

    /// Copies the chosen files of a portion into the archive, and passes each batch to `end` for
    /// completion.
    fn portion<'b>(
        &'b self,
        desk: &mut Desk,
        files: Vec<FoundFile>,
        is_rest: bool,
        reception: &'b Reception<'b>,
        mut end: impl FnMut(Batch<'b>),
    ) -> Result<()> {
        let chosen = self.chosen(desk, files, is_rest, reception);
        let Some(to) = &self.to else { return Ok(()) };
        let uids: Vec<&str> = chosen.iter().map(|(candidate, _)| candidate.instance.sop_instance_uid()).collect();
        let rows = self.rows.paths(&uids).inspect_err(|_| reception.not_reached(chosen.len()))?;
        let mut batch = Batch::new(self, to, reception);
        let mut failure = None;
        for (candidate, damage) in chosen {
            let Some(rows) = rows.as_ref().filter(|_| failure.is_none() && reception.goes_on()) else {
                reception.not_reached(1);
                continue;
            };
            let uid = xxh3_64(candidate.instance.sop_instance_uid().as_bytes());
            let row = rows.get(candidate.instance.sop_instance_uid()).cloned();
            // The row of a file that was just copied may not be written yet.
            let row = row.or_else(|| poisoned(&self.deferred_copies).get(&uid).cloned());
            match self.place(to, &candidate, row.as_deref()) {
                Ok(Place::Free(target)) => {
                    self.report_damage(damage, &candidate, reception);
                    let path = self.plan.path_map.to_index(&target).ok().filter(|_| is_rest);
                    failure = batch.copy(candidate, target, &mut desk.buffer).err();
                    poisoned(&self.deferred_copies).extend(path.filter(|_| failure.is_none()).map(|path| (uid, path)));
                }
                Ok(Place::Taken(at, state)) => batch.has(&candidate.origin, at, state, row.is_some() && is_rest),
                Ok(Place::No { reason, detail }) => {
                    self.in_conflict.fetch_add(1, Relaxed);
                    reception.conflicts(&candidate.origin.path, reason, &detail);
                }
                Ok(Place::Refused { code, detail }) => reception.refuse(&candidate.origin.path, code, detail),
                Err(why) => {
                    reception.refuse(&candidate.origin.path, "unsafe-name", format!("it cannot be filed: {why}"));
                }
            }
            if batch.is_full() {
                end(std::mem::replace(&mut batch, Batch::new(self, to, reception)));
            }
        }
        // The copies that were already written are completed even after a failure.
        end(batch);
        failure.map_or(Ok(()), |failed| Err(failed.told(&to.filing.archive)))
    }

    /// Completes all batches, even if one fails, so that every verified copy is put in its place.
    fn end_batches(&self, batches: Receiver<Batch<'_>>) -> Result<()> {
        let mut buffer = Vec::new();
        batches.into_iter().map(|batch| self.end_batch(batch, &mut buffer)).fold(Ok(()), Result::and)
    }

    fn end_batch(&self, batch: Batch<'_>, buffer: &mut Vec<u8>) -> Result<()> {
        let archive = self.to.as_ref().map_or(Path::new(""), |to| &to.filing.archive);
        let reception = batch.reception;
        batch.end(buffer).map_err(|failed| {
            reception.fails();
            failed.told(archive)
        })
    }
}

impl Bring for Importer<'_> {
    fn sources(&self) -> &Roots {
        &self.plan.sources.roots
    }

    fn locator(&self) -> &Locator {
        &self.plan.sources.locator
    }

    fn makes_copies(&self) -> bool {
        self.to.is_some()
    }

    fn threads(&self) -> usize {
        self.plan.copies_at_a_time
    }

    /// Copies files while a second thread syncs and verifies the previous copies.
    fn bring(&self, found: &Receiver<Vec<FoundFile>>, reception: &Reception<'_>) -> Result<()> {
        std::thread::scope(|scope| {
            let (copied, to_end) = bounded(BATCHES_WAITING);
            let ending = scope.spawn(move || self.end_batches(to_end));
            let mut desk = Desk::default();
            let mut brought = Ok(());
            while brought.is_ok()
                && let Ok(mut files) = found.recv()
            {
                while files.len() < PORTION
                    && let Ok(more) = found.try_recv()
                {
                    files.extend(more);
                }
                match reception.goes_on() {
                    // The second thread completes every batch that it receives.
                    true => {
                        brought = self.portion(&mut desk, files, false, reception, |batch| drop(copied.send(batch)))
                    }
                    false => reception.not_reached(files.len()),
                }
            }
            drop(copied);
            let ended = ending.join().unwrap_or_else(|_| Err(defect()));
            brought.and(ended)
        })
    }

    /// Copies the deferred files: damaged files, and further files of instances that were chosen
    /// before.
    fn bring_rest(&self, reception: &Reception<'_>) -> Result<()> {
        let (mut desk, mut buffer) = (Desk::default(), Vec::new());
        let mut later = std::mem::take(&mut *poisoned(&self.later));
        later.sort();
        for DeferredFile { path, .. } in later {
            if !reception.goes_on() {
                break;
            }
            reception.takes_up();
            let mut ended = Ok(());
            let end = |batch: Batch<'_>| ended = self.end_batch(batch, &mut buffer);
            self.portion(&mut desk, vec![FoundFile::named(path)], true, reception, end)?;
            ended?;
        }
        Ok(())
    }
}

fn defect() -> Error {
    Error::unfinished(
        "the import failed, which is a defect of this program",
        "Please report it. Run the same command again: it goes on from there.",
    )
}
