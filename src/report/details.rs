//! Parts of the summary: young files, directories, values, and the list of files to look at.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use jiff::SignedDuration;

use super::account::{Account, Fate};
use super::listing::ListCounts;
use crate::archive::skipped_directories::describe_counts;
use crate::progress::text;

/// Files that are left to the PACS.
#[derive(Clone, Copy, Debug, Default)]
pub struct YoungFiles {
    /// Minimum age of a file. Younger files are left to the PACS.
    pub limit: SignedDuration,
    /// The number of young files outside of the directories of today and yesterday: a PACS receives
    /// none there.
    pub in_old_directories: u64,
}

/// Copies that an import could not give to the owner and the group of the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessShortfall {
    pub copies: u64,
    /// The number of these copies that the owner of the archive cannot read.
    pub unreadable: u64,
    pub owner: u32,
    pub group: u32,
}

impl YoungFiles {
    /// Returns whether most files are young and in directories where a PACS receives none: the
    /// archive was restored or copied just now.
    pub fn are_most(&self, account: &Account) -> bool {
        let others = account.count(Fate::Skipped) + account.count(Fate::NotReached);
        self.in_old_directories * 2 > account.files_found().saturating_sub(others)
    }

    pub(super) fn describe(&self, out: &mut String, account: &Account) {
        let left = account.count(Fate::TooYoung);
        if left == 0 {
            return;
        }
        let (left, limit) = (text::count(left), self.limit);
        match self.are_most(account) {
            true => line(
                out,
                format_args!(
                    "MOST FILES ARE YOUNG: {left} were modified less than {limit:#} ago and are not indexed. If the archive \
                     was restored or copied just now, run the same command again with --min-age 0s; its files may have lost their \
                     times, so for an empty index add --received-from path,study-date,mtime"
                ),
            ),
            false => line(
                out,
                format_args!(
                    "{left} files were modified less than {limit:#} ago, so that the PACS may still be writing them; a later \
                     run indexes them, and --min-age 0s indexes them now"
                ),
            ),
        }
    }
}

impl AccessShortfall {
    pub(super) fn describe(&self, out: &mut String) {
        let AccessShortfall { copies, unreadable, owner, group } = self;
        let [copies, unreadable] = [*copies, *unreadable].map(text::count);
        line(
            out,
            format_args!(
                "{copies} copies could not be given to the owner and group of the archive, {owner}:{group}; the owner cannot \
             read {unreadable} of them. Run the import as root, or as that user, or type: chown {owner}:{group} FILES"
            ),
        );
    }
}

impl ListCounts {
    pub(super) fn describe(self, out: &mut String, path: &Path) {
        let ListCounts { findings, notes } = self;
        let (path, findings_text, notes_text) = (path.display(), text::count(findings), text::count(notes));
        match (findings, notes) {
            (0, _) => line(out, format_args!("notes, one a line: {path} ({notes_text})")),
            (_, 0) => line(out, format_args!("files to look at, one a line: {path} ({findings_text})")),
            _ => line(
                out,
                format_args!("files to look at, one a line: {path} ({findings_text}; and notes: {notes_text})"),
            ),
        }
    }
}

/// Writes the counts of directories, including those below which files may be unseen.
pub(super) fn directories(out: &mut String, account: &Account) {
    let count = |counter: &AtomicU64| text::count(counter.load(Relaxed));
    line(out, format_args!("directories listed {}", count(&account.directories_listed)));
    let skipped = account.directories_skipped();
    if !skipped.is_empty() {
        line(out, format_args!("directories skipped by rule {}", describe_counts(&skipped, text::count)));
    }
    if let Some((count, first, last)) = account.earlier() {
        let count = text::count(count);
        line(out, format_args!("directories not looked at {count}, of {first} to {last}: before --since"));
    }
    if account.directories_unreadable.load(Relaxed) > 0 {
        let unreadable = count(&account.directories_unreadable);
        line(out, format_args!("DIRECTORIES UNREADABLE {unreadable}: files below them are not counted"));
    }
}

/// Writes the account: each file that was found has one of the outcomes. `counted_ahead` is the
/// number of files counted ahead of the work, if the run did not end cleanly.
pub(super) fn account(
    out: &mut String,
    account: &Account,
    has_fate: impl Fn(Fate) -> bool,
    counted_ahead: Option<u64>,
) {
    line(out, format_args!("{:<26}{:>14}", "files found", text::count(account.files_found())));
    for fate in Fate::ALL.into_iter().filter(|fate| has_fate(*fate)) {
        line(out, format_args!("  {:<24}{:>14}", fate.describe(), text::count(account.count(fate))));
        match fate {
            Fate::Rejected => parts(out, account.rejections()),
            Fate::Skipped => parts(out, account.skips().into_iter().map(|(rule, count)| (rule.describe(), count))),
            _ => {}
        }
    }
    let beyond = counted_ahead.unwrap_or(0).saturating_sub(account.files_found());
    if account.count(Fate::NotReached) > 0 && beyond > 0 {
        let beyond = text::count(beyond);
        line(out, format_args!("\nThe run ended before its walk did: about {beyond} more files were not found yet."));
    }
    if !account.adds_up() {
        line(
            out,
            format_args!(
                "\nThe parts add up to {}, not to the files found: a defect of this program. Please report it; \
                 run the same command again before you rely on the index.",
                text::count(account.done())
            ),
        );
    }
}

fn parts<'a>(out: &mut String, parts: impl IntoIterator<Item = (&'a str, u64)>) {
    for (what, count) in parts {
        line(out, format_args!("    {what:<22}{:>14}", text::count(count)));
    }
}

/// Writes the counts of values that differ between the files and the index.
pub(super) fn values(out: &mut String, account: &Account) {
    let notes: [(&AtomicU64, &str); 11] = [
        (&account.unusable_values, "invalid or out-of-range dates, times, numbers and UIDs, stored as NULL"),
        (&account.repaired_values, "values repaired: they break the rules of DICOM, and have one meaning only"),
        (&account.partial_values, "values stored in part, or two in one: behind a NUL, or more than one value"),
        (
            &account.unknown_charsets,
            "files with an unknown term in (0008,0005): text was read by the other terms, or as if none were declared",
        ),
        (&account.cut_texts, "texts cut to the length of their column"),
        (&account.undecodable_texts, "texts with bytes that their character set does not have"),
        (&account.substituted_texts, "texts with characters that their column cannot hold, substituted by ?"),
        (&account.gone, "files that have gone since they were indexed, each listed; their rows stay"),
        (&account.conflicts, "conflicts, each listed"),
        (&account.disagreements, "columns on which the instances of a row disagree: the last instance counts, listed"),
        (&account.cut_headers, "files that end within their header, indexed with the values they have"),
    ];
    for (counter, what) in notes {
        let count = counter.load(Relaxed);
        if count > 0 {
            line(out, format_args!("{} {what}", text::count(count)));
        }
    }
}

pub(super) fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}");
}
