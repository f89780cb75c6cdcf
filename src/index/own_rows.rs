//! Which of the rows that a run finds this program has inserted in an earlier run.
//!
//! A study or series that was linked to another row since belongs to the program that linked it. A patient belongs to others
//! once its name was edited, or once a study is linked to it that this program has not inserted: its name is fixed then.

use std::collections::{HashMap, HashSet};

use super::batch::Writer;
use super::column::Column;
use super::columns::Source;
use super::{Existing, Failure, LinkedStudy, Look, Show, View, link};
use crate::dicom::attributes::{position, value_of};
use crate::dicom::{Level, Table};

impl Writer {
    /// Notes on rows that were found what the ledger has of them, if they are rows of this program.
    pub(super) fn learn_histories(&mut self, level: Level, rows: &mut [Existing]) -> Result<(), Failure> {
        let Some(recorder) = self.recorder.clone() else { return Ok(()) };
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let histories = recorder.histories(level.table(), &keys)?;
        if level == Level::Patient {
            for (row, history) in rows.iter_mut().zip(histories) {
                row.history = history;
            }
            let known = self.known.clone();
            return self.keep_own_patients(rows, &|study| known.lock().is_ours(Level::Study, &study.study));
        }
        let tables = self.index.tables();
        let column = link(level.table()).and_then(|link| tables.of(level).column(link));
        for (row, history) in rows.iter_mut().zip(histories) {
            let is_own = |history: &super::row_history::RowHistory| {
                history.is_inserted(row.is_unfinished)
                    && column.is_none_or(|column| history.owns(&tables, level.table(), column, row))
            };
            row.history = history.filter(|history| is_own(history));
        }
        Ok(())
    }

    /// Takes back what was noted on patients that others use, or whose name was edited. `is_ours` returns whether this run
    /// knows a study as one of this program.
    fn keep_own_patients(
        &mut self,
        rows: &mut [Existing],
        is_ours: &dyn Fn(&LinkedStudy) -> bool,
    ) -> Result<(), Failure> {
        let keys: Vec<String> = rows.iter().filter(|row| row.history.is_some()).map(|row| row.key.clone()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let uses = self.uses_of(&keys, is_ours)?;
        let look = Look { view: View::Begun, show: Show::Values };
        let shown: HashMap<String, Existing> =
            self.index.find(Table::Patient, &keys, look)?.into_iter().map(|row| (row.key.clone(), row)).collect();
        let tables = self.index.tables();
        let name = value_of(position(Table::Patient, "lastname"));
        let is_of_the_name = |column: &&Column| matches!(column.source, Source::Attribute(n) if value_of(n) == name);
        let names: Vec<&Column> = tables.of(Table::Patient).columns.iter().filter(is_of_the_name).collect();
        for row in rows {
            let (is_unfinished, is_shared) = uses.get(&row.identity).copied().unwrap_or_default();
            row.is_unfinished = is_unfinished;
            let shown = shown.get(&row.key).map(|shown| Existing { is_unfinished, ..shown.clone() });
            row.history = row.history.take().filter(|history| {
                let owns = |column: &&Column| {
                    shown.as_ref().is_some_and(|shown| history.owns(&tables, Table::Patient, column, shown))
                };
                !is_shared && history.is_inserted(is_unfinished) && names.iter().all(owns)
            });
        }
        Ok(())
    }

    /// Of each of these patients, by identity, whether a study is unfinished, and whether a study is not of this program.
    fn uses_of(
        &mut self,
        patients: &[&str],
        is_ours: &dyn Fn(&LinkedStudy) -> bool,
    ) -> Result<HashMap<String, (bool, bool)>, Failure> {
        let studies = self.index.studies_of(patients, View::Begun)?;
        let links: Vec<&str> = studies.iter().map(|study| study.patient.as_str()).collect();
        self.learn_identities(&links)?;
        let foreign = self.foreign_studies(&studies, is_ours)?;
        let known = self.known.lock();
        let mut uses: HashMap<String, (bool, bool)> = HashMap::new();
        for study in &studies {
            let Some(identity) = known.identities.get(study.patient.as_str()) else { continue };
            let (is_unfinished, is_shared) = uses.entry(identity.to_string()).or_default();
            *is_unfinished |= study.is_unfinished;
            *is_shared |= foreign.contains(&study.study);
        }
        Ok(uses)
    }

    /// The patients among these that have an unfinished study.
    pub(super) fn unfinished_patients<'p>(&mut self, patients: &[&'p str]) -> Result<HashSet<&'p str>, Failure> {
        let studies = self.index.studies_of(patients, View::Begun)?;
        let unfinished = self.patients_of(studies.iter().filter(|study| study.is_unfinished))?;
        let identities = self.index.identities(patients)?;
        let with_identity = patients.iter().zip(identities);
        Ok(with_identity.filter(|(_, identity)| unfinished.contains(identity)).map(|(patient, _)| *patient).collect())
    }

    /// The identities of the patients that studies are linked to.
    pub(super) fn patients_of<'s>(
        &mut self,
        studies: impl Iterator<Item = &'s LinkedStudy>,
    ) -> Result<HashSet<String>, Failure> {
        let links: Vec<&str> = studies.map(|study| study.patient.as_str()).collect();
        Ok(self.index.identities(&links)?.into_iter().collect())
    }

    /// The studies among these that this program has not inserted.
    pub(super) fn foreign_studies(
        &mut self,
        studies: &[LinkedStudy],
        is_ours: &dyn Fn(&LinkedStudy) -> bool,
    ) -> Result<HashSet<String>, Failure> {
        let mut others: Vec<&LinkedStudy> = studies.iter().filter(|study| !is_ours(study)).collect();
        if let Some(recorder) = &self.recorder {
            let keys: Vec<&str> = others.iter().map(|study| study.study.as_str()).collect();
            let mut histories = recorder.histories(Table::Study, &keys)?.into_iter();
            others.retain(|study| {
                let history = histories.next().flatten();
                !history.is_some_and(|history| history.is_inserted(study.is_unfinished))
            });
        }
        Ok(others.into_iter().map(|study| study.study.clone()).collect())
    }
}
