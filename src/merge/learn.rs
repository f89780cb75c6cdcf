//! Updates the state of the run after a batch is committed.

use std::sync::Arc;

use super::known::PARENTS;
use super::writer::Writer;
use crate::dicom::{Level, Table};
use crate::index::Entry;
use crate::index::outcome::{Attempt, Outcome, RowOf, Written};
use crate::index::recorder::Recorder;

/// Records the rows and values of a committed batch. Returns the outcome of each entry.
pub(super) fn remember(writer: &mut Writer, entries: &[Entry], attempt: Attempt) -> Vec<Written> {
    learn_rows(writer, entries, &attempt);
    learn_values(writer, entries, attempt)
}

/// Adds the values of the indexed files of a batch to the rows above them, which must be known.
/// Returns the outcome of each entry.
pub(super) fn learn_values(writer: &mut Writer, entries: &[Entry], attempt: Attempt) -> Vec<Written> {
    let claims = std::mem::take(&mut writer.claims);
    let mut known = writer.known.lock();
    claims.iter().for_each(|(level, identity)| known.disclaim(*level, identity));
    writer.corrections.clear();
    for ((entry, reach), outcome) in entries.iter().zip(&attempt.reach).zip(&attempt.outcomes) {
        match outcome {
            Outcome::Refused(_) => {}
            outcome if outcome.is_indexed() => known.add(entry, reach),
            _ => known.add_unchosen(entry, reach),
        }
        if matches!(outcome, Outcome::Duplicate { .. }) {
            known.open_contended(entry);
        }
    }
    known.relieve();
    let written = attempt.outcomes.into_iter().zip(attempt.reach);
    written.map(|(outcome, reach)| Written::new(outcome, &reach)).collect()
}

/// Returns the entries whose files are not indexed although rows were inserted for them: by an
/// earlier run, or by this run before another writer indexed a better file.
pub(super) fn displaced<'e>(writer: &Writer, entries: &'e [Entry], attempt: &Attempt) -> Vec<&'e Entry> {
    let was_indexed = |entry: &Entry| {
        let indexed = |recorder: &Arc<dyn Recorder>| {
            recorder.indexed_instance(&entry.file.path, entry.key(Level::Instance)).is_some()
        };
        writer.recorder.as_ref().is_some_and(indexed)
    };
    let is_displaced = |(n, entry): &(usize, &Entry)| {
        attempt.outcomes[*n] == Outcome::Duplicate { loser: None }
            && (attempt.has_inserted_for(*n) || was_indexed(entry))
    };
    entries.iter().enumerate().filter(is_displaced).map(|(_, entry)| entry).collect()
}

/// Records the rows that a transaction has found and inserted.
pub(super) fn learn_rows(writer: &mut Writer, entries: &[Entry], attempt: &Attempt) {
    let displaced = displaced(writer, entries, attempt);
    let mut known = writer.known.lock();
    for level in PARENTS {
        for (identity, row) in &attempt.rows[level as usize] {
            match row {
                RowOf::There(existing) => known.found(level, identity, existing),
                RowOf::Inserted { member, patient } => {
                    known.inserted(level, identity, &entries[*member], patient);
                    *writer.inserted.of(level) += 1;
                }
            }
        }
    }
    displaced.into_iter().for_each(|entry| known.note_displaced(entry, false));
    attempt.titles.inserted.iter().for_each(|key| known.title_was_inserted(key));
    writer.companions.add(Table::ConceptName, &attempt.titles);
    attempt.opened[0].iter().for_each(|key| known.studies.part(&**key).open = true);
    attempt.opened[1].iter().for_each(|key| known.series.part(&**key).open = true);
    attempt.edited.iter().for_each(|key| known.studies.part(key).edited = true);
}
