//! The stubs in the summary: the number of each kind, their location, and their outcome.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use super::account::Account;
use crate::progress::text;

/// The input of [`describe`].
pub(super) struct Described<'a> {
    pub account: &'a Account,
    /// Whether the run continues another run, whose stubs are not counted.
    pub is_continued: bool,
    pub is_dry: bool,
    /// Mounts on which no file occupies a block, and the number of their files.
    pub in_doubt: &'a [(PathBuf, u64)],
    /// Mounts where reading was given up.
    pub left_mounts: &'a [PathBuf],
}

pub(super) fn describe(out: &mut String, described: &Described<'_>) {
    let stubs = described.account.stubs();
    if stubs.is_empty() {
        return;
    }
    let mut line = |text: String| out.write_str(&(text + "\n")).unwrap_or_default();
    line(format!(
        "{:<40} {:<12} {:>12} {:>10}  {}",
        if described.is_continued { "stubs and links of this run alone" } else { "stubs and links" },
        "locality",
        "files",
        "bytes",
        "outcome"
    ));
    for ((kind, locality, outcome, mount), alike) in stubs {
        let bytes = if alike.bytes > 0 { text::bytes(alike.bytes) } else { "-".into() };
        let (locality, outcome) = (locality.name(), outcome.describe());
        line(format!("  {kind:<38} {locality:<12} {:>12} {bytes:>10}  {outcome}", text::count(alike.files)));
        let target = alike.target.map(|target| format!("to {}", text::path(Path::new(&target))));
        let mount = mount.map(|mount| format!("on {}", text::path(&mount)));
        let why = Some(alike.why).filter(|why| !why.is_empty());
        let told: Vec<String> = [mount, target, why].into_iter().flatten().collect();
        if !told.is_empty() {
            line(format!("    {}{}", if alike.files > 1 { "one of them: " } else { "" }, told.join(": ")));
        }
    }
    let (files, bytes) = &described.account.would_recall;
    if described.is_dry && files.load(Relaxed) > 0 {
        let (files, bytes) = (text::count(files.load(Relaxed)), text::bytes(bytes.load(Relaxed)));
        line(format!("a run with --allow-recall would recall {files} of them, {bytes}"));
    }
    for (mount, files) in described.in_doubt {
        line(format!(
            "none of {} files on {} occupies a block: all are offline, or blocks say nothing there. If they are online: \
                 --online DIR",
            text::count(*files),
            text::path(mount)
        ));
    }
    for mount in described.left_mounts {
        line(format!(
            "reading on {} was given up: files that seemed online answered slowly. If that is its way: --slow-read TIME",
            text::path(mount)
        ));
    }
    line(String::new());
}
