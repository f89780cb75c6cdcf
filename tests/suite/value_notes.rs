//! The summary and the list report values that were not stored as the file has them, and never
//! print such a value.

use std::fs;

use serde_json::json;

use crate::support::draft::{Draft, PATIENT_NAME, ROWS};
use crate::support::{Said, Site};

const CHARACTER_SET: (u16, u16) = (0x0008, 0x0005);

/// Returns the lines of the list about a file: reason and detail.
fn notes(site: &Site, file: &str) -> Vec<(String, String)> {
    let of_file = |line: &serde_json::Value| line["path"].as_str().is_some_and(|path| path.ends_with(file));
    let lines = site.listing().into_iter().filter(of_file).inspect(|line| assert_eq!(line["what"], "note"));
    lines.map(|line| (line["reason"].as_str().unwrap().into(), line["detail"].as_str().unwrap().into())).collect()
}

fn reasons(site: &Site, file: &str) -> Vec<String> {
    notes(site, file).into_iter().map(|(reason, _)| reason).collect()
}

fn assert_reports(said: &Said, lines: &[&str]) {
    for line in lines {
        assert!(said.out.contains(line), "{line} is not in\n{}", said.out);
    }
}

#[test]
fn values_that_are_repaired_lost_or_not_understood_are_counted_and_listed_without_the_values() {
    let site = Site::new();
    site.add("repaired", json!({"SOPInstanceUID": "1.2.1", "StudyTime": "10.11.12", "PatientWeight": "71,25"}));
    site.add("invalid", json!({"SOPInstanceUID": "1.2.2", "ContentDate": "03/04/2019"}));
    let unknown = Draft::plain().text(CHARACTER_SET, "CS", "ISO 2022 IR 6\\IS");
    site.write("unknown", &unknown.element(PATIENT_NAME, "PN", "Grünwald".as_bytes()).file());
    let uid = (0x0008, 0x0018);
    let partial = Draft::plain().text(uid, "UI", "1.2.4").text(PATIENT_NAME, "PN", "Rosenrot^Rita\\Schneeweiss");
    site.write("partial", &partial.file());
    let damaged = Draft::plain().text(uid, "UI", "1.2.5").text(CHARACTER_SET, "CS", "utf8");
    site.write("damaged", &damaged.element((0x0008, 0x1030), "LO", b"Hohlfu\xdf").file());
    let index = site.sqlite();
    let said = site.reindex(&index, &[]);
    assert_eq!(said.figure("inserted"), 5, "{}", said.out);
    assert_reports(
        &said,
        &[
            "2 values repaired",
            "1 invalid or out-of-range dates, times, numbers and UIDs",
            "1 files with an unknown term in (0008,0005)",
            "1 values stored in part",
            "1 texts with bytes that their character set does not have",
        ],
    );
    let repaired = notes(&site, "repaired");
    assert_eq!(repaired[0].0, "repaired-value");
    assert!(repaired[0].1.contains("patient.weight, study.studytime"), "{repaired:?}");
    assert_eq!(reasons(&site, "invalid"), ["invalid-value"]);
    assert_eq!(reasons(&site, "unknown"), ["unknown-charset"]);
    assert_eq!(reasons(&site, "partial"), ["partial-value"]);
    assert_eq!(reasons(&site, "damaged"), ["undecodable-text"]);
    let listing = fs::read_to_string(site.path("rejected.jsonl")).unwrap();
    for secret in ["10.11.12", "71,25", "03/04/2019", "Gr", "Rosenrot", "Schneeweiss", "Hohl", "IR 6"] {
        assert!(!said.out.contains(secret) && !said.err.contains(secret), "{secret} in {}{}", said.out, said.err);
        assert!(!listing.contains(secret), "{secret} in {listing}");
    }
}

#[test]
fn a_file_that_ends_within_its_header_is_named_in_the_list() {
    let site = Site::new();
    let plain = Draft::plain();
    site.write("whole", &plain.text((0x0008, 0x0018), "UI", "1.2.1").file());
    site.write("truncated", &Draft::plain().cut_in(ROWS, 5));
    let said = site.reindex(&site.sqlite(), &[]).exits(0);
    assert_eq!(said.figure("inserted"), 2, "{}", said.out);
    assert_reports(&said, &["1 files that end within their header"]);
    assert_eq!(reasons(&site, "truncated"), ["cut-header"]);
    assert!(reasons(&site, "whole").is_empty());
}

#[test]
fn a_run_that_finds_every_file_unchanged_repeats_no_note() {
    let site = Site::new();
    site.add("repaired", json!({"StudyTime": "10.11.12"}));
    let index = site.sqlite();
    assert_reports(&site.reindex(&index, &[]).exits(0), &["1 values repaired"]);
    assert_eq!(index.rows("SELECT studytime FROM study"), ["10:11:12"]);
    let again = site.reindex(&index, &[]).exits(0);
    assert_eq!(again.figure("unchanged"), 1);
    assert!(!again.out.contains("values repaired"), "{}", again.out);
}

#[test]
fn a_row_without_the_number_of_frames_of_a_single_frame_is_found_and_filled() {
    let site = Site::new();
    site.add("a", json!({"NumberOfFrames": "1"}));
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    assert_eq!(index.rows("SELECT numframes FROM image"), ["1"]);
    index.execute("UPDATE image SET numframes = NULL");
    let archive = site.archive().display().to_string();
    let check = ["--level", "header", "--check", "header-differs", "--fail-on", "info", "--recheck-after", "0s"];
    let found = site.run(&[&["audit", &archive, "--index", &index.url], &check[..]].concat()).exits(1);
    assert!(found.out.contains("numframes"), "{}", found.out);
    site.reindex(&index, &["--force"]).exits(0);
    assert_eq!(index.rows("SELECT numframes FROM image"), ["1"]);
}

#[test]
fn a_column_that_the_index_lacks_is_in_no_note() {
    let site = Site::new();
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]).exits(0);
    for column in ["patient.height", "patient.weight", "patient.lastname", "image.contentdate"] {
        let (table, name) = column.split_once('.').unwrap();
        index.execute(&format!("ALTER TABLE {table} RENAME COLUMN {name} TO other_{name}"));
    }
    let invalid = json!({"PatientSize": "tall", "PatientWeight": "71,25", "ContentDate": "03/04/2019"});
    site.add("invalid", invalid);
    let uid = (0x0008, 0x0018);
    let partial = Draft::plain().text(uid, "UI", "1.2.4").text(PATIENT_NAME, "PN", "Rosenrot^Rita\\Schneeweiss");
    site.write("partial", &partial.file());
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(said.figure("inserted"), 2, "{}", said.out);
    assert!(reasons(&site, "invalid").is_empty(), "{:?}", notes(&site, "invalid"));
    assert!(
        !said.out.contains("values repaired") && !said.out.contains("invalid or out-of-range dates"),
        "{}",
        said.out
    );
    // The other part of the name is stored in another column.
    let partial = notes(&site, "partial");
    assert!(partial[0].1.ends_with(": patient.firstname"), "{partial:?}");
    assert_reports(&said, &["1 values stored in part"]);
}
