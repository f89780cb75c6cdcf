//! Rows whose values are not the final ones yet: which of them may be changed, and how.
//!
//! A value that this program has not written, or that is not the last final one of a row that is finished, was edited, and
//! stays. The components and groups of a name are one value, and so is a date with its time. Of a row that looks unfinished
//! and that the ledger does not have, `--existing complete` replaces values that a file of the row contains.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::batch::Writer;
use super::column::Column;
use super::columns::{Source, Tables};
use super::existing;
use super::fold::{Fold, is_empty};
use super::row_history::{IntendedRows, RowHistory};
use super::settlement::{Finding, OwnValues};
use super::{Change, Derived, Existing, Expected, Failure, Look, RowUpdate, Show, Value, View};
use crate::dicom::attributes::is_of_the_name;
use crate::dicom::{Level, Table, attributes, packed};

/// The final values of a row, and what tells which of its present values may be replaced by them.
pub struct RowCorrections<'a> {
    pub key: &'a str,
    replaceable: ReplaceableValues<'a>,
    finals: Vec<FinalValue<'a>>,
    /// The name or the ID of a patient changes only while this number of studies links to the row.
    pub studies: Option<usize>,
}

/// The present values of a row that the final ones may replace.
enum ReplaceableValues<'a> {
    /// The values that this run inserted.
    Provisional,
    /// Values that the ledger has as written by this program, and whether the row is unfinished.
    OfLedger(Arc<RowHistory>, bool),
    /// The different sets of values in the files of the row.
    OfFiles(Vec<Vec<Value<'a>>>),
}

struct FinalValue<'a> {
    column: &'a Column,
    /// The position of the value in a set of values of a file.
    place: Option<usize>,
    /// The value that this run inserted.
    provisional: Value<'a>,
    right: Value<'a>,
}

impl FinalValue<'_> {
    /// Equal for the columns of one value.
    fn attribute(&self) -> Option<usize> {
        match self.column.source {
            Source::Attribute(n) => Some(attributes::value_of(n)),
            _ => None,
        }
    }
}

impl<'a> RowCorrections<'a> {
    pub fn of_attributes(
        tables: &'a Tables,
        key: &'a str,
        values: &'a OwnValues,
        shape: &[usize],
        fold: &'a Fold,
    ) -> Self {
        let (replaceable, written) = match values {
            OwnValues::ThisRun(written) => (ReplaceableValues::Provisional, packed::values(written).collect()),
            OwnValues::EarlierRun { history, is_unfinished } => {
                (ReplaceableValues::OfLedger(history.clone(), *is_unfinished), Vec::new())
            }
            OwnValues::OfFiles => (ReplaceableValues::OfFiles(fold.sets().collect()), Vec::new()),
        };
        let mut row = RowCorrections { key, replaceable, finals: Vec::new(), studies: None };
        for (n, (attribute, right)) in shape.iter().zip(fold.values()).enumerate() {
            // The link of a row that is not this program's is not questioned.
            let column = tables.of_attribute(*attribute).filter(|column| !(row.is_of_others() && column.exact));
            let provisional = written.get(n).copied().unwrap_or(Value::Null);
            row.add_final(column, Some(n), provisional, right);
        }
        row
    }

    /// Whether only this run has written the row, as far as the ledger knows.
    fn is_of_this_run(&self) -> bool {
        matches!(self.replaceable, ReplaceableValues::Provisional)
    }

    /// Lets the final values replace what these files contain, too.
    pub fn replacing(mut self, said: &'a Fold) -> Self {
        if let ReplaceableValues::OfFiles(sets) = &mut self.replaceable {
            sets.extend(said.sets());
        }
        self
    }

    /// Whether the row is not this program's, as far as the ledger knows.
    fn is_of_others(&self) -> bool {
        matches!(self.replaceable, ReplaceableValues::OfFiles(_))
    }

    /// Whether the name or the ID of a patient of this program may change, judged before the row is looked up.
    pub fn may_rename(&self) -> bool {
        match self.replaceable {
            ReplaceableValues::Provisional => {
                self.finals.iter().any(|last| last.column.is_of_the_patient() && last.provisional != last.right)
            }
            ReplaceableValues::OfLedger(..) => true,
            ReplaceableValues::OfFiles(_) => false,
        }
    }

