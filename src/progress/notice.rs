//! One-time messages beside the progress: a line in a log, a line above the bar, or a JSON object
//! for a program.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{Form, text};

/// An event during a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Writers wait, for this reason.
    Waits { why: String },
    /// Writers continue after this wait.
    GoesOn { waited: Duration },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Waits { why } => write!(f, "writing waits: {why}"),
            Notice::GoesOn { waited } => write!(f, "writing goes on after {}", text::duration(*waited)),
        }
    }
}

/// Prints a note on standard error before a run begins, whether progress is shown or not.
pub fn note(form: Option<Form>, message: &str) {
    let line = match form {
        Some(Form::Json) => json!({"event": "note", "message": message}).to_string(),
        // The message may contain text from a database, so control characters are escaped.
        _ => text::path(Path::new(message)),
    };
    let _ = writeln!(std::io::stderr(), "{line}");
}
