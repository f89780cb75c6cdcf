//! `pacs-index audit`: compares the archive and the index in both directions, and changes nothing.

use std::path::PathBuf;
use std::time::Instant;

use jiff::{Timestamp, Zoned};

use super::interrupt::stop_on_interrupt;
use super::path_evidence::MapSource;
use super::stored_paths::{self, Comparison, Doubt};
use super::{complain, say};
use crate::archive::Naming;
use crate::archive::stored_region::DoubtfulRegions;
use crate::audit::finding::Finding;
use crate::audit::last::Last;
use crate::audit::replica::{self, Compared, Servers};
use crate::audit::report::AuditReport;
use crate::audit::report_file::{ReportFile, ReportKind};
use crate::audit::scope::Scope;
use crate::audit::watch::Watch;
use crate::audit::{self, Plan, csv, html, plan};
use crate::cli;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::full_disk;
use crate::index::Location;
use crate::index::inspect::Inspector;
use crate::index::location::Access;
use crate::pipeline::Stop;
use crate::progress;
use crate::progress::notice::note;
use crate::settings::audit::{Audit, ReportFiles};
use crate::settings::{self, StateDirectory};

pub fn run(typed: &cli::Audit) -> Result<Exit> {
    let settings = Audit::resolve(typed)?;
    let stop = Stop::default();
    stop_on_interrupt(&stop)?;
    if settings.progress.is_some() {
        let servers = [Some(&settings.location), settings.replica.as_ref()];
        super::warn_of_unverified(settings.progress, servers.into_iter().flatten().map(Location::tls_warning));
    }
    let tables = settings.location.prepare(Access::DryRun)?;
    settings.kept_in.as_ref().map_or(Ok(()), StateDirectory::make)?;
    let Comparison { paths, doubts, regions, missing_rights } = compare_paths(&settings)?;
    let doubtful = match settings.allow_unmapped_paths {
        true => DoubtfulRegions::default(),
        false => DoubtfulRegions { all: regions, doubtful: doubts.iter().map(|it| it.directory.clone()).collect() },
    };
    let naming = Naming { path_map: settings.path_map.clone(), directories: paths.directories };
    let mut inspector = Inspector::new(&settings.location, &tables)?;
    let (begun, made_at) = (Instant::now(), now());
    let watch = Watch::default();
    let mut observer = progress::observer(settings.progress);
    let to_do = Plan {
        roots: &settings.roots,
        naming: &naming,
        locator: &settings.locator,
        depth: settings.depth,
        part: settings.part,
        max_rate: settings.max_rate,
        checks: settings.checks.clone(),
        allow_unmapped_paths: settings.allow_unmapped_paths,
        settle: settings.settle,
        io_threads: settings.io_threads,
        scratch: std::env::temp_dir(),
        stop: &stop,
        watch: &watch,
        index: settings::name(&settings.location),
    };
    let mut done = std::thread::scope(|scope| {
        scope.spawn(|| watch.show(observer.as_mut()));
        let done = audit::audit(&to_do, &mut inspector);
        watch.end();
        done
    })?;
    // An alarm means that most rows have no file. Such rows are not evidence, and the alarm itself
    // mentions the path maps.
    if done.alarm.is_none() {
        done.findings.extend(unmapped_regions(doubts, &settings));
    }
    let compared =
        settings.replica.as_ref().map(|replica| compare(replica, &settings, &mut inspector, &stop)).transpose()?;
    let compared_to_end = compared.as_ref().is_none_or(|compared| !compared.interrupted);
    let scope = Scope::of(&to_do, &done, &settings.path_map.texts(), compared_to_end);
    let (last, damage) = Last::read(&settings.last);
    let mut report = AuditReport {
        done: &done,
        compared: compared.as_ref(),
        scope: &scope,
        last: last.as_ref(),
        made_at,
        index: settings.location.shown(),
        elapsed: begun.elapsed(),
        fail_on: settings.fail_on,
        json: settings.reports.json.as_ref().map(|file| file.path.clone()),
        not_replaced: Vec::new(),
        withheld_plan: None,
        missing_rights,
    };
    let head = plan::Head::new(&scope, settings.roots.paths(), settings.locator.target_roots());
    let draft = plan::Draft { head, doubtful };
    let written = write_reports(&settings.reports, &report, &draft, &mut inspector);
    report.not_replaced = written.not_replaced;
    report.withheld_plan = written.withheld_plan;
    let has_failed = |path: &PathBuf| written.failed.iter().any(|(failed, _)| failed == path);
    report.json = report.json.filter(|path| !report.not_replaced.contains(path) && !has_failed(path));
    say(&report.text());
    let mut notes = Vec::from_iter(damage);
    if scope.is_finished {
        let keep = settings.reports.keep.filter(|_| written.failed.is_empty());
        let old = keep.map(|keep| settings.reports.all().filter_map(move |file| file.prune(keep)));
        notes.extend(old.into_iter().flatten());
        // A file that cannot be opened has already been reported when it was read.
        let kept = match settings.last.is_unreadable() {
            true => Ok(()),
            false => Last::new(made_at, &scope, &done.findings).write(&settings.last),
        };
        notes.extend(kept.err().map(|error| {
            let error = full_disk::named_by_file(settings.last.path(), error);
            format!("the findings cannot be kept for the next audit: {}: {error}", settings.last.path().display())
        }));
    }
    notes.iter().for_each(|message| note(settings.progress, message));
    match written.failed.is_empty() {
        true => Ok(report.exit()),
        false => {
            written.failed.iter().for_each(|(_, error)| complain(error));
            Ok(Exit::Unfinished)
        }
    }
}

