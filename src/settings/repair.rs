//! The settings of a repair, from the command line and from the head of its plan.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;

use super::{Reindex, StateDirectory, archive, file, import, stubs};
use crate::archive::path_map::absolute;
use crate::archive::recall::Policy;
use crate::archive::{Locator, PathMap, Roots};
use crate::audit::plan::Head;
use crate::cli::{self, Cli, Command};
use crate::error::{Error, Result};

/// The archive that a plan was made for.
pub struct Scope {
    pub roots: Roots,
    pub path_map: PathMap,
    /// False if the plan names no roots, so that the options give the path maps.
    pub has_maps_of_plan: bool,
    pub locator: Locator,
    /// The declarations of the site about directories of these roots.
    pub stubs: cli::Stubs,
}

impl Scope {
    /// Returns the roots and path maps of a plan. Options may repeat them, and must not contradict
    /// them.
    pub fn resolve(typed: &cli::Repair, plan: &Path, head: &Head) -> Result<Self> {
        let shown = plan.display();
        let typed_map = archive::path_map(&typed.path_map)?;
        let (roots, path_map) = match head.roots.as_slice() {
            [] if typed.roots.is_empty() => {
                return Err(Error::usage(
                    format!(
                        "{shown}: an earlier version made this plan, and it does not name the roots of the archive"
                    ),
                    "Name them as for the audit, with --root ROOT and --path-map FROM=TO, or make a new plan.",
                ));
            }
            [] => (typed.roots.clone(), typed_map),
            roots => {
                let maps = head.path_map.iter().map(|text| text.parse());
                let maps = maps.collect::<std::result::Result<Vec<_>, String>>();
                let path_map = PathMap::new(maps.map_err(|why| {
                    Error::usage(format!("{shown}: line 1: path-map: {why}"), "Make a new plan with audit --plan.")
                })?);
                same_roots(&typed.roots, roots)?;
                if !typed.path_map.is_empty() {
                    same_names(&typed_map, &path_map, roots)?;
                }
                (roots.to_vec(), path_map)
            }
        };
        let roots = Roots::check(&roots, false)?;
        let mut stubs = import::below(&typed.stubs, &roots);
        let further = head.target_roots.iter().filter(|root| !stubs.target_root.contains(root)).cloned();
        stubs.target_root.extend(further.collect::<Vec<_>>());
        let rules = stubs::rules(&stubs, Policy::OnlineOnly, &roots)?;
        archive::check_maps(&path_map, &[roots.paths(), &rules.target_roots].concat())?;
        let undo_file = typed.undo_file.as_deref().map(|file| ("--undo-file", file));
        archive::check_outside(undo_file.into_iter(), |file| roots.hold(file) || rules.hold(file))?;
        let locator = Locator::new(&roots, &path_map, rules);
        Ok(Scope { locator, roots, path_map, has_maps_of_plan: !head.roots.is_empty(), stubs })
    }

    /// Returns the settings of the run that inserts instances, from the settings file of the site.
    /// The caller names the files. The run stores its list of rejected files in the scratch
    /// directory, and its catalogue in the state directory, if there is one.
    pub fn inserting(&self, typed: &cli::Repair, scratch: &Path) -> Result<Reindex> {
        let Command::Reindex(mut reindexing) = self.as_typed(typed, scratch)? else { return Err(defect()) };
        let cli::Reindex { writing, .. } = &mut *reindexing;
        writing.index = typed.index.clone();
        writing.path_map = self.path_map.texts();
        writing.stubs = self.stubs.clone();
        let has_state = StateDirectory::find(typed.state.as_deref()).is_ok();
        writing.state = if has_state { typed.state.clone() } else { Some(scratch.to_owned()) };
        writing.allow_replica = typed.allow_replica;
        writing.allow_unreplicated_tables = typed.allow_unreplicated_tables;
        (reindexing.files, reindexing.dry_run) = (None, false);
        let settings = Reindex::over(self.roots.clone(), &[], &reindexing)?;
        let (journal, kept_in) = (settings.journal, settings.kept_in);
        Ok(Reindex { journal: journal.filter(|_| has_state), kept_in: kept_in.filter(|_| has_state), ..settings })
    }

    /// Builds the command line of the run that inserts instances. Its options override or exclude
    /// the settings that do not apply to a repair.
    fn as_typed(&self, typed: &cli::Repair, scratch: &Path) -> Result<Command> {
        let mut arguments: Vec<OsString> = ["pacs-index", "reindex", "--yes", "--quiet"].map(Into::into).into();
        arguments.extend(["--min-age", "0s", "--existing", "fill", "--recall", "online-only"].map(Into::into));
        // The repair compares the paths itself. `--files` excludes `since` of the settings file.
        arguments.extend(["--allow-unmapped-paths", "--files", "list"].map(Into::into));
        arguments.extend(["--rejected".into(), scratch.join("rejected").into()]);
        typed.config.iter().for_each(|config| arguments.extend(["--config".into(), config.into()]));
        arguments.push("--".into());
        arguments.extend(self.roots.paths().iter().map(Into::into));
        Ok(Cli::try_parse_from(file::complete(arguments)?).map_err(|error| unusable(typed, &error))?.command)
    }
}

/// Converts an error in the settings of the run that inserts instances. The message of the parser
/// ends with the usage of `reindex`, which is cut off.
fn unusable(typed: &cli::Repair, error: &clap::Error) -> Error {
    let Some(config) = &typed.config else { return defect() };
    let message = error.to_string();
    let why = message.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let what = format!("--config {}: its settings cannot be used to insert files: {why}", config.display());
    Error::usage(what, "Correct the file: a setting in it may need another one, as max-replica-lag needs replica.")
}

fn defect() -> Error {
    Error::usage("the files cannot be inserted, which is a defect of this program", "Please report it.")
}

/// Checks that the roots on the command line, if there are any, include all roots of the plan.
fn same_roots(typed: &[PathBuf], planned: &[PathBuf]) -> Result<()> {
    let typed: Vec<PathBuf> = typed.iter().map(|root| absolute(root).unwrap_or_else(|_| root.clone())).collect();
    match planned.iter().find(|root| !typed.is_empty() && !typed.contains(root)) {
        None => Ok(()),
        Some(root) => Err(Error::usage(
            format!("the plan was made of the root {}, and --root names another one", root.display()),
            "Leave out --root: the plan names its roots. For other directories make a plan of their own.",
        )),
    }
}

/// Checks that the path maps on the command line give the directories of the plan the same names as
/// the path maps of the plan.
fn same_names(typed: &PathMap, planned: &PathMap, roots: &[PathBuf]) -> Result<()> {
    let below = |root| [typed, planned].into_iter().flat_map(move |map: &PathMap| map.directories_below(root));
    let mut directories = roots.iter().flat_map(|root| std::iter::once(root.as_path()).chain(below(root)));
    match directories.find(|directory| typed.to_index(directory) != planned.to_index(directory)) {
        None => Ok(()),
        Some(directory) => {
            let directory = directory.display();
            Err(Error::usage(
                format!("--path-map gives {directory} another name than the path maps of the plan do"),
                "Leave out --path-map to use the names of the plan. If those are wrong, audit again with this --path-map, and \
                 repair with the new plan.",
            ))
        }
    }
}
