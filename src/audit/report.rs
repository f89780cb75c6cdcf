//! What an audit tells: a summary by check on standard output, and each finding as a line of JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::Done;
use super::finding::{Finding, Severity};
use super::last::{Last, Since};
use super::replica::{Compared, Difference};
use crate::archive::Slice;
use crate::archive::skipped_directories::describe_counts;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::full_disk;
use crate::new_file::{self, Readers};
use crate::progress::text;

pub struct AuditReport<'a> {
    pub done: &'a Done,
    /// What a replica has.
    pub compared: Option<&'a Compared>,
    /// What was found before, if there was an audit.
    pub last: Option<&'a Last>,
    pub part: Option<Slice>,
    pub index: String,
    pub elapsed: Duration,
    pub fail_on: Severity,
    pub json: Option<&'a Path>,
}

/// As many findings of a check are shown; the file has all.
const SHOWN: usize = 3;

impl AuditReport<'_> {
    pub fn exit(&self) -> Exit {
        let is_alarm = self.done.alarm.is_some();
        let differs = self.compared.is_some_and(|compared| !compared.differences.is_empty());
        match self.done.interrupted || self.compared.is_some_and(|compared| compared.interrupted) {
            true => Exit::Interrupted,
            false
                if is_alarm
                    || differs
                    || self.done.coverage.unreadable().0 > 0
                    || self.done.findings.iter().any(|finding| finding.severity >= self.fail_on) =>
            {
                Exit::Findings
            }
            false => Exit::Clean,
        }
    }

    fn differences(&self) -> &[Difference] {
        self.compared.map_or(&[], |compared| &compared.differences)
    }

    pub fn text(&self) -> String {
        let done = self.done;
        let mut out = String::new();
        let mut line = |text: String| out.write_str(&(text + "\n")).unwrap_or_default();
        let outcome = match self.exit() {
            Exit::Interrupted => "interrupted",
            _ if done.alarm.is_some() => "ALARM",
            _ if done.findings.is_empty() && self.differences().is_empty() => "nothing found",
            _ => "findings",
        };
        line(format!("audit of {}: {outcome}", self.index));
        line(String::new());
        let [files, rows, stubs] = [done.files, done.rows, done.stubs].map(text::count);
        line(format!("{files} files and {rows} rows compared in {}; {stubs} stubs", text::duration(self.elapsed)));
        let (directories, left_out) = done.coverage.unreadable();
        if directories > 0 {
            let [directories, left_out] = [directories, left_out].map(text::count);
            line(format!(
                "DIRECTORIES UNREADABLE {directories}: {left_out} rows that name files below are not compared"
            ));
        }
        let skipped = done.coverage.skipped();
        if !skipped.is_empty() {
            line(format!("directories skipped by rule {}", describe_counts(&skipped, text::count)));
        }
        if let Some(part) = self.part {
            line(format!("part {part} of the directories, with the rows that name files there"));
        }
        if let (Some(last), None) = (self.last, &done.alarm) {
            let Since { new, still, gone } = last.since(&done.findings);
            let [new, still, gone] = [new, still, gone].map(text::count);
            line(format!("since the audit before: {new} new, {still} still there, {gone} gone"));
        }
        if let Some(alarm) = &done.alarm {
            line(alarm.clone());
        }
        for why in &done.not_answered {
            line(format!("not answered by this index: {why}"));
        }
        let mut by_check: BTreeMap<(std::cmp::Reverse<Severity>, &str), Vec<&Finding>> = BTreeMap::new();
        for finding in &done.findings {
            by_check.entry((std::cmp::Reverse(finding.severity), finding.check)).or_default().push(finding);
        }
        for ((severity, check), findings) in by_check {
            line(format!("\n{check:<28} {:<8} {:>12}", severity.0.name(), text::count(findings.len() as u64)));
            for finding in findings.iter().take(SHOWN) {
                let path = finding.path.as_ref().map(|path| text::path(Path::new(path)).to_string());
                let shown = |text: &String| text::path(Path::new(text));
                let parts = [finding.uid.as_ref().map(shown), path, Some(shown(&finding.detail))];
                line(format!("  {}", parts.into_iter().flatten().collect::<Vec<_>>().join(": ")));
            }
            if findings.len() > SHOWN {
                line("  ...".into());
            }
        }
        if let Some(Compared { rows, differences, .. }) = self.compared {
            let [rows, differ] = [*rows, differences.len() as u64].map(text::count);
            line(format!("\nreplica: {rows} rows compared, {differ} differ"));
            for Difference { table, key, what } in differences.iter().take(SHOWN * SHOWN) {
                line(format!("  {table} {}: {what}", key.as_deref().unwrap_or("(a patient)")));
            }
        }
        if let Some(json) = self.json {
            line(format!("\neach finding, one a line: {}", text::path(json)));
        }
        out
    }

    /// Writes all findings into a new file.
    pub fn write_json(&self) -> Result<()> {
        let Some(path) = self.json else { return Ok(()) };
        let file = new_file::create(path, "the list of findings", "--json", false, Readers::Usual)?;
        let mut out = BufWriter::new(file);
        let alarm = self.done.alarm.iter().map(|detail| Line {
            check: "archive-gone",
            severity: Severity::Error.name(),
            uid: None,
            path: None,
            detail,
            is_new: None,
        });
        let findings = self.done.findings.iter().map(|finding| Line {
            check: finding.check,
            severity: finding.severity.name(),
            uid: finding.uid.as_deref(),
            path: finding.path.as_deref(),
            detail: &finding.detail,
            is_new: self.last.map(|last| !last.had(finding)),
        });
        let details: Vec<String> = self.differences().iter().map(|d| format!("{}: {}", d.table, d.what)).collect();
        let differences = self.differences().iter().zip(&details).map(|(difference, detail)| Line {
            check: "replica-differs",
            severity: Severity::Error.name(),
            uid: difference.key.as_deref(),
            path: None,
            detail,
            is_new: None,
        });
        let written = alarm.chain(findings).chain(differences).try_for_each(|line| -> io::Result<()> {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")
        });
        written.and_then(|()| out.flush()).map_err(|error| {
            let error = full_disk::named_by_file(path, error);
            Error::unfinished(
                format!("--json {}: {error}", path.display()),
                "The list is not complete. Make room, and run the same command again.",
            )
        })
    }
}

#[derive(Serialize)]
struct Line<'a> {
    check: &'a str,
    severity: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    detail: &'a str,
    /// The audit before did not find it.
    #[serde(rename = "new", skip_serializing_if = "Option::is_none")]
    is_new: Option<bool>,
}

/// Writes a text into a new file.
pub fn write(path: &Path, what: &str, option: &str, text: &str) -> Result<()> {
    write_for(Readers::Usual, path, what, option, text)
}

/// It holds values of rows.
pub fn write_for_owner(path: &Path, what: &str, option: &str, text: &str) -> Result<()> {
    write_for(Readers::Owner, path, what, option, text)
}

fn write_for(readers: Readers, path: &Path, what: &str, option: &str, text: &str) -> Result<()> {
    let mut file = new_file::create(path, what, option, false, readers)?;
    file.write_all(text.as_bytes()).map_err(|error| {
        let error = full_disk::named_by_file(path, error);
        Error::unfinished(
            format!("{option} {}: {error}", path.display()),
            "It is not complete. Make room, and run the same command again.",
        )
    })
}
