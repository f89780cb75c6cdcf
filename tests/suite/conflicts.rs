//! Files that disagree: the content of the index depends only on the files, never on the order in
//! which they were read.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::support::{Index, ROOT_UID, Said, Site, instance_file, on_both_databases};

/// Writes an instance below a root, with an mtime this many days after the start of 2021.
pub fn put(site: &Site, path: &str, days: u64, change: Json) {
    let file = site.path(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, instance_file(change)).unwrap();
    let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs((18_628 + days) * 86_400);
    fs::OpenOptions::new().write(true).open(file).unwrap().set_modified(modified).unwrap();
}

/// A run over several roots.
fn reindex(site: &Site, index: &Index, roots: &[&str], more: &[&str]) -> Said {
    let _ = fs::remove_file(site.path("rejected.jsonl"));
    let roots: Vec<PathBuf> = roots.iter().map(|root| site.path(root)).collect();
    let mut command = site.reindexing(&roots[0], index, more);
    Said::of(command.args(&roots[1..]))
}

/// A pseudo-random number generator with the same numbers in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Adds files with every kind of disagreement: names, spellings and IDs of patients, studies of
/// series, several files of an instance, values at every level, and received times.
pub fn put_conflicts(site: &Site, seed: u64) {
    let mut chance = Chance(seed);
    for n in 0..300 {
        let study = chance.below(14);
        // Some files name a series of another study, or an instance of another series.
        let series = if chance.below(12) == 0 { chance.below(42) } else { study * 3 + chance.below(3) };
        let instance = if chance.below(12) == 0 { chance.below(250) } else { series * 6 + chance.below(6) };
        let patient = if chance.below(10) == 0 { chance.below(5) } else { study % 5 };
        let id = match patient {
            0 => chance.of(&["P0", "p0", "P0"]),
            1 => "P1",
            2 => "",
            3 => "Ü3",
            _ => "P4",
        };
        let name = match (study + chance.below(9) / 8) % 4 {
            0 => chance.of(&["Doe^Jane", "DOE^JANE", "Doe^Jane^Mary"]),
            1 => "Doe^John",
            2 => chance.of(&["Müller^Jörg", "Müller^Jörg^Peter"]),
            _ => chance.of(&["", "Doe^Jane Ann"]),
        };
        let change = json!({
            "SpecificCharacterSet": "ISO_IR 192", "PatientID": id, "PatientName": name,
            "PatientWeight": chance.of(&["", "70", "71.5"]), "PatientComments": chance.of(&["", "one", "two"]),
            "StudyInstanceUID": format!("{ROOT_UID}.{study}"), "StudyDescription": chance.of(&["", "chest", "abdomen"]),
            "SeriesInstanceUID": format!("{ROOT_UID}.9.{series}"), "Modality": chance.of(&["CT", "MR", "SR"]),
            "SeriesDescription": chance.of(&["", "axial", "coronal"]), "StudyDate": "20210101",
            "SOPInstanceUID": format!("{ROOT_UID}.9.{series}.{instance}"), "InstanceNumber": n.to_string(),
        });
        let root = chance.of(&["a", "b", "c"]);
        let day = chance.of(&["2021-11-11-THU", "2021-11-12-FRI", "other"]);
        put(site, &format!("{root}/{day}/{n}"), chance.below(40), change);
    }
}

/// Returns the result of a run: all rows, and all lines of the list.
pub fn outcome(site: &Site, index: &Index, roots: &[&str], more: &[&str]) -> (Vec<String>, Vec<String>, String) {
    let said = reindex(site, index, roots, more).exits(1);
    let text = fs::read_to_string(site.path("rejected.jsonl")).unwrap();
    let mut listed: Vec<String> = text.lines().map(str::to_owned).collect();
    listed.sort();
    let account = said
        .out
        .lines()
        .skip(1)
        .filter(|line| !line.contains("covered in") && !line.starts_with("paths are stored as"))
        .collect::<Vec<_>>()
        .join("\n");
    (index.dump(), listed, account)
}

#[track_caller]
fn assert_same(one: &(Vec<String>, Vec<String>, String), other: &(Vec<String>, Vec<String>, String), what: &str) {
    for (n, (one, other)) in one.0.iter().zip(&other.0).enumerate() {
        assert_eq!(one, other, "row {n}, {what}");
    }
    for (one, other) in one.1.iter().zip(&other.1) {
        assert_eq!(one, other, "{what}");
    }
    assert_eq!(one.0.len(), other.0.len(), "{what}");
    assert_eq!(one.2, other.2, "{what}");
}

