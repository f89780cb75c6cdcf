//! The audit, on one page. It lists the files of the archive and the rows of the index, and
//! compares both. Suspects are rechecked after a delay, because a PACS keeps receiving and moving
//! files. A suspect that is still wrong becomes a finding. The audit changes nothing and locks no
//! row.
//!
//! ```text
//! files, rows -> compare -> suspects -> (delay) -> recheck -> findings
//! ```

pub mod checks;
mod coverage;
pub mod csv;
mod dated;
mod files;
pub mod finding;
mod headers;
pub mod html;
pub mod last;
mod listed;
mod one_file;
pub mod plan;
pub mod replica;
pub mod report;
pub mod report_file;
mod rows;
pub mod scope;
pub mod watch;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::archive::{FoundFile, Locator, Naming, Roots, Shard};
use crate::error::{Error, Result};
use crate::index::Failure;
use crate::index::inspect::Inspector;
use crate::pipeline::Stop;
use crate::progress::Phase;
use checks::{Asks, CHECKS, Check};
pub use coverage::Coverage;
use finding::Finding;
use watch::Watch;

/// The depth of an audit. Each level includes the previous ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Depth {
    /// Checks that files exist and are not empty.
    Exists,
    /// Checks that files are at least as large as the pixel data that their rows describe.
    Size,
    /// Compares the columns of rows with the headers of their files.
    Header,
    /// Checks that files can be read to their end and that their lengths are consistent.
    Full,
}

impl Depth {
    /// The value of `--level`.
    pub fn name(self) -> &'static str {
        match self {
            Depth::Exists => "exists",
            Depth::Size => "size",
            Depth::Header => "header",
            Depth::Full => "full",
        }
    }
}

pub struct Plan<'a> {
    pub roots: &'a Roots,
    pub naming: &'a Naming,
    pub locator: &'a Locator,
    pub depth: Depth,
    /// The part of the directories that is audited, with the rows that name files there. `None`
    /// audits all directories.
    pub part: Option<Shard>,
    /// The maximum number of files per second.
    pub max_rate: Option<u32>,
    pub checks: Vec<&'static Check>,
    /// Whether roots whose paths the PACS may not know are accepted without a finding.
    pub allow_unmapped_paths: bool,
    /// The delay between the first look and the recheck of suspects.
    pub settle: Duration,
    pub io_threads: usize,
    /// The directory for temporary files of the on-disk sort.
    pub scratch: PathBuf,
    pub stop: &'a Stop,
    pub watch: &'a Watch,
    pub index: String,
}

/// The result of an audit.
#[derive(Debug, Default)]
pub struct Done {
    pub findings: Vec<Finding>,
    pub files: u64,
    pub stubs: u64,
    pub rows: u64,
    /// The directories that could not be listed or were skipped.
    pub coverage: Coverage,
    /// Checks that this index does not support, each with the reason.
    pub not_answered: Vec<(&'static str, String)>,
    /// Set if too many files below the roots seem to be missing. Reported instead of a finding for
    /// each row.
    pub alarm: Option<String>,
    pub interrupted: bool,
}

/// If more than `MANY` rows, and more than 1 / `MANY_OF_ALL` of all rows, have no file, the audit
/// raises one alarm: probably the archive is not mounted as expected.
const MANY: u64 = 20;
const MANY_OF_ALL: u64 = 20;

pub fn audit(plan: &Plan<'_>, inspector: &mut Inspector) -> Result<Done> {
    let mut audit = Audit { plan, inspector, done: Done::default(), compared: Default::default(), stubs: Vec::new() };
    plan.watch.begins(Phase::Listing);
    let files = audit.list_files()?;
    plan.watch.begins(Phase::Checking);
    let rows = audit.list_rows()?;
    let suspects = audit.suspects(&files, &rows)?;
    plan.watch.begins(Phase::Comparing);
    let asked = audit.ask_tables()?;
    if plan.depth >= Depth::Header {
        audit.compare_all(&suspects, &rows)?;
        audit.compare_above()?;
    }
    let damaged = if plan.depth >= Depth::Full { audit.read_to_end()? } else { Vec::new() };
    if (suspects.any()
        || audit.compared.any()
        || !damaged.is_empty()
        || asked.iter().any(|(_, found)| !found.is_empty()))
        && !audit.wait()
    {
        audit.done.interrupted = true;
        audit.report_unreadable();
        return Ok(audit.done);
    }
    plan.watch.begins(Phase::Comparing);
    audit.look_at_stubs();
    // Files are rechecked first, because they show where the files of rows have moved.
    let moved = audit.look_at_files(&suspects)?;
    audit.look_at_rows(suspects, &moved)?;
    audit.look_at_headers()?;
    audit.look_at_damaged(damaged);
    audit.ask_tables_again(asked)?;
    audit.report_unreadable();
    audit.done.findings.sort();
    audit.done.findings.dedup();
    audit.done.interrupted = plan.stop.is_set();
    Ok(audit.done)
}

struct Audit<'a> {
    plan: &'a Plan<'a>,
    inspector: &'a mut Inspector,
    done: Done,
    compared: headers::Compared,
    /// Stubs with findings, to be rechecked.
    stubs: Vec<FoundFile>,
}

