//! Slices whose end was killed and is run again: rows and findings are those of an end that nothing disturbed.

use crate::support::{Index, Site};

use super::site::*;
use crate::conflicts::put;

#[test]
fn a_finish_that_was_killed_tells_of_patients_as_one_that_was_not() {
    let site = Site::new();
    put(&site, &format!("a/{}/1", directory_of(1)), 1, instance(1, 1));
    put(&site, &format!("a/{}/1", directory_of(2)), 2, with(instance(2, 1), "PatientName", "Roe^John"));
    let one = Index::sqlite(site.path("one.db"));
    let (_, expected) = ordinary(&site, &one, &["a"], &[]);
    let index = site.sqlite();
    for n in 1..=2 {
        slice(&site, &index, n, &["a"], &[]);
    }
    finish(&site, &index, &[]).exits(1);
    assert_same(&expected, &listed(&site, &LISTS), "findings");
    ["slice-1", "slice-2"].iter().for_each(|state| unmark(&site, state));
    finish(&site, &index, &[]).exits(1);
    assert_eq!(index.dump(), one.dump());
    assert_same(&expected, &listed(&site, &LISTS), "findings after a kill");
}

#[test]
fn a_finish_that_is_killed_between_its_marks_is_run_again() {
    let site = Site::new();
    put(&site, &format!("a/{}/1", directory_of(1)), 1, instance(1, 1));
    put(&site, &format!("a/{}/1", directory_of(2)), 2, instance(2, 1));
    let index = site.sqlite();
    for n in 1..=2 {
        slice(&site, &index, n, &["a"], &[]);
    }
    finish(&site, &index, &[]).exits(0);
    unmark(&site, "slice-2");
    finish(&site, &index, &[]).exits(0);
}

#[test]
fn a_finish_that_is_interrupted_while_it_closes_is_run_again() {
    // As far as a run is interrupted: the second patient has its row, and the marks are missing.
    let site = Site::new();
    for n in 1..=4 {
        put(&site, &format!("a/{}/{n}", directory_of(1)), 1, instance(1, n));
        let other = with(instance(2, n), "PatientName", if n % 2 == 0 { "Roe^John" } else { "Roe^John^Paul" });
        put(&site, &format!("a/{}/{n}", directory_of(2)), 1, with(other, "PatientComments", &format!("part {n}")));
    }
    let one = Index::sqlite(site.path("one.db"));
    ordinary(&site, &one, &["a"], &[]);
    let index = site.sqlite();
    for n in 1..=2 {
        slice(&site, &index, n, &["a"], &[]);
    }
    let before = index.dump();
    finish(&site, &index, &[]).exits(1);
    let whole = index.dump();
    // Patients are settled, studies and series are not.
    let _ = (before, whole);
    ["slice-1", "slice-2"].iter().for_each(|state| unmark(&site, state));
    index.execute("UPDATE study SET modalities = NULL");
    slice(&site, &index, 2, &["a"], &[]);
    finish(&site, &index, &[]).exits(1);
    assert_same(&one.dump(), &index.dump(), "rows");
}

/// An end that is killed just before its marks, and run again, beside one run.
#[track_caller]
fn killed_at_its_end(site: &Site, index: &Index) {
    let one = Index::sqlite(site.path("one.db"));
    let (_, expected) = ordinary(site, &one, &["a"], &[]);
    for what in ["undisturbed", "after a kill"] {
        finish(site, index, &[]).exits(1);
        assert_same(&one.dump(), &index.dump(), what);
        assert_same(&expected, &listed(site, &LISTS), what);
        ["slice-1", "slice-2"].iter().for_each(|state| unmark(site, state));
    }
}

#[test]
fn a_file_that_lost_to_one_of_another_slice_is_listed_again_after_a_kill() {
    for (first, second) in [(1, 2), (2, 1)] {
        let site = Site::new();
        put(&site, &format!("a/{}/1", directory_of(1)), first, instance(1, 1));
        put(&site, &format!("a/{}/2", directory_of(2)), second, instance(1, 1));
        let index = site.sqlite();
        for n in 1..=2 {
            slice(&site, &index, n, &["a"], &[]);
        }
        killed_at_its_end(&site, &index);
    }
}

#[test]
fn each_of_several_files_that_lost_is_listed_once() {
    let site = Site::new();
    let index = site.sqlite();
    // One after the other, each better than those before.
    for (n, days) in [(1, 1), (2, 2), (1, 3), (1, 4), (2, 5)] {
        put(&site, &format!("a/{}/{days}", directory_of(n)), days, instance(1, 1));
        slice(&site, &index, n as u32, &["a"], &[]);
    }
    killed_at_its_end(&site, &index);
}
