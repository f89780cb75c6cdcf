//! The rules by which a PacsOne server deletes or moves studies on its own once they are visible
//! again.
//!
//! The rules use `study.received`, which a reindex restores with its old date: a running server may
//! purge on the same day the studies that it could not see for weeks. Reads the tables and columns
//! that exist (`pacsone-index.md` 3.5, 4).

use super::ask::{Answer, NamedRow};
use super::location::Location;
use super::mysql::MySql;
use super::sql::Database;
use super::{Failure, Value};
use crate::error::Result;

/// The columns to read from each table.
const TABLES: [(&str, &[&str]); 3] = [
    ("config", &["archiveage", "longtermdir"]),
    ("applentity", &["title", "archiveage", "longtermdir"]),
    (
        "autopurge",
        &["directory", "enable", "aging", "lowwater", "highwater", "sourceae", "destdir", "delpatient", "schedule"],
    ),
];

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Purging {
    /// The actions of the server, one sentence each.
    pub rules: Vec<String>,
    /// Tables that the user is not allowed to read.
    pub hidden: Vec<&'static str>,
}

/// Returns the rules of the PACS to which an index belongs.
pub fn rules(location: &Location) -> Result<Purging> {
    let Location::MySql { login, .. } = location else { return Ok(Purging::default()) };
    let failed = |failure| location.unreachable(failure);
    let mut database = location.mysql(login)?;
    let purging = read(&mut database).map_err(failed);
    database.close();
    purging
}

fn read(database: &mut MySql) -> Result<Purging, Failure> {
    let mut hidden = Vec::new();
    let mut rows = |(table, wanted): (&'static str, &[&str])| -> Result<Vec<NamedRow>, Failure> {
        let columns = columns(database, table, wanted)?;
        // The catalogue does not list a table that the user is not allowed to read.
        let sql = match columns.is_empty() {
            true => format!("SELECT 1 FROM `{table}` LIMIT 0"),
            false => format!("SELECT `{}` FROM `{table}`", columns.join("`,`")),
        };
        Ok(match database.ask(&sql)? {
            Answer::Rows(rows) => rows,
            Answer::Unknown => Vec::new(),
            Answer::Denied => {
                hidden.push(table);
                Vec::new()
            }
        })
    };
    let [config, entities, autopurge] = TABLES;
    let (config, entities, autopurge) = (rows(config)?, rows(entities)?, rows(autopurge)?);
    let long_term = config.iter().find_map(|row| row.text("longtermdir"));
    let moved = config.iter().chain(&entities).filter_map(|row| moving(row, long_term));
    let rules = autopurge.iter().filter_map(purging).chain(moved).collect();
    Ok(Purging { rules, hidden })
}

/// Returns the wanted columns that exist.
fn columns(database: &mut MySql, table: &str, wanted: &[&str]) -> Result<Vec<String>, Failure> {
    let sql = "SELECT CAST(COLUMN_NAME AS CHAR) FROM information_schema.COLUMNS \
               WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";
    let rows = database.fetch(&sql.into(), &[Value::Text(table)])?;
    let is_wanted = |name: &String| wanted.iter().any(|wanted| name.eq_ignore_ascii_case(wanted));
    Ok(rows.into_iter().flatten().flatten().filter(is_wanted).collect())
}

/// Describes the action of a row of `autopurge`. In a table without the column `enable`, all rules
/// are enabled.
fn purging(row: &NamedRow) -> Option<String> {
    if row.number("enable").is_some_and(|enable| enable == 0) {
        return None;
    }
    let whose = row.text("sourceae").map(|ae| format!(" from {ae}")).unwrap_or_default();
    let studies = format!("studies received{whose}");
    let fate = row.text("destdir").map_or("deleted".into(), |to| format!("moved to {to}"));
    let water = |name, word| row.number(name).filter(|mark| *mark > 0).map(|mark| format!("{word} {mark}"));
    let marks: Vec<String> =
        [water("lowwater", "low water"), water("highwater", "high water")].into_iter().flatten().collect();
    let age = row.number("aging").filter(|days| *days > 0);
    let by_age = age.map(|days| format!("{studies} more than {days} days ago are {fate}"));
    let by_space = match marks.as_slice() {
        [] => None,
        marks => Some(format!("the oldest {studies} are {fate} when space is short ({})", marks.join(", "))),
    };
    let mut what: Vec<String> = by_age.into_iter().chain(by_space).collect();
    if what.is_empty() {
        what.push(format!("{studies} are {fate}, by which age or space is not known"));
    }
    if row.number("delpatient").is_some_and(|delete| delete != 0) {
        what.push("patients are deleted with their last study".into());
    }
    if let Some(schedule) = row.text("schedule") {
        what.push(format!("schedule {schedule}"));
    }
    let place = row.text("directory").map(|directory| format!(" for {directory}")).unwrap_or_default();
    Some(format!("autopurge is on{place}: {}", what.join("; ")))
}

/// Describes the effect of the archive age of the server or of an application entity.
fn moving(row: &NamedRow, long_term: Option<&str>) -> Option<String> {
    let days = row.number("archiveage").filter(|days| *days > 0)?;
    let whose = row.text("title").map(|title| format!(" from {title}")).unwrap_or_default();
    let to = row.text("longtermdir").or(long_term).unwrap_or("the long-term archive");
    Some(format!("studies received{whose} more than {days} days ago are moved to {to}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_as_what_becomes_of_studies() {
        let aging = [("directory", "D:/DICOM"), ("enable", "1"), ("aging", "365"), ("delpatient", "0")];
        assert_eq!(
            purging(&NamedRow::from(aging)).unwrap(),
            "autopurge is on for D:/DICOM: studies received more than 365 days ago are deleted"
        );
        let full = [("lowwater", "5"), ("highwater", "20"), ("aging", "0"), ("destdir", "E:/OLD"), ("sourceae", "CT1")];
        assert_eq!(
            purging(&NamedRow::from(full)).unwrap(),
            "autopurge is on: the oldest studies received from CT1 are moved to E:/OLD when space is short \
             (low water 5, high water 20)"
        );
        assert_eq!(purging(&NamedRow::from([("enable", "0"), ("aging", "365")])), None);
    }

    #[test]
    fn an_archive_age_moves_studies_to_the_directory_of_its_entity_or_of_the_server() {
        let entity = NamedRow::from([("title", "CT1"), ("archiveage", "90")]);
        let told = "studies received from CT1 more than 90 days ago are moved to E:/LONGTERM";
        assert_eq!(moving(&entity, Some("E:/LONGTERM")).unwrap(), told);
        assert_eq!(moving(&NamedRow::from([("archiveage", "0"), ("longtermdir", "E:/LONGTERM")]), None), None);
    }
}
