//! The closing step: writes the values that are known only once all instances are in the index.
//!
//! Rows that this run inserted are provisional. If their instances disagree on a column, the
//! closing step corrects the column, provided that the column still contains the value that the run
//! wrote. Existing rows are filled or refreshed. `study.modalities` contains the distinct
//! modalities of the series of a study, and `series.instances` the number of images of a series.
//! These columns are derived for each row below which this run inserted something, or could have
//! done so with another order of files, and for each row in which they are NULL because a run was
//! killed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::closing_part::{ClosingStudy, Part};
use super::corrections::{self, CorrectedRows};
use super::fold::Fold;
use super::known_row::{Row, Series, Study};
use super::modalities::{Modalities, modalities_of, set_modalities, text_of};
use super::own_values::OwnValues;
use super::patient_row::{PatientRow, State, needs_charset};
use super::refusals::note_refused;
use super::row_corrections::RowCorrections;
use super::settlement::Settlement;
use super::writer::Writer;
use super::{companion_rows, intent, new_patients, shared_rows};
use crate::dicom::attributes::is_of_the_name;
use crate::dicom::{Level, Table, packed};

use crate::index::columns::{Source, Tables};
use crate::index::companion_changes::{Parents, Put};
use crate::index::existing::{self, Mode};
use crate::index::patience::Redone;
use crate::index::row_history::IntendedRows;
use crate::index::{Change, Derive, Derived, Existing, Expected, Failure, Look, Show, Value, View};

/// The values of the instances of an existing row.
#[derive(Clone, Copy)]
struct Says<'a> {
    fold: &'a Fold,
    received: Option<&'a str>,
    /// Whether the name in the row must not be completed with parts of the name in the instances.
    not_the_name: bool,
}

/// The changes that the closing step made to the rows of one part.
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

/// Writes the final values of some rows, in one transaction.
pub fn close(writer: &mut Writer, settlement: &Settlement, part: &Part) -> Result<(), Failure> {
    let level = match part {
        Part::Patients(_) => Level::Patient,
        Part::Studies(_) => Level::Study,
        Part::Series(_) => Level::Series,
    };
    let Done { inserted, updated, codes } = writer.in_transaction(|writer| {
        // The commit mark belongs to the last frame of the writer. This call makes that a frame of
        // this transaction.
        intent::intend(writer, IntendedRows::new(level.table(), &[]))?;
        let done = match part {
            Part::Patients(patients) => close_patients(writer, settlement, patients),
            Part::Studies(studies) => close_studies(writer, settlement, studies),
            Part::Series(series) => close_series(writer, settlement, series),
        }?;
        writer.recorder.as_ref().map_or(Ok(()), |recorder| recorder.make_durable())?;
        Ok(done)
    })?;
    writer.recorder.iter().for_each(|recorder| recorder.record_commit(writer.number));
    *writer.inserted.of(level) += inserted;
    *writer.updated.of(level) += updated;
    codes.iter().for_each(|(table, put)| writer.companions.add(*table, put));
    Ok(())
}

