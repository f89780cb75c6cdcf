//! Images that have a row: the row is filled, refreshed, pointed to another file, or left
//! unchanged.

use super::entry_batch::Batch;
use super::indexed_instance::{indexed_instance, instance_of_own_row, recorded_instance};
use super::lookup::mode_of;
use super::pointing::{TRIES, lead};
use super::writer::Writer;
use super::{complete_images, refusals};
use crate::dicom::{Instance, Level, Table};
use crate::index::column::is_empty;
use crate::index::columns::Source;
use crate::index::entry::StoredFile;
use crate::index::existing::{self, FACTS, Mode};
use crate::index::outcome::Outcome;
use crate::index::{Change, Derived, Entry, Existing, Expected, Failure, Look, RowUpdate, Show, Tables, Value, View};

/// The columns that change when the row of an image is pointed to another file.
enum Pointing {
    /// All columns that contain values of the file.
    Whole,
    /// The path and the facts of the stored file.
    Facts,
    /// All columns except those that were edited since an earlier run wrote this instance.
    Own(Box<Instance>),
}

/// Decides about the files of each instance that has a row. If this batch inserted the row, the
/// other files of the instance lose to the inserted file.
pub(super) fn settle_images(writer: &mut Writer, batch: &mut Batch<'_>) -> Result<(), Failure> {
    for (key, members, row) in batch.with_row() {
        let (is_own_path, is_inserted, is_corrected) = {
            let known = writer.known.lock();
            // A path that this program has not written was edited.
            let is_own_path = known.has_named(key, &row.path);
            let is_inserted = is_own_path && known.is_ours(Level::Instance, key);
            (is_own_path, is_inserted, is_own_path && known.is_corrected(key))
        };
        if !is_own_path && was_set_back(writer, &batch.entries[members[0]], &row)? {
            continue;
        }
        // A row may spell the path of its file differently: with `\` instead of `/`, or through a
        // link.
        let names =
            |entry: &Entry| entry.path == row.path || writer.policy.files.archive.are_one(&row.path, &entry.path);
        let own = members.iter().copied().find(|member| names(&batch.entries[*member]));
        let own = match own {
            None if !is_inserted => misnamed(writer, batch, &members, &row)?,
            own => own,
        };
        let has_another = own != Some(members[0]) && !is_inserted && !is_corrected;
        let of_earlier_run = match has_another {
            true if complete_images::completes_image(writer, batch, members[0], &row) => {
                recorded_instance(writer, &row)
            }
            true => instance_of_own_row(writer, &row),
            false => None,
        };
        if let Some(own) = own.filter(|_| !is_corrected || is_inserted) {
            let outcome = update_image(writer, batch, own, &row)?;
            // A file that is read again in a resumed run was inserted by that run.
            batch.outcomes[own] = if is_inserted { Outcome::Inserted } else { outcome };
            if is_inserted && members[0] != own {
                contend(writer, batch, members[0], row, Pointing::Whole)?;
            } else if let Some(instance) = of_earlier_run {
                contend(writer, batch, members[0], row, Pointing::Own(Box::new(instance)))?;
            } else if members[0] != own && complete_images::completes_image(writer, batch, members[0], &row) {
                complete_images::complete_image(writer, batch, members[0], row)?;
            }
        } else if is_inserted || is_corrected {
            let pointing = if is_inserted { Pointing::Whole } else { Pointing::Facts };
            contend(writer, batch, members[0], row, pointing)?;
        } else if let Some(instance) = of_earlier_run {
            contend(writer, batch, members[0], row, Pointing::Own(Box::new(instance)))?;
        } else if row.path.is_empty() || writer.policy.files.archive.is_stale(&row.path, key) {
            correct(writer, batch, members[0], &row)?;
        } else if complete_images::completes_image(writer, batch, members[0], &row) {
            complete_images::complete_image(writer, batch, members[0], row)?;
        }
    }
    Ok(())
}

/// Returns whether a row names another file than the better one that an earlier run had pointed the
/// row to, although the series is finished. Rows of images become final before the row of their
/// series. Such a path was therefore edited, and stays. Below an unfinished series, the earlier
/// path comes from a restored database.
fn was_set_back(writer: &mut Writer, better: &Entry, row: &Existing) -> Result<bool, Failure> {
    if better.path == row.path {
        return Ok(false);
    }
    let archive = &writer.policy.files.archive;
    let Some(named) = archive.local_path(&row.path) else { return Ok(false) };
    let was_pointed = writer.recorder.as_ref().is_some_and(|recorder| recorder.was_pointed(better, &named));
    let is_another = || !archive.are_one(&row.path, &better.path) && archive.stored(&row.path).is_some();
    if !was_pointed || !is_another() {
        return Ok(false);
    }
    let look = Look { view: View::Now, show: Show::Nothing };
    let series = writer.index.find(Table::Series, &[&row.link], look)?;
    Ok(series.first().is_some_and(|series| !series.is_unfinished))
}

