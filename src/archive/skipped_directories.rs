//! Directories below a root that hold no live images: recycle bins, snapshots, and the private data
//! of storage systems. Files there repeat the archive, or were deleted from it, so no walk descends
//! into them.
//!
//! The names come from a table of vendors (`SYSTEM_DIRECTORIES`) and from the setting `--skip-dir`.
//! The name of a root itself, and the names above it, are not significant.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use regex::Regex;

use super::system_directories::{DirectoryName, NameScope, SYSTEM_DIRECTORIES, SystemDirectory};

/// The use of a skipped directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DirectoryKind {
    /// Deleted files.
    RecycleBin,
    /// Earlier versions of the same files.
    Snapshot,
    /// Files that a storage system or an operating system keeps for itself.
    SystemData,
    /// Files that a file system check has found without a name.
    RecoveredFragments,
    /// Named with `--skip-dir`.
    Configured,
}

impl DirectoryKind {
    pub fn describe(self) -> &'static str {
        match self {
            DirectoryKind::RecycleBin => "recycle bin",
            DirectoryKind::Snapshot => "snapshot",
            DirectoryKind::SystemData => "system data",
            DirectoryKind::RecoveredFragments => "recovered fragments",
            DirectoryKind::Configured => "--skip-dir",
        }
    }
}

/// The reason why a directory is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkipReason {
    pub kind: DirectoryKind,
    /// The vendor and the product that use the name, or the setting.
    source: &'static str,
}

impl SkipReason {
    /// A stable code for lists.
    pub fn code(&self) -> &'static str {
        if self.kind == DirectoryKind::Configured { "skip-dir" } else { "system-directory" }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            DirectoryKind::Configured => f.write_str("excluded by --skip-dir"),
            kind => write!(f, "{}: {}", kind.describe(), self.source),
        }
    }
}

/// The number of skipped directories of each kind.
pub type SkippedCounts = BTreeMap<DirectoryKind, u64>;

/// Formats counts as `3: recycle bin 2, snapshot 1`.
pub fn describe_counts(counts: &SkippedCounts, number: impl Fn(u64) -> String) -> String {
    let parts: Vec<String> =
        counts.iter().map(|(kind, count)| format!("{} {}", kind.describe(), number(*count))).collect();
    format!("{}: {}", number(counts.values().sum()), parts.join(", "))
}

/// The names of directories that no walk descends into. The default is the table of vendors alone.
#[derive(Clone, Debug, Default)]
pub struct SkippedDirectories {
    /// The patterns of `--skip-dir`.
    configured: Arc<[Regex]>,
}

impl SkippedDirectories {
    /// Adds the patterns of a site: names of directories, where `*` matches any characters and `?`
    /// matches one.
    pub fn with_patterns(patterns: &[String]) -> Result<Self, InvalidPattern> {
        let configured = patterns.iter().map(|pattern| regex_of(pattern)).collect::<Result<_, _>>()?;
        Ok(SkippedDirectories { configured })
    }

    /// The reason why a directory below `root` is not searched, or `None` if it is searched.
    /// Considers only the directory's own name, not the names above it.
    pub fn reason(&self, root: &Path, directory: &Path) -> Option<SkipReason> {
        let name = directory.file_name()?;
        self.configured_reason(name).or_else(|| {
            let found = system_directory(name)?;
            let is_skipped = match found.scope {
                NameScope::Anywhere => true,
                NameScope::BelowRoot => directory.parent() == Some(root) && !is_of_a_patient(directory),
            };
            is_skipped.then_some(SkipReason { kind: found.kind, source: found.source })
        })
    }

    /// The reason why a walk does not reach a path below `root`: that of the first skipped
    /// directory in the path.
    pub fn reason_on_the_way(&self, root: &Path, path: &Path) -> Option<SkipReason> {
        let below = path.strip_prefix(root).ok()?;
        let mut directory = root.to_path_buf();
        below.iter().find_map(|name| {
            directory.push(name);
            self.reason(root, &directory)
        })
    }

    /// Whether a new directory of this name would be skipped wherever it is created.
    pub fn are_named(&self, name: &OsStr) -> bool {
        self.configured_reason(name).is_some()
            || system_directory(name).is_some_and(|found| matches!(found.scope, NameScope::Anywhere))
    }

    fn configured_reason(&self, name: &OsStr) -> Option<SkipReason> {
        let is_match = !self.configured.is_empty() && {
            let name = name.to_string_lossy();
            self.configured.iter().any(|pattern| pattern.is_match(&name))
        };
        is_match.then_some(SkipReason { kind: DirectoryKind::Configured, source: "--skip-dir" })
    }
}

