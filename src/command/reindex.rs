//! `pacs-index reindex`: bring the index up to date with the archive.

use jiff::tz::TimeZone;

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
    let tables = location.prepare(access)?;
    // A dry run sees duplicates only through one memory.
    let connections = if access == Access::DryRun { 1 } else { location.writers() };
    let failed =
        |failure| Error::usage(format!("{}: {failure}", location.shown()), "May you read and write its tables?");
    let writers = (0..connections).map(|_| Writer::new(location.connect(&tables, access)?).map_err(failed));
    let writers = writers.collect::<Result<Vec<_>>>()?;
    let began_empty = writers.iter().all(Writer::began_empty);
    let listing = Listing::create(&settings.rejected)?;
    let stop = Stop::default();
    stop_on_interrupt(&stop)?;
    let plan = Plan {
        roots: &settings.roots,
        tables: &tables,
        path_map: &settings.path_map,
        time_zone: TimeZone::system(),
        walk_threads: settings.walk_threads,
        io_threads: settings.io_threads,
        count_ahead: settings.progress.is_some(),
        listing: &listing,
        stop: &stop,
    };
    let mut observer = progress::observer(settings.progress);
    let done = pipeline::run(&plan, writers, observer.as_mut())?;
    let summary = Summary {
        interrupted: stop.is_set() && done.failure.is_none(),
        account: &done.account,
        parents: done.parents,
        elapsed: done.elapsed,
        failed: done.failure.is_some(),
        index: location.shown(),
        dry_run: access == Access::DryRun,
        began_empty,
        listing: listing.finish()?,
    };
    print!("{}", summary.text());
    if let Some(error) = &done.failure {
        eprintln!("pacs-index: {error}");
    }
    Ok(summary.exit())
}

/// The first interrupt ends the run in order, the second one at once.
fn stop_on_interrupt(stop: &Stop) -> Result<()> {
    let stop = stop.clone();
    ctrlc::set_handler(move || {
        if stop.set() {
            std::process::exit(Exit::Interrupted.code().into());
        }
        eprintln!("pacs-index: interrupted; what is being written is finished. Interrupt again to leave at once.");
    })
    .map_err(|error| Error::usage(format!("interrupts cannot be caught: {error}"), "Please report it."))
}
