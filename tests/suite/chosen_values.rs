//! Files that are not chosen determine no row: the index is the same as if only the indexed files
//! existed.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};

use crate::shards::site::{merge, read_shards};
use crate::support::random::Random;
use crate::support::{Index, ROOT_UID, Said, Site, beyond, instance_file, on_both_databases, walk};

/// The differing values of the copies that are not chosen.
const DIFFERENCES: [(&str, &[(&str, &str)]); 8] = [
    ("nothing", &[]),
    ("the patient", &[("PatientID", "P2")]),
    ("the name", &[("PatientName", "Roe^Richard")]),
    ("the spelling of the ID", &[("PatientID", "p1")]),
    ("the study", &[("StudyInstanceUID", "1.2.3.4.5.6")]),
    ("the series", &[("SeriesInstanceUID", "1.2.3.4.5.7")]),
    ("values", &[("StudyDescription", "Thorax"), ("SeriesDescription", "lung"), ("PatientWeight", "99")]),
    (
        "all",
        &[
            ("PatientID", "P2"),
            ("PatientName", "Roe^Richard"),
            ("StudyInstanceUID", "1.2.3.4.5.6"),
            ("SeriesInstanceUID", "1.2.3.4.5.7"),
            ("StudyDescription", "Thorax"),
        ],
    ),
];

fn instance(n: u32, change: &[(&str, &str)]) -> Vec<u8> {
    let mut all = json!({
        "PatientID": "P1", "PatientName": "Doe^Jane", "StudyInstanceUID": format!("{ROOT_UID}.1"),
        "SeriesInstanceUID": format!("{ROOT_UID}.1.1"), "SOPInstanceUID": format!("{ROOT_UID}.1.1.{n}"),
        "StudyDescription": "Abdomen",
    });
    change.iter().for_each(|(keyword, value)| all[*keyword] = json!(value));
    instance_file(all)
}

