//! The columns of the other tables of a PACS that may refer to a row.

use std::sync::Arc;

use super::writer::Writer;
use crate::dicom::Level;
use crate::index::Failure;
use crate::index::stored_column::Reference;

/// Returns the columns of tables other than the core tables that may refer to rows of a level.
pub(super) fn references(writer: &mut Writer, level: Level) -> Result<Arc<[Reference]>, Failure> {
    if let Some(known) = &writer.references[level as usize] {
        return Ok(known.clone());
    }
    let is_core =
        |table: &String| crate::index::LEVELS.iter().any(|level| table.eq_ignore_ascii_case(level.table().name()));
    let mut found = Vec::new();
    for table in writer.index.table_names()?.into_iter().filter(|table| !is_core(table)) {
        let columns = writer.index.stored_columns(&table)?.into_iter().map(|column| column.name);
        let refers = |name: &String| reference_columns(level).iter().any(|known| name.eq_ignore_ascii_case(known));
        found.extend(columns.filter(refers).map(|column| Reference { table: table.clone(), column }));
    }
    let found: Arc<[Reference]> = found.into();
    writer.references[level as usize] = Some(found.clone());
    Ok(found)
}

/// Returns the names of the columns by which tables of a PACS refer to rows of a level. The last
/// ones are the names before version 6.2.1.
pub(super) fn reference_columns(level: Level) -> &'static [&'static str] {
    match level {
        Level::Patient => &["patientid", "uuid", "uid"],
        Level::Study => &["studyuid", "uuid", "uid"],
        Level::Series | Level::Instance => &["seriesuid", "uuid", "uid"],
    }
}
