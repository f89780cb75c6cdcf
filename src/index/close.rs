//! The closing step: what can only be known when all instances are in the index.
//!
//! Rows that this run inserted were provisional: columns that its instances disagree on are set right, if they still hold
//! what was written. Rows that were there before are filled, or refreshed. `study.modalities` are the distinct
//! modalities of its series, `series.instances` their number: derived below which this run inserted something, or could
//! have in another order of files, and where they are NULL, as a run that was killed leaves them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::batch::{Parents, Writer};
use super::closing_part::{ClosingStudy, Part};
use super::column::Column;
use super::columns::Source;
use super::companion_rows::Put;
use super::corrections::CorrectedRows;
use super::existing::{self, Applied, Mode};
use super::fold::Fold;
use super::known_row::{Row, Series, Study};
use super::patience::Redone;
use super::row_corrections::RowCorrections;
use super::row_history::IntendedRows;
use super::settlement::{Finding, FindingReason, OwnValues, PatientRow, Settlement, State, needs_charset};
use super::{Derive, Derived, Existing, Failure, Look, Show, Value, View};
use crate::dicom::attributes::is_of_the_name;
use crate::dicom::{Level, Table, packed};

/// What instances say of a row that was there.
#[derive(Clone, Copy)]
struct Says<'a> {
    fold: &'a Fold,
    received: Option<&'a str>,
    /// The name in the row is not to be completed by theirs.
    not_the_name: bool,
}

/// What became of a part of the rows.
#[derive(Default)]
struct Done {
    inserted: u64,
    updated: u64,
    codes: Vec<(Table, Put)>,
}

impl Redone for Done {
    fn after(mut self, first: Option<Self>) -> Self {
        let Some(first) = first else { return self };
        self.inserted = self.inserted.max(first.inserted);
        self.updated = self.updated.max(first.updated);
        let codes = self.codes.into_iter().zip(first.codes);
        self.codes = codes.map(|((table, put), (_, first))| (table, put.after(Some(first)))).collect();
        self
    }
}

impl Writer {
    /// Writes the final values of some rows, in one transaction.
    pub fn close(&mut self, settlement: &Settlement, part: &Part) -> Result<(), Failure> {
        let level = match part {
            Part::Patients(_) => Level::Patient,
            Part::Studies(_) => Level::Study,
            Part::Series(_) => Level::Series,
        };
        let Done { inserted, updated, codes } = self.in_transaction(|writer| {
            // The mark of the commit belongs to the last frame of the writer, which is thus one of this transaction.
            writer.intend(IntendedRows::new(level.table(), &[]))?;
            let done = match part {
                Part::Patients(patients) => writer.close_patients(settlement, patients),
                Part::Studies(studies) => writer.close_studies(settlement, studies),
                Part::Series(series) => writer.close_series(settlement, series),
            }?;
            writer.recorder.as_ref().map_or(Ok(()), |recorder| recorder.make_durable())?;
            Ok(done)
        })?;
        self.recorder.iter().for_each(|recorder| recorder.record_commit(self.number));
        *self.inserted.of(level) += inserted;
        *self.updated.of(level) += updated;
        codes.iter().for_each(|(table, put)| self.companions.add(*table, put));
        Ok(())
    }

