//! The command line. `settings` validates the options and completes them from settings files.

mod audit;
mod import;
mod index;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use jiff::civil::Date;

pub use audit::{Audit, Depth, Repair};
pub use import::{Import, ListFormat};
pub use index::Index;

use crate::archive::Shard;

/// Rebuilds the index of a PACS archive from its DICOM files.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find every instance below the roots and bring the index up to date
    #[command(after_help = EXIT_CODES)]
    Reindex(Box<Reindex>),
    /// Compare the archive and the index in both directions; changes nothing
    #[command(after_help = AUDIT_EXIT_CODES)]
    Audit(Box<Audit>),
    /// Apply the plan of an audit row by row, recording how to undo each change
    Repair(Box<Repair>),
    /// Copy instances into the archive, verify them, and index them
    #[command(after_help = EXIT_CODES)]
    Import(Box<Import>),
    /// Create the tables of an index in an empty database
    Init(Init),
}

const EXIT_CODES: &str = "Exit codes:
  0    complete and clean
  1    complete, with findings: rejected or unreadable files, stubs not read, duplicates, conflicts
  2    usage or configuration error; nothing was done
  3    could not finish
  130  interrupted; the same command resumes";

const AUDIT_EXIT_CODES: &str = "Exit codes:
  0    no finding of the severity of --fail-on or above
  1    findings
  2    usage or configuration error
  3    could not finish
  130  interrupted";

const STATE_HELP: &str = "Directory of everything kept between runs: journals, lists, undo files, audits [default: \
                          $PACS_INDEX_STATE, else ~/.local/state/pacs-index]";

/// The options about the index, which a shard does not open.
const NOT_FOR_A_SHARD: [&str; 31] = [
    "roots_from_index",
    "merge_shards",
    "files",
    "dry_run",
    "allow_recall",
    "existing",
    "undo",
    "duplicates",
    "portion",
    "insert_order",
    "received_from",
    "patient_conflicts",
    "path_map",
    "allow_unmapped_paths",
    "allow_replica",
    "allow_unreplicated_tables",
    "replicas",
    "max_replica_lag",
    "reconnect_timeout",
    "yes",
    "url",
    "pacsone_ini",
    "password_file",
    "defaults_file",
    "defaults_section",
    "ssl_mode",
    "ssl_ca",
    "ssl_cert",
    "ssl_key",
    "recall_files",
    "recall_gigabytes",
];

/// The options of `reindex`. Each one is also a key of the settings file: `settings::file` finds the
/// keys here.
#[derive(Debug, Args)]
pub struct Reindex {
    /// Directories of the archive
    #[arg(required_unless_present_any = ["roots_from_index", "merge_shards"], value_name = "ROOT")]
    pub roots: Vec<PathBuf>,

    #[command(flatten)]
    pub writing: Writing,

    /// Use the archive directories that the PACS is configured with
    #[arg(long, conflicts_with = "roots")]
    pub roots_from_index: bool,

    /// Read all files and report what a run would do, but write nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Whether to recall images from slow storage; `allow` works in a settings file only, with --allow-recall
    #[arg(long, value_enum, default_value_t = Recall::OnlineOnly, value_name = "POLICY")]
    pub recall: Recall,

    /// Recall archive stubs, within the budget of the settings file
    #[arg(long)]
    pub allow_recall: bool,

    /// Maximum number of files to recall in a run, newest first
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub recall_files: u32,

    /// Maximum total size of recalled files, in GB
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub recall_gigabytes: u32,

    /// Number of files to recall at the same time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub recalls_at_a_time: u16,

    /// Maximum number of recalls a minute; 0 means no limit
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub recalls_a_minute: u32,

    /// Do not count archive stubs that were not read as findings
    #[arg(long)]
    pub allow_unread_stubs: bool,

    /// Which columns of existing rows to write
    #[arg(long, value_enum, default_value_t = Existing::Fill)]
    pub existing: Existing,

