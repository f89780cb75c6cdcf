//! Withdrawal of rows that this program inserted and that nothing needs any more: patients with a
//! suffix that have no study, and rows that no indexed file names.
//!
//! A row is removed only if each of its columns is empty or contains the value that this program
//! has written, and if nothing links to the row. The statement that removes the row checks both.

use std::sync::Arc;

use super::finding::{Finding, FindingReason};
use super::ghost::Ghost;
use super::references::references;
use super::settlement::Settlement;
use super::writer::Writer;
use crate::dicom::{Level, Table};
use crate::index::column::Column;
use crate::index::stored_column::Reference;
use crate::index::{Failure, Look, Show, View, link};

/// Adds to the ledger the values that this run has written to ghosts, and to the codes of patients
/// whose values were recomputed.
pub(super) fn learn_ghosts(writer: &mut Writer, ghosts: &[Ghost], displaced: &[Arc<str>]) -> Result<(), Failure> {
    let Some(recorder) = writer.recorder.clone() else { return Ok(()) };
    let tables = writer.index.tables();
    let mut own: Vec<(Table, &str)> = Vec::new();
    for ghost in ghosts {
        let of_level = tables.companions(ghost.level).chain([ghost.level.table()]);
        own.extend(of_level.map(|table| (table, ghost.key.as_str())));
    }
    for patient in displaced {
        own.extend(tables.companions(Level::Patient).map(|table| (table, &**patient)));
    }
    if own.is_empty() { Ok(()) } else { recorder.learn_own_rows(&own) }
}

/// Removes the abandoned patients that can be removed, and reports the others.
pub fn withdraw(writer: &mut Writer, settlement: &Settlement) -> Result<(), Failure> {
    for key in &settlement.abandoned {
        if !withdraw_row(writer, Level::Patient, key)? {
            let detail = "a row of this program for a patient without a study was changed or is used, and stays";
            let reason = FindingReason::AbandonedPatient;
            writer.refused.push(Finding { reason, uid: String::new(), detail: detail.into(), is_note: true });
        }
    }
    Ok(())
}

/// Removes the ghosts of a level that can be removed, and reports the others.
pub fn withdraw_ghosts(writer: &mut Writer, settlement: &Settlement, level: Level) -> Result<(), Failure> {
    for ghost in settlement.ghosts.iter().filter(|ghost| ghost.level == level) {
        if !withdraw_row(writer, level, &ghost.key)? {
            let uid = if level == Level::Patient { String::new() } else { ghost.key.clone() };
            let detail = format!(
                "a row of this program in {} that no indexed file names was changed or is used, and stays",
                level.table().name()
            );
            writer.refused.push(Finding { reason: FindingReason::RowWithoutFile, uid, detail, is_note: true });
        }
    }
    Ok(())
}

