//! A database that people edit: the values of existing rows that a run may write.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value as Json, json};

use crate::support::{Index, ROOT_UID, Site, TABLES, on_both_databases};

/// Returns every value of the core tables, by table, key and column.
fn values(index: &Index) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (table, key) in TABLES {
        let columns = index.rows(&format!(
            "SELECT CAST(COLUMN_NAME AS CHAR) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}'"
        ));
        let keys = index.rows(&format!("SELECT `{key}` FROM `{table}` ORDER BY `{key}`"));
        for (key, row) in keys.iter().zip(index.rows(&format!("SELECT * FROM `{table}` ORDER BY `{key}`"))) {
            for (column, value) in columns.iter().zip(row.split('|')) {
                let short = key.strip_prefix(&format!("{ROOT_UID}.")).unwrap_or(key);
                values.insert(format!("{table} {short} {column}"), value.to_owned());
            }
        }
    }
    values
}

/// Returns the changes, one per line.
fn difference(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let nothing = "(no row)".to_owned();
    let of = |values: &BTreeMap<String, String>, place: &String| values.get(place).unwrap_or(&nothing).clone();
    let places: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = places.into_iter().filter(|place| of(before, place) != of(after, place));
    changed.map(|place| format!("{place}: {} -> {}", of(before, place), of(after, place))).collect()
}

/// Indexes eight patients with a study each, and then makes all edits that people and the PACS make
/// in a database.
fn edited_pacs(site: &Site) -> Index {
    let index = Index::pacsone();
    index.execute("ALTER TABLE study ADD COLUMN site_flag VARCHAR(8) NOT NULL, ADD COLUMN stamp TIMESTAMP NULL ON UPDATE CURRENT_TIMESTAMP");
    index.execute("ALTER TABLE image ADD COLUMN site_note VARCHAR(16) NULL");
    for n in 1..=8 {
        for instance in 1..=2 {
            let uid = format!("{ROOT_UID}.{n}.1.{instance}");
            let change = json!({
                "PatientID": format!("T{n}"), "PatientName": format!("Testmann^Theo{n}"), "StudyInstanceUID": format!("{ROOT_UID}.{n}"),
                "SeriesInstanceUID": format!("{ROOT_UID}.{n}.1"), "SOPInstanceUID": uid, "InstanceNumber": instance.to_string(),
                "StudyDescription": "as in the file", "AccessionNumber": "A1", "BodyPartExamined": "HEAD",
            });
            site.add(&format!("2021-11-12-FRI/{uid}"), change);
        }
    }
    let said = site.reindex(&index, &[]).exits(0);
    assert!(said.out.contains("zero in new rows: study.site_flag"), "{}", said.out);
    let uid = |n: u32| format!("{ROOT_UID}.{n}");
    let mut edits = "UPDATE study SET description = 'by hand', studydate = NULL, accessionnum = '', site_flag = 'mine', \
                     reviewed = 'user', verified = '_attention', private = 1, stamp = '2020-01-01 00:00:00', \
                     received = '2019-05-05 05:05:05'; \
                     UPDATE series SET description = NULL, bodypart = 'NECK', seriestime = '01:02:03'; \
                     UPDATE image SET instance = NULL, tagged = 1, site_note = 'kept', bitsstored = 16; \
                     UPDATE patient SET lastname = 'Edited', sex = NULL, private = 1, lastaccess = '2022-02-02 02:02:02', \
                     patientmatchworklist = 2;"
        .to_owned();
    for (n, kind, status) in [
        (1, "resolve", "submitted"),
        (2, "resolve", "failed"),
        (3, "resolve", "success"),
        (4, "SplitStudy", "processing"),
    ] {
        edits += &format!(
            "INSERT INTO dbjob (type, class, uuid, status) VALUES ('{kind}', 'study', '{}', '{status}');",
            uid(n)
        );
    }
    edits += &format!(
        "INSERT INTO patient (origid, lastname) VALUES ('NEW4', 'Split'), ('T7[STOWRS-1]', 'Testmann'); \
         UPDATE study SET patientid = 'NEW4' WHERE uuid = '{}'; UPDATE study SET matched = 1 WHERE uuid = '{}'; \
         INSERT INTO matchworklist (studyuid, patientid) VALUES ('{}', 'T6'); \
         UPDATE study SET patientid = 'T7[STOWRS-1]' WHERE uuid = '{}'; UPDATE study SET received = NULL WHERE uuid = '{}'",
        uid(4),
        uid(5),
        uid(6),
        uid(7),
        uid(8)
    );
    index.execute(&edits);
    index
}

