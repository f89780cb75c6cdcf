//! A report file that an audit writes. A report of an earlier audit is replaced as a whole or not
//! at all. Any other file with the same name is left unchanged.

#![allow(clippy::disallowed_methods, reason = "files of this program's own")]

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Zoned;

use super::dated::DatedName;
use super::plan;
use crate::error::{Error, Result};
use crate::full_disk;

/// Number of bytes at the beginning of a file that are searched to recognize an earlier report.
const HEAD: u64 = 4096;

/// The maximum size, in bytes, of a plan whose checksum is verified. A larger plan counts as
/// edited.
const LARGEST_PLAN: u64 = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// Each finding as a line of JSON.
    Findings,
    Plan,
    /// Studies that have lost images, as CSV.
    Studies,
    Page,
}

impl ReportKind {
    pub fn option(self) -> &'static str {
        match self {
            ReportKind::Findings => "--json",
            ReportKind::Plan => "--plan",
            ReportKind::Studies => "--csv",
            ReportKind::Page => "--html",
        }
    }
}

#[derive(Clone, Debug)]
pub struct ReportFile {
    kind: ReportKind,
    pub path: PathBuf,
    /// The pattern of the file name, if the user gave a name with a date.
    dated: Option<DatedName>,
}

impl ReportFile {
    /// Returns the file that the user named. A date format in the name is replaced by the date of
    /// this run.
    pub fn named(kind: ReportKind, typed: &Path, now: &Zoned) -> Result<Self> {
        let Some(dated) = typed.file_name().and_then(|name| name.to_str()).and_then(DatedName::parse) else {
            return Ok(ReportFile { kind, path: typed.to_owned(), dated: None });
        };
        let name = dated.at(now).ok().filter(|name| !name.contains(['/', '\\'])).ok_or_else(|| {
            Error::usage(
                format!(
                    "{} {}: the date in the name is not a strftime format for a file name",
                    kind.option(),
                    typed.display()
                ),
                "Write a date as strftime does, for example audit-%Y-%m-%d.jsonl, and a percent sign as %%.",
            )
        })?;
        Ok(ReportFile { kind, path: typed.with_file_name(name), dated: Some(dated) })
    }

    pub fn kind(&self) -> ReportKind {
        self.kind
    }

