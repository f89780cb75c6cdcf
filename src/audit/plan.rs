//! The plan of a repair: JSON Lines, with one action per line, which a person may read, edit and
//! shorten. Actions that require the decision of a person are not enabled.

use std::io::{self, BufRead};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::checks::CHECKS;
use super::finding::{Finding, Mend};
use super::scope::Scope;
use crate::archive::PathMap;
use crate::archive::stored_region::DoubtfulRegions;

/// The first line of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The version of the format.
    pub plan: u32,
    /// The index that was audited.
    pub index: String,
    /// The roots that were audited. Plans of version 1 do not contain them.
    #[serde(default)]
    pub roots: Vec<PathBuf>,
    /// The path maps of the audit.
    #[serde(default, rename = "path-map")]
    pub path_map: Vec<String>,
    /// The directories beside the roots that links and pointer files may point to.
    #[serde(default, rename = "target-roots", skip_serializing_if = "Vec::is_empty")]
    pub target_roots: Vec<PathBuf>,
    /// The reasons why the plan may lack steps: the audit was interrupted, or compared only a part
    /// of the archive. Empty if the audit was complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incomplete_because: Vec<String>,
    /// A hash of the whole plan without this field, which shows whether the plan was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

impl Head {
    /// Returns the first line of the plan for an audit with this scope.
    pub fn new(scope: &Scope, roots: &[PathBuf], target_roots: &[PathBuf]) -> Self {
        Head {
            plan: FORM,
            index: scope.index.clone(),
            roots: roots.to_vec(),
            path_map: scope.path_maps.clone(),
            target_roots: target_roots.to_vec(),
            incomplete_because: scope.gaps.clone(),
            checksum: None,
        }
    }