    /// Record the values that --existing refresh or complete overwrites [default: a new file in --state]
    #[arg(long, value_name = "FILE")]
    pub undo: Option<PathBuf>,

    /// Which file to index if an instance has several complete ones
    #[arg(long, value_enum, default_value_t = Duplicates::Newest)]
    pub duplicates: Duplicates,

    /// Number of files in a transaction, and about the number of rows kept in memory; for tests
    #[arg(long, value_name = "FILES", hide = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub portion: Option<u32>,

    /// Order in which to insert rows
    #[arg(long, value_enum, default_value_t = InsertOrder::Auto)]
    pub insert_order: InsertOrder,

    /// Sources of the time at which a file was received, in order of preference
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST", default_values_t = [ReceivedFrom::Path, ReceivedFrom::Mtime, ReceivedFrom::StudyDate])]
    pub received_from: Vec<ReceivedFrom>,

    /// Leave files younger than this to the PACS [default: 15m on the database of a PACS and for a shard, else 0s]
    #[arg(long, value_parser = values::duration, value_name = "TIME")]
    pub min_age: Option<SignedDuration>,

    /// Walk only directories dated on or after this day, and undated ones
    #[arg(long, value_parser = values::date, value_name = "DATE")]
    pub since: Option<Date>,

    /// Read only the files listed in FILE, one path per line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shard", "merge_shards", "since"])]
    pub files: Option<PathBuf>,

    /// Read one part of the archive into --state, e.g. 2/4 for the second of four machines
    ///
    /// A shard opens no index and takes no option about rows: --merge-shards writes them. --min-age defaults to 15m.
    #[arg(long, value_name = "N/M", conflicts_with_all = NOT_FOR_A_SHARD)]
    pub shard: Option<Shard>,

    /// Write the rows of all shards, which may still be running; each DIR is the --state of a shard
    ///
    /// Takes no ROOT and no --since: the shards determine both.
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with_all = ["roots", "roots_from_index", "force", "since"])]
    pub merge_shards: Vec<PathBuf>,

    /// Read all files again, including unchanged ones
    #[arg(long)]
    pub force: bool,
}

/// The options of all commands that add instances to an index.
#[derive(Clone, Debug, Args)]
pub struct Writing {
    /// TOML file with settings named like these options; the command line takes precedence
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub index: Index,

    /// Number of files to read at the same time [default: 4 per core, at least 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub io_threads: Option<u16>,

    /// Path of a local directory on the PACS server, e.g. /mnt/dicom=D:/DICOM (repeatable)
    #[arg(long, value_name = "FROM=TO")]
    pub path_map: Vec<String>,

    /// Store paths even if the PACS may not know them; the run prints them when it starts
    #[arg(long)]
    pub allow_unmapped_paths: bool,

    /// Fail if a root is on the system disk, which means that the archive is not mounted
    #[arg(long)]
    pub require_mount: bool,

    /// Write even if the server is a replica or read-only
    #[arg(long)]
    pub allow_replica: bool,

    /// Write even if a Galera cluster does not replicate the tables, because they are not InnoDB
    #[arg(long)]
    pub allow_unreplicated_tables: bool,

    /// Pause writing while this replica lags behind: mysql://host:port (repeatable)
    #[arg(long = "replica", value_name = "URL")]
    pub replicas: Vec<String>,

    /// Maximum lag of a replica, e.g. 10s or 15m
    #[arg(long, value_parser = values::duration, value_name = "TIME", default_value = "10s", requires = "replicas")]
    pub max_replica_lag: SignedDuration,

    /// How long to wait for a database that has become unreachable, e.g. 30s or 10m; 0s ends the run at once
    #[arg(long, value_parser = values::duration, value_name = "TIME", default_value = "10m")]
    pub reconnect_timeout: SignedDuration,

    #[command(flatten)]
    pub stubs: Stubs,

    /// Do not ask for confirmation, even if the PACS purges old studies or an import looks like a mistake
    #[arg(long)]
    pub yes: bool,

