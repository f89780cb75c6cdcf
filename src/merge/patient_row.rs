//! The final row of a patient, as the closing step writes it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fold::Fold;
use super::own_values::OwnValues;
use crate::index::Value;
use crate::index::column::is_empty;

/// The final row of a patient.
#[derive(Clone, Serialize, Deserialize)]
pub struct PatientRow {
    /// The ID in the row. A new row is still to be inserted.
    pub id: Arc<str>,
    pub state: State,
    pub fold: Fold,
    /// Whether the name in the row was edited: the index assigns files to this patient that have
    /// another name. Parts of the name in the files must not complete such a name.
    pub is_renamed: bool,
    /// Whether the row is not in the ledger as a row of this program, and is to be completed.
    pub is_completed: bool,
    /// The values of the files of a row that is completed, whichever person these files name.
    pub said: Fold,
    /// Whether the values of the row were recomputed, so that the row may contain a code from a
    /// file that is not indexed any more.
    pub is_displaced: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub enum State {
    /// This program inserted the row. `spelled` is the present spelling of its ID, which may differ
    /// from the final one.
    Ours {
        values: OwnValues,
        spelled: Arc<str>,
    },
    There,
    New,
}

/// Returns whether any of these values is not plain ASCII.
pub fn needs_charset(values: &[Value<'_>]) -> bool {
    values.iter().any(|value| !is_empty(*value) && matches!(value, Value::Text(text) if !text.is_ascii()))
}

impl PatientRow {
    pub fn new(id: Arc<str>, state: State, fold: Fold) -> Self {
        let said = Fold::default();
        PatientRow { id, state, fold, is_renamed: false, is_completed: false, said, is_displaced: false }
    }

    /// Returns whether the next decision is about the same row, and the row exists.
    pub(super) fn is_same(&self, next: &PatientRow) -> bool {
        let is_there = matches!(next.state, State::There) && !matches!(self.state, State::New);
        is_there && next.id == self.id
    }

    /// Adds another decision about the same row.
    pub(super) fn absorb(&mut self, same: PatientRow) {
        self.fold.merge(same.fold);
        self.is_renamed |= same.is_renamed;
        self.is_completed |= same.is_completed;
        self.said.merge(same.said);
    }
}
