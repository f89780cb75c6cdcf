//! Titles of reports and codes of animals, which PacsOne keeps in separate tables.

use serde_json::{Value as Json, json};

use crate::support::{Index, PASSWORD, ROOT_UID, Said, Site, on_both_databases};

/// The join of the PacsOne page that shows a study's reports.
const SHOWN: &str = "SELECT image.uuid, conceptname.meaning FROM image INNER JOIN series ON series.uuid = image.seriesuid \
                     LEFT JOIN conceptname ON conceptname.uuid = image.uuid WHERE series.modality = 'SR' ORDER BY image.uuid";

const TITLES: &str = "SELECT uuid, value, schemedesignator, schemeversion, meaning FROM conceptname ORDER BY uuid";
const SPECIES: &str = "SELECT patientid, value, meaning FROM patientspeciescode ORDER BY patientid";

fn code(value: &str) -> Json {
    json!({"CodeValue": value, "CodingSchemeDesignator": "99EX", "CodeMeaning": format!("meaning of {value}")})
}

fn uid(n: u32) -> String {
    format!("{ROOT_UID}.5.1.{n}")
}

/// Adds a report of one study, with or without a title.
fn add_report(site: &Site, path: &str, n: u32, title: Option<&str>) {
    let mut report = json!({
        "StudyInstanceUID": format!("{ROOT_UID}.5"), "SeriesInstanceUID": format!("{ROOT_UID}.5.1"),
        "SOPInstanceUID": uid(n), "Modality": "SR", "InstanceNumber": n.to_string(),
    });
    if let Some(title) = title {
        report["ConceptNameCodeSequence"] = json!([code(title)]);
    }
    site.add(path, report);
}

/// Adds an instance of an animal, in a study of its own.
fn add_animal(site: &Site, path: &str, n: u32, change: Json) {
    let mut animal = json!({
        "PatientID": "A1", "PatientName": "Rex", "StudyInstanceUID": format!("{ROOT_UID}.{n}"),
        "SeriesInstanceUID": format!("{ROOT_UID}.{n}.1"), "SOPInstanceUID": format!("{ROOT_UID}.{n}.1.1"),
    });
    animal.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    site.add(path, animal);
}

fn species(value: &str) -> Json {
    json!({"PatientSpeciesCodeSequence": [code(value)]})
}

/// Drops the tables that older databases do not have.
fn drop_companions(index: &Index) {
    for table in ["conceptname", "patientspeciescode", "patientbreedcode", "breedregistration"] {
        index.execute(&format!("DROP TABLE {table}"));
    }
}

fn init(site: &Site, index: &Index) {
    if index.url.starts_with("sqlite:") {
        site.run(&["init", "--index", &index.url]).exits(0);
    }
}

#[test]
fn a_report_is_shown_with_its_title() {
    on_both_databases(|site, index| {
        add_report(site, "2021-11-12-FRI/1", 1, Some("T1"));
        add_report(site, "2021-11-12-FRI/2", 2, None);
        let said = site.reindex(index, &[]).exits(0);
        assert!(said.out.contains("new rows beside them: conceptname 1"), "{}", said.out);
        assert_eq!(index.rows(SHOWN), [format!("{}|meaning of T1", uid(1)), format!("{}|-", uid(2))]);
        assert_eq!(index.rows(TITLES), [format!("{}|T1|99EX|-|meaning of T1", uid(1))]);
    });
}

#[test]
fn a_missing_title_of_an_indexed_report_is_added_and_an_edited_one_stays() {
    on_both_databases(|site, index| {
        (1..=3).for_each(|n| add_report(site, &format!("2021-11-12-FRI/{n}"), n, Some(&format!("T{n}"))));
        site.reindex(index, &[]).exits(0);
        index.execute(&format!("DELETE FROM conceptname WHERE uuid = '{}'", uid(1)));
        index.execute(&format!("UPDATE conceptname SET meaning = 'edited', value = NULL WHERE uuid = '{}'", uid(2)));
        let said = site.reindex(index, &["--force"]).exits(0);
        assert!(said.out.contains("new rows beside them: conceptname 1"), "{}", said.out);
        assert!(said.out.contains("rows changed beside them: conceptname 1"), "{}", said.out);
        assert_eq!(said.figure("unchanged"), 3, "their images are as they were");
        let titles = ["T1|99EX|-|meaning of T1", "T2|99EX|-|edited", "T3|99EX|-|meaning of T3"];
        assert_eq!(index.rows(TITLES), [1, 2, 3].map(|n| format!("{}|{}", uid(n), titles[n as usize - 1])));
    });
}