/// Orders of roots and of rows, and numbers of threads. The listings are reversed before each run.
const WAYS: [(&[&str], &str, &str); 6] = [
    (&["a", "b", "c"], "1", "found"),
    (&["c", "b", "a"], "64", "found"),
    (&["b", "a", "c"], "64", "auto"),
    (&["c", "a", "b"], "1", "auto"),
    (&["a", "b", "c"], "64", "key"),
    (&["b", "a", "c"], "1", "key"),
];

/// The conflicts that the store contains.
const REASONS: [&str; 6] =
    ["patient-names", "patient-id-spelling", "two-patients", "two-studies", "same-instance", "instances-disagree"];

/// Reverses the order in which each directory below the roots is listed; the files do not change.
fn reverse_listings(site: &Site) {
    let names = |directory: &Path| -> Vec<OsString> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    let aside = site.path("aside");
    fs::create_dir_all(&aside).unwrap();
    for root in ["a", "b", "c"] {
        for day in names(&site.path(root)) {
            let directory = site.path(root).join(day);
            let before = names(&directory);
            before.iter().for_each(|name| fs::rename(directory.join(name), aside.join(name)).unwrap());
            before.iter().for_each(|name| fs::rename(aside.join(name), directory.join(name)).unwrap());
            let after = names(&directory);
            assert!(before.iter().eq(after.iter().rev()), "{} is listed as before", directory.display());
        }
    }
}

#[test]
fn one_index_and_one_list_whatever_order_files_are_read_in() {
    let seeds = if std::env::var_os("PACS_INDEX_TEST_LONG").is_some() { 40 } else { 3 };
    for seed in 0..seeds {
        let site = Site::in_memory();
        put_conflicts(&site, seed);
        let indexes: [fn(&Site) -> Index; 2] = [Index::mariadb, Site::sqlite];
        for make in indexes {
            let mut first = None;
            for (roots, threads, order) in WAYS {
                let _ = fs::remove_file(site.path("index.db"));
                reverse_listings(&site);
                let outcome = outcome(&site, &make(&site), roots, &["--io-threads", threads, "--insert-order", order]);
                for reason in REASONS {
                    assert!(outcome.1.iter().any(|line| line.contains(reason)), "no {reason} in seed {seed}");
                }
                let first = first.get_or_insert_with(|| outcome.clone());
                assert_same(
                    first,
                    &outcome,
                    &format!("seed {seed}, roots {roots:?}, {threads} threads, order {order}"),
                );
            }
        }
    }
}

#[test]
fn a_rerun_over_conflicts_changes_nothing() {
    let site = Site::new();
    put_conflicts(&site, 7);
    let index = Index::mariadb(&site);
    let before = outcome(&site, &index, &["a", "b", "c"], &[]).0;
    let said = reindex(&site, &index, &["c", "b", "a"], &["--io-threads", "64"]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("updated")), (0, 0));
    for (before, after) in before.iter().zip(index.dump()) {
        assert_eq!(*before, after);
    }
}

#[test]
fn an_index_that_was_there_is_brought_up_in_one_way_whatever_the_order() {
    let site = Site::new();
    put_conflicts(&site, 11);
    let mut first = None;
    for (roots, threads, order) in WAYS {
        let index = Index::mariadb(&site);
        // The index contains a part of the archive, with missing and edited values.
        reindex(&site, &index, &["b"], &["--io-threads", "1"]);
        index.execute("UPDATE study SET description = NULL, referringphysician = 'edited' WHERE uuid LIKE '%1'");
        index.execute("UPDATE series SET modality = NULL WHERE uuid LIKE '%2'");
        index.execute("UPDATE image SET instance = NULL, xfersyntax = NULL WHERE uuid LIKE '%3'");
        index.execute("UPDATE patient SET weight = NULL, comments = 'edited'");
        let options = ["--allow-unmapped-paths", "--io-threads", threads, "--insert-order", order];
        let outcome = outcome(&site, &index, roots, &options);
        let first = first.get_or_insert_with(|| outcome.clone());
        assert_same(first, &outcome, &format!("roots {roots:?}, {threads} threads, order {order}"));
    }
}

