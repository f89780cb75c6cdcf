//! What the journal knows of a file that the walk found: a file that is as it was is not opened again.
//!
//! Where its row is there, it is settled. Where not, it is written again, as it was read then.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::Run;
use super::read::{Held, NoRow};
use crate::archive::FoundFile;
use crate::dicom::rejection;
use crate::index::existing::Mode;
use crate::journal::record::{self, Reading, Record};
use crate::journal::{self, Cursors, State};
use crate::report::account::Fate;

pub enum Remembered {
    /// Nothing, or the file is not what it was.
    Nothing,
    /// Its fate is in the account.
    Settled,
    Record(Record),
}

impl Run<'_> {
    pub(super) fn remembered(&self, file: &FoundFile, cursors: &mut Cursors) -> Remembered {
        let Some(journal) = self.journal().filter(|_| !self.plan.reads_all) else { return Remembered::Nothing };
        let known = journal.state(file.path(), cursors);
        let Some(state) = known.filter(|known| file.state().is_ok_and(|now| now == known.file)) else {
            return Remembered::Nothing;
        };
        self.account.bytes.fetch_add(state.file.size, Relaxed);
        let of_this_run = journal.is_of_this_run(&state);
        let may_settle = of_this_run || self.plan.existing == Mode::Fill;
        let is_settled = may_settle && state.fate != journal::Fate::NoRow && journal.has_row(&state, cursors);
        // What there is to tell of a run that is continued was told when it was taken up.
        if is_settled && (of_this_run || state.fate != journal::Fate::Duplicate) {
            self.account.add(fate(&state, of_this_run), 1);
            return Remembered::Settled;
        }
        let Some(record) = journal.record(&state, file.path(), cursors) else { return Remembered::Nothing };
        if let Reading::Instance(instance) = &record.reading {
            let uid = instance.sop_instance_uid();
            if is_settled {
                self.account.add(Fate::Duplicate, 1);
                let detail = format!("another file of instance {uid}");
                self.plan.listing.add("duplicate", file.path(), "same-instance", &detail);
                return Remembered::Settled;
            }
            // In this run another file of the instance may have taken its place.
            if of_this_run && state.fate != journal::Fate::NoRow && journal.has_instance(uid, cursors) {
                self.account.add(fate(&state, true), 1);
                return Remembered::Settled;
            }
        }
        Remembered::Record(record)
    }

    /// What a record holds. `None` if that is no instance: its fate is in the account then.
    pub(super) fn held_by(&self, record: Record, path: &Path) -> Option<Held> {
        let state = record.state;
        match record.reading {
            Reading::Instance(instance) => {
                let record = record::of_instance(&record.path, state, &instance);
                return Some(Held { instance, state, record });
            }
            Reading::Skipped(rule) => self.account.skipped(rule),
            Reading::Rejected { code, detail } => {
                let code = rejection::code_named(&code);
                self.list_rejected(path, &NoRow { code, detail });
            }
        }
        None
    }
}

/// In the account of a later run a file that was inserted is as it was.
fn fate(state: &State, of_this_run: bool) -> Fate {
    match state.fate {
        journal::Fate::Inserted if of_this_run => Fate::Inserted,
        journal::Fate::Updated if of_this_run => Fate::Updated,
        journal::Fate::Duplicate => Fate::Duplicate,
        _ => Fate::Unchanged,
    }
}
