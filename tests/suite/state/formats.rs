//! Logs of other versions of the program.

use std::path::Path;

use pacs_index::dicom::ATTRIBUTES;
use pacs_index::dicom::instance::REVISION;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::support::{PASSWORD, on_both_databases, walk};

/// The length of the head of a log, behind which the frame with the names of the attributes begins.
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

/// Gives an attribute another name in the log, of the same length: the program that wrote the log did not have the attribute.
fn rename_attribute(log: &Path, name: &str, other: &str) {
    assert_eq!(name.len(), other.len());
    change(log, |bytes| {
        assert_eq!(bytes[HEAD], 15, "the log begins with its attributes");
        let length = u32::from_le_bytes(bytes[HEAD + 1..HEAD + 5].try_into().unwrap()) as usize;
        let payload = &mut bytes[HEAD + FRAME_HEAD..HEAD + FRAME_HEAD + length];
        let at = payload.windows(name.len()).position(|part| part == name.as_bytes()).unwrap();
        payload[at..at + name.len()].copy_from_slice(other.as_bytes());
        let checksum = crc32fast::hash(payload);
        bytes[HEAD + 5..HEAD + FRAME_HEAD].copy_from_slice(&checksum.to_le_bytes());
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

#[test]
fn a_killed_run_is_continued_by_a_program_with_one_more_attribute() {
    on_both_databases(|site, index| {
        archive(site);
        reindex(site, index, "kept").exits(0);
        let expected = index.dump();
        // The killed run was that of a program that did not know the attribute.
        let log = site.kept("kept", "catalogue").join("log");
        change(&log, |bytes| {
            let end = bytes.len() - FRAME_HEAD;
            assert_eq!(bytes[end], 5, "the last frame is no end of a run");
            bytes.truncate(end);
        });
        rename_attribute(&log, "image.bitsstored", "image.bitsstoreX");
        index.execute("UPDATE image SET bitsstored = NULL");
        index.execute("UPDATE series SET instances = NULL");
        index.execute("UPDATE study SET modalities = NULL");
        assert_ne!(index.dump(), expected);
        let said = reindex(site, index, "kept").exits(0);
        assert!(said.out.contains("continues a run"), "{}", said.out);
        assert_eq!(said.figure("files found"), 10, "{}", said.out);
        assert_eq!(index.dump(), expected);
        // Now the records have all attributes.
        spoil(site);
        let said = reindex(site, index, "kept").exits(0);
        assert_eq!((said.figure("unchanged"), said.figure("rejected")), (10, 0), "{}", said.out);
        assert_eq!(index.dump(), expected);
    });
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
