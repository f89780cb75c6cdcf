//! Converts the result of reading a file to an index entry, or to the reason why the file has none.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use xxhash_rust::xxh3::xxh3_64;

use super::stored::nanoseconds;
use super::{Intake, Run};
use crate::archive::path_map::UnstorablePath;
use crate::archive::{FileState, FoundFile, skip};
use crate::dicom::{Instance, Rejection};
use crate::error::Result;
use crate::index::Entry;
use crate::index::entry::{FileRecord, StoredFile};
use crate::journal::record::Content;
use crate::report::account::Fate;

/// The contents of a file, whether it was read now or by an earlier run.
pub(super) struct Held {
    pub instance: Instance,
    /// State of the file that holds the instance.
    pub state: FileState,
    /// The target, if the file is a link or a pointer.
    pub content: Option<Content>,
    /// The record for the journal.
    pub record: FileRecord,
}

/// How much is reported to the user when an entry is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    All,
    /// Values are counted but not listed, because an earlier run has listed them.
    Counts,
    /// Nothing is reported: another entry of the same file was counted, or another run is
    /// responsible for the file.
    Nothing,
}

/// The code and the detail with which a file without a row is listed.
pub(super) struct NoRow {
    pub code: &'static str,
    pub detail: String,
}

/// Makes the entry of a file that holds an instance, and reports its notes.
pub(super) fn to_entry(run: &Run<'_>, file: FoundFile, held: Held, noted: Noted) -> Result<Entry, (PathBuf, NoRow)> {
    let Held { mut instance, state, content, record } = held;
    let path = file.path();
    let fails = |code, detail| (path.to_owned(), NoRow { code, detail });
    let unstorable = |why: UnstorablePath| fails(why.code(), why.to_string());
    let named =
        content.as_ref().and_then(|content| content.named(run.plan.sources.locator.named_by())).map_or(path, Path::new);
    // The journal and the lists name the file by this path, so the path must be UTF-8.
    if path.to_str().is_none() {
        return Err(unstorable(UnstorablePath::NotText));
    }
    let indexed_path = run.plan.path_map.to_index(named).map_err(unstorable)?;
    let received =
        run.plan.sources.receipt.of(&instance, root_of(&run.intake, path), file.received_on, state.modified(), noted);
    let tables = run.plan.tables;
    let fitted = tables.check_path(&indexed_path).and_then(|()| tables.fit(&mut instance));
    let fitted = fitted.map_err(|refusal| fails(refusal.code, refusal.detail))?;
    if noted != Noted::Nothing {
        run.intake.account.note(&instance, &fitted);
    }
    if noted == Noted::All && !fitted.substituted.is_empty() {
        let columns = fitted.substituted.join(", ");
        let detail = format!("characters that these columns cannot hold were substituted: {columns}");
        run.plan.sources.listing.add("note", path, "not-in-charset", &detail);
    }
    // The mtime that a program finds at the path in the row: if that is a pointer, the mtime of the
    // pointer itself.
    let is_pointer = named == path && content.as_ref().is_some_and(|content| content.by_pointer);
    let modified = if is_pointer { record.state.modified() } else { state.modified() };
    let root = run.plan.sources.locator.place(named).map_or(0, |(place, _)| place);
    let stored = StoredFile { path: file.into_path(), modified: nanoseconds(modified), size: state.size, root };
    Ok(Entry::new(instance, stored, indexed_path, received, tables.charset_term(), record))
}

pub(super) fn reject(intake: &Intake<'_>, path: &Path, rejection: &Rejection) {
    let (account, listing) = (&intake.account, intake.sources.listing);
    match rejection {
        Rejection::Unreadable(error) if intake.stops_without_root(path, error) => account.add(Fate::NotReached, 1),
        Rejection::Unreadable(error) => {
            account.add(Fate::Unreadable, 1);
            listing.add("unreadable", path, "unreadable", &error.to_string());
        }
        rejection => match rule_by_content(rejection) {
            Some(rule) => account.skipped(rule),
            None => {
                let detail = rejection.to_string();
                list_rejected(intake, path, &NoRow { code: rejection.code(), detail });
            }
        },
    }
}

/// Rejects a file whose path is not UTF-8.
pub(super) fn reject_path_without_text(intake: &Intake<'_>, path: &Path) {
    let why = UnstorablePath::NotText;
    list_rejected(intake, path, &NoRow { code: why.code(), detail: why.to_string() });
}

pub(super) fn list_rejected(intake: &Intake<'_>, path: &Path, NoRow { code, detail }: &NoRow) {
    intake.account.rejected(code);
    intake.sources.listing.add("rejected", path, code, detail);
}

/// Returns whether another pointer has already reached the same file, so that both would give the
/// row the same path. Records the file as reached.
pub(super) fn is_met_by_another(run: &Run<'_>, content: Option<&Content>) -> bool {
    let named = content.and_then(|content| content.named(run.plan.sources.locator.named_by()));
    named.is_some_and(|named| {
        let mut met = run.targets_met.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = xxh3_64(named.as_bytes());
        let is_met = met.contains(hash);
        met.insert(hash);
        is_met
    })
}

pub(super) fn root_of(intake: &Intake<'_>, path: &Path) -> usize {
    let roots = intake.sources.roots.paths();
    if roots.len() == 1 { 0 } else { roots.iter().position(|root| path.starts_with(root)).unwrap_or(0) }
}

pub(super) fn rule_by_content(rejection: &Rejection) -> Option<skip::Rule> {
    match rejection {
        Rejection::Dicomdir => Some(skip::Rule::Dicomdir),
        Rejection::NotDicom { first_bytes } => skip::by_content(first_bytes),
        _ => None,
    }
}
