//! The scope of an audit, which each of its reports states.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::checks::{Asks, CHECKS, Check, unmapped_path};
use super::coverage::UNREADABLE_DIRECTORY;
use super::finding::Finding;
use super::{Depth, Done, Plan};
use crate::archive::PathMap;

/// The kind of a finding of the check `unmapped-path` about a directory instead of a row.
pub const UNMAPPED_DIRECTORY: &str = "unmapped-directory";

/// Returns the kind of a finding. Audits are compared by the kinds that they looked for.
pub fn kind(finding: &Finding) -> &'static str {
    match finding.check == unmapped_path::CHECK.name && finding.uid.is_none() {
        true => UNMAPPED_DIRECTORY,
        false => finding.check,
    }
}

/// The maximum number of checks that a line names one by one.
const NAMED: usize = 6;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    pub index: String,
    pub level: Depth,
    pub roots: Vec<String>,
    /// The path maps in the form that the user typed: `/mnt/dicom=D:/DICOM`.
    pub path_maps: Vec<String>,
    pub part: Option<String>,
    /// The names of the checks that ran.
    pub made: Vec<String>,
    /// The names of the other checks, each with the reason.
    pub not_made: Vec<(String, String)>,
    /// Whether roots whose paths the PACS may not know are accepted without a finding.
    pub allows_unmapped_paths: bool,
    /// The reasons why findings may be missing.
    pub gaps: Vec<String>,
    /// Whether the audit looked at its whole part to the end, so that an earlier finding that is
    /// missing now is gone.
    pub is_finished: bool,
    /// Whether directories could not be listed. This audit does not know whether their findings are
    /// gone.
    pub has_unreadable_directories: bool,
}

impl Scope {
    pub fn of(plan: &Plan<'_>, done: &Done, path_maps: &[String], compared_to_end: bool) -> Self {
        let reason = |check: &'static Check| reason(check, plan, done);
        let not_made = CHECKS.iter().filter_map(|check| Some((check.name.to_owned(), reason(check)?)));
        let made = CHECKS.iter().filter(|check| reason(check).is_none()).map(|check| check.name.to_owned());
        let interrupted = done.interrupted || !compared_to_end;
        let (unreadable, _) = done.coverage.unreadable();
        let gaps = [
            interrupted.then(|| "interrupted".to_owned()),
            done.alarm.as_ref().map(|_| "rows without a file are not listed one by one".to_owned()),
            plan.part.map(|part| format!("part {part} of the directories")),
            (unreadable > 0).then(|| format!("directories that cannot be listed: {unreadable}")),
        ];
        Scope {
            index: plan.index.clone(),
            level: plan.depth,
            roots: plan.roots.paths().iter().map(|root| root.to_string_lossy().into_owned()).collect(),
            path_maps: path_maps.to_vec(),
            part: plan.part.map(|part| part.to_string()),
            made: made.collect(),
            not_made: not_made.collect(),
            allows_unmapped_paths: plan.allow_unmapped_paths,
            gaps: gaps.into_iter().flatten().collect(),
            is_finished: !interrupted && done.alarm.is_none(),
            has_unreadable_directories: unreadable > 0,
        }
    }

    /// Whether both audits looked at the same rows and files.
    pub fn is_of_same_place(&self, other: &Scope) -> bool {
        let place = |scope: &Scope| {
            let mut roots = scope.roots.clone();
            roots.sort();
            let mut path_maps = scope.path_maps.clone();
            path_maps.sort();
            (scope.index.clone(), roots, path_maps, scope.part.clone())
        };
        place(self) == place(other)
    }

    /// Whether the audit looked for findings of a kind: the name of a check, or
    /// `UNREADABLE_DIRECTORY` or `UNMAPPED_DIRECTORY`. Every audit reports unreadable directories.
    pub fn has_looked_for(&self, kind: &str) -> bool {
        let has_made = |check: &str| self.made.iter().any(|made| made == check);
        match kind {
            UNREADABLE_DIRECTORY => true,
            UNMAPPED_DIRECTORY => has_made(unmapped_path::CHECK.name) && !self.allows_unmapped_paths,
            check => has_made(check),
        }
    }

    /// Returns the file below a root that a path in a finding names. The path is a path of this
    /// system or a stored path.
    pub fn file_of(&self, path: &str) -> Option<PathBuf> {
        let path_map = PathMap::new(self.path_maps.iter().filter_map(|text| text.parse().ok()).collect());
        path_map.from_index(path).filter(|file| self.roots.iter().any(|root| file.starts_with(root)))
    }

    /// Returns `nothing found`, with the number of checks if `--check` excluded some.
    pub fn nothing_found(&self) -> String {
        match self.is_limited() {
            true => format!("nothing found by {} of {} checks", self.made.len(), CHECKS.len()),
            false => "nothing found".into(),
        }
    }

    /// Returns the level and the checks: `level exists, 27 of 31 checks; needs --level size:
    /// cut-file; ...`.
    pub fn checks(&self) -> String {
        let counts = format!("level {}, {} of {} checks", self.level.name(), self.made.len(), CHECKS.len());
        if self.made.len() <= NAMED {
            return format!("{counts}: {}", self.made.join(", "));
        }
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for (check, reason) in &self.not_made {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, checks)) => checks.push(check),
                None => reasons.push((reason, vec![check])),
            }
        }
        let reasons = reasons.into_iter().map(|(reason, checks)| format!("; {reason}: {}", checks.join(", ")));
        counts + &reasons.collect::<String>()
    }

    /// Returns the roots and path maps.
    pub fn place(&self) -> String {
        let maps = match self.path_maps.is_empty() {
            true => String::new(),
            false => format!("; path maps: {}", self.path_maps.join(", ")),
        };
        format!("roots: {}{maps}", self.roots.join(", "))
    }

    /// Returns the reasons why findings may be missing, if there are any.
    pub fn gaps(&self) -> Option<String> {
        (!self.gaps.is_empty()).then(|| format!("not complete: {}", self.gaps.join("; ")))
    }

    /// Returns a line for a table that has no room for the whole scope: whether `--check` excluded
    /// checks, and whether the audit is incomplete. `None` if neither is the case.
    pub fn limit(&self) -> Option<String> {
        let gaps = self.gaps();
        (gaps.is_some() || self.is_limited()).then(|| {
            let gaps = gaps.map_or(String::new(), |gaps| format!("; {gaps}"));
            format!("audit of {}: {}{gaps}", self.index, self.checks())
        })
    }

    /// Whether `--check` excluded checks.
    fn is_limited(&self) -> bool {
        self.not_made.iter().any(|(_, reason)| reason == NOT_NAMED)
    }
}

const NOT_NAMED: &str = "not named by --check";

/// Returns why a check did not run. `None` if the check ran.
fn reason(check: &'static Check, plan: &Plan<'_>, done: &Done) -> Option<String> {
    if !plan.checks.iter().any(|planned| planned.name == check.name) {
        return Some(NOT_NAMED.into());
    }
    if check.depth() > plan.depth {
        return Some(format!("needs --level {}", check.depth().name()));
    }
    if matches!(check.asks, Asks::Tables(_)) && plan.part.is_some_and(|part| part.number() != 1) {
        return Some("belongs to the first part".into());
    }
    let answer = done.not_answered.iter().find(|(name, _)| *name == check.name);
    answer.map(|(_, why)| why.clone())
}
