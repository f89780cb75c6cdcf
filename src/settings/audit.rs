//! From what was typed to the settings of an audit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{archive, default_io_threads, index, stubs};
use crate::archive::recall::Policy;
use crate::archive::{Locator, PathMap, Roots, Slice};
use crate::audit::checks::Check;
use crate::audit::finding::Severity;
use crate::audit::{self, Depth};
use crate::cli;
use crate::error::{Error, Result};
use crate::index::Location;
use crate::new_file::{self, Readers};
use crate::progress::Form;

pub struct Audit {
    pub roots: Roots,
    pub location: Location,
    pub replica: Option<Location>,
    pub path_map: PathMap,
    pub locator: Locator,
    pub depth: Depth,
    pub part: Option<Slice>,
    pub max_rate: Option<u32>,
    /// What the last audit found.
    pub last: PathBuf,
    pub checks: Vec<&'static Check>,
    pub settle: Duration,
    pub fail_on: Severity,
    pub json: Option<PathBuf>,
    pub plan: Option<PathBuf>,
    pub csv: Option<PathBuf>,
    pub html: Option<PathBuf>,
    pub io_threads: usize,
    /// `None` shows nothing.
    pub progress: Option<Form>,
}

impl Audit {
    pub fn resolve(typed: &cli::Audit) -> Result<Self> {
        let (location, credentials) = index::location_and_credentials(&typed.index)?;
        let replica = typed.replica.as_deref().map(|url| location.replica(url, &credentials)).transpose()?;
        if [Some(&location), replica.as_ref()].into_iter().flatten().any(|one| one.file().is_some())
            && replica.is_some()
        {
            return Err(Error::usage(
                "--replica: only servers have replicas",
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
        for (option, file) in [
            ("--json", &typed.json),
            ("--plan", &typed.plan),
            ("--csv", &typed.csv),
            ("--html", &typed.html),
            ("--last", &typed.last),
        ] {
            if let Some(file) = file.as_ref().filter(|file| roots.hold(file) || rules.hold(file)) {
                return Err(Error::usage(
                    format!("{option} {}: lies in the archive, where only images belong", file.display()),
                    "Name a file elsewhere.",
                ));
            }
        }
        let depth = match typed.level {
            cli::Depth::Exists => Depth::Exists,
            cli::Depth::Size => Depth::Size,
            cli::Depth::Header => Depth::Header,
            cli::Depth::Full => Depth::Full,
        };
        // What cannot be written is told before the work.
        let files = [("--json", &typed.json), ("--plan", &typed.plan), ("--csv", &typed.csv), ("--html", &typed.html)];
        for (option, file) in files {
            file.as_ref().map_or(Ok(()), |file| can_be_made(option, file))?;
        }
        Ok(Audit {
            locator: Locator::new(&roots, &path_map, rules),
            depth,
            last: match &typed.last {
                Some(file) => file.clone(),
                None => {
                    let key = format!(
                        "{} {:?} {:?} {:?} {:?}",
                        location.shown(),
                        roots.paths(),
                        typed.part,
                        typed.level,
                        typed.check
                    );
                    super::state_directory("what the last audit found", "--last FILE")?
                        .join(super::named_by("audit", &key))
                }
            },
            part: typed.part.as_deref().map(part).transpose()?,
            max_rate: typed.max_rate,
            checks: audit::named(&typed.check, depth)?,
            settle: Duration::try_from(typed.settle)
                .map_err(|_| Error::usage("--settle is negative", "Write 0s, or 15m."))?,
            fail_on: typed.fail_on,
            json: typed.json.clone(),
            plan: typed.plan.clone(),
            csv: typed.csv.clone(),
            html: typed.html.clone(),
            progress: super::progress(typed.quiet, typed.progress),
            io_threads: typed.io_threads.map_or_else(default_io_threads, usize::from),
            roots,
            location,
            replica,
            path_map,
        })
    }
}

/// `2/30`, or the day of the week: Monday is 1/7.
fn part(text: &str) -> Result<Slice> {
    let weekday = || format!("{}/7", jiff::Zoned::now().weekday().to_monday_one_offset());
    let text = if text == "weekday" { weekday() } else { text.to_owned() };
    let wrong =
        |_| Error::usage(format!("--part {text}: is no part"), "Write 1/30 for the first of thirty, or weekday.");
    text.parse().map_err(wrong)
}

/// It is made, and goes again until there is something to write.
fn can_be_made(option: &str, file: &Path) -> Result<()> {
    new_file::create(file, "the report", option, false, Readers::Owner)?;
    let _ = std::fs::remove_file(file);
    Ok(())
}
