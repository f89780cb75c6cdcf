//! Findings about rows whose instances disagree, and about rows whose link in the index differs
//! from their files.

use std::io;

use super::finding::{Finding, FindingReason};
use super::fold::{Fold, Shape};
use super::known_row::{Series, Study};
use crate::dicom::attributes::{ATTRIBUTES, position};
use crate::dicom::{Level, Table};
use crate::index::entry::IDENTITY;
use crate::index::{link, table};

/// Collects findings.
type Report<'f> = dyn FnMut(Finding) -> io::Result<()> + 'f;

/// Reports a study whose instances disagree, or that the index links to a patient other than the
/// one in its files.
pub(super) fn report_study(shapes: &[Shape; 3], uid: &str, study: &Study, report: &mut Report<'_>) -> io::Result<()> {
    report_link(Level::Study, uid, study.link_differs, report)?;
    report_disagreements(shapes, Level::Study, uid, &study.row.fold, report)
}

/// Reports a series whose instances disagree, or that the index links to a study other than the one
/// in its files.
pub(super) fn report_series(
    shapes: &[Shape; 3],
    uid: &str,
    series: &Series,
    report: &mut Report<'_>,
) -> io::Result<()> {
    report_link(Level::Series, uid, series.link_differs, report)?;
    report_disagreements(shapes, Level::Series, uid, &series.row.fold, report)
}

fn report_link(level: Level, uid: &str, differs: bool, report: &mut Report<'_>) -> io::Result<()> {
    match link(level.table()).filter(|_| differs) {
        Some(link) => report(Finding {
            reason: FindingReason::LinkDiffers,
            uid: uid.to_owned(),
            detail: format!("{}.{link} differs from the file; it stays", table(level)),
            is_note: false,
        }),
        None => Ok(()),
    }
}

fn report_disagreements(
    shapes: &[Shape; 3],
    level: Level,
    uid: &str,
    fold: &Fold,
    report: &mut Report<'_>,
) -> io::Result<()> {
    const PATIENT: usize = IDENTITY[0];
    const STUDY: usize = position(Table::Series, "studyuid");
    for n in fold.disagreements() {
        let Some(attribute) = shapes[level as usize].attributes().get(n).copied() else { continue };
        let (reason, detail, is_note) = match attribute {
            PATIENT => (FindingReason::TwoPatients, "instances of one study have different Patient IDs".into(), false),
            STUDY => (FindingReason::TwoStudies, "instances of one series have different studies".into(), false),
            n if ATTRIBUTES[n].table != level.table() => continue,
            n => {
                let detail = format!("instances disagree on {}.{}", table(level), ATTRIBUTES[n].column);
                (FindingReason::InstancesDisagree, detail, true)
            }
        };
        report(Finding { reason, uid: uid.to_owned(), detail, is_note })?;
    }
    Ok(())
}
