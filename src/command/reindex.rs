//! `pacs-index reindex`: brings the index up to date with the archive.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::ScopedJoinHandle;

use jiff::SignedDuration;

use super::consent::{self, Consent};
use super::interrupt::stop_on_interrupt;
use super::stored_paths::StoredPaths;
use super::{complain, say, shard};
use crate::archive::Naming;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::import::{Ended, Importer};
use crate::index::location::Access;
use crate::index::patience::Patience;
use crate::index::undo::Undo;
use crate::index::{RunLock, Tables};
use crate::journal::{Busy, Room, StateError};
use crate::merge::duplicates::FileChoice;
use crate::merge::known::Known;
use crate::merge::writer::{Policy, Writer};
use crate::pipeline::key_order::When;
use crate::pipeline::{self, Files, Outage, Plan, Receipt, Shards, Sources, Stop, Stored};
use crate::progress::notice::note;
use crate::report::details::YoungFiles;
use crate::report::listing::Listing;
use crate::report::summary::Summary;
use crate::settings::{Reindex, StateDirectory};
use crate::{cli, damaged, progress};

/// The default minimum age of a file, because a PACS may still be writing a file that it has just
/// received.
const SETTLE: SignedDuration = SignedDuration::from_mins(15);

pub fn run(typed: &cli::Reindex) -> Result<Exit> {
    if let Some(number) = typed.shard {
        return shard::run(typed, number);
    }
    let mut settings = Reindex::resolve(typed)?;
    let shards = settings.merged_shards.take();
    // Signals are caught only after the questions, so that an interrupt ends a question at once.
    let consent = consent::before_writing(&settings, settings.files.as_deref())?;
    let stop = Stop::default();
    stop_on_interrupt(&stop)?;
    let merged = shards.as_ref().map_or(0, Vec::len);
    let shards = shards.map(Shards::new);
    let source = shards.as_ref().map_or(FilesFrom::Archive, |shards| FilesFrom::Shards(shards, merged));
    index(&settings, consent, &stop, source)
}

