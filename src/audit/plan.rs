//! The plan of a repair: JSON Lines, one action a line, which a person may read, edit and cut. What only a person can
//! decide is not enabled.

use std::io::{self, BufRead};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::finding::{Finding, Mend};

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Of the form of the lines.
    pub plan: u32,
    /// The index that was audited.
    pub index: String,
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
    /// A column of a row, if it still holds what it did.
    Set { table: String, key: String, column: String, from: Option<String>, to: Option<String> },
    /// A row whose file is not there, if it still names that.
    RemoveImage { key: String, path: String },
    /// The instance of a file, as `reindex` inserts it.
    Insert { key: String, file: PathBuf },
}

pub const FORM: u32 = 1;

/// A path that has moved and a number that is derived are mended by whoever runs the plan; user state and rows that would
/// go are for a person to enable.
fn is_enabled(finding: &Finding) -> bool {
    matches!(finding.check, "moved-file" | "instances-differ" | "unindexed-file")
}

pub fn step(finding: &Finding) -> Option<Step> {
    let key = finding.uid.clone()?;
    let action = match finding.mend.clone()? {
        Mend::Set { table, column, from, to } => Action::Set { table, key, column, from, to },
        Mend::Insert => Action::Insert { key, file: finding.path.clone()?.into() },
        Mend::RemoveImage => Action::RemoveImage { key, path: finding.path.clone()? },
    };
    Some(Step { enabled: is_enabled(finding), check: finding.check.to_owned(), action })
}

pub fn text(index: &str, findings: &[Finding]) -> serde_json::Result<String> {
    let mut text = serde_json::to_string(&Head { plan: FORM, index: index.to_owned() })? + "\n";
    for step in findings.iter().filter_map(step) {
        text += &(serde_json::to_string(&step)? + "\n");
    }
    Ok(text)
}

/// Describes why a line of a plan or an undo file cannot be read. The parser's own text may repeat what the line holds.
pub fn not_json(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => "it lacks a field, or has one with another value than this program writes".into(),
        Category::Eof => "it is cut off".into(),
        Category::Syntax | Category::Io => format!("it is not JSON from column {} on", error.column()),
    }
}

/// Head and steps. An error names the line.
pub fn read(from: impl BufRead) -> Result<(Head, Vec<Step>), String> {
    let mut lines =
        from.lines().enumerate().filter(|(_, line)| line.as_ref().is_ok_and(|line| !line.trim().is_empty()));
    let mut next = || lines.next().map(|(n, line): (usize, io::Result<String>)| (n + 1, line));
    let wrong = |n: usize, error: &dyn std::fmt::Display| format!("line {n}: {error}");
    let (n, head) = next().ok_or("it is empty")?;
    let head: Head =
        serde_json::from_str(&head.map_err(|error| wrong(n, &error))?).map_err(|error| wrong(n, &not_json(&error)))?;
    if head.plan != FORM {
        return Err(wrong(n, &"this is the plan of another version"));
    }
    let mut steps = Vec::new();
    while let Some((n, line)) = next() {
        let line = line.map_err(|error| wrong(n, &error))?;
        steps.push(serde_json::from_str(&line).map_err(|error| wrong(n, &not_json(&error)))?);
    }
    Ok((head, steps))
}
