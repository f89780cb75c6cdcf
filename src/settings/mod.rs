//! From what was typed, the environment and files to plain settings: nothing below looks at these again.

use std::path::{Path, PathBuf};

use configparser::ini::Ini;
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::archive::{PathMap, Roots};
use crate::cli;
use crate::error::{Error, Result};
use crate::index::Location;
use crate::index::location::{Access, Credentials};
use crate::progress::Form;

const PASSWORD_VARIABLE: &str = "PACS_INDEX_PASSWORD";

/// Fewer threads than this leave a storage unit over a network idle.
const LEAST_IO_THREADS: usize = 32;

/// Directories are listed by up to this many threads: enough for a slow network, and few enough that the newest days
/// come about first.
const MOST_WALK_THREADS: usize = 8;

pub struct Reindex {
    pub roots: Roots,
    pub location: Location,
    pub access: Access,
    pub path_map: PathMap,
    pub io_threads: usize,
    pub walk_threads: usize,
    pub rejected: PathBuf,
    /// Nobody named it, so that its directory may be made.
    pub rejected_is_default: bool,
    /// The local time of the PACS.
    pub time_zone: TimeZone,
    /// `None` shows nothing.
    pub progress: Option<Form>,
}

impl Reindex {
    pub fn resolve(typed: &cli::Reindex) -> Result<Self> {
        let mappings = typed.path_map.iter().map(|text| {
            text.parse().map_err(|why| Error::usage(format!("--path-map {text} cannot be used"), format!("{why}.")))
        });
        let io_threads = typed.io_threads.map_or_else(default_io_threads, usize::from);
        let roots = Roots::check(&typed.roots, typed.require_mount)?;
        let path_map = PathMap::new(mappings.collect::<Result<_>>()?);
        if let Some(directory) = path_map.fits_none_of(roots.paths()) {
            return Err(Error::usage(
                format!("--path-map {}=...: no root lies there", directory.display()),
                "Check its spelling, links included: rows would hold paths that the PACS does not know.",
            ));
        }
        let location = location(&typed.index)?;
        let files = [("--index", location.file()), ("--rejected", typed.rejected.as_deref())];
        if let Some((option, file)) = files.into_iter().find_map(|(o, f)| f.filter(|f| roots.hold(f)).map(|f| (o, f))) {
            return Err(Error::usage(
                format!("{option} {}: lies in the archive, which this program does not write to", file.display()),
                "Name a file elsewhere.",
            ));
        }
        Ok(Reindex {
            path_map,
            location,
            roots,
            time_zone: time_zone()?,
            rejected_is_default: typed.rejected.is_none(),
            access: if typed.dry_run { Access::DryRun } else { Access::Write },
            io_threads,
            walk_threads: io_threads.min(MOST_WALK_THREADS),
            rejected: match &typed.rejected {
                Some(path) => path.clone(),
                None => default_listing()?,
            },
            progress: (!typed.quiet).then_some(match typed.progress {
                cli::Progress::Auto => Form::Auto,
                cli::Progress::Bar => Form::Bar,
                cli::Progress::Lines => Form::Lines,
                cli::Progress::Json => Form::Json,
            }),
        })
    }
}

/// Where the index is, with the password from where it may be.
pub fn location(typed: &cli::Index) -> Result<Location> {
    let mut credentials = Credentials::default();
    if let Some(path) = &typed.defaults_file {
        credentials = option_file(path, &typed.defaults_section)?;
    }
    if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
        credentials.password = Some(password);
    }
    // What is typed has the last word.
    if let Some(path) = &typed.password_file {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::usage(format!("--password-file {}: {error}", path.display()), "Name a file that you may read.")
        })?;
        credentials.password = Some(text.lines().next().unwrap_or_default().to_owned());
    }
    Location::parse(&typed.url, &credentials)
}

/// User and password of a section of a MySQL option file.
fn option_file(path: &Path, section: &str) -> Result<Credentials> {
    let unusable = |why: String| {
        Error::usage(
            format!("--defaults-file {}: {why}", path.display()),
            format!("Name an option file of MySQL with a section [{section}] that holds user and password."),
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let mut ini = Ini::new_cs();
    // A password may hold a colon or a semicolon; a comment stands on a line of its own.
    ini.set_inline_comment_symbols(Some(&[]));
    let text: String =
        text.lines().filter(|line| !line.trim_start().starts_with('!')).flat_map(|l| [l, "\n"]).collect();
    let mut syntax = ini.defaults();
    syntax.delimiters = vec!['='];
    ini.load_defaults(syntax);
    let sections = ini.read(text).map_err(unusable)?;
    let section = sections.get(section).ok_or_else(|| unusable(format!("there is no section [{section}]")))?;
    let value = |key: &str| {
        let text = section.get(key)?.as_deref()?.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
        Some(quoted.unwrap_or(text).to_owned())
    };
    Ok(Credentials { user: value("user"), password: value("password") })
}

/// The time zone of this system, unless TZ names another. One that is not known would be taken for UTC.
fn time_zone() -> Result<TimeZone> {
    let system = TimeZone::try_system();
    match (system, std::env::var("TZ")) {
        (Ok(zone), _) => Ok(zone),
        (Err(_), Ok(name)) if !name.is_empty() => Err(Error::usage(
            format!("TZ={name}: no such time zone"),
            "Name that of the PACS, for example Europe/Berlin: study.received is local time.",
        )),
        // A system without any setting runs in UTC.
        (Err(_), _) => Ok(TimeZone::UTC),
    }
}

fn default_io_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (4 * cores).max(LEAST_IO_THREADS)
}

/// A new file in the state directory of the XDG base directory specification.
fn default_listing() -> Result<PathBuf> {
    let set = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state"))).ok_or_else(|| {
        Error::usage(
            "neither XDG_STATE_HOME nor HOME is set, so there is no place for the list of rejected files",
            "Name it: --rejected FILE",
        )
    })?;
    let now = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    Ok(state.join("pacs-index").join(format!("rejected-{now}-{}.jsonl", std::process::id())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_from_the_section_of_an_option_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my.cnf");
        let text = "# mine\n!includedir /etc/mysql\n[mysqld]\nskip-networking\n[client]\nuser = pacs\npassword=\"a;b#c:d = e\"\n";
        std::fs::write(&path, text).unwrap();
        let found = option_file(&path, "client").unwrap();
        assert_eq!((found.user.as_deref(), found.password.as_deref()), (Some("pacs"), Some("a;b#c:d = e")));
        let error = option_file(&path, "pacs-index").err().unwrap().to_string();
        assert!(error.contains("no section [pacs-index]"), "{error}");
    }
}
