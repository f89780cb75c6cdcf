//! The state of an import, from which the same command resumes after a kill: the days on which the
//! import began, under which copies without a row are filed; the directories with unfinished
//! copies, which are removed; and the files that were copied and verified, which are not compared
//! again. If the state is lost, files are compared byte by byte, which takes longer.
//!
//! The state is a text file that only its owner may read, because paths may contain patient data.

#![allow(clippy::disallowed_methods, reason = "a file of this program's own")]

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::civil::Date;
use xxhash_rust::xxh3::xxh3_128;

use super::poisoned;
use crate::archive::{FileState, skip};
use crate::damaged::{self, Condition};
use crate::error::{Error, Result};
use crate::full_disk;
use crate::journal::{self, Busy, Owner, StateError};

pub struct Ledger {
    /// The days on which unfinished imports began. Their copies are filed under these days.
    pub earlier: Vec<Date>,
    /// The prefix of the names of unfinished copies.
    pub prefix: String,
    /// The fingerprints of verified copies, sorted.
    known: Vec<u128>,
    directories: Mutex<HashSet<PathBuf>>,
    /// `None` if the import stores no state.
    out: Option<Mutex<File>>,
    /// A message about a file that was damaged or cannot be opened.
    pub damaged: Option<String>,
    _lock: Option<File>,
}

/// The import that the state belongs to, and how another import that uses the same state is
/// handled.
pub struct State<'a> {
    pub directory: &'a Path,
    pub key: &'a str,
    pub busy: Busy,
}

const FILE: &str = "import";

/// The first bytes of the file.
const BEGINS: &[u8] = b"\nname ";

/// Returns a hash of the paths, sizes and mtimes of a source and its copy.
pub fn fingerprint(source: (&Path, FileState), copy: (&Path, FileState)) -> u128 {
    let mut bytes = Vec::new();
    for (path, state) in [source, copy] {
        let path = path.as_os_str().as_encoded_bytes();
        bytes.extend((path.len() as u64).to_le_bytes());
        bytes.extend(path);
        bytes.extend(state.size.to_le_bytes());
        bytes.extend(state.modified.to_le_bytes());
    }
    xxh3_128(&bytes)
}

/// The content of the state file.
#[derive(Default)]
struct Begun {
    name: Option<String>,
    days: Vec<Date>,
    directories: HashSet<PathBuf>,
    known: Vec<u128>,
}

impl Ledger {
    /// Continues the state of a killed import, and removes its unfinished copies. State that cannot
    /// be opened is left unchanged: the import compares all files, and stores nothing for the next
    /// import.
    pub fn open(state: &State<'_>, today: Date, is_interrupted: impl Fn() -> bool) -> Result<Self> {
        match Self::open_readable(state, today, is_interrupted) {
            Err(StateError::Unreadable(message)) => Ok(Ledger {
                earlier: Vec::new(),
                prefix: prefix(&new_name(state)),
                known: Vec::new(),
                directories: Mutex::default(),
                out: None,
                damaged: Some(damaged::continues_without(&message)),
                _lock: None,
            }),
            opened => Ok(opened?),
        }
    }

    fn open_readable(state: &State<'_>, today: Date, is_interrupted: impl Fn() -> bool) -> Result<Self, StateError> {
        let failed = |error: io::Error| {
            let error = full_disk::named(state.directory, error);
            Error::usage(
                format!("cannot use the state of the import in {}: {error}", state.directory.display()),
                "Name a directory that you may write to, with room: --state DIR",
            )
        };
        let claim = journal::claim(state.directory, Owner::Key(state.key), state.busy, is_interrupted, failed)?;
        let path = state.directory.join(FILE);
        let has_format = |head: &[u8]| damaged::begins_with(head, BEGINS);
        let damaged = match damaged::set_aside_unless(&path, has_format).map_err(failed)? {
            Condition::Usable => None,
            Condition::MovedAside(message) => Some(message),
            Condition::Unreadable(message) => return Err(StateError::Unreadable(message)),
        };
        let Begun { name, days, directories, mut known } = Begun::read(&path).map_err(failed)?;
        let name = name.unwrap_or_else(|| new_name(state));
        let prefix = prefix(&name);
        directories.iter().for_each(|directory| clean(directory, &prefix));
        known.sort_unstable();
        let out = journal::private().create(true).append(true).open(path).map_err(failed)?;
        let ledger = Ledger {
            earlier: days.into_iter().filter(|day| *day != today).collect(),
            prefix,
            known,
            directories: Mutex::new(directories),
            out: Some(Mutex::new(out)),
            damaged: claim.damaged.or(damaged),
            _lock: Some(claim.lock),
        };
        // The leading line feed ends a line that was cut off.
        ledger.write(&format!("\nname {name}\nday {today}\n")).map_err(failed)?;
        Ok(ledger)
    }

    /// Whether the directory contains the state of an unfinished import.
    pub fn is_unfinished(directory: &Path) -> bool {
        Begun::read(&directory.join(FILE)).is_ok_and(|begun| !begun.days.is_empty())
    }

