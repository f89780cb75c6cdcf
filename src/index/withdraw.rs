//! Patients with a suffix that this program has inserted and that no study needs any more: with the files of a later run,
//! their names turned out to be those of another patient.
//!
//! A row is removed only if each of its columns holds what this program has written, or nothing, and if nothing links to
//! the row. The statement that removes the row checks both.

use super::batch::Writer;
use super::column::Column;
use super::settlement::{Finding, Settlement};
use super::{Existing, Failure, Look, Show, View};
use crate::dicom::{Level, Table};

/// Tables of a PACS that name patients, beside studies and the tables that this program writes.
const USERS: [&str; 4] = ["otherpatientids", "worklist", "matchworklist", "importscan"];

const PATIENT_ID: &str = "patientid";

impl Writer {
    /// Removes the rows that can be removed, and reports the others.
    pub fn withdraw(&mut self, settlement: &Settlement) -> Result<(), Failure> {
        for row in &settlement.abandoned {
            let is_removed = self.in_transaction(|writer| writer.try_to_withdraw(row).map(Removed))?;
            if !is_removed.0 {
                let detail = "a row of this program for a patient without a study was changed or is used, and stays";
                let reason = "abandoned-patient";
                self.refused.push(Finding { reason, uid: String::new(), detail: detail.into(), is_note: true });
            }
        }
        Ok(())
    }

    /// Removes a patient with its codes, or neither. A user of the index need not have the right to delete rows, or to read
    /// other tables of the PACS.
    fn try_to_withdraw(&mut self, row: &Existing) -> Result<bool, Failure> {
        if !self.index.tables().is_transactional {
            return Ok(false);
        }
        match self.withdraw_patient(row) {
            Ok(true) => Ok(true),
            Ok(false) | Err(Failure::Denied(_)) => {
                self.index.roll_back()?;
                self.index.begin()?;
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    fn withdraw_patient(&mut self, row: &Existing) -> Result<bool, Failure> {
        let tables = self.index.tables();
        for table in tables.companions(Level::Patient) {
            self.remove_own(table, &row.key, "1 = 1")?;
        }
        let key = format!("`patient`.`{}`", tables.key(Table::Patient));
        let study = tables.of(Table::Study);
        let link = study.column(PATIENT_ID).map_or_else(|| key.clone(), |column| column.compared(&key));
        let mut unused =
            vec![format!("NOT EXISTS (SELECT 1 FROM `study` WHERE `{}` = {link})", study.name(PATIENT_ID))];
        for table in tables.companions(Level::Patient).map(Table::name).chain(USERS) {
            let columns = self.index.stored_columns(table).unwrap_or_default();
            if let Some(column) = columns.iter().find(|column| column.name.eq_ignore_ascii_case(PATIENT_ID)) {
                // Tables of a PACS may have other collations.
                let [one, other] = [format!("`{}`", column.name), key.clone()].map(|text| self.index.as_bytes(&text));
                unused.push(format!("NOT EXISTS (SELECT 1 FROM `{table}` WHERE {one} = {other})"));
            }
        }
        self.remove_own(Table::Patient, &row.key, &unused.join(" AND "))
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
        if !recorded.iter().all(|column| history.owns(&tables, table, column, &row)) {
            return Ok(false);
        }
        let mut conditions: Vec<String> =
            recorded.iter().map(|column| self.index.shows(&column.as_text(self.index.text_type()))).collect();
        let is_recorded = |name: &str| recorded.iter().any(|column: &&Column| column.name == name);
        for column in self.index.stored_columns(table.name())?.iter().filter(|column| !is_recorded(&column.name)) {
            let text = format!("CAST(`{}` AS {})", column.name, self.index.text_type());
            conditions.push(format!("(`{}` IS NULL OR {text} IN ('', '0'))", column.name));
        }
        let shown = recorded.iter().map(|column| row.text_of(&tables, table, column));
        let values: Vec<Option<&str>> = std::iter::once(Some(row.key.as_str())).chain(shown).collect();
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
