//! The final values of a row, and the present values that they may replace.
//!
//! A value was edited if this program has not written it, or if the row is finished and the value
//! is not its last final value. Edited values stay unchanged. The components and groups of a name
//! are one value, and so is a date with its time. In a row that looks unfinished and is not in the
//! ledger, `--existing complete` replaces values that occur in a file of the row.

use std::sync::Arc;

use super::fold::Fold;
use super::own_values::OwnValues;
use crate::dicom::attributes::{self, is_of_the_name};
use crate::dicom::{Table, packed};
use crate::index::column::{Column, is_empty};
use crate::index::columns::{Source, Tables};
use crate::index::row_history::{RowHistory, RowVersion};
use crate::index::{Change, Existing, Expected, Value};

/// The final values of a row, and the present values that they may replace.
pub struct RowCorrections<'a> {
    pub key: &'a str,
    replaceable: ReplaceableValues<'a>,
    finals: Vec<FinalValue<'a>>,
    /// The number of studies that must link to the row of a patient for its name or ID to be
    /// changed.
    pub studies: Option<usize>,
}

/// The present values of a row that the final ones may replace.
enum ReplaceableValues<'a> {
    /// The values that this run inserted.
    Provisional,
    /// Values that this program wrote according to the ledger.
    OfLedger(LedgerRow),
    /// The different sets of values in the files of the row.
    OfFiles(Vec<Vec<Value<'a>>>),
}

/// A row in the ledger.
struct LedgerRow {
    history: Arc<RowHistory>,
    is_unfinished: bool,
    /// Whether this run, or the run that it resumes, inserted the row. If so, the inserted values
    /// may be replaced, too.
    is_of_this_run: bool,
    /// Whether other runs have written to the index since this run, or the run that it resumes,
    /// inserted the row.
    is_shared_by_runs: bool,
}

struct FinalValue<'a> {
    column: &'a Column,
    /// The position of the value in a set of values of a file.
    place: Option<usize>,
    /// The value that this run inserted.
    provisional: Value<'a>,
    right: Value<'a>,
}

impl LedgerRow {
    /// Returns whether a study or series is finished although no run has recorded final values of
    /// the row, that is, whether another program has finished the row. A run that was killed may
    /// have finished a row whose final values were equal to the inserted ones.
    fn is_finished_by_others(&self, tables: &Tables, table: Table, row: &Existing) -> bool {
        let inserted = self.history.only_inserted().filter(|_| !self.is_shared_by_runs && !row.is_unfinished);
        inserted.is_some_and(|inserted| !inserted.is_shown_or_filled(tables, table, row))
    }
}

