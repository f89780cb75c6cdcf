//! Slices over an index that had rows before.

use std::fs;

use crate::conflicts::put_conflicts;
use crate::support::{Index, Site};

use super::site::*;

/// Rows of an older index, which lack this and that, and were edited.
const HARMS: [&str; 10] = [
    "UPDATE study SET description = NULL WHERE rowid % 2 = 0",
    "UPDATE series SET description = NULL, modality = NULL WHERE rowid % 2 = 0",
    "UPDATE patient SET weight = NULL, comments = NULL",
    "DELETE FROM patient WHERE origid = 'P1'",
    "DELETE FROM patient WHERE origid LIKE '%[%'",
    "DELETE FROM patient WHERE origid NOT LIKE '%[%'",
    "DELETE FROM study WHERE rowid % 2 = 0",
    "DELETE FROM series WHERE rowid % 2 = 0",
    "UPDATE patient SET lastname = 'Smith' WHERE origid = 'P4'",
    "UPDATE study SET patientid = 'Other' WHERE rowid % 4 = 0",
];

#[test]
fn slices_over_an_index_that_had_rows_are_as_one_run() {
    let chosen = std::env::var("SEEDS").unwrap_or("0..4".into());
    let (from, to) = chosen.split_once("..").unwrap();
    let options: [&[&str]; 5] = [
        &[],
        &["--duplicates", "oldest"],
        &["--duplicates", "first-root"],
        &["--patient-conflicts", "merge"],
        &["--existing", "refresh"],
    ];
    for seed in from.parse::<u64>().unwrap()..to.parse().unwrap() {
        let site = Site::in_memory();
        put_conflicts(&site, seed);
        let before = Index::sqlite(site.path("before.db"));
        ordinary(&site, &before, &["a"], &[]);
        let harm = HARMS[seed as usize % HARMS.len()];
        before.execute(harm);
        let more = options[seed as usize / HARMS.len() % options.len()];
        let more = [more, &["--undo", "undo"]].concat();
        let more = if more.contains(&"refresh") { more } else { more[..more.len() - 2].to_vec() };
        let one = copy(&site, "before.db", "one.db");
        let _ = fs::remove_file(site.path("undo"));
        let (said, expected) = ordinary(&site, &one, &["a", "b", "c"], &more);
        said.exits(1);
        if std::env::var_os("SEEDS").is_some() {
            for threads in ["1", "3", "64"] {
                let two = copy(&site, "before.db", "two.db");
                let _ = fs::remove_file(site.path("undo"));
                let (_, again) = ordinary(
                    &site,
                    &two,
                    if threads == "3" { &["c", "b", "a"] } else { &["b", "c", "a"] },
                    &[&more[..], &["--io-threads", threads]].concat(),
                );
                let (a, b) = (beyond(&one.dump(), &two.dump()), beyond(&two.dump(), &one.dump()));
                if (&a, &b) != (&vec![], &vec![]) || again != expected {
                    println!("seed {seed} {harm} ORDINARY {threads}: {a:?} {b:?} {}", again == expected);
                }
            }
        }
        let index = copy(&site, "before.db", "index.db");
        for n in 1..=2 {
            let _ = fs::remove_file(site.path("undo"));
            let said = slice(&site, &index, n, &["a", "b", "c"], &more);
            assert!(said.exit < 2, "{}{}", said.out, said.err);
        }
        let _ = fs::remove_file(site.path("undo"));
        finish(&site, &index, &more).exits(1);
        let (rows, found) = ((one.dump(), index.dump()), listed(&site, &LISTS));
        let differs = |a: &[String], b: &[String]| (beyond(a, b), beyond(b, a));
        let (rows, found) = (differs(&rows.0, &rows.1), differs(&expected, &found));
        let is_same = [&rows.0, &rows.1, &found.0, &found.1].iter().all(|lines| lines.is_empty());
        println!("seed {seed} {more:?} {harm}: {}", if is_same { "same" } else { "DIFFERS" });
        if !is_same {
            for (what, index) in [("one", &one), ("slices", &index)] {
                let wrong = "SELECT uuid, modalities, (SELECT group_concat(m, ' ') FROM (SELECT DISTINCT modality m FROM series WHERE studyuid = study.uuid AND modality IS NOT NULL ORDER BY 1)) t FROM study WHERE modalities <> t";
                println!("  wrong modalities of {what}: {:?}", index.rows(wrong));
            }
            let show = |what: &str, lines: &[String]| {
                println!("  {what} {}", lines.len());
                lines.iter().take(3).for_each(|line| println!("    {line}"));
            };
            show("rows missing", &rows.0);
            show("rows too many", &rows.1);
            show("findings missing", &found.0);
            show("findings too many", &found.1);
        }
        if std::env::var_os("SEEDS").is_none() {
            assert!(is_same, "seed {seed}");
        }
    }
}
