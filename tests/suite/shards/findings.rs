//! Shards give the rows and findings of one run, whatever happens before they are finalized.

use std::fs;

use serde_json::json;

use crate::conflicts::put;
use crate::support::{Index, ROOT_UID, Site};

use super::site::*;

#[test]
fn shards_of_roots_that_are_not_named_in_alphabetical_order_can_be_finished() {
    let site = Site::new();
    put(&site, "a/x/1", 1, instance(1, 1));
    put(&site, "b/x/1", 2, instance(1, 2));
    let index = site.sqlite();
    for n in 1..=2 {
        shard(&site, n, &["b", "a"], &[]).exits(0);
    }
    merge(&site, &index, &[]).exits(0);
}

#[test]
fn a_file_that_the_database_refuses_is_listed_by_shards_too() {
    let site = Site::new();
    put(&site, &format!("a/{}/1", directory_of(1)), 1, instance(1, 1));
    put(&site, &format!("a/{}/2", directory_of(2)), 1, instance(1, 2));
    let make = |name: &str| {
        let index = Index::sqlite(site.path(name));
        site.run(&["init", "--index", &index.url]).exits(0);
        index.execute(
            "CREATE TRIGGER no BEFORE INSERT ON image WHEN new.instance = 2 BEGIN SELECT RAISE(ABORT, 'no'); END",
        );
        index
    };
    let (_, expected) = ordinary(&site, &make("one.db"), &["a"], &[]);
    assert_eq!(expected.len(), 1, "{expected:?}");
    let index = make("index.db");
    read_shards(&site, &["a"]);
    merge(&site, &index, &[]);
    assert_same(&expected, &listed(&site, &LISTS), "findings");
}

#[test]
fn an_image_that_the_index_links_otherwise_is_listed_by_shards_too() {
    let site = Site::new();
    put(&site, &format!("a/{}/1", directory_of(1)), 1, instance(1, 1));
    let index = site.sqlite();
    ordinary(&site, &index, &["a"], &[]).0.exits(0);
    index.execute("INSERT INTO series (uuid, studyuid) SELECT '1.9', studyuid FROM series");
    index.execute("UPDATE image SET seriesuid = '1.9'");
    let (_, expected) = ordinary(&site, &index, &["a"], &[]);
    assert!(expected.iter().any(|line| line.contains("link-differs")), "{expected:?}");
    read_shards(&site, &["a"]);
    merge(&site, &index, &[]);
    assert_same(&expected, &listed(&site, &LISTS), "findings");
}

#[test]
fn a_merge_of_a_shard_that_was_read_twice_lists_each_file_once() {
    let site = Site::new();
    put(&site, &format!("a/{}/1", directory_of(1)), 1, instance(1, 1));
    put(&site, &format!("a/{}/2", directory_of(1)), 1, instance(1, 2));
    put(&site, &format!("a/{}/1", directory_of(2)), 2, instance(1, 1));
    let one = Index::sqlite(site.path("one.db"));
    let (said, expected) = ordinary(&site, &one, &["a"], &[]);
    let index = site.sqlite();
    for n in [1, 2, 2] {
        shard(&site, n, &["a"], &["--force"]);
    }
    let end = merge(&site, &index, &[]).exits(1);
    assert_eq!(index.dump(), one.dump());
    assert_same(&expected, &listed(&site, &LISTS), "findings");
    assert_eq!(end.figure("files found"), said.figure("files found"), "{}", end.out);
}

#[test]
fn a_shard_that_is_run_twice_counts_a_file_that_changed_once() {
    let site = Site::new();
    put(&site, &format!("a/{}/1", directory_of(1)), 1, instance(1, 1));
    put(&site, &format!("a/{}/2", directory_of(2)), 1, with(instance(1, 2), "StudyDescription", "wrong"));
    let index = site.sqlite();
    for n in [1, 2] {
        shard(&site, n, &["a"], &[]);
    }
    put(&site, &format!("a/{}/2", directory_of(2)), 2, with(instance(1, 2), "StudyDescription", ""));
    shard(&site, 2, &["a"], &[]);
    let end = merge(&site, &index, &[]);
    let one = Index::sqlite(site.path("one.db"));
    let (said, expected) = ordinary(&site, &one, &["a"], &[]);
    assert_eq!(end.figure("files found"), said.figure("files found"), "{}", end.out);
    assert_same(&expected, &listed(&site, &LISTS), "findings");
}

