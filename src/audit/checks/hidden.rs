//! Values that hide a study from some or all web pages of the PACS.

use super::super::finding::Severity;
use super::{Asks, Check};
use crate::dicom::Level;
use crate::index::{Tables, table};

pub const REVIEWED: Check = Check {
    name: "reviewed-empty",
    severity: Severity::Error,
    about: "study.reviewed is empty: the study is in no reading list, neither unread nor read",
    asks: Asks::Tables(|tables| {
        studies(tables, "`reviewed` = ''", "reviewed is an empty text", "'study', 'reviewed', `reviewed`, NULL")
    }),
};

pub const PRIVATE: Check = Check {
    name: "private-null",
    severity: Severity::Error,
    about: "study.private is NULL, which hides the study from searches",
    asks: Asks::Tables(|tables| {
        studies(tables, "`private` IS NULL", "private is NULL", "'study', 'private', NULL, '0'")
    }),
};

pub const PATIENT: Check = Check {
    name: "patient-private-null",
    severity: Severity::Error,
    about: "patient.private is NULL, which hides all studies of the patient",
    asks: Asks::Tables(|tables| {
        let (study, patient) = (tables.key(Level::Study), tables.key(Level::Patient));
        let named = format!("t.`{}`", tables.of(Level::Study).name("patientid"));
        let named = tables.of(Level::Patient).column("origid").map_or(named.clone(), |column| column.compared(&named));
        Some(format!(
            "SELECT t.`{study}`, 'private of its patient is NULL' FROM `study` t JOIN `patient` p ON p.`{patient}` = {named} \
             WHERE p.`private` IS NULL ORDER BY t.`{study}`"
        ))
    }),
};

pub const RECEIVED: Check = Check {
    name: "received-null",
    severity: Severity::Warning,
    about: "study.received is NULL: the study is missing from lists by day, and is never purged",
    asks: Asks::Tables(|tables| {
        let column = tables.of(Level::Study).column("received")?;
        studies(tables, &format!("`{}` IS NULL", column.name), "received is NULL", "NULL")
    }),
};

pub const MODALITY: Check = Check {
    name: "no-modality",
    severity: Severity::Warning,
    about: "series.modality is NULL or empty: searches by modality do not find the series",
    asks: Asks::Tables(|tables| {
        let (key, column) = (tables.key(Level::Series), tables.of(Level::Series).column("modality")?);
        let column = &column.name;
        Some(format!(
            "SELECT `{key}`, 'no modality' FROM `series` WHERE `{column}` IS NULL OR `{column}` = '' ORDER BY `{key}`"
        ))
    }),
};

/// Returns a statement for the studies that match `hidden`. `mend` is a list of SQL expressions for
/// a possible repair: table, column, old value and new value, or `NULL`. The statement fails on an
/// index without the column.
fn studies(tables: &Tables, hidden: &str, why: &str, mend: &str) -> Option<String> {
    let key = tables.key(Level::Study);
    Some(format!("SELECT `{key}`, '{why}', {mend} FROM `{}` WHERE {hidden} ORDER BY `{key}`", table(Level::Study)))
}