impl Audit<'_> {
    fn report_unreadable(&mut self) {
        let findings = self.done.coverage.findings();
        self.done.findings.extend(findings);
    }

    /// Waits until the recheck of suspects is due. Returns false after an interruption.
    fn wait(&self) -> bool {
        self.plan.watch.begins(Phase::Settling);
        let begun = Instant::now();
        while begun.elapsed() < self.plan.settle {
            if self.plan.stop.is_set() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(100).min(self.plan.settle));
        }
        !self.plan.stop.is_set()
    }
}

impl Plan<'_> {
    fn of_rows(&self) -> impl Iterator<Item = (&'static Check, fn(&checks::Row) -> Option<String>)> {
        self.checks.iter().copied().filter_map(|check| match check.asks {
            Asks::Row(tells) => Some((check, tells)),
            _ => None,
        })
    }

    fn of_files(&self) -> impl Iterator<Item = (&'static Check, fn(&checks::File) -> Option<String>)> {
        self.checks.iter().copied().filter_map(|check| match check.asks {
            Asks::File(tells) => Some((check, tells)),
            _ => None,
        })
    }
}

/// Returns the checks with these names, or all checks if `names` is empty. An unknown name, or a
/// check that needs a deeper level, is a usage error.
pub fn named(names: &[String], depth: Depth) -> Result<Vec<&'static Check>> {
    if names.is_empty() {
        return Ok(CHECKS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let found = CHECKS.iter().find(|check| check.name == name).ok_or_else(|| {
                let all: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
                Error::usage(format!("--check {name}: unknown check"), format!("There are: {}.", all.join(", ")))
            })?;
            if found.depth() > depth {
                let what = format!("--check {name}: is not made at this level");
                return Err(Error::usage(what, "Name a deeper --level: size, header or full."));
            }
            Ok(found)
        })
        .collect()
}

fn failed(plan: &Plan<'_>, failure: Failure) -> Error {
    Error::unfinished(
        format!("the index {} cannot be read: {failure}", plan.index),
        "Mend the connection, then run the same command again. Nothing was changed.",
    )
}

/// The error for a panicked thread. Its results are incomplete and must not be judged as if they
/// were complete.
fn defect() -> Error {
    Error::unfinished("the audit failed, which is a defect of this program", "Please report it. Nothing was changed.")
}

fn not_kept(error: std::io::Error) -> Error {
    Error::unfinished(
        format!("cannot sort the findings on disk: {error}"),
        "Make room in the directory for temporary files (TMPDIR), and run the same command again.",
    )
}

fn poisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
