//! The runs in a log: the header of each, the part of the log that it wrote, and whether its rows
//! are finalized.
//!
//! The runs of a database follow each other in its log. A killed run stays open until a run of the
//! same kind over the same roots resumes it, or until a walk over all of its roots has finalized
//! its rows.

use std::io;

use serde::{Deserialize, Serialize};

use super::log::{Frame, Kind, Log};
use super::record::decode;

/// The files that a run indexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunKind {
    /// All files below its roots.
    #[default]
    Walk,
    /// The files of a list.
    Named,
    Import,
}

/// The header of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// A hash of the settings that rows depend on.
    pub settings: u64,
    /// The first day whose directories the run walks.
    pub since: Option<String>,
    /// Whether the index contained no image when the run began.
    pub with_empty_index: bool,
    pub kind: RunKind,
    /// The paths of the roots, in their order. Empty for runs of version 0.1.0.
    pub roots: Vec<Vec<u8>>,
    /// The hash of the settings of this run in the form that version 0.1.0 used.
    #[serde(skip)]
    pub former_settings: u64,
}

/// The payload that version 0.1.0 wrote.
type FormerBegun = (u64, Option<String>, bool);

impl Begun {
    pub fn decode(payload: &[u8]) -> io::Result<Self> {
        decode(payload).or_else(|_| {
            let (settings, since, with_empty_index) = decode::<FormerBegun>(payload)?;
            Ok(Begun { settings, since, with_empty_index, ..Begun::default() })
        })
    }

    /// Returns whether another run had the settings of this one.
    pub fn has_settings_of(&self, other: &Begun) -> bool {
        let hash = if other.is_former() { self.former_settings } else { self.settings };
        other.settings == hash
    }

    fn is_former(&self) -> bool {
        self.roots.is_empty()
    }

    /// Returns whether this run walks all directories that another run walked.
    pub fn covers(&self, other: &Begun) -> bool {
        self.since.as_ref().is_none_or(|since| other.since.as_ref().is_some_and(|other| since <= other))
    }

    /// Returns whether this run may resume another, because both index the same files with the same
    /// settings. Each run over a list reads all of its files, and each import compares all of them,
    /// so neither is resumed.
    pub fn continues(&self, other: &Begun) -> bool {
        let has_roots = other.is_former() || self.roots == other.roots;
        self.kind == RunKind::Walk && other.kind == RunKind::Walk && has_roots && self.has_settings_of(other)
    }

    /// Returns whether no row of an earlier run is left unfinished once this run has finalized its
    /// rows, because this run has found all files of the earlier one.
    fn settles(&self, other: &Begun) -> bool {
        let has_met = |root: &Vec<u8>| self.roots.iter().any(|own| is_at_or_below(root, own));
        self.kind == RunKind::Walk && self.covers(other) && other.roots.iter().all(has_met)
    }
}

/// Returns whether `directory` is `other`, or is below it.
fn is_at_or_below(directory: &[u8], other: &[u8]) -> bool {
    let rest = directory.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || other.ends_with(b"/") || matches!(rest[0], b'/' | b'\\'))
}

/// The part of a log that a run wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The start of the frame that begins the run.
    pub start: u64,
    pub end: u64,
}

impl Span {
    pub fn contains(&self, at: u64) -> bool {
        (self.start..self.end).contains(&at)
    }
}

/// A run in a log.
#[derive(Clone, Debug)]
pub struct LoggedRun {
    pub begun: Begun,
    pub span: Span,
    /// Whether neither this run nor a later one has finalized the rows of this run.
    pub is_open: bool,
}

/// Returns the runs that begin in these frames, in the order of the log.
pub fn runs(log: &Log, frames: &[Frame]) -> Vec<LoggedRun> {
    let mut runs: Vec<LoggedRun> = Vec::new();
    for frame in frames {
        match frame.kind {
            Kind::Begun => {
                let begun = log.payload(frame).and_then(|payload| Begun::decode(&payload)).unwrap_or_default();
                if let Some(last) = runs.last_mut() {
                    last.span.end = frame.start();
                }
                runs.push(LoggedRun { begun, span: Span { start: frame.start(), end: u64::MAX }, is_open: true });
            }
            Kind::Closed => {
                if let Some((closed, earlier)) = runs.split_last_mut() {
                    closed.is_open = false;
                    earlier.iter_mut().for_each(|run| run.is_open &= !closed.begun.settles(&run.begun));
                }
            }
            Kind::Distrusted => runs.iter_mut().for_each(|run| run.is_open = false),
            _ => {}
        }
    }
    runs
}