    fn check(&self) -> Result<(), String> {
        match (self.plan, self.roots.is_empty(), self.path_map.is_empty()) {
            (FORM, false, _) | (FORM_WITHOUT_ROOTS, true, true) => Ok(()),
            (FORM, true, _) => Err("the plan names no roots".into()),
            (FORM_WITHOUT_ROOTS, ..) => Err("a plan of this form names no roots and no path maps".into()),
            _ => Err("this is the plan of another version".into()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub enabled: bool,
    pub check: String,
    #[serde(flatten)]
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// Sets a column of a row, if the column still has the value `from`.
    Set { table: String, key: String, column: String, from: Option<String>, to: Option<String> },
    /// Removes a row whose file is missing, if the row still names that file.
    RemoveImage { key: String, path: String },
    /// Inserts the instance in a file, as `reindex` does.
    Insert { key: String, file: PathBuf },
}

impl Action {
    /// Returns the key of the row that the action changes.
    pub fn key(&self) -> &str {
        match self {
            Action::Set { key, .. } | Action::RemoveImage { key, .. } | Action::Insert { key, .. } => key,
        }
    }

    /// Returns the file whose path the action stores in a row.
    fn stored_file(&self, path_map: &PathMap) -> Option<PathBuf> {
        match self {
            Action::Set { table, column, to: Some(to), .. } if table == "image" && column == "path" => {
                path_map.from_index(to)
            }
            Action::Insert { file, .. } => Some(file.clone()),
            Action::Set { .. } | Action::RemoveImage { .. } => None,
        }
    }

    /// Returns the JSON keys of this action, without the keys that every line has.
    fn keys(&self) -> &'static [&'static str] {
        match self {
            Action::Set { .. } => &["table", "key", "column", "from", "to"],
            Action::RemoveImage { .. } => &["key", "path"],
            Action::Insert { .. } => &["key", "file"],
        }
    }
}

pub const FORM: u32 = 2;

/// The version of plans that contain no roots and no path maps.
pub const FORM_WITHOUT_ROOTS: u32 = 1;

/// Whether the step for a finding is enabled. Moved paths, derived numbers and missing rows can be
/// repaired automatically. A person must enable changes of user state and the removal of rows.
fn is_enabled(finding: &Finding) -> bool {
    matches!(finding.check, "moved-file" | "unmapped-path" | "instances-differ" | "unindexed-file")
}

/// A plan before it is written.
pub struct Draft {
    pub head: Head,
    /// The directories whose paths the PACS may not know. A step that stores the path of a file
    /// below such a directory is not enabled.
    pub doubtful: DoubtfulRegions,
}

impl Draft {
    /// Returns the text of the plan for these findings.
    pub fn text(&self, findings: &[Finding]) -> serde_json::Result<String> {
        let path_map = PathMap::new(self.head.path_map.iter().filter_map(|text| text.parse().ok()).collect());
        let mut steps = String::new();
        for mut step in findings.iter().filter_map(step) {
            let file = step.action.stored_file(&path_map);
            step.enabled &= !file.is_some_and(|file| self.doubtful.hold(&file));
            steps += &(serde_json::to_string(&step)? + "\n");
        }
        sealed(self.head.clone(), &steps)
    }
}

pub fn step(finding: &Finding) -> Option<Step> {
    let key = finding.uid.clone()?;
    let action = match finding.mend.clone()? {
        Mend::Set { from, to, .. } if from == to => return None,
        Mend::Set { table, column, from, to } => Action::Set { table, key, column, from, to },
        Mend::Insert => Action::Insert { key, file: finding.path.clone()?.into() },
        Mend::RemoveImage => Action::RemoveImage { key, path: finding.path.clone()? },
    };
    Some(Step { enabled: is_enabled(finding), check: finding.check.to_owned(), action })
}

/// Returns a plan with its checksum.
fn sealed(mut head: Head, steps: &str) -> serde_json::Result<String> {
    head.checksum = None;
    let open = serde_json::to_string(&head)? + "\n" + steps;
    head.checksum = Some(format!("{:016x}", xxh3_64(open.as_bytes())));
    Ok(serde_json::to_string(&head)? + "\n" + steps)
}

/// Whether a text is a plan that was not edited after `audit` wrote it.
pub fn is_unedited(text: &str) -> bool {
    let Some((head, steps)) = text.split_once('\n') else { return false };
    let head = serde_json::from_str::<Head>(head);
    head.and_then(|head| sealed(head, steps)).is_ok_and(|sealed| sealed == text)
}

/// Describes why a line of a plan or an undo file cannot be read. The message of the parser is not
/// used, because it may quote the content of the line.
pub fn not_json(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => "it lacks a field, or has one with another value than this program writes".into(),
        Category::Eof => "it is cut off".into(),
        Category::Syntax | Category::Io => format!("it is not JSON from column {} on", error.column()),
    }
}

/// Reads the first line and the steps, each with its line number. An error names the line.
pub fn read(from: impl BufRead) -> Result<(Head, Vec<(usize, Step)>), String> {
    let mut lines =
        from.lines().enumerate().filter(|(_, line)| line.as_ref().map_or(true, |line| !line.trim().is_empty()));
    let mut next = || lines.next().map(|(n, line): (usize, io::Result<String>)| (n + 1, line));
    let wrong = |n: usize, error: &dyn std::fmt::Display| format!("line {n}: {error}");
    let (n, head) = next().ok_or("it is empty")?;
    let head = head.map_err(|error| wrong(n, &error))?;
    // Editors on Windows save a byte order mark.
    let head = head.strip_prefix('\u{feff}').unwrap_or(&head);
    let head: Head = serde_json::from_str(head).map_err(|error| wrong(n, &not_json(&error)))?;
    head.check().map_err(|error| wrong(n, &error))?;
    let mut steps = Vec::new();
    while let Some((n, line)) = next() {
        let line = line.map_err(|error| wrong(n, &error))?;
        steps.push((n, parse(&line).map_err(|error| wrong(n, &error))?));
    }
    Ok((head, steps))
}

/// Parses a step. The line must have all keys of its action, and no others.
fn parse(line: &str) -> Result<Step, String> {
    let step: Step = serde_json::from_str(line).map_err(|error| not_json(&error))?;
    let found: Map<String, Value> = serde_json::from_str(line).map_err(|error| not_json(&error))?;
    let keys = [&["enabled", "check", "action"], step.action.keys()].concat();
    if let Some(unknown) = found.keys().find(|key| !keys.contains(&key.as_str())) {
        return Err(format!("the key `{unknown}` is unknown"));
    }
    if !CHECKS.iter().any(|check| check.name == step.check) {
        return Err(format!("the check `{}` is unknown", step.check));
    }
    match keys.iter().find(|key| !found.contains_key(**key)) {
        Some(missing) => Err(format!("the key `{missing}` is missing")),
        None => Ok(step),
    }
}
