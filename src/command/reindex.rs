//! `pacs-index reindex`: bring the index up to date with the archive.

use super::interrupt::stop_on_interrupt;
use super::{complain, consent, say};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::index::batch::Writer;
use crate::index::location::Access;
use crate::pipeline::{self, Plan, Stop};
use crate::report::listing::Listing;
use crate::report::summary::Summary;
use crate::settings::Reindex;
use crate::{cli, progress};

pub fn run(typed: &cli::Reindex) -> Result<Exit> {
    let settings = Reindex::resolve(typed)?;
    let (location, access) = (&settings.location, settings.access);
    // An interrupt ends a question at once, so that signals are caught after it.
    let replicas = consent::before_writing(&settings)?;
    let stop = Stop::default();
    stop_on_interrupt(&stop)?;
    // The index comes last: up to here nothing is made that a mistake would leave behind.
    let listing = Listing::create(&settings.rejected, settings.rejected_is_default)?;
    let tables = location.prepare(access)?;
    // A dry run sees duplicates only through one memory.
    let connections = if access == Access::DryRun { 1 } else { location.writers() };
    let failed =
        |failure| Error::usage(format!("{}: {failure}", location.shown()), "May you read and write its tables?");
    let writers = (0..connections).map(|_| Writer::new(location.connect(&tables, access)?).map_err(failed));
    let writers = writers.collect::<Result<Vec<_>>>()?;
    let began_empty = writers.iter().all(Writer::began_empty);
    let plan = Plan {
        roots: &settings.roots,
        tables: &tables,
        path_map: &settings.path_map,
        time_zone: settings.time_zone,
        walk_threads: settings.walk_threads,
        io_threads: settings.io_threads,
        count_ahead: settings.progress.is_some(),
        listing: &listing,
        stop: &stop,
        max_replica_lag: settings.max_replica_lag,
    };
    let mut observer = progress::observer(settings.progress);
    let done = pipeline::run(&plan, writers, replicas, observer.as_mut())?;
    let summary = Summary {
        interrupted: stop.is_set() && done.failure.is_none(),
        account: &done.account,
        counted_ahead: done.counted_ahead,
        parents: done.parents,
        elapsed: done.elapsed,
        waited: done.waited,
        failed: done.failure.is_some(),
        index: location.shown(),
        named_roots: if settings.roots_from_index { settings.roots.paths() } else { &[] },
        dry_run: access == Access::DryRun,
        began_empty,
        listing: listing.lines(),
    };
    say(&summary.text());
    let exit = summary.exit();
    done.failure.iter().for_each(complain);
    listing.check()?;
    Ok(exit)
}
