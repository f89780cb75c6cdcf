//! A row of a patient as the closing step leaves it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fold::Fold;
use super::own_values::OwnValues;
use crate::index::Value;
use crate::index::column::is_empty;

/// A patient's row at the end.
#[derive(Clone, Serialize, Deserialize)]
pub struct PatientRow {
    /// The ID in the row, which is still to be inserted if it is new.
    pub id: Arc<str>,
    pub state: State,
    pub fold: Fold,
    /// The index says that it is this patient, and files name another: the name was edited, and is not completed by
    /// parts of the former.
    pub is_renamed: bool,
    /// The row is not this program's, as far as the ledger knows, and is to be completed.
    pub is_completed: bool,
    /// The values of the files of a row that is completed, whichever person these name.
    pub said: Fold,
    /// The row was folded again, so that a code in it may be that of a file which is not indexed any more.
    pub is_displaced: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub enum State {
    /// This program inserted it; its ID may have been spelled otherwise.
    Ours {
        values: OwnValues,
        spelled: Arc<str>,
    },
    There,
    New,
}

/// Whether any of these values is not plain ASCII.
pub fn needs_charset(values: &[Value<'_>]) -> bool {
    values.iter().any(|value| !is_empty(*value) && matches!(value, Value::Text(text) if !text.is_ascii()))
}

impl PatientRow {
    pub fn new(id: Arc<str>, state: State, fold: Fold) -> Self {
        let said = Fold::default();
        PatientRow { id, state, fold, is_renamed: false, is_completed: false, said, is_displaced: false }
    }

    /// Whether a decision that comes later is about the same row, which is there.
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