#[test]
fn a_refresh_lets_titles_follow_the_file_and_keeps_what_they_were() {
    on_both_databases(|site, index| {
        add_report(site, "2021-11-12-FRI/1", 1, Some("T1"));
        site.reindex(index, &[]).exits(0);
        index.execute("UPDATE conceptname SET meaning = 'edited'");
        site.reindex(index, &["--existing", "refresh", "--undo", "undo.jsonl"]).exits(0);
        assert_eq!(index.rows("SELECT meaning FROM conceptname"), ["meaning of T1"]);
        let undo = std::fs::read_to_string(site.path("undo.jsonl")).unwrap();
        let line: Json = serde_json::from_str(undo.trim()).unwrap();
        let expected = json!({"table": "conceptname", "key": uid(1), "column": "meaning", "old": "edited", "new": "meaning of T1"});
        assert_eq!(line, expected);
    });
}

/// More than a batch, so that two files of an instance are in different batches.
const BETWEEN: u32 = 600;

/// The order of the files matters because the walk goes from the newest directory to the oldest.
#[test]
fn the_title_is_that_of_the_file_that_is_indexed() {
    let cases = [
        (["worse", "better"], Some("T2"), "T2|meaning of T2"),
        (["better", "worse"], Some("T2"), "T2|meaning of T2"),
        (["worse", "better"], None, "-|-"),
        (["better", "worse"], None, "-|-"),
    ];
    for (order, better, title) in cases {
        on_both_databases(|site, index| {
            for (name, day) in order.into_iter().zip(["2021-11-14-SUN", "2021-11-12-FRI"]) {
                let (title, minute) = if name == "better" { (better, 1) } else { (Some("T1"), 0) };
                let path = format!("{day}/{name}");
                add_report(site, &path, 1, title);
                let file = std::fs::OpenOptions::new().write(true).open(site.archive().join(path)).unwrap();
                let received: jiff::Timestamp = format!("2021-11-20T12:0{minute}:00Z").parse().unwrap();
                file.set_modified(received.into()).unwrap();
            }
            site.add_series("2021-11-13-SAT", 1, 1, BETWEEN);
            let said = site.reindex(index, &["--io-threads", "1"]).exits(1);
            assert_eq!((said.figure("inserted"), said.figure("duplicates not chosen")), (u64::from(BETWEEN) + 1, 1));
            assert_eq!(index.rows("SELECT path FROM image WHERE path LIKE '%better'").len(), 1);
            let shown = "SELECT conceptname.value, conceptname.meaning FROM image \
                         LEFT JOIN conceptname ON conceptname.uuid = image.uuid WHERE path LIKE '%better'";
            assert_eq!(index.rows(shown), [title], "{order:?}");
            assert_eq!(index.count("conceptname"), u64::from(better.is_some()), "{order:?}, {better:?}");
        });
    }
}

#[test]
fn a_table_without_a_key_of_its_own_is_left_alone_and_named() {
    on_both_databases(|site, index| {
        init(site, index);
        index.execute("DROP TABLE conceptname");
        index.execute("DROP TABLE patientspeciescode");
        index.execute("DROP TABLE patientbreedcode");
        index.execute("CREATE TABLE conceptname (uuid VARCHAR(64) NOT NULL, meaning VARCHAR(64))");
        index.execute("CREATE INDEX c ON conceptname (uuid)");
        index.execute(
            "CREATE TABLE patientspeciescode (patientid VARCHAR(64), value VARCHAR(16), UNIQUE (patientid, value))",
        );
        index.execute("CREATE TABLE patientbreedcode (patientid VARCHAR(64), meaning VARCHAR(64), site INT NOT NULL)");
        index.execute("CREATE UNIQUE INDEX b ON patientbreedcode (patientid)");
        add_report(site, "2021-11-12-FRI/1", 1, Some("T1"));
        let both = json!({"PatientSpeciesCodeSequence": [code("S")], "PatientBreedCodeSequence": [code("B")]});
        add_animal(site, "2021-11-12-FRI/2", 7, both);
        let said = site.reindex(index, &[]).exits(0);
        assert!(said.out.contains("conceptname is not written: it has no unique key on uuid"), "{}", said.out);
        assert!(
            said.out.contains("patientspeciescode is not written: it has no unique key on patientid"),
            "{}",
            said.out
        );
        assert!(said.out.contains("zero in new rows: patientbreedcode.site"), "{}", said.out);
        assert_eq!((index.count("conceptname"), index.count("patientspeciescode")), (0, 0));
        assert_eq!(index.rows("SELECT patientid, meaning, site FROM patientbreedcode"), ["A1|meaning of B|0"]);
    });
}

