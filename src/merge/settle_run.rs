//! The plan of the closing step: reads the state of all rows once, and decides about them.

use std::sync::{Arc, Mutex};

use super::decided::DecidedAgain;
use super::decisions::Decisions;
use super::disagreements::{report_series, report_study};
use super::ghost::Ghost;
use super::group_source::{self, Gathered, GroupSorter};
use super::known_row::{Series, Study};
use super::settlement::Settlement;
use super::writer::Writer;
use super::{completion, settle, settle_crowd, withdraw};
use crate::dicom::Level;
use crate::disk::aggregate::Aggregated;
use crate::disk::key::text;
use crate::index::Failure;

/// The number of studies that are processed together.
const PORTION: usize = 500;

/// Decides about all rows. No batch may be written afterwards.
pub fn settle(writer: &mut Writer, in_full: bool) -> Result<Settlement, Failure> {
    let (series, studies, shapes) = {
        let mut known = writer.known.lock();
        known.forget_images();
        (known.series.values(), known.studies.values(), Arc::new(known.shapes.clone()))
    };
    let mut decisions = Decisions::new(writer.known.directory(), shapes);
    let mut groups = None;
    if in_full {
        let mut members = GroupSorter::new(writer);
        look_at_studies(writer, &studies, &mut members, &mut decisions)?;
        look_at_series(writer, &series, &mut decisions)?;
        for finding in writer.patiently(completion::rows_of_files_not_chosen)? {
            decisions.report(&finding).map_err(Failure::of_temporary_file)?;
        }
        let source = group_source::add_patients(writer, members)?;
        let decide = |gathered| match gathered {
            Gathered::Few(groups) => settle::decide_about(writer, groups, &mut decisions),
            Gathered::Crowd(crowd) => settle_crowd::decide_about_crowd(writer, *crowd, &mut decisions),
        };
        source.for_each(|_| true, decide)?;
        groups = Some(source);
        withdraw::learn_ghosts(writer, &decisions.ghosts, &decisions.displaced)?;
    }
    writer.known.lock().check_images()?;
    let Decisions { shapes, patients, patient_of, findings, abandoned, ghosts, counts, unfinished, .. } = decisions;
    Ok(Settlement {
        in_full,
        shapes,
        known: writer.known.clone(),
        series,
        studies,
        groups: groups.map(Arc::new),
        patients: patients.finish(),
        patient_of: patient_of.finish(),
        findings: findings.finish(),
        again: DecidedAgain::default(),
        shared: Mutex::default(),
        abandoned,
        ghosts,
        counts,
        unfinished,
    })
}

fn look_at_studies(
    writer: &mut Writer,
    studies: &Aggregated<Study>,
    groups: &mut GroupSorter,
    decisions: &mut Decisions,
) -> Result<(), Failure> {
    let mut portion: Vec<(Arc<str>, Study)> = Vec::new();
    for study in studies.iter().map_err(Failure::of_temporary_file)? {
        let (key, study) = study.map_err(Failure::of_temporary_file)?;
        if !study.is_row {
            continue;
        }
        let key: Arc<str> = text(&key).into();
        {
            let mut known = writer.known.lock();
            known.unlinked[0].remove(&*key);
            if known.is_ghost_study(&key, &study) {
                decisions.ghosts.push(Ghost { level: Level::Study, key: key.to_string() });
                continue;
            }
            known.learn_study(&key, &study);
        }
        decisions.counts[Level::Study as usize] += 1;
        decisions.unfinished.studies += u64::from(study.is_left_unfinished());
        let shapes = Arc::clone(&decisions.shapes);
        report_study(&shapes, &key, &study, &mut |finding| decisions.report(&finding))
            .map_err(Failure::of_temporary_file)?;
        portion.push((key, study));
        if portion.len() == PORTION {
            group_source::add_studies(writer, &portion, groups)?;
            portion.clear();
        }
    }
    group_source::add_studies(writer, &portion, groups)
}

fn look_at_series(writer: &mut Writer, series: &Aggregated<Series>, decisions: &mut Decisions) -> Result<(), Failure> {
    for series in series.iter().map_err(Failure::of_temporary_file)? {
        let (key, series) = series.map_err(Failure::of_temporary_file)?;
        if !series.is_row {
            continue;
        }
        let key = text(&key);
        {
            let mut known = writer.known.lock();
            known.unlinked[1].remove(&*key);
            if known.is_ghost_series(&key, &series) {
                known.reopen(&series.study);
                decisions.ghosts.push(Ghost { level: Level::Series, key: key.into_owned() });
                continue;
            }
            // The study below which the series was inserted depends on the order of the instances.
            // Derived columns must not depend on this order.
            if series.row.is_ours() {
                series.others.iter().for_each(|study| known.reopen(study));
            }
            let is_left = series.is_unfinished && !series.row.is_ours() && !series.is_completed(&known);
            decisions.unfinished.series += u64::from(is_left);
        }
        decisions.counts[Level::Series as usize] += 1;
        let shapes = Arc::clone(&decisions.shapes);
        report_series(&shapes, &key, &series, &mut |finding| decisions.report(&finding))
            .map_err(Failure::of_temporary_file)?;
    }
    Ok(())
}