impl FinalValue<'_> {
    /// Returns the attribute group of the column, which is equal for all columns of one value.
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
        let replaceable = match values {
            OwnValues::ThisRun(_) => ReplaceableValues::Provisional,
            OwnValues::EarlierRun { history, is_unfinished, inserted } => ReplaceableValues::OfLedger(LedgerRow {
                history: history.clone(),
                is_unfinished: *is_unfinished,
                is_of_this_run: inserted.is_some(),
                is_shared_by_runs: true,
            }),
            OwnValues::OfFiles => ReplaceableValues::OfFiles(fold.sets().collect()),
        };
        let written: Vec<Value> =
            values.inserted().map_or_else(Vec::new, |inserted| packed::values(inserted).collect());
        let mut row = RowCorrections { key, replaceable, finals: Vec::new(), studies: None };
        for (n, (attribute, right)) in shape.iter().zip(fold.values()).enumerate() {
            // The link of a row that this program did not insert is not corrected.
            let column = tables.of_attribute(*attribute).filter(|column| !(row.is_of_others() && column.exact));
            let provisional = written.get(n).copied().unwrap_or(Value::Null);
            row.add_final(column, Some(n), provisional, right);
        }
        row
    }

    /// Returns whether this run, or the run that it resumes, inserted the row.
    pub fn is_of_this_run(&self) -> bool {
        match &self.replaceable {
            ReplaceableValues::Provisional => true,
            ReplaceableValues::OfLedger(row) => row.is_of_this_run,
            ReplaceableValues::OfFiles(_) => false,
        }
    }

    /// Returns whether the ledger contains the row.
    pub fn is_of_ledger(&self) -> bool {
        matches!(self.replaceable, ReplaceableValues::OfLedger(_))
    }

    /// Returns whether the row is known to be unfinished, although no column of the row shows that.
    pub fn is_unfinished(&self) -> bool {
        matches!(self.replaceable, ReplaceableValues::OfLedger(LedgerRow { is_unfinished: true, .. }))
    }

    /// Adds the history of a row that this run, or the run that it resumes, inserted.
    pub fn learn_history(&mut self, history: Arc<RowHistory>, is_unfinished: bool, is_shared_by_runs: bool) {
        match &mut self.replaceable {
            ReplaceableValues::Provisional => {
                let row = LedgerRow { history, is_unfinished, is_of_this_run: true, is_shared_by_runs };
                self.replaceable = ReplaceableValues::OfLedger(row);
            }
            ReplaceableValues::OfLedger(row) if row.is_of_this_run => row.is_unfinished |= is_unfinished,
            ReplaceableValues::OfLedger(_) | ReplaceableValues::OfFiles(_) => {}
        }
    }

    /// Returns the columns that have a final value.
    pub fn columns(&self) -> impl Iterator<Item = &'a Column> {
        self.finals.iter().map(|last| last.column)
    }

    /// Returns the final values, in the order of the columns.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> {
        self.finals.iter().map(|last| last.right)
    }

    /// Returns whether the row contains a later time of receipt than its files.
    pub fn is_received_later(&self, tables: &Tables, table: Table, row: &Existing) -> bool {
        let is_later = |last: &FinalValue<'_>| match (row.text_of(tables, table, last.column), last.right) {
            (Some(shown), Value::Text(right)) => last.column.source == Source::Received && shown > right,
            _ => false,
        };
        self.finals.iter().any(is_later)
    }

    /// Allows the final values to replace the values in these files, too.
    pub fn replacing(mut self, said: &'a Fold) -> Self {
        if let ReplaceableValues::OfFiles(sets) = &mut self.replaceable {
            sets.extend(said.sets());
        }
        self
    }

    /// Returns whether the row is not in the ledger as a row of this program.
    pub fn is_of_others(&self) -> bool {
        matches!(self.replaceable, ReplaceableValues::OfFiles(_))
    }

    /// Returns whether the name or the ID of a patient of this program may change, judged before
    /// the row is looked up.
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

    /// Returns the final spelling of the key, if the row has one.
    pub fn new_key(&self, table: Table) -> Option<&'a str> {
        self.finals.iter().find(|last| last.column.known == table.key()).and_then(|last| match last.right {
            Value::Text(key) => Some(key),
            _ => None,
        })
    }

    /// Returns whether the last version of the row in the ledger lacks a final value that the row
    /// contains, or whether no version is known to have been committed.
    pub fn is_unrecorded(&self, tables: &Tables, table: Table, row: &Existing) -> bool {
        let ReplaceableValues::OfLedger(LedgerRow { history, .. }) = &self.replaceable else { return false };
        let Some(last) = history.versions.last() else { return true };
        let is_unrecorded = |value: &FinalValue<'a>| {
            let is_in_row = value.column.shows(row.text_of(tables, table, value.column), value.right);
            is_in_row && value.column.is_recorded() && last.value(value.column) != value.right
        };
        !history.versions.iter().any(|version| version.is_committed) || self.finals.iter().any(is_unrecorded)
    }

    /// Returns whether the row may need a change, judged before the row is looked up.
    pub fn may_change(&self) -> bool {
        !matches!(self.replaceable, ReplaceableValues::Provisional)
            || self.finals.iter().any(|last| last.provisional != last.right)
    }

    /// Returns the values of a row that was finished with the values of its insert. They are
    /// recorded as final before other values are, so that the row is recognized by them if the
    /// commit is in doubt.
    pub fn finished_as_inserted(&self, row: &Existing) -> Option<&RowVersion> {
        match &self.replaceable {
            ReplaceableValues::OfLedger(LedgerRow { history, .. }) if !row.is_unfinished => history.only_inserted(),
            _ => None,
        }
    }

    /// Returns the changes of a row. A value changes as a whole or not at all.
    pub fn changes<'r>(&'r self, tables: &Tables, table: Table, row: &'r Existing) -> Vec<Change<'r>> {
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

    /// Returns whether the final value may replace the present value, which differs from it in some
    /// columns.
    fn may_replace(&self, value: &[&FinalValue<'a>], tables: &Tables, table: Table, row: &Existing) -> bool {
        let shown = |last: &FinalValue<'a>| row.text_of(tables, table, last.column);
        let differs = |last: &FinalValue<'a>| !last.column.shows(shown(last), last.right);
        let all = |owns: &dyn Fn(&FinalValue<'a>) -> bool| value.iter().all(|last| owns(last) || !differs(last));
        match &self.replaceable {
            ReplaceableValues::Provisional => all(&|last| last.column.shows(shown(last), last.provisional)),
            ReplaceableValues::OfLedger(ledger) => {
                // A patient without a study never looks unfinished.
                let is_committed = ledger.history.versions.iter().any(|version| version.is_committed);
                let is_new = ledger.is_of_this_run && (row.is_unfinished || !is_committed);
                let is_finished_by_others = table != Table::Patient && ledger.is_finished_by_others(tables, table, row);
                all(&|last| {
                    let is_own = ledger.history.owns(tables, table, last.column, row)
                        || is_new && last.column.shows(shown(last), last.provisional);
                    is_own && (shown(last).is_none() || !is_finished_by_others)
                })
            }
            ReplaceableValues::OfFiles(sets) => {
                let parts = value.iter().map(|last| ShownColumn { of: last, text: shown(last) });
                is_of_a_file(&Vec::from_iter(parts), sets)
            }
        }
    }

    /// Sets the character set of a patient that has other changes, by the values that the row then
    /// contains. A character set that this program does not write stays unchanged.
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

/// A column of a value, and the text in the column.
struct ShownColumn<'f, 'a> {
    of: &'f FinalValue<'a>,
    text: Option<&'f str>,
}

/// Returns whether each column of a value is NULL or contains the value in one file. A column that
/// this file leaves empty may contain the value in another file, because an earlier run without the
/// ledger has filled the column.
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