/// Updates the row of an image that names this file.
fn update_image(writer: &mut Writer, batch: &Batch<'_>, member: usize, row: &Existing) -> Result<Outcome, Failure> {
    let entry = &batch.entries[member];
    let mode = mode_of(writer, batch, member);
    let tables = writer.index.tables();
    let mut changes = existing::changes(&tables, Table::Image, row, mode, |column| entry.value(column.source));
    let is_misnamed = is_misnamed(writer, row, entry)?;
    let path = tables.of(Level::Instance).column("path").filter(|_| is_misnamed);
    changes.extend(path.map(|column| Change { column, expected: Expected::Any, to: Value::Text(&entry.path) }));
    if changes.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    let applied = existing::update(&mut *writer.index, &mut writer.pending, Table::Image, row, &changes)?;
    refusals::note_refused(writer, Table::Image, &row.key, &applied);
    Ok(match (applied.changed, path) {
        (false, _) => Outcome::Unchanged,
        (true, Some(path)) if !applied.refused.contains(&path.name) => Outcome::PathMapped { former: row.path.clone() },
        (true, _) => Outcome::Updated { corrected: None },
    })
}

/// Returns the first file that a row names by a path that is unknown to the PACS.
fn misnamed(
    writer: &mut Writer,
    batch: &Batch<'_>,
    members: &[usize],
    row: &Existing,
) -> Result<Option<usize>, Failure> {
    for member in members {
        if is_misnamed(writer, row, &batch.entries[*member])? {
            return Ok(Some(*member));
        }
    }
    Ok(None)
}

/// Returns whether a row names the file of an entry by a path that is unknown to the PACS: a local
/// path, or a path from an earlier path map.
fn is_misnamed(writer: &mut Writer, row: &Existing, entry: &Entry) -> Result<bool, Failure> {
    let (archive, stored) = (&writer.policy.files.archive, row.path.as_str());
    if stored == entry.path || !archive.is_unmapped(stored, &entry.path) {
        return Ok(false);
    }
    let is_known = archive.are_one(stored, &entry.path)
        || writer.recorder.as_ref().is_some_and(|recorder| recorder.was_named(entry, stored));
    Ok(is_known || archive.differs_by_directory(stored, &entry.path) && has_facts_of(writer, row, entry)?)
}

/// Returns whether the facts of the stored file in a row are consistent with a file. Two copies of
/// an instance may be encoded differently.
fn has_facts_of(writer: &mut Writer, row: &Existing, entry: &Entry) -> Result<bool, Failure> {
    let look = Look { view: View::Now, show: Show::Values };
    let Some(row) = writer.index.find(Table::Image, &[&row.key], look)?.pop() else { return Ok(false) };
    let tables = writer.index.tables();
    let facts = tables.of(Table::Image).fed().zip(&row.shown).filter(|(column, _)| FACTS.contains(&column.known));
    let is_contradicted = |(column, shown): (&crate::index::column::Column, &Option<String>)| {
        let value = entry.value(column.source);
        shown.is_some() && !is_empty(value) && !column.shows(shown.as_deref(), value)
    };
    Ok(!facts.into_iter().any(is_contradicted))
}