/// The outcome of writing reports.
#[derive(Default)]
struct WrittenReports {
    /// Complete reports of an earlier audit, which an interrupted audit does not replace.
    not_replaced: Vec<PathBuf>,
    /// The plan that is not written because of an alarm.
    withheld_plan: Option<PathBuf>,
    /// Reports that could not be written.
    failed: Vec<(PathBuf, Error)>,
}

/// Compares the paths by which the PACS would know the files below the roots with its configuration
/// and with rows.
fn compare_paths(settings: &Audit) -> Result<Comparison> {
    stored_paths::compare(&stored_paths::Request {
        location: &settings.location,
        roots: &settings.roots,
        path_map: &settings.path_map,
        files: None,
        locator: &settings.locator,
        access: Access::DryRun,
        map_source: MapSource::Options,
        allow_unmapped: settings.allow_unmapped_paths,
        progress: settings.progress,
    })
}

/// Returns a finding for each region whose paths the PACS does not know. Without these findings, an
/// audit that lacks a path map would agree with rows that lack the map as well. In an audit of
/// parts, the first part reports the findings.
fn unmapped_regions(doubts: Vec<Doubt>, settings: &Audit) -> impl Iterator<Item = Finding> {
    let is_first = settings.part.is_none_or(|part| part.number() == 1);
    let check = settings.checks.iter().find(|check| check.name == "unmapped-path").copied();
    let check = check.filter(|_| is_first && !settings.allow_unmapped_paths);
    doubts.into_iter().filter_map(move |doubt| {
        let check = check?;
        Some(Finding {
            check: check.name,
            severity: check.severity,
            uid: None,
            path: Some(doubt.directory.display().to_string()),
            detail: doubt.text,
            mend: None,
        })
    })
}

/// Returns the current time, in whole seconds.
fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}

/// Writes the reports. A report that cannot be written does not prevent the others. An interrupted
/// audit does not replace existing reports.
fn write_reports(
    files: &ReportFiles,
    report: &AuditReport<'_>,
    draft: &plan::Draft,
    inspector: &mut Inspector,
) -> WrittenReports {
    let is_interrupted = report.exit() == Exit::Interrupted;
    let mut written = WrittenReports::default();
    for file in files.all() {
        if is_interrupted && file.exists() {
            written.not_replaced.push(file.path.clone());
        } else if file.kind() == ReportKind::Plan && report.done.alarm.is_some() {
            // The steps of an audit with an alarm would do harm.
            written.withheld_plan = Some(file.path.clone());
        } else if let Err(error) = write_report(file, report, draft, inspector) {
            written.failed.push((file.path.clone(), error));
        }
    }
    written
}

fn write_report(
    file: &ReportFile,
    report: &AuditReport<'_>,
    draft: &plan::Draft,
    inspector: &mut Inspector,
) -> Result<()> {
    let failed = |failure| {
        Error::unfinished(
            format!("{} {}: the index {} cannot be read: {failure}", file.option(), file.path.display(), report.index),
            "This report was not written. Run the same command again.",
        )
    };
    match file.kind() {
        ReportKind::Findings => file.replace(|out| report.write_json(out)),
        ReportKind::Plan => {
            let steps = draft.text(&report.done.findings).map_err(|error| defect(&error))?;
            file.replace(|out| out.write_all(steps.as_bytes()))
        }
        ReportKind::Studies => {
            let limit = report.scope.limit();
            let table = csv::by_study(&report.done.findings, limit.as_deref(), inspector).map_err(failed)?;
            file.replace(|out| out.write_all(table.as_bytes()))
        }
        ReportKind::Page => {
            let census = inspector.census().map_err(failed)?;
            let made_at = Zoned::now().strftime("%Y-%m-%d %H:%M").to_string();
            let page = html::page(report, &census, &made_at);
            file.replace(|out| out.write_all(page.as_bytes()))
        }
    }
}

fn compare(replica: &Location, settings: &Audit, master: &mut Inspector, stop: &Stop) -> Result<Compared> {
    let tables = replica.prepare(Access::DryRun)?;
    let mut inspector = Inspector::new(replica, &tables)?;
    let names = [settings.location.shown(), replica.shown()];
    let mut servers = Servers { master, replica: &mut inspector, names };
    replica::compare(&mut servers, settings.settle, stop)
}

fn defect(error: &dyn std::fmt::Display) -> Error {
    Error::unfinished(
        format!("the plan cannot be written, which is a defect of this program: {error}"),
        "Please report it.",
    )
}
