//! Resolves the command line of an audit to its settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Zoned;

use super::{StateDirectory, archive, default_io_threads, index, stubs};
use crate::archive::real_path::real_path;
use crate::archive::recall::Policy;
use crate::archive::{Locator, PathMap, Roots, Shard};
use crate::audit::checks::Check;
use crate::audit::finding::Severity;
use crate::audit::last::FindingsFile;
use crate::audit::report_file::{ReportFile, ReportKind};
use crate::audit::{self, Depth};
use crate::cli;
use crate::error::{Error, Result};
use crate::index::Location;
use crate::progress::Form;

pub struct Audit {
    pub roots: Roots,
    pub location: Location,
    pub replica: Option<Location>,
    pub path_map: PathMap,
    pub locator: Locator,
    pub depth: Depth,
    pub part: Option<Shard>,
    pub max_rate: Option<u32>,
    /// The file with the findings of the last audit.
    pub last: FindingsFile,
    /// The state directory; `None` if this audit keeps nothing there.
    pub kept_in: Option<StateDirectory>,
    pub checks: Vec<&'static Check>,
    pub allow_unmapped_paths: bool,
    pub settle: Duration,
    pub fail_on: Severity,
    pub reports: ReportFiles,
    pub io_threads: usize,
    /// `None` disables the progress display.
    pub progress: Option<Form>,
}

/// The files that an audit writes.
pub struct ReportFiles {
    pub json: Option<ReportFile>,
    pub plan: Option<ReportFile>,
    pub csv: Option<ReportFile>,
    pub html: Option<ReportFile>,
    /// The number of reports to keep of each dated name; `None` keeps all.
    pub keep: Option<u32>,
}

impl ReportFiles {
    /// Returns the files, with the date of this run in their names.
    fn named(typed: &cli::Audit) -> Result<Self> {
        let now = Zoned::now();
        let named = |kind, typed: &Option<PathBuf>| {
            typed.as_deref().map(|typed| ReportFile::named(kind, typed, &now)).transpose()
        };
        Ok(ReportFiles {
            json: named(ReportKind::Findings, &typed.json)?,
            plan: named(ReportKind::Plan, &typed.plan)?,
            csv: named(ReportKind::Studies, &typed.csv)?,
            html: named(ReportKind::Page, &typed.html)?,
            keep: typed.keep,
        })
    }

    /// Checks that the files can be written, before the work begins.
    fn check(self, typed: &cli::Audit) -> Result<Self> {
        self.all().try_for_each(ReportFile::check)?;
        check_apart(self.outputs(typed))?;
        if self.keep.is_some() && !self.all().any(ReportFile::has_date) {
            return Err(Error::usage(
                "--keep: no report has a date in its name, by which older ones could be found",
                "Write the name of a report with a date, for example --json audit-%Y-%m-%d.jsonl.",
            ));
        }
        Ok(self)
    }

    /// Returns the reports and the file of `--baseline`, each with its option.
    fn outputs<'f>(&'f self, typed: &'f cli::Audit) -> impl Iterator<Item = (&'static str, &'f Path)> {
        let last = typed.baseline.as_deref().map(|path| ("--baseline", path));
        self.all().map(|file| (file.option(), &*file.path)).chain(last)
    }

    pub fn all(&self) -> impl Iterator<Item = &ReportFile> {
        [&self.json, &self.plan, &self.csv, &self.html].into_iter().flatten()
    }
}

/// Refuses two outputs that are one file, however its name is written.
fn check_apart<'f>(outputs: impl Iterator<Item = (&'static str, &'f Path)>) -> Result<()> {
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    for (option, path) in outputs {
        let real = real_path(path).unwrap_or_else(|_| path.to_owned());
        if let Some((other, _)) = seen.iter().find(|(_, other)| *other == real) {
            return Err(Error::usage(
                format!("{other} and {option} are to be written to one file, {}", path.display()),
                "Name a different file for each.",
            ));
        }
        seen.push((option, real));
    }
    Ok(())
}