fn close_patients(writer: &mut Writer, settlement: &Settlement, part: &[PatientRow]) -> Result<Done, Failure> {
    let tables = writer.index.tables();
    let shape = settlement.shapes[Level::Patient as usize].own();
    let mut done = Done::default();
    let (mut there, mut new) = (Vec::new(), Vec::new());
    let mut corrections = Vec::new();
    let edited = edited_patients(writer, part)?;
    for patient in part {
        match &patient.state {
            State::Ours { values: own_values, spelled } => {
                let values = patient.fold.own_values(shape);
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
                // A resumed run finds rows of its own in which values are missing.
                let is_filled = writer.continues
                    || writer.policy.mode == Mode::Refresh && matches!(own_values, OwnValues::EarlierRun { .. });
                there.extend(is_filled.then_some(patient));
            }
            State::New => new.push(patient),
            State::There if patient.is_completed && !edited.contains(&*patient.id) => {
                corrections.push(patient.completion(&tables, shape));
            }
            State::There => there.push(patient),
        }
    }
    done.inserted += new_patients::insert_patients(writer, settlement, &new)?;
    let shared = shared_rows::guard_names(writer, settlement, &mut corrections)?;
    let is_settled = |patient: &&PatientRow| match &patient.state {
        State::Ours { spelled, .. } => !shared.contains(&**spelled),
        State::There | State::New => true,
    };
    there.retain(is_settled);
    let keys: Vec<&str> = there.iter().map(|patient| &*patient.id).collect();
    let identities: Vec<String> = writer.index.identities(&keys)?;
    for row in shown(writer, Level::Patient, &keys)? {
        let Some(at) = identities.iter().position(|identity| *identity == row.identity) else { continue };
        let patient = there[at];
        let mode = if edited.contains(&*patient.id) { Mode::Fill } else { writer.policy.mode };
        let says =
            Says { fold: &patient.fold, received: None, not_the_name: patient.is_renamed && mode != Mode::Refresh };
        done.updated += bring_up(writer, settlement, Level::Patient, &row, mode, says)?;
    }
    let corrected = corrections::correct_rows(writer, Level::Patient, corrections, |_, _| Derived::Unchanged)?;
    done.updated += corrected.of_earlier_runs;
    let settled: Vec<&PatientRow> = part.iter().filter(is_settled).collect();
    done.codes = companion_rows::write_codes(writer, settlement, &settled, &edited)?;
    Ok(done)
}

/// Returns the IDs of patients with an existing row of whom the PACS has edited a study, or is
/// about to.
fn edited_patients(writer: &mut Writer, part: &[PatientRow]) -> Result<HashSet<String>, Failure> {
    let is_there = |patient: &&PatientRow| writer.continues || matches!(patient.state, State::There);
    let keys: Vec<&str> = part.iter().filter(is_there).map(|patient| &*patient.id).collect();
    // The Patient ID in a study may be spelled differently from the ID in the patient's row.
    let edited = Vec::from_iter(edited(writer, Level::Patient, &keys)?);
    if edited.is_empty() {
        return Ok(HashSet::new());
    }
    let edited = writer.index.identities(&edited.iter().map(String::as_str).collect::<Vec<_>>())?;
    let edited: HashSet<String> = edited.into_iter().collect();
    let identities = writer.index.identities(&keys)?;
    let with_identity = keys.iter().zip(identities);
    Ok(with_identity.filter(|(_, identity)| edited.contains(identity)).map(|(id, _)| (*id).to_owned()).collect())
}

/// Returns whether a row is filled or refreshed like a row that another program inserted. Rows of
/// this program are filled by corrections instead.
fn is_filled(writer: &Writer, row: &Row) -> bool {
    writer.continues || !row.is_ours() || writer.policy.mode == Mode::Refresh && !row.is_of_this_run()
}

