//! Notes and attachments of users that refer to missing rows. They become visible again if the rows
//! are inserted again.

use super::super::finding::Severity;
use super::{Asks, Check};
use crate::dicom::Level;
use crate::index::{Tables, table};

pub const STUDY_NOTES: Check = Check {
    name: "notes-without-study",
    severity: Severity::Warning,
    about: "notes are keyed to a study that has no row",
    asks: Asks::Tables(|tables| Some(keyed_to_nothing(tables, "studynotes", &[Level::Study]))),
};

pub const IMAGE_NOTES: Check = Check {
    name: "notes-without-image",
    severity: Severity::Warning,
    about: "notes are keyed to an image that has no row",
    asks: Asks::Tables(|tables| Some(keyed_to_nothing(tables, "imagenotes", &[Level::Instance]))),
};

pub const ATTACHMENTS: Check = Check {
    name: "attachment-without-study",
    severity: Severity::Warning,
    about: "attachments are keyed to a study or an image that has no row",
    asks: Asks::Tables(|tables| Some(keyed_to_nothing(tables, "attachment", &[Level::Study, Level::Instance]))),
};

/// Returns a statement for the rows of `of_user` without a matching row. The keys are compared with
/// the collation of the core tables, because other tables of the PACS may have other collations.
fn keyed_to_nothing(tables: &Tables, of_user: &str, levels: &[Level]) -> String {
    let is_missing = levels.iter().map(|level| {
        let key = tables.key(*level);
        let compared = tables.of(*level).column("uuid").map_or("d.`uuid`".into(), |column| column.compared("d.`uuid`"));
        format!("NOT EXISTS (SELECT 1 FROM `{}` r WHERE r.`{key}` = {compared})", table(*level))
    });
    let is_missing: Vec<String> = is_missing.collect();
    format!(
        "SELECT DISTINCT d.`uuid`, 'in {of_user}' FROM `{of_user}` d WHERE d.`uuid` IS NOT NULL AND {} ORDER BY d.`uuid`",
        is_missing.join(" AND ")
    )
}
