//! Rows of the companion tables: the title of a report or key object selection, which belongs to
//! its image, and the codes of an animal, which belong to its patient.
//!
//! A title is written with the row of its image, or if an existing image row names the file of the
//! title. Codes are written in the closing step, under the final Patient ID. All columns of a code
//! come from one instance: the last instance that has a code.

use std::collections::{HashMap, HashSet};

use super::entry_batch::Batch;
use super::finding::{Finding, FindingReason};
use super::patient_row::{PatientRow, State};
use super::settlement::Settlement;
use super::writer::Writer;
use super::{indexed_instance, intent, lookup, refusals, withdraw};
use crate::dicom::{Instance, Level, Table};
use crate::index::column::{Column, is_empty};
use crate::index::columns::Source;
use crate::index::companion_changes::Put;
use crate::index::existing::{self, Mode};
use crate::index::missing::{Missing, Presence, Row};
use crate::index::outcome::Outcome;
use crate::index::row_history::{IntendedRows, RowHistory};
use crate::index::{Change, Derived, Entry, Existing, Expected, Failure, Look, RowUpdate, Show, Tables, Value, View};

/// The intended values of a row in a companion table.
struct CompanionRow<'a> {
    key: &'a str,
    /// The collation key: equal for keys that the database treats as equal.
    identity: String,
    /// The values, in the order of the columns of the table.
    values: Vec<Value<'a>>,
    /// The values that may be written if the row exists. `None` permits all of them, because this
    /// run inserted the row.
    mode: Option<Mode>,
    /// Sets of values, in the order of the columns of the table, from the files of a row that
    /// `--existing complete` finishes. The row may be changed if it shows one of these sets.
    replaceable: Vec<Vec<Value<'a>>>,
}

impl Row for CompanionRow<'_> {
    fn key(&self, _: Table) -> &str {
        self.key
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn weight(&self) -> usize {
        let text = |value: &Value<'_>| if let Value::Text(text) = value { text.len() } else { 0 };
        self.values.iter().map(text).sum::<usize>() + 64
    }

    fn values<'a>(&'a self, _: &[Column], into: &mut Vec<Value<'a>>) {
        into.extend(&self.values);
    }
}

fn title<'a>(entry: &'a Entry, columns: &[Column], mode: Option<Mode>) -> CompanionRow<'a> {
    let values = columns.iter().map(|column| column.blank(entry.value(column.source))).collect();
    let key = entry.key(Level::Instance);
    CompanionRow { key, identity: key.to_owned(), values, mode, replaceable: Vec::new() }
}

/// Returns the values of the title in a file.
fn title_of<'a>(instance: &'a Instance, columns: &[Column]) -> Vec<Value<'a>> {
    let value = |column: &Column| match column.source {
        Source::Attribute(n) => column.blank(instance.get(n)),
        _ => Value::Null,
    };
    columns.iter().map(value).collect()
}

/// Returns the changes of a row of this program. A code or a title is one value: it changes as a
/// whole or not at all.
fn own_changes<'r>(
    tables: &'r Tables,
    table: Table,
    row: &'r CompanionRow<'_>,
    there: &'r Existing,
    history: &RowHistory,
) -> Vec<Change<'r>> {
    let columns = tables.of(table).columns.iter().zip(&row.values);
    let written = columns.filter(|(column, _)| column.is_recorded() && !column.exact && column.known != table.key());
    let change = |(column, to): (&'r Column, &Value<'r>)| {
        let expected = Expected::Shown(there.text_of(tables, table, column));
        Change { column, expected, to: *to }
    };
    let changes: Vec<Change<'r>> = written.map(change).collect();
    let differs =
        changes.iter().any(|change| !change.column.shows(there.text_of(tables, table, change.column), change.to));
    let is_own = changes.iter().all(|change| history.owns(tables, table, change.column, there));
    if differs && is_own { changes } else { Vec::new() }
}

