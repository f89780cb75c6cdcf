//! Regressions found by adversarial tests of the audit: most of these failed once.

mod checks;
mod clean;
mod falsely;
mod reports;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::stubs::{LinkInfo, ShellLink};
use crate::support::{Index, Said, Site, fixture_archive, instance_file, on_both_databases, pydicom};

pub(super) const UID: &str = crate::support::ROOT_UID;

pub(super) fn archive(site: &Site) {
    for study in 1..=4 {
        for series in 1..=2 {
            site.add_series("2021-11-12-FRI", study, series, 3);
        }
    }
}

pub(super) fn file(site: &Site, name: &str) -> std::path::PathBuf {
    site.archive().join("2021-11-12-FRI").join(format!("{UID}.{name}"))
}

pub(super) fn command(site: &Site, roots: &[&Path], index: &Index, more: &[&str]) -> Command {
    let _ = fs::remove_file(site.path("findings.jsonl"));
    let mut command = site.program(&["audit"]);
    command.args(roots).args(["--index", &index.url]);
    if !more.contains(&"--recheck-after") {
        command.args(["--recheck-after", "0s"]);
    }
    if !more.contains(&"--json") {
        command.args(["--json", "findings.jsonl"]);
    }
    command.args(more).env("PACS_INDEX_PASSWORD", crate::support::PASSWORD);
    command
}

pub(super) fn audit(site: &Site, index: &Index, more: &[&str]) -> Said {
    Said::of(&mut command(site, &[&site.archive()], index, more))
}

/// Runs an audit, and calls `happens` after some time while the audit runs.
pub(super) fn audit_while(site: &Site, index: &Index, more: &[&str], after: Duration, happens: impl FnOnce()) -> Said {
    let child =
        command(site, &[&site.archive()], index, more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sleep(after);
    happens();
    Said::new(child.wait_with_output().unwrap())
}

pub(super) fn lines(site: &Site) -> Vec<Json> {
    let text = fs::read_to_string(site.path("findings.jsonl")).unwrap_or_default();
    // The first line is the scope of the audit.
    text.lines().skip(1).map(|line| serde_json::from_str::<Json>(line).unwrap()).collect()
}

pub(super) fn found(site: &Site) -> Vec<(String, String)> {
    let mut found: Vec<_> = lines(site)
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().map(str::to_owned);
            let name = || text("path").map(|path| path.rsplit('/').next().unwrap().to_owned());
            (text("check").unwrap(), text("uid").or_else(name).unwrap_or_default())
        })
        .collect();
    found.sort();
    found
}

pub(super) fn is(check: &str, what: impl Into<String>) -> (String, String) {
    (check.to_owned(), what.into())
}

pub(super) const ALL: [&str; 4] = ["--level", "header", "--fail-on", "info"];

/// Two studies of one patient, received on two days; the patient's row has the later weight.
pub(super) fn growing_patient(site: &Site) {
    for (study, day, weight) in [(1, "2021-11-11-THU", "3.5"), (2, "2021-11-12-FRI", "4.5")] {
        site.add(
            &format!("{day}/{UID}.{study}.1.1"),
            json!({
                "PatientWeight": weight, "StudyInstanceUID": format!("{UID}.{study}"),
                "SeriesInstanceUID": format!("{UID}.{study}.1"), "SOPInstanceUID": format!("{UID}.{study}.1.1"),
            }),
        );
    }
}