#[test]
fn shards_insert_no_patient_that_one_run_does_not() {
    let site = Site::new();
    put(&site, &format!("a/{}/1", directory_of(1)), 1, instance(1, 1));
    let make = |name: &str| {
        let index = Index::sqlite(site.path(name));
        site.run(&["init", "--index", &index.url]).exits(0);
        index.execute("INSERT INTO patient (origid, lastname, firstname) VALUES ('P1[0123456789ab]', 'Doe', 'Jane')");
        index.execute(&format!("INSERT INTO study (uuid, patientid) VALUES ('{ROOT_UID}.1', 'P1[0123456789ab]')"));
        index
    };
    let one = make("one.db");
    let (_, expected) = ordinary(&site, &one, &["a"], &[]);
    let index = make("index.db");
    read_shards(&site, &["a"]);
    merge(&site, &index, &[]);
    assert_same(&one.dump(), &index.dump(), "rows");
    assert_same(&expected, &listed(&site, &LISTS), "findings");
}

#[test]
fn shards_give_a_patient_that_is_missing_the_name_that_one_run_gives_it() {
    let site = Site::new();
    put(&site, &format!("a/{}/1", directory_of(1)), 1, with(instance(1, 1), "PatientName", "Roe^John"));
    put(&site, &format!("a/{}/2", directory_of(2)), 1, instance(2, 1));
    let make = |name: &str| {
        let index = Index::sqlite(site.path(name));
        ordinary(&site, &index, &["a"], &[]);
        // A table that was repaired with losses: one patient remains, the other is lost.
        let suffixed =
            "SELECT COUNT(*) FROM study INNER JOIN patient ON origid = patientid WHERE patientid LIKE 'P1[%'";
        assert_eq!(index.rows(suffixed), ["1"]);
        index.execute("DELETE FROM patient WHERE origid = 'P1'");
        index
    };
    let one = make("one.db");
    let index = make("index.db");
    // A new instance of the patient whose ID has a suffix, with a longer name.
    put(&site, &format!("a/{}/1", directory_of(2)), 1, with(instance(2, 2), "PatientName", "Doe^Jane Ann"));
    ordinary(&site, &one, &["a"], &[]);
    for n in [2, 1] {
        shard(&site, n, &["a"], &[]);
    }
    merge(&site, &index, &[]);
    let named = "SELECT study.uuid, patient.lastname FROM study INNER JOIN patient ON origid = patientid ORDER BY 1";
    assert_eq!(index.rows(named), one.rows(named));
}

#[test]
fn a_study_that_was_there_gets_the_modality_of_a_new_series_whose_instances_name_two_studies() {
    let site = Site::new();
    let index = site.sqlite();
    put(&site, "a/x/0", 1, instance(2, 1));
    ordinary(&site, &index, &["a"], &[]).0.exits(0);
    let of = |study: u32, n: u32| {
        let series = with(instance(study, n), "SeriesInstanceUID", &format!("{ROOT_UID}.9"));
        with(with(series, "SOPInstanceUID", &format!("{ROOT_UID}.9.{n}")), "Modality", "MR")
    };
    put(&site, "a/x/1", 2, of(1, 1));
    put(&site, "a/x/2", 3, of(2, 2));
    let run = ["--received-from", "mtime"];
    ordinary(&site, &index, &["a"], &run);
    let link = format!("SELECT studyuid FROM series WHERE uuid = '{ROOT_UID}.9'");
    assert_eq!(index.rows(&link), [format!("{ROOT_UID}.2")], "the last instance decides");
    assert_eq!(index.rows("SELECT modalities FROM study WHERE uuid LIKE '%.2'"), ["CT MR"]);
}