fn close_studies(writer: &mut Writer, settlement: &Settlement, part: &[ClosingStudy]) -> Result<Done, Failure> {
    let studies: HashMap<&str, &Study> = part.iter().map(|row| (&*row.key, &row.study)).collect();
    let mut done = Done::default();
    let keys: Vec<&str> = part.iter().map(|row| &*row.key).collect();
    let edited = edited(writer, Level::Study, &keys)?;
    let is_completed = |key: &str| studies[key].is_completed() && !edited.contains(key);
    // A PACS leaves the derived columns of its own rows NULL.
    let may_derive = |key: &&str| studies[*key].row.is_ours() || !studies[*key].is_unfinished || is_completed(key);
    let is_open = |key: &str| studies[key].open || settlement.known.lock().is_reopened(key);
    let (open, others) =
        keys.iter().copied().filter(may_derive).partition::<Vec<_>, _>(|key| is_open(key) || is_completed(key));
    // A study without any modality gets an empty value, whatever was derived before all its series
    // were known.
    let mut modalities: Modalities = open.iter().map(|key| ((*key).to_owned(), BTreeSet::new())).collect();
    modalities.extend(modalities_of(writer, &open, Derive::All)?);
    modalities.extend(modalities_of(writer, &others, Derive::WhereNull)?);
    let is_filled = |key: &&str| is_filled(writer, &studies[*key].row) && !is_completed(key);
    let there: Vec<&str> = keys.iter().copied().filter(is_filled).collect();
    for row in shown(writer, Level::Study, &there)? {
        let study = studies[row.key.as_str()];
        let is_edited = edited.contains(&row.key) || study.link_differs;
        let mode = if is_edited { Mode::Fill } else { writer.policy.mode };
        let says = Says { fold: &study.row.fold, received: Some(study.row.fold.received()), not_the_name: false };
        done.updated += bring_up(writer, settlement, Level::Study, &row, mode, says)?;
    }
    // Corrections come after the refresh, which saves the values that it overwrites.
    let corrected = part.iter().filter(|row| row.study.row.is_ours() || is_completed(&row.key));
    let CorrectedRows { finished, of_earlier_runs, .. } = correct_studies(writer, settlement, corrected, &modalities)?;
    done.updated += of_earlier_runs;
    // If another program has finished a study since, the study keeps its modalities.
    let is_derived = |key: &str| !finished.contains(key) && (is_open(key) || !is_completed(key));
    modalities.retain(|key, _| is_derived(key));
    set_modalities(writer, &modalities)?;
    Ok(done)
}

/// Corrects studies of this program and studies that `--existing complete` finishes.
fn correct_studies<'s>(
    writer: &mut Writer,
    settlement: &'s Settlement,
    part: impl Iterator<Item = &'s ClosingStudy>,
    modalities: &Modalities,
) -> Result<CorrectedRows, Failure> {
    let tables = writer.index.tables();
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
    corrections::correct_rows(writer, Level::Study, corrections, |key, _| {
        texts.get(key).map_or(Derived::Unchanged, |text| Derived::Modalities(text))
    })
}

fn close_series<'p>(
    writer: &mut Writer,
    settlement: &Settlement,
    part: &'p [(Arc<str>, Series)],
) -> Result<Done, Failure> {
    let series: HashMap<&str, &Series> = part.iter().map(|(key, series)| (&**key, series)).collect();
    let keys: Vec<&str> = part.iter().map(|(key, _)| &**key).collect();
    let mut updated = 0;
    let is_completed = |key: &str| series[key].is_completed(&settlement.known.lock());
    let tables = writer.index.tables();
    let shape = settlement.shapes[Level::Series as usize].attributes();
    let correction = |key: &'p str, one: &'p Series| {
        let row = &one.row;
        let values = row.own.as_ref().filter(|_| row.is_ours() || is_completed(key))?;
        Some(RowCorrections::of_attributes(&tables, key, values, shape, &row.fold))
    };
    let is_filled = |key: &&str| is_filled(writer, &series[*key].row) && !is_completed(key);
    let there: Vec<&str> = keys.iter().copied().filter(is_filled).collect();
    for row in shown(writer, Level::Series, &there)? {
        let one = series[row.key.as_str()];
        let is_edited = one.link_differs || settlement.known.lock().is_kept(&one.study);
        let mode = if is_edited { Mode::Fill } else { writer.policy.mode };
        let says = Says { fold: &one.row.fold, received: None, not_the_name: false };
        updated += bring_up(writer, settlement, Level::Series, &row, mode, says)?;
    }
    let corrections = part.iter().filter_map(|(key, one)| correction(key, one)).collect();
    let derived = |key: &str, row: &Existing| match row.is_unfinished || series[key].open || is_completed(key) {
        true => Derived::Instances,
        false => Derived::Unchanged,
    };
    let corrected = corrections::correct_rows(writer, Level::Series, corrections, derived)?;
    let CorrectedRows { finished, stale, of_earlier_runs } = corrected;
    let of_earlier_run = stale.iter().filter_map(|key| series.get(key.as_str()).copied());
    let is_listed = |series: &&Series| writer.is_interleaved || !series.row.is_of_this_run();
    of_earlier_run.filter(is_listed).for_each(|series| settlement.note_stale(series));
    let may_derive = |key: &&str| series[*key].row.is_ours() || !series[*key].is_unfinished || is_completed(key);
    let (mut open, others) = keys.iter().copied().filter(may_derive).partition::<Vec<_>, _>(|key| series[*key].open);
    open.retain(|key| !finished.contains(*key));
    writer.index.count_instances(&open, Derive::All)?;
    writer.index.count_instances(&others, Derive::WhereNull)?;
    Ok(Done { updated: updated + of_earlier_runs, ..Done::default() })
}

