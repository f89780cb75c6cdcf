//! Writes the final values of rows that still have provisional values.

use std::collections::{HashMap, HashSet};

use super::finding::{Finding, FindingReason};
use super::intent::intend;
use super::row_corrections::RowCorrections;
use super::writer::Writer;
use super::{own_rows, refusals, shared_rows};
use crate::dicom::{Level, Table};
use crate::index::column::Column;
use crate::index::row_history::IntendedRows;
use crate::index::{Change, Derived, Existing, Failure, Look, RowUpdate, Show, View, existing};

/// A row that is about to be changed.
struct ChangedRow<'c> {
    correction: &'c RowCorrections<'c>,
    row: &'c Existing,
    changes: Vec<Change<'c>>,
    /// The value of the derived column. In a finished row this column may have been edited, so it
    /// is set again only if it is stale.
    derived: Derived<'c>,
    has_derived_column: bool,
}

impl ChangedRow<'_> {
    /// Returns whether there is something to write. Another program may have finished the row since
    /// it was found.
    fn is_updated(&self) -> bool {
        match self.correction.is_of_others() && self.has_derived_column {
            true => self.row.is_unfinished,
            false => !self.changes.is_empty(),
        }
    }
}

/// The rows that corrections changed.
#[derive(Default)]
pub struct CorrectedRows {
    /// The keys of the rows whose derived column is set.
    pub finished: HashSet<String>,
    /// The keys of the series that were unfinished, or whose modality or study was changed.
    pub stale: HashSet<String>,
    /// The number of changed rows that this run did not insert.
    pub of_earlier_runs: u64,
}

/// Replaces values of this program with the final ones. The statement that writes the last final
/// value of a row also sets the derived column. `derived` returns the value of that column for a
/// key and its row.
pub(super) fn correct_rows<'d>(
    writer: &mut Writer,
    level: Level,
    mut corrections: Vec<RowCorrections<'_>>,
    derived: impl Fn(&str, &Existing) -> Derived<'d>,
) -> Result<CorrectedRows, Failure> {
    let (table, tables) = (level.table(), writer.index.tables());
    if !writer.continues {
        corrections.retain(RowCorrections::may_change);
    }
    let mut rows = rows_of(writer, table, &corrections)?;
    if writer.continues {
        learn_versions(writer, table, &mut corrections, &rows)?;
    }
    for correction in &corrections {
        if let Some(row) = rows.get_mut(correction.key) {
            row.is_unfinished |= correction.is_unfinished();
        }
    }
    let with_row = corrections.iter().filter_map(|correction| Some((correction, rows.get(correction.key)?)));
    let changed = with_row.map(|(correction, row)| ChangedRow {
        correction,
        row,
        changes: correction.changes(&tables, table, row),
        derived: derived(correction.key, row),
        has_derived_column: level != Level::Patient,
    });
    let (changed, unchanged): (Vec<_>, Vec<_>) = changed.partition(ChangedRow::is_updated);
    // A finished row is recognized by its last version in the ledger, which was committed.
    let unrecorded = unchanged.iter().filter(|row| row.correction.is_unrecorded(&tables, table, row.row));
    intend_final_values(writer, table, &changed.iter().chain(unrecorded).collect::<Vec<_>>())?;
    let mut corrected = CorrectedRows::default();
    for ChangedRow { correction, row, changes, derived, .. } in &changed {
        let derived = *derived;
        // If the ledger does not contain the row yet and the row is finished, it has its final
        // values, or another program has written it.
        let only_unfinished = !correction.is_of_ledger();
        if correction.is_of_others() {
            note_later_receipt(writer, table, row, correction);
            existing::record_overwritten(&*writer.index, &mut writer.pending, table, row, changes)?;
        }
        let studies = correction.studies.filter(|_| changes.iter().any(|change| change.column.is_of_the_patient()));
        let update = RowUpdate { table, key: &row.key, path: None, changes, derived, only_unfinished, studies };
        let applied = existing::apply(&mut *writer.index, &update)?;
        if let Some(studies) = studies.filter(|_| !applied.changed) {
            shared_rows::expect_studies(writer, &row.key, studies)?;
        }
        refusals::note_refused(writer, level, &row.key, &applied);
        corrected.of_earlier_runs += u64::from(applied.changed && !correction.is_of_this_run());
        corrected.finished.extend((derived != Derived::Unchanged).then(|| correction.key.to_owned()));
        let concerns_study = |change: &Change<'_>| matches!(change.column.known, "modality" | "studyuid");
        let is_stale = row.is_unfinished || changes.iter().any(concerns_study);
        corrected.stale.extend(is_stale.then(|| correction.key.to_owned()));
    }
    Ok(corrected)
}

