//! Rows that look unfinished and that the ledger does not have: a PACS leaves the derived columns NULL, and so does a run of
//! this program that was interrupted and whose state was lost. Such rows are counted, and `--existing complete` finishes them.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::batch::{Parents, Writer};
use super::known::Rows;
use super::known_row::{Patient, Row, Series, Study};
use super::names;
use super::row_corrections::RowCorrections;
use super::settlement::{Finding, OwnValues, PatientRow, State};
use super::{Existing, Failure, Look, Show, Tables, Value, View};
use crate::dicom::{Level, Table};

impl Row {
    /// Whether the row is not this program's, as far as the ledger knows, looks unfinished, and is to be completed.
    pub fn is_to_be_completed(&self) -> bool {
        matches!(self.own, Some(OwnValues::OfFiles))
    }
}

impl Study {
    /// Whether the row is completed. A study that the PACS edits, or that it has given to another patient, is only filled.
    pub fn is_completed(&self) -> bool {
        self.row.is_to_be_completed() && self.link_agrees && !self.edited
    }
}

impl Series {
    /// Whether the row is completed. A series of a study that is only filled is only filled as well.
    pub fn is_completed(&self, rows: &Rows) -> bool {
        let may_complete = |study: &Study| study.link_agrees && !study.edited;
        self.row.is_to_be_completed() && self.link_agrees && rows.studies.get(&self.study).is_none_or(may_complete)
    }
}

impl PatientRow {
    /// The final values of a row that is completed. A name that files do not say is fixed.
    pub(super) fn completion<'a>(&'a self, tables: &'a Tables, shape: &[usize]) -> RowCorrections<'a> {
        let mut row = RowCorrections::of_attributes(tables, &self.id, &OwnValues::OfFiles, shape, &self.fold)
            .replacing(&self.said);
        if self.is_renamed {
            row.leave_name();
        }
        row.add(tables.of(Table::Patient).column("charset"), Value::Null, Value::Text(tables.charset_term()));
        row
    }
}

impl Rows {
    /// The number of rows that look unfinished, that are not this program's, and that are not completed.
    pub fn left_unfinished(&self, patients: &[PatientRow]) -> Parents {
        let studies = self.studies.values().filter(|study| study.is_unfinished && !study.row.is_ours());
        let studies: Vec<&Study> = studies.filter(|study| !study.is_completed()).collect();
        let series = self.series.values().filter(|series| series.is_unfinished && !series.row.is_ours());
        let series = series.filter(|series| !series.is_completed(self)).count();
        let identity = |id: &str| self.identities.get(id);
        let linked: HashSet<_> = studies.iter().filter_map(|study| identity(&study.patient)).collect();
        let is_there = |patient: &&PatientRow| matches!(patient.state, State::There);
        let patients = patients.iter().filter(is_there).filter_map(|patient| identity(&patient.id));
        let patients: HashSet<_> = patients.filter(|patient| linked.contains(patient)).collect();
        Parents { patients: patients.len() as u64, studies: studies.len() as u64, series: series as u64 }
    }

    fn not_ours(&self, level: Level) -> Vec<String> {
        let keys: Vec<&str> = match level {
            Level::Patient => self.patients.values().filter(|patient| !patient.ours).map(|one| &*one.id).collect(),
            Level::Study => self.studies.iter().filter(|(_, one)| !one.row.is_ours()).map(|(key, _)| &**key).collect(),
            Level::Series => self.series.iter().filter(|(_, one)| !one.row.is_ours()).map(|(key, _)| &**key).collect(),
            Level::Instance => Vec::new(),
        };
        keys.into_iter().map(str::to_owned).collect()
    }

    fn learn_owner(&mut self, level: Level, row: &Existing) {
        let completes = self.completes;
        match level {
            Level::Patient => {
                if let Some(patient) = self.patients.get_mut(row.identity.as_str()).filter(|patient| !patient.ours) {
                    patient.learn_owner(row, completes);
                }
            }
            Level::Study => {
                if let Some(study) = self.studies.get_mut(row.key.as_str()).filter(|study| !study.row.is_ours()) {
                    study.is_unfinished = row.is_unfinished;
                    study.row.learn_owner(row, completes);
                }
            }
            Level::Series => {
                if let Some(series) = self.series.get_mut(row.key.as_str()).filter(|series| !series.row.is_ours()) {
                    series.is_unfinished = row.is_unfinished;
                    series.row.learn_owner(row, completes);
                }
            }
            Level::Instance => {}
        }
    }
}

impl Patient {
    fn learn_owner(&mut self, row: &Existing, completes: bool) {
        self.history.clone_from(&row.history);
        self.ours = self.history.is_some();
        self.is_unfinished = row.is_unfinished;
        self.is_completed = completes && !self.ours && row.is_unfinished;
    }
}