/// The origin of the files of a run.
#[derive(Clone, Copy)]
pub(super) enum FilesFrom<'i> {
    /// The archive, or a list of its files.
    Archive,
    Import(Imports<'i>),
    /// Shards, and their number.
    Shards(&'i Shards, usize),
}

/// Creates the importer of an import, once the tables and the list of findings are known.
pub(super) type Imports<'i> = &'i dyn Fn(&Arc<Tables>, &Listing) -> Result<Importer<'i>>;

/// Brings the index up to date with the archive, or with imported files.
pub(super) fn index(settings: &Reindex, consent: Consent, stop: &Stop, source: FilesFrom<'_>) -> Result<Exit> {
    let (location, access) = (&settings.location, settings.access);
    let Consent { replicas, paths } = consent;
    let make_state_directory = || settings.kept_in.as_ref().map_or(Ok(()), StateDirectory::make);
    if settings.rejected_is_default {
        make_state_directory()?;
    }
    // The index is created last: nothing above creates a file that a mistake would leave behind.
    let catalogue = settings.catalogue_site()?;
    let listing = Listing::create(&settings.rejected, settings.rejected_is_default)?;
    make_state_directory()?;
    let is_interrupted = || stop.is_set();
    let journal = catalogue.as_ref().map(|catalogue| catalogue.open(settings.busy, is_interrupted)).transpose();
    let journal = match journal {
        Err(StateError::Unreadable(message)) => {
            note(settings.progress, &damaged::continues_without(&message));
            None
        }
        journal => journal?,
    };
    journal.iter().flat_map(|journal| &journal.messages).for_each(|message| note(settings.progress, message));
    if let (Some(form), Some(journal)) = (settings.progress, &journal) {
        note(Some(form), &Room::of(journal).to_string());
    }
    let tables = location.prepare(access)?;
    let is_locked = access == Access::Write;
    let waits = || settings.busy == Busy::Wait && !stop.is_set();
    let end = stop.clone();
    let lock = is_locked.then(|| RunLock::take(location, waits, move || _ = end.set())).transpose()?;
    let importer = match source {
        FilesFrom::Import(make) => Some(make(&tables, &listing)?),
        FilesFrom::Archive | FilesFrom::Shards(..) => None,
    };
    // A dry run writes no rows, and detects duplicates only in the memory of a single writer.
    let connections = if access == Access::DryRun { 1 } else { location.writers() };
    let failed = |failure| location.unreachable(failure);
    let undo =
        settings.undo.as_ref().map(|path| Undo::create(path, settings.undo_is_default).map(Arc::new)).transpose()?;
    let outage = Arc::new(Outage::new(settings.patience, stop.clone()));
    let outages = outage.clone();
    let stored = Stored::new(settings.roots.clone(), naming(settings, &paths), settings.locator.clone());
    let policy = Policy {
        mode: settings.existing,
        files: FileChoice { choice: settings.duplicates, archive: Arc::new(stored) },
        conflicts: settings.patient_conflicts,
        undo: undo.clone(),
        patience: Patience { limit: settings.patience, allow_replica: settings.allow_replica, outages },
    };
    let known = Known::new(&tables, listing.directory(), settings.existing, settings.portion);
    let connect = &|number| {
        let index = location.connect(&tables, access)?;
        Writer::new(number, index, known.clone(), policy.clone()).map_err(failed)
    };
    // The writers connect in parallel, because each of them sends about a dozen queries to the
    // server.
    let writers = std::thread::scope(|scope| {
        let connecting: Vec<_> = (0..connections as u32).map(|n| scope.spawn(move || connect(n))).collect();
        let connected = |thread: ScopedJoinHandle<'_, Result<Writer>>| thread.join().unwrap_or_else(|_| Err(defect()));
        connecting.into_iter().map(connected).collect::<Result<Vec<_>>>()
    })?;
    let settle = settings.settle.unwrap_or(if tables.is_of_a_pacs { SETTLE } else { SignedDuration::ZERO });
    let plan = Plan {
        sources: Sources {
            roots: &settings.roots,
            files: match (&importer, &settings.files, source) {
                (Some(importer), ..) => Files::Brought(importer),
                (None, Some(files), _) => Files::Named(files),
                (None, None, FilesFrom::Shards(shards, _)) => Files::Recorded(shards),
                (None, None, _) => Files::Walked,
            },
            shard: None,
            first_day: settings.since,
            locator: &settings.locator,
            receipt: Receipt::new(settings.received_from.clone(), settings.time_zone.clone()),
            settle,
            reads_all: settings.reads_all,
            walk_threads: settings.walk_threads,
            io_threads: settings.io_threads,
            count_ahead: settings.progress.is_some() && settings.files.is_none(),
            listing: &listing,
            stop,
        },
        tables: &tables,
        path_map: &settings.path_map,
        recalls: access == Access::Write,
        watch_rows: access == Access::Write && (tables.is_of_a_pacs || !settle.is_zero()),
        existing: settings.existing,
        settings: settings.that_make_a_difference(&tables),
        former_settings: settings.former_settings(&tables),
        // In key order, several writers may insert the same parent rows. This needs transactions,
        // which can be rolled back.
        insert_order: if tables.is_transactional { settings.insert_order } else { When::Never },
        portion: settings.portion,
        index: location.shown(),
        outage: &outage,
        max_replica_lag: settings.max_replica_lag,
    };
    let mut observer = progress::observer(settings.progress);
    let done = pipeline::run(&plan, writers, journal, replicas, observer.as_mut())?;
    let is_whole = done.failure.is_none() && !stop.is_set();
    let ended = importer.as_ref().filter(|_| is_whole).map(|importer| importer.end(stop, &listing));
    let (ended, failure) = match ended.transpose() {
        Ok(ended) => (ended.unwrap_or_default(), done.failure),
        Err(failure) => (Ended::default(), Some(failure)),
    };
    let failure = lock.as_ref().and_then(RunLock::failure).or(failure);
    importer.iter().for_each(Importer::close);
    // The times of files that an import has just copied do not indicate a copied root.
    let copied = if importer.is_some() { Vec::new() } else { plan.sources.receipt.copied_roots() };
    let summary = Summary {
        interrupted: stop.is_set() && failure.is_none(),
        account: &done.account,
        counted_ahead: done.counted_ahead,
        parents: done.parents,
        updated: done.updated,
        unfinished: done.unfinished,
        companions: done.companions,
        changes: &done.changes,
        implausible_times: plan.sources.receipt.implausible.load(Relaxed),
        copied_roots: copied.iter().map(|root| settings.roots.paths()[*root].as_path()).collect(),
        unknown_columns: &tables.unknown(),
        unwritten: &tables.unwritten,
        not_rebuilt: &tables.not_rebuilt,
        undo: undo.as_ref().and_then(|undo| undo.lines()),
        elapsed: done.elapsed,
        rows_checked: done.rows_checked,
        waited: done.waited,
        waited_for_database: done.waited_for_database,
        failed: failure.is_some(),
        continued: done.continued,
        left_by_shards: done.left_by_shards,
        merged_shards: if let FilesFrom::Shards(_, merged) = source { merged } else { 0 },
        index: location.shown(),
        stored_paths: &paths.examples,
        named_roots: if settings.roots_from_index { settings.roots.paths() } else { &[] },
        dry_run: access == Access::DryRun,
        imported: importer.as_ref().map(|importer| importer.did(ended)),
        accepts_pending: settings.accept_pending,
        in_doubt: &settings.locator.mounts.in_doubt(),
        left_mounts: &settings.locator.mounts.given_up(),
        began_empty: done.began_empty,
        listing: listing.lines(),
        young: YoungFiles { limit: settle, in_old_directories: done.young_in_old_directories },
    };
    say(&summary.text());
    let exit = summary.exit();
    failure.iter().for_each(complain);
    listing.check()?;
    Ok(exit)
}

/// Returns the path map and the archive directories, which determine the path by which the PACS
/// knows a file.
pub(super) fn naming(settings: &Reindex, paths: &StoredPaths) -> Naming {
    Naming { path_map: settings.path_map.clone(), directories: paths.directories.clone() }
}

fn defect() -> Error {
    Error::usage("no connection was made, which is a defect of this program", "Please report it. Nothing was written.")
}
