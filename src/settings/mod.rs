//! Resolves the command line, the environment and files to plain settings. The code that receives
//! the settings does not read these sources again.

#![allow(clippy::disallowed_methods, reason = "files of settings and passwords")]

mod archive;
pub mod audit;
pub mod file;
pub mod import;
mod index;
mod kept;
mod option_file;
mod pacsone_ini;
pub mod repair;
mod shards;
mod state;
mod stubs;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kept::Kept;
use xxhash_rust::xxh3::xxh3_64;

use crate::archive::{Locator, PathMap, Roots};
use crate::cli;
use crate::error::{Error, Result};
use crate::index::existing::Mode;
use crate::index::location::Access;
use crate::index::replica::Address;
use crate::index::{Location, Tables};
use crate::journal::{Busy, ShardLog};
use crate::merge::duplicates::Choice;
use crate::merge::names::Conflicts;
use crate::pipeline::key_order::When;
use crate::pipeline::received::Origin;
use crate::progress::Form;

pub use index::{is_named, location, name};
pub use kept::KeptJournal;
use shards::MergedShards;
pub use shards::ReadShard;
pub use state::StateDirectory;

/// The minimum of the default number of I/O threads. Fewer threads leave network storage idle.
const LEAST_IO_THREADS: usize = 32;

/// The maximum number of threads that list directories: enough for a slow network, and few enough
/// that the newest days are found approximately first.
const MOST_WALK_THREADS: usize = 8;

pub struct Reindex {
    pub roots: Roots,
    /// Whether the roots come from the index, so that the user has not seen them yet.
    pub roots_from_index: bool,
    pub location: Location,
    pub access: Access,
    pub path_map: PathMap,
    pub locator: Arc<Locator>,
    stub_path: cli::StubPath,
    pub accept_pending: bool,
    pub io_threads: usize,
    pub walk_threads: usize,
    pub rejected: PathBuf,
    /// Whether the user did not name `rejected`, so that its directory may be created.
    pub rejected_is_default: bool,
    pub existing: Mode,
    /// The undo file, if rows are overwritten.
    pub undo: Option<PathBuf>,
    pub undo_is_default: bool,
    pub duplicates: Choice,
    pub insert_order: When,
    /// The number of files per transaction, if it is fixed.
    pub portion: Option<usize>,
    pub patient_conflicts: Conflicts,
    pub received_from: Vec<Origin>,
    /// The time zone of the PACS.
    pub time_zone: TimeZone,
    /// The minimum age of a file; younger files are left to the PACS. `None` selects a default that
    /// depends on the index.
    pub settle: Option<SignedDuration>,
    /// The first day whose directories are read.
    pub since: Option<Date>,
    /// The files to read, instead of all files below the roots.
    pub files: Option<Vec<PathBuf>>,
    pub allow_replica: bool,
    /// Whether to write to tables that a Galera cluster does not replicate.
    pub allow_unreplicated_tables: bool,
    pub replicas: Vec<Address>,
    pub max_replica_lag: Duration,
    /// The maximum time to wait for a database whose connection was lost.
    pub patience: Duration,
    /// The state directory; `None` if this run keeps nothing there.
    pub kept_in: Option<StateDirectory>,
    /// `None` if the run keeps no journal.
    pub journal: Option<KeptJournal>,
    pub busy: Busy,
    /// The shards to merge, instead of a walk.
    pub merged_shards: Option<Vec<ShardLog>>,
    /// Whether to read unchanged files too.
    pub reads_all: bool,
    /// Whether to store paths that the PACS may not know.
    pub allow_unmapped_paths: bool,
    /// Whether to confirm all questions without a prompt.
    pub yes: bool,
    /// `None` disables the progress display.
    pub progress: Option<Form>,
}