/// Writes a file whose age is given in minutes.
fn write(path: &Path, bytes: &[u8], age: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    let modified = SystemTime::now() - Duration::from_secs(60 * age);
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

/// Builds an index only from the files that another index names, so that files that are not indexed
/// leave no rows.
fn index_of_chosen_files(site: &Site, index: &Index, roots: &[&str], more: &[&str]) -> Vec<String> {
    let chosen: HashSet<PathBuf> = index.rows("SELECT path FROM image").into_iter().map(PathBuf::from).collect();
    let aside = site.path("aside");
    let moved: Vec<PathBuf> =
        roots.iter().flat_map(|root| walk(&site.path(root))).filter(|path| !chosen.contains(path)).collect();
    let aside_of = |path: &PathBuf| aside.join(path.strip_prefix(site.path("")).unwrap());
    for path in &moved {
        fs::create_dir_all(aside_of(path).parent().unwrap()).unwrap();
        fs::rename(path, aside_of(path)).unwrap();
    }
    let _ = fs::remove_dir_all(site.path("reference"));
    let _ = fs::remove_file(site.path("reference.db"));
    let reference =
        if index.url.starts_with("sqlite") { Index::sqlite(site.path("reference.db")) } else { Index::mariadb(site) };
    let said = run(site, &reference, roots, "reference", more);
    assert!(said.exit < 2, "{}{}", said.out, said.err);
    moved.iter().for_each(|path| fs::rename(aside_of(path), path).unwrap());
    reference.dump()
}

fn run(site: &Site, index: &Index, roots: &[&str], state: &str, more: &[&str]) -> Said {
    let roots: Vec<String> = roots.iter().map(|root| site.path(root).to_str().unwrap().to_owned()).collect();
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let _ = fs::remove_file(site.path("list"));
    let options = [
        "reindex",
        "--index",
        &index.url,
        "--quiet",
        "--min-age",
        "0s",
        "--state",
        state,
        "--rejected",
        "list",
        "--allow-unmapped-paths",
    ];
    let mut command = site.program(&[&options, more, &["--"], &roots].concat());
    Said::of(command.env("PACS_INDEX_PASSWORD", crate::support::PASSWORD))
}

#[track_caller]
fn assert_only_chosen_files_count(site: &Site, index: &Index, roots: &[&str], more: &[&str], what: &str) {
    let expected = index_of_chosen_files(site, index, roots, more);
    let found = index.dump();
    assert_eq!(
        (beyond(&expected, &found), beyond(&found, &expected)),
        (vec![], vec![]),
        "missing, and too many: {what}"
    );
}

/// Indexes files that are chosen and copies that are not, in one run or in two.
fn with_copies(chosen: &str, other: &str, change: &[(&str, &str)], before: &str, portion: &str, what: &str) {
    let site = Site::in_memory();
    let index = site.sqlite();
    let more = ["--portion", portion];
    let put = |is_chosen: bool| {
        for n in 1..=3 {
            let (day, change, age) = if is_chosen { (chosen, &[][..], 50) } else { (other, change, 100) };
            write(&site.archive().join(format!("{day}/{n}")), &instance(n, change), age);
        }
    };
    if !before.is_empty() {
        put(before == "the chosen files");
        assert!(run(&site, &index, &["archive"], "state", &more).exit < 2);
    }
    put(true);
    put(false);
    let said = run(&site, &index, &["archive"], "state", &more);
    assert!(said.exit < 2, "{}{}", said.out, said.err);
    let paths = index.rows("SELECT path FROM image");
    assert!(paths.len() == 3 && paths.iter().all(|path| path.contains(chosen)), "{what}: {paths:?}");
    assert_only_chosen_files_count(&site, &index, &["archive"], &[], what);
    let rows = index.dump();
    run(&site, &index, &["archive"], "state", &more);
    assert_eq!(index.dump(), rows, "the same command once more: {what}");
}

#[test]
fn a_file_that_is_not_chosen_determines_no_row_whenever_it_is_read() {
    const PORTIONS: [&str; 3] = ["1", "7", "500"];
    let mut tried = 0;
    for (difference, change) in DIFFERENCES {
        for (chosen, other) in [("2021-11-12-FRI", "2021-11-11-THU"), ("2021-11-11-THU", "2021-11-12-FRI")] {
            for before in ["", "the copies", "the chosen files"] {
                tried += 1;
                let portions = if is_long() { &PORTIONS[..] } else { &PORTIONS[tried % 2..=tried % 2] };
                for portion in portions {
                    let what =
                        format!("{difference} differs, chosen in {chosen}, before: {before}, portions of {portion}");
                    with_copies(chosen, other, change, before, portion, &what);
                }
            }
        }
    }
}

/// Adds files of a few instances below two roots. They disagree about all values above the
/// instances.
fn put_copies(site: &Site, random: &mut Random, files: u32) {
    // Keeps each root from being empty.
    for (n, root) in ["a", "b"].into_iter().enumerate() {
        write(&site.path(&format!("{root}/keep")), &instance(100 + n as u32, &[("PatientID", "P9")]), 100);
    }
    for n in 0..files {
        let instance_number = random.below(files as usize / 3) as u32;
        let (patient, study, series) = (random.below(4), random.below(5), random.below(3));
        let change: Vec<(&str, String)> = vec![
            ("PatientID", ["P1", "p1", "P2", "P3"][patient].to_owned()),
            ("PatientName", ["Doe^Jane", "Roe^Richard", "DOE^JANE"][random.below(3)].to_owned()),
            ("StudyInstanceUID", format!("{ROOT_UID}.{study}")),
            ("SeriesInstanceUID", format!("{ROOT_UID}.{study}.{series}")),
            ("SOPInstanceUID", format!("{ROOT_UID}.9.{instance_number}")),
            ("StudyDescription", ["Thorax", "Abdomen", ""][random.below(3)].to_owned()),
            ("Modality", ["CT", "MR", "SR"][random.below(3)].to_owned()),
            ("PatientWeight", ["70", "71", ""][random.below(3)].to_owned()),
        ];
        let mut all = Json::Object(serde_json::Map::new());
        change.into_iter().for_each(|(keyword, value)| all[keyword] = Json::String(value));
        let day = ["2021-11-11-THU", "2021-11-12-FRI", "2021-11-13-SAT"][random.below(3)];
        let root = ["a", "b"][random.below(2)];
        write(&site.path(&format!("{root}/{day}/{n}")), &instance_file(all), 50 + random.below(1000) as u64);
    }
}

/// Moves a random part of the files out of the roots while `then` runs.
fn without_a_part(site: &Site, random: &mut Random, then: impl FnOnce()) {
    let moved: Vec<PathBuf> = ["a", "b"]
        .iter()
        .flat_map(|root| walk(&site.path(root)))
        .filter(|path| !path.ends_with("keep") && random.below(2) == 0)
        .collect();
    let outside = site.path("outside");
    fs::create_dir_all(&outside).unwrap();
    let place = |n: usize| outside.join(n.to_string());
    moved.iter().enumerate().for_each(|(n, path)| fs::rename(path, place(n)).unwrap());
    then();
    moved.iter().enumerate().for_each(|(n, path)| fs::rename(place(n), path).unwrap());
}

fn is_long() -> bool {
    std::env::var_os("PACS_INDEX_TEST_LONG").is_some()
}

fn seeds(short: u64, long: u64) -> std::ops::Range<u64> {
    let first = std::env::var("PACS_INDEX_TEST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    first..first + if is_long() { long } else { short }
}

const CHOICES: [&str; 3] = ["newest", "oldest", "first-root"];

#[test]
fn copies_that_disagree_give_the_index_of_the_chosen_files_alone() {
    for seed in seeds(30, 400) {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let site = Site::in_memory();
        put_copies(&site, &mut random, 40);
        let index = if seed % 5 == 0 { Index::mariadb(&site) } else { site.sqlite() };
        let choice = CHOICES[random.below(3)];
        let portion = ["1", "7", "500"][random.below(3)];
        let threads = ["1", "4"][random.below(2)];
        let more = ["--duplicates", choice, "--portion", portion, "--io-threads", threads];
        let runs = random.below(3);
        for _ in 0..runs {
            without_a_part(&site, &mut random, || {
                let said = run(&site, &index, &["a", "b"], "state", &more);
                assert!(said.exit < 2, "{}{}", said.out, said.err);
            });
        }
        let said = run(&site, &index, &["a", "b"], "state", &more);
        assert!(said.exit < 2, "{}{}", said.out, said.err);
        let what = format!("seed {seed}, {choice}, portions of {portion}, {threads} threads, after {runs} runs");
        assert_only_chosen_files_count(&site, &index, &["a", "b"], &["--duplicates", choice], &what);
    }
}

#[test]
fn shards_whose_copies_disagree_give_the_index_of_the_chosen_files_alone() {
    for seed in seeds(10, 100) {
        let mut random = Random(seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1);
        let site = Site::in_memory();
        put_copies(&site, &mut random, 40);
        let index = site.sqlite();
        let choice = CHOICES[random.below(3)];
        let portion = ["1", "7", "500"][random.below(3)];
        let more = ["--duplicates", choice];
        site.run(&["init", "--index", &index.url]).exits(0);
        read_shards(&site, &["a", "b"]);
        let said = merge(&site, &index, &[&more[..], &["--portion", portion]].concat());
        assert!(said.exit < 2, "{}{}", said.out, said.err);
        let what = format!("seed {seed}, {choice}, portions of {portion}");
        assert_only_chosen_files_count(&site, &index, &["a", "b"], &more, &what);
    }
}

#[test]
fn a_row_without_a_chosen_file_that_was_edited_or_is_used_stays_and_is_reported() {
    let uses = [
        ("patient", "UPDATE patient SET lastname = 'Edited' WHERE origid = 'P2'"),
        ("patient", "INSERT INTO study (uuid, patientid) VALUES ('9.9', 'P2')"),
        ("study", "INSERT INTO studynotes (uuid, notes) VALUES ('1.2.3.4.5.6', 'read')"),
        ("study", "UPDATE study SET reviewed = 'weber' WHERE uuid = '1.2.3.4.5.6'"),
        ("study", "INSERT INTO export (jobid, uuid) VALUES (1, '1.2.3.4.5.6')"),
        ("series", "UPDATE series SET description = 'edited' WHERE uuid = '1.2.3.4.5.7'"),
        ("series", "INSERT INTO image (uuid, seriesuid, path) VALUES ('9.9', '1.2.3.4.5.7', '/x')"),
    ];
    for (table, sql) in uses {
        for is_mariadb in [false, true] {
            let site = Site::in_memory();
            let index = if is_mariadb { Index::mariadb(&site) } else { site.sqlite() };
            let (_, change) = DIFFERENCES[7];
            write(&site.archive().join("2021-11-11-THU/1"), &instance(1, change), 100);
            site.reindex(&index, &[]).exits(0);
            for user in [
                "CREATE TABLE IF NOT EXISTS studynotes (uuid VARCHAR(64), notes VARCHAR(64))",
                "CREATE TABLE IF NOT EXISTS export (jobid INT, uuid VARCHAR(128))",
                sql,
            ] {
                index.execute(user);
            }
            write(&site.archive().join("2021-11-12-FRI/1"), &instance(1, &[]), 50);
            let said = site.reindex(&index, &[]);
            assert!(said.exit < 2, "{}{}", said.out, said.err);
            // A row that stays keeps its parents.
            let rows =
                [("series", "uuid", "1.2.3.4.5.7"), ("study", "uuid", "1.2.3.4.5.6"), ("patient", "origid", "P2")];
            let kept = rows.iter().skip_while(|(of, ..)| *of != table);
            let left = site.findings("note").into_iter().filter(|line| line.contains("row-without-file"));
            // A patient row that was edited, or that others use, no longer belongs to this program.
            let reported = if table == "patient" { 0 } else { kept.clone().count() };
            assert_eq!(left.count(), reported, "{sql}");
            for (of, column, key) in rows {
                let is_kept = kept.clone().any(|(kept, ..)| *kept == of);
                let count = format!("SELECT COUNT(*) FROM {of} WHERE {column} = '{key}'");
                assert_eq!(index.rows(&count), [u8::from(is_kept).to_string()], "{sql}: {of}");
            }
        }
    }
}

/// Truncates the log of a state directory to that of a run that was killed before it recorded its
/// end.
fn unmark(site: &Site) {
    let log = site.kept("state", "catalogue").join("log");
    let bytes = fs::read(&log).unwrap();
    let frame = bytes.len() - 9;
    assert_eq!(bytes[frame], 5, "the last frame is another");
    fs::write(&log, &bytes[..frame]).unwrap();
}

#[test]
fn better_files_that_come_after_a_run_was_killed_in_its_last_step_count_alone() {
    for seed in seeds(12, 200) {
        let mut random = Random(seed.wrapping_mul(0xA24B_AED4_963E_E407) | 1);
        let site = Site::in_memory();
        put_copies(&site, &mut random, 30);
        let index = site.sqlite();
        let more = ["--portion", ["1", "7", "500"][random.below(3)], "--io-threads", "1"];
        without_a_part(&site, &mut random, || {
            let said = run(&site, &index, &["a", "b"], "state", &more);
            assert!(said.exit < 2, "{}{}", said.out, said.err);
            unmark(&site);
        });
        let said = run(&site, &index, &["a", "b"], "state", &more);
        assert!(said.exit < 2, "{}{}", said.out, said.err);
        assert_only_chosen_files_count(&site, &index, &["a", "b"], &[], &format!("seed {seed}"));
    }
}

#[test]
fn an_image_whose_row_was_deleted_leaves_the_series_of_its_former_file() {
    let site = Site::in_memory();
    let index = site.sqlite();
    let (_, change) = DIFFERENCES[7];
    write(&site.archive().join("2021-11-11-THU/1"), &instance(1, change), 100);
    write(&site.archive().join("2021-11-11-THU/2"), &instance(2, change), 100);
    run(&site, &index, &["archive"], "state", &[]).exits(0);
    index.execute(&format!("DELETE FROM image WHERE uuid = '{ROOT_UID}.1.1.1'"));
    write(&site.archive().join("2021-11-12-FRI/1"), &instance(1, &[]), 50);
    assert!(run(&site, &index, &["archive"], "state", &[]).exit < 2);
    assert_only_chosen_files_count(&site, &index, &["archive"], &[], "an image row was deleted");
}

#[test]
fn a_run_over_one_root_does_not_take_an_image_from_a_better_file_below_another() {
    for more in [&[][..], &["--force"]] {
        let site = Site::in_memory();
        let index = site.sqlite();
        write(&site.path("a/2021-11-12-FRI/1"), &instance(1, &[("PatientID", "P2")]), 100);
        write(&site.path("b/2021-11-12-FRI/1"), &instance(1, &[]), 50);
        assert!(run(&site, &index, &["a", "b"], "state", &[]).exit < 2);
        let rows = index.dump();
        assert!(run(&site, &index, &["a"], "state", more).exit < 2);
        assert_eq!(index.dump(), rows);
        assert!(run(&site, &index, &["a", "b"], "state", more).exit < 2);
        assert_eq!(index.dump(), rows);
    }
}

#[test]
fn a_code_that_only_a_former_file_of_the_patient_has_is_withdrawn() {
    on_both_databases(|site, index| {
        let code = json!([{"CodeValue": "C1", "CodingSchemeDesignator": "99EX", "CodeMeaning": "meaning"}]);
        let with_code = json!({
            "PatientID": "P1", "PatientName": "Doe^Jane", "SOPInstanceUID": format!("{ROOT_UID}.1.1.1"),
            "PatientSpeciesCodeSequence": code,
        });
        write(&site.archive().join("2021-11-11-THU/1"), &instance_file(with_code), 100);
        write(&site.archive().join("2021-11-11-THU/2"), &instance(2, &[]), 100);
        run(site, index, &["archive"], "state", &[]);
        assert_eq!(index.count("patientspeciescode"), 1);
        write(&site.archive().join("2021-11-12-FRI/1"), &instance(1, &[]), 50);
        assert!(run(site, index, &["archive"], "state", &[]).exit < 2);
        assert_eq!(index.count("patientspeciescode"), 0);
    });
}
