//! The plan of the closing step: reads what is known of all rows, once, and decides about them.

use std::sync::{Arc, Mutex};

use super::closing_part::patient_key;
use super::decided::{Decided, DecidedAgain};
use super::disagreements::{report_series, report_study};
use super::finding::Finding;
use super::fold::Shape;
use super::ghost::Ghost;
use super::known::unreadable;
use super::known_row::Study;
use super::patient_group::{self, GroupSorter, PatientGroups};
use super::patient_row::State;
use super::settlement::Settlement;
use super::writer::Writer;
use super::{completion, settle, withdraw};
use crate::dicom::Level;
use crate::disk::aggregate::{Aggregated, put};
use crate::disk::key::text;
use crate::disk::runs::Sorter;
use crate::index::Failure;
use crate::index::companion_changes::Parents;

/// The bytes of decisions of each kind that are sorted in memory.
const SORTED_IN_MEMORY: usize = 1 << 20;

/// The number of studies that are looked at together.
const PORTION: usize = 500;

/// Decisions as they are collected.
struct Decisions {
    shapes: Arc<[Shape; 3]>,
    patients: Sorter,
    patient_of: Sorter,
    findings: Sorter,
    abandoned: Vec<crate::index::Existing>,
    ghosts: Vec<Ghost>,
    /// The IDs of patients that were folded again.
    displaced: Vec<Arc<str>>,
    counts: [u64; 3],
    unfinished: Parents,
}

impl Decisions {
    fn report(&mut self, finding: &Finding) -> std::io::Result<()> {
        self.findings.push_with(&finding.sort_key(), |bytes| put(finding, bytes))
    }

    fn add(&mut self, decided: Decided) -> std::io::Result<()> {
        self.counts[Level::Patient as usize] += decided.patients.len() as u64;
        self.abandoned.extend(decided.abandoned);
        for patient in decided.patients {
            let key = patient_key(matches!(patient.state, State::New), &patient.id);
            self.patients.push_with(&key, |bytes| put(&patient, bytes))?;
        }
        for (study, patient) in &decided.patient_of {
            self.patient_of.push(study.as_bytes(), patient.as_bytes())?;
        }
        decided.findings.iter().try_for_each(|finding| self.report(finding))
    }
}

/// Decides about all rows. No further batch is written.
pub fn settle(writer: &mut Writer, in_full: bool) -> Result<Settlement, Failure> {
    let sorter = || Sorter::new(writer.known.directory(), SORTED_IN_MEMORY);
    let (series, studies, shapes) = {
        let mut known = writer.known.lock();
        known.forget_images();
        (known.series.values(), known.studies.values(), Arc::new(known.shapes.clone()))
    };
    let mut decisions = Decisions {
        shapes,
        patients: sorter(),
        patient_of: sorter(),
        findings: sorter(),
        abandoned: Vec::new(),
        ghosts: Vec::new(),
        displaced: Vec::new(),
        counts: [0; 3],
        unfinished: Parents::default(),
    };
    let mut groups = None;
    if in_full {
        let mut members = patient_group::new_groups(writer);
        look_at_studies(writer, &studies, &mut members, &mut decisions)?;
        look_at_series(writer, &series, &mut decisions)?;
        for finding in writer.patiently(completion::rows_of_files_not_chosen)? {
            decisions.report(&finding).map_err(unreadable)?;
        }
        let source = patient_group::add_patients(writer, members)?;
        source.for_each(|_| true, |groups| decide_about(writer, groups, &mut decisions))?;
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
    for study in studies.iter().map_err(unreadable)? {
        let (key, study) = study.map_err(unreadable)?;
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
        report_study(&shapes, &key, &study, &mut |finding| decisions.report(&finding)).map_err(unreadable)?;
        portion.push((key, study));
        if portion.len() == PORTION {
            patient_group::add_studies(writer, &portion, groups)?;
            portion.clear();
        }
    }
    patient_group::add_studies(writer, &portion, groups)
}

fn look_at_series(
    writer: &mut Writer,
    series: &Aggregated<super::known_row::Series>,
    decisions: &mut Decisions,
) -> Result<(), Failure> {
    for series in series.iter().map_err(unreadable)? {
        let (key, series) = series.map_err(unreadable)?;
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
            // The study below which the series was inserted depends on the order of the instances, and derived columns must not.
            if series.row.is_ours() {
                series.others.iter().for_each(|study| known.reopen(study));
            }
            let is_left = series.is_unfinished && !series.row.is_ours() && !series.is_completed(&known);
            decisions.unfinished.series += u64::from(is_left);
        }
        decisions.counts[Level::Series as usize] += 1;
        let shapes = Arc::clone(&decisions.shapes);
        report_series(&shapes, &key, &series, &mut |finding| decisions.report(&finding)).map_err(unreadable)?;
    }
    Ok(())
}

fn decide_about(writer: &mut Writer, mut groups: PatientGroups, decisions: &mut Decisions) -> Result<(), Failure> {
    patient_group::learn_identities_of(writer, &mut groups)?;
    decisions.ghosts.extend(groups.take_ghosts());
    let displaced = groups.displaced.keys().filter_map(|identity| groups.patients.get(identity));
    decisions.displaced.extend(displaced.map(|patient| patient.id.clone()));
    let decided = settle::decide(writer, &mut groups)?;
    decisions.unfinished.patients += groups.left_unfinished(&decided.patients);
    decisions.add(decided).map_err(unreadable)
}
