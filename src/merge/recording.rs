//! The record of a batch in the write-ahead log, which is on disk before the batch is committed.
//!
//! If all images of a batch are new, its record is predictable once the rows above the images are
//! inserted. The record is then written to disk while the database inserts the images.

use super::entry_batch::Batch;
use super::known::PARENTS;
use super::writer::Writer;
use super::{companion_rows, lookup};
use crate::dicom::Level;
use crate::index::companion_changes::Put;
use crate::index::missing::{NewRow, Row as _};
use crate::index::outcome::{Attempt, RowOf};
use crate::index::row_history::IntendedRows;
use crate::index::{Entry, Failure};

/// Records a batch, and waits until the record is on disk. `foreseen` is the record that was
/// written ahead.
pub(super) fn record(
    writer: &Writer,
    entries: &[Entry],
    attempt: &Attempt,
    foreseen: Option<&Attempt>,
) -> Result<(), Failure> {
    let Some(recorder) = &writer.recorder else { return Ok(()) };
    if foreseen.is_none() {
        recorder.record_rows(writer.number, writer.attempts, &rows_to_insert(writer, entries, attempt));
    }
    if foreseen != Some(attempt) {
        recorder.record_batch(writer.number, entries, attempt);
    }
    recorder.make_durable()
}

/// Records the predicted outcome of a batch if all its images are new. The rows above the images
/// must have been inserted. Returns the record.
pub(super) fn record_ahead(writer: &Writer, batch: &Batch<'_>) -> Option<Attempt> {
    let recorder = writer.recorder.as_ref()?;
    if !writer.index.tables().is_transactional || !batch.there.is_empty() {
        return None;
    }
    let mut foreseen = batch.clone();
    foreseen.without_row().collect::<Vec<_>>().into_iter().for_each(|member| foreseen.inserted(member));
    let (opened, titles) = (foreseen.opened(), companion_rows::titles_of(writer, &foreseen));
    let attempt = foreseen.into_attempt(opened, titles);
    recorder.record_rows(writer.number, writer.attempts, &rows_to_insert(writer, batch.entries, &attempt));
    recorder.record_batch(writer.number, batch.entries, &attempt);
    recorder.begin_sync();
    Some(attempt)
}

/// Records the outcome that a batch has if no other program interferes. Without transactions, rows
/// exist before the whole batch is written.
pub(super) fn record_plan(writer: &Writer, batch: &Batch<'_>) -> Result<(), Failure> {
    let Some(recorder) = &writer.recorder else { return Ok(()) };
    let mut planned = batch.clone();
    for level in PARENTS {
        for (identity, members) in planned.wanted(level, &writer.known) {
            let patient = lookup::patient_of(writer, level, &planned, members[0]);
            planned.put(level, identity, RowOf::Inserted { member: members[0], patient });
        }
    }
    planned.without_row().collect::<Vec<_>>().into_iter().for_each(|member| planned.inserted(member));
    let opened = planned.opened();
    let attempt = planned.into_attempt(opened, Put::default());
    // Planned rows are in doubt: another program may insert one of them first.
    recorder.record_rows(writer.number, 0, &rows_to_insert(writer, batch.entries, &attempt));
    recorder.record_batch(writer.number, batch.entries, &attempt);
    recorder.make_durable()
}

/// Returns the rows above the images that a transaction inserts, for the ledger.
fn rows_to_insert(writer: &Writer, entries: &[Entry], attempt: &Attempt) -> Vec<IntendedRows> {
    let tables = writer.index.tables();
    let of_level = |level: Level| {
        let columns = tables.of(level).recorded();
        let mut rows = IntendedRows::new(level.table(), &columns);
        for (identity, row) in &attempt.rows[level as usize] {
            if let RowOf::Inserted { member, patient } = row {
                let row = NewRow { entry: &entries[*member], identity, patient };
                rows.push(row.key(level.table()), true, columns.iter().map(|column| row.value(column)));
            }
        }
        rows
    };
    PARENTS.map(of_level).into()
}
