//! Findings about rows whose instances disagree, and about rows that the index links to other rows than their files do.

use super::fold::{Fold, IDENTITY};
use super::known::Rows;
use super::settlement::Finding;
use super::{link, table};
use crate::dicom::attributes::{ATTRIBUTES, position};
use crate::dicom::{Level, Table};

/// Instances of one row that do not say the same, and rows that the index links otherwise than files do.
pub fn rows_that_disagree(rows: &Rows) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tell = |reason, uid: &str, detail: String, is_note| {
        findings.push(Finding { reason, uid: uid.to_owned(), detail, is_note });
    };
    let links = |level: Level, uid: &str, differs: bool, tell: &mut dyn FnMut(&'static str, &str, String, bool)| {
        if differs && let Some(link) = link(level.table()) {
            let detail = format!("{}.{link} is not what the file says; it stays", table(level));
            tell("link-differs", uid, detail, false);
        }
    };
    for (uid, study) in &rows.studies {
        links(Level::Study, uid, study.link_differs, &mut tell);
        disagreements(rows, Level::Study, uid, &study.row.fold, &mut tell);
    }
    for (uid, series) in &rows.series {
        links(Level::Series, uid, series.link_differs, &mut tell);
        disagreements(rows, Level::Series, uid, &series.row.fold, &mut tell);
    }
    findings
}

fn disagreements(
    rows: &Rows,
    level: Level,
    uid: &str,
    fold: &Fold,
    tell: &mut dyn FnMut(&'static str, &str, String, bool),
) {
    const PATIENT: usize = IDENTITY[0];
    const STUDY: usize = position(Table::Series, "studyuid");
    for n in fold.disagreements() {
        let Some(attribute) = rows.shapes[level as usize].attributes().get(n).copied() else { continue };
        match attribute {
            PATIENT => tell("two-patients", uid, "instances of one study have different Patient IDs".into(), false),
            STUDY => tell("two-studies", uid, "instances of one series have different studies".into(), false),
            n if ATTRIBUTES[n].table != level.table() => {}
            n => {
                let detail = format!("instances disagree on {}.{}", table(level), ATTRIBUTES[n].column);
                tell("instances-disagree", uid, detail, true);
            }
        }
    }
}
