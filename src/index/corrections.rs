//! Rows of this program whose values are not the final ones yet: which of them may be changed, and how.
//!
//! A value that this program has not written, or that is not the last final one of a row that is finished, was edited, and
//! stays. The components and groups of a name are one value, and so is a date with its time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::batch::Writer;
use super::column::Column;
use super::columns::{Source, Tables};
use super::existing;
use super::row_history::{IntendedRows, RowHistory};
use super::settlement::OwnValues;
use super::{Change, Derived, Existing, Expected, Failure, Look, RowUpdate, Show, Value, View};
use crate::dicom::{Level, Table, attributes, packed};

/// The final values of a row, and what tells which of its present values may be replaced by them.
pub struct RowCorrections<'a> {
    pub key: &'a str,
    /// The versions of the row in the ledger, if an earlier run has written it, and whether the row counts as unfinished.
    history: Option<(Arc<RowHistory>, bool)>,
    finals: Vec<FinalValue<'a>>,
}

struct FinalValue<'a> {
    column: &'a Column,
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
        right: &[Value<'a>],
    ) -> Self {
        let (history, written) = match values {
            OwnValues::ThisRun(written) => (None, packed::values(written).collect()),
            OwnValues::EarlierRun { history, is_unfinished } => (Some((history.clone(), *is_unfinished)), Vec::new()),
        };
        let mut row = RowCorrections { key, history, finals: Vec::new() };
        for (n, (attribute, right)) in shape.iter().zip(right).enumerate() {
            let provisional = written.get(n).copied().unwrap_or(Value::Null);
            row.add(tables.of_attribute(*attribute), provisional, *right);
        }
        row
    }

    /// Adds the final value of a column, if the table has it.
    pub fn add(&mut self, column: Option<&'a Column>, provisional: Value<'a>, right: Value<'a>) {
        if let Some(column) = column {
            let (provisional, right) = (column.blank(provisional), column.blank(right));
            self.finals.push(FinalValue { column, provisional, right });
        }
    }

    /// The final spelling of the key, if the row has one.
    fn new_key(&self, table: Table) -> Option<&'a str> {
        self.finals.iter().find(|last| last.column.known == table.key()).and_then(|last| match last.right {
            Value::Text(key) => Some(key),
            _ => None,
        })
    }

    /// Whether the row may need a change, judged before the row is looked up.
    fn may_change(&self) -> bool {
        self.history.is_some() || self.finals.iter().any(|last| last.provisional != last.right)
    }

    /// The changes of a row. A value changes as a whole, or stays.
    fn changes<'r>(&'r self, tables: &Tables, table: Table, row: &'r Existing) -> Vec<Change<'r>> {
        let shown = |last: &FinalValue<'a>| row.text_of(tables, table, last.column);
        let differs = |last: &FinalValue<'a>| !last.column.shows(row.text_of(tables, table, last.column), last.right);
        let owns = |last: &FinalValue<'a>| match &self.history {
            Some((history, _)) => history.owns(tables, table, last.column, row),
            None => last.column.shows(shown(last), last.provisional),
        };
        let mut changes = Vec::new();
        for (n, first) in self.finals.iter().enumerate() {
            let attribute = first.attribute();
            let is_of_it = |last: &FinalValue<'a>| attribute.is_some() && last.attribute() == attribute;
            if self.finals[..n].iter().any(is_of_it) {
                continue;
            }
            let rest = self.finals[n + 1..].iter().filter(|last| is_of_it(last));
            let value: Vec<&'r FinalValue<'a>> = std::iter::once(first).chain(rest).collect();
            if value.iter().any(|last| differs(last)) && value.iter().all(|last| owns(last) || !differs(last)) {
                changes.extend(value.into_iter().map(|last| {
                    let expected = Expected::Shown(row.text_of(tables, table, last.column));
                    Change { column: last.column, expected, to: last.right }
                }));
            }
        }
        changes
    }
}

/// The rows that corrections changed.
#[derive(Default)]
pub struct CorrectedRows {
    /// The keys of the rows whose derived column is set.
    pub finished: HashSet<String>,
    /// The number of rows that earlier runs had inserted.
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
            if let (Some((_, is_unfinished)), Some(row)) = (&correction.history, rows.get_mut(correction.key)) {
                row.is_unfinished |= *is_unfinished;
            }
        }
        let with_row = corrections.iter().filter_map(|correction| Some((correction, rows.get(correction.key)?)));
        let changed = with_row.map(|(correction, row)| (correction, row, correction.changes(&tables, table, row)));
        let changed: Vec<_> = changed.filter(|(.., changes)| !changes.is_empty()).collect();
        // A row of which files say nothing any more has fewer final values.
        for rows in changed.chunk_by(|(one, ..), (other, ..)| one.finals.len() == other.finals.len()) {
            let columns: Vec<&Column> = rows[0].0.finals.iter().map(|last| last.column).collect();
            let mut intended = IntendedRows::new(table, &columns);
            for (correction, row, _) in rows {
                let values = || correction.finals.iter().map(|last| last.right);
                intended.push(&row.key, false, values());
                // A key that is spelled otherwise from now on is that of the same row.
                if let Some(key) = correction.new_key(table).filter(|key| *key != row.key) {
                    intended.push(key, true, values());
                }
            }
            self.intend(intended)?;
        }
        let mut corrected = CorrectedRows::default();
        for (correction, row, changes) in &changed {
            let derived = derived(correction.key);
            // A row of this run that is finished has its final values, or another program has written it.
            let only_unfinished = correction.history.is_none();
            let update = RowUpdate { table, key: &row.key, path: None, changes, derived, only_unfinished };
            let applied = existing::apply(&mut *self.index, &update)?;
            self.note_refused(level, &row.key, &applied);
            corrected.of_earlier_runs += u64::from(applied.changed && correction.history.is_some());
            corrected.finished.extend((derived != Derived::Unchanged).then(|| correction.key.to_owned()));
        }
        Ok(corrected)
    }

    /// Rows of a run that is continued, which other runs may have finished since.
    fn learn_versions(&self, table: Table, corrections: &mut [RowCorrections<'_>]) -> Result<(), Failure> {
        let Some(recorder) = &self.recorder else { return Ok(()) };
        let keys: Vec<&str> = corrections.iter().map(|row| row.key).collect();
        let histories = recorder.histories(table, &keys)?;
        for (row, history) in corrections.iter_mut().zip(histories) {
            row.history = row.history.take().or_else(|| Some((history?, false)));
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
