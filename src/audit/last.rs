//! The findings of the previous audit, so that an audit can report which findings are new, still
//! there, or gone. The file contains a hash of each finding, without values of its row, and the
//! scope of that audit.

#![allow(clippy::disallowed_methods, reason = "a file of this program's own")]

use std::collections::{BTreeMap, HashSet};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::coverage::UNREADABLE_DIRECTORY;
use super::finding::Finding;
use super::scope::{Scope, UNMAPPED_DIRECTORY, kind};
use super::{checks, text};
use crate::damaged::{self, Condition};
use crate::error::{Error, Result};

/// Comparison of the findings with those of the previous audit. Only findings that both audits
/// looked for are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Since {
    pub new: u64,
    pub still: u64,
    /// `None` if this audit did not look at everything that the previous audit looked at.
    pub gone: Option<u64>,
    /// Findings that the previous audit did not look for, and unmapped roots in the previous audit
    /// if this one allows them.
    pub not_compared: u64,
}

/// The file that stores the findings of an audit for the next one.
pub enum FindingsFile {
    /// A file in the state directory. A damaged file is moved aside.
    Kept(PathBuf),
    /// A file that the user named. It is replaced only if an audit wrote it or if it is empty.
    Named(PathBuf),
}

impl FindingsFile {
    pub fn path(&self) -> &Path {
        match self {
            FindingsFile::Kept(path) | FindingsFile::Named(path) => path,
        }
    }

    /// Checks, before the audit begins, that the file may be replaced.
    pub fn check(&self) -> Result<()> {
        let refused = |why| {
            Error::usage(
                format!("--baseline {}: {why}", self.path().display()),
                "Name a new file, or one that --baseline has written before.",
            )
        };
        self.obstacle().map_or(Ok(()), |why| Err(refused(why)))
    }

    /// Whether the file exists but cannot be opened. Such a file may be intact, and is not
    /// replaced.
    pub fn is_unreadable(&self) -> bool {
        let head = damaged::head(self.path());
        head.is_err_and(|error| error.kind() != ErrorKind::NotFound)
    }