    /// Leaves the name of a patient unchanged.
    pub fn leave_name(&mut self) {
        let is_of_the_name =
            |last: &FinalValue<'a>| matches!(last.column.source, Source::Attribute(n) if is_of_the_name(n));
        self.finals.retain(|last| !is_of_the_name(last));
    }

    /// Adds the final value of a column, if the table has it.
    pub fn add(&mut self, column: Option<&'a Column>, provisional: Value<'a>, right: Value<'a>) {
        self.add_final(column, None, provisional, right);
    }

    fn add_final(
        &mut self,
        column: Option<&'a Column>,
        place: Option<usize>,
        provisional: Value<'a>,
        right: Value<'a>,
    ) {
        if let Some(column) = column {
            let (provisional, right) = (column.blank(provisional), column.blank(right));
            self.finals.push(FinalValue { column, place, provisional, right });
        }
    }

    /// The final spelling of the key, if the row has one.
    fn new_key(&self, table: Table) -> Option<&'a str> {
        self.finals.iter().find(|last| last.column.known == table.key()).and_then(|last| match last.right {
            Value::Text(key) => Some(key),
            _ => None,
        })
    }

    /// Whether no version of the row in the ledger is known to have been committed.
    fn is_in_doubt(&self) -> bool {
        match &self.replaceable {
            ReplaceableValues::OfLedger(history, _) => !history.versions.iter().any(|version| version.is_committed),
            _ => false,
        }
    }

    /// Whether the row may need a change, judged before the row is looked up.
    fn may_change(&self) -> bool {
        !matches!(self.replaceable, ReplaceableValues::Provisional)
            || self.finals.iter().any(|last| last.provisional != last.right)
    }

    /// The changes of a row. A value changes as a whole, or stays.
    fn changes<'r>(&'r self, tables: &Tables, table: Table, row: &'r Existing) -> Vec<Change<'r>> {
        let shown = |last: &FinalValue<'a>| row.text_of(tables, table, last.column);
        let change = |last: &'r FinalValue<'a>| {
            let expected = Expected::Shown(row.text_of(tables, table, last.column));
            Change { column: last.column, expected, to: last.right }
        };
        let differs = |last: &FinalValue<'a>| !last.column.shows(shown(last), last.right);
        let mut changes = Vec::new();
        for (n, first) in self.finals.iter().enumerate() {
            let attribute = first.attribute();
            let is_of_it = |last: &FinalValue<'a>| attribute.is_some() && last.attribute() == attribute;
            if self.finals[..n].iter().any(is_of_it) {
                continue;
            }
            let rest = self.finals[n + 1..].iter().filter(|last| is_of_it(last));
            let value: Vec<&'r FinalValue<'a>> = std::iter::once(first).chain(rest).collect();
            if value.iter().any(|last| differs(last)) && self.may_replace(&value, tables, table, row) {
                changes.extend(value.into_iter().map(change));
            } else if self.is_of_others() {
                let is_filled = |last: &&FinalValue<'a>| shown(last).is_none() && !is_empty(last.right);
                changes.extend(value.into_iter().filter(is_filled).map(change));
            }
        }
        if self.is_of_others() {
            self.set_charset(tables, table, row, &mut changes);
        }
        changes
    }

    /// Whether the final value may replace the present one, which some of its columns differ from.
    fn may_replace(&self, value: &[&FinalValue<'a>], tables: &Tables, table: Table, row: &Existing) -> bool {
        let shown = |last: &FinalValue<'a>| row.text_of(tables, table, last.column);
        let differs = |last: &FinalValue<'a>| !last.column.shows(shown(last), last.right);
        let all = |owns: &dyn Fn(&FinalValue<'a>) -> bool| value.iter().all(|last| owns(last) || !differs(last));
        match &self.replaceable {
            ReplaceableValues::Provisional => all(&|last| last.column.shows(shown(last), last.provisional)),
            ReplaceableValues::OfLedger(history, _) => all(&|last| history.owns(tables, table, last.column, row)),
            ReplaceableValues::OfFiles(sets) => {
                let parts = value.iter().map(|last| ShownColumn { of: last, text: shown(last) });
                is_of_a_file(&Vec::from_iter(parts), sets)
            }
        }
    }

    /// Sets the character set of a patient that other changes are made to, by the values that the row then has. A character
    /// set that this program does not write stays.
    fn set_charset<'r>(&'r self, tables: &Tables, table: Table, row: &'r Existing, changes: &mut Vec<Change<'r>>) {
        changes.retain(|change| change.column.source != Source::Charset);
        let charset = self.finals.iter().find(|last| last.column.source == Source::Charset);
        let Some(FinalValue { column, right: term, .. }) = charset.filter(|_| !changes.is_empty()) else { return };
        let shown = row.text_of(tables, table, column);
        let text = |column: &Column| match changes.iter().find(|change| change.column.name == column.name) {
            Some(Change { to: Value::Text(text), .. }) => Some(*text),
            Some(_) => None,
            None => row.text_of(tables, table, column),
        };
        let mut texts = tables.of(table).fed().filter_map(text);
        let to = if texts.any(|text| !text.is_ascii()) { *term } else { column.blank(Value::Null) };
        let is_known = shown.is_none() || column.shows(shown, *term);
        if is_known && !column.shows(shown, to) {
            changes.push(Change { column, expected: Expected::Shown(shown), to });
        }
    }
}

