//! Completion of image rows below series that look unfinished and that this program did not insert.
//! `--existing complete` points such a row to the file that was chosen.

use super::entry_batch::Batch;
use super::pointing::{TRIES, lead};
use super::writer::Writer;
use super::{indexed_instance, lookup, refusals};
use crate::dicom::attributes::value_of;
use crate::dicom::{Instance, Level, Table};
use crate::index::columns::Source;
use crate::index::existing::{self, FACTS, Mode};
use crate::index::outcome::{Outcome, RowOf};
use crate::index::{Change, Existing, Expected, Failure, Look, Show, Tables, View};

/// Returns whether the row of an image may be pointed to the file of an entry.
pub(super) fn completes_image(writer: &Writer, batch: &Batch<'_>, member: usize, row: &Existing) -> bool {
    if lookup::mode_of(writer, batch, member) != Mode::Complete {
        return false;
    }
    let link = row.link.as_str();
    match batch.rows[Level::Series as usize].get(link) {
        Some(RowOf::There(series)) => series.history.is_none() && series.is_unfinished,
        _ => batch.known.completed_series.contains(link),
    }
}

/// Points the row of an image to the file of an entry, if that file is better than the file that
/// the row names. Edited values and the link stay unchanged.
pub(super) fn complete_image(
    writer: &mut Writer,
    batch: &mut Batch<'_>,
    member: usize,
    mut row: Existing,
) -> Result<(), Failure> {
    let entry = &batch.entries[member];
    let key = row.key.clone();
    let look = Look { view: View::Now, show: Show::Values };
    let tables = writer.index.tables();
    for _ in 0..TRIES {
        let Some(stored) = writer.policy.files.archive.stored(&row.path) else { return Ok(()) };
        if !writer.policy.files.is_better(entry, &stored, &row.path) {
            return Ok(());
        }
        let Some(now) = writer.index.find(Table::Image, &[&key], look)?.pop() else { return Ok(()) };
        if now.path == row.path {
            let former = indexed_instance::indexed_instance(writer, &now);
            let changes = lead(&tables, entry, true);
            let changes: Vec<Change<'_>> =
                changes.into_iter().filter_map(|one| completed(&tables, &now, former.as_ref(), one)).collect();
            let applied = existing::update(&mut *writer.index, &mut writer.pending, Table::Image, &now, &changes)?;
            refusals::note_refused(writer, Table::Image, &key, &applied);
            if applied.changed {
                writer.known.lock().displaced.insert(now.link.as_str().into());
                batch.outcomes[member] = Outcome::Duplicate { loser: Some(now.path.clone()) };
                batch.replaced.extend(former.map(|former| (member, former)));
            }
            if applied.changed || !applied.refused.is_empty() {
                return Ok(());
            }
        }
        // Another writer has changed the row first.
        row = now;
    }
    Err(Failure::Busy("the row of an image keeps changing".into()))
}

/// Returns the change of a column, or `None` if the column already shows the new value, is the
/// link, or was edited since the former file was indexed. A date and its time are one value.
fn completed<'c>(
    tables: &'c Tables,
    row: &'c Existing,
    former: Option<&Instance>,
    change: Change<'c>,
) -> Option<Change<'c>> {
    let column = change.column;
    let shown = row.text_of(tables, Table::Image, column);
    if FACTS.contains(&column.known) {
        return (!column.shows(shown, change.to)).then_some(change);
    }
    let Source::Attribute(attribute) = column.source else { return None };
    let is_said = |n: usize| {
        let (Some(former), Some(column)) = (former, tables.of_attribute(n)) else { return true };
        let shown = row.text_of(tables, Table::Image, column);
        shown.is_none() || column.shows(shown, column.blank(former.get(n)))
    };
    let fed = tables.of(Table::Image).fed().filter_map(|column| match column.source {
        Source::Attribute(n) if value_of(n) == value_of(attribute) => Some(n),
        _ => None,
    });
    let may_change = match former {
        Some(_) => fed.into_iter().all(is_said),
        None => shown.is_none(),
    };
    let is_changed = !column.exact && may_change && !column.shows(shown, change.to);
    is_changed.then_some(Change { expected: Expected::Shown(shown), ..change })
}
