//! Logs of other versions of the program.

use std::path::Path;

use pacs_index::dicom::ATTRIBUTES;
use pacs_index::dicom::instance::REVISION;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::ledger::store::Reference;
use crate::support::{PASSWORD, on_both_databases, walk};

/// The length of the head of a log, after which the frame with the names of the attributes begins.
const HEAD: usize = 32;
/// Kind, length and checksum of a frame.
const FRAME_HEAD: usize = 9;

fn reindex(site: &Site, index: &Index, state: &str) -> Said {
    said(reindexing(site, index, &["--state", state, "--allow-unmapped-paths"]).env("PACS_INDEX_PASSWORD", PASSWORD))
}

fn change(log: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(log).unwrap();
    change(&mut bytes);
    fs::write(log, bytes).unwrap();
}

fn spoil(site: &Site) {
    for file in walk(&site.archive()) {
        let metadata = fs::metadata(&file).unwrap();
        fs::write(&file, vec![b'x'; metadata.len() as usize]).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(metadata.modified().unwrap()).unwrap();
    }
}

/// Gives a log the head of format 4.
fn to_format_4(log: &Path, version: &str) {
    let attributes: Vec<String> = ATTRIBUTES.iter().map(|attribute| format!("{attribute:?}")).collect();
    let meaning = xxh3_64(&postcard::to_stdvec(&(version, REVISION, attributes)).unwrap());
    change(log, |bytes| {
        bytes[15] = b'4';
        bytes[16..24].copy_from_slice(&meaning.to_le_bytes());
    });
}

/// Changes the payload of the frame with the names of the attributes, and leaves its length
/// unchanged.
fn change_form(log: &Path, change_payload: impl FnOnce(&mut [u8])) {
    change(log, |bytes| {
        assert_eq!(bytes[HEAD], 15, "the log begins with its attributes");
        let length = u32::from_le_bytes(bytes[HEAD + 1..HEAD + 5].try_into().unwrap()) as usize;
        let payload = &mut bytes[HEAD + FRAME_HEAD..HEAD + FRAME_HEAD + length];
        change_payload(payload);
        let checksum = crc32fast::hash(payload);
        bytes[HEAD + 5..HEAD + FRAME_HEAD].copy_from_slice(&checksum.to_le_bytes());
    });
}

/// Gives an attribute another name in the log, of the same length: the program that wrote the log
/// did not have the attribute.
fn rename_attribute(log: &Path, name: &str, other: &str) {
    assert_eq!(name.len(), other.len());
    change_form(log, |payload| {
        let at = payload.windows(name.len()).position(|part| part == name.as_bytes()).unwrap();
        payload[at..at + name.len()].copy_from_slice(other.as_bytes());
    });
}

/// Gives the program that wrote the log a higher version number.
fn raise_version(log: &Path) {
    change_form(log, |payload| {
        let major = payload.len() - 3;
        assert_eq!(payload[major..], [0, 1, 0], "the version is at the end");
        payload[major] = 9;
    });
}

#[test]
fn a_log_of_a_newer_format_is_refused_and_left_unchanged() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    reindex(&site, &index, "kept").exits(0);
    let log = site.kept("kept", "catalogue").join("log");
    change(&log, |bytes| bytes[15] = b'6');
    let before = fs::read(&log).unwrap();
    let refused = reindex(&site, &index, "kept").exits(2);
    let directory = site.kept("kept", "catalogue").file_name().unwrap().to_string_lossy().into_owned();
    assert!(refused.err.contains("newer version") && refused.err.contains(&directory), "{}", refused.err);
    assert_eq!(fs::read(&log).unwrap(), before);
    assert!(!walk(&site.path("kept")).iter().any(|file| file.to_string_lossy().contains("damaged")));
}

#[test]
fn a_log_of_a_newer_version_with_more_attributes_is_refused_and_left_unchanged() {
    on_both_databases(|site, index| {
        archive(site);
        reindex(site, index, "kept").exits(0);
        let log = site.kept("kept", "catalogue").join("log");
        raise_version(&log);
        assert_eq!(reindex(site, index, "kept").exits(0).figure("unchanged"), 10, "the attributes are the same");
        rename_attribute(&log, "image.bitsstored", "image.bitsstoreX");
        let before = (fs::read(&log).unwrap(), index.dump());
        let refused = reindex(site, index, "kept").exits(2);
        assert!(refused.err.contains("newer version"), "{}", refused.err);
        assert!((fs::read(&log).unwrap(), index.dump()) == before);
    });
}

#[test]
fn a_log_of_format_4_is_converted() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    reindex(&site, &index, "kept").exits(0);
    let log = site.kept("kept", "catalogue").join("log");
    to_format_4(&log, "0.1.0");
    spoil(&site);
    for _ in 0..2 {
        let said = reindex(&site, &index, "kept").exits(0);
        assert_eq!((said.figure("unchanged"), said.figure("rejected"), said.err.as_str()), (10, 0, ""), "{}", said.out);
        assert_eq!(&fs::read(&log).unwrap()[..16], b"pacs-index log 5");
    }
}

#[test]
fn a_log_of_format_4_with_other_attributes_is_set_aside() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    reindex(&site, &index, "kept").exits(0);
    let log = site.kept("kept", "catalogue").join("log");
    to_format_4(&log, "0.0.9");
    let before = fs::read(&log).unwrap();
    let said = reindex(&site, &index, "kept").exits(0);
    assert!(said.err.contains("earlier version") && said.err.contains("log.damaged"), "{}", said.err);
    assert_eq!((said.figure("unchanged"), fs::read(log.with_file_name("log.damaged")).unwrap()), (10, before));
    assert_eq!(reindex(&site, &index, "kept").exits(0).err, "");
}

/// An attribute at each level, with the name that the log gets instead.
const NEW_ATTRIBUTES: [[&str; 3]; 4] = [
    ["patient", "ethnicgroup", "ethnicgrouX"],
    ["study", "accessionnum", "accessionnuX"],
    ["series", "bodypart", "bodyparX"],
    ["image", "bitsstored", "bitsstoreX"],
];

/// The program that was killed did not know some attributes: neither its records nor its rows have
/// them. The tests of `ledger::upgrade` build such a program.
#[test]
fn a_killed_run_is_continued_by_a_program_with_more_attributes() {
    for make in [Site::sqlite, Index::mariadb as fn(&Site) -> Index] {
        let mut reference = Reference::new(3000, make);
        for round in 0..3 {
            let index = reference.fresh_index();
            let part = f64::from(round) * 0.4 + 0.1 + reference.random.below(30) as f64 / 100.0;
            reference.kill_a_run_at(&index, part);
            let log = reference.site.kept("state", "catalogue").join("log");
            for [table, column, other] in NEW_ATTRIBUTES {
                rename_attribute(&log, &format!("{table}.{column}"), &format!("{table}.{other}"));
                index.execute(&format!("UPDATE {table} SET {column} = NULL"));
            }
            reference.rerun(&index, &[]);
            reference.assert_reached(&index.dump(), &format!("round {round}, killed at {part}"));
        }
    }
}

#[test]
fn files_are_read_again_by_a_program_with_one_more_attribute() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    reindex(&site, &index, "kept").exits(0);
    let expected = index.dump();
    rename_attribute(&site.kept("kept", "catalogue").join("log"), "image.bitsstored", "image.bitsstoreX");
    index.execute("UPDATE image SET bitsstored = NULL");
    reindex(&site, &index, "kept").exits(0);
    assert_eq!(index.dump(), expected);
    spoil(&site);
    assert_eq!(reindex(&site, &index, "kept").exits(0).figure("rejected"), 0);
}