/// A column of a value, and the text in it.
struct ShownColumn<'f, 'a> {
    of: &'f FinalValue<'a>,
    text: Option<&'f str>,
}

/// Whether the columns of a value are those of one file, or NULL. A column that this file leaves empty may contain what
/// another file has: an earlier run without the ledger has filled it.
fn is_of_a_file(value: &[ShownColumn<'_, '_>], sets: &[Vec<Value<'_>>]) -> bool {
    let compare = |shown: &ShownColumn<'_, '_>, set: &[Value<'_>]| {
        let value = shown.of.place.and_then(|place| set.get(place).copied()).unwrap_or(Value::Null);
        (is_empty(value), shown.of.column.shows(shown.text, shown.of.column.blank(value)))
    };
    let is_of = |shown: &ShownColumn<'_, '_>, set: &[Value<'_>]| match (shown.text, shown.of.column.source) {
        (None, _) => true,
        // A PACS purges by the time of receipt, which therefore only moves later.
        (Some(text), Source::Received) => matches!(shown.of.right, Value::Text(last) if text < last),
        _ => match compare(shown, set) {
            (_, true) => true,
            (is_left_empty, false) => is_left_empty && sets.iter().any(|other| compare(shown, other).1),
        },
    };
    sets.iter().any(|set| value.iter().all(|shown| is_of(shown, set)))
}

/// A row that is about to be changed.
struct ChangedRow<'c> {
    correction: &'c RowCorrections<'c>,
    row: &'c Existing,
    changes: Vec<Change<'c>>,
    derived: Derived<'c>,
}

impl ChangedRow<'_> {
    /// Whether there is something to write. Another program may have finished a row since the row was found.
    fn is_updated(&self) -> bool {
        match self.correction.is_of_others() && self.derived != Derived::Unchanged {
            true => self.row.is_unfinished,
            false => !self.changes.is_empty(),
        }
    }
}

/// The rows that corrections changed.
#[derive(Default)]
pub struct CorrectedRows {
    /// The keys of the rows whose derived column is set.
    pub finished: HashSet<String>,
    /// The number of rows that this run had not inserted.
    pub of_earlier_runs: u64,
}