    fn close_patients(&mut self, settlement: &Settlement, part: &[PatientRow]) -> Result<Done, Failure> {
        let tables = self.index.tables();
        let shape = settlement.shapes[Level::Patient as usize].own();
        let mut done = Done::default();
        let mut there = Vec::new();
        let mut corrections = Vec::new();
        let edited = self.edited_patients(part)?;
        for patient in part {
            match &patient.state {
                State::Ours { values: own_values, spelled } => {
                    let values = own(&patient.fold, shape);
                    let mut row = RowCorrections::of_attributes(&tables, spelled, own_values, shape, &patient.fold);
                    let term = |said: &[Value<'_>]| match needs_charset(said) {
                        true => Value::Text(tables.charset_term()),
                        false => Value::Null,
                    };
                    let written = own_values.inserted();
                    let written: Vec<Value> = written.into_iter().flat_map(|values| packed::values(values)).collect();
                    let written = &written[..written.len().min(shape.len())];
                    row.add(tables.of(Table::Patient).column("charset"), term(written), term(&values));
                    row.add(tables.of(Table::Patient).column("origid"), Value::Text(spelled), Value::Text(&patient.id));
                    corrections.push(row);
                    // A run that goes on finds rows of its own in which values are missing.
                    let is_filled = self.continues
                        || self.policy.mode == Mode::Refresh && matches!(own_values, OwnValues::EarlierRun { .. });
                    there.extend(is_filled.then_some(patient));
                }
                State::New => done.inserted += u64::from(self.insert_patient(settlement, patient)?),
                State::There if patient.is_completed && !edited.contains(&*patient.id) => {
                    corrections.push(patient.completion(&tables, shape));
                }
                State::There => there.push(patient),
            }
        }
        let shared = self.guard_names(settlement, &mut corrections)?;
        let is_settled = |patient: &&PatientRow| match &patient.state {
            State::Ours { spelled, .. } => !shared.contains(&**spelled),
            State::There | State::New => true,
        };
        there.retain(is_settled);
        let keys: Vec<&str> = there.iter().map(|patient| &*patient.id).collect();
        let identities: Vec<String> = self.index.identities(&keys)?;
        for row in self.shown(Level::Patient, &keys)? {
            let Some(at) = identities.iter().position(|identity| *identity == row.identity) else { continue };
            let patient = there[at];
            let mode = if edited.contains(&*patient.id) { Mode::Fill } else { self.policy.mode };
            let says =
                Says { fold: &patient.fold, received: None, not_the_name: patient.is_renamed && mode != Mode::Refresh };
            done.updated += self.bring_up(settlement, Level::Patient, &row, mode, says)?;
        }
        let corrected = self.correct_rows(Level::Patient, corrections, |_, _| Derived::Unchanged)?;
        done.updated += corrected.of_earlier_runs;
        let settled: Vec<&PatientRow> = part.iter().filter(is_settled).collect();
        done.codes = self.write_codes(settlement, &settled, &edited)?;
        Ok(done)
    }

    /// The IDs of patients of whom the PACS has edited a study, or is about to, among rows that were there.
    fn edited_patients(&mut self, part: &[PatientRow]) -> Result<HashSet<String>, Failure> {
        let is_there = |patient: &&PatientRow| self.continues || matches!(patient.state, State::There);
        let keys: Vec<&str> = part.iter().filter(is_there).map(|patient| &*patient.id).collect();
        // Studies may spell their patient otherwise than the patient's row does.
        let edited = Vec::from_iter(self.edited(Level::Patient, &keys)?);
        if edited.is_empty() {
            return Ok(HashSet::new());
        }
        let edited = self.index.identities(&edited.iter().map(String::as_str).collect::<Vec<_>>())?;
        let edited: HashSet<String> = edited.into_iter().collect();
        let identities = self.index.identities(&keys)?;
        let with_identity = keys.iter().zip(identities);
        Ok(with_identity.filter(|(_, identity)| edited.contains(identity)).map(|(id, _)| (*id).to_owned()).collect())
    }

    /// Whether a row is filled or refreshed like one that another program inserted. Corrections fill rows of this program.
    fn is_filled(&self, row: &Row) -> bool {
        self.continues || !row.is_ours() || self.policy.mode == Mode::Refresh && !row.is_of_this_run()
    }