fn lines(of: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = of.into_iter().collect();
    lines.sort();
    lines
}

/// Columns that were NULL, with the values from the files.
fn missing_values() -> Vec<String> {
    let mut missing = Vec::new();
    for n in 1..=8 {
        missing.push(format!("study {n} studydate: - -> 2021-11-12"));
        missing.extend([1, 2].map(|i| format!("image {n}.1.{i} instance: - -> {i}")));
    }
    for patient in ["T1", "T2", "T3", "T5", "T6", "T7[STOWRS-1]", "T8"] {
        missing.push(format!("patient {patient} sex: - -> M"));
    }
    missing.push("patient T7[STOWRS-1] birthdate: - -> 1970-01-01".into());
    missing.push("study 8 received: - -> 2021-11-12 00:00:00".into());
    missing
}

#[test]
fn of_rows_that_people_work_with_only_what_is_missing_is_filled() {
    let site = Site::new();
    let index = edited_pacs(&site);
    let before = values(&index);
    let said = site.reindex(&index, &["--force"]).exits(1);
    let changed = difference(&before, &values(&index));
    println!("{}", changed.join("\n"));
    assert_eq!(changed, lines(missing_values()));
    assert_eq!((said.figure("inserted"), said.figure("updated"), said.figure("unchanged")), (0, 16, 0));
    assert!(said.out.contains("rows changed: patients 7, studies 8, series 0"), "{}", said.out);
    assert_eq!(site.findings("conflict"), [format!("link-differs {ROOT_UID}.4")], "the split study keeps its patient");
    let again = values(&index);
    let said = site.reindex(&index, &["--force"]).exits(1);
    assert_eq!(difference(&again, &values(&index)), [""; 0]);
    assert_eq!((said.figure("updated"), said.figure("unchanged")), (0, 16));
}

/// The front end decodes a row without a character set as plain ASCII.
#[test]
fn a_value_in_other_letters_that_fills_a_row_comes_with_its_character_set() {
    for (comments, charset) in [("plain", "ISO_IR 192"), ("sch\u{f6}n", "-")] {
        let site = Site::new();
        let change = json!({"PatientID": "P1", "PatientName": "Yamada^Taro=\u{5c71}\u{7530}^1", "PatientComments": "plain",
            "SpecificCharacterSet": "ISO_IR 192",
            "StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.9.1", "SOPInstanceUID": "1.2.9.1.1"});
        site.add("2021-11-12-FRI/1", change);
        let index = site.sqlite();
        site.run(&["init", "--index", &index.url]).exits(0);
        index.execute(&format!(
            "INSERT INTO patient (origid, lastname, firstname, comments) VALUES ('P1', 'Yamada', 'Taro', '{comments}')"
        ));
        site.reindex(&index, &[]).exits(0);
        let row = index.rows("SELECT ideographic, comments, charset FROM patient");
        assert_eq!(
            row,
            [format!("\u{5c71}\u{7530}^1|{comments}|{charset}")],
            "text of an unknown character set stays unknown"
        );
    }
}