#[test]
fn of_several_files_of_an_instance_the_rule_chooses() {
    let cases: [(&[&str], &str); 4] = [
        (&[], "b/new"),
        (&["--duplicates", "oldest"], "c/old"),
        (&["--duplicates", "first-root"], "a/middle"),
        (&["--duplicates", "first-root", "--io-threads", "1"], "a/middle"),
    ];
    for (more, chosen) in cases {
        on_both_databases(|site, index| {
            put(site, "a/middle", 20, json!({"Rows": "20"}));
            put(site, "b/new", 30, json!({"Rows": "30", "SeriesInstanceUID": "1.2.30"}));
            put(site, "c/old", 10, json!({"Rows": "10"}));
            let said = reindex(site, index, &["a", "b", "c"], more).exits(1);
            assert_eq!((said.figure("inserted"), said.figure("duplicates")), (1, 2));
            let path = site.path(chosen).display().to_string();
            let rows =
                [("a", "20"), ("b", "30"), ("c", "10")].iter().find(|(root, _)| chosen.starts_with(root)).unwrap().1;
            let series = if rows == "30" { "1.2.30".to_owned() } else { format!("{ROOT_UID}.1.1") };
            let row = format!("{path}|{rows}|{series}");
            assert_eq!(index.rows("SELECT path, numrows, seriesuid FROM image"), [row]);
            let counted = index.rows(&format!("SELECT instances FROM series WHERE uuid = '{series}'"));
            assert_eq!(counted, ["1"]);
            assert!(
                !site.findings("duplicate").contains(&format!("same-instance {}", chosen.rsplit('/').next().unwrap()))
            );
        });
    }
}

