//! The commands, one module each: from settings to an exit code.

pub mod audit;
mod consent;
mod content;
pub mod import;
pub mod init;
mod interrupt;
mod path_evidence;
pub mod reindex;
pub mod repair;
mod shard;
mod stored_paths;

use std::collections::BTreeSet;
use std::io::Write;

use crate::progress::Form;
use crate::progress::notice::note;

/// Writes to standard output. Errors are ignored, because the reader may have exited.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints, once each, the warnings about servers that another machine could pose as.
fn warn_of_unverified(form: Option<Form>, warnings: impl IntoIterator<Item = Option<String>>) {
    let warnings: BTreeSet<String> = warnings.into_iter().flatten().collect();
    warnings.iter().for_each(|warning| note(form, warning));
}

/// Writes an error to standard error. Write errors are ignored, because the reader may have exited.
pub fn complain(error: &crate::error::Error) {
    let _ = writeln!(std::io::stderr(), "pacs-index: {error}");
}
