//! The report of an audit: a summary by check on standard output, and each finding as a line of
//! JSON below a line that states the scope of the audit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;

use super::Done;
use super::finding::{Finding, Severity};
use super::last::{Last, Since};
use super::replica::{A_PATIENT, Compared, Difference};
use super::scope::Scope;
use crate::archive::skipped_directories::describe_counts;
use crate::exit::Exit;
use crate::progress::text;

pub struct AuditReport<'a> {
    pub done: &'a Done,
    /// The comparison with a replica, if there is one.
    pub compared: Option<&'a Compared>,
    pub scope: &'a Scope,
    /// The previous audit, if there was one.
    pub last: Option<&'a Last>,
    pub made_at: Timestamp,
    pub index: String,
    pub elapsed: Duration,
    pub fail_on: Severity,
    /// The path of the JSON report, if it was written.
    pub json: Option<PathBuf>,
    /// Earlier reports that were not replaced because the audit was interrupted.
    pub not_replaced: Vec<PathBuf>,
    /// The plan that was not written because of an alarm.
    pub withheld_plan: Option<PathBuf>,
    /// The rights that are missing to read the configuration of the PACS.
    pub missing_rights: Option<String>,
}

/// Maximum number of findings that are printed for each check. The JSON report contains all
/// findings.
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

    pub fn differences(&self) -> &[Difference] {
        self.compared.map_or(&[], |compared| &compared.differences)
    }

    pub fn text(&self) -> String {
        let done = self.done;
        let mut out = String::new();
        let mut line = |text: String| out.write_str(&(text + "\n")).unwrap_or_default();
        let outcome = match self.exit() {
            Exit::Interrupted => "interrupted",
            _ if done.alarm.is_some() => "ALARM",
            _ if done.findings.is_empty() && self.differences().is_empty() => &self.scope.nothing_found(),
            _ => "findings",
        };
        line(format!("audit of {}: {outcome}", self.index));
        line(String::new());
        let [files, rows, stubs] = [done.files, done.rows, done.stubs].map(text::count);
        line(format!("{files} files and {rows} rows compared in {}; {stubs} stubs", text::duration(self.elapsed)));
        line(shown(&self.scope.checks()));
        line(shown(&self.scope.place()));
        self.scope.gaps().into_iter().for_each(&mut line);
        self.missing_rights.iter().for_each(|message| line(shown(message)));
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
        self.since().into_iter().for_each(&mut line);
        if let Some(alarm) = &done.alarm {
            line(alarm.clone());
        }
        let mut by_check: BTreeMap<(std::cmp::Reverse<Severity>, &str), Vec<&Finding>> = BTreeMap::new();
        for finding in &done.findings {
            by_check.entry((std::cmp::Reverse(finding.severity), finding.check)).or_default().push(finding);
        }
        for ((severity, check), findings) in by_check {
            line(format!("\n{check:<28} {:<8} {:>12}", severity.0.name(), text::count(findings.len() as u64)));
            for finding in findings.iter().take(SHOWN) {
                let parts = [finding.uid.as_ref(), finding.path.as_ref(), Some(&finding.detail)];
                let parts = parts.map(|part| part.map(|part| shown(part)));
                line(format!("  {}", parts.into_iter().flatten().collect::<Vec<_>>().join(": ")));
            }
            if findings.len() > SHOWN {
                line("  ...".into());
            }
        }
        if let Some(compared) = self.compared {
            line(format!("\n{compared}"));
            for Difference { table, key, what } in compared.differences.iter().take(SHOWN * SHOWN) {
                line(format!("  {table} {}: {what}", key.as_deref().unwrap_or(A_PATIENT)));
            }
        }
        if let Some(json) = &self.json {
            line(format!("\neach finding, one a line: {}", text::path(json)));
        }
        for path in &self.not_replaced {
            line(format!("\nnot replaced, because this audit was interrupted: {}", text::path(path)));
        }
        if let Some(plan) = &self.withheld_plan {
            let outcome = if plan.exists() { "not replaced" } else { "not written" };
            line(format!("\n{outcome}, because of the alarm: {}", text::path(plan)));
        }
        out
    }

    /// Returns the comparison of the findings with those of the previous audit.
    fn since(&self) -> Option<String> {
        let last = self.last.filter(|_| self.done.alarm.is_none())?;
        let local = last.made_at().to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M");
        let Some(Since { new, still, gone, not_compared }) = last.since(&self.done.findings, self.scope) else {
            return Some(format!("the audit of {local} was of other roots, path maps or parts: not compared"));
        };
        let count = |count: u64, what: &str| format!("{} {what}", text::count(count));
        let counts = [
            Some(count(new, "new")),
            Some(count(still, "still there")),
            gone.map(|gone| count(gone, "gone")),
            (not_compared > 0)
                .then(|| count(not_compared, "findings that it did not look for or could not see: not compared")),
        ];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        Some(format!("since the audit of {local}: {}", counts.join(", ")))
    }

    /// Whether a finding is new. `None` if that is not known.
    pub fn is_new(&self, finding: &Finding) -> Option<bool> {
        self.last?.is_new(finding, self.scope)
    }

    /// Returns the first line of the JSON report: the scope of the audit, and whether the audit is
    /// complete.
    fn head(&self) -> serde_json::Value {
        let Scope { level, roots, path_maps, part, made, not_made, gaps, .. } = self.scope;
        let not_made: serde_json::Map<_, _> =
            not_made.iter().map(|(check, reason)| (check.clone(), reason.as_str().into())).collect();
        let last = self.last.filter(|last| last.since(&[], self.scope).is_some());
        json!({
            "report": "audit",
            "index": self.index,
            "made_at": self.made_at.to_string(),
            "level": level.name(),
            "roots": roots,
            "path_maps": path_maps,
            "part": part,
            "checks": made,
            "checks_not_made": not_made,
            "complete": gaps.is_empty(),
            "incomplete_because": gaps,
            "since": last.map(|last| last.made_at().to_string()),
            "files": self.done.files,
            "rows": self.done.rows,
            "stubs": self.done.stubs,
            "replica": self.compared.map(|compared| json!({
                "index": compared.name, "rows": compared.rows, "differences": compared.differences.len(),
            })),
        })
    }

    /// Writes the scope and all findings as JSON Lines.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.head())?;
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
            is_new: self.is_new(finding),
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
        alarm.chain(findings).chain(differences).try_for_each(|line| writeln!(out, "{}", serde_json::to_string(&line)?))
    }
}

/// Returns a text without control characters, so that it cannot control the terminal.
fn shown(text: &str) -> String {
    text::path(Path::new(text))
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
    /// Whether the previous audit did not have this finding.
    #[serde(rename = "new", skip_serializing_if = "Option::is_none")]
    is_new: Option<bool>,
}