impl Reindex {
    pub fn resolve(typed: &cli::Reindex) -> Result<Self> {
        let path_map = archive::path_map(&typed.writing.path_map)?;
        let shards = MergedShards::open(&typed.merge_shards)?;
        let roots = match &shards {
            Some(shards) => shards.roots.clone(),
            None if typed.roots_from_index => archive::named_by(&location(&typed.writing.index)?, &path_map)?,
            None => typed.roots.clone(),
        };
        let roots = Roots::check(&roots, typed.writing.require_mount)?;
        let Some(shards) = shards else { return Self::over(roots, &[], typed) };
        shards.check_settings(typed, &stubs::rules(&typed.writing.stubs, stubs::policy(typed)?, &roots)?)?;
        Ok(Self::over(roots, &[], typed)?.merges(shards))
    }

    /// Returns the settings for roots that were checked. Path maps may also belong to other
    /// directories, below which nothing is written.
    pub fn over(roots: Roots, others: &[PathBuf], typed: &cli::Reindex) -> Result<Self> {
        let io_threads = typed.writing.io_threads.map_or_else(default_io_threads, usize::from);
        let path_map = archive::path_map(&typed.writing.path_map)?;
        let (location, credentials) = index::location_and_credentials(&typed.writing.index)?;
        let rules = stubs::rules(&typed.writing.stubs, stubs::policy(typed)?, &roots)?;
        archive::check_maps(&path_map, &[roots.paths(), &rules.target_roots, others].concat())?;
        let replicas = typed.writing.replicas.iter().map(|url| Address::parse(url, &credentials, &location));
        let replicas = replicas.collect::<Result<_>>()?;
        let max_replica_lag = Duration::try_from(typed.writing.max_replica_lag)
            .map_err(|_| Error::usage("--max-replica-lag is negative", "Write 10s, or 15m."))?;
        let patience = Duration::try_from(typed.writing.reconnect_timeout)
            .map_err(|_| Error::usage("--reconnect-timeout is negative", "Write 0s, or 10m."))?;
        let files = [
            ("--index", location.file()),
            ("--rejected", typed.writing.rejected.as_deref()),
            ("--undo", typed.undo.as_deref()),
        ];
        let named = files.into_iter().filter_map(|(option, file)| Some((option, file?)));
        archive::check_outside(named, |file| roots.hold(file) || rules.hold(file))?;
        let files = typed.files.as_deref().map(|list| archive::files(list, &roots)).transpose()?;
        let kept = Kept::of(typed, &location, &roots)?;
        if let Some(directory) = &kept.directory {
            directory.check_apart(|path| roots.hold(path) || rules.hold(path))?;
        }
        Ok(Reindex {
            kept_in: kept.directory,
            journal: kept.journal,
            undo: kept.undo,
            rejected: kept.rejected,
            busy: if typed.writing.wait { Busy::Wait } else { Busy::Leave },
            merged_shards: None,
            reads_all: typed.force,
            allow_replica: typed.writing.allow_replica,
            allow_unreplicated_tables: typed.writing.allow_unreplicated_tables,
            replicas,
            max_replica_lag,
            patience,
            allow_unmapped_paths: typed.writing.allow_unmapped_paths,
            yes: typed.writing.yes,
            locator: Arc::new(Locator::new(&roots, &path_map, rules)),
            stub_path: typed.writing.stubs.stub_path,
            accept_pending: typed.allow_unread_stubs,
            path_map,
            location,
            roots,
            roots_from_index: typed.roots_from_index,
            existing: match typed.existing {
                cli::Existing::Fill => Mode::Fill,
                cli::Existing::Refresh => Mode::Refresh,
                cli::Existing::Complete => Mode::Complete,
            },
            undo_is_default: typed.undo.is_none(),
            duplicates: match typed.duplicates {
                cli::Duplicates::Newest => Choice::Newest,
                cli::Duplicates::Oldest => Choice::Oldest,
                cli::Duplicates::FirstRoot => Choice::FirstRoot,
            },
            portion: typed.portion.map(|files| files as usize),
            insert_order: match typed.insert_order {
                _ if typed.dry_run => When::Never,
                cli::InsertOrder::Auto => When::Outgrown,
                cli::InsertOrder::Key => When::Always,
                cli::InsertOrder::Found => When::Never,
            },
            patient_conflicts: match typed.writing.patient_conflicts {
                cli::PatientConflicts::Separate => Conflicts::Separate,
                cli::PatientConflicts::Merge => Conflicts::Merge,
            },
            received_from: typed
                .received_from
                .iter()
                .map(|origin| match origin {
                    cli::ReceivedFrom::Path => Origin::Path,
                    cli::ReceivedFrom::Mtime => Origin::Mtime,
                    cli::ReceivedFrom::StudyDate => Origin::StudyDate,
                })
                .collect(),
            time_zone: time_zone(typed.writing.timezone.as_deref())?,
            settle: typed.min_age.map(not_negative).transpose()?,
            since: typed.since,
            files,
            rejected_is_default: typed.writing.rejected.is_none(),
            access: if typed.dry_run { Access::DryRun } else { Access::Write },
            io_threads,
            walk_threads: io_threads.min(MOST_WALK_THREADS),
            progress: progress(typed.writing.quiet, typed.writing.progress),
        })
    }
}

