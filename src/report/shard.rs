//! The summary of a run that has read a shard.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::account::{Account, Fate};
use super::details::{self, YoungFiles, directories, line};
use super::listing::ListCounts;
use super::stubs;
use crate::archive::Shard;
use crate::exit::Exit;
use crate::progress::text;

/// The contents of the summary.
pub struct ShardSummary<'a> {
    pub account: &'a Account,
    pub shard: Shard,
    /// The state directory, which is passed to the merge.
    pub state: &'a Path,
    /// The number of files counted ahead of the work; `None` if they were not counted.
    pub counted_ahead: Option<u64>,
    pub elapsed: Duration,
    pub interrupted: bool,
    /// Whether an error kept the run from finishing.
    pub failed: bool,
    /// Whether stubs that were not read are acceptable, and not findings.
    pub accepts_pending: bool,
    /// Mounts on which no file occupies a block, and the number of their files.
    pub in_doubt: &'a [(PathBuf, u64)],
    /// Mounts where reading was given up.
    pub left_mounts: &'a [PathBuf],
    /// The list of files to look at, and the number of its lines.
    pub listing: Option<(&'a Path, ListCounts)>,
    /// The files that are left to the PACS.
    pub young: YoungFiles,
}

/// Returns whether files of a shard can have an outcome: a shard writes no rows.
fn is_of_shard(fate: Fate) -> bool {
    !matches!(fate, Fate::Inserted | Fate::Updated | Fate::Duplicate)
}

impl ShardSummary<'_> {
    pub fn exit(&self) -> Exit {
        let account = self.account;
        let is_finding = |fate: &Fate| {
            fate.is_finding() && !(*fate == Fate::Pending && self.accepts_pending) && account.count(*fate) > 0
        };
        if self.failed || !account.adds_up() {
            Exit::Unfinished
        } else if self.interrupted {
            Exit::Interrupted
        } else if account.directories_unreadable.load(Relaxed) > 0
            || self.young.are_most(account)
            || Fate::ALL.iter().any(is_finding)
        {
            Exit::Findings
        } else {
            Exit::Clean
        }
    }

    pub fn text(&self) -> String {
        let (account, shard) = (self.account, self.shard);
        let mut out = String::new();
        line(&mut out, format_args!("shard {shard} (records in {}): {}", self.state.display(), self.exit().describe()));
        if matches!(self.exit(), Exit::Clean | Exit::Findings) {
            line(
                &mut out,
                format_args!("no rows were written; write them with: pacs-index reindex --merge-shards DIR..."),
            );
        }
        line(&mut out, format_args!(""));
        details::account(&mut out, account, is_of_shard, self.counted_ahead.filter(|_| self.exit() != Exit::Clean));
        line(&mut out, format_args!(""));
        self.young.describe(&mut out, account);
        let (in_doubt, left_mounts) = (self.in_doubt, self.left_mounts);
        stubs::describe(
            &mut out,
            &stubs::Described { account, is_continued: false, is_dry: false, in_doubt, left_mounts },
        );
        directories(&mut out, account);
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 { account.done() as f64 / seconds } else { 0.0 };
        let bytes = text::bytes(account.bytes.load(Relaxed));
        let took = text::duration(self.elapsed);
        line(&mut out, format_args!("{bytes} covered in {took}, {} files/s", text::rate(rate)));
        if let Some((path, lines)) = &self.listing {
            lines.describe(&mut out, path);
        }
        out
    }
}