/// Writes the titles of a batch whose image rows are final for the batch.
pub(super) fn write_titles(writer: &mut Writer, batch: &Batch<'_>) -> Result<Put, Failure> {
    const TABLE: Table = Table::ConceptName;
    let tables = writer.index.tables();
    if tables.companions(Level::Instance).next().is_none() {
        return Ok(Put::default());
    }
    let columns = &tables.of(TABLE).columns;
    let (mut formers, mut rows, mut followed) = (Vec::new(), Vec::new(), Vec::new());
    let mut look = writer.looks_first(Level::Instance);
    for (n, entry) in batch.entries.iter().enumerate() {
        if let Some(former) = batch.outcomes[n].replaced()
            && !entry.instance.fills(TABLE)
        {
            remove_title(writer, entry, former)?;
            continue;
        }
        let is_titled = || writer.known.lock().is_titled(entry.key(Level::Instance));
        if batch.outcomes[n].replaces_a_file() && has_own_title(writer, entry)? {
            followed.push(n);
        }
        let mut former = batch.replaced.get(&n).filter(|former| former.fills(TABLE)).cloned();
        let mode = match &batch.outcomes[n] {
            // The title changes with the file, even if the new file has no title.
            Outcome::Duplicate { loser: Some(loser) } if is_titled() => {
                former = indexed_instance::instance_at(writer, loser);
                None
            }
            Outcome::Duplicate { loser: None } | Outcome::Refused(_) => continue,
            _ if !entry.instance.fills(TABLE) && former.is_none() => continue,
            Outcome::Inserted => Some(writer.policy.mode),
            _ => Some(lookup::mode_of(writer, batch, n)),
        };
        look |= batch.outcomes[n] != Outcome::Inserted;
        formers.push((rows.len(), former));
        rows.push(title(entry, columns, mode));
    }
    for (n, former) in &formers {
        rows[*n].replaceable.extend(former.as_ref().map(|former| title_of(former, columns)));
    }
    let put = put(writer, TABLE, rows, look)?;
    // Such a title may change again with another file. The ledger does not contain the values that
    // this run has written yet.
    let mut known = writer.known.lock();
    followed.into_iter().for_each(|n| known.title_was_inserted(batch.entries[n].key(Level::Instance)));
    Ok(put)
}

/// Returns whether this program has written the title of an instance.
fn has_own_title(writer: &Writer, entry: &Entry) -> Result<bool, Failure> {
    let key = entry.key(Level::Instance);
    if writer.known.lock().is_titled(key) {
        return Ok(true);
    }
    match &writer.recorder {
        Some(recorder) => Ok(recorder.histories(Table::ConceptName, &[key])?.iter().any(Option::is_some)),
        None => Ok(false),
    }
}