    pub fn option(&self) -> &'static str {
        self.kind.option()
    }

    /// Whether older reports can be found by the dates in their names.
    pub fn has_date(&self) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str());
        name.zip(self.dated.as_ref()).is_some_and(|(name, dated)| dated.time_of(name).is_some())
    }

    /// Checks, before the audit begins, that the report can be written.
    pub fn check(&self) -> Result<()> {
        let refused = |what: String, advice: &str| Error::usage(format!("{}: {what}", self.shown()), advice);
        let target = self.target().map_err(|error| refused(error.to_string(), NEW))?;
        if let Some(obstacle) = self.obstacle(&target) {
            return Err(refused(obstacle.into(), NEW));
        }
        match target {
            Target::Stream(_) => Ok(()),
            Target::File(path) => tempfile::tempfile_in(directory(&path))
                .map(drop)
                .map_err(|error| refused(format!("cannot be written: {error}"), NEW)),
        }
    }

    /// Writes the report. The earlier report is replaced only after the new one is synced to disk.
    pub fn replace(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let failed_with = |why: String, former: &str| {
            let advice = format!("{former}Correct this, and run the same command again.");
            Error::unfinished(format!("{}: {why}", self.shown()), advice)
        };
        let failed = |why| failed_with(why, "A former report was left unchanged. ");
        let target = self.target().map_err(|error| failed(error.to_string()))?;
        let is_stream = matches!(target, Target::Stream(_));
        if let Some(obstacle) = self.obstacle(&target) {
            return Err(failed(obstacle.into()));
        }
        let written = match target {
            Target::Stream(path) => stream(&path, fill),
            Target::File(path) => replace(&path, fill),
        };
        written.map_err(|error| match is_stream {
            true => failed_with(error.to_string(), ""),
            false => failed(full_disk::named_by_file(&self.path, error).to_string()),
        })
    }

    /// Whether a report of an earlier audit exists.
    pub fn exists(&self) -> bool {
        self.path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
    }

    /// Deletes the reports with this dated name, except the `keep` newest. A file that is not a
    /// report, and a plan that was edited, is kept. Returns a message if a report cannot be
    /// deleted.
    pub fn prune(&self, keep: u32) -> Option<String> {
        let dated = self.dated.as_ref().filter(|_| self.has_date())?;
        // This report counts as the newest one, regardless of the dates in other names.
        let is_other = |path: &PathBuf| path.file_name() != self.path.file_name();
        let is_report = |path: &PathBuf| self.is_former(path).unwrap_or(false);
        let files = dated.files_in(directory(&self.path));
        let reports = files.map(|files| files.into_iter().filter(is_other).filter(is_report));
        let old = reports.map(|reports| reports.skip(keep.saturating_sub(1) as usize));
        let pruned = old.and_then(|mut old| old.try_for_each(std::fs::remove_file));
        pruned.err().map(|error| format!("{}: older reports cannot be deleted: {error}", self.shown()))
    }

    fn shown(&self) -> String {
        format!("{} {}", self.kind.option(), self.path.display())
    }

    fn target(&self) -> io::Result<Target> {
        let is_device = self.path.starts_with("/dev") || self.path.starts_with("/proc");
        match self.path.metadata() {
            Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if is_device || !metadata.is_file() => Ok(Target::Stream(self.path.clone())),
            Ok(_) => Ok(Target::File(self.path.canonicalize()?)),
            // A symlink whose target is missing is not replaced by a file.
            Err(error) if self.path.symlink_metadata().is_ok() => Err(error),
            Err(_) => Ok(Target::File(self.path.clone())),
        }
    }

    /// Returns why an existing file must not be replaced.
    fn obstacle(&self, target: &Target) -> Option<&'static str> {
        let Target::File(path) = target else { return None };
        match (self.is_former(path), self.kind) {
            (Ok(true), _) => None,
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => None,
            (Ok(false), ReportKind::Plan) => Some("is not a plan of an audit, or has been edited, and is not replaced"),
            (Ok(false), _) => Some("is not a report of an audit, and is not replaced"),
            (Err(_), _) => Some("cannot be read, and is not replaced"),
        }
    }

    /// Whether a file is empty or an earlier report of this kind.
    fn is_former(&self, path: &Path) -> io::Result<bool> {
        let mut file = BufReader::new(File::open(path)?);
        let limit = if self.kind == ReportKind::Plan { LARGEST_PLAN } else { HEAD };
        let mut bytes = Vec::new();
        file.by_ref().take(limit).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let first = text.lines().next().unwrap_or_default();
        Ok(text.is_empty()
            || match self.kind {
                ReportKind::Findings => {
                    first.starts_with('{')
                        && ["\"report\":\"audit\"", "\"check\":"].iter().any(|key| first.contains(key))
                }
                ReportKind::Studies => first.starts_with("study,expected,") || first.contains("# audit of "),
                ReportKind::Page => text.contains("<title>Audit of "),
                ReportKind::Plan => plan::is_unedited(&text),
            })
    }
}

const NEW: &str = "Name another file, in a directory that you may write to.";

enum Target {
    /// A regular file, or a path that does not exist yet.
    File(PathBuf),
    /// A pipe or a device.
    Stream(PathBuf),
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn stream(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(File::options().append(true).open(path)?);
    fill(&mut out).and_then(|()| out.flush())
}

/// Writes to a temporary file that only its owner may read, in the directory of the final file, and
/// renames the temporary file.
fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let temporary = tempfile::Builder::new().prefix(".pacs-index-").suffix(".tmp").tempfile_in(directory(path))?;
    let mut out = BufWriter::new(temporary);
    fill(&mut out)?;
    let temporary = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    // Without this sync, the new name may be lost in a power failure. Errors are ignored because
    // not every file system can sync a directory.
    #[cfg(unix)]
    let _ = File::open(directory(path)).and_then(|directory| directory.sync_all());
    Ok(())
}
