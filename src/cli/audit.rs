//! The options of `audit` and `repair`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use super::{Index, Progress, Stubs, values};
use crate::audit::finding::Severity;

/// The options of `audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// Directories of the archive
    #[arg(required = true, value_name = "ROOT")]
    pub roots: Vec<PathBuf>,

    /// TOML file with settings named like these options; the command line takes precedence
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub index: Index,

    /// How thoroughly to check each file
    #[arg(long, value_enum, default_value_t = Depth::Exists)]
    pub level: Depth,

    /// Also compare the four tables of this replica with the index: mysql://user@host:port/database
    #[arg(long, value_name = "URL")]
    pub compare: Option<String>,

    /// Run only this check (repeatable); the README lists all checks
    #[arg(long, value_name = "NAME")]
    pub check: Vec<String>,

    /// Recheck suspects after this delay, because the PACS may be writing; 0s rechecks at once
    #[arg(long, value_parser = values::duration, value_name = "TIME", default_value = "15m")]
    pub recheck_after: SignedDuration,

    /// Lowest severity of a finding that sets exit code 1
    #[arg(long, value_enum, default_value_t = Severity::Error)]
    pub fail_on: Severity,

    /// How to show progress on standard error
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,

    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,

    /// Write the findings to FILE as JSON Lines, e.g. audit-%Y-%m-%d.jsonl
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write a plan for `pacs-index repair` to FILE; never replaces a plan that was edited
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,

    /// Write the studies whose images are lost or unreadable to FILE as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Write the report to FILE as an HTML page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Keep the newest N reports of each kind with a date in the name, and delete older ones
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,

    /// Check only a part of the directories, e.g. 2/30, or `weekday` for a seventh each day
    #[arg(long, value_name = "K/N")]
    pub part: Option<String>,

    /// Maximum number of files to check a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_rate: Option<u32>,

    /// File with the findings of the last audit, to report what is new [default: a file in --state]
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,

    #[arg(long, value_name = "DIR", help = super::STATE_HELP)]
    pub state: Option<PathBuf>,

    /// Number of files to check at the same time [default: 4 per core, at least 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub io_threads: Option<u16>,

    /// Path of a local directory on the PACS server, e.g. /mnt/dicom=D:/DICOM (repeatable)
    #[arg(long, value_name = "FROM=TO")]
    pub path_map: Vec<String>,

    /// Do not report roots whose paths the PACS may not know
    #[arg(long)]
    pub allow_unmapped_paths: bool,

    /// Fail if a root is on the system disk, which means that the archive is not mounted
    #[arg(long)]
    pub require_mount: bool,

    #[command(flatten)]
    pub stubs: Stubs,
}

/// The options of `repair`.
#[derive(Debug, Args)]
pub struct Repair {
    /// Plan written by `audit --plan`; steps that no longer apply are skipped
    #[arg(required_unless_present = "undo")]
    pub plan: Option<PathBuf>,

    /// TOML file with settings named like the options; `roots` are those of --root
    ///
    /// Instances are inserted with the settings that `reindex` reads from the file. `yes`, `allow-unmapped-paths`, `plan` and
    /// `undo` are not read from the file for a repair.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Root of the archive, for a plan that does not name its roots (repeatable) [default: the roots of the plan]
    #[arg(long = "root", alias = "roots", value_name = "ROOT")]
    pub roots: Vec<PathBuf>,

    #[command(flatten)]
    pub index: Index,

    /// Path of a local directory on the PACS server, e.g. /mnt/dicom=D:/DICOM (repeatable) [default: as in the plan]
    #[arg(long, value_name = "FROM=TO")]
    pub path_map: Vec<String>,

    /// Store paths even if the PACS may not know them; the run prints them when it starts
    #[arg(long)]
    pub allow_unmapped_paths: bool,

    #[command(flatten)]
    pub stubs: Stubs,

    /// Write to a new FILE how to revert the changes
    #[arg(long, value_name = "FILE", required_unless_present = "undo")]
    pub undo_file: Option<PathBuf>,

    /// Revert the repair that wrote this undo file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plan", "undo_file"])]
    pub undo: Option<PathBuf>,

    #[arg(long, value_name = "DIR", help = super::STATE_HELP)]
    pub state: Option<PathBuf>,

    /// Write even if the server is a replica or read-only
    #[arg(long)]
    pub allow_replica: bool,

    /// Write even if a Galera cluster does not replicate the tables, because they are not InnoDB
    #[arg(long)]
    pub allow_unreplicated_tables: bool,

    /// Do not ask for confirmation
    #[arg(long)]
    pub yes: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Depth {
    /// The file exists and is not empty
    Exists,
    /// The file is as large as its pixel data, by the values in its row
    Size,
    /// The values in its rows agree with its header
    Header,
    /// The file can be read to its end, and its lengths agree
    Full,
}