    /// A patient whose name sets it apart. Returns whether the row was not there.
    fn insert_patient(&mut self, settlement: &Settlement, patient: &PatientRow) -> Result<bool, Failure> {
        let look = Look { view: View::Now, show: Show::Nothing };
        if let Some(row) = self.index.find(Table::Patient, &[&patient.id], look)?.first() {
            return Ok(self.continues || self.is_left(Table::Patient, &row.key));
        }
        let tables = self.index.tables();
        let attributes = settlement.shapes[Level::Patient as usize].own();
        let said = own(&patient.fold, attributes);
        let said_of = |attribute| attributes.iter().position(|a| *a == attribute).map(|n| said[n]);
        let columns = tables.of(Level::Patient).columns.iter();
        let values: Vec<Value> = columns
            .map(|column| {
                column.blank(match column.source {
                    Source::Attribute(_) if column.known == "origid" => Value::Text(&patient.id),
                    Source::Attribute(attribute) => said_of(attribute).unwrap_or(Value::Null),
                    Source::Charset if needs_charset(&said) => Value::Text(tables.charset_term()),
                    Source::Zero => Value::Integer(0),
                    _ => Value::Null,
                })
            })
            .collect();
        let recorded = tables.of(Table::Patient).recorded();
        let mut intended = IntendedRows::new(Table::Patient, &recorded);
        let written = tables.of(Table::Patient).columns.iter().zip(&values);
        let written = written.filter(|(column, _)| recorded.iter().any(|known| known.name == column.name));
        intended.push(&patient.id, true, written.map(|(_, value)| *value));
        self.intend(intended)?;
        match self.index.insert(Table::Patient, 1, &values) {
            Ok(()) => Ok(true),
            Err(Failure::Duplicate) => Ok(false),
            Err(Failure::Refused(_)) => self.insert_bare_patient(&values),
            Err(failure) => Err(failure),
        }
    }

