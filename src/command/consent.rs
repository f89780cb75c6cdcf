//! The checks, notices and questions before anything is written: whether the server is the right
//! one, whether its replicas answer, and whether the PACS purges or moves studies that reappear.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use super::path_evidence::MapSource;
use super::stored_paths::{self, StoredPaths};
use crate::error::{Error, Result};
use crate::index::Location;
use crate::index::galera;
use crate::index::location::Access;
use crate::index::purge::{self, Purging};
use crate::index::replica::{Address, Replica};
use crate::index::server::Server;
use crate::progress::Form;
use crate::progress::notice::note;
use crate::settings::Reindex;

/// The outcome of the checks and questions before a run.
pub struct Consent {
    /// The replicas that the run waits for.
    pub replicas: Vec<Replica>,
    pub paths: StoredPaths,
}

/// Runs all checks and asks all questions before a run. `files` are the files whose paths will be
/// stored, if they are known. Returns an error if the run must not begin.
pub fn before_writing(settings: &Reindex, files: Option<&[PathBuf]>) -> Result<Consent> {
    let (access, form) = (settings.access, settings.progress);
    if form.is_some() {
        let replicas = settings.replicas.iter().map(Address::tls_warning);
        super::warn_of_unverified(form, replicas.chain([settings.location.tls_warning()]));
    }
    if let Some(server) = Server::of(&settings.location)? {
        server.check(access, settings.allow_replica)?;
        galera::check(&settings.location, access, settings.allow_unreplicated_tables)?;
        // `form` is `None` with `--quiet`.
        server.doubt().filter(|_| form.is_some()).into_iter().for_each(|doubt| note(form, &doubt));
        if let Some(hint) = unwatched(&server, settings) {
            note(form, &hint);
        }
    }
    let purging = report_purging(&settings.location, form)?;
    let paths = stored_paths::check(&stored_paths::Request {
        location: &settings.location,
        roots: &settings.roots,
        path_map: &settings.path_map,
        files,
        locator: &settings.locator,
        access,
        map_source: MapSource::Options,
        allow_unmapped: settings.allow_unmapped_paths,
        progress: form,
    })?;
    let Consent { replicas, paths } = compared(settings, paths)?;
    // A dry run writes nothing that a replica would replicate, or that the PACS would purge.
    if access == Access::DryRun {
        replicas.into_iter().for_each(Replica::close);
        return Ok(Consent { replicas: Vec::new(), paths });
    }
    if !purging.rules.is_empty() && !settings.yes {
        agree_or_fail(can_ask(), PURGES)?;
    }
    Ok(Consent { replicas, paths })
}

/// Connects to the replicas of a run whose paths have been compared, and returns the consent to the
/// run.
pub fn compared(settings: &Reindex, paths: StoredPaths) -> Result<Consent> {
    let replicas = settings.replicas.iter().cloned().map(Replica::connect).collect::<Result<_>>()?;
    Ok(Consent { replicas, paths })
}

/// Prints and returns the rules by which the PACS purges or moves old studies.
pub fn report_purging(location: &Location, form: Option<Form>) -> Result<Purging> {
    let purging = purge::rules(location)?;
    describe(&purging, location).iter().for_each(|line| note(form, line));
    Ok(purging)
}

/// Returns a hint if the server has a binary log, because the server may then have replicas that
/// were not named. The hint is only for a user who watches the progress.
fn unwatched(server: &Server, settings: &Reindex) -> Option<String> {
    let format = server.binlog_format()?;
    let is_said = settings.access == Access::Write && settings.progress.is_some() && settings.replicas.is_empty();
    is_said.then(|| {
        format!("the server writes a binary log ({format}): if it has replicas, --replica URL waits while they lag")
    })
}

/// Formats lines about the rules by which the PACS purges or moves old studies, and about tables of
/// rules that the user may not read.
fn describe(purging: &Purging, location: &Location) -> Vec<String> {
    let mut lines = Vec::new();
    if !purging.rules.is_empty() {
        lines.push("Once studies are visible again, the PACS will purge or move old ones by itself:".to_owned());
        lines.extend(purging.rules.iter().map(|rule| format!("  {rule}")));
    }
    if !purging.hidden.is_empty() {
        let grants = location.grants_to_read(&purging.hidden);
        lines.push(format!("the user of the index cannot read whether the PACS purges old studies: {grants}"));
    }
    lines
}

