//! Rows that this program has inserted and that nothing needs any more: patients with a suffix that no study has, and rows that
//! no indexed file names.
//!
//! A row is removed only if each of its columns holds what this program has written, or nothing, and if nothing links to
//! the row. The statement that removes the row checks both.

use std::sync::Arc;

use super::batch::Writer;
use super::column::Column;
use super::fold_again::Ghost;
use super::settlement::{Finding, FindingReason, Settlement};
use super::{Failure, Look, Show, View, link};
use crate::dicom::{Level, Table};

/// The names of the columns by which tables of a PACS refer to rows of a level; the last ones are those before version 6.2.1.
fn reference_columns(level: Level) -> &'static [&'static str] {
    match level {
        Level::Patient => &["patientid", "uuid", "uid"],
        Level::Study => &["studyuid", "uuid", "uid"],
        Level::Series | Level::Instance => &["seriesuid", "uuid", "uid"],
    }
}

/// A column of another table that may refer to a row.
pub(super) struct Reference {
    table: String,
    column: String,
}

impl Writer {
    /// Lets the ledger know which values this run has written to ghosts and to the codes of patients that were folded again.
    pub(super) fn learn_ghosts(&mut self, ghosts: &[Ghost], displaced: &[Arc<str>]) -> Result<(), Failure> {
        let Some(recorder) = self.recorder.clone() else { return Ok(()) };
        let tables = self.index.tables();
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
    pub fn withdraw(&mut self, settlement: &Settlement) -> Result<(), Failure> {
        for row in &settlement.abandoned {
            if !self.withdraw_row(Level::Patient, &row.key)? {
                let detail = "a row of this program for a patient without a study was changed or is used, and stays";
                let reason = FindingReason::AbandonedPatient;
                self.refused.push(Finding { reason, uid: String::new(), detail: detail.into(), is_note: true });
            }
        }
        Ok(())
    }

    /// Removes the ghosts of a level that can be removed, and reports the others.
    pub fn withdraw_ghosts(&mut self, settlement: &Settlement, level: Level) -> Result<(), Failure> {
        for ghost in settlement.ghosts.iter().filter(|ghost| ghost.level == level) {
            if !self.withdraw_row(level, &ghost.key)? {
                let uid = if level == Level::Patient { String::new() } else { ghost.key.clone() };
                let detail = format!(
                    "a row of this program in {} that no indexed file names was changed or is used, and stays",
                    level.table().name()
                );
                self.refused.push(Finding { reason: FindingReason::RowWithoutFile, uid, detail, is_note: true });
            }
        }
        Ok(())
    }

    /// Removes the code of a patient that no indexed file has, if this program has written the code.
    pub(super) fn remove_code(&mut self, table: Table, key: &str) -> Result<(), Failure> {
        match self.remove_own(table, key, "1 = 1") {
            Ok(_) | Err(Failure::Denied(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Returns whether no row of this key is left.
    fn withdraw_row(&mut self, level: Level, key: &str) -> Result<bool, Failure> {
        Ok(self.in_transaction(|writer| writer.try_to_withdraw(level, key).map(Removed))?.0)
    }

    /// Removes a row with its companions, or neither. A user of the index need not have the right to delete rows, or to read
    /// other tables of the PACS.
    fn try_to_withdraw(&mut self, level: Level, key: &str) -> Result<bool, Failure> {
        match self.remove_with_companions(level, key) {
            Ok(true) => Ok(true),
            Ok(false) | Err(Failure::Denied(_)) => {
                self.index.roll_back()?;
                self.index.begin()?;
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    fn remove_with_companions(&mut self, level: Level, key: &str) -> Result<bool, Failure> {
        let tables = self.index.tables();
        // Without transactions, a row that has companions stays: it cannot be removed together with them.
        for table in tables.companions(level).filter(|_| tables.is_transactional) {
            self.remove_own(table, key, "1 = 1")?;
        }
        let own_key = format!("`{}`.`{}`", level.table().name(), tables.key(level.table()));
        let mut unused = Vec::from_iter(self.without_children(level, &own_key));
        for Reference { table, column } in self.references(level)?.iter() {
            // Tables of a PACS may have other collations.
            let [one, other] = [format!("`{column}`"), own_key.clone()].map(|text| self.index.as_bytes(&text));
            unused.push(format!("NOT EXISTS (SELECT 1 FROM `{table}` WHERE {one} = {other})"));
        }
        self.remove_own(level.table(), key, &unused.join(" AND "))
    }

    /// A condition that is true if no row of the level below is linked to a row.
    fn without_children(&self, level: Level, key: &str) -> Option<String> {
        let child = match level {
            Level::Patient => Table::Study,
            Level::Study => Table::Series,
            Level::Series => Table::Image,
            Level::Instance => return None,
        };
        let tables = self.index.tables();
        let (columns, known) = (tables.of(child), link(child)?);
        let is_linked = columns.column(known).map_or_else(|| key.to_owned(), |column| column.compared(key));
        let (child, name) = (child.name(), columns.name(known));
        Some(format!("NOT EXISTS (SELECT 1 FROM `{child}` WHERE `{name}` = {is_linked})"))
    }

    /// The columns of tables beside the core tables that may refer to rows of a level.
    fn references(&mut self, level: Level) -> Result<Arc<[Reference]>, Failure> {
        if let Some(known) = &self.references[level as usize] {
            return Ok(known.clone());
        }
        let is_core =
            |table: &String| super::LEVELS.iter().any(|level| table.eq_ignore_ascii_case(level.table().name()));
        let mut found = Vec::new();
        for table in self.index.table_names()?.into_iter().filter(|table| !is_core(table)) {
            let columns = self.index.stored_columns(&table)?.into_iter().map(|column| column.name);
            let refers = |name: &String| reference_columns(level).iter().any(|known| name.eq_ignore_ascii_case(known));
            found.extend(columns.filter(refers).map(|column| Reference { table: table.clone(), column }));
        }
        let found: Arc<[Reference]> = found.into();
        self.references[level as usize] = Some(found.clone());
        Ok(found)
    }

    /// Removes a row of this program if each of its columns holds the value that this program has written, and a condition
    /// is true. Returns whether no row of this key is left.
    fn remove_own(&mut self, table: Table, key: &str, condition: &str) -> Result<bool, Failure> {
        let look = Look { view: View::Now, show: Show::Values };
        let Some(row) = self.index.find(table, &[key], look)?.pop() else { return Ok(true) };
        let Some(recorder) = &self.recorder else { return Ok(false) };
        let Some(history) = recorder.histories(table, &[&row.key])?.pop().flatten() else { return Ok(false) };
        let tables = self.index.tables();
        let recorded = tables.of(table).recorded();
        // Later versions of a row do not repeat the key.
        let mut values = recorded.iter().filter(|column| column.known != table.key());
        if !values.all(|column| history.owns(&tables, table, column, &row)) {
            return Ok(false);
        }
        let shown: Vec<Option<&str>> = recorded.iter().map(|column| row.text_of(&tables, table, column)).collect();
        self.remove_if_unchanged(table, &row.key, &shown, condition)
    }

    /// Removes a row if its recorded columns show these values and the others nothing, and a condition is true. Returns whether
    /// no row of this key is left.
    pub(super) fn remove_if_unchanged(
        &mut self,
        table: Table,
        key: &str,
        shown: &[Option<&str>],
        condition: &str,
    ) -> Result<bool, Failure> {
        let tables = self.index.tables();
        let recorded = tables.of(table).recorded();
        let mut conditions: Vec<String> =
            recorded.iter().map(|column| self.index.shows(&column.as_text(self.index.text_type()))).collect();
        let is_recorded = |name: &str| recorded.iter().any(|column: &&Column| column.name == name);
        // Derived columns are recounted with each row below, whichever program does it.
        let is_derived = |name: &str| matches!(name, "instances" | "modalities");
        let is_left = |name: &str| !is_recorded(name) && !is_derived(name);
        for column in self.index.stored_columns(table.name())?.iter().filter(|column| is_left(&column.name)) {
            let text = format!("CAST(`{}` AS {})", column.name, self.index.text_type());
            conditions.push(format!("(`{}` IS NULL OR {text} IN ('', '0'))", column.name));
        }
        let values: Vec<Option<&str>> = [Some(key)].iter().chain(shown).copied().collect();
        let sql = format!(
            "DELETE FROM `{}` WHERE `{}` = ? AND {} AND {condition}",
            table.name(),
            tables.key(table),
            conditions.join(" AND ")
        );
        self.index.execute(&sql, &values)?;
        let look = Look { view: View::Now, show: Show::Nothing };
        Ok(self.index.find(table, &[key], look)?.is_empty())
    }
}

/// Whether a row was removed. Removing it again changes nothing.
struct Removed(bool);

impl super::patience::Redone for Removed {
    fn after(self, _: Option<Self>) -> Self {
        self
    }
}
