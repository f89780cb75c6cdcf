//! The steps of a plan that a repair may apply. A plan may be edited by hand, so each value is
//! checked before anything is written.

use std::io;
use std::path::{Path, PathBuf};

use super::super::content::Content;
use crate::archive::Locator;
use crate::audit::plan::Action;
use crate::dicom::Table;
use crate::index::mend::SETTABLE;
use crate::settings::repair::Scope;

/// A step whose values are among those that a repair may write.
pub enum Step {
    /// Sets the path of an image to the path of this file.
    SetPath { key: String, from: Option<String>, to: String, file: PathBuf },
    /// Sets the count of a series to the number of its images.
    SetCount { key: String, from: Option<String>, to: String },
    /// Resets a flag of a study to its initial value.
    SetFlag { column: &'static str, key: String, from: Option<String>, to: Option<String> },
    /// Removes the row of an image whose file is missing.
    RemoveImage { key: String, path: String, file: PathBuf },
    /// Inserts the rows for the instance of a file.
    Insert { key: String, file: PathBuf },
}

/// The reason why a step is not applied.
#[derive(Debug)]
pub enum StepFault {
    /// No audit plans such a change of a row, so that the whole plan is refused.
    Malformed(String),
    /// The files of the plan do not allow the step, which is skipped.
    Impossible(String),
}

use StepFault::{Impossible, Malformed};

impl Step {
    pub fn check(action: Action, scope: &Scope) -> Result<Self, StepFault> {
        match action {
            Action::Set { table, key, column, from, to } => match settable(&table, &column).map_err(Malformed)? {
                (Table::Image, _) => Self::set_path(key, from, to, scope),
                column => Self::set_value(column, key, from, to),
            },
            Action::RemoveImage { key, path } => {
                let file = file_of_row(&path, scope)?;
                Ok(Step::RemoveImage { key, path, file })
            }
            Action::Insert { key, file } => {
                let is_below_root = scope.roots.paths().iter().any(|root| file.starts_with(root));
                if !is_below_root || !scope.locator.holds(&file) {
                    return Err(Impossible("`file` is below no root of the plan".into()));
                }
                check_searched(&file, scope)?;
                Ok(Step::Insert { key, file })
            }
        }
    }

    fn set_path(key: String, from: Option<String>, to: Option<String>, scope: &Scope) -> Result<Self, StepFault> {
        let to = to.ok_or_else(|| Malformed("`image.path` cannot be set to NULL".into()))?;
        let file = file_of_row(&to, scope)?;
        check_searched(&file, scope)?;
        match scope.locator.stored_path(&file) {
            Some(path) if path == to => Ok(Step::SetPath { key, from, to, file }),
            _ => Err(Impossible("`image.path` is not the path that the path maps of the plan give the file".into())),
        }
    }

    fn set_value(
        (table, column): (Table, &'static str),
        key: String,
        from: Option<String>,
        to: Option<String>,
    ) -> Result<Self, StepFault> {
        let malformed = |why: &str| Err(Malformed(why.into()));
        match (table, column) {
            (Table::Series, _) => match to.filter(|to| is_count(to)) {
                Some(to) => Ok(Step::SetCount { key, from, to }),
                None => malformed("`series.instances` can only be set to a number"),
            },
            (_, "private") if from.is_some() || to.as_deref() != Some("0") => {
                malformed("`study.private` can only be set from NULL to 0")
            }
            (_, "reviewed") if to.is_some() || from.as_ref().is_none_or(|from| !from.trim().is_empty()) => {
                malformed("`study.reviewed` can only be set from an empty text to NULL")
            }
            _ => Ok(Step::SetFlag { column, key, from, to }),
        }
    }

    /// Returns the file whose path the step stores, if there is one.
    pub fn stored_file(&self) -> Option<&PathBuf> {
        match self {
            Step::SetPath { file, .. } | Step::Insert { file, .. } => Some(file),
            _ => None,
        }
    }
}

/// Returns a column, if a repair may set it.
pub fn settable(table: &str, column: &str) -> Result<(Table, &'static str), String> {
    let known = SETTABLE.into_iter().find(|(known, settable)| known.name() == table && *settable == column);
    known.ok_or_else(|| format!("`{table}.{column}` is nothing that a repair may set"))
}

/// Whether a text is a number as the database formats it.
pub fn is_count(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|count| count.to_string() == text)
}

/// Returns the file that a row names, if it is below a root or a target root of the plan.
fn file_of_row(stored: &str, scope: &Scope) -> Result<PathBuf, StepFault> {
    let file = scope.locator.file_of_row(stored);
    file.ok_or_else(|| Impossible("the path is below no root of the plan".into()))
}

/// Refuses a file in a directory that no walk descends into, whether its path names that directory
/// or a link to it.
fn check_searched(file: &Path, scope: &Scope) -> Result<(), StepFault> {
    let directory = file.parent().and_then(|directory| directory.canonicalize().ok());
    let without_links = directory.into_iter().flat_map(|directory| {
        let roots = scope.roots.paths().iter().zip(scope.roots.resolved());
        let below = roots.filter_map(|(root, resolved)| Some(root.join(directory.strip_prefix(resolved).ok()?)));
        below.map(|directory| directory.join(file.file_name().unwrap_or_default())).collect::<Vec<_>>()
    });
    let reason =
        std::iter::once(file.to_owned()).chain(without_links).find_map(|file| scope.locator.skip_reason(&file));
    reason.map_or(Ok(()), |reason| Err(Impossible(format!("the file is in a skipped directory ({reason})"))))
}

/// Returns the reason why the row of a missing file must be kept, if there is one. A file whose
/// directories are missing as well may be on a storage unit that is not mounted.
pub fn objection_to_removal(file: &Path, scope: &Scope) -> Option<&'static str> {
    match file.symlink_metadata() {
        Ok(_) => return Some("its file is there"),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Some("its file cannot be looked at"),
        Err(_) if scope.locator.empty_target_root(file).is_some() => {
            return Some("no file is below its target root: is it mounted?");
        }
        Err(_) => {}
    }
    let root = scope.locator.place(file).map(|(_, root)| root);
    let has_parent = file.parent().is_some_and(Path::is_dir);
    let mut above = file.ancestors().skip(1).take_while(|directory| Some(*directory) != root);
    (!has_parent && !above.any(Path::is_dir)).then_some("its directory is missing, too: is the archive mounted?")
}

/// Returns the reason why a row must not name a file, if there is one. A row may name a stub only
/// if it names that file already.
pub fn objection(uid: &str, file: &Path, former: Option<&str>, locator: &Locator) -> Option<&'static str> {
    match Content::of(file, locator) {
        Content::Instance(instance) if instance.sop_instance_uid() == uid => None,
        Content::Instance(_) => Some("the file holds another instance"),
        Content::Stub if former.and_then(|former| locator.file_of_row(former)).as_deref() == Some(file) => None,
        Content::Stub => Some("the file is a stub, so that its instance is not known"),
        Content::Other => Some("the file is missing or holds no instance"),
    }
}
