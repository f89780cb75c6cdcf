//! From what was typed to the settings of an audit.

use std::path::PathBuf;
use std::time::Duration;

use super::{archive, default_io_threads, index, stubs};
use crate::archive::recall::Policy;
use crate::archive::{Locator, PathMap, Roots};
use crate::audit::checks::Check;
use crate::audit::finding::Severity;
use crate::audit::{self, Depth};
use crate::cli;
use crate::error::{Error, Result};
use crate::index::Location;
use crate::progress::Form;

pub struct Audit {
    pub roots: Roots,
    pub location: Location,
    pub path_map: PathMap,
    pub locator: Locator,
    pub depth: Depth,
    pub checks: Vec<&'static Check>,
    pub settle: Duration,
    pub fail_on: Severity,
    pub json: Option<PathBuf>,
    pub io_threads: usize,
    /// `None` shows nothing.
    pub progress: Option<Form>,
}

impl Audit {
    pub fn resolve(typed: &cli::Audit) -> Result<Self> {
        let location = index::location(&typed.index)?;
        if location.file().is_some_and(|file| !file.exists()) {
            return Err(Error::usage(
                format!("the index {} is not there", location.shown()),
                "Name that of the archive with --index, or make one first: pacs-index reindex.",
            ));
        }
        let path_map = archive::path_map(&typed.path_map)?;
        let roots = Roots::check(&typed.roots, typed.require_mount)?;
        let rules = stubs::rules(&typed.stubs, Policy::OnlineOnly)?;
        archive::check_maps(&path_map, &[roots.paths(), &rules.target_roots].concat())?;
        if let Some(file) = typed.json.as_ref().filter(|file| roots.hold(file)) {
            return Err(Error::usage(
                format!("--json {}: lies in the archive, which this program does not write to", file.display()),
                "Name a file elsewhere.",
            ));
        }
        Ok(Audit {
            locator: Locator::new(&roots, &path_map, rules),
            depth: match typed.level {
                cli::Depth::Exists => Depth::Exists,
                cli::Depth::Size => Depth::Size,
                cli::Depth::Header => Depth::Header,
            },
            checks: audit::named(&typed.check)?,
            settle: Duration::try_from(typed.settle)
                .map_err(|_| Error::usage("--settle is negative", "Write 0s, or 15m."))?,
            fail_on: typed.fail_on,
            json: typed.json.clone(),
            progress: super::progress(typed.quiet, typed.progress),
            io_threads: typed.io_threads.map_or_else(default_io_threads, usize::from),
            roots,
            location,
            path_map,
        })
    }
}