/// The number of rows that are looked up at a time.
const PORTION: usize = 500;

impl Writer {
    /// Looks again at the rows that a run which is continued has found: batches do not record whose they are, and whether they
    /// are finished.
    pub fn learn_owners(&mut self) -> Result<(), Failure> {
        let levels = [Level::Series, Level::Study, Level::Patient];
        for level in levels {
            let keys = self.known.lock().not_ours(level);
            for part in keys.chunks(PORTION) {
                let part: Vec<&str> = part.iter().map(String::as_str).collect();
                self.patiently(|writer| {
                    let look = Look { view: View::Begun, show: Show::Nothing };
                    let mut found = writer.index.find(level.table(), &part, look)?;
                    writer.learn_histories(level, &mut found)?;
                    if level == Level::Patient && writer.known.lock().completes {
                        writer.learn_unfinished_patients(&mut found)?;
                    }
                    let mut known = writer.known.lock();
                    found.iter().for_each(|row| known.learn_owner(level, row));
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Notes on patients that are not this program's whether one of their studies looks unfinished and is not this program's
    /// either.
    pub(super) fn learn_unfinished_patients(&mut self, rows: &mut [Existing]) -> Result<(), Failure> {
        let keys: Vec<String> = rows.iter().filter(|row| row.history.is_none()).map(|row| row.key.clone()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut studies = self.index.studies_of(&keys, View::Begun)?;
        studies.retain(|study| study.is_unfinished);
        let known = self.known.clone();
        let foreign = self.foreign_studies(&studies, &|study| known.lock().is_ours(Level::Study, &study.study))?;
        let unfinished = self.patients_of(studies.iter().filter(|study| foreign.contains(&study.study)))?;
        for row in rows.iter_mut().filter(|row| row.history.is_none()) {
            row.is_unfinished = unfinished.contains(&row.identity);
        }
        Ok(())
    }

    /// Reports series and studies that look unfinished and that only files name which were not chosen: the images of these
    /// files are linked to other rows.
    pub(super) fn rows_of_files_not_chosen(&mut self, rows: &Rows) -> Result<Vec<Finding>, Failure> {
        let mut findings = Vec::new();
        for (level, keys) in [(Level::Study, &rows.unlinked[0]), (Level::Series, &rows.unlinked[1])] {
            let keys: Vec<&str> = keys.iter().map(|key| &**key).filter(|key| !rows.knows(level, key)).collect();
            let mut found = self.index.find(level.table(), &keys, Look { view: View::Begun, show: Show::Nothing })?;
            self.learn_histories(level, &mut found)?;
            let unfinished = found.into_iter().filter(|row| row.is_unfinished && row.history.is_none());
            findings.extend(unfinished.map(|row| Finding {
                reason: "file-not-chosen",
                uid: row.key,
                detail: "the row looks unfinished and stays so: the files that name it are not indexed".to_owned(),
                is_note: true,
            }));
        }
        Ok(findings)
    }

    /// Reports studies of rows that are completed whose Patient ID several patients have: which of them has the ID without a
    /// suffix was decided by the run that was lost.
    pub(super) fn studies_with_contested_ids(&mut self, rows: &Rows) -> Result<Vec<Finding>, Failure> {
        if !rows.completes {
            return Ok(Vec::new());
        }
        let completed = rows.studies.values().filter(|study| study.row.is_to_be_completed());
        let completed: BTreeSet<&str> = completed.map(|study| names::base(&study.patient)).collect();
        let earlier = rows.studies.iter().filter(|(_, study)| !study.row.is_of_this_run());
        let bases: BTreeSet<&str> = earlier.clone().map(|(_, study)| names::base(&study.patient)).collect();
        let bases = Vec::from_iter(bases);
        let identities: HashMap<&str, String> = bases.iter().copied().zip(self.index.identities(&bases)?).collect();
        let completed: HashSet<&String> = completed.iter().filter_map(|id| identities.get(id)).collect();
        let variants = self.index.variants(&bases)?;
        let variants: Vec<&str> = variants.iter().map(|row| names::base(&row.key)).collect();
        let contested: HashSet<String> = self.index.identities(&variants)?.into_iter().collect();
        let has_contested_id = |study: &Study| {
            let identity = identities.get(names::base(&study.patient));
            identity.is_some_and(|identity| {
                let has_suffix = names::has_own_suffix(&study.patient);
                completed.contains(identity) && (has_suffix || contested.contains(identity))
            })
        };
        let detail = "several patients have its Patient ID; the study stays with the patient in its row";
        let finding = |uid: &str| Finding {
            reason: "patient-kept",
            uid: uid.to_owned(),
            detail: detail.to_owned(),
            is_note: true,
        };
        Ok(earlier.filter(|(_, study)| has_contested_id(study)).map(|(uid, _)| finding(uid)).collect())
    }
}