    pub fn knows(&self, fingerprint: u128) -> bool {
        self.known.binary_search(&fingerprint).is_ok()
    }

    /// Records a directory before the first copy is written to it.
    pub fn copies_into(&self, directory: &Path) -> io::Result<()> {
        if !poisoned(&self.directories).insert(directory.to_owned()) {
            return Ok(());
        }
        let text = serde_json::to_string(&directory.to_string_lossy())?;
        self.write(&format!("directory {text}\n"))
    }

    /// Records copies that are identical to their sources. Errors are ignored, because the copies
    /// are then compared again.
    pub fn verified(&self, fingerprints: impl Iterator<Item = u128>) {
        let lines: String = fingerprints.map(|fingerprint| format!("same {fingerprint:032x}\n")).collect();
        let _ = self.write(&lines);
    }

    /// Records the end of the import. The next import begins on its own day.
    pub fn ended(&self) {
        let _ = self.write("end\n");
    }

    fn write(&self, lines: &str) -> io::Result<()> {
        self.out.as_ref().map_or(Ok(()), |out| poisoned(out).write_all(lines.as_bytes()))
    }
}

/// Returns a name for the copies of an import. The name is random, because another machine may
/// import the same files with a state of its own.
fn new_name(state: &State<'_>) -> String {
    format!("{:016x}", RandomState::new().hash_one(state.key))
}

/// Returns the prefix of the names of unfinished copies.
fn prefix(name: &str) -> String {
    format!("{}{name}-", skip::COPY_BEGINS)
}

impl Begun {
    fn read(path: &Path) -> io::Result<Self> {
        let mut begun = Begun::default();
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(begun),
            file => file?,
        };
        for line in BufReader::new(file).split(b'\n') {
            begun.take(&String::from_utf8_lossy(&line?));
        }
        Ok(begun)
    }

    /// Parses a line. A line that was cut off is ignored.
    fn take(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("name", name)) if name.len() == 16 => self.name = Some(name.to_owned()),
            Some(("day", day)) => {
                let day = day.parse().ok().filter(|day| !self.days.contains(day));
                self.days.extend(day);
            }
            Some(("directory", text)) => self.directories.extend(serde_json::from_str::<PathBuf>(text).ok()),
            Some(("same", digits)) if digits.len() == 32 => self.known.extend(u128::from_str_radix(digits, 16).ok()),
            None if line == "end" => {
                self.days.clear();
                self.directories.clear();
            }
            _ => {}
        }
    }
}

/// Removes the unfinished copies of a killed import. They are recognized by the prefix, which is
/// unique to that import.
fn clean(directory: &Path, prefix: &str) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(prefix) && name.ends_with(skip::COPY_ENDS) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn open(directory: &Path, today: Date) -> Ledger {
        Ledger::open(&State { directory, key: "index x\n", busy: Busy::Leave }, today, || false).unwrap()
    }

    #[test]
    fn an_import_that_was_killed_is_found_under_its_day_and_leaves_nothing_unfinished() {
        let site = tempfile::tempdir().unwrap();
        let (state, archive) = (site.path().join("state"), site.path().join("a\nb"));
        std::fs::create_dir(&archive).unwrap();
        let (first, second) = (date(2026, 11, 28), date(2026, 11, 29));
        let ledger = open(&state, first);
        ledger.copies_into(&archive).unwrap();
        ledger.verified([7, u128::MAX].into_iter());
        let [own, foreign] = [format!("{}x.part", ledger.prefix), ".pacs-index-0000000000000000-x.part".into()];
        assert!(Ledger::is_unfinished(&state));
        for name in [&own, &foreign, "1.2.3"] {
            std::fs::write(archive.join(name), "x").unwrap();
        }
        drop(ledger);
        let ledger = open(&state, second);
        assert_eq!(ledger.earlier, [first]);
        assert!(ledger.knows(7) && ledger.knows(u128::MAX) && !ledger.knows(8));
        let left: HashSet<_> = std::fs::read_dir(&archive).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, HashSet::from([foreign.into(), "1.2.3".into()]));
        ledger.ended();
        drop(ledger);
        let ledger = open(&state, second);
        assert!(ledger.earlier.is_empty() && ledger.knows(7));
    }

    #[test]
    fn a_line_that_was_cut_off_says_nothing() {
        let site = tempfile::tempdir().unwrap();
        let ledger = open(site.path(), date(2026, 11, 28));
        ledger.write("same 00ff").unwrap();
        drop(ledger);
        let ledger = open(site.path(), date(2026, 12, 1));
        assert_eq!((&ledger.earlier[..], ledger.known.len()), (&[date(2026, 11, 28)][..], 0));
    }

    #[test]
    fn two_imports_of_one_kind_exclude_each_other() {
        let site = tempfile::tempdir().unwrap();
        let _first = open(site.path(), date(2026, 11, 28));
        let state = State { directory: site.path(), key: "index x\n", busy: Busy::Leave };
        assert!(Ledger::open(&state, date(2026, 11, 28), || false).is_err());
    }
}
