//! The command line: what can be typed. What it means is settled in `settings`.

mod audit;
mod import;
mod index;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use jiff::civil::Date;

pub use audit::{Audit, Depth, Repair};
pub use import::Import;
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
    /// Compare archive and index both ways, and change nothing
    #[command(after_help = AUDIT_EXIT_CODES)]
    Audit(Box<Audit>),
    /// Apply the plan of an audit, row by row, with an undo file
    Repair(Box<Repair>),
    /// Copy instances into the archive, verify them, and index them
    #[command(after_help = EXIT_CODES)]
    Import(Box<Import>),
    /// Make the tables of an index in an empty database
    Init(Init),
}

const EXIT_CODES: &str = "Exit codes:
  0    complete and clean
  1    complete, with findings: rejected or unreadable files, stubs not read, duplicates, conflicts
  2    usage or configuration; nothing was done
  3    could not finish
  130  interrupted; the same command goes on from there";

const AUDIT_EXIT_CODES: &str = "Exit codes:
  0    no finding of the severity of --fail-on
  1    findings
  2    usage or configuration
  3    could not finish
  130  interrupted";

const STATE_HELP: &str = "Keep journals, lists, undo files and last audits in DIR [default: the environment variable \
                          PACS_INDEX_STATE, else ~/.local/state/pacs-index]";

/// Options about the index, which a shard does not open.
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
    "patience",
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

/// Each option is a key of the settings file too: `settings::file` finds them here.
#[derive(Debug, Args)]
pub struct Reindex {
    /// Directories of the archive
    #[arg(required_unless_present_any = ["roots_from_index", "merge_shards"], value_name = "ROOT")]
    pub roots: Vec<PathBuf>,

    #[command(flatten)]
    pub writing: Writing,

    /// Take the directories that the PACS is configured with, as its database names them
    #[arg(long, conflicts_with = "roots")]
    pub roots_from_index: bool,

    /// Read everything and write nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Whether images on slow storage are brought back: `allow` only in a settings file, and with --allow-recall
    #[arg(long, value_enum, default_value_t = Recall::OnlineOnly, value_name = "POLICY")]
    pub recall: Recall,

    /// Recall stubs within the budget of the settings file
    #[arg(long)]
    pub allow_recall: bool,

    /// As many files are recalled in a run, the newest
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub recall_files: u32,

    /// As many gigabytes of whole files
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub recall_gigabytes: u32,

    /// Files that are recalled at a time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub recalls_at_a_time: u16,

    /// Files that are recalled in a minute; 0 as fast as they come
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub recalls_a_minute: u32,

    /// Stubs that were not read are no findings
    #[arg(long)]
    pub accept_pending: bool,

    /// What is written of rows that were there before
    #[arg(long, value_enum, default_value_t = Existing::Fill)]
    pub existing: Existing,

    /// Record in FILE what --existing refresh or complete overwrites [default: a new file in the state directory]
    #[arg(long, value_name = "FILE")]
    pub undo: Option<PathBuf>,

    /// Which of several complete files of an instance is indexed
    #[arg(long, value_enum, default_value_t = Duplicates::Newest)]
    pub duplicates: Duplicates,

    /// Write portions of this number of files, and keep about as many rows in memory, for tests
    #[arg(long, value_name = "FILES", hide = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub portion: Option<u32>,

    /// In which order rows are inserted
    #[arg(long, value_enum, default_value_t = InsertOrder::Auto)]
    pub insert_order: InsertOrder,

    /// What tells when a file was received, the best first
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST", default_values_t = [ReceivedFrom::Path, ReceivedFrom::Mtime, ReceivedFrom::StudyDate])]
    pub received_from: Vec<ReceivedFrom>,

    /// Leave younger files to the PACS [default: 15m on the database of a PACS and for a shard, else 0s]
    #[arg(long, value_parser = values::duration, value_name = "TIME")]
    pub settle: Option<SignedDuration>,

    /// Look only at dated directories from this day on, and at those without a date
    #[arg(long, value_parser = values::date, value_name = "DATE")]
    pub since: Option<Date>,

    /// Only the files that this list names, one a line, and nothing else below the roots
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shard", "merge_shards", "since"])]
    pub files: Option<PathBuf>,

    /// Read a part of the archive into the state directory, e.g. 2/4 for the second of four processes or machines
    ///
    /// A shard needs no index, and takes no option about rows: --merge-shards writes them. --settle is 15m if it is not typed.
    #[arg(long, value_name = "N/M", conflicts_with_all = NOT_FOR_A_SHARD)]
    pub shard: Option<Shard>,

    /// Write the rows of all shards, even while they are still being read: DIR is the --state of a shard
    ///
    /// Takes no ROOT and no --since: the shards determine them.
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with_all = ["roots", "roots_from_index", "force", "since"])]
    pub merge_shards: Vec<PathBuf>,

    /// Read all files, also those that are unchanged
    #[arg(long)]
    pub force: bool,
}

/// What every command that brings instances into an index can be told.
#[derive(Clone, Debug, Args)]
pub struct Writing {
    /// A TOML file with settings, named like these options; what is typed wins
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub index: Index,

    /// Files that are read at a time [default: 4 for each core, at least 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub io_threads: Option<u16>,

