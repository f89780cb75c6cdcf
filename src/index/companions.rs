//! The companion tables of the core tables: which of them are written, and which are not.
//!
//! The version of the PACS determines whether a database has these tables, and with which keys. A
//! table without a unique key is not written: two writers could each insert a row for the same
//! image or patient, even if each looks for the row first.

use super::column::Found;
use crate::dicom::Table;

/// Tables that contain values of files, but have no key that identifies a row, so that a second run
/// would insert every row again. The PACS fills these tables from the files that it receives.
pub const NOT_REBUILT: [&str; 4] = ["otherpatientids", "studydosereport", "irradiationevent", "imagedose"];

/// Returns the reason why an existing companion table is not written. `None` if the table is
/// written or does not exist.
pub fn why_not(table: Table, there: &[Found]) -> Option<String> {
    let key = there.iter().find(|found| found.name.eq_ignore_ascii_case(table.key()));
    match key {
        _ if there.is_empty() => None,
        Some(key) if key.is_unique && key.is_read_only => Some("this user may not INSERT and UPDATE".into()),
        Some(key) if key.is_unique => None,
        _ => Some(format!("it has no unique key on {}", table.key())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_by_its_own_key_alone() {
        let column = |name: &str, is_unique| Found { name: name.into(), is_unique, ..Found::default() };
        let why_not = |there: &[Found]| why_not(Table::ConceptName, there).unwrap_or_default();
        assert_eq!(why_not(&[]), "");
        assert_eq!(why_not(&[column("UUID", true), column("meaning", false)]), "");
        for there in [[column("uuid", false), column("id", true)], [column("id", true), column("meaning", true)]] {
            assert_eq!(why_not(&there), "it has no unique key on uuid");
        }
        let read_only = Found { is_read_only: true, ..column("uuid", true) };
        assert_eq!(why_not(&[read_only]), "this user may not INSERT and UPDATE");
    }
}