/// Removes the code of a patient if no indexed file has a code and if this program has written it.
pub(super) fn remove_code(writer: &mut Writer, table: Table, key: &str) -> Result<(), Failure> {
    match remove_own(writer, table, key, "1 = 1") {
        Ok(_) | Err(Failure::Denied(_)) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Removes a row. Returns whether the index contains no row with this key afterwards.
fn withdraw_row(writer: &mut Writer, level: Level, key: &str) -> Result<bool, Failure> {
    Ok(writer.in_transaction(|writer| try_to_withdraw(writer, level, key).map(Removed))?.0)
}

/// Removes a row together with its companions, or nothing. The database user may lack the privilege
/// to delete rows, or to read other tables of the PACS.
fn try_to_withdraw(writer: &mut Writer, level: Level, key: &str) -> Result<bool, Failure> {
    match remove_with_companions(writer, level, key) {
        Ok(true) => Ok(true),
        Ok(false) | Err(Failure::Denied(_)) => {
            writer.index.roll_back()?;
            writer.index.begin()?;
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

fn remove_with_companions(writer: &mut Writer, level: Level, key: &str) -> Result<bool, Failure> {
    let tables = writer.index.tables();
    // Without transactions, a row that has companions stays, because they cannot be removed
    // together.
    for table in tables.companions(level).filter(|_| tables.is_transactional) {
        remove_own(writer, table, key, "1 = 1")?;
    }
    let own_key = format!("`{}`.`{}`", level.table().name(), tables.key(level.table()));
    let mut unused = Vec::from_iter(without_children(writer, level, &own_key));
    for Reference { table, column } in references(writer, level)?.iter() {
        // Tables of a PACS may have other collations.
        let [one, other] = [format!("`{column}`"), own_key.clone()].map(|text| writer.index.as_bytes(&text));
        unused.push(format!("NOT EXISTS (SELECT 1 FROM `{table}` WHERE {one} = {other})"));
    }
    remove_own(writer, level.table(), key, &unused.join(" AND "))
}

/// Returns an SQL condition that is true if no row of the level below is linked to a row.
fn without_children(writer: &Writer, level: Level, key: &str) -> Option<String> {
    let child = match level {
        Level::Patient => Table::Study,
        Level::Study => Table::Series,
        Level::Series => Table::Image,
        Level::Instance => return None,
    };
    let tables = writer.index.tables();
    let (columns, known) = (tables.of(child), link(child)?);
    let is_linked = columns.column(known).map_or_else(|| key.to_owned(), |column| column.compared(key));
    let (child, name) = (child.name(), columns.name(known));
    Some(format!("NOT EXISTS (SELECT 1 FROM `{child}` WHERE `{name}` = {is_linked})"))
}

/// Removes a row of this program if each of its columns contains the value that this program has
/// written, and if `condition` is true. Returns whether the index contains no row with this key
/// afterwards.
fn remove_own(writer: &mut Writer, table: Table, key: &str, condition: &str) -> Result<bool, Failure> {
    let look = Look { view: View::Now, show: Show::Values };
    let Some(row) = writer.index.find(table, &[key], look)?.pop() else { return Ok(true) };
    let Some(recorder) = &writer.recorder else { return Ok(false) };
    let Some(history) = recorder.histories(table, &[&row.key])?.pop().flatten() else { return Ok(false) };
    let tables = writer.index.tables();
    let recorded = tables.of(table).recorded();
    // Later versions of a row do not repeat the key.
    let mut values = recorded.iter().filter(|column| column.known != table.key());
    if !values.all(|column| history.owns(&tables, table, column, &row)) {
        return Ok(false);
    }
    let shown: Vec<Option<&str>> = recorded.iter().map(|column| row.text_of(&tables, table, column)).collect();
    remove_if_unchanged(writer, table, &row.key, &shown, condition)
}

/// Removes a row if its recorded columns contain these values, the other columns are empty, and
/// `condition` is true. Returns whether the index contains no row with this key afterwards.
pub(super) fn remove_if_unchanged(
    writer: &mut Writer,
    table: Table,
    key: &str,
    shown: &[Option<&str>],
    condition: &str,
) -> Result<bool, Failure> {
    let tables = writer.index.tables();
    let recorded = tables.of(table).recorded();
    let mut conditions: Vec<String> =
        recorded.iter().map(|column| writer.index.shows(&column.as_text(writer.index.text_type()))).collect();
    let is_recorded = |name: &str| recorded.iter().any(|column: &&Column| column.name == name);
    // Derived columns are recomputed whenever any program adds a row below.
    let is_derived = |name: &str| matches!(name, "instances" | "modalities");
    let is_left = |name: &str| !is_recorded(name) && !is_derived(name);
    for column in writer.index.stored_columns(table.name())?.iter().filter(|column| is_left(&column.name)) {
        let text = format!("CAST(`{}` AS {})", column.name, writer.index.text_type());
        conditions.push(format!("(`{}` IS NULL OR {text} IN ('', '0'))", column.name));
    }
    let values: Vec<Option<&str>> = [Some(key)].iter().chain(shown).copied().collect();
    let sql = format!(
        "DELETE FROM `{}` WHERE `{}` = ? AND {} AND {condition}",
        table.name(),
        tables.key(table),
        conditions.join(" AND ")
    );
    writer.index.execute(&sql, &values)?;
    let look = Look { view: View::Now, show: Show::Nothing };
    Ok(writer.index.find(table, &[key], look)?.is_empty())
}

/// Whether a row was removed. Removing it again changes nothing, so only the last attempt counts.
struct Removed(bool);

impl crate::index::patience::Redone for Removed {
    fn after(self, _: Option<Self>) -> Self {
        self
    }
}
