//! `pacs-index reindex --shard N/M`: records the contents of the files in a part of the archive.

use std::path::PathBuf;

use super::interrupt::stop_on_interrupt;
use super::{complain, say};
use crate::archive::Shard;
use crate::cli;
use crate::error::Result;
use crate::exit::Exit;
use crate::journal::{Journal, Owner, Room};
use crate::pipeline::{Files, Receipt, Sources, Stop, shard};
use crate::progress::{self, notice::note};
use crate::report::details::YoungFiles;
use crate::report::listing::Listing;
use crate::report::shard::ShardSummary;
use crate::settings::ReadShard;

pub fn run(typed: &cli::Reindex, number: Shard) -> Result<Exit> {
    let settings = ReadShard::resolve(typed, number)?;
    let stop = Stop::default();
    stop_on_interrupt(&stop)?;
    settings.state.make()?;
    let listing = Listing::create(&settings.rejected, settings.rejected_is_default)?;
    let (directory, key) = &settings.journal;
    let journal = Journal::open(directory, Owner::Key(key), settings.busy, || stop.is_set())?;
    journal.messages.iter().for_each(|message| note(settings.progress, message));
    settings.progress.iter().for_each(|form| note(Some(*form), &Room::of(&journal).to_string()));
    let sources = Sources {
        roots: &settings.roots,
        files: Files::Walked,
        shard: Some(settings.shard),
        first_day: settings.since,
        locator: &settings.locator,
        receipt: Receipt::new(Vec::new(), settings.time_zone.clone()),
        settle: settings.settle,
        reads_all: settings.reads_all,
        walk_threads: settings.walk_threads,
        io_threads: settings.io_threads,
        count_ahead: settings.progress.is_some(),
        listing: &listing,
        stop: &stop,
    };
    let mut observer = progress::observer(settings.progress);
    let recorded = shard::record(&sources, journal, settings.begun(), observer.as_mut())?;
    let left_mounts: Vec<PathBuf> = settings.locator.mounts.given_up();
    let summary = ShardSummary {
        account: &recorded.account,
        shard: settings.shard,
        state: settings.state.path(),
        counted_ahead: recorded.counted_ahead,
        elapsed: recorded.elapsed,
        interrupted: stop.is_set() && recorded.failure.is_none(),
        failed: recorded.failure.is_some(),
        accepts_pending: settings.accept_pending,
        in_doubt: &settings.locator.mounts.in_doubt(),
        left_mounts: &left_mounts,
        listing: listing.lines(),
        young: YoungFiles { limit: settings.settle, in_old_directories: recorded.young_in_old_directories },
    };
    say(&summary.text());
    recorded.failure.iter().for_each(complain);
    listing.check()?;
    Ok(summary.exit())
}
