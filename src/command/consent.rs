//! What is looked at, said and asked before anything is written: is this the right server, do its replicas answer, and
//! what will the PACS do with the studies that come back?

use std::io::{BufRead, IsTerminal, Write};

use crate::error::{Error, Result};
use crate::index::location::Access;
use crate::index::purge::{self, Purging};
use crate::index::replica::{Address, Replica};
use crate::index::server::Server;
use crate::progress::notice::note;
use crate::settings::Reindex;

/// The replicas that the run has to wait for. An error if it had better not begin.
pub fn before_writing(settings: &Reindex) -> Result<Vec<Replica>> {
    let (access, form) = (settings.access, settings.progress);
    if form.is_some() {
        let replicas = settings.replicas.iter().map(Address::tls_warning);
        super::warn_of_unverified(form, replicas.chain([settings.location.tls_warning()]));
    }
    if let Some(server) = Server::of(&settings.location)? {
        server.check(access, settings.allow_replica)?;
        server.doubt().into_iter().for_each(|doubt| note(form, &doubt));
        if let Some(hint) = unwatched(&server, settings) {
            note(form, &hint);
        }
    }
    let replicas = settings.replicas.iter().cloned().map(Replica::connect).collect::<Result<Vec<_>>>()?;
    let purging = purge::rules(&settings.location)?;
    tell(&purging).iter().for_each(|line| note(form, line));
    // A rehearsal writes nothing that a replica would have to follow, or the PACS would purge.
    if access == Access::DryRun {
        replicas.into_iter().for_each(Replica::close);
        return Ok(Vec::new());
    }
    if !purging.rules.is_empty() && !settings.yes {
        consent(can_ask(), &PURGES)?;
    }
    Ok(replicas)
}

/// A server with a binary log may have replicas that nobody named. Worth a line for whoever watches.
fn unwatched(server: &Server, settings: &Reindex) -> Option<String> {
    let format = server.binlog_format()?;
    let is_said = settings.access == Access::Write && settings.progress.is_some() && settings.replicas.is_empty();
    is_said.then(|| {
        format!("the server writes a binary log ({format}): if it has replicas, --replica URL waits while they lag")
    })
}

fn tell(purging: &Purging) -> Vec<String> {
    let mut lines = Vec::new();
    if !purging.rules.is_empty() {
        lines.push("Once studies are visible again, the PACS will purge or move old ones by itself:".to_owned());
        lines.extend(purging.rules.iter().map(|rule| format!("  {rule}")));
    }
    if !purging.hidden.is_empty() {
        let tables = purging.hidden.join(", ");
        lines.push(format!("whether the PACS purges old studies could not be told: grant SELECT on {tables}"));
    }
    lines
}

/// Somebody who looks at the terminal can answer.
fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// What is asked about, and what to do where nobody agrees.
struct Question {
    what: &'static str,
    advice: &'static str,
}

const PURGES: Question = Question {
    what: "the PACS purges or moves old studies by itself; nothing was written",
    advice: "Switch these rules off in PacsOne until you have looked at the reindexed studies, or add --yes.",
};

const GOES_ELSEWHERE: Question = Question {
    what: "the import may be a mistake, for what is said above; nothing was written",
    advice: "Correct that, or add --yes.",
};

/// Whether an import that looks like a mistake is none.
pub fn to_import(doubts: &[String], settings: &Reindex) -> Result<()> {
    doubts.iter().for_each(|doubt| note(settings.progress, doubt));
    if doubts.is_empty() || settings.yes { Ok(()) } else { consent(can_ask(), &GOES_ELSEWHERE) }
}

fn consent(can_ask: bool, question: &Question) -> Result<()> {
    if can_ask && agrees(&mut std::io::stdin().lock(), &mut std::io::stderr()) {
        return Ok(());
    }
    Err(Error::usage(question.what, question.advice))
}

pub(super) fn agrees(answers: &mut impl BufRead, out: &mut impl Write) -> bool {
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
        let error = consent(false, &PURGES).unwrap_err().to_string();
        assert!(error.contains("--yes") && error.contains("nothing was written"), "{error}");
    }
}