#[test]
fn a_database_without_these_tables_is_written_as_ever() {
    on_both_databases(|site, index| {
        init(site, index);
        drop_companions(index);
        add_report(site, "2021-11-12-FRI/1", 1, Some("T1"));
        add_animal(site, "2021-11-12-FRI/2", 7, species("S"));
        let said = site.reindex(index, &[]).exits(0);
        assert_eq!(said.figure("inserted"), 2);
        assert!(!said.out.contains("beside") && !said.out.contains("not written"), "{}", said.out);
        assert_eq!(site.reindex(index, &[]).exits(0).figure("unchanged"), 2);
    });
}

#[test]
fn tables_that_are_left_to_the_pacs_are_named_once() {
    let site = Site::new();
    add_report(&site, "2021-11-12-FRI/1", 1, Some("T1"));
    let index = Index::pacsone();
    let said = site.reindex(&index, &[]).exits(0);
    let line = "not rebuilt: otherpatientids, studydosereport, irradiationevent, imagedose";
    assert_eq!(said.out.matches(line).count(), 1, "{}", said.out);
    assert_eq!(index.rows(SHOWN), [format!("{}|meaning of T1", uid(1))]);
}

#[test]
fn an_animal_has_the_codes_of_its_last_instance_whatever_the_order() {
    for days in [["2021-11-12-FRI", "2021-11-13-SAT"], ["2021-11-13-SAT", "2021-11-12-FRI"]] {
        on_both_databases(|site, index| {
            let [former, latter] = [0, 1].map(|n| if days[n].contains("13") { "later" } else { "earlier" });
            add_animal(site, &format!("{}/1", days[0]), 1, species(former));
            // The last instance contains no code meaning; the meaning of another code would be
            // wrong.
            let bare = json!({"CodeValue": latter, "CodingSchemeDesignator": "99EX"});
            let registration = json!([{"BreedRegistrationNumber": "R1", "BreedRegistryCodeSequence": [code("K")]}]);
            let more = json!({"PatientSpeciesCodeSequence": [bare], "BreedRegistrationSequence": registration});
            add_animal(site, &format!("{}/2", days[1]), 2, more);
            add_animal(site, "2021-11-14-SUN/3", 3, json!({}));
            site.reindex(index, &["--io-threads", "1"]).exits(0);
            let expected = if latter == "later" { "A1|later|-" } else { "A1|later|meaning of later" };
            assert_eq!(index.rows(SPECIES), [expected]);
            assert_eq!(index.rows("SELECT patientid, regnumber, value FROM breedregistration"), ["A1|R1|K"]);
            assert_eq!(index.count("patientbreedcode"), 0);
        });
    }
}

#[test]
fn an_animal_that_a_suffix_sets_apart_has_codes_of_its_own() {
    on_both_databases(|site, index| {
        add_animal(site, "2021-11-12-FRI/1", 1, species("dog"));
        let mut other = species("cat");
        other["PatientName"] = json!("Minka");
        add_animal(site, "2021-11-12-FRI/2", 2, other);
        site.reindex(index, &[]).exits(1);
        let joined = "SELECT patient.lastname, patientspeciescode.value FROM patient \
                      INNER JOIN patientspeciescode ON patientspeciescode.patientid = patient.origid ORDER BY 1";
        assert_eq!(index.rows(joined), ["Minka|cat", "Rex|dog"]);
        let suffixed = "SELECT COUNT(*) FROM patientspeciescode WHERE patientid LIKE 'A1[%'";
        assert_eq!((index.count("patientspeciescode"), index.rows(suffixed)), (2, vec!["1".into()]));
    });
}

#[test]
fn what_was_there_before_its_image_or_patient_is_filled_and_a_second_run_writes_nothing() {
    on_both_databases(|site, index| {
        add_report(site, "2021-11-12-FRI/1", 1, Some("T1"));
        add_animal(site, "2021-11-12-FRI/2", 7, species("dog"));
        add_animal(
            site,
            "2021-11-12-FRI/3",
            8,
            json!({"PatientID": "A2", "PatientSpeciesCodeSequence": [code("cat")]}),
        );
        init(site, index);
        index.execute("INSERT INTO patientspeciescode (patientid, meaning) VALUES ('a1', 'edited')");
        index.execute(&format!("INSERT INTO conceptname (uuid, meaning) VALUES ('{}', 'edited')", uid(1)));
        let said = site.reindex(index, &[]).exits(0);
        assert!(said.out.contains("new rows beside them: patientspeciescode 1"), "{}", said.out);
        assert!(said.out.contains("rows changed beside them: conceptname 1, patientspeciescode 1"), "{}", said.out);
        assert_eq!(index.rows(TITLES), [format!("{}|T1|99EX|-|edited", uid(1))]);
        assert_eq!(index.rows(SPECIES), ["a1|dog|edited", "A2|cat|meaning of cat"]);
        let before = index.dump();
        let said = site.reindex(index, &[]).exits(0);
        assert!(!said.out.contains("beside them"), "{}", said.out);
        assert_eq!(index.dump(), before);
    });
}

