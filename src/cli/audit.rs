//! What can be typed to compare an archive and its index, and to mend them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use super::{Index, Progress, Stubs, values};
use crate::audit::finding::Severity;

/// Compares an archive and its index.
#[derive(Debug, Args)]
pub struct Audit {
    /// Directories of the archive
    #[arg(required = true, value_name = "ROOT")]
    pub roots: Vec<PathBuf>,

    /// A TOML file with settings, named like these options; what is typed wins
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub index: Index,

    /// How deep each file is looked into
    #[arg(long, value_enum, default_value_t = Depth::Exists)]
    pub level: Depth,

    /// Compare the four tables of this replica with those of --index too: mysql://user@host:port/database
    #[arg(long, value_name = "URL")]
    pub replica: Option<String>,

    /// Only this check (repeatable); they are listed in README
    #[arg(long, value_name = "NAME")]
    pub check: Vec<String>,

    /// What looks wrong is looked at again after this time, since a PACS goes on receiving; 0s at once
    #[arg(long, value_parser = values::duration, value_name = "TIME", default_value = "15m")]
    pub settle: SignedDuration,

    /// The least severity of a finding that makes the exit code 1
    #[arg(long, value_enum, default_value_t = Severity::Error)]
    pub fail_on: Severity,

    /// How progress is shown, on standard error
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,

    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,

    /// Write each finding as a line of JSON to FILE, e.g. audit-%Y-%m-%d.jsonl
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write a plan for `pacs-index repair` to FILE; an edited plan is not replaced
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,

    /// Write a table of studies whose images are lost or unreadable to FILE
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Write the report as a page to FILE
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Keep the newest N of each report with a date in its name, delete older ones
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,

    /// Only a part of the directories, e.g. 2/30, or `weekday` for a seventh each day of the week
    #[arg(long, value_name = "K/N")]
    pub part: Option<String>,

    /// Files a second at the most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_rate: Option<u32>,

    /// Keep the findings in FILE, for the next audit to compare with [default: a file in the state directory]
    #[arg(long, value_name = "FILE")]
    pub last: Option<PathBuf>,

    #[arg(long, value_name = "DIR", help = super::STATE_HELP)]
    pub state: Option<PathBuf>,

    /// Files that are looked at at a time [default: 4 for each core, at least 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub io_threads: Option<u16>,

    /// How the PACS calls a directory of this system, e.g. /mnt/dicom=D:/DICOM (repeatable)
    #[arg(long, value_name = "FROM=TO")]
    pub path_map: Vec<String>,

    /// Do not report roots whose paths the PACS may not know
    #[arg(long)]
    pub allow_unmapped_paths: bool,

    /// Fail if a root lies on the system's own disk: is the archive mounted?
    #[arg(long)]
    pub require_mount: bool,

    #[command(flatten)]
    pub stubs: Stubs,
}

/// Applies what an audit has planned.
#[derive(Debug, Args)]
pub struct Repair {
    /// A plan of `audit --plan`; steps that cannot be done are skipped
    #[arg(required_unless_present = "undo")]
    pub plan: Option<PathBuf>,

    /// A TOML file with settings, named like the options; `roots` are those of --root
    ///
    /// Instances are inserted with the settings that `reindex` reads from the file. `yes`, `allow-unmapped-paths`, `plan` and
    /// `undo` are not read from the file for a repair.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// A root of the archive, for a plan that does not name its roots (repeatable) [default: the roots of the plan]
    #[arg(long = "root", alias = "roots", value_name = "ROOT")]
    pub roots: Vec<PathBuf>,

    #[command(flatten)]
    pub index: Index,

    /// The name of a local directory on the PACS server, e.g. /mnt/dicom=D:/DICOM (repeatable) [default: those of the plan]
    #[arg(long, value_name = "FROM=TO")]
    pub path_map: Vec<String>,

    /// Store paths that the PACS may not know, as the start of the run lists them
    #[arg(long)]
    pub allow_unmapped_paths: bool,

    #[command(flatten)]
    pub stubs: Stubs,

    /// Record in a new FILE how to revert the changes
    #[arg(long, value_name = "FILE", required_unless_present = "undo")]
    pub undo_file: Option<PathBuf>,

    /// Revert the repair that wrote this undo file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plan", "undo_file"])]
    pub undo: Option<PathBuf>,

    #[arg(long, value_name = "DIR", help = super::STATE_HELP)]
    pub state: Option<PathBuf>,

    /// Write although the server is a replica, or read-only
    #[arg(long)]
    pub allow_replica: bool,

    /// Write although a Galera cluster does not replicate tables of the index, which are not InnoDB
    #[arg(long)]
    pub allow_unreplicated_tables: bool,

    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Depth {
    /// It is there, and has bytes
    Exists,
    /// It is as large as its row says that its pixel data are
    Size,
    /// What its rows say is what stands in its header
    Header,
    /// It can be read to its end, and its lengths agree
    Full,
}
