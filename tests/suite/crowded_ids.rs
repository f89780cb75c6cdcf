//! One Patient ID with more names and studies than are resolved in memory: the rows equal those of
//! a resolution in memory.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::conflicts::put;
use crate::support::random::Random;
use crate::support::{Index, PASSWORD, ROOT_UID, Said, Site, beyond, walk};

const WORDS: [&str; 8] = ["Ann", "Bo", "Cy", "Doe", "ann", "", "X Y", "Z"];

/// A name of few words, rarely of too many, with all of its parts.
fn name(random: &mut Random) -> String {
    let parts = [(); 3].map(|()| {
        let words = (0..random.below(3)).map(|_| WORDS[random.below(WORDS.len())]);
        words.collect::<Vec<_>>().join(" ")
    });
    match random.below(25) {
        0 => "A B C D E F^G H I J K^Ann".to_owned(),
        1 => "A B C D E F^G H I J K^".to_owned(),
        _ => parts.join("^"),
    }
}

/// Whether an instance may have several files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Instances {
    OneFile,
    SeveralFiles,
}

/// Adds files below two roots, of studies with a few files each. Most of the studies share one
/// Patient ID.
fn put_crowd(site: &Site, random: &mut Random, files: usize, instances: Instances) {
    for n in 0..files {
        let is_copy = instances == Instances::SeveralFiles && random.below(6) == 0;
        let instance = if is_copy { random.below(n + 1) } else { n };
        let study = random.below(files / 2);
        let id = ["P1", "P1", "P1", "P1", "p1", "P1[own]", "P2"][random.below(7)];
        let weight = ["", "70", "71"][random.below(3)];
        let change = json!({
            "PatientID": id, "PatientName": name(random), "PatientWeight": weight,
            "StudyInstanceUID": format!("{ROOT_UID}.{study}"), "SeriesInstanceUID": format!("{ROOT_UID}.{study}.1"),
            "SOPInstanceUID": format!("{ROOT_UID}.9.{instance}"),
        });
        let day = ["2021-11-11-THU", "2021-11-12-FRI"][random.below(2)];
        put(site, &format!("{}/{day}/{n}", ["a", "b"][random.below(2)]), random.below(40) as u64, change);
    }
}

/// Inserts rows of a PACS: people with this ID, and studies that are linked to them.
fn insert_others(index: &Index, random: &mut Random) {
    let people = [("P1", "Ann", "Bo"), ("P1[STOWRS-1]", "ann", ""), ("P1[b]", "Doe", "Ann"), ("p1[C]", "Z", "")];
    for (n, (id, last, first)) in people.into_iter().enumerate() {
        if random.below(2) == 0 {
            let sql = format!("INSERT INTO patient (origid, lastname, firstname) VALUES ('{id}', '{last}', '{first}')");
            index.execute(&sql);
            let study = 7 * n + random.below(7);
            index.execute(&format!("INSERT INTO study (uuid, patientid) VALUES ('{ROOT_UID}.{study}', '{id}')"));
        }
    }
}

fn run(site: &Site, index: &Index, portion: &str, more: &[&str]) -> Said {
    let roots = ["a", "b"].map(|root| site.path(root).to_str().unwrap().to_owned());
    let (state, list) = (format!("state-{portion}"), format!("list-{portion}"));
    let _ = fs::remove_file(site.path(&list));
    let options = ["reindex", "--index", &index.url, "--quiet", "--min-age", "0s", "--allow-unmapped-paths"];
    let own = ["--state", &state, "--rejected", &list, "--portion", portion];
    let mut command = site.program(&[&options, &own[..], more, &["--", &roots[0], &roots[1]]].concat());
    let said = Said::of(command.env("PACS_INDEX_PASSWORD", PASSWORD));
    assert!(said.exit < 2, "{}{}", said.out, said.err);
    said
}