/// Fills or refreshes an existing row. Returns the number of rows that changed, 0 or 1.
fn bring_up(
    writer: &mut Writer,
    settlement: &Settlement,
    level: Level,
    row: &Existing,
    mode: Mode,
    says: Says<'_>,
) -> Result<u64, Failure> {
    let tables = writer.index.tables();
    let attributes = settlement.shapes[level as usize].own();
    let said = says.fold.own_values(attributes);
    let mut changes = existing::changes(&tables, level, row, mode, |column| match column.source {
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
    if level == Level::Patient && mode != Mode::Refresh {
        changes.extend(charset_of_filled(writer, &tables, row, &changes)?);
    }
    let applied = existing::update(&mut *writer.index, &mut writer.pending, level.table(), row, &changes)?;
    note_refused(writer, level, &row.key, &applied);
    Ok(applied.changed.into())
}

/// Returns the change of the character set that a row needs for the values that fill it. Returns
/// `None` unless all other text of the row is ASCII, which reads the same in each character set.
fn charset_of_filled<'t>(
    writer: &mut Writer,
    tables: &'t Tables,
    row: &Existing,
    changes: &[Change<'_>],
) -> Result<Option<Change<'t>>, Failure> {
    let is_needed = needs_charset(&changes.iter().map(|change| change.to).collect::<Vec<_>>());
    let Some(column) = tables.of(Table::Patient).column("charset").filter(|_| is_needed) else { return Ok(None) };
    let look = Look { view: View::Begun, show: Show::Values };
    let found = writer.index.find(Table::Patient, &[&row.key], look)?;
    let is_ascii = |row: &Existing| {
        let mut texts =
            tables.of(Table::Patient).fed().filter_map(|column| row.text_of(tables, Table::Patient, column));
        texts.all(|text| text.is_ascii())
    };
    let is_free = |row: &&Existing| row.text_of(tables, Table::Patient, column).is_none() && is_ascii(row);
    let term = Value::Text(tables.charset_term());
    Ok(found.iter().find(is_free).map(|_| Change { column, expected: Expected::Shown(None), to: term }))
}

fn shown(writer: &mut Writer, level: Level, keys: &[&str]) -> Result<Vec<Existing>, Failure> {
    let show = match writer.policy.mode {
        Mode::Fill | Mode::Complete => Show::Nulls,
        Mode::Refresh => Show::Values,
    };
    writer.index.find(level.table(), keys, Look { view: View::Begun, show })
}

fn edited(writer: &mut Writer, level: Level, keys: &[&str]) -> Result<HashSet<String>, Failure> {
    Ok(match writer.policy.mode {
        Mode::Fill => HashSet::new(),
        Mode::Refresh | Mode::Complete => writer.index.edited(level, keys)?.into_iter().collect(),
    })
}

impl Parents {
    pub fn total(&self) -> u64 {
        self.patients + self.studies + self.series
    }
}
