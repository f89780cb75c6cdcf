//! What the journal knows of a file that the walk found: a file that is as it was is not opened again.
//!
//! Where its row is there, it is settled. Where not, it is written again, as it was read then.

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
    /// Nothing, or the file is not what it was.
    Nothing,
    /// Its fate is in the account.
    Settled,
    Record(Record),
}

/// Of what this run has done, that after which the row need not name the file, or its links.
const ROW_MAY_DIFFER: [journal::Fate; 4] =
    [journal::Fate::Inserted, journal::Fate::Won, journal::Fate::Duplicate, journal::Fate::LinkDiffers];

/// `seen` is what stands there by now.
pub(super) fn remembered(run: &Run<'_>, file: &FoundFile, seen: &Seen, cursors: &mut Cursors) -> Remembered {
    let reads_all = run.plan.sources.reads_all || !run.plan.sources.files.is_whole_archive();
    let Some(journal) = run.journal().filter(|_| !reads_all) else { return Remembered::Nothing };
    let known = journal.state(file.path(), cursors);
    let is_same = |known: &State| known.file.is_known() && seen.state == known.file;
    let Some(state) = known.filter(is_same) else {
        return Remembered::Nothing;
    };
    // Of a link or a pointer only its record tells where it led.
    let mut led_on = None;
    if state.leads_on || seen.leads_on() {
        led_on = journal.record(&state, file.path(), cursors);
        let content = led_on.as_ref().map(|record| record.content.as_ref());
        if !content.is_some_and(|content| leads_where_it_led(&run.intake, content, seen)) {
            return Remembered::Nothing;
        }
    }
    let of_this_run = journal.is_of_this_run(&state);
    // What every run tells, and what depends on other files, is looked at each time.
    let is_each_time = matches!(state.fate, journal::Fate::Duplicate | journal::Fate::LinkDiffers);
    let may_settle = of_this_run || (run.plan.existing == Mode::Fill && !is_each_time);
    // What there is to tell of a run that is continued was told when it was taken up.
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
    // In this run another file of the instance may have taken its place, or the row is linked otherwise.
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

/// Whether a record contains what reading the file would give now. `seen` is what the file is now.
pub(super) fn is_current(intake: &Intake<'_>, file: &FoundFile, seen: &Seen, record: &Record) -> bool {
    record.state.is_known()
        && record.state == seen.state
        && !matches!(record.reading, Reading::Unread)
        && (record.content.is_none() && !seen.leads_on() || leads_where_it_led(intake, record.content.as_ref(), seen))
        && is_still_valid(intake, file, record)
}

/// Whether a record of an unchanged file may be used.
fn is_still_valid(intake: &Intake<'_>, file: &FoundFile, record: &Record) -> bool {
    let Sources { receipt, settle, locator, .. } = intake.sources;
    // The PACS may be writing the file, which then is another one than the one that was read.
    let is_young = receipt.is_younger(record.state.modified(), *settle);
    // The file may be a pointer by a new rule.
    let may_be_pointer = matches!(&record.reading, Reading::Rejected { code, .. } if code == "not-dicom")
        && locator.has_rule_for(file.path());
    !is_young && !may_be_pointer
}

/// Whether the target of a link or a pointer is still there, and unchanged. What is known counts if the target cannot be looked at.
fn leads_where_it_led(intake: &Intake<'_>, content: Option<&Content>, seen: &Seen) -> bool {
    let Some(content) = content else {
        // A link stands where the file was. What it leads to is named by the path of the link at most.
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

/// What a record holds. `None` if that is no instance: its fate is in the account then.
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

/// In the account of a later run a file that was inserted is as it was.
fn fate(state: &State, of_this_run: bool) -> Fate {
    match state.fate {
        journal::Fate::Inserted if of_this_run => Fate::Inserted,
        journal::Fate::Updated if of_this_run => Fate::Updated,
        journal::Fate::Won if of_this_run => Fate::Duplicate,
        journal::Fate::Duplicate => Fate::Duplicate,
        _ => Fate::Unchanged,
    }
}
