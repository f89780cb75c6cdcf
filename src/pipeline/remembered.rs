//! Skips files whose size and mtime match the journal: an unchanged file is not opened again.
//!
//! If the index has the row of such a file, nothing is left to do. If not, the row is written again
//! from the record in the journal.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::entries::{self, Held, NoRow};
use super::{Intake, Run, Sources, resume, write};
use crate::archive::{FoundFile, Seen, Standing};
use crate::dicom::rejection;
use crate::index::existing::Mode;
use crate::journal::record::{self, Content, Reading, Record};
use crate::journal::{self, Cursors, State};
use crate::report::account::Fate;

pub enum Remembered {
    /// The journal has no record of the file, or the file has changed.
    Nothing,
    /// The file is already counted; nothing is left to do.
    Settled,
    Record(Record),
}

/// Outcomes in this run after which the row may name another file, or have other links.
const ROW_MAY_DIFFER: [journal::Fate; 4] =
    [journal::Fate::Inserted, journal::Fate::Won, journal::Fate::Duplicate, journal::Fate::LinkDiffers];

/// Looks up a file in the journal. `seen` is the present state of the file.
pub(super) fn remembered(run: &Run<'_>, file: &FoundFile, seen: &Seen, cursors: &mut Cursors) -> Remembered {
    let reads_all = run.plan.sources.reads_all || !run.plan.sources.files.is_whole_archive();
    let Some(journal) = run.journal().filter(|_| !reads_all) else { return Remembered::Nothing };
    let known = journal.state(file.path(), cursors);
    let is_same = |known: &State| known.file.is_known() && seen.state == known.file;
    let Some(state) = known.filter(is_same) else {
        return Remembered::Nothing;
    };
    // Only the record of a link or a pointer contains its former target.
    let mut led_on = None;
    if state.leads_on || seen.leads_on() {
        led_on = journal.record(&state, file.path(), cursors);
        let content = led_on.as_ref().map(|record| record.content.as_ref());
        if !content.is_some_and(|content| leads_where_it_led(&run.intake, content, seen)) {
            return Remembered::Nothing;
        }
    }
    let of_this_run = journal.is_of_this_run(&state);
    // Outcomes that every run reports, and outcomes that depend on other files, are determined
    // again in each run.
    let is_each_time = matches!(state.fate, journal::Fate::Duplicate | journal::Fate::LinkDiffers);
    let may_settle = of_this_run || (run.plan.existing == Mode::Fill && !is_each_time);
    // The findings of a continued run were reported when the run was resumed.
    if may_settle && state.fate != journal::Fate::NoRow && journal.has_row(&state, cursors) {
        if entries::is_met_by_another(run, led_on.as_ref().and_then(|record| record.content.as_ref())) {
            run.intake.account.add(Fate::Link, 1);
            return Remembered::Settled;
        }
        return settled(run, &state, of_this_run);
    }
    let Some(record) = led_on.or_else(|| journal.record(&state, file.path(), cursors)) else {
        return Remembered::Nothing;
    };
    if !is_still_valid(&run.intake, file, &record) {
        return Remembered::Nothing;
    }
    // In this run, another file of the instance may have replaced this one, or the row may have
    // other links.
    if of_this_run
        && ROW_MAY_DIFFER.contains(&state.fate)
        && let Reading::Instance(instance) = &record.reading
        && journal.has_instance(instance.sop_instance_uid(), cursors)
    {
        if state.fate == journal::Fate::Inserted && resume::was_lost_untold(run, file.path()) {
            write::list_duplicate(run, file.path(), instance.sop_instance_uid());
            return settled(run, &State { fate: journal::Fate::Duplicate, ..state }, true);
        }
        return settled(run, &state, true);
    }
    run.intake.account.bytes.fetch_add(state.file.size, Relaxed);
    Remembered::Record(record)
}

/// Returns whether a record contains the same values as the file now. `seen` is the present state
/// of the file.
pub(super) fn is_current(intake: &Intake<'_>, file: &FoundFile, seen: &Seen, record: &Record) -> bool {
    record.state.is_known()
        && record.state == seen.state
        && !matches!(record.reading, Reading::Unread)
        && (record.content.is_none() && !seen.leads_on() || leads_where_it_led(intake, record.content.as_ref(), seen))
        && is_still_valid(intake, file, record)
}

/// Returns whether a record of an unchanged file may be used.
fn is_still_valid(intake: &Intake<'_>, file: &FoundFile, record: &Record) -> bool {
    let Sources { receipt, settle, locator, .. } = intake.sources;
    // The PACS may be writing the file, whose contents then differ from the record.
    let is_young = receipt.is_younger(record.state.modified(), *settle);
    // A rule that was added since may make the file a pointer.
    let may_be_pointer = matches!(&record.reading, Reading::Rejected { code, .. } if code == "not-dicom")
        && locator.has_rule_for(file.path());
    !is_young && !may_be_pointer
}

/// Returns whether the target of a link or a pointer still exists and is unchanged. If the target
/// cannot be inspected, the record counts.
fn leads_where_it_led(intake: &Intake<'_>, content: Option<&Content>, seen: &Seen) -> bool {
    let Some(content) = content else {
        // A link has replaced the file. The record is valid only if rows name the link, not its
        // target.
        return !intake.sources.locator.named_by().is_target(false);
    };
    match &seen.standing {
        Standing::Readable(location) => match &location.target {
            Some(target) => target.to_string_lossy() == content.target,
            None => content.by_pointer && intake.sources.locator.is_still(content.target.as_ref(), content.state),
        },
        Standing::Stub(_) => true,
        Standing::MetElsewhere(_) => false,
    }
}

fn settled(run: &Run<'_>, state: &State, of_this_run: bool) -> Remembered {
    run.intake.account.bytes.fetch_add(state.file.size, Relaxed);
    run.intake.account.add(fate(state, of_this_run), 1);
    Remembered::Settled
}

/// Returns the contents of a record. If the record has no instance, counts the file and returns
/// `None`.
pub(super) fn held_by(run: &Run<'_>, record: Record, path: &Path) -> Option<Held> {
    let state = record.state;
    match record.reading {
        Reading::Instance(instance) => {
            let content = record.content;
            let record = record::of_instance(&record.path, state, content.clone(), &instance);
            let state = content.as_ref().map_or(state, |content| content.state);
            return Some(Held { instance, state, content, record });
        }
        Reading::Skipped(rule) => run.intake.account.skipped(rule),
        // No file with such a record is known.
        Reading::Unread => run.intake.account.add(Fate::Unreadable, 1),
        Reading::Rejected { code, detail } => {
            let code = rejection::code_named(&code);
            entries::list_rejected(&run.intake, path, &NoRow { code, detail });
        }
    }
    None
}

/// Returns the outcome with which a known file is counted. A file that an earlier run inserted
/// counts as unchanged.
fn fate(state: &State, of_this_run: bool) -> Fate {
    match state.fate {
        journal::Fate::Inserted if of_this_run => Fate::Inserted,
        journal::Fate::Updated if of_this_run => Fate::Updated,
        journal::Fate::Won if of_this_run => Fate::Duplicate,
        journal::Fate::Duplicate => Fate::Duplicate,
        _ => Fate::Unchanged,
    }
}
