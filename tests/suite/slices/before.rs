//! Slices over an index that had rows before.

use std::fs;

use crate::conflicts::put_conflicts;
use crate::support::{Index, Site};

use super::site::*;

/// Rows of an older index, which lack this and that, and were edited.
const HARMS: [&str; 4] = [
    "UPDATE study SET description = NULL WHERE rowid % 2 = 0",
    "UPDATE series SET description = NULL, modality = NULL WHERE rowid % 2 = 0",
    "UPDATE patient SET weight = NULL, comments = NULL",
    "DELETE FROM patient WHERE origid = 'P1'",
];

#[test]
fn slices_over_an_index_that_had_rows_are_as_one_run() {
    let options: [&[&str]; 4] = [
        &[],
        &["--duplicates", "first-root"],
        &["--patient-conflicts", "merge"],
        &["--existing", "refresh", "--undo", "undo"],
    ];
    for (seed, more) in options.into_iter().enumerate() {
        let site = Site::in_memory();
        put_conflicts(&site, seed as u64);
        let before = Index::sqlite(site.path("before.db"));
        ordinary(&site, &before, &["a"], &[]);
        let harm = HARMS[seed];
        before.execute(harm);
        let one = copy(&site, "before.db", "one.db");
        let (said, expected) = ordinary(&site, &one, &["a", "b", "c"], more);
        said.exits(1);
        let index = copy(&site, "before.db", "index.db");
        for n in 1..=2 {
            let _ = fs::remove_file(site.path("undo"));
            let said = slice(&site, &index, n, &["a", "b", "c"], more);
            assert!(said.exit < 2, "{}{}", said.out, said.err);
        }
        let _ = fs::remove_file(site.path("undo"));
        finish(&site, &index, more).exits(1);
        assert_same(&one.dump(), &index.dump(), &format!("rows, seed {seed}, {harm}"));
        assert_same(&expected, &listed(&site, &LISTS), &format!("findings, seed {seed}, {harm}"));
    }
}
