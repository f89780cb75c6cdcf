//! Exit codes, for scripts and timers.

use std::process::ExitCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Complete and clean.
    Clean,
    /// Complete, with findings: rejected or unreadable files, links, duplicates, conflicts.
    Findings,
    /// A usage or configuration error; nothing was done.
    Usage,
    /// The work had begun and could not be finished.
    Unfinished,
    /// Interrupted; the same command resumes the run.
    Interrupted,
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Exit::Clean => 0,
            Exit::Findings => 1,
            Exit::Usage => 2,
            Exit::Unfinished => 3,
            Exit::Interrupted => 130,
        }
    }

    /// The outcome of a run, for its summary.
    pub const fn describe(self) -> &'static str {
        match self {
            Exit::Clean => "complete",
            Exit::Findings => "complete, with findings",
            Exit::Interrupted => "interrupted; the same command continues from here",
            Exit::Usage | Exit::Unfinished => "not finished",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_can_rely_on_the_codes() {
        let codes = [Exit::Clean, Exit::Findings, Exit::Usage, Exit::Unfinished, Exit::Interrupted].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 130]);
    }
}
