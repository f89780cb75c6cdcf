//! Findings for columns that the database did not allow to be changed.

use super::finding::{Finding, FindingReason};
use super::writer::Writer;
use crate::dicom::{Level, Table};
use crate::index::existing::Applied;

/// Records a finding for each column that the database did not allow to be changed. The findings
/// contain no keys of patients.
pub(super) fn note_refused(writer: &mut Writer, table: impl Into<Table>, key: &str, applied: &Applied) {
    let table = table.into();
    let uid = if table.level() == Level::Patient { String::new() } else { key.to_owned() };
    writer.refused.extend(applied.refused.iter().map(|column| Finding {
        reason: FindingReason::RefusedByIndex,
        uid: uid.clone(),
        detail: format!("the database does not let {}.{column} be changed", table.name()),
        is_note: false,
    }));
}
