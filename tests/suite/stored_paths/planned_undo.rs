//! An undo file contains exactly the lines that a repair wrote: any edit is refused before a row
//! changes.

use std::fs;

use serde_json::{Value as Json, json};

use super::planned::{APPLY, indexed, planned, set, write};
use super::repair;
use crate::support::{Index, ROOT_UID as UID, Site};

const REVERT: [&str; 3] = ["--undo", "undo.jsonl", "--yes"];

/// An index in which a repair has set three counts, with the undo file of that repair.
fn repaired() -> (Site, Index, String) {
    let (site, index, head) = indexed();
    index.execute("UPDATE series SET instances = 9");
    let count = |series: &str, to: &str| set("series", series, "instances", json!("9"), json!(to));
    let (one, two) = (format!("{UID}.1.1"), format!("{UID}.2.1"));
    write(&site, "plan.jsonl", &[head, count(&one, "3"), count(&two, "2")]);
    repair(&site, &index, &APPLY).exits(0);
    let undo = fs::read_to_string(site.path("undo.jsonl")).unwrap();
    (site, index, undo)
}

#[track_caller]
fn assert_refused(site: &Site, index: &Index, undo: &str, expected: &str) {
    let before = index.dump();
    fs::write(site.path("undo.jsonl"), undo).unwrap();
    let said = repair(site, index, &REVERT).exits(2);
    assert!(said.err.contains(expected), "{expected}: {}", said.err);
    assert_eq!(index.dump(), before, "{undo}");
}

#[test]
fn each_edit_of_an_undo_file_is_refused_with_its_line() {
    let (site, index, undo) = repaired();
    let lines: Vec<&str> = undo.lines().collect();
    assert_eq!(lines.len(), 3, "{undo}");
    let text = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let [head, first, second] = [lines[0], lines[1], lines[2]];
    let restore = json!({"undo": "restore", "table": "study", "key": format!("{UID}.1"),
                         "columns": {"description": [null, "CHEST"]}})
    .to_string();
    let cases = [
        (text(&[head, &first.replace("\"9\"", "\"8\""), second]), "line 2"),
        (text(&[head, first, &second.replace("\"9\"", "\"8\"")]), "line 3"),
        (text(&[head, first, &second.replace("\"9\"", "\"8\"")]).trim_end().to_owned(), "line 3"),
        (text(&[head, &first.replace("\"undo\":", "\"undo\": "), second]), "line 2"),
        (text(&[head, second]), "line 2"),
        (text(&[head, second, first]), "line 2"),
        (text(&[head, first, first, second]), "line 3"),
        (text(&[head, first, "", second]), "line 3"),
        (text(&[head, first, second, &restore]), "line 4"),
        (text(&[head, first, second, ""]), "line 4"),
        (text(&[first, second]), "line 1"),
        (text(&[&head.replace("\"index\":\"", "\"index\":\"x"), first, second]), "line 1"),
        (format!("\u{feff}{undo}"), "line 1"),
        (text(&[head, &first[..first.len() / 2], second]), "line 2"),
        (String::new(), "records no change"),
    ];
    for (edited, expected) in cases {
        assert_refused(&site, &index, &edited, expected);
    }
    let before = index.dump();
    let mut bytes = undo.clone().into_bytes();
    // The final line feed is not flipped: without it, the last line counts as incomplete, as after
    // a killed repair.
    for at in 0..bytes.len() - 1 {
        if at % 7 == 0 || std::env::var_os("PACS_INDEX_TEST_LONG").is_some() {
            bytes[at] ^= 1;
            fs::write(site.path("undo.jsonl"), &bytes).unwrap();
            repair(&site, &index, &REVERT).exits(2);
            bytes[at] ^= 1;
        }
    }
    assert_eq!(index.dump(), before);
    fs::write(site.path("undo.jsonl"), &undo).unwrap();
    repair(&site, &index, &REVERT).exits(0);
    assert_eq!(index.rows("SELECT instances FROM series"), ["9", "9"]);
}

#[test]
fn the_undo_file_of_a_killed_repair_is_accepted_without_its_last_line() {
    let (site, index, undo) = repaired();
    let last = undo.trim_end().rfind('\n').unwrap() + 1;
    for end in [last + 1, (last + undo.len()) / 2, undo.len() - 2] {
        index.execute(&format!("UPDATE series SET instances = 3 WHERE uuid = '{UID}.1.1'"));
        fs::write(site.path("undo.jsonl"), &undo[..end]).unwrap();
        let said = repair(&site, &index, &REVERT).exits(0);
        assert!(said.out.contains("1 changes to revert"), "{}", said.out);
        assert_eq!(index.rows("SELECT instances FROM series ORDER BY uuid"), ["9", "2"]);
    }
    // Only its line feed is missing.
    fs::write(site.path("undo.jsonl"), undo.trim_end()).unwrap();
    let said = repair(&site, &index, &REVERT).exits(1);
    assert!(said.out.contains("2 changes to revert") && said.out.contains("1 values set"), "{}", said.out);
    assert_eq!(index.rows("SELECT instances FROM series"), ["9", "9"]);
}

#[test]
fn an_undo_file_is_for_the_index_that_the_repair_changed() {
    let (site, index, undo) = repaired();
    let head: Json = serde_json::from_str(undo.lines().next().unwrap()).unwrap();
    assert_eq!(head["index"], json!(index.url.replace("pacs@", "")), "by any user");
    let (_other_site, other, other_undo) = repaired();
    assert_eq!(other_undo.lines().count(), 3);
    assert_refused(&site, &other, &undo, &format!("the index {}", index.url.replace("pacs@", "")));
    repair(&site, &index, &REVERT).exits(0);
}

#[test]
fn a_removed_row_is_put_back_only_below_its_series() {
    let (site, index, head) = indexed();
    let image = format!("{UID}.1.1.1");
    fs::remove_file(site.archive().join("2019-01-12-SAT").join(&image)).unwrap();
    let path = format!("D:/DICOM/2019-01-12-SAT/{image}");
    let remove =
        json!({"enabled": true, "check": "missing-file", "action": "remove-image", "key": image, "path": path});
    write(&site, "plan.jsonl", &[head, remove]);
    let whole = index.dump();
    repair(&site, &index, &APPLY).exits(0);
    index.execute(&format!("UPDATE series SET uuid = '1.2.3' WHERE uuid = '{UID}.1.1'"));
    let before = index.dump();
    let said = repair(&site, &index, &REVERT).exits(1);
    assert!(said.out.contains("its series is missing"), "{}", said.out);
    assert_eq!(index.dump(), before);
    index.execute(&format!("UPDATE series SET uuid = '{UID}.1.1' WHERE uuid = '1.2.3'"));
    repair(&site, &index, &REVERT).exits(0);
    assert_eq!(index.dump(), whole);
}

#[test]
fn the_undo_file_of_inserted_instances_reverts_them() {
    let (site, index) = planned();
    repair(&site, &index, &APPLY).exits(0);
    let undo = fs::read_to_string(site.path("undo.jsonl")).unwrap();
    let edited = undo.replacen("\"undo\":\"remove\"", "\"undo\":\"keep\"", 1);
    assert_refused(&site, &index, &edited, "line 2");
    fs::write(site.path("undo.jsonl"), undo).unwrap();
    repair(&site, &index, &REVERT).exits(0);
    assert_eq!(index.count("image"), 0);
}