/// Moves a part of the files away while `then` runs. The part is the same for each index.
fn without_a_part(site: &Site, part: u64, then: impl FnOnce()) {
    let outside = site.path("outside");
    fs::create_dir_all(&outside).unwrap();
    let mut random = Random(part | 1);
    let mut moved: Vec<PathBuf> = ["a", "b"].iter().flat_map(|root| walk(&site.path(root))).collect();
    moved.sort();
    moved.retain(|_| random.below(2) == 0);
    let place = |n: usize| outside.join(n.to_string());
    moved.iter().enumerate().for_each(|(n, path)| fs::rename(path, place(n)).unwrap());
    then();
    moved.iter().enumerate().for_each(|(n, path)| fs::rename(place(n), path).unwrap());
}

fn findings(site: &Site, portion: &str) -> Vec<String> {
    let text = fs::read_to_string(site.path(&format!("list-{portion}"))).unwrap();
    // Which of two files is listed as the duplicate of the other depends on the portion size.
    text.lines().filter(|line| !line.contains(r#""what":"duplicate""#)).map(str::to_owned).collect()
}

fn is_long() -> bool {
    std::env::var_os("PACS_INDEX_TEST_LONG").is_some()
}

fn seeds() -> impl Iterator<Item = u64> {
    let first = std::env::var("PACS_INDEX_TEST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let count = std::env::var("PACS_INDEX_TEST_SEEDS").map_or(if is_long() { 300 } else { 24 }, |n| n.parse().unwrap());
    first..first + count
}

/// Compares the index after each of several runs with these portion sizes, in files.
fn compare(seed: u64, instances: Instances, portions: &[&str]) {
    let mut random = Random(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15) | 1);
    let site = Site::in_memory();
    put_crowd(&site, &mut random, 60, instances);
    let others = (random.below(2) == 0).then(|| random.next());
    let existing = ["fill", "fill", "refresh", "complete"][random.below(4)];
    let conflicts = ["separate", "separate", "separate", "merge"][random.below(4)];
    let more = ["--existing", existing, "--patient-conflicts", conflicts];
    let more = if existing == "refresh" { [&more[..], &["--undo", "undo.sql"]].concat() } else { more.to_vec() };
    let parts: Vec<u64> = (0..random.below(3)).map(|_| random.next()).collect();
    // Whether an edited row gets a study may depend on the file that is read first.
    let is_edited = conflicts == "separate" && random.below(4) == 0;
    let results = portions.iter().map(|portion| {
        let index = if seed.is_multiple_of(6) { Index::mariadb(&site) } else { Index::sqlite(site.path(portion)) };
        if !index.url.starts_with("mysql") {
            site.run(&["init", "--index", &index.url]).exits(0);
        }
        others.into_iter().for_each(|others| insert_others(&index, &mut Random(others)));
        let mut results = Vec::new();
        for part in &parts {
            without_a_part(&site, *part, || drop(run(&site, &index, portion, &more)));
            results.push((index.dump(), findings(&site, portion)));
            if is_edited {
                index.execute("UPDATE patient SET firstname = 'Edited' WHERE origid = 'P1'");
            }
            let _ = fs::remove_file(site.path("undo.sql"));
        }
        run(&site, &index, portion, &more);
        let _ = fs::remove_file(site.path("undo.sql"));
        results.push((index.dump(), findings(&site, portion)));
        results
    });
    let mut results: Vec<Vec<(Vec<String>, Vec<String>)>> = results.collect();
    let expected = results.pop().unwrap();
    for (found, portion) in results.iter().zip(portions) {
        for (n, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let runs = parts.len() + 1;
            let what = format!(
                "seed {seed}, portions of {portion}, {more:?}, others: {others:?}, edited: {is_edited}, run {n} of {runs}"
            );
            assert_same(&expected.0, &found.0, &what);
            // The report of a later run depends on the rows that it reads again.
            if n == 0 {
                assert_same(&expected.1, &found.1, &format!("findings, {what}"));
            }
        }
    }
}

#[test]
fn names_and_studies_that_are_too_many_for_memory_give_the_same_rows() {
    seeds().for_each(|seed| compare(seed, Instances::OneFile, &["2", "500"]));
}

#[test]
fn instances_with_several_files_give_the_same_rows_whatever_the_portions() {
    seeds().for_each(|seed| compare(seed, Instances::SeveralFiles, &["1", "7", "500"]));
}

/// Regressions: the rows of these stores once depended on the portion size or on the order of the
/// threads.
#[test]
fn stores_whose_rows_once_depended_on_the_portions_give_the_same_rows() {
    for seed in [193, 216, 230, 293] {
        compare(seed, Instances::SeveralFiles, &["1", "7", "500"]);
    }
}

/// With portions of one file, the names of the Patient ID are sorted on disk; with portions of two,
/// they are resolved in memory.
#[test]
fn the_name_in_a_file_that_lost_its_place_gives_no_study_to_a_patient() {
    for portion in ["1", "2", "500"] {
        let site = Site::new();
        // The newest directory is read first.
        for (day, id, name, study, instance) in [
            (14, "P1[own]", "Ann^", 1, 1),
            (13, "P1[own]", "Bo^X", 3, 3),
            (12, "P1", "Ann^^M", 2, 2),
            (11, "P1", "Cy^", 4, 1),
        ] {
            let change = json!({
                "PatientID": id, "PatientName": name, "StudyInstanceUID": format!("{ROOT_UID}.{study}"),
                "SeriesInstanceUID": format!("{ROOT_UID}.{study}.1"), "SOPInstanceUID": format!("{ROOT_UID}.9.{instance}"),
            });
            put(&site, &format!("a/2021-11-{day}-FRI/{instance}"), day, change);
        }
        fs::create_dir(site.path("b")).unwrap();
        fs::write(site.path("b/note.txt"), "not empty").unwrap();
        let index = Index::sqlite(site.path("index.db"));
        site.run(&["init", "--index", &index.url]).exits(0);
        index.execute("INSERT INTO patient (origid, lastname, firstname) VALUES ('P1', 'Zed', 'Zed')");
        run(&site, &index, portion, &["--duplicates", "oldest", "--io-threads", "1"]);
        let link = index.rows(&format!("SELECT patientid FROM study WHERE uuid = '{ROOT_UID}.2'"));
        assert_ne!(link, ["P1[own]"], "portions of {portion}");
        let name = index.rows("SELECT lastname, firstname FROM patient WHERE origid = 'P1[own]'");
        assert_eq!(name, ["Bo|X"], "portions of {portion}");
    }
}

#[test]
fn files_whose_patient_id_ends_in_brackets_are_about_other_people_in_a_later_run_too() {
    for portion in ["1", "2", "500"] {
        let site = Site::new();
        fs::create_dir(site.path("b")).unwrap();
        fs::write(site.path("b/note.txt"), "not empty").unwrap();
        let put = |study: u32, id: &str, name: &str| {
            let change = json!({
                "PatientID": id, "PatientName": name, "StudyInstanceUID": format!("{ROOT_UID}.{study}"),
                "SeriesInstanceUID": format!("{ROOT_UID}.{study}.1"), "SOPInstanceUID": format!("{ROOT_UID}.9.{study}"),
            });
            put(&site, &format!("a/2021-11-1{study}-FRI/{study}"), u64::from(study), change);
        };
        let index = |name: &str| {
            let index = Index::sqlite(site.path(&format!("{name}.db")));
            site.run(&["init", "--index", &index.url]).exits(0);
            index
        };
        put(1, "P1[own]", "Ann^");
        let twice = index("twice");
        run(&site, &twice, portion, &[]);
        put(2, "P1", "Zed^");
        put(3, "P1", "Ann^^M");
        run(&site, &twice, portion, &[]);
        let once = index("once");
        run(&site, &once, portion, &[]);
        assert_same(&once.dump(), &twice.dump(), &format!("portions of {portion}"));
    }
}

#[track_caller]
fn assert_same(expected: &[String], found: &[String], what: &str) {
    assert_eq!((beyond(expected, found), beyond(found, expected)), (vec![], vec![]), "missing, and too many: {what}");
}