/// Returns the rows that are to be corrected, by the keys of their corrections. If the run is
/// resumed, another run may have changed the spelling of a Patient ID since the row was inserted.
fn rows_of(
    writer: &mut Writer,
    table: Table,
    corrections: &[RowCorrections<'_>],
) -> Result<HashMap<String, Existing>, Failure> {
    let keys: Vec<&str> = corrections.iter().map(|row| row.key).collect();
    let found = writer.index.find(table, &keys, Look { view: View::Now, show: Show::Values })?;
    let mut rows: HashMap<String, Existing> = found.into_iter().map(|row| (row.key.clone(), row)).collect();
    if table == Table::Patient && writer.continues {
        let spelled_otherwise: Vec<&str> = keys.into_iter().filter(|key| !rows.contains_key(*key)).collect();
        let identities = writer.index.identities(&spelled_otherwise)?;
        let by_identity: HashMap<String, Existing> =
            rows.values().map(|row| (row.identity.clone(), row.clone())).collect();
        for (key, identity) in spelled_otherwise.into_iter().zip(identities) {
            rows.extend(by_identity.get(&identity).map(|row| (key.to_owned(), row.clone())));
        }
    }
    Ok(rows)
}

/// Records the final values of the rows of this program that are about to be changed.
fn intend_final_values(writer: &Writer, table: Table, changed: &[&ChangedRow<'_>]) -> Result<(), Failure> {
    let own: Vec<_> = changed.iter().copied().filter(|changed| !changed.correction.is_of_others()).collect();
    // A row whose files no longer have any values has fewer final values.
    for rows in own.chunk_by(|one, other| one.correction.columns().count() == other.correction.columns().count()) {
        let columns: Vec<&Column> = rows[0].correction.columns().collect();
        let mut intended = IntendedRows::new(table, &columns);
        for ChangedRow { correction, row, .. } in rows {
            if let Some(inserted) = correction.finished_as_inserted(row) {
                intended.push(&row.key, false, columns.iter().map(|column| inserted.value(column)));
            }
            intended.push(&row.key, false, correction.values());
            // A key that receives a new spelling still identifies the same row.
            if let Some(key) = correction.new_key(table).filter(|key| *key != row.key) {
                intended.push(key, true, correction.values());
            }
        }
        intend(writer, intended)?;
    }
    Ok(())
}

/// Reports a study whose row has a later time of receipt than its files.
fn note_later_receipt(writer: &mut Writer, table: Table, row: &Existing, correction: &RowCorrections<'_>) {
    if correction.is_received_later(&writer.index.tables(), table, row) {
        writer.refused.push(Finding {
            reason: FindingReason::ReceivedLater,
            uid: row.key.clone(),
            detail: "study.received is later than the files of the study say; it stays".into(),
            is_note: true,
        });
    }
}

/// Adds the histories of the rows of a resumed run to their corrections. The values that a batch of
/// the run inserted are not always those in the row: a server that failed over may have lost the
/// batch, and a later batch inserted the row. Other runs may have finished rows since.
fn learn_versions(
    writer: &mut Writer,
    table: Table,
    corrections: &mut [RowCorrections<'_>],
    rows: &HashMap<String, Existing>,
) -> Result<(), Failure> {
    let Some(recorder) = writer.recorder.clone() else { return Ok(()) };
    let keys: Vec<&str> = corrections.iter().map(|row| rows.get(row.key).map_or(row.key, |row| &row.key)).collect();
    let histories = recorder.histories(table, &keys)?;
    let unfinished =
        if table == Table::Patient { own_rows::unfinished_patients(writer, &keys)? } else { HashSet::new() };
    for ((row, key), history) in corrections.iter_mut().zip(keys).zip(histories) {
        if let Some(history) = history {
            row.learn_history(history, unfinished.contains(key), writer.is_interleaved);
        }
    }
    Ok(())
}