/// Whether a user at a terminal can answer.
fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// A question, as the error that is returned unless the answer is yes.
#[derive(Clone, Copy)]
struct Question {
    what: &'static str,
    advice: &'static str,
}

const PURGES: Question = Question {
    what: "the PACS purges or moves old studies by itself; nothing was written",
    advice: "Switch these rules off in PacsOne until you have looked at the reindexed studies, or add --yes.",
};

const LOOKS_WRONG: Question = Question {
    what: "the import may be a mistake (see above); nothing was written",
    advice: "Correct that, or add --yes.",
};

const UNCONFIRMED: Question =
    Question { what: "not confirmed; nothing was written", advice: "Read the plan, and add --yes." };

const UNCONFIRMED_UNDO: Question = Question { advice: "Read the undo file, and add --yes.", ..UNCONFIRMED };

const UNMAPPED: Question = Question {
    what: "the PACS may not find files by the paths that would be stored; nothing was written",
    advice: "Map the directories to their names on the PACS server (--path-map FROM=TO). If the paths above are right, \
             add --allow-unmapped-paths.",
};

const UNMAPPED_BY_PLAN: Question = Question {
    what: UNMAPPED.what,
    advice: "Audit again with the names of the directories on the PACS server (--path-map FROM=TO), and repair with the new \
             plan. If the paths above are right, add --allow-unmapped-paths.",
};

/// Asks whether to store paths that the PACS may not know, after the doubts have been reported.
pub fn to_unmapped(has_doubts: bool, request: &stored_paths::Request<'_>) -> Result<()> {
    match !has_doubts || request.allow_unmapped || request.access == Access::DryRun {
        true => Ok(()),
        false => agree_or_fail(
            can_ask(),
            match request.map_source {
                MapSource::Options => UNMAPPED,
                MapSource::Plan => UNMAPPED_BY_PLAN,
            },
        ),
    }
}

/// Asks whether to apply a plan.
pub fn to_repair(yes: bool) -> Result<()> {
    if yes { Ok(()) } else { agree_or_fail(can_ask(), UNCONFIRMED) }
}

/// Asks whether to revert the changes that an undo file records.
pub fn to_undo(yes: bool) -> Result<()> {
    if yes { Ok(()) } else { agree_or_fail(can_ask(), UNCONFIRMED_UNDO) }
}

/// Prints the apparent mistakes of an import, and asks whether to continue.
pub fn to_import(doubts: &[String], settings: &Reindex) -> Result<()> {
    doubts.iter().for_each(|doubt| note(settings.progress, doubt));
    if doubts.is_empty() || settings.yes { Ok(()) } else { agree_or_fail(can_ask(), LOOKS_WRONG) }
}

fn agree_or_fail(can_ask: bool, question: Question) -> Result<()> {
    if can_ask && agrees(&mut std::io::stdin().lock(), &mut std::io::stderr()) {
        return Ok(());
    }
    Err(Error::usage(question.what, question.advice))
}

fn agrees(answers: &mut impl BufRead, out: &mut impl Write) -> bool {
    let mut answer = String::new();
    let asked = write!(out, "Go on? [y/N] ").and_then(|()| out.flush()).and_then(|()| answers.read_line(&mut answer));
    asked.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_goes_on() {
        let mut asked = Vec::new();
        let answers =
            ["y\n", "Yes\n", "\n", "n\n", "", "yellow\n"].map(|text| agrees(&mut text.as_bytes(), &mut asked));
        assert_eq!(answers, [true, true, false, false, false, false]);
        assert!(asked.starts_with(b"Go on? [y/N] "));
    }

    #[test]
    fn without_a_terminal_nobody_is_asked() {
        let error = agree_or_fail(false, PURGES).unwrap_err().to_string();
        assert!(error.contains("--yes") && error.contains("nothing was written"), "{error}");
    }
}