fn system_directory(name: &OsStr) -> Option<&'static SystemDirectory> {
    let name = name.to_str()?;
    // Most directories of an archive are named by a date or a UID.
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    SYSTEM_DIRECTORIES.iter().find(|known| match known.name {
        DirectoryName::Exact(exact) => name == exact,
        DirectoryName::IgnoringCase(exact) => name.eq_ignore_ascii_case(exact),
        DirectoryName::Shape(has_shape) => has_shape(name),
    })
}

/// Whether a directory is that of a patient in the layout by Patient ID, which holds directories
/// named by study dates. A Patient ID may be any word.
fn is_of_a_patient(directory: &Path) -> bool {
    let is_study_date = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_digit())
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| is_study_date(&entry.file_name()))
}

/// A pattern of `--skip-dir` that names no directory, or every one.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidPattern {
    pub pattern: String,
    pub why: &'static str,
}

fn regex_of(pattern: &str) -> Result<Regex, InvalidPattern> {
    let invalid = |why| InvalidPattern { pattern: pattern.to_owned(), why };
    if pattern.contains(['/', '\\']) {
        return Err(invalid("is a path, and not the name of a directory"));
    }
    if matches!(pattern, "" | "." | "..") {
        return Err(invalid("is not the name of a directory"));
    }
    if pattern.chars().all(|c| matches!(c, '*' | '?')) {
        return Err(invalid("matches the directories of the images too"));
    }
    let escaped = regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", ".");
    Regex::new(&format!("(?s)^{escaped}$")).map_err(|_| invalid("is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(root: &str, directory: &str) -> Option<DirectoryKind> {
        Some(SkippedDirectories::default().reason(Path::new(root), Path::new(directory))?.kind)
    }

    #[test]
    fn each_vendor_and_each_name_is_in_the_table_once() {
        let text = |known: &SystemDirectory| match known.name {
            DirectoryName::Exact(name) | DirectoryName::IgnoringCase(name) => name.to_ascii_lowercase(),
            DirectoryName::Shape(_) => known.source.to_owned(),
        };
        let mut names: Vec<String> = SYSTEM_DIRECTORIES.iter().map(text).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(SYSTEM_DIRECTORIES.iter().all(|known| !known.source.is_empty()));
    }

    #[test]
    fn the_name_of_a_root_and_of_what_is_above_does_not_matter() {
        let skipped = SkippedDirectories::default();
        let root = Path::new("/mnt/.snapshot/hourly.0");
        assert_eq!(skipped.reason_on_the_way(root, Path::new("/mnt/.snapshot/hourly.0/1.2/3")), None);
        assert!(skipped.reason_on_the_way(root, Path::new("/mnt/.snapshot/hourly.0/a/@Recycle/3")).is_some());
        assert_eq!(skipped.reason_on_the_way(root, Path::new("/mnt/live/@Recycle/3")), None, "below another root");
    }

    #[test]
    fn plain_words_count_only_directly_below_a_root() {
        assert_eq!(kind("/nowhere", "/nowhere/RECYCLER"), Some(DirectoryKind::RecycleBin));
        assert_eq!(kind("/nowhere", "/nowhere/share/RECYCLER"), None);
        assert_eq!(kind("/nowhere", "/nowhere/recycler"), None);
        let site = tempfile::tempdir().unwrap();
        let patient = site.path().join("trashbox");
        std::fs::create_dir_all(patient.join("20211112")).unwrap();
        assert!(SkippedDirectories::default().reason(site.path(), &patient).is_none());
        std::fs::rename(patient.join("20211112"), patient.join("2021-11-12-FRI")).unwrap();
        assert!(SkippedDirectories::default().reason(site.path(), &patient).is_some());
    }

    #[test]
    fn patterns_of_a_site_match_whole_names() {
        let patterns = ["old", "backup-*", "?.bak", "a+b"].map(str::to_owned);
        let skipped = SkippedDirectories::with_patterns(&patterns).unwrap();
        let is_skipped = |name: &str| skipped.are_named(OsStr::new(name));
        assert!(["old", "backup-", "backup-2020", "x.bak", "é.bak", "a+b", "@eaDir"].into_iter().all(is_skipped));
        assert!(!["older", "OLD", "backup", "xx.bak", "xbak", "aab", "1.2.3"].into_iter().any(is_skipped));
    }
}