#[test]
fn a_patient_with_a_suffix_is_filled_by_its_last_instance_be_its_study_new_or_not() {
    for _ in 0..12 {
        let site = Site::new();
        let index = site.sqlite();
        let roe = |study: u32, n: u32, comments: &str| {
            with(with(instance(study, n), "PatientName", "Roe^John"), "PatientComments", comments)
        };
        put(&site, "a/2021-11-11-THU/0", 1, instance(1, 1));
        put(&site, "a/2021-11-11-THU/1", 1, roe(2, 1, ""));
        ordinary(&site, &index, &["a"], &[]).0.exits(1);
        assert_eq!(index.rows("SELECT comments FROM patient WHERE origid LIKE 'P1[%'"), ["-"]);
        put(&site, "a/2021-11-12-FRI/2", 2, roe(2, 2, "former"));
        put(&site, "a/2021-11-13-SAT/3", 3, roe(3, 1, "last"));
        ordinary(&site, &index, &["a"], &[]).0.exits(1);
        assert_eq!(index.count("patient"), 2);
        assert_eq!(index.rows("SELECT comments FROM patient WHERE origid LIKE 'P1[%'"), ["last"]);
    }
}

/// Reads the shards, makes a change, and merges; compares the result with one run over the final
/// files.
#[track_caller]
fn changed_before_the_end(change: impl Fn(&Site), runs_again: &[u32]) {
    let site = Site::new();
    for n in 1..=3 {
        put(&site, &format!("a/{}/{n}", directory_of(1)), 1, instance(1, n));
        put(&site, &format!("a/{}/{n}", directory_of(2)), 1, instance(2, n));
    }
    let index = site.sqlite();
    for n in 1..=2 {
        shard(&site, n, &["a"], &[]).exits(0);
    }
    change(&site);
    for n in runs_again {
        shard(&site, *n, &["a"], &[]);
    }
    let end = merge(&site, &index, &[]);
    assert!(end.exit < 2, "{}", end.err);
    let one = Index::sqlite(site.path("one.db"));
    let (_, expected) = ordinary(&site, &one, &["a"], &[]);
    println!("{}", end.out);
    assert_same(&one.dump(), &index.dump(), "rows");
    assert_same(&expected, &listed(&site, &LISTS), "findings");
}

#[test]
fn a_second_file_of_an_instance_that_comes_before_the_end_is_told() {
    let to = |site: &Site| put(site, &format!("a/{}/twice", directory_of(2)), 9, instance(1, 1));
    changed_before_the_end(to, &[2]);
}

#[test]
fn a_file_that_was_removed_before_the_merge_says_nothing() {
    let site = Site::new();
    put(&site, &format!("a/{}/1", directory_of(2)), 1, with(instance(1, 1), "StudyDescription", "first"));
    put(&site, &format!("a/{}/2", directory_of(1)), 2, with(instance(1, 2), "StudyDescription", "removed"));
    put(&site, &format!("a/{}/3", directory_of(2)), 2, instance(2, 1));
    for n in 3..=4 {
        put(&site, &format!("a/{}/{n}", directory_of(1)), 1, with(instance(1, n), "StudyDescription", ""));
    }
    let index = site.sqlite();
    read_shards(&site, &["a"]);
    for gone in [format!("a/{}/2", directory_of(1)), format!("a/{}/3", directory_of(2))] {
        fs::remove_file(site.path(&gone)).unwrap();
    }
    let said = merge(&site, &index, &[]).exits(0);
    assert_eq!(index.rows("SELECT description FROM study"), ["first"]);
    assert_eq!(
        (said.figure("files found"), said.figure("files removed since they were recorded")),
        (3, 2),
        "{}",
        said.out
    );
}

#[test]
fn a_file_that_changed_before_the_merge_is_read_again() {
    let to = |site: &Site| {
        put(site, &format!("a/{}/1", directory_of(1)), 3, with(instance(1, 1), "StudyDescription", "new"))
    };
    changed_before_the_end(to, &[]);
}

