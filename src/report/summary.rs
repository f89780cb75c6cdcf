//! The summary on standard output: the account, whose parts add up, and the next steps for an
//! administrator.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::account::{Account, Fate};
use super::details::{self, AccessShortfall, YoungFiles, directories, line, values};
use super::listing::ListCounts;
use super::stubs;
use crate::dicom::Table;
use crate::exit::Exit;
use crate::index::companion_changes::{Companions, Parents};
use crate::index::dry_run::Changed;
use crate::journal::ShardEnd;
use crate::progress::text;

/// The contents of the summary.
pub struct Summary<'a> {
    pub account: &'a Account,
    /// The number of files counted ahead of the work; `None` if they were not counted.
    pub counted_ahead: Option<u64>,
    pub parents: Parents,
    /// Rows above the images that existed before the run and were changed.
    pub updated: Parents,
    /// Rows of other programs that look unfinished, and stay so.
    pub unfinished: Parents,
    /// Rows for titles of reports and codes of animals.
    pub companions: Companions,
    /// The changes to existing rows that a dry run would have made, by column.
    pub changes: &'a [(String, Changed)],
    /// The number of implausible mtimes, which were not used.
    pub implausible_times: u64,
    /// Roots below which files have lost their mtimes.
    pub copied_roots: Vec<&'a Path>,
    /// Columns that this program does not know but has to write.
    pub unknown_columns: &'a [String],
    /// Companion tables that are not written, each with the reason.
    pub unwritten: &'a [String],
    /// Tables that contain values of files but are left to the PACS.
    pub not_rebuilt: &'a [&'static str],
    /// The file with the values that `--existing refresh` has overwritten, and their number.
    pub undo: Option<(&'a Path, u64)>,
    pub elapsed: Duration,
    /// The number of index rows that were compared with the journal, and how long that took.
    pub rows_checked: (u64, Duration),
    /// How long writing waited for replicas, and for the database.
    pub waited: Duration,
    pub waited_for_database: Duration,
    /// Whether an error kept the run from finishing.
    pub failed: bool,
    /// The number of shards whose records were written.
    pub merged_shards: usize,
    /// The files that the merged shards have left to other runs.
    pub left_by_shards: ShardEnd,
    /// Whether this run continued a run that was killed or interrupted.
    pub continued: bool,
    pub index: String,
    /// A stored path of each directory that has its own name in the index.
    pub stored_paths: &'a [String],
    /// The roots, if they were taken from the index.
    pub named_roots: &'a [PathBuf],
    pub dry_run: bool,
    /// The result of the import, if the files were imported.
    pub imported: Option<Imported>,
    /// Whether stubs that were not read are acceptable, so that they do not count as findings.
    pub accepts_pending: bool,
    /// Mounts on which no file occupies a block, and the number of their files.
    pub in_doubt: &'a [(PathBuf, u64)],
    /// Mounts where reading was given up.
    pub left_mounts: &'a [PathBuf],
    pub interrupted: bool,
    /// Whether the index contained no image before the run.
    pub began_empty: bool,
    /// The list of files to look at, and the number of its lines.
    pub listing: Option<(&'a Path, ListCounts)>,
    /// The files that are left to the PACS.
    pub young: YoungFiles,
}

/// The results of an import, apart from indexing.
pub struct Imported {
    /// The number of copied files, and their size in bytes.
    pub copies: (u64, u64),
    /// Files that are not imported because the archive has another file of the instance, or a file
    /// that cannot be read.
    pub in_conflict: u64,
    /// Instances whose file does not end where it should.
    pub damaged: u64,
    /// Whether the import has a selection that no file matches.
    pub fits_nothing: bool,
    /// Files that a DICOMDIR names, and that are neither on its medium nor in the index.
    pub not_on_medium: u64,
    /// Copies that could not be given to the owner of the archive.
    pub shortfall: Option<AccessShortfall>,
    /// Set once a move has finished: the number of sources that were removed, and of imported
    /// sources that were left.
    pub removed: Option<(u64, u64)>,
}

impl Imported {
    fn has_findings(&self) -> bool {
        self.not_on_medium + self.damaged > 0
            || self.shortfall.is_some_and(|shortfall| shortfall.unreadable > 0)
            || self.removed.is_some_and(|(_, left)| left > 0)
    }
}

impl Summary<'_> {
    pub fn exit(&self) -> Exit {
        let account = self.account;
        let directories = account.directories_unreadable.load(Relaxed) > 0;
        if self.failed || !account.adds_up() {
            Exit::Unfinished
        } else if self.interrupted {
            Exit::Interrupted
        } else if directories
            || self.has_no_record()
            || self.are_most_gone()
            || self.left_by_shards.directories_unreadable > 0
            || self.left_by_shards.are_most_young
            || self.young.are_most(account)
            || account.conflicts.load(Relaxed) + account.gone.load(Relaxed) > 0
            || self.imported.as_ref().is_some_and(Imported::has_findings)
            || Fate::ALL.into_iter().any(|fate| self.is_finding(fate) && account.count(fate) > 0)
        {
            Exit::Findings
        } else {
            Exit::Clean
        }
    }

    /// Returns whether a merge had no file to index because the shards left all of their files.
    fn has_no_record(&self) -> bool {
        self.merged_shards > 0 && self.account.files_found() == 0 && self.account.gone_before_merge.load(Relaxed) == 0
    }

    /// Returns whether most files that shards have recorded are gone: another archive is mounted in
    /// its place, or none.
    fn are_most_gone(&self) -> bool {
        self.account.gone_before_merge.load(Relaxed) > self.account.files_found()
    }

    fn is_finding(&self, fate: Fate) -> bool {
        fate.is_finding() && !(fate == Fate::Pending && self.accepts_pending)
    }

    pub fn text(&self) -> String {
        let account = self.account;
        let mut out = String::new();
        let dry = if self.dry_run { " (dry run: nothing was written)" } else { "" };
        let what = if self.imported.is_some() { "import" } else { "reindex" };
        line(&mut out, format_args!("{what} into {}: {}{dry}", self.index, self.exit().describe()));
        if self.continued {
            line(&mut out, format_args!("resumes an interrupted run, whose files are counted below"));
        }
        if self.merged_shards > 0 {
            let lists = "the list of each shard names files and directories that the shard did not read";
            line(&mut out, format_args!("shards merged {}; {lists}", self.merged_shards));
            let ShardEnd { directories_unreadable, young, are_most_young } = self.left_by_shards;
            if directories_unreadable > 0 {
                let count = text::count(directories_unreadable);
                line(
                    &mut out,
                    format_args!("DIRECTORIES UNREADABLE {count}, as the shards report: the files below are missing"),
                );
            }
            if young > 0 {
                let (most, count) = (if are_most_young { "MOST FILES ARE YOUNG: " } else { "" }, text::count(young));
                line(
                    &mut out,
                    format_args!("{most}files that shards left to the PACS because they were young {count}"),
                );
            }
        }
        if self.has_no_record() {
            let advice = "run the shards again, and with --min-age 0s if the archive was restored or copied just now";
            line(&mut out, format_args!("NO FILE IN THE SHARDS: each shard left all of its files; {advice}"));
        }
        let gone = account.gone_before_merge.load(Relaxed);
        if gone > 0 {
            let most = if self.are_most_gone() { "MOST FILES ARE GONE: is the archive mounted? " } else { "" };
            line(
                &mut out,
                format_args!("{most}files removed since they were recorded (not indexed) {}", text::count(gone)),
            );
        }
        for path in self.stored_paths {
            line(&mut out, format_args!("paths are stored as {}", text::path(Path::new(path))));
        }
        for root in self.named_roots {
            line(&mut out, format_args!("archive directory, as the index names it: {}", root.display()));
        }
        line(&mut out, format_args!(""));
        let counted_ahead = self.counted_ahead.filter(|_| self.exit() != Exit::Clean);
        details::account(&mut out, account, |fate| fate != Fate::Recorded, counted_ahead);
        line(&mut out, format_args!(""));
        self.young.describe(&mut out, account);
        self.imported(&mut out);
        let (is_continued, is_dry) = (self.continued, self.dry_run);
        let (in_doubt, left_mounts) = (self.in_doubt, self.left_mounts);
        stubs::describe(&mut out, &stubs::Described { account, is_continued, is_dry, in_doubt, left_mounts });
        directories(&mut out, account);
        let parents = self.parents;
        line(
            &mut out,
            format_args!(
                "new rows: patients {}, studies {}, series {}, images {}",
                text::count(parents.patients),
                text::count(parents.studies),
                text::count(parents.series),
                text::count(account.count(Fate::Inserted))
            ),
        );
        if self.updated.total() > 0 {
            let Parents { patients, studies, series } = self.updated;
            let [patients, studies, series] = [patients, studies, series].map(text::count);
            line(&mut out, format_args!("rows changed: patients {patients}, studies {studies}, series {series}"));
        }
        self.unfinished(&mut out);
        self.companions(&mut out);
        self.changes(&mut out);
        values(&mut out, account);
        self.surroundings(&mut out);
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 { account.done() as f64 / seconds } else { 0.0 };
        line(
            &mut out,
            format_args!(
                "{} covered in {}, {} files/s",
                text::bytes(account.bytes.load(Relaxed)),
                text::duration(self.elapsed),
                text::rate(rate)
            ),
        );
        let (rows, took) = self.rows_checked;
        if rows > 0 {
            let (rows, took) = (text::count(rows), text::duration(took));
            line(&mut out, format_args!("{took} of it to compare {rows} rows of the index with the records of files"));
        }
        for (waited, what) in [(self.waited, "replicas"), (self.waited_for_database, "the database")] {
            if !waited.is_zero() {
                line(&mut out, format_args!("writing waited {} for {what}", text::duration(waited)));
            }
        }
        if let Some((path, lines)) = &self.listing {
            lines.describe(&mut out, path);
        }
        if self.began_empty && !self.dry_run && self.imported.is_none() && account.count(Fate::Inserted) > 0 {
            out.push_str(NOT_IN_FILES);
        }
        out
    }

    fn imported(&self, out: &mut String) {
        let Some(imported) = &self.imported else { return };
        let Imported { copies: (files, bytes), in_conflict, damaged, fits_nothing, not_on_medium, removed, .. } =
            imported;
        let (files, bytes) = (text::count(*files), text::bytes(*bytes));
        line(out, format_args!("copied into the archive and verified {files} files, {bytes}"));
        if *fits_nothing {
            line(
                out,
                format_args!(
                    "NOTHING MATCHES the selection: check the spelling of --patient, --study, --accession and --modality"
                ),
            );
        }
        imported.shortfall.iter().for_each(|shortfall| shortfall.describe(out));
        let notes = [
            (
                in_conflict,
                "files not imported: the archive has others of their instances, or some that cannot be read, listed",
            ),
            (damaged, "damaged files, imported unchanged and listed: cut off, or with inconsistent lengths"),
            (not_on_medium, "files that a DICOMDIR names are not on the medium, listed"),
        ];
        for (count, what) in notes.into_iter().filter(|(count, _)| **count > 0) {
            line(out, format_args!("{} {what}", text::count(*count)));
        }
        if let Some((removed, left)) = removed {
            let stay = self.account.files_found().saturating_sub(*removed);
            let [removed, left, stay] = [*removed, *left, stay].map(text::count);
            line(
                out,
                format_args!(
                    "source files removed {removed}, left in place {stay}; imported and kept nevertheless {left}"
                ),
            );
        }
    }

    fn unfinished(&self, out: &mut String) {
        if self.unfinished.total() > 0 {
            let Parents { patients, studies, series } = self.unfinished;
            let [patients, studies, series] = [patients, studies, series].map(text::count);
            line(
                out,
                format_args!(
                    "rows that look unfinished: patients {patients}, studies {studies}, series {series}{UNFINISHED}"
                ),
            );
        }
    }

    fn companions(&self, out: &mut String) {
        let Companions { inserted, updated } = self.companions;
        for (what, counts) in [("new rows", inserted), ("rows changed", updated)] {
            let counts = Table::COMPANIONS.iter().zip(counts).filter(|(_, count)| *count > 0);
            let told: Vec<String> =
                counts.map(|(table, count)| format!("{} {}", table.name(), text::count(count))).collect();
            if !told.is_empty() {
                line(out, format_args!("{what} beside them: {}", told.join(", ")));
            }
        }
    }

    /// Writes the changes that a dry run would have made.
    fn changes(&self, out: &mut String) {
        for (column, Changed { rows, first }) in self.changes {
            let first = first.as_ref().map_or(String::new(), |uid| format!(", the first of {uid}"));
            line(out, format_args!("would change {column} in {} rows{first}", text::count(*rows)));
        }
    }

    /// Writes the notes on the database, on an archive that may be a copy, and on overwritten
    /// values.
    fn surroundings(&self, out: &mut String) {
        if !self.unknown_columns.is_empty() {
            let columns = self.unknown_columns.join(", ");
            line(out, format_args!("columns that are not known and take no NULL, zero in new rows: {columns}"));
        }
        for unwritten in self.unwritten {
            line(out, format_args!("{unwritten}"));
        }
        if !self.not_rebuilt.is_empty() {
            line(out, format_args!("not rebuilt: {}", self.not_rebuilt.join(", ")));
        }
        if self.implausible_times > 0 {
            let implausible = text::count(self.implausible_times);
            line(out, format_args!("{implausible} modification times are before the study or in the future, not used"));
        }
        for root in &self.copied_roots {
            line(out, format_args!("{COPIED_FROM} {} {COPIED}", text::path(root)));
        }
        if let Some((path, lines)) = self.undo {
            line(
                out,
                format_args!("overwritten values are recorded in {} ({} values)", path.display(), text::count(lines)),
            );
        }
    }
}

/// The advice about rows whose derived columns are NULL.
const UNFINISHED: &str = "\n  A PACS leaves their series.instances and study.modalities NULL too. If an\n  \
     interrupted run of this program left them and its state was lost: --existing complete finishes them.";

/// The note on a copy that has lost the mtimes of its files.
const COPIED_FROM: &str = "most files below";
const COPIED: &str = "were modified within two days, long after their studies: a copy that has lost their times?\n  \
     New rows bear these as their time of receipt, by which a PACS purges. For an index that is still empty:\n  \
     --received-from path,study-date,mtime";

/// Lists data that only the old database contained, not the files.
const NOT_IN_FILES: &str = "\nThe index was empty before. Files cannot bring back what only the old database held: read and verified marks,\n\
    private flags, tags, notes, attachments, export records, pending jobs, edits not yet written to files.\n";
