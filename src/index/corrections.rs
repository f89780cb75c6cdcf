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
use super::row_history::{IntendedRows, RowHistory, RowVersion};
use super::settlement::{Finding, OwnValues};
use super::{Change, Derived, Existing, Expected, Failure, Look, RowUpdate, Show, Value, View};
use crate::dicom::attributes::is_of_the_name;
use crate::dicom::{Level, Table, attributes, packed};

/// The final values of a row, and what tells which of its present values may be replaced by them.
pub struct RowCorrections<'a> {
    pub key: &'a str,
    replaceable: ReplaceableValues<'a>,
    finals: Vec<FinalValue<'a>>,
}

/// The present values of a row that the final ones may replace.
enum ReplaceableValues<'a> {
    /// The values that this run inserted.
    Provisional,
    /// Values that the ledger has as written by this program.
    OfLedger(LedgerRow),
    /// The different sets of values in the files of the row.
    OfFiles(Vec<Vec<Value<'a>>>),
}

/// A row that the ledger has.
struct LedgerRow {
    history: Arc<RowHistory>,
    is_unfinished: bool,
    /// This run, or the one that it continues, inserted the row. Then the values that it inserted may be replaced, too.
    is_of_this_run: bool,
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
                let (history, is_unfinished) = (history.clone(), *is_unfinished);
                let row = LedgerRow { history, is_unfinished, is_of_this_run: false };
                (ReplaceableValues::OfLedger(row), Vec::new())
            }
            OwnValues::OfFiles => (ReplaceableValues::OfFiles(fold.sets().collect()), Vec::new()),
        };
        let mut row = RowCorrections { key, replaceable, finals: Vec::new() };
        for (n, (attribute, right)) in shape.iter().zip(fold.values()).enumerate() {
            // The link of a row that is not this program's is not questioned.
            let column = tables.of_attribute(*attribute).filter(|column| !(row.is_of_others() && column.exact));
            let provisional = written.get(n).copied().unwrap_or(Value::Null);
            row.add_final(column, Some(n), provisional, right);
        }
        row
    }

    /// Whether this run, or the one that it continues, inserted the row.
    fn is_of_this_run(&self) -> bool {
        match &self.replaceable {
            ReplaceableValues::Provisional => true,
            ReplaceableValues::OfLedger(row) => row.is_of_this_run,
            ReplaceableValues::OfFiles(_) => false,
        }
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

    /// Whether the last version of the row in the ledger has not all values that are final and in the row, or no version is
    /// known to have been committed.
    fn is_unrecorded(&self, tables: &Tables, table: Table, row: &Existing) -> bool {
        let ReplaceableValues::OfLedger(LedgerRow { history, .. }) = &self.replaceable else { return false };
        let Some(last) = history.versions.last() else { return true };
        let is_unrecorded = |value: &FinalValue<'a>| {
            let is_in_row = value.column.shows(row.text_of(tables, table, value.column), value.right);
            is_in_row && value.column.is_recorded() && last.value(value.column) != value.right
        };
        !history.versions.iter().any(|version| version.is_committed) || self.finals.iter().any(is_unrecorded)
    }

    /// Whether the row may need a change, judged before the row is looked up.
    fn may_change(&self) -> bool {
        !matches!(self.replaceable, ReplaceableValues::Provisional)
            || self.finals.iter().any(|last| last.provisional != last.right)
    }

    /// The values of a row that is finished with the values of its insert. They are recorded as final before others are: if the
    /// commit is in doubt, the row is recognized by them.
    fn finished_as_inserted(&self, row: &Existing) -> Option<&RowVersion> {
        match &self.replaceable {
            ReplaceableValues::OfLedger(LedgerRow { history, .. }) if !row.is_unfinished => history.only_inserted(),
            _ => None,
        }
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
            ReplaceableValues::OfLedger(LedgerRow { history, is_of_this_run, .. }) => all(&|last| {
                let is_provisional =
                    || *is_of_this_run && row.is_unfinished && last.column.shows(shown(last), last.provisional);
                history.owns(tables, table, last.column, row) || is_provisional()
            }),
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
        if !self.continues {
            corrections.retain(RowCorrections::may_change);
        }
        let mut rows = self.rows_of(table, &corrections)?;
        if self.continues {
            self.learn_versions(table, &mut corrections, &rows)?;
        }
        for correction in &corrections {
            if let (ReplaceableValues::OfLedger(LedgerRow { is_unfinished: true, .. }), Some(row)) =
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
        // A row that is finished is recognized by its last version, which was committed.
        let unrecorded = unchanged.iter().filter(|row| row.correction.is_unrecorded(&tables, table, row.row));
        self.intend_final_values(table, &changed.iter().chain(unrecorded).collect::<Vec<_>>())?;
        let mut corrected = CorrectedRows::default();
        for ChangedRow { correction, row, changes, derived } in &changed {
            let derived = *derived;
            // A row of this run that is finished has its final values, or another program has written it.
            let only_unfinished = !matches!(correction.replaceable, ReplaceableValues::OfLedger(..));
            if correction.is_of_others() {
                self.note_later_receipt(table, row, correction);
                existing::record_overwritten(&*self.index, &mut self.pending, table, row, changes)?;
            }
            let update = RowUpdate { table, key: &row.key, path: None, changes, derived, only_unfinished };
            let applied = existing::apply(&mut *self.index, &update)?;
            self.note_refused(level, &row.key, &applied);
            corrected.of_earlier_runs += u64::from(applied.changed && !correction.is_of_this_run());
            corrected.finished.extend((derived != Derived::Unchanged).then(|| correction.key.to_owned()));
        }
        Ok(corrected)
    }

    /// The rows that are to be corrected, by the keys of their corrections. Another run may have given the key of a patient
    /// another spelling since a run that is continued inserted the row.
    fn rows_of(
        &mut self,
        table: Table,
        corrections: &[RowCorrections<'_>],
    ) -> Result<HashMap<String, Existing>, Failure> {
        let keys: Vec<&str> = corrections.iter().map(|row| row.key).collect();
        let found = self.index.find(table, &keys, Look { view: View::Now, show: Show::Values })?;
        let mut rows: HashMap<String, Existing> = found.into_iter().map(|row| (row.key.clone(), row)).collect();
        if table == Table::Patient && self.continues {
            let spelled_otherwise: Vec<&str> = keys.into_iter().filter(|key| !rows.contains_key(*key)).collect();
            let identities = self.index.identities(&spelled_otherwise)?;
            let by_identity: HashMap<String, Existing> =
                rows.values().map(|row| (row.identity.clone(), row.clone())).collect();
            for (key, identity) in spelled_otherwise.into_iter().zip(identities) {
                rows.extend(by_identity.get(&identity).map(|row| (key.to_owned(), row.clone())));
            }
        }
        Ok(rows)
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
                if let Some(inserted) = correction.finished_as_inserted(row) {
                    intended.push(&row.key, false, columns.iter().map(|column| inserted.value(column)));
                }
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

    /// Learns what the ledger has of the rows of a run that is continued. The values that a batch of the run inserted are not
    /// always those in the row: a server that failed over may have lost the batch, and a later one inserted the row. Other
    /// runs may have finished rows since.
    fn learn_versions(
        &mut self,
        table: Table,
        corrections: &mut [RowCorrections<'_>],
        rows: &HashMap<String, Existing>,
    ) -> Result<(), Failure> {
        let Some(recorder) = self.recorder.clone() else { return Ok(()) };
        let keys: Vec<&str> = corrections.iter().map(|row| rows.get(row.key).map_or(row.key, |row| &row.key)).collect();
        let histories = recorder.histories(table, &keys)?;
        let unfinished = if table == Table::Patient { self.unfinished_patients(&keys)? } else { HashSet::new() };
        for ((row, key), history) in corrections.iter_mut().zip(keys).zip(histories) {
            if let (ReplaceableValues::Provisional, Some(history)) = (&row.replaceable, history) {
                let is_unfinished = unfinished.contains(key);
                row.replaceable =
                    ReplaceableValues::OfLedger(LedgerRow { history, is_unfinished, is_of_this_run: true });
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
