//! What is told once, beside the progress: a line in a log, above the bar, or an object for a program.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{Form, text};

/// Something that happens while a run goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Writers wait, and why.
    Waits { why: String },
    /// They do not any more.
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

/// Says on standard error, before a run begins, what should be known: whether progress is shown or not.
pub fn note(form: Option<Form>, message: &str) {
    let line = match form {
        Some(Form::Json) => json!({"event": "note", "message": message}).to_string(),
        // It may hold what a database says.
        _ => text::path(Path::new(message)),
    };
    let _ = writeln!(std::io::stderr(), "{line}");
}
