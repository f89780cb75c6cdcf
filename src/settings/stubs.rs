//! Settings of archive stubs: which directories they may point to, and whether they are recalled.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::archive::locality::Declared;
use crate::archive::locator::{NamedBy, Rules};
use crate::archive::recall::{Budget, Policy};
use crate::archive::skipped_directories::InvalidPattern;
use crate::archive::{Roots, SkippedDirectories, breaker, path_map};
use crate::cli;
use crate::error::{Error, Result};

/// Returns the rules for stubs. A stub that is not recalled is still reported. Links and pointers
/// to online data are followed, except with [`Policy::Never`].
pub fn rules(typed: &cli::Stubs, policy: Policy, roots: &Roots) -> Result<Rules> {
    let pointer_rules = typed.pointer_rule.iter().map(|text| {
        text.parse().map_err(|why| Error::usage(format!("--pointer-rule {text} cannot be used"), format!("{why}.")))
    });
    let slow =
        Duration::try_from(typed.slow_read).map_err(|_| Error::usage("--slow-read is negative", "Write 0s, or 2s."))?;
    let target_roots = directories("--target-root", &typed.target_root)?;
    let declared = |option, named: &[PathBuf]| declared(option, named, roots, &target_roots);
    Ok(Rules {
        skipped: skipped_directories(&typed.skip_dir)?,
        policy,
        declared: Declared {
            nearline: declared("--nearline", &typed.nearline)?,
            online: declared("--online", &typed.online)?,
        },
        target_roots: target_roots.clone(),
        pointer_rules: pointer_rules.collect::<Result<_>>()?,
        named_by: match typed.stub_path {
            cli::StubPath::Auto => NamedBy::Opening,
            cli::StubPath::Link => NamedBy::Link,
            cli::StubPath::Target => NamedBy::Target,
        },
        limits: breaker::Limits { slow, ..breaker::Limits::default() },
    })
}

fn skipped_directories(patterns: &[String]) -> Result<SkippedDirectories> {
    SkippedDirectories::with_patterns(patterns).map_err(|InvalidPattern { pattern, why }| {
        Error::usage(
            format!("--skip-dir {pattern:?}: {why}"),
            "Write the name of a directory, for example old-versions, or backup-* for all names that begin so.",
        )
    })
}

/// Returns the recall policy. A recall needs two permissions: from the author of the settings file,
/// and from the user who starts the run.
pub fn policy(typed: &cli::Reindex) -> Result<Policy> {
    let budget = Budget {
        files: typed.recall_files.into(),
        bytes: u64::from(typed.recall_gigabytes) * 1_000_000_000,
        at_a_time: typed.recalls_at_a_time.into(),
        a_minute: typed.recalls_a_minute,
    };
    match (typed.recall, typed.allow_recall) {
        (cli::Recall::Never, false) => Ok(Policy::Never),
        (cli::Recall::OnlineOnly, false) => Ok(Policy::OnlineOnly),
        (cli::Recall::Allow, true) => Ok(Policy::Allow(budget)),
        // A dry run lists the files that would be recalled, and recalls none, so that it needs no
        // further permission.
        (cli::Recall::Allow, false) if typed.dry_run => Ok(Policy::Allow(budget)),
        (cli::Recall::Allow, false) => Ok(Policy::OnlineOnly),
        (_, true) => Err(Error::usage(
            "--allow-recall: the settings do not allow that anything is recalled",
            "Name a settings file with --config that has: recall = \"allow\"",
        )),
    }
}

pub fn directories(option: &str, named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    named.iter().map(|directory| here(option, directory)).collect()
}

/// Resolves symlinks in directories, since a directory may have several names. A directory that is
/// neither above nor below a root or target root is an error.
fn declared(option: &str, named: &[PathBuf], roots: &Roots, target_roots: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let resolve = |directory: &Path| {
        directory.canonicalize().map_err(|error| {
            let what = format!("{option} {}: {error}", directory.display());
            Error::usage(what, "Is it mounted? Name a directory that exists.")
        })
    };
    let targets = target_roots.iter().map(|root| resolve(root)).collect::<Result<Vec<_>>>()?;
    let holds = |directory: &Path| {
        let mut others = targets.iter().chain(roots.resolved());
        others.any(|other| directory.starts_with(other) || other.starts_with(directory))
    };
    directories(option, named)?
        .iter()
        .map(|named| {
            let directory = resolve(named)?;
            let what = format!("{option} {}: neither a root nor a directory below one", named.display());
            let advice = "Name a directory below a root or a --target-root, or one that holds these.";
            if holds(&directory) { Ok(directory) } else { Err(Error::usage(what, advice)) }
        })
        .collect()
}

/// Returns the absolute path of a directory. A missing directory is an error, because it could not
/// contain anything.
fn here(option: &str, directory: &Path) -> Result<PathBuf> {
    let failed = |what: &str| {
        Error::usage(
            format!("{option} {}: {what}", directory.display()),
            "Is it mounted? Name a directory that exists.",
        )
    };
    match directory.metadata() {
        Ok(metadata) if metadata.is_dir() => path_map::absolute(directory).map_err(|error| failed(&error.to_string())),
        Ok(_) => Err(failed("is not a directory")),
        Err(error) => Err(failed(&error.to_string())),
    }
}