/// Compares the file that a row names with another file of the instance, and points the row to the
/// better one. This run has inserted the row or pointed it to a file, or an earlier run has.
fn contend(
    writer: &mut Writer,
    batch: &mut Batch<'_>,
    member: usize,
    mut row: Existing,
    mut pointing: Pointing,
) -> Result<(), Failure> {
    let entry = &batch.entries[member];
    for _ in 0..TRIES {
        let stored = writer.policy.files.archive.stored(&row.path);
        let was_moved = stored.is_none();
        let is_better = |stored: StoredFile| writer.policy.files.is_better(entry, &stored, &row.path);
        if entry.path == row.path || !stored.is_none_or(is_better) {
            return Ok(());
        }
        let tables = writer.index.tables();
        let changes = match &pointing {
            Pointing::Own(instance) => own_changes(writer, &tables, entry, instance, &row)?,
            Pointing::Whole => match indexed_instance(writer, &row) {
                Some(instance) => own_changes(writer, &tables, entry, &instance, &row)?,
                None => lead(&tables, entry, true),
            },
            Pointing::Facts => lead(&tables, entry, false),
        };
        {
            let mut known = writer.known.lock();
            // This precedes the commit, so that another writer that finds the row knows that this
            // run wrote the path.
            known.image_names(&row.key, &entry.path);
            // A file of an earlier run that was only moved belongs to the same rows.
            let is_moved = matches!(&pointing, Pointing::Own(instance) if was_moved && entry.names_rows_of(instance));
            if !is_moved {
                known.displaced.insert(row.link.as_str().into());
            }
        }
        let (key, path) = (row.key.as_str(), Some(row.path.as_str()));
        let update = RowUpdate {
            table: Table::Image,
            key,
            path,
            changes: &changes,
            derived: Derived::Unchanged,
            only_unfinished: false,
            studies: None,
        };
        let applied = existing::apply(&mut *writer.index, &update)?;
        refusals::note_refused(writer, Table::Image, &row.key, &applied);
        if !applied.refused.is_empty() {
            return Ok(());
        }
        if applied.changed {
            batch.outcomes[member] = match was_moved {
                true if matches!(pointing, Pointing::Facts) => Outcome::Updated { corrected: Some(row.path) },
                true => Outcome::Repointed { former: row.path },
                false => Outcome::Duplicate { loser: Some(row.path) },
            };
            let is_linked = !matches!(pointing, Pointing::Facts);
            let series = if is_linked { entry.key(Level::Series).into() } else { row.link.as_str().into() };
            batch.opened_series.extend([series, row.link.into()]);
            return Ok(());
        }
        // Another writer has changed the row first.
        let look = Look { view: View::Now, show: Show::Nothing };
        match writer.index.find(Table::Image, &[&row.key], look)?.pop() {
            Some(now) => row = now,
            None => return Ok(()),
        }
        if let Pointing::Own(instance) = &mut pointing {
            match instance_of_own_row(writer, &row) {
                Some(indexed) => **instance = indexed,
                None => return Ok(()),
            }
        }
    }
    Err(Failure::Busy("the row of an image keeps changing".into()))
}

/// Returns the changes that point a row of an earlier run to another file. Values that were edited
/// since stay unchanged.
fn own_changes<'e>(
    writer: &mut Writer,
    tables: &'e Tables,
    entry: &'e Entry,
    indexed: &Instance,
    row: &Existing,
) -> Result<Vec<Change<'e>>, Failure> {
    let look = Look { view: View::Now, show: Show::Values };
    let Some(row) = writer.index.find(Table::Image, &[&row.key], look)?.pop() else { return Ok(Vec::new()) };
    let is_own = |change: &Change<'_>| match change.column.source {
        Source::Attribute(n) => {
            let written = change.column.blank(indexed.get(n));
            let shown = row.text_of(tables, Table::Image, change.column);
            shown.is_none() || change.column.shows(shown, written)
        }
        _ => true,
    };
    let changes = lead(tables, entry, true);
    Ok(changes.into_iter().filter(is_own).collect())
}

/// Corrects an existing row of an instance whose path is stale: the file does not exist, or
/// contains another instance.
fn correct(writer: &mut Writer, batch: &mut Batch<'_>, member: usize, row: &Existing) -> Result<(), Failure> {
    let entry = &batch.entries[member];
    let tables = writer.index.tables();
    let mut changes = lead(&tables, entry, false);
    let is_led = |change: &Change<'_>| FACTS.contains(&change.column.known);
    let filled = existing::changes(&tables, Table::Image, row, Mode::Fill, |column| entry.value(column.source));
    changes.extend(filled.into_iter().filter(|change| !is_led(change)));
    // This precedes the commit, so that another writer that finds the row compares its file with
    // this one.
    {
        let mut known = writer.known.lock();
        known.image_was_corrected(&row.key);
        known.image_names(&row.key, &entry.path);
    }
    writer.corrections.push(row.key.as_str().into());
    let applied = existing::update(&mut *writer.index, &mut writer.pending, Table::Image, row, &changes)?;
    refusals::note_refused(writer, Table::Image, &row.key, &applied);
    if applied.changed {
        let is_refused = applied.refused.iter().any(|name| name == tables.of(Level::Instance).name("path"));
        let corrected = (!is_refused).then(|| row.path.clone());
        batch.outcomes[member] = Outcome::Updated { corrected };
        return Ok(());
    }
    // Another writer has changed the row first, and may have chosen a worse file.
    let look = Look { view: View::Now, show: Show::Nothing };
    match writer.index.find(Table::Image, &[&row.key], look)?.pop() {
        Some(now) if now.path != row.path => contend(writer, batch, member, now, Pointing::Facts),
        _ => Ok(()),
    }
}
