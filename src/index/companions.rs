//! Tables beside the core tables: which of them are written, and which are not.
//!
//! Whether a database has them, and with which keys, depends on the version of its PACS. One without a unique key could
//! take a second row for an image or a patient, whoever looked first: it is left alone.

use super::column::Found;
use crate::dicom::Table;

/// They hold what files say, but in rows of which nobody knows which is which: a second run would double them. The PACS
/// fills them from the files that it receives.
pub const NOT_REBUILT: [&str; 4] = ["otherpatientids", "studydosereport", "irradiationevent", "imagedose"];

/// What keeps a companion from being written, if it is there.
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