/// Refuses a file of findings that is the SQLite file of the index, or its rollback journal,
/// write-ahead log or shared memory file.
fn check_apart_from_index(last: &Path, index: Option<&Path>) -> Result<()> {
    let last_real = real_path(last).unwrap_or_else(|_| last.to_owned());
    let is_of_index = index.and_then(|index| real_path(index).ok()).is_some_and(|index| {
        ["", "-journal", "-wal", "-shm"].iter().any(|suffix| {
            let mut name = index.clone().into_os_string();
            name.push(suffix);
            last_real.as_os_str() == name
        })
    });
    match is_of_index {
        false => Ok(()),
        true => Err(Error::usage(
            format!("--baseline {}: is a file of the index", last.display()),
            "Name a new file, or one that --baseline has written before.",
        )),
    }
}

impl Audit {
    pub fn resolve(typed: &cli::Audit) -> Result<Self> {
        let (location, credentials) = index::location_and_credentials(&typed.index)?;
        let replica = typed.compare.as_deref().map(|url| location.replica(url, &credentials)).transpose()?;
        if [Some(&location), replica.as_ref()].into_iter().flatten().any(|one| one.file().is_some())
            && replica.is_some()
        {
            return Err(Error::usage(
                "--compare: only servers have replicas",
                "Name both as mysql://user@host:port/database.",
            ));
        }
        if location.file().is_some_and(|file| !file.exists()) {
            return Err(Error::usage(
                format!("the index {} is not there", location.shown()),
                "Name that of the archive with --index, or make one first: pacs-index reindex.",
            ));
        }
        let path_map = archive::path_map(&typed.path_map)?;
        let roots = Roots::check(&typed.roots, typed.require_mount)?;
        let rules = stubs::rules(&typed.stubs, Policy::OnlineOnly, &roots)?;
        archive::check_maps(&path_map, &[roots.paths(), &rules.target_roots].concat())?;
        if let Some(root) = roots.paths().iter().find(|root| typed.plan.is_some() && root.to_str().is_none()) {
            return Err(Error::usage(
                format!("--plan: a plan cannot name the root {}, which is not valid UTF-8", root.display()),
                "Make a link to the root, and name the link.",
            ));
        }
        let reports = ReportFiles::named(typed)?;
        archive::check_outside(reports.outputs(typed), |file| roots.hold(file) || rules.hold(file))?;
        let depth = match typed.level {
            cli::Depth::Exists => Depth::Exists,
            cli::Depth::Size => Depth::Size,
            cli::Depth::Header => Depth::Header,
            cli::Depth::Full => Depth::Full,
        };
        let kept_in = typed.baseline.is_none().then(|| StateDirectory::find(typed.state.as_deref())).transpose()?;
        if let Some(directory) = &kept_in {
            directory.check_apart(|path| roots.hold(path) || rules.hold(path))?;
        }
        let key = || {
            format!(
                "{} {:?} {:?} {:?} {:?}",
                index::name(&location),
                roots.paths(),
                typed.part,
                typed.level,
                typed.check
            )
        };
        let last = match (&kept_in, &typed.baseline) {
            (Some(directory), _) => FindingsFile::Kept(directory.keyed("audit", &key())),
            (None, named) => FindingsFile::Named(named.clone().unwrap_or_default()),
        };
        last.check()?;
        check_apart_from_index(last.path(), location.file())?;
        Ok(Audit {
            locator: Locator::new(&roots, &path_map, rules),
            depth,
            last,
            kept_in,
            part: typed.part.as_deref().map(part).transpose()?,
            max_rate: typed.max_rate,
            checks: audit::named(&typed.check, depth)?,
            allow_unmapped_paths: typed.allow_unmapped_paths,
            settle: Duration::try_from(typed.recheck_after)
                .map_err(|_| Error::usage("--recheck-after is negative", "Write 0s, or 15m."))?,
            fail_on: typed.fail_on,
            reports: reports.check(typed)?,
            progress: super::progress(typed.quiet, typed.progress),
            io_threads: typed.io_threads.map_or_else(default_io_threads, usize::from),
            roots,
            location,
            replica,
            path_map,
        })
    }
}

/// Parses a part such as `2/30`. `weekday` is the part of the current day of the week: Monday is
/// 1/7.
fn part(text: &str) -> Result<Shard> {
    let weekday = || format!("{}/7", jiff::Zoned::now().weekday().to_monday_one_offset());
    let text = if text == "weekday" { weekday() } else { text.to_owned() };
    let wrong =
        |_| Error::usage(format!("--part {text}: not a part"), "Write 1/30 for the first of thirty, or weekday.");
    text.parse().map_err(wrong)
}
