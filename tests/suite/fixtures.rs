//! The committed fixtures match their description.

use std::fs;

use crate::support::{description, fixtures, stubs};

#[test]
fn the_archive_is_what_its_description_says() {
    let described = description::files(include_str!("../../fixtures/archive.json"));
    for (path, bytes) in &described {
        let committed = fs::read(fixtures().join("archive").join(path)).unwrap_or_default();
        assert!(committed == *bytes, "{path} differs: see fixtures/make.rs");
    }
    assert_eq!(count(&fixtures().join("archive")), described.len(), "files that no description knows");
}

#[test]
fn the_stubs_are_what_the_tests_make() {
    let made = stubs::files();
    for (name, bytes) in &made {
        let committed = fs::read(fixtures().join("stubs").join(name)).unwrap_or_default();
        assert!(committed == *bytes, "{name} differs: see fixtures/make.rs");
    }
    assert_eq!(count(&fixtures().join("stubs")), made.len(), "files that no test makes");
}

fn count(directory: &std::path::Path) -> usize {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { count(&entry.path()) } else { 1 }).sum()
}