    /// How to index files with one Patient ID and conflicting names
    #[arg(long, value_enum, default_value_t = PatientConflicts::Separate)]
    pub patient_conflicts: PatientConflicts,

    /// Time zone of the PACS, e.g. Europe/Berlin [default: the time zone of this system]
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,

    /// Write rejected and other noteworthy files to FILE as JSON Lines [default: a new file in --state]
    #[arg(long, value_name = "FILE")]
    pub rejected: Option<PathBuf>,

    #[arg(long, value_name = "DIR", help = STATE_HELP)]
    pub state: Option<PathBuf>,

    /// Wait for another run on this index or these directories to end instead of exiting
    #[arg(long)]
    pub wait: bool,

    /// How to show progress on standard error
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,

    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// The options about the storage of the archive: archive stubs, and directories to skip.
#[derive(Clone, Debug, Args)]
pub struct Stubs {
    /// Skip directories with this name; * and ? are wildcards (repeatable)
    ///
    /// Recycle bins and snapshots of storage systems are always skipped. Roots are never skipped.
    #[arg(long, value_name = "NAME")]
    pub skip_dir: Vec<String>,

    /// Directory whose storage shows files on tape or in a cloud like any other file (repeatable)
    #[arg(long, value_name = "DIR")]
    pub nearline: Vec<PathBuf>,

    /// Directory in which files without allocated blocks are online nevertheless (repeatable)
    #[arg(long, value_name = "DIR")]
    pub online: Vec<PathBuf>,

    /// Directory outside the roots that links and pointer files may point to (repeatable)
    #[arg(long, value_name = "DIR")]
    pub target_root: Vec<PathBuf>,

    /// Pointer files of the site: a regular expression for their names => one for the target (repeatable)
    #[arg(long, value_name = "NAME => (TARGET)")]
    pub pointer_rule: Vec<String>,

    /// Which path to store for a file reached through a link or a pointer file
    #[arg(long, value_enum, default_value_t = StubPath::Auto)]
    pub stub_path: StubPath,

    /// Leave a mount after three reads in a minute that take longer than this; 0s means never
    #[arg(long, value_parser = values::duration, value_name = "TIME", default_value = "2s")]
    pub slow_read: SignedDuration,
}

#[derive(Debug, Args)]
pub struct Init {
    #[command(flatten)]
    pub index: Index,

    /// On MySQL: create eight of the hundred tables of PacsOne, for a test server
    #[arg(long)]
    pub not_the_pacsone_installer: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Existing {
    /// Write columns that are NULL
    Fill,
    /// Also write columns that differ from the file, except in studies that were edited
    Refresh,
    /// Write columns that are NULL, and finish rows of an interrupted run whose state was lost
    Complete,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Duplicates {
    /// The file that was modified last
    Newest,
    /// The file that was modified first
    Oldest,
    /// The file below the root that is named first
    FirstRoot,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum InsertOrder {
    /// In the order found; random UIDs by key once the table outgrows the memory of the server
    Auto,
    /// By SOP Instance UID, sorting 300,000 at a time on disk
    Key,
    /// In the order found
    Found,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PatientConflicts {
    /// Add a suffix to the ID of each further patient, P1[...], as the PACS does
    Separate,
    /// Keep one patient with the first name
    Merge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Recall {
    /// Read no archived file, not even through links and pointer files
    Never,
    /// Read files that are online
    OnlineOnly,
    /// Recall archive stubs within a budget
    Allow,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StubPath {
    /// The path of a symbolic link, but the target of a pointer file
    Auto,
    /// The path of the link or pointer file
    Link,
    /// The path of the target
    Target,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ReceivedFrom {
    /// The date in the name of the directory
    Path,
    /// The time at which the file was modified
    Mtime,
    /// The Study Date (0008,0020)
    StudyDate,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Progress {
    /// A bar in a terminal, otherwise lines
    Auto,
    /// A bar, or lines if the terminal cannot show one
    Bar,
    /// One line a second at first, then one every ten seconds
    Lines,
    /// One JSON object a second, each on its own line
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
