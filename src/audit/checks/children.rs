//! Rows without child rows.

use super::super::finding::Severity;
use super::{Asks, Check};
use crate::dicom::{Level, Table};
use crate::index::{Tables, link, table};

pub const SERIES: Check = Check {
    name: "empty-series",
    severity: Severity::Warning,
    about: "a series has no images",
    asks: Asks::Tables(|tables| Some(without_row_below(tables, Level::Series, Level::Instance))),
};

pub const STUDIES: Check = Check {
    name: "empty-study",
    severity: Severity::Warning,
    about: "a study has no series",
    asks: Asks::Tables(|tables| Some(without_row_below(tables, Level::Study, Level::Series))),
};

pub const PATIENTS: Check = Check {
    name: "empty-patient",
    severity: Severity::Info,
    about: "patients have no study: how many",
    asks: Asks::Tables(|tables| {
        // The key of a patient is patient data, so only the number of patients is reported.
        let rows = without_row_below(tables, Level::Patient, Level::Study);
        Some(format!("SELECT NULL, CAST(COUNT(*) AS CHAR) FROM ({rows}) n HAVING COUNT(*) > 0"))
    }),
};

fn without_row_below(tables: &Tables, upper: Level, lower: Level) -> String {
    let (key, known) = (tables.key(upper), link(Table::from(lower)).unwrap_or_default());
    let named = tables.of(lower).name(known);
    // Compares with the collation of the column in the child table, which may differ from that of
    // the parent table.
    let above = tables
        .of(lower)
        .column(known)
        .map_or_else(|| format!("u.`{key}`"), |column| column.compared(&format!("u.`{key}`")));
    let (upper, lower) = (table(upper), table(lower));
    format!(
        "SELECT u.`{key}`, 'nothing is below it' FROM `{upper}` u \
         WHERE NOT EXISTS (SELECT 1 FROM `{lower}` l WHERE l.`{named}` = {above}) ORDER BY u.`{key}`"
    )
}
