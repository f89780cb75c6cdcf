//! The state directory, which contains the files that are kept between runs: journals, lists, undo
//! files, findings of the last audits, and the state of imports.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use jiff::Zoned;
use sha2::{Digest, Sha256};

use crate::archive::Roots;
use crate::error::{Error, Result};

const VARIABLE: &str = "PACS_INDEX_STATE";
const ADVICE: &str =
    "Name a directory that you may write to: --state DIR, or the environment variable PACS_INDEX_STATE.";

#[derive(Clone, Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// How errors name the directory: `--state DIR`, `PACS_INDEX_STATE=DIR`, `the state directory
    /// DIR`.
    shown: String,
}

impl StateDirectory {
    /// Returns the directory from the option, else from the environment variable, else the state
    /// directory of the system.
    pub fn find(typed: Option<&Path>) -> Result<Self> {
        if let Some(path) = typed {
            return Ok(StateDirectory { path: path.to_owned(), shown: format!("--state {}", path.display()) });
        }
        if let Some(path) = variable(VARIABLE).map(PathBuf::from) {
            let shown = format!("{VARIABLE}={}", path.display());
            return Ok(StateDirectory { path, shown });
        }
        let path = of_system(variable, cfg!(windows)).ok_or_else(|| {
            let what = if cfg!(windows) {
                "no directory for state is known: LOCALAPPDATA is not set"
            } else {
                "no directory for state is known: STATE_DIRECTORY, XDG_STATE_HOME and HOME are not set"
            };
            Error::usage(what, ADVICE)
        })?;
        let shown = format!("the state directory {}", path.display());
        Ok(StateDirectory { path, shown })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the user has named a directory.
    pub fn is_named(typed: Option<&Path>) -> bool {
        typed.is_some() || variable(VARIABLE).is_some()
    }

    /// Creates the directory, for its owner alone, and checks that files can be created there.
    pub fn make(&self) -> Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let made = builder.create(&self.path).and_then(|()| tempfile::tempfile_in(&self.path));
        made.map(drop).map_err(|error| Error::usage(format!("{} cannot be used: {error}", self.shown), ADVICE))
    }

    /// Returns a path in this directory for `key`. Equal keys get the same path.
    pub fn keyed(&self, kind: &str, key: &str) -> PathBuf {
        let digest = Sha256::digest(key);
        let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.path.join(format!("{kind}-{digits}"))
    }

    /// Returns the path of a new list, with the time of the run in its name.
    pub fn new_file(&self, kind: &str) -> PathBuf {
        let now = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
        self.path.join(format!("{kind}-{now}-{}.jsonl", std::process::id()))
    }

    /// Refuses a directory below one of these roots, where only images belong.
    pub fn check_apart(&self, is_below: impl Fn(&Path) -> bool) -> Result<()> {
        match is_below(&self.path) || is_below(&self.path.join("within")) {
            false => Ok(()),
            true => Err(Error::usage(
                format!("{}: is in the archive, where only images belong", self.shown),
                "Name a directory elsewhere: --state DIR.",
            )),
        }
    }

    /// Refuses a directory below a source of an import, where its files would be found.
    pub fn check_apart_from_sources(&self, sources: &Roots) -> Result<()> {
        match sources.hold(&self.path) || sources.hold(&self.path.join("within")) {
            false => Ok(()),
            true => Err(Error::usage(
                format!("{}: is in a source, and its files would be imported", self.shown),
                "Name a directory elsewhere: --state DIR.",
            )),
        }
    }
}

/// Returns the value of an environment variable. An empty value counts as unset.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns the directory that a service manager, the XDG base directory specification or Windows
/// provides.
fn of_system(variable: impl Fn(&str) -> Option<OsString>, is_windows: bool) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd.exec(5): several directories are separated by colons.
    let of_service = || {
        let first = variable("STATE_DIRECTORY")?.to_str()?.split(':').next().map(PathBuf::from)?;
        Some(first).filter(|path| path.is_absolute())
    };
    let of_windows = || variable("LOCALAPPDATA").map(PathBuf::from).filter(|_| is_windows);
    let of_home = || Some(absolute("HOME")?.join(".local/state"));
    let of_user = || absolute("XDG_STATE_HOME").or_else(of_windows).or_else(of_home);
    of_service().or_else(|| Some(of_user()?.join("pacs-index")))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'v> = &'v [(&'v str, &'v str)];

    fn found(variables: Variables<'_>, is_windows: bool) -> Option<String> {
        let value = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        of_system(value, is_windows).map(|path| path.to_string_lossy().into_owned())
    }

    #[test]
    fn each_system_has_its_directory_for_state() {
        let home = ("HOME", "/home/u");
        let unix: [(Variables<'_>, Option<&str>); 8] = [
            (&[home], Some("/home/u/.local/state/pacs-index")),
            (&[home, ("XDG_STATE_HOME", "/s")], Some("/s/pacs-index")),
            (&[home, ("XDG_STATE_HOME", "relative")], Some("/home/u/.local/state/pacs-index")),
            (&[home, ("STATE_DIRECTORY", "/var/lib/a")], Some("/var/lib/a")),
            (&[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("XDG_STATE_HOME", "/s")], Some("/var/lib/a")),
            (&[("STATE_DIRECTORY", "relative"), home], Some("/home/u/.local/state/pacs-index")),
            (&[("LOCALAPPDATA", "/x")], None),
            (&[], None),
        ];
        for (variables, expected) in unix {
            assert_eq!(found(variables, false).as_deref(), expected, "{variables:?}");
        }
        assert_eq!(found(&[("LOCALAPPDATA", "/local"), home], true).as_deref(), Some("/local/pacs-index"));
    }
}