impl Writer {
    /// Replaces values of this program by the final ones. The statement that writes the last final value of a row sets its
    /// derived column as well.
    pub(super) fn correct_rows<'d>(
        &mut self,
        level: Level,
        mut corrections: Vec<RowCorrections<'_>>,
        derived: impl Fn(&str) -> Derived<'d>,
    ) -> Result<CorrectedRows, Failure> {
        let (table, tables) = (level.table(), self.index.tables());
        if self.is_interleaved {
            self.learn_versions(table, &mut corrections)?;
        }
        corrections.retain(RowCorrections::may_change);
        let keys: Vec<&str> = corrections.iter().map(|row| row.key).collect();
        let look = Look { view: View::Now, show: Show::Values };
        let rows = self.index.find(table, &keys, look)?;
        let mut rows: HashMap<String, Existing> = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
        for correction in &corrections {
            if let (ReplaceableValues::OfLedger(_, true), Some(row)) =
                (&correction.replaceable, rows.get_mut(correction.key))
            {
                row.is_unfinished = true;
            }
        }
        let with_row = corrections.iter().filter_map(|correction| Some((correction, rows.get(correction.key)?)));
        let changed = with_row.map(|(correction, row)| ChangedRow {
            correction,
            row,
            changes: correction.changes(&tables, table, row),
            derived: derived(correction.key),
        });
        let (changed, unchanged): (Vec<_>, Vec<_>) = changed.partition(ChangedRow::is_updated);
        // A row that is finished is recognized by a version that was committed. A run that is continued may have filled the row.
        let is_recorded =
            |row: &&ChangedRow<'_>| row.correction.is_in_doubt() || self.continues && row.correction.is_of_this_run();
        let in_doubt = unchanged.iter().filter(is_recorded);
        self.intend_final_values(table, &changed.iter().chain(in_doubt).collect::<Vec<_>>())?;
        let mut corrected = CorrectedRows::default();
        for ChangedRow { correction, row, changes, derived } in &changed {
            let derived = *derived;
            // A row of this run that is finished has its final values, or another program has written it.
            let only_unfinished = !matches!(correction.replaceable, ReplaceableValues::OfLedger(..));
            if correction.is_of_others() {
                self.note_later_receipt(table, row, correction);
                existing::record_overwritten(&*self.index, &mut self.pending, table, row, changes)?;
            }
            let studies = correction.studies.filter(|_| changes.iter().any(|change| change.column.is_of_the_patient()));
            let update = RowUpdate { table, key: &row.key, path: None, changes, derived, only_unfinished, studies };
            let applied = existing::apply(&mut *self.index, &update)?;
            if let Some(studies) = studies.filter(|_| !applied.changed) {
                self.expect_studies(&row.key, studies)?;
            }
            self.note_refused(level, &row.key, &applied);
            corrected.of_earlier_runs += u64::from(applied.changed && !correction.is_of_this_run());
            corrected.finished.extend((derived != Derived::Unchanged).then(|| correction.key.to_owned()));
        }
        Ok(corrected)
    }

    /// Records the final values of rows of this program that are about to be changed.
    fn intend_final_values(&self, table: Table, changed: &[&ChangedRow<'_>]) -> Result<(), Failure> {
        let own: Vec<_> = changed.iter().copied().filter(|changed| !changed.correction.is_of_others()).collect();
        // A row of which files say nothing any more has fewer final values.
        for rows in own.chunk_by(|one, other| one.correction.finals.len() == other.correction.finals.len()) {
            let columns: Vec<&Column> = rows[0].correction.finals.iter().map(|last| last.column).collect();
            let mut intended = IntendedRows::new(table, &columns);
            for ChangedRow { correction, row, .. } in rows {
                let values = || correction.finals.iter().map(|last| last.right);
                intended.push(&row.key, false, values());
                // A key that is spelled otherwise from now on is that of the same row.
                if let Some(key) = correction.new_key(table).filter(|key| *key != row.key) {
                    intended.push(key, true, values());
                }
            }
            self.intend(intended)?;
        }
        Ok(())
    }

    /// Reports a study that was received later than its files say.
    fn note_later_receipt(&mut self, table: Table, row: &Existing, correction: &RowCorrections<'_>) {
        let tables = self.index.tables();
        let is_later = |last: &FinalValue<'_>| match (row.text_of(&tables, table, last.column), last.right) {
            (Some(shown), Value::Text(right)) => last.column.source == Source::Received && shown > right,
            _ => false,
        };
        if correction.finals.iter().any(is_later) {
            self.refused.push(Finding {
                reason: "received-later",
                uid: row.key.clone(),
                detail: "study.received is later than the files of the study say; it stays".into(),
                is_note: true,
            });
        }
    }

    /// Rows of a run that is continued, which other runs may have finished since.
    fn learn_versions(&self, table: Table, corrections: &mut [RowCorrections<'_>]) -> Result<(), Failure> {
        let Some(recorder) = &self.recorder else { return Ok(()) };
        let keys: Vec<&str> = corrections.iter().map(|row| row.key).collect();
        let histories = recorder.histories(table, &keys)?;
        for (row, history) in corrections.iter_mut().zip(histories) {
            if let (ReplaceableValues::Provisional, Some(history)) = (&row.replaceable, history) {
                row.replaceable = ReplaceableValues::OfLedger(history, false);
            }
        }
        Ok(())
    }

    /// Records rows that the open transaction is about to write. They are made durable before the commit, and where there are
    /// no transactions, before they are written.
    pub(super) fn intend(&self, rows: IntendedRows) -> Result<(), Failure> {
        let Some(recorder) = &self.recorder else { return Ok(()) };
        recorder.intend_rows(self.number, self.attempts, &[rows]);
        if self.index.tables().is_transactional { Ok(()) } else { recorder.make_durable() }
    }
}