#[test]
fn shards_give_images_and_animals_the_titles_and_codes_of_one_run() {
    let code = |value: &str| json!([{"CodeValue": value, "CodingSchemeDesignator": "99EX", "CodeMeaning": format!("meaning of {value}")}]);
    for order in [[1, 2], [2, 1]] {
        for more in [&[][..], &["--duplicates", "oldest"], &["--duplicates", "first-root"]] {
            for (first, second) in [(Some("T1"), Some("T2")), (Some("T1"), None), (None, Some("T2"))] {
                let site = Site::new();
                let report = |n: u64, title: Option<&str>| {
                    let mut all = with(instance(1, 1), "SOPClassUID", "1.2.840.10008.5.1.4.1.1.88.11");
                    all["Modality"] = "SR".into();
                    title.into_iter().for_each(|title| all["ConceptNameCodeSequence"] = code(title));
                    all["PatientSpeciesCodeSequence"] = code(&format!("S{n}"));
                    put(&site, &format!("a/{}/{n}", directory_of(n)), n, all);
                };
                report(1, first);
                report(2, second);
                let mut other = with(instance(2, 1), "PatientName", "Roe^John");
                other["PatientSpeciesCodeSequence"] = code("S3");
                put(&site, &format!("a/{}/3", directory_of(1)), 3, other);
                let one = Index::sqlite(site.path("one.db"));
                let (_, expected) = ordinary(&site, &one, &["a"], more);
                let index = site.sqlite();
                for n in order {
                    shard(&site, n, &["a"], &[]);
                }
                merge(&site, &index, more).exits(1);
                // An empty title is equivalent to none.
                let rows = |index: &Index| -> Vec<String> {
                    index
                        .dump()
                        .into_iter()
                        .filter(|row| !row.ends_with("|-|-|-|-") || !row.starts_with("concept"))
                        .collect()
                };
                assert_same(&rows(&one), &rows(&index), &format!("{order:?} {more:?} {first:?} {second:?}"));
                assert_same(&expected, &listed(&site, &LISTS), "findings");
            }
        }
    }
}

#[test]
fn shards_whose_files_were_all_young_do_not_end_as_a_clean_run() {
    let site = Site::new();
    for n in 1..=2 {
        crate::import::put(&site, &format!("a/{}/1", directory_of(n)), instance(n as u32, 1));
    }
    let index = site.sqlite();
    for n in 1..=2 {
        let said = shard(&site, n, &["a"], &["--min-age", "48h"]).exits(1);
        assert!(said.out.contains("MOST FILES ARE YOUNG"), "{}", said.out);
    }
    let said = merge(&site, &index, &[]).exits(1);
    assert!(said.out.contains("complete, with findings") && said.out.contains("--min-age 0s"), "{}", said.out);
    assert_eq!(index.count("image"), 0);
    for round in 1..=2 {
        (1..=2).for_each(|n| drop(shard(&site, n, &["a"], &[]).exits(0)));
        // In the second round, all files are unchanged.
        let said = merge(&site, &index, &[]).exits(0);
        assert!(!said.out.contains("NO FILE"), "{round}: {}", said.out);
        assert_eq!(index.count("image"), 2);
    }
}

#[test]
fn shards_that_are_read_again_with_narrower_settings_give_the_rows_of_these() {
    let site = Site::new();
    for n in 1..=4 {
        put(&site, &format!("a/2021-11-1{n}-FRI/{n}"), u64::from(n), instance(n, 1));
        put(&site, &format!("a/2021-11-1{n}-FRI/old/{n}"), u64::from(n), instance(10 + n, 1));
    }
    for (narrower, images) in [(["--since", "2021-11-13"], 4), (["--skip-dir", "old"], 4)] {
        ["shard-1", "shard-2", "merge"].iter().for_each(|state| drop(fs::remove_dir_all(site.path(state))));
        let index = Index::sqlite(site.path(&format!("{}.db", narrower[0])));
        read_shards(&site, &["a"]);
        let read = |more: &[&str]| -> u64 {
            (1..=2).map(|n| shard(&site, n, &["a"], more).exits(0)).map(|said| said.figure("recorded")).sum()
        };
        assert_eq!(read(&narrower), 0, "files are not read again");
        let more = if narrower[0] == "--since" { &[][..] } else { &narrower[..] };
        let said = merge(&site, &index, more).exits(0);
        assert_eq!((index.count("image"), said.figure("files found")), (images, images), "{narrower:?}: {}", said.out);
        // Without the restriction, the files that were left out come back.
        assert_eq!(read(&[]), 0);
        merge(&site, &index, &[]).exits(0);
        assert_eq!(index.count("image"), 8);
    }
}

#[test]
fn a_merge_reports_what_its_shards_could_not_read() {
    let site = Site::new();
    for n in 1..=2 {
        put(&site, &format!("a/{}/1", directory_of(n)), 1, instance(n as u32, 1));
    }
    crate::import::put(&site, &format!("a/{}/young", directory_of(1)), instance(3, 1));
    for n in 1..=2 {
        shard(&site, n, &["a"], &["--min-age", "48h"]);
    }
    let index = site.sqlite();
    let said = merge(&site, &index, &["--min-age", "48h"]);
    assert!(said.out.contains("files that shards left to the PACS because they were young 1"), "{}", said.out);
    assert_eq!(index.count("image"), 2);
}