#[test]
fn one_patient_id_with_two_names_is_two_patients() {
    on_both_databases(|site, index| {
        for (study, name) in [(1, "Doe^Jane"), (2, "Doe^John"), (3, "DOE^JANE^MARY"), (4, "")] {
            let change = json!({
                "PatientID": "P1", "PatientName": name, "StudyInstanceUID": format!("1.2.{study}"),
                "SeriesInstanceUID": format!("1.2.{study}.1"), "SOPInstanceUID": format!("1.2.{study}.1.1"),
            });
            put(site, &format!("a/{study}"), study, change);
        }
        reindex(site, index, &["a"], &[]).exits(1);
        let shown = "SELECT study.uuid, patient.lastname, patient.firstname, patient.origid = 'P1' FROM study \
                     INNER JOIN patient ON patient.origid = study.patientid ORDER BY study.uuid";
        let merged = ["1.2.1|DOE|JANE|1", "1.2.2|Doe|John|0", "1.2.3|DOE|JANE|1", "1.2.4|||0"];
        assert_eq!(index.rows(shown), merged, "the base ID goes to the smallest study's, the others get a suffix");
        assert_eq!(site.findings("conflict"), ["patient-names 1.2.2", "patient-names 1.2.4"]);
        assert_eq!(index.count("patient"), 3);
        let suffixed = index.rows("SELECT origid FROM patient WHERE lastname = 'Doe' AND firstname = 'John'");
        let suffix = suffixed[0].strip_prefix("P1[").and_then(|rest| rest.strip_suffix(']')).unwrap();
        assert!(suffix.len() == 12 && suffix.bytes().all(|digit| digit.is_ascii_hexdigit()), "{suffix}");
        let said = reindex(site, index, &["a"], &[]).exits(0);
        assert_eq!((said.figure("unchanged"), index.count("patient")), (4, 3), "the next run finds them as they are");
    });
    let site = Site::new();
    put(&site, "a/1", 1, json!({"PatientName": "Doe^Jane"}));
    let other = json!({"PatientName": "Doe^John", "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "SOPInstanceUID": "1.4"});
    put(&site, "a/2", 1, other);
    let index = site.sqlite();
    reindex(&site, &index, &["a"], &["--patient-conflicts", "merge"]).exits(1);
    assert_eq!(index.count("patient"), 1);
    assert_eq!(site.findings("conflict").len(), 1, "merged all the same, it is told");
}

#[test]
fn a_new_study_joins_the_patient_that_the_pacs_has_kept_apart() {
    on_both_databases(|site, index| {
        if index.url.starts_with("sqlite") {
            site.run(&["init", "--index", &index.url]).exits(0);
        }
        for id in ["T1", "T%|_", "T%|_x", "T\u{fc}", "T["] {
            let [row, kept_apart] = [id.to_lowercase(), format!("{}[STOWRS-1]", id.to_lowercase())];
            for (row, last, first) in [(row, "Other", "Olga"), (kept_apart, "DOE", "jane")] {
                index.execute(&format!(
                    "INSERT INTO patient (origid, lastname, firstname) VALUES ('{row}', '{last}', '{first}')"
                ));
            }
        }
        let ids = ["T1", "T%|_", "T\u{fc}", "T["];
        for (n, id) in ids.iter().enumerate() {
            let change = json!({"SpecificCharacterSet": "ISO_IR 192", "PatientID": id, "PatientName": "Doe^Jane",
                "StudyInstanceUID": format!("1.2.{n}"), "SeriesInstanceUID": format!("1.2.{n}.1"),
                "SOPInstanceUID": format!("1.2.{n}.1.1")});
            put(site, &format!("a/{n}"), 1, change);
        }
        reindex(site, index, &["a"], &[]).exits(1);
        let expected = ids.map(|id| format!("{}[STOWRS-1]", id.to_lowercase()));
        assert_eq!(index.rows("SELECT patientid FROM study ORDER BY uuid"), expected);
        assert_eq!(index.count("patient"), 10);
        assert_eq!(index.rows("SELECT COUNT(*) FROM patient WHERE sex IS NOT NULL"), ["4"]);
    });
}

#[test]
fn spellings_that_the_database_takes_for_one_are_one_patient() {
    for index in [Index::mariadb as fn(&Site) -> Index, Site::sqlite] {
        for order in [["a", "b"], ["b", "a"]] {
            let site = Site::new();
            let _ = fs::remove_file(site.path("index.db"));
            let index = index(&site);
            put(&site, "a/1", 1, json!({"PatientID": "p1"}));
            let other = json!({"PatientID": "P1", "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "SOPInstanceUID": "1.4"});
            put(&site, "b/2", 1, other);
            reindex(&site, &index, &order, &["--io-threads", "1"]).exits(1);
            assert_eq!(index.rows("SELECT origid FROM patient"), ["P1"], "the spelling does not depend on arrival");
            assert_eq!(index.rows("SELECT patientid FROM study"), ["P1", "P1"]);
            assert_eq!(site.findings("conflict"), [format!("patient-id-spelling {ROOT_UID}.1")]);
        }
    }
}

#[test]
fn the_modalities_of_a_study_are_those_that_its_series_have_in_the_end() {
    on_both_databases(|site, index| {
        let of = |modality: &str, n: u32| {
            json!({
                "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.1", "SOPInstanceUID": format!("1.2.1.{n}"),
                "Modality": modality,
            })
        };
        // The files that say CT are more than one batch and are read before the file that decides
        // the modality.
        (1..=1200).for_each(|n| put(site, &format!("archive/2021-01-01-FRI/{n}"), 0, of("CT", n)));
        put(site, "archive/other/last", 90, of("MR", 0));
        reindex(site, index, &["archive"], &["--io-threads", "1"]);
        let shown = "SELECT series.modality, study.modalities FROM series JOIN study ON study.uuid = studyuid";
        assert_eq!(index.rows(shown), ["MR|MR"]);
    });
}

#[test]
fn tables_without_transactions_hold_the_same_rows_in_whatever_order_they_are_asked_for() {
    // In key order, each batch contains instances of all studies.
    let site = Site::in_memory();
    for n in 0..6000u64 {
        let (study, series) = (n % 150, n % 450);
        let change = json!({
            "PatientID": format!("T{}", study % 40), "PatientName": format!("Name{}", study % 40),
            "StudyInstanceUID": format!("{ROOT_UID}.{study}"), "SeriesInstanceUID": format!("{ROOT_UID}.{study}.{series}"),
            "SOPInstanceUID": format!("2.25.{}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)), "InstanceNumber": n.to_string(),
        });
        site.add(&format!("2021-11-{:02}-FRI/{n}", 10 + study % 15), change);
    }
    let dumps = ["found", "key"].map(|order| {
        let index = Index::mariadb(&site);
        for table in ["patient", "study", "series", "image"] {
            index.execute(&format!("ALTER TABLE {table} ENGINE = MyISAM"));
        }
        let said = site.reindex(&index, &["--insert-order", order, "--state", order]).exits(0);
        let new_rows = said.out.lines().find(|line| line.starts_with("new rows")).unwrap().to_owned();
        (new_rows, index.dump())
    });
    assert_eq!(dumps[0].0, dumps[1].0);
    assert_eq!(dumps[0].1, dumps[1].1);
}
