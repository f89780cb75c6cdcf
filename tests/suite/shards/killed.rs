//! Merges that are killed and run again: rows and findings equal those of an undisturbed merge.

use crate::support::{Index, Site};

use super::site::*;
use crate::conflicts::put;

#[test]
fn a_merge_that_was_killed_lists_patients_as_one_that_was_not() {
    let site = Site::new();
    put(&site, &format!("a/{}/1", directory_of(1)), 1, instance(1, 1));
    put(&site, &format!("a/{}/1", directory_of(2)), 2, with(instance(2, 1), "PatientName", "Roe^John"));
    let one = Index::sqlite(site.path("one.db"));
    let (_, expected) = ordinary(&site, &one, &["a"], &[]);
    let index = site.sqlite();
    read_shards(&site, &["a"]);
    merge(&site, &index, &[]).exits(1);
    assert_same(&expected, &listed(&site, &LISTS), "findings");
    unmark(&site, "merge", "journal");
    merge(&site, &index, &[]).exits(1);
    assert_eq!(index.dump(), one.dump());
    assert_same(&expected, &listed(&site, &LISTS), "findings after a kill");
}

#[test]
fn a_merge_that_is_interrupted_while_it_closes_is_run_again() {
    // The second patient has a row, but the last step has not ended.
    let site = Site::new();
    for n in 1..=4 {
        put(&site, &format!("a/{}/{n}", directory_of(1)), 1, instance(1, n));
        let other = with(instance(2, n), "PatientName", if n % 2 == 0 { "Roe^John" } else { "Roe^John^Paul" });
        put(&site, &format!("a/{}/{n}", directory_of(2)), 1, with(other, "PatientComments", &format!("part {n}")));
    }
    let one = Index::sqlite(site.path("one.db"));
    ordinary(&site, &one, &["a"], &[]);
    let index = site.sqlite();
    read_shards(&site, &["a"]);
    merge(&site, &index, &[]).exits(1);
    unmark(&site, "merge", "journal");
    index.execute("UPDATE study SET modalities = NULL");
    shard(&site, 2, &["a"], &[]);
    merge(&site, &index, &[]).exits(1);
    assert_same(&one.dump(), &index.dump(), "rows");
}

/// Kills a merge just before its last marks, runs it again, and compares the result with one run.
#[track_caller]
fn killed_at_its_end(site: &Site, index: &Index) {
    let one = Index::sqlite(site.path("one.db"));
    let (_, expected) = ordinary(site, &one, &["a"], &[]);
    for what in ["undisturbed", "after a kill"] {
        merge(site, index, &[]).exits(1);
        assert_same(&one.dump(), &index.dump(), what);
        assert_same(&expected, &listed(site, &LISTS), what);
        unmark(site, "merge", "journal");
    }
}

#[test]
fn a_file_that_lost_to_one_of_another_shard_is_listed_again_after_a_kill() {
    for (first, second) in [(1, 2), (2, 1)] {
        let site = Site::new();
        put(&site, &format!("a/{}/1", directory_of(1)), first, instance(1, 1));
        put(&site, &format!("a/{}/2", directory_of(2)), second, instance(1, 1));
        let index = site.sqlite();
        for n in 1..=2 {
            shard(&site, n, &["a"], &[]);
        }
        killed_at_its_end(&site, &index);
    }
}

#[test]
fn each_of_several_files_that_lost_is_listed_once() {
    let site = Site::new();
    let index = site.sqlite();
    // The files are read in this order; each is better than those before.
    for (n, days) in [(1, 1), (2, 2), (1, 3), (1, 4), (2, 5)] {
        put(&site, &format!("a/{}/{days}", directory_of(n)), days, instance(1, 1));
        shard(&site, n as u32, &["a"], &[]);
    }
    killed_at_its_end(&site, &index);
}