impl Reindex {
    /// Returns a hash of the settings that rows depend on, and of the columns of the index. A run
    /// with another hash is not resumed. The roots are included only if their order decides between
    /// files.
    pub fn that_make_a_difference(&self, tables: &Tables) -> u64 {
        self.hash_of_settings(tables, self.duplicates == Choice::FirstRoot)
    }

    /// Returns the hash that version 0.1.0 computed, which always includes the roots.
    pub fn former_settings(&self, tables: &Tables) -> u64 {
        self.hash_of_settings(tables, true)
    }

    fn hash_of_settings(&self, tables: &Tables, has_roots: bool) -> u64 {
        let Reindex { existing, duplicates, patient_conflicts, received_from, stub_path, .. } = self;
        let (maps, zone) = (&self.path_map, self.time_zone.iana_name());
        let paths = match has_roots {
            true => format!("{:?}", (self.roots.paths(), maps, zone)),
            false => format!("{:?}", (maps, zone)),
        };
        let text = format!(
            "{existing:?} {duplicates:?} {patient_conflicts:?} {received_from:?} {stub_path:?} {paths} {tables:?}"
        );
        xxh3_64(text.as_bytes())
    }
}

fn progress(quiet: bool, form: cli::Progress) -> Option<Form> {
    (!quiet).then_some(match form {
        cli::Progress::Auto => Form::Auto,
        cli::Progress::Bar => Form::Bar,
        cli::Progress::Lines => Form::Lines,
        cli::Progress::Json => Form::Json,
    })
}

fn not_negative(time: SignedDuration) -> Result<SignedDuration> {
    match time.is_negative() {
        false => Ok(time),
        true => Err(Error::usage("--min-age is negative", "Write 0s, or 15m.")),
    }
}

/// Returns the named time zone, else the one of `TZ`, else the one of the system. An unknown name
/// is an error, because the zone would otherwise be UTC.
fn time_zone(named: Option<&str>) -> Result<TimeZone> {
    if let Some(name) = named {
        return TimeZone::get(name).map_err(|_| {
            Error::usage(
                format!("--timezone {name}: no such time zone"),
                "Name that of the PACS, for example Europe/Berlin.",
            )
        });
    }
    let system = TimeZone::try_system();
    match (system, std::env::var("TZ")) {
        (Ok(zone), _) => Ok(zone),
        (Err(_), Ok(name)) if !name.is_empty() => Err(Error::usage(
            format!("TZ={name}: no such time zone"),
            "Name that of the PACS, for example Europe/Berlin: study.received is local time.",
        )),
        // A system without a time zone setting uses UTC.
        (Err(_), _) => Ok(TimeZone::UTC),
    }
}

fn default_io_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (4 * cores).max(LEAST_IO_THREADS)
}
