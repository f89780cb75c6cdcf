//! `pacs-index import`: brings files from elsewhere into the archive, and indexes them with the
//! code of `reindex`.

use jiff::Zoned;

use super::interrupt::stop_on_interrupt;
use super::reindex::FilesFrom;
use super::{consent, reindex, say};
use crate::audit::watch::Watch;
use crate::cli::{self, ListFormat};
use crate::error::Result;
use crate::exit::Exit;
use crate::import::ledger::{Ledger, State};
use crate::import::{CopyAccess, Destination, Importer, Plan, Rows, disk, list, listing};
use crate::index::inspect::Inspector;
use crate::index::location::Access;
use crate::pipeline::{Stop, Stored};
use crate::progress::notice::note;
use crate::progress::{self, text};
use crate::settings::import::{Import, List, To};

pub fn run(typed: &cli::Import) -> Result<Exit> {
    if typed.list {
        return list(typed);
    }
    let settings = Import::resolve(typed)?;
    may_open_many_files();
    let today = Zoned::now().with_time_zone(settings.run.time_zone.clone()).date();
    let skipped = settings.run.locator.skipped_directories();
    let filing = |to: &To| to.filing(today, skipped.clone());
    let filed = settings.to.as_ref().map(|to| vec![filing(to).day_directory().join("instance")]);
    let consent = consent::before_writing(&settings.run, filed.as_deref())?;
    consent::to_import(&doubts(&settings)?, &settings.run)?;
    let stop = Stop::default();
    stop_on_interrupt(&stop)?;
    let run = &settings.run;
    let plan = Plan {
        sources: &settings.sources,
        path_map: &run.path_map,
        stored: Stored::new(run.roots.clone(), reindex::naming(run, &consent.paths), run.locator.clone()),
        moves: settings.moves,
        completes: settings.completes,
        copies_at_a_time: settings.copies_at_a_time,
    };
    reindex::index(
        run,
        consent,
        &stop,
        FilesFrom::Import(&|tables, listing| {
            let to = settings.to.as_ref().map(|to| -> Result<Destination> {
                let state = State { directory: &to.state, key: &to.state_key, busy: run.busy };
                let ledger = Ledger::open(&state, today, || stop.is_set())?;
                ledger.damaged.iter().for_each(|message| note(run.progress, message));
                let filing = filing(to);
                let access = CopyAccess::of_archive(&to.archive, &filing.skipped);
                Ok(Destination { mark: disk::Mark::of(&to.archive), filing, ledger, access })
            });
            let rows = Rows::of(&run.location, tables, Access::Write, run.patience, &stop)?;
            Importer::new(&plan, rows, to.transpose()?, listing.directory())
        }),
    )
}

/// Raises the limit of open files, because copies stay open until they are synced. The usual
/// default is a thousand open files, and a program may request more.
#[cfg(unix)]
fn may_open_many_files() {
    // SAFETY: both calls only read and write the struct that they are given.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

#[cfg(not(unix))]
fn may_open_many_files() {}

/// Returns the apparent mistakes of an import, which the user has to confirm.
fn doubts(settings: &Import) -> Result<Vec<String>> {
    let mut doubts = settings.doubts.clone();
    let Some(to) = &settings.to else { return Ok(doubts) };
    if settings.run.roots.are_empty() && has_images(settings)? {
        doubts.push(format!("the archive {} is empty, and the index is not: is it mounted?", to.archive.display()));
    }
    doubts.extend(too_little_room(settings, to));
    Ok(doubts)
}

fn has_images(settings: &Import) -> Result<bool> {
    let location = &settings.run.location;
    if location.file().is_some_and(|file| !file.exists()) {
        return Ok(false);
    }
    let mut inspector = Inspector::new(location, &location.prepare(Access::DryRun)?)?;
    Ok(!inspector.images_after("", false).map_err(|failure| location.unreachable(failure))?.is_empty())
}

/// Returns a message if the disk lacks space for the sources. Checked only for a complete import
/// that has not been started before.
fn too_little_room(settings: &Import, to: &To) -> Option<String> {
    let is_new = !Ledger::is_unfinished(&to.state);
    let room = disk::room(&to.archive).filter(|_| is_new && settings.sources.selection.is_all())?;
    let needed = disk::size_of(&settings.sources, settings.run.walk_threads);
    (needed > room).then(|| {
        let [needed, room] = [needed, room].map(text::bytes);
        format!("the sources hold {needed}, and on the disk of {} is room for {room}", to.archive.display())
    })
}

/// Lists the contents of the sources, and writes nothing.
fn list(typed: &cli::Import) -> Result<Exit> {
    let settings = List::resolve(typed)?;
    let stop = Stop::default();
    stop_on_interrupt(&stop)?;
    if settings.location.file().is_some_and(|file| !file.exists()) {
        note(
            settings.progress,
            &format!("the index {} is not there yet: everything is new to it", settings.location.shown()),
        );
    }
    if settings.progress.is_some() {
        super::warn_of_unverified(settings.progress, [settings.location.tls_warning()]);
    }
    let tables = settings.location.prepare(Access::DryRun)?;
    let rows = Rows::of(&settings.location, &tables, Access::DryRun, settings.patience, &stop)?;
    let (watch, mut observer) = (Watch::default(), progress::observer(settings.progress));
    let plan = list::Plan {
        sources: &settings.sources,
        rows: &rows,
        threads: settings.io_threads,
        stop: &stop,
        watch: &watch,
    };
    let contents = std::thread::scope(|scope| {
        scope.spawn(|| watch.show(observer.as_mut()));
        let contents = list::contents(&plan);
        watch.end();
        contents
    })?;
    if stop.is_set() {
        return Ok(Exit::Interrupted);
    }
    let index = settings.location.shown();
    say(&if typed.format == ListFormat::Json {
        listing::json(&contents, &index)
    } else {
        listing::table(&contents, &index, typed.wide)
    });
    Ok(if contents.has_findings() { Exit::Findings } else { Exit::Clean })
}
