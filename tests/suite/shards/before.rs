//! Shards over an index with existing rows.

use std::fs;

use crate::conflicts::put_conflicts;
use crate::support::{Index, Site};

use super::is_long;
use super::site::*;

const OLDEST: &[&str] = &["--duplicates", "oldest"];
const FIRST_ROOT: &[&str] = &["--duplicates", "first-root"];
const MERGE: &[&str] = &["--patient-conflicts", "merge"];
const REFRESH: &[&str] = &["--existing", "refresh", "--undo", "undo"];
const OPTIONS: [&[&str]; 5] = [&[], OLDEST, FIRST_ROOT, MERGE, REFRESH];

/// Changes to the rows of an older index, after which values are missing, edited or wrong. Each
/// comes with a store and the options with which the change has once made a difference, if any has.
const HARMS: [(&str, u64, &[&str]); 17] = [
    ("UPDATE study SET description = NULL WHERE rowid % 2 = 0", 0, &[]),
    ("UPDATE series SET description = NULL, modality = NULL WHERE rowid % 2 = 0", 10, OLDEST),
    ("UPDATE patient SET weight = NULL, comments = NULL", 2, MERGE),
    ("DELETE FROM patient WHERE origid = 'P1'", 3, REFRESH),
    ("DELETE FROM patient WHERE origid = 'P1'", 17, &[]),
    ("DELETE FROM series WHERE rowid % 2 = 0", 7, OLDEST),
    ("DELETE FROM series WHERE rowid % 2 = 0", 39, MERGE),
    ("DELETE FROM study WHERE rowid % 2 = 0", 5, FIRST_ROOT),
    ("DELETE FROM study WHERE rowid % 2 = 0", 27, REFRESH),
    ("DELETE FROM patient WHERE rowid % 2 = 0", 2, MERGE),
    ("DELETE FROM patient WHERE rowid % 2 = 0", 9, &[]),
    ("DELETE FROM image WHERE rowid % 2 = 0", 8, &[]),
    ("UPDATE study SET modalities = NULL, received = NULL WHERE rowid % 2 = 0", 6, REFRESH),
    (
        "DELETE FROM series WHERE rowid % 3 = 0; DELETE FROM study WHERE rowid % 3 = 0;
         UPDATE image SET path = '/gone' WHERE rowid % 5 = 0",
        9,
        MERGE,
    ),
    (
        "UPDATE series SET instances = 99; UPDATE study SET modalities = 'XX';
         DELETE FROM series WHERE rowid % 4 = 1; DELETE FROM image WHERE rowid % 7 = 0;
         DELETE FROM patient WHERE rowid % 2 = 1",
        7,
        MERGE,
    ),
    (
        "UPDATE series SET instances = NULL, modality = NULL WHERE rowid % 3 = 0;
         UPDATE study SET modalities = NULL, sourceae = NULL WHERE rowid % 2 = 0;
         UPDATE patient SET firstname = 'Edited' WHERE rowid % 3 = 0",
        1,
        &[],
    ),
    (
        "UPDATE image SET seriesuid = (SELECT MIN(uuid) FROM series) WHERE rowid % 9 = 0;
         UPDATE series SET studyuid = (SELECT MIN(uuid) FROM study) WHERE rowid % 5 = 0;
         UPDATE study SET patientid = 'P1' WHERE rowid % 4 = 0",
        4,
        REFRESH,
    ),
];

/// Compares one run with shards, over an index that contains a part of the archive and was changed.
fn over_an_index(seed: u64, harm: &str, more: &[&str]) {
    let site = Site::in_memory();
    put_conflicts(&site, seed);
    // No existing row is below the other roots.
    let more = &[more, &["--allow-unmapped-paths"]].concat();
    let before = Index::sqlite(site.path("before.db"));
    ordinary(&site, &before, &["a"], &[]);
    before.execute(harm);
    let begin = |name: &str| {
        let _ = fs::remove_file(site.path("undo"));
        copy(&site, "before.db", name)
    };
    let one = begin("one.db");
    // The portion size determines whether the run's data about rows is on disk after a few files or
    // in memory.
    // If a series is inserted for a file that is later replaced by a better one, the modalities of
    // a study of other files are recomputed. If they were wrong before, the result depends on which
    // file came first.
    let has_wrong_modalities = harm.contains("UPDATE series SET studyuid");
    let portion = if has_wrong_modalities { "500" } else { ["1", "7", "500"][seed as usize % 3] };
    let more = &[&more[..], &["--portion", portion]].concat();
    let (said, expected) = ordinary(&site, &one, &["a", "b", "c"], more);
    said.exits(1);
    let what = format!("store {seed}, {more:?}, {harm}");
    let rows = one.dump();
    unmark(&site, "one", "journal");
    let _ = fs::remove_file(site.path("undo"));
    let (_, found) = again(&site, &one, &["a", "b", "c"], more);
    assert_same(&rows, &one.dump(), &format!("rows of one run after a kill, {what}"));
    assert_same(&expected, &found, &format!("findings of one run after a kill, {what}"));
    let index = begin("index.db");
    read_shards(&site, &["a", "b", "c"]);
    for what in [what.clone(), format!("after a kill, {what}")] {
        merge(&site, &index, more).exits(1);
        assert_same(&rows, &index.dump(), &format!("rows, {what}"));
        assert_same(&expected, &listed(&site, &LISTS), &format!("findings, {what}"));
        unmark(&site, "merge", "journal");
        let _ = fs::remove_file(site.path("undo"));
    }
}

#[test]
fn shards_over_an_index_that_had_rows_are_as_one_run() {
    for (n, (harm, seed, more)) in HARMS.into_iter().enumerate() {
        over_an_index(seed, harm, more);
        for seed in 0..if is_long() { 40 } else { 0 } {
            over_an_index(seed, harm, OPTIONS[(n + seed as usize) % OPTIONS.len()]);
        }
    }
}