#[test]
fn a_shard_that_is_read_by_force_gives_the_rows_of_what_its_files_contain_now() {
    let site = Site::new();
    let index = site.sqlite();
    let file = format!("a/{}/1", directory_of(1));
    put(&site, &file, 1, with(instance(1, 1), "StudyDescription", "former"));
    put(&site, &format!("a/{}/2", directory_of(2)), 1, instance(2, 1));
    read_shards(&site, &["a"]);
    // The size and the mtime are unchanged.
    put(&site, &file, 1, with(instance(1, 1), "StudyDescription", "latest"));
    shard(&site, 1, &["a"], &["--force"]).exits(0);
    merge(&site, &index, &[]).exits(0);
    assert_eq!(index.rows("SELECT description FROM study WHERE description IS NOT NULL"), ["latest"]);
}

#[test]
fn a_shard_that_was_killed_and_is_continued_from_a_later_day_reads_only_from_that_day_on() {
    let site = Site::new();
    for n in 1..=4 {
        put(&site, &format!("a/2021-11-1{n}-FRI/{n}"), u64::from(n), instance(n, 1));
    }
    let index = site.sqlite();
    read_shards(&site, &["a"]);
    for n in 1..=2 {
        unmark(&site, &format!("shard-{n}"), "shard");
        shard(&site, n, &["a"], &["--since", "2021-11-13"]).exits(0);
    }
    merge(&site, &index, &[]).exits(0);
    assert_eq!(index.count("image"), 2);
    // A shard that was read again with all days does not match the other shard.
    shard(&site, 1, &["a"], &[]).exits(0);
    let said = merge(&site, &index, &[]).exits(2);
    assert!(said.err.contains("a different --since"), "{}", said.err);
}

#[test]
fn damaged_records_of_a_shard_are_reported_until_they_are_read_again() {
    let site = Site::new();
    for n in 1..=2 {
        put(&site, &format!("a/{}/1", directory_of(n)), 1, instance(n as u32, 1));
    }
    let index = site.sqlite();
    read_shards(&site, &["a"]);
    shard(&site, 1, &["a"], &[]).exits(0);
    let log = site.kept("shard-1", "shard").join("log");
    let mut bytes = fs::read(&log).unwrap();
    // The last byte of the first frame with files.
    let (mut frame, mut next) = (32, 32);
    while bytes[frame] != 4 {
        frame = next;
        next += 9 + u32::from_le_bytes(bytes[frame + 1..frame + 5].try_into().unwrap()) as usize;
    }
    bytes[next - 1] ^= 1;
    fs::write(&log, bytes).unwrap();
    for more in [&[][..], &["--force"]] {
        let said = merge(&site, &index, &[]).exits(3);
        assert!(said.err.contains("records of shard 1/2 in shard-1 are damaged"), "{}", said.err);
        shard(&site, 1, &["a"], more).exits(0);
    }
    merge(&site, &index, &[]).exits(0);
    assert_eq!(index.count("image"), 2);
}

#[test]
fn a_directory_that_became_a_link_out_of_the_archive_is_not_merged() {
    let site = Site::new();
    for n in 1..=3 {
        put(&site, &format!("a/x{n}/1"), 1, instance(n, 1));
    }
    let index = site.sqlite();
    read_shards(&site, &["a"]);
    fs::rename(site.path("a/x1"), site.path("outside")).unwrap();
    std::os::unix::fs::symlink(site.path("outside"), site.path("a/x1")).unwrap();
    let said = merge(&site, &index, &[]).exits(0);
    assert_eq!((index.count("image"), said.figure("files removed since")), (2, 1), "{}", said.out);
}

#[test]
fn another_archive_at_the_place_of_the_first_is_reported() {
    let site = Site::new();
    for n in 1..=3 {
        put(&site, &format!("a/x{n}/1"), 1, instance(n, 1));
    }
    let index = site.sqlite();
    read_shards(&site, &["a"]);
    fs::rename(site.path("a"), site.path("elsewhere")).unwrap();
    put(&site, "a/other/1", 1, instance(9, 1));
    let said = merge(&site, &index, &[]).exits(1);
    assert!(said.out.contains("MOST FILES ARE GONE"), "{}", said.out);
}
