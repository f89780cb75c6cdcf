//! `pacs-index audit`: compares archive and index both ways, and changes nothing.

use std::time::Instant;

use jiff::Zoned;

use super::interrupt::stop_on_interrupt;
use super::say;
use crate::audit::last::{self, Last};
use crate::audit::replica::{self, Compared, Servers};
use crate::audit::report::{self, AuditReport};
use crate::audit::watch::Watch;
use crate::audit::{self, Plan, csv, html, plan};
use crate::cli;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::index::Location;
use crate::index::inspect::Inspector;
use crate::index::location::Access;
use crate::pipeline::Stop;
use crate::progress;
use crate::settings::audit::Audit;

pub fn run(typed: &cli::Audit) -> Result<Exit> {
    let settings = Audit::resolve(typed)?;
    let stop = Stop::default();
    stop_on_interrupt(&stop)?;
    if settings.progress.is_some() {
        let servers = [Some(&settings.location), settings.replica.as_ref()];
        super::warn_of_unverified(settings.progress, servers.into_iter().flatten().map(Location::tls_warning));
    }
    let tables = settings.location.prepare(Access::DryRun)?;
    let mut inspector = Inspector::new(&settings.location, &tables)?;
    let begun = Instant::now();
    let watch = Watch::default();
    let mut observer = progress::observer(settings.progress);
    let to_do = Plan {
        roots: &settings.roots,
        path_map: &settings.path_map,
        locator: &settings.locator,
        depth: settings.depth,
        part: settings.part,
        max_rate: settings.max_rate,
        checks: settings.checks.clone(),
        settle: settings.settle,
        io_threads: settings.io_threads,
        scratch: std::env::temp_dir(),
        stop: &stop,
        watch: &watch,
        index: settings.location.shown(),
    };
    let done = std::thread::scope(|scope| {
        scope.spawn(|| watch.show(observer.as_mut()));
        let done = audit::audit(&to_do, &mut inspector);
        watch.end();
        done
    })?;
    let compared =
        settings.replica.as_ref().map(|replica| compare(replica, &settings, &mut inspector, &stop)).transpose()?;
    let last = Last::read(&settings.last);
    let report = AuditReport {
        done: &done,
        compared: compared.as_ref(),
        last: last.as_ref(),
        part: settings.part,
        index: settings.location.shown(),
        elapsed: begun.elapsed(),
        fail_on: settings.fail_on,
        json: settings.json.as_deref(),
    };
    report.write_json()?;
    if let (Some(path), None) = (&settings.plan, &done.alarm) {
        let steps = plan::text(&settings.location.shown(), &done.findings).map_err(|error| defect(&error))?;
        report::write_for_owner(path, "the plan", "--plan", &steps)?;
    }
    let failed = |failure| {
        Error::unfinished(
            format!("the index {} cannot be read: {failure}", settings.location.shown()),
            "The list of findings is complete; the table or the page is not there. Run the same command again.",
        )
    };
    if let Some(path) = &settings.csv {
        let table = csv::by_study(&done.findings, &mut inspector).map_err(failed)?;
        report::write(path, "the table of studies", "--csv", &table)?;
    }
    if let Some(path) = &settings.html {
        let census = inspector.census().map_err(failed)?;
        let made_at = Zoned::now().strftime("%Y-%m-%d %H:%M").to_string();
        report::write(path, "the page", "--html", &html::page(&report, &census, &made_at))?;
    }
    say(&report.text());
    // An alarm, and what was not looked at to its end, say nothing of what was found before.
    if !done.interrupted && done.alarm.is_none() {
        last::write(&settings.last, &done.findings).map_err(|error| {
            Error::unfinished(
                format!("what was found cannot be kept for the next audit: {}: {error}", settings.last.display()),
                "The report is complete. Name another file with --last.",
            )
        })?;
    }
    Ok(report.exit())
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