    /// Returns the reason why a file of the user must not be replaced.
    fn obstacle(&self) -> Option<String> {
        let FindingsFile::Named(path) = self else { return None };
        match damaged::head(path) {
            Ok(Some(head)) if head.is_empty() || head.starts_with(MAGIC) => None,
            Ok(Some(_)) => Some("does not contain the findings of an audit, and is not replaced".into()),
            Ok(None) => Some("is not a regular file, and is not replaced".into()),
            Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => None,
            Err(error) => Some(error.to_string()),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub struct Last {
    /// In seconds since 1970-01-01 UTC.
    made_at: i64,
    scope: Scope,
    /// Hashes of the findings of each kind.
    findings: BTreeMap<String, HashSet<u64>>,
}

/// The first bytes of the file, in every version.
const MAGIC: &[u8] = b"pacs-index audit ";
const VERSION: &[u8] = b"3\n";
const CHECKSUM: usize = 4;

impl Last {
    pub fn new(made_at: Timestamp, scope: &Scope, findings: &[Finding]) -> Self {
        let mut hashes: BTreeMap<String, HashSet<u64>> = BTreeMap::new();
        for finding in findings {
            hashes.entry(kind(finding).to_owned()).or_default().insert(hash(finding));
        }
        Last { made_at: made_at.as_second(), scope: scope.clone(), findings: hashes }
    }

    /// Reads the findings of the previous audit, if there was one. Returns a message if they are
    /// damaged or cannot be read. In the state directory, a file of another kind is moved aside.
    pub fn read(file: &FindingsFile) -> (Option<Self>, Option<String>) {
        let lost = |why: String| format!("the findings of the last audit cannot be used: {why}");
        let has_format = |head: &[u8]| head.is_empty() || damaged::begins_with(head, MAGIC);
        let checked = match file {
            FindingsFile::Kept(path) => damaged::set_aside_unless(path, has_format),
            FindingsFile::Named(_) => file.obstacle().map_or(Ok(Condition::Usable), |why| Err(io::Error::other(why))),
        };
        let file = file.path();
        match checked {
            Err(error) => return (None, Some(lost(format!("{}: {error}", file.display())))),
            Ok(Condition::MovedAside(message)) => return (None, Some(lost(message))),
            Ok(Condition::Unreadable(message)) => return (None, Some(lost(damaged::continues_without(&message)))),
            Ok(Condition::Usable) => {}
        }
        match std::fs::read(file) {
            Ok(bytes) if bytes.is_empty() => (None, None),
            Err(error) if error.kind() == ErrorKind::NotFound => (None, None),
            Err(error) => (None, Some(lost(format!("{}: {error}", file.display())))),
            Ok(bytes) => match decode(&bytes) {
                Err(Unusable::OfOtherVersion) => (None, None),
                Err(Unusable::Damaged) => (None, Some(lost(format!("{} was damaged", file.display())))),
                Ok(last) => (Some(last), None),
            },
        }
    }

    /// Replaces the findings of the previous audit.
    pub fn write(&self, file: &FindingsFile) -> io::Result<()> {
        file.obstacle().map_or(Ok(()), |why| Err(io::Error::other(why)))?;
        let file = file.path();
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let body = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let mut new = tempfile::NamedTempFile::new_in(directory)?;
        for part in [MAGIC, VERSION, &crc32fast::hash(&body).to_le_bytes(), &body] {
            new.write_all(part)?;
        }
        new.as_file().sync_data()?;
        new.persist(file)?;
        Ok(())
    }

    pub fn made_at(&self) -> Timestamp {
        Timestamp::from_second(self.made_at).unwrap_or_default()
    }

    /// Whether a finding is new. `None` if the previous audit did not look for the finding, or
    /// could not.
    pub fn is_new(&self, finding: &Finding, scope: &Scope) -> Option<bool> {
        if !self.scope.is_of_same_place(scope) || !self.scope.has_looked_for(kind(finding)) {
            return None;
        }
        let had = self.findings.get(kind(finding)).is_some_and(|hashes| hashes.contains(&hash(finding)));
        // A deeper level detects damage that existed before. Directories are listed at every level.
        let is_of_any_level = finding.check == UNREADABLE_DIRECTORY;
        let has_looked = is_of_any_level || self.scope.level >= scope.level && self.has_listed_place_of(finding, scope);
        (had || has_looked).then_some(!had)
    }

    /// Whether the previous audit could list the directories above the file of a finding. A finding
    /// without a known file may be anywhere, unless its check reads only tables.
    fn has_listed_place_of(&self, finding: &Finding, scope: &Scope) -> bool {
        if !self.scope.has_unreadable_directories || checks::is_of_tables(finding.check) {
            return true;
        }
        let unreadable = |directory: &Path| {
            let found =
                |hashes: &HashSet<u64>| hashes.contains(&hash_of(UNREADABLE_DIRECTORY, "", &text(directory), ""));
            self.findings.get(UNREADABLE_DIRECTORY).is_some_and(found)
        };
        let file = finding.path.as_deref().and_then(|path| scope.file_of(path));
        file.is_some_and(|file| !file.ancestors().any(unreadable))
    }

    /// Compares this audit with the previous one. `None` if the previous audit looked at other rows
    /// and files.
    pub fn since(&self, findings: &[Finding], scope: &Scope) -> Option<Since> {
        if !self.scope.is_of_same_place(scope) {
            return None;
        }
        let mut since = Since::default();
        for finding in findings {
            *match self.is_new(finding, scope) {
                Some(true) => &mut since.new,
                Some(false) => &mut since.still,
                None => &mut since.not_compared,
            } += 1;
        }
        let now: HashSet<u64> = findings.iter().map(hash).collect();
        if scope.allows_unmapped_paths {
            since.not_compared += self.findings.get(UNMAPPED_DIRECTORY).map_or(0, |hashes| hashes.len() as u64);
        }
        let of_made = self.findings.iter().filter(|(kind, _)| scope.has_looked_for(kind));
        let gone: usize = of_made.map(|(_, hashes)| hashes.difference(&now).count()).sum();
        let has_seen_all = scope.is_finished && !scope.has_unreadable_directories && scope.level >= self.scope.level;
        since.gone = has_seen_all.then_some(gone as u64);
        Some(since)
    }
}

enum Unusable {
    OfOtherVersion,
    Damaged,
}

fn decode(bytes: &[u8]) -> std::result::Result<Last, Unusable> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(Unusable::Damaged)?;
    let rest = rest.strip_prefix(VERSION).ok_or(Unusable::OfOtherVersion)?;
    let (checksum, body) = rest.split_at_checked(CHECKSUM).ok_or(Unusable::Damaged)?;
    if checksum != crc32fast::hash(body).to_le_bytes() {
        return Err(Unusable::Damaged);
    }
    postcard::from_bytes(body).map_err(|_| Unusable::Damaged)
}

/// Returns a hash of a finding that does not depend on the wording of its detail.
fn hash(finding: &Finding) -> u64 {
    let Finding { check, uid, path, detail, .. } = finding;
    // A finding about patients has only its detail to identify it.
    let detail = if uid.is_none() && path.is_none() { detail } else { "" };
    hash_of(check, uid.as_deref().unwrap_or_default(), path.as_deref().unwrap_or_default(), detail)
}

fn hash_of(check: &str, uid: &str, path: &str, detail: &str) -> u64 {
    xxh3_64(format!("{check}\0{uid}\0{path}\0{detail}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Depth;
    use crate::audit::finding::Severity;

    fn finding(check: &'static str, uid: &str) -> Finding {
        Finding {
            check,
            severity: Severity::Error,
            uid: Some(uid.into()),
            path: None,
            detail: String::new(),
            mend: None,
        }
    }

    fn scope(level: Depth, made: &[&str], is_finished: bool) -> Scope {
        Scope {
            index: "sqlite:x".into(),
            level,
            roots: vec!["/a".into(), "/b".into()],
            path_maps: Vec::new(),
            part: None,
            made: made.iter().map(|check| (*check).to_owned()).collect(),
            not_made: Vec::new(),
            allows_unmapped_paths: false,
            gaps: Vec::new(),
            is_finished,
            has_unreadable_directories: false,
        }
    }

    fn before(level: Depth, made: &[&str]) -> Last {
        let found = ["1.2.1", "1.2.2"].map(|uid| finding("missing-file", uid));
        Last::new(Timestamp::UNIX_EPOCH, &scope(level, made, true), &found)
    }

    #[test]
    fn findings_are_new_still_there_or_gone() {
        let directory = tempfile::tempdir().unwrap();
        let file = FindingsFile::Kept(directory.path().join("made/audit"));
        assert!(matches!(Last::read(&file), (None, None)));
        before(Depth::Exists, &["missing-file"]).write(&file).unwrap();
        let (Some(last), None) = Last::read(&file) else { panic!("it can be read") };
        let now = ["1.2.2", "1.2.3", "1.2.4"].map(|uid| finding("missing-file", uid));
        let since = last.since(&now, &scope(Depth::Exists, &["missing-file"], true));
        assert_eq!(since, Some(Since { new: 2, still: 1, gone: Some(1), not_compared: 0 }));
    }

    #[test]
    fn nothing_is_gone_that_this_audit_did_not_look_for() {
        let last = before(Depth::Size, &["missing-file"]);
        let gone = |scope: &Scope| last.since(&[], scope).unwrap().gone;
        assert_eq!(gone(&scope(Depth::Size, &["missing-file"], false)), None, "interrupted");
        assert_eq!(gone(&scope(Depth::Exists, &["missing-file"], true)), None, "a shallower level");
        let unreadable = Scope { has_unreadable_directories: true, ..scope(Depth::Size, &["missing-file"], true) };
        assert_eq!(gone(&unreadable), None, "an unreadable directory");
        assert_eq!(gone(&scope(Depth::Full, &["missing-file"], true)), Some(2));
        assert_eq!(gone(&scope(Depth::Size, &["empty-file"], true)), Some(0), "another check");
    }

    #[test]
    fn nothing_is_new_that_the_audit_before_did_not_look_for() {
        let last = before(Depth::Exists, &["missing-file"]);
        let now = [finding("empty-file", "1.2.9"), finding("missing-file", "1.2.9"), finding("missing-file", "1.2.1")];
        let both = ["missing-file", "empty-file"];
        let of = |level| last.since(&now, &scope(level, &both, true)).unwrap();
        let same = of(Depth::Exists);
        assert_eq!((same.new, same.still, same.not_compared), (1, 1, 1));
        let deeper = of(Depth::Header);
        assert_eq!((deeper.new, deeper.still, deeper.not_compared), (0, 1, 2));
    }

    #[test]
    fn nothing_is_new_where_the_audit_before_could_not_list_a_directory() {
        let at = |check, uid: Option<&str>, path: Option<&str>| Finding {
            uid: uid.map(str::to_owned),
            path: path.map(str::to_owned),
            ..finding(check, "")
        };
        let made = ["missing-file", "header-differs", "image-without-series", "unindexed-file"];
        let maps = |scope: Scope| Scope { path_maps: vec!["/a=D:/A".into()], ..scope };
        let scope_before = Scope { has_unreadable_directories: true, ..maps(scope(Depth::Full, &made, true)) };
        let closed = at(UNREADABLE_DIRECTORY, None, Some("/a/closed"));
        let last = Last::new(Timestamp::UNIX_EPOCH, &scope_before, &[closed, finding("missing-file", "1.2.1")]);
        let now = maps(scope(Depth::Full, &made, true));
        let is_new = |check, uid, path| last.is_new(&at(check, uid, path), &now);
        assert_eq!(is_new("missing-file", Some("1.2.2"), Some("D:/A/closed/deep/x")), None);
        assert_eq!(is_new("unindexed-file", Some("1.2.2"), Some("/a/closed/x")), None);
        assert_eq!(is_new("header-differs", Some("1.2.2"), None), None, "a place that is not known");
        assert_eq!(is_new("missing-file", Some("1.2.2"), Some("E:/x")), None, "a path below no root");
        assert_eq!(is_new("missing-file", Some("1.2.2"), Some("D:/A/closed2/x")), Some(true));
        assert_eq!(is_new("unindexed-file", Some("1.2.2"), Some("/b/x")), Some(true));
        assert_eq!(is_new("image-without-series", Some("1.2.2"), None), Some(true), "tables alone");
        assert_eq!(is_new("missing-file", Some("1.2.1"), None), Some(false));
        assert_eq!(is_new(UNREADABLE_DIRECTORY, None, Some("/a/closed/deep")), Some(true));
    }

    #[test]
    fn audits_of_other_places_are_not_compared() {
        let last = before(Depth::Exists, &["missing-file"]);
        let mut now = scope(Depth::Exists, &["missing-file"], true);
        now.roots.reverse();
        assert!(last.since(&[], &now).is_some(), "the order of roots makes no difference");
        for change in [
            (|scope: &mut Scope| drop(scope.roots.pop())) as fn(&mut Scope),
            |scope| scope.path_maps.push("/a=/b".into()),
            |scope| scope.part = Some("1/2".into()),
            |scope| scope.index = "sqlite:y".into(),
        ] {
            let mut now = scope(Depth::Exists, &["missing-file"], true);
            change(&mut now);
            assert_eq!((last.since(&[], &now), last.is_new(&finding("missing-file", "1.2.1"), &now)), (None, None));
        }
    }

    #[test]
    fn each_flipped_bit_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("audit");
        before(Depth::Exists, &["missing-file"]).write(&FindingsFile::Kept(file.clone())).unwrap();
        let whole = std::fs::read(&file).unwrap();
        for at in MAGIC.len() + VERSION.len()..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(matches!(decode(&bytes), Err(Unusable::Damaged)), "{at}");
            assert!(decode(&whole[..at]).is_err(), "{at}");
        }
    }
}