#[test]
fn a_dry_run_counts_titles_and_codes() {
    let site = Site::new();
    add_report(&site, "2021-11-12-FRI/1", 1, Some("T1"));
    add_report(&site, "2021-11-12-FRI/2", 2, Some("T2"));
    add_animal(&site, "2021-11-12-FRI/3", 7, species("dog"));
    let index = Index::mariadb(&site);
    index.execute(&format!("INSERT INTO conceptname (uuid) VALUES ('{}')", uid(1)));
    let said = site.reindex(&index, &["--dry-run"]).exits(0);
    assert!(said.out.contains("new rows beside them: conceptname 1, patientspeciescode 1"), "{}", said.out);
    assert!(said.out.contains("would change conceptname.meaning in 1 rows"), "{}", said.out);
    assert_eq!(index.rows("SELECT COUNT(*), COUNT(meaning) FROM conceptname"), ["1|0"]);
    assert_eq!(index.count("patientspeciescode"), 0);
}

#[test]
fn codes_fit_into_columns_of_a_narrow_character_set() {
    let site = Site::new();
    let index = Index::mariadb(&site);
    index.execute("ALTER TABLE patientspeciescode CONVERT TO CHARACTER SET latin1, MODIFY meaning VARCHAR(6)");
    index.execute("ALTER TABLE conceptname CONVERT TO CHARACTER SET latin1, MODIFY uuid VARCHAR(10) NOT NULL");
    let named = json!([{"CodeValue": "1", "CodeMeaning": "Hündin 犬"}]);
    add_animal(&site, "1", 1, json!({"SpecificCharacterSet": "ISO_IR 192", "PatientSpeciesCodeSequence": named}));
    let named = json!([{"CodeValue": "1", "CodeMeaning": "犬"}]);
    let second = json!({"PatientID": "A2", "SpecificCharacterSet": "ISO_IR 192", "PatientSpeciesCodeSequence": named});
    add_animal(&site, "2", 2, second);
    add_report(&site, "3", 3, Some("T3"));
    let said = site.reindex(&index, &[]).exits(1);
    assert_eq!(said.figure("inserted"), 3, "a companion costs no instance");
    assert_eq!(index.rows(SPECIES), ["A1|1|Hündin", "A2|1|?"]);
    assert_eq!(index.rows("SELECT DISTINCT charset FROM patient"), ["-"], "that is about the patient's own columns");
    assert_eq!(site.findings("note"), ["not-in-charset 2"]);
    assert_eq!(site.findings("conflict"), [format!("refused-by-index {}", uid(3))]);
    assert_eq!(index.count("conceptname"), 0);
    let said = site.reindex(&index, &["--force"]).exits(1);
    assert!(!said.out.contains("beside them"), "{}", said.out);
}

#[test]
fn a_user_who_may_only_look_at_these_tables_writes_the_others() {
    let site = Site::new();
    add_report(&site, "2021-11-12-FRI/1", 1, Some("T1"));
    let index = Index::mariadb(&site);
    let user = format!("look_{}", index.name());
    index.execute(&format!("CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}'"));
    index.execute(&format!("GRANT SELECT ON `{}`.* TO {user}@'%'", index.name()));
    for table in ["patient", "study", "series", "image"] {
        index.execute(&format!("GRANT INSERT, UPDATE ON `{table}` TO {user}@'%'"));
    }
    let url = index.url.replace("pacs@", &format!("{user}@"));
    let mut command = site.program(&["reindex", "archive", "--quiet", "--index", &url]);
    let said = Said::of(command.env("PACS_INDEX_PASSWORD", PASSWORD));
    index.execute(&format!("DROP USER {user}@'%'"));
    let said = said.exits(0);
    assert!(said.out.contains("conceptname is not written: this user may not INSERT and UPDATE"), "{}", said.out);
    assert_eq!((index.count("image"), index.count("conceptname")), (1, 0));
}

#[test]
fn a_title_that_the_database_refuses_costs_no_report() {
    let site = Site::new();
    (1..=9).for_each(|n| add_report(&site, &n.to_string(), n, Some(&format!("T{n}"))));
    let index = Index::mariadb(&site);
    index.execute("ALTER TABLE conceptname ADD CONSTRAINT no CHECK (value <> 'T5')");
    let said = site.reindex(&index, &[]).exits(1);
    assert_eq!((said.figure("inserted"), index.count("image"), index.count("conceptname")), (9, 9, 8));
    assert_eq!(site.findings("conflict"), [format!("refused-by-index {}", uid(5))]);
}