/// Removes the title of an instance whose row was pointed to a file without a title, if this
/// program wrote the title and it still has the values in the former file. The database user may
/// lack the privilege to delete rows; then the title stays.
fn remove_title(writer: &mut Writer, entry: &Entry, former: &str) -> Result<(), Failure> {
    const TABLE: Table = Table::ConceptName;
    if !has_own_title(writer, entry)? {
        return Ok(());
    }
    let key = entry.key(Level::Instance);
    // The former file may no longer exist, but the journal may contain a record of it from an
    // earlier run.
    let recorded = || {
        let file = writer.policy.files.archive.local_path(former)?;
        writer
            .recorder
            .as_ref()?
            .indexed_instance(&file, key)
            .and_then(|recorded| indexed_instance::fitted(writer, recorded.instance))
    };
    let former = recorded().or_else(|| indexed_instance::instance_at(writer, former));
    let Some(former) = former.filter(|former| former.fills(TABLE)) else { return Ok(()) };
    let tables = writer.index.tables();
    let columns: Vec<Column> = tables.of(TABLE).recorded().into_iter().cloned().collect();
    let shown = |value: Value<'_>| match value {
        Value::Text(text) => Some(text.to_owned()),
        _ => None,
    };
    let shown: Vec<Option<String>> = title_of(&former, &columns).into_iter().map(shown).collect();
    let shown: Vec<Option<&str>> = shown.iter().map(Option::as_deref).collect();
    match withdraw::remove_if_unchanged(writer, TABLE, key, &shown, "1 = 1") {
        Ok(_) | Err(Failure::Denied(_)) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Returns the titles that are inserted with the images of a batch, provided that no row with the
/// same key exists.
pub(super) fn titles_of(writer: &Writer, batch: &Batch<'_>) -> Put {
    if writer.index.tables().companions(Level::Instance).next().is_none() {
        return Put::default();
    }
    let entries = batch.entries.iter().zip(&batch.outcomes).filter(|(_, outcome)| **outcome == Outcome::Inserted);
    let titled = entries.map(|(entry, _)| entry).filter(|entry| entry.instance.fills(Table::ConceptName));
    Put { inserted: titled.map(|entry| entry.key(Level::Instance).into()).collect(), updated: 0 }
}

/// Writes the codes of patients whose rows are final. `edited` contains the patients whose rows may
/// only be filled.
pub(super) fn write_codes<'a>(
    writer: &mut Writer,
    settlement: &Settlement,
    part: &[&'a PatientRow],
    edited: &HashSet<String>,
) -> Result<Vec<(Table, Put)>, Failure> {
    let tables = writer.index.tables();
    let shape = settlement.shapes[Level::Patient as usize].attributes();
    let mut done = Vec::new();
    for table in tables.companions(Level::Patient) {
        let columns = &tables.of(table).columns;
        let place = |column: &Column| shape.iter().position(|n| column.source == Source::Attribute(*n));
        let places: Vec<Option<usize>> = columns.iter().map(place).collect();
        let says = |said: &[Value<'_>]| places.iter().flatten().any(|n| !is_empty(said[*n]));
        let mut rows = Vec::new();
        for patient in part {
            let Some(said) = patient.fold.last_that(says) else {
                if patient.is_displaced {
                    withdraw::remove_code(writer, table, &patient.id)?;
                }
                continue;
            };
            let code = |said: &[Value<'a>]| -> Vec<Value<'a>> {
                let value = |(column, place): (&Column, &Option<usize>)| match place {
                    None if column.known == table.key() => Value::Text(&patient.id),
                    place => column.blank(place.map_or(Value::Null, |n| said[n])),
                };
                columns.iter().zip(&places).map(value).collect()
            };
            let values = code(&said);
            let is_edited = matches!(patient.state, State::There) && edited.contains(&*patient.id);
            let mode = Some(if is_edited { Mode::Fill } else { writer.policy.mode });
            let is_completed = patient.is_completed && !is_edited;
            let replaceable = patient
                .fold
                .sets()
                .chain(patient.said.sets())
                .filter(|_| is_completed)
                .map(|said| code(&said))
                .collect();
            rows.push(CompanionRow { key: &patient.id, identity: String::new(), values, mode, replaceable });
        }
        let keys: Vec<&str> = rows.iter().map(|row| row.key).collect();
        for (row, identity) in rows.iter_mut().zip(writer.index.identities(&keys)?) {
            row.identity = identity;
        }
        done.push((table, put(writer, table, rows, true)?));
    }
    Ok(done)
}

/// Inserts missing rows, and updates existing rows. If no rows are expected to exist, `look` is
/// false and they are not looked up first.
fn put(writer: &mut Writer, table: Table, mut rows: Vec<CompanionRow<'_>>, look: bool) -> Result<Put, Failure> {
    let mut put = Put::default();
    drop_too_long(writer, table, &mut rows);
    if rows.is_empty() {
        return Ok(put);
    }
    let mut missing = rows;
    if look {
        missing = bring_up_all(writer, table, missing, View::Begun, &mut put)?;
    }
    intend_companions(writer, table, &missing, true)?;
    let begins_anew = writer.begins_anew();
    let presence = Missing::new(&mut *writer.index, table, &missing, &writer.left, begins_anew).insert(look)?;
    let mut others = Vec::new();
    for (row, presence) in missing.into_iter().zip(presence) {
        match presence {
            Presence::Inserted => put.inserted.push(row.key.into()),
            Presence::There(_) => others.push(row),
            Presence::Refused(refusal) => tell(writer, table, row.key, &refusal.detail),
        }
    }
    bring_up_all(writer, table, others, View::Now, &mut put)?;
    Ok(put)
}

/// Updates the existing rows. Returns the missing ones.
fn bring_up_all<'a>(
    writer: &mut Writer,
    table: Table,
    rows: Vec<CompanionRow<'a>>,
    view: View,
    put: &mut Put,
) -> Result<Vec<CompanionRow<'a>>, Failure> {
    if rows.is_empty() {
        return Ok(rows);
    }
    let keys: Vec<&str> = rows.iter().map(|row| row.key).collect();
    let shows_nulls = writer.policy.mode == Mode::Fill && rows.iter().all(|row| row.replaceable.is_empty());
    let show = if shows_nulls { Show::Nulls } else { Show::Values };
    let mut there = writer.index.find(table, &keys, Look { view, show })?;
    there.retain(|row| !writer.is_left(table, &row.key));
    learn_companions(writer, table, &mut there)?;
    let there: HashMap<&str, &Existing> = there.iter().map(|row| (row.identity.as_str(), row)).collect();
    let mut missing = Vec::new();
    for row in rows {
        match there.get(row.identity.as_str()) {
            Some(there) => put.updated += u64::from(bring_up_row(writer, table, &row, there)?),
            None => missing.push(row),
        }
    }
    Ok(missing)
}

/// Adds to rows that were found their history in the ledger, and their values if this program
/// inserted them.
fn learn_companions(writer: &mut Writer, table: Table, rows: &mut [Existing]) -> Result<(), Failure> {
    let Some(recorder) = writer.recorder.clone() else { return Ok(()) };
    let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let histories = recorder.histories(table, &keys)?;
    if histories.iter().all(Option::is_none) {
        return Ok(());
    }
    let look = Look { view: View::Now, show: Show::Values };
    let mut shown: HashMap<String, Existing> =
        writer.index.find(table, &keys, look)?.into_iter().map(|row| (row.key.clone(), row)).collect();
    for (row, history) in rows.iter_mut().zip(histories) {
        let history = history.filter(|history| history.is_inserted(false));
        if let (Some(history), Some(shown)) = (history, shown.remove(&row.key)) {
            *row = Existing { history: Some(history), ..shown };
        }
    }
    Ok(())
}

/// Records the rows that the open transaction is about to write.
fn intend_companions(
    writer: &Writer,
    table: Table,
    rows: &[CompanionRow<'_>],
    is_inserted: bool,
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let tables = writer.index.tables();
    let mut intended = IntendedRows::new(table, &tables.of(table).recorded());
    for row in rows {
        let values = tables.of(table).columns.iter().zip(&row.values);
        let recorded = values.filter(|(column, _)| column.is_recorded());
        intended.push(row.key, is_inserted, recorded.map(|(_, value)| *value));
    }
    intent::intend(writer, intended)
}

fn bring_up_row(writer: &mut Writer, table: Table, row: &CompanionRow<'_>, there: &Existing) -> Result<bool, Failure> {
    let tables = writer.index.tables();
    // A refresh saves the values that it overwrites, including those that this program wrote.
    let history = there.history.as_ref().filter(|_| row.mode != Some(Mode::Refresh));
    let own = history.map(|history| own_changes(&tables, table, row, there, history)).unwrap_or_default();
    if !own.is_empty() {
        intend_companions(writer, table, std::slice::from_ref(row), false)?;
        let (key, path, derived) = (row.key, None, Derived::Unchanged);
        let update = RowUpdate { table, key, path, changes: &own, derived, only_unfinished: false, studies: None };
        let applied = existing::apply(&mut *writer.index, &update)?;
        refusals::note_refused(writer, table, row.key, &applied);
        return Ok(applied.changed);
    }
    let columns = &tables.of(table).columns;
    let value = |column: &Column| {
        let at = columns.iter().position(|other| other.name == column.name);
        at.map_or(Value::Null, |at| row.values[at])
    };
    let shown = |column: &Column| there.text_of(&tables, table, column);
    let replace = |column| Change { column, expected: Expected::Shown(shown(column)), to: value(column) };
    let is_shown = |values: &Vec<Value<'_>>| {
        let mut written = columns.iter().zip(values).filter(|(column, _)| !column.exact);
        written.all(|(column, value)| column.shows(shown(column), *value))
    };
    let changes = match row.mode {
        Some(_) if row.replaceable.iter().any(is_shown) => {
            let differs = |column: &&Column| !column.shows(shown(column), value(column));
            tables.of(table).fed().filter(differs).map(replace).collect()
        }
        Some(mode) => existing::changes(&tables, table, there, mode, value),
        // A title that differs from the title in the former file was edited, and stays.
        None if row.replaceable.iter().any(is_shown) => tables.of(table).fed().map(replace).collect(),
        None => Vec::new(),
    };
    if changes.is_empty() {
        return Ok(false);
    }
    let applied = match row.mode {
        Some(_) => existing::update(&mut *writer.index, &mut writer.pending, table, there, &changes)?,
        None => {
            let update = RowUpdate {
                table,
                key: row.key,
                path: None,
                changes: &changes,
                derived: Derived::Unchanged,
                only_unfinished: false,
                studies: None,
            };
            existing::apply(&mut *writer.index, &update)?
        }
    };
    refusals::note_refused(writer, table, row.key, &applied);
    // A row that this run inserted does not count as updated.
    Ok(applied.changed && row.mode.is_some())
}

/// Drops and reports the rows whose key does not fit into its column: a truncated key would be the
/// key of another row.
fn drop_too_long(writer: &mut Writer, table: Table, rows: &mut Vec<CompanionRow<'_>>) {
    let tables = writer.index.tables();
    let Some(key) = tables.of(table).column(table.key()) else { return };
    rows.retain(|row| {
        let holds = key.holds(row.key);
        if !holds {
            tell(writer, table, row.key, &format!("{} cannot hold it", key.name));
        }
        holds
    });
}

/// Reports a row that is not written. The report contains no keys of patients.
fn tell(writer: &mut Writer, table: Table, key: &str, why: &str) {
    let uid = if table.level() == Level::Patient { String::new() } else { key.to_owned() };
    let detail = format!("the database takes no row of {}: {why}", table.name());
    writer.refused.push(Finding { reason: FindingReason::RefusedByIndex, uid, detail, is_note: false });
}