    /// A patient of which the database refuses some value gets a row with its ID and name alone: without one its
    /// studies would have none.
    fn insert_bare_patient(&mut self, values: &[Value<'_>]) -> Result<bool, Failure> {
        let tables = self.index.tables();
        let is_kept = |column: &Column| {
            matches!(column.known, "origid" | "lastname" | "firstname")
                || !matches!(column.source, Source::Attribute(_))
        };
        let columns = tables.of(Level::Patient).columns.iter();
        let bare: Vec<Value> = columns
            .zip(values)
            .map(|(column, value)| if is_kept(column) { *value } else { column.blank(Value::Null) })
            .collect();
        let applied = Applied { changed: false, refused: vec!["origid".into()] };
        match self.index.insert(Table::Patient, 1, &bare) {
            Ok(()) => Ok(true),
            Err(Failure::Duplicate) => Ok(false),
            Err(Failure::Refused(_)) => {
                self.note_refused(Table::Patient, "", &applied);
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    fn close_studies(&mut self, settlement: &Settlement, part: &[ClosingStudy]) -> Result<Done, Failure> {
        let studies: HashMap<&str, &Study> = part.iter().map(|row| (&*row.key, &row.study)).collect();
        let mut done = Done::default();
        let keys: Vec<&str> = part.iter().map(|row| &*row.key).collect();
        let edited = self.edited(Level::Study, &keys)?;
        let is_completed = |key: &str| studies[key].is_completed() && !edited.contains(key);
        // A PACS leaves the derived columns of its own rows NULL.
        let may_derive = |key: &&str| studies[*key].row.is_ours() || !studies[*key].is_unfinished || is_completed(key);
        let is_open = |key: &str| studies[key].open || settlement.known.lock().is_reopened(key);
        let (open, others) =
            keys.iter().copied().filter(may_derive).partition::<Vec<_>, _>(|key| is_open(key) || is_completed(key));
        // A study without any modality has none, whatever was derived before all its series were known.
        let mut modalities: Modalities = open.iter().map(|key| ((*key).to_owned(), BTreeSet::new())).collect();
        modalities.extend(self.modalities(&open, Derive::All)?);
        modalities.extend(self.modalities(&others, Derive::WhereNull)?);
        let is_filled = |key: &&str| self.is_filled(&studies[*key].row) && !is_completed(key);
        let there: Vec<&str> = keys.iter().copied().filter(is_filled).collect();
        for row in self.shown(Level::Study, &there)? {
            let study = studies[row.key.as_str()];
            let is_edited = edited.contains(&row.key) || study.link_differs;
            let mode = if is_edited { Mode::Fill } else { self.policy.mode };
            let says = Says { fold: &study.row.fold, received: Some(study.row.fold.received()), not_the_name: false };
            done.updated += self.bring_up(settlement, Level::Study, &row, mode, says)?;
        }
        // After a refresh, which saves what it overwrites.
        let corrected = part.iter().filter(|row| row.study.row.is_ours() || is_completed(&row.key));
        let CorrectedRows { finished, of_earlier_runs, .. } =
            self.correct_studies(settlement, corrected, &modalities)?;
        done.updated += of_earlier_runs;
        // A study that another program has finished in the meantime keeps its modalities.
        let is_derived = |key: &str| !finished.contains(key) && (is_open(key) || !is_completed(key));
        modalities.retain(|key, _| is_derived(key));
        self.set_modalities(&modalities)?;
        Ok(done)
    }

    /// Corrects studies of this program, and those that are completed.
    fn correct_studies<'s>(
        &mut self,
        settlement: &'s Settlement,
        part: impl Iterator<Item = &'s ClosingStudy>,
        modalities: &Modalities,
    ) -> Result<CorrectedRows, Failure> {
        let tables = self.index.tables();
        let columns = tables.of(Table::Study);
        let shape = settlement.shapes[Level::Study as usize].own();
        let mut corrections = Vec::new();
        for ClosingStudy { key, study, patient } in part {
            let Some(values) = &study.row.own else { continue };
            let mut row = RowCorrections::of_attributes(&tables, key, values, shape, &study.row.fold);
            let received = Value::Text(study.row.fold.received());
            row.add(columns.column("received"), Value::Text(&study.received), received);
            let link = columns.column("patientid").filter(|_| study.row.is_ours());
            row.add(link, Value::Text(&study.patient), Value::Text(patient));
            corrections.push(row);
        }
        let texts: HashMap<&str, String> =
            corrections.iter().filter_map(|row| Some((row.key, text_of(modalities.get(row.key)?)))).collect();
        self.correct_rows(Level::Study, corrections, |key, _| {
            texts.get(key).map_or(Derived::Unchanged, |text| Derived::Modalities(text))
        })
    }

    /// The distinct modalities of studies that have series with one.
    pub(super) fn modalities(&mut self, studies: &[&str], which: Derive) -> Result<Modalities, Failure> {
        let mut modalities = Modalities::new();
        for (study, modality) in self.index.modalities(studies, which)? {
            modalities.entry(study).or_default().insert(modality);
        }
        Ok(modalities)
    }

    /// Few studies differ in their modalities: one statement serves all studies with the same ones.
    pub(super) fn set_modalities(&mut self, modalities: &Modalities) -> Result<(), Failure> {
        let mut studies: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (study, distinct) in modalities {
            studies.entry(text_of(distinct)).or_default().push(study);
        }
        studies.iter().try_for_each(|(modalities, studies)| self.index.set_modalities(studies, modalities))
    }

    fn close_series<'p>(&mut self, settlement: &Settlement, part: &'p [(Arc<str>, Series)]) -> Result<Done, Failure> {
        let series: HashMap<&str, &Series> = part.iter().map(|(key, series)| (&**key, series)).collect();
        let keys: Vec<&str> = part.iter().map(|(key, _)| &**key).collect();
        let mut updated = 0;
        let is_completed = |key: &str| series[key].is_completed(&settlement.known.lock());
        let tables = self.index.tables();
        let shape = settlement.shapes[Level::Series as usize].attributes();
        let correction = |key: &'p str, one: &'p Series| {
            let row = &one.row;
            let values = row.own.as_ref().filter(|_| row.is_ours() || is_completed(key))?;
            Some(RowCorrections::of_attributes(&tables, key, values, shape, &row.fold))
        };
        let is_filled = |key: &&str| self.is_filled(&series[*key].row) && !is_completed(key);
        let there: Vec<&str> = keys.iter().copied().filter(is_filled).collect();
        for row in self.shown(Level::Series, &there)? {
            let one = series[row.key.as_str()];
            let is_edited = one.link_differs || settlement.known.lock().is_kept(&one.study);
            let mode = if is_edited { Mode::Fill } else { self.policy.mode };
            let says = Says { fold: &one.row.fold, received: None, not_the_name: false };
            updated += self.bring_up(settlement, Level::Series, &row, mode, says)?;
        }
        let corrections = part.iter().filter_map(|(key, one)| correction(key, one)).collect();
        let derived = |key: &str, row: &Existing| match row.is_unfinished || series[key].open || is_completed(key) {
            true => Derived::Instances,
            false => Derived::Unchanged,
        };
        let corrected = self.correct_rows(Level::Series, corrections, derived)?;
        let CorrectedRows { finished, stale, of_earlier_runs } = corrected;
        let of_earlier_run = stale.iter().filter_map(|key| series.get(key.as_str()).copied());
        let is_listed = |series: &&Series| self.is_interleaved || !series.row.is_of_this_run();
        of_earlier_run.filter(is_listed).for_each(|series| settlement.note_stale(series));
        let may_derive = |key: &&str| series[*key].row.is_ours() || !series[*key].is_unfinished || is_completed(key);
        let (mut open, others) =
            keys.iter().copied().filter(may_derive).partition::<Vec<_>, _>(|key| series[*key].open);
        open.retain(|key| !finished.contains(*key));
        self.index.count_instances(&open, Derive::All)?;
        self.index.count_instances(&others, Derive::WhereNull)?;
        Ok(Done { updated: updated + of_earlier_runs, ..Done::default() })
    }

    /// Fills or refreshes a row that was there. Returns how many rows changed: none or one.
    fn bring_up(
        &mut self,
        settlement: &Settlement,
        level: Level,
        row: &Existing,
        mode: Mode,
        says: Says<'_>,
    ) -> Result<u64, Failure> {
        let tables = self.index.tables();
        let attributes = settlement.shapes[level as usize].own();
        let said = own(says.fold, attributes);
        let changes = existing::changes(&tables, level, row, mode, |column| match column.source {
            Source::Attribute(n) if says.not_the_name && is_of_the_name(n) => Value::Null,
            Source::Attribute(attribute) => {
                let at = attributes.iter().position(|a| *a == attribute);
                at.and_then(|at| said.get(at).copied()).unwrap_or(Value::Null)
            }
            Source::Received => says.received.map_or(Value::Null, Value::Text),
            Source::Charset if needs_charset(&said) => Value::Text(tables.charset_term()),
            _ => Value::Null,
        });
        if changes.is_empty() {
            return Ok(0);
        }
        let applied = existing::update(&mut *self.index, &mut self.pending, level.table(), row, &changes)?;
        self.note_refused(level, &row.key, &applied);
        Ok(applied.changed.into())
    }

    /// Columns that the database did not let be changed. Keys of patients are not told.
    pub(super) fn note_refused(&mut self, table: impl Into<Table>, key: &str, applied: &Applied) {
        let table = table.into();
        let uid = if table.level() == Level::Patient { String::new() } else { key.to_owned() };
        self.refused.extend(applied.refused.iter().map(|column| Finding {
            reason: FindingReason::RefusedByIndex,
            uid: uid.clone(),
            detail: format!("the database does not let {}.{column} be changed", table.name()),
            is_note: false,
        }));
    }

    fn shown(&mut self, level: Level, keys: &[&str]) -> Result<Vec<Existing>, Failure> {
        let show = match self.policy.mode {
            Mode::Fill | Mode::Complete => Show::Nulls,
            Mode::Refresh => Show::Values,
        };
        self.index.find(level.table(), keys, Look { view: View::Begun, show })
    }

    fn edited(&mut self, level: Level, keys: &[&str]) -> Result<HashSet<String>, Failure> {
        Ok(match self.policy.mode {
            Mode::Fill => HashSet::new(),
            Mode::Refresh | Mode::Complete => self.index.edited(level, keys)?.into_iter().collect(),
        })
    }
}

/// What instances say for the level's own table.
fn own<'a>(fold: &'a Fold, shape: &[usize]) -> Vec<Value<'a>> {
    let mut said = fold.values();
    said.truncate(shape.len());
    said
}

/// The distinct modalities of each study.
type Modalities = BTreeMap<String, BTreeSet<String>>;

/// The value of `study.modalities`, as PacsOne separates them.
fn text_of(modalities: &BTreeSet<String>) -> String {
    modalities.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

impl Parents {
    pub fn total(&self) -> u64 {
        self.patients + self.studies + self.series
    }
}