#[test]
fn refresh_follows_the_files_but_for_studies_that_were_edited() {
    let site = Site::new();
    let index = edited_pacs(&site);
    let before = values(&index);
    let said = site.reindex(&index, &["--existing", "refresh", "--undo", "undo.jsonl"]).exits(1);
    let changed = difference(&before, &values(&index));
    println!("{}", changed.join("\n"));
    let mut expected = missing_values();
    // Studies are left alone if they have pending, failed or running jobs, are matched, are on the
    // worklist, or belong to another patient.
    for n in [3, 7, 8] {
        expected.push(format!("study {n} description: by hand -> as in the file"));
        expected.push(format!("study {n} accessionnum:  -> A1"));
        expected.push(format!("series {n}.1 bodypart: NECK -> HEAD"));
    }
    for n in [3, 8] {
        expected.push(format!("patient T{n} lastname: Edited -> Testmann"));
    }
    expected.push("patient T7[STOWRS-1] firstname:  -> Theo7".into());
    assert_eq!(changed, lines(expected));
    assert_eq!((said.figure("updated"), said.figure("unchanged")), (16, 0));
    let undo = fs::read_to_string(site.path("undo.jsonl")).unwrap();
    let undone: Vec<Json> = undo.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(undone.len(), changed.len(), "every value that was overwritten is written down");
    let description = undone.iter().find(|line| line["column"] == "description").unwrap();
    assert_eq!((description["old"].as_str(), description["new"].as_str()), (Some("by hand"), Some("as in the file")));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(site.path("undo.jsonl")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it holds patients' data");
    }
}

#[test]
fn a_dry_run_tells_what_it_would_change() {
    let site = Site::new();
    let index = edited_pacs(&site);
    let before = values(&index);
    let said = site.reindex(&index, &["--dry-run"]).exits(1);
    assert_eq!(difference(&before, &values(&index)), [""; 0]);
    let told = format!("would change study.studydate in 8 rows, the first of {ROOT_UID}.1");
    assert!(said.out.contains(&told), "{}", said.out);
    assert!(
        said.out.contains(&format!("would change image.instance in 16 rows, the first of {ROOT_UID}.1.1.1")),
        "{}",
        said.out
    );
}

#[test]
fn a_row_is_led_to_its_file_only_when_the_old_one_is_gone() {
    on_both_databases(|site, index| {
        site.add("old/1.2.3", json!({"Rows": "4"}));
        site.reindex(index, &[]).exits(0);
        // Without the state of that run, the row counts as one of a PACS.
        fs::remove_dir_all(site.path("state")).unwrap();
        // A copy in addition to the indexed file changes nothing.
        site.add("new/1.2.3", json!({"Rows": "8", "BitsStored": "16"}));
        let said = site.reindex(index, &[]).exits(1);
        assert_eq!((said.figure("unchanged"), said.figure("duplicates")), (1, 1));
        let old = site.archive().join("old/1.2.3");
        // The PACS has moved the file.
        fs::remove_file(&old).unwrap();
        let said = site.reindex(index, &[]).exits(0);
        assert_eq!((said.figure("updated"), said.figure("duplicates")), (1, 0));
        let path = site.archive().join("new/1.2.3").display().to_string();
        assert_eq!(index.rows("SELECT path, numrows, bitsstored FROM image"), [format!("{path}|8|16")]);
        assert_eq!(site.findings("note"), ["path-corrected 1.2.3"]);
        // A path of another machine cannot be checked locally.
        index.execute("UPDATE image SET path = 'D:/DICOM/1.2.3'");
        let said = site.reindex(index, &[]).exits(1);
        assert_eq!((said.figure("updated"), said.figure("duplicates")), (0, 1));
        // The former path now contains a file of another instance.
        index.execute(&format!("UPDATE image SET path = '{}'", old.display()));
        site.add("old/1.2.3", json!({"SOPInstanceUID": "1.2.99"}));
        let said = site.reindex(index, &[]).exits(0);
        assert_eq!((said.figure("updated"), said.figure("inserted")), (1, 1));
    });
}
