//! Texts, viewers and other programs that accompany the images on a medium.

use std::fs;

use super::{import, medium, put, put_bytes, site_and_index};
use crate::support::Index;

/// Files that accompany a viewer on media.
fn companions() -> Vec<(&'static str, Vec<u8>)> {
    let utf16: Vec<u8> = "\u{feff}Lies mich\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let program = |magic: &[u8]| [magic, &[0x90, 0, 3, 0, 0xFE, 0x81], &[0; 200][..]].concat();
    vec![
        ("README.TXT", b"This disc contains medical images.\r\n".to_vec()),
        ("README", "Öffnen Sie diese CD mit dem Viewer.\n".as_bytes().to_vec()),
        ("LIESMICH", b"\xD6ffnen Sie diese CD\r\n".to_vec()),
        ("LISEZMOI.TXT", utf16),
        ("autorun.inf", b"[autorun]\r\nopen=viewer.exe\r\n".to_vec()),
        ("AUTORUN.SH", b"#!/bin/sh\nexec ./viewer\n".to_vec()),
        ("start.bat", b"@echo off\r\nstart viewer.exe\r\n".to_vec()),
        ("viewer.exe", program(b"MZ")),
        ("LIB.DLL", program(b"MZ")),
        ("viewer", program(b"\x7FELF\x02\x01\x01")),
        ("libviewer.so.1", program(b"\x7FELF\x01\x01\x01")),
        ("Viewer.app/Contents/MacOS/Viewer", program(b"\xCF\xFA\xED\xFE")),
        ("Viewer.app/Contents/MacOS/Universal", program(b"\xCA\xFE\xBA\xBE\0\0\0\x02")),
        ("index.html", b"<!DOCTYPE html>\n<html></html>".to_vec()),
        ("INDEX.HTM", b"<!-- made by a PACS -->\n<html></html>".to_vec()),
        ("style.css", b"body { color: black }".to_vec()),
        ("app.js", b"(function () { return 1 })()".to_vec()),
        ("data.json", br#"{"studies": []}"#.to_vec()),
        ("index.xml", b"<?xml version=\"1.0\"?><a/>".to_vec()),
        ("HELP.PDF", b"%PDF-1.4\n%\xE2\xE3\xCF\xD3\n\0\0".to_vec()),
        ("manual.chm", b"ITSF\x03\0\0\0\0\0\0\0\x01\0\0\0".to_vec()),
        ("viewer.jar", b"PK\x03\x04\x14\0\x08\0\x08\0\0\0\0\0".to_vec()),
        ("setup.cab", b"MSCF\0\0\0\0\xFF\x01\0\0".to_vec()),
        ("setup.msi", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1\0\0\0\0".to_vec()),
        ("AUTORUN.ICO", b"\0\0\x01\0\x01\0\x20\x20\0\0\x01\0".to_vec()),
        ("logo.png", b"\x89PNG\r\n\x1A\n\0\0\0\x0D".to_vec()),
        ("font.ttf", b"\0\x01\0\0\0\x0C\0\x80\0\x03\0\x40".to_vec()),
        ("font.woff2", b"wOF2\0\x01\0\0\0\0\0\0".to_vec()),
        ("click.wav", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0".to_vec()),
        ("film.avi", b"RIFF\x24\0\0\0AVI LIST\x10\0\0\0".to_vec()),
        ("film.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0".to_vec()),
        ("Viewer.class", b"\xCA\xFE\xBA\xBE\0\0\0\x34\0\x10".to_vec()),
    ]
}

#[test]
fn texts_and_programs_on_a_medium_are_no_findings() {
    let (site, index) = site_and_index();
    medium(&site, 3);
    let companions = companions();
    for (name, bytes) in &companions {
        put_bytes(&site, &format!("cd/{name}"), bytes);
    }
    let listed = import(&site, "cd", &index, &["--list"]);
    let said = import(&site, "cd", &index, &[]);
    assert_eq!(site.findings("rejected"), Vec::<String>::new(), "{}", said.out);
    let said = said.exits(0);
    assert_eq!((said.figure("inserted"), said.figure("skipped by rule")), (3, companions.len() as u64), "{}", said.out);
    assert!(said.figure("text") >= 10 && said.figure("program or document") >= 15, "{}", said.out);
    assert!(!said.out.contains("files to look at"), "{}", said.out);
    listed.exits(0);
}

#[test]
fn a_file_that_should_be_an_image_is_a_finding_whatever_it_holds() {
    let (site, index) = site_and_index();
    medium(&site, 3);
    let whole = super::instance_file(serde_json::json!({"SOPInstanceUID": "1.2.9"}));
    let expected = [
        ("1.2.840.113619.1", b"404 Not Found".to_vec()),
        ("image.dcm", b"404 Not Found".to_vec()),
        ("IMAGE.DCM", b"MZ\x90\0\x03\0\0\0".to_vec()),
        ("IM000098", b"MZ\x90\0\x03\0\0\0".to_vec()),
        ("I10", b"404 Not Found\n".to_vec()),
        ("mr_2.;1", b"%PDF-1.4\n".to_vec()),
        ("IM000099", (0..=255).cycle().skip(7).take(3000).collect()),
        ("cut", whole[..200].to_vec()),
        ("empty", Vec::new()),
        ("zeros", vec![0; 5000]),
    ];
    for (name, bytes) in &expected {
        put_bytes(&site, &format!("cd/{name}"), bytes);
    }
    let said = import(&site, "cd", &index, &[]).exits(1);
    assert_eq!(said.figure("rejected"), expected.len() as u64, "{:?}", site.findings("rejected"));
    import(&site, "cd", &index, &["--list"]).exits(1);
}

#[test]
fn an_archive_is_searched_more_strictly_than_a_medium() {
    let (site, index) = site_and_index();
    site.write("README.TXT", b"what does this here?");
    site.add("1.2.3", serde_json::json!({}));
    let said = site.reindex(&index, &[]).exits(1);
    assert_eq!(said.figure("rejected"), 1, "{}", said.out);
}

#[test]
fn notes_are_counted_apart_from_files_to_look_at() {
    let (site, index) = site_and_index();
    // Instances of one study that disagree.
    for n in 1..=2 {
        let change = serde_json::json!({"SOPInstanceUID": format!("1.2.{n}"), "StudyDescription": format!("{n}")});
        put(&site, &format!("cd/{n}"), change);
    }
    let noted = import(&site, "cd", &index, &[]);
    println!("{}", noted.out);
    assert_eq!(site.findings("note").len(), 1, "{:?}", site.listing());
    let noted = noted.exits(0);
    assert!(noted.out.contains("notes, one a line: ") && noted.out.contains("(1)"), "{}", noted.out);
    assert!(!noted.out.contains("files to look at"), "{}", noted.out);
    put_bytes(&site, "cd/3", &[7; 500]);
    let other = Index::sqlite(site.path("other.db"));
    fs::create_dir(site.path("to")).unwrap();
    let both = import(&site, "cd", &other, &["--archive", "to"]).exits(1);
    let line = both.out.lines().find(|line| line.starts_with("files to look at")).unwrap();
    println!("{line}");
    assert!(line.contains("(1; and notes: 1)"), "{line}");
    let lines = fs::read_to_string(site.path("rejected.jsonl")).unwrap().lines().count();
    assert_eq!(lines, 2);
}

#[test]
fn a_file_that_a_dicomdir_names_is_a_finding_whatever_it_holds() {
    let (site, index) = site_and_index();
    medium(&site, 3);
    put_bytes(&site, "cd/DICOM/SCAN", b"404 Not Found\n");
    let records = [("DICOM\\SCAN", "1.2.77".to_owned()), ("DICOM\\GONE", "1.2.78".to_owned())];
    put_bytes(&site, "cd/DICOMDIR", &crate::support::file_set::dicomdir(&records));
    let said = import(&site, "cd", &index, &[]).exits(1);
    assert_eq!(site.findings("medium").len(), 2, "{}", said.out);
    let details: Vec<String> = site.listing().iter().map(|line| line["detail"].as_str().unwrap().to_owned()).collect();
    for expected in [
        "DICOM/SCAN (1.2.77), which holds no instance that can be read",
        "DICOM/GONE (1.2.78), which is not on the medium",
    ] {
        assert!(details.iter().any(|detail| detail.contains(expected)), "{expected}: {details:?}");
    }
}