    /// How the PACS calls a directory of this system, e.g. /mnt/dicom=D:/DICOM (repeatable)
    #[arg(long, value_name = "FROM=TO")]
    pub path_map: Vec<String>,

    /// Store paths that the PACS may not know, as the start of the run lists them
    #[arg(long)]
    pub allow_unmapped_paths: bool,

    /// Fail if the archive lies on the system's own disk: is it mounted?
    #[arg(long)]
    pub require_mount: bool,

    /// Write although the server is a replica, or read-only
    #[arg(long)]
    pub allow_replica: bool,

    /// Write although a Galera cluster does not replicate tables of the index, which are not InnoDB
    #[arg(long)]
    pub allow_unreplicated_tables: bool,

    /// Wait with writing while this replica lags: mysql://host:port (repeatable)
    #[arg(long = "replica", value_name = "URL")]
    pub replicas: Vec<String>,

    /// How far a replica may be behind, e.g. 10s, 15m
    #[arg(long, value_parser = values::duration, value_name = "TIME", default_value = "10s", requires = "replicas")]
    pub max_replica_lag: SignedDuration,

    /// How long to wait for a database that cannot be reached any more, e.g. 30s, 10m; 0s ends the run
    #[arg(long, value_parser = values::duration, value_name = "TIME", default_value = "10m")]
    pub patience: SignedDuration,

    #[command(flatten)]
    pub stubs: Stubs,

    /// Do not ask: go on although the PACS purges or moves old studies by itself, or an import looks like a mistake
    #[arg(long)]
    pub yes: bool,

    /// What becomes of one Patient ID with names that conflict
    #[arg(long, value_enum, default_value_t = PatientConflicts::Separate)]
    pub patient_conflicts: PatientConflicts,

    /// The local time of the PACS, e.g. Europe/Berlin [default: that of this system]
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,

    /// List rejected and other noteworthy files in FILE, as JSON Lines [default: a new file in the state directory]
    #[arg(long, value_name = "FILE")]
    pub rejected: Option<PathBuf>,

    #[arg(long, value_name = "DIR", help = STATE_HELP)]
    pub state: Option<PathBuf>,

    /// Wait for another run on this index and these directories to end, instead of leaving
    #[arg(long)]
    pub wait: bool,

    /// How progress is shown, on standard error
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,

    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// Settings of the archive's storage: archive stubs, and directories to skip.
#[derive(Clone, Debug, Args)]
pub struct Stubs {
    /// Skip directories of this name; * and ? are wildcards (repeatable)
    ///
    /// Recycle bins and snapshots of storage systems are always skipped. A root is read whatever its name is.
    #[arg(long, value_name = "NAME")]
    pub skip_dir: Vec<String>,

    /// A directory of storage that shows what is on tape or in a cloud as any other file (repeatable)
    #[arg(long, value_name = "DIR")]
    pub nearline: Vec<PathBuf>,

    /// A directory where the number of blocks says nothing, so that files without any are online (repeatable)
    #[arg(long, value_name = "DIR")]
    pub online: Vec<PathBuf>,

    /// A directory beside the roots that links and pointer files may lead to (repeatable)
    #[arg(long, value_name = "DIR")]
    pub target_root: Vec<PathBuf>,

    /// Pointer files of the site: two regular expressions, for names and for the target in them (repeatable)
    #[arg(long, value_name = "NAME => (TARGET)")]
    pub pointer_rule: Vec<String>,

    /// Which path the index gets of what a link or a pointer file leads to
    #[arg(long, value_enum, default_value_t = StubPath::Auto)]
    pub stub_path: StubPath,

    /// Reading a file that takes longer is slow; a mount on which it happens three times in a minute is left. 0s: never
    #[arg(long, value_parser = values::duration, value_name = "TIME", default_value = "2s")]
    pub slow_read: SignedDuration,
}

#[derive(Debug, Args)]
pub struct Init {
    #[command(flatten)]
    pub index: Index,

    /// On MySQL: make eight of the hundred tables of PacsOne, for a test server
    #[arg(long)]
    pub not_the_pacsone_installer: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Existing {
    /// Columns that are NULL
    Fill,
    /// And columns that differ from the file, but for studies that were edited
    Refresh,
    /// Columns that are NULL, and rows that an interrupted run left unfinished, if its state was lost
    Complete,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Duplicates {
    Newest,
    Oldest,
    /// That below the root which is named first
    FirstRoot,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum InsertOrder {
    /// As they are found; those with random UIDs by key, once the table has outgrown the memory of its server
    Auto,
    /// By SOP Instance UID, 300,000 at a time, which are put by on disk
    Key,
    /// As they are found
    Found,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PatientConflicts {
    /// As the PACS does: further patients get the ID with a suffix, P1[...]
    Separate,
    Merge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Recall {
    /// Not even the targets of links and pointer files are read
    Never,
    /// What is online is read
    OnlineOnly,
    /// Stubs are recalled within a budget
    Allow,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StubPath {
    /// That which a plain open follows: of a symbolic link its own, of a pointer file its target
    Auto,
    Link,
    Target,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ReceivedFrom {
    /// The date that the directory carries
    Path,
    /// When the file was modified
    Mtime,
    StudyDate,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Progress {
    /// A bar in a terminal, lines elsewhere
    Auto,
    /// A bar; lines where the terminal cannot show one
    Bar,
    /// A line each second at first, then every ten
    Lines,
    /// A JSON object a line, each second
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
