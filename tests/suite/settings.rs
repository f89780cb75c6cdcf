//! Where things are, and how to get in.

use std::fs;

use serde_json::json;

use crate::support::{Index, Site};

#[test]
fn an_archive_that_is_not_there_is_an_error_before_anything_is_written() {
    let site = Site::new();
    fs::write(site.path("file"), "").unwrap();
    fs::create_dir(site.path("full")).unwrap();
    fs::write(site.path("full/file"), "").unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["missing"], "Is the archive mounted?"),
        (&["archive"], "archive is empty"),
        (&["file"], "is not a directory"),
        (&["full", "."], "hold the same files"),
        (&["full", "full"], "hold the same files"),
        (&["/etc", "--require-mount"], "not on a mount"),
    ];
    for (arguments, message) in cases {
        let mut all = vec!["reindex"];
        all.extend(arguments);
        let said = site.run(&all).exits(2);
        assert!(said.err.contains(message), "{arguments:?}: {}", said.err);
        assert!(!site.path("pacs-index.db").exists(), "{arguments:?}");
        assert!(!site.path("state").exists(), "{arguments:?}");
    }
}

#[test]
fn the_password_comes_from_a_file_or_an_option_file_never_from_the_url() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let index = Index::mariadb(&site);
    fs::write(site.path("password"), "pacs-test\n").unwrap();
    fs::write(site.path("wrong"), "secret\n").unwrap();
    fs::write(site.path("my.cnf"), "[client]\nuser=pacs\npassword=\"pacs-test\"\n").unwrap();
    let no_user = index.url.replace("pacs@", "");
    let with_password = index.url.replace("pacs@", "pacs:secret@");
    let run = |url: &str, more: &[&str]| {
        let mut all = vec!["reindex", "archive", "--quiet", "--index", url];
        all.extend(more);
        site.run(&all)
    };
    run(&index.url, &["--password-file", "password"]).exits(0);
    run(&no_user, &["--defaults-file", "my.cnf"]).exits(0);
    let cases: [(&str, &[&str]); 4] = [
        (&index.url, &[]),
        (&index.url, &["--password-file", "wrong"]),
        (&with_password, &[]),
        (&index.url, &["--defaults-file", "my.cnf", "--defaults-section", "absent"]),
    ];
    for (url, more) in cases {
        let said = run(url, more).exits(2);
        assert!(!said.err.contains("secret"), "{}", said.err);
        assert!(said.err.lines().count() >= 2, "an error says what to do: {}", said.err);
    }
}

#[test]
fn an_index_that_cannot_be_reached_is_named() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let said = site.run(&["reindex", "archive", "--index", "mysql://pacs@127.0.0.1:1/dicom"]).exits(2);
    assert!(said.err.contains("127.0.0.1:1/dicom") && said.err.contains("running"), "{}", said.err);
    let said = site.run(&["reindex", "archive", "--index", "sqlite:nowhere/index.db"]).exits(2);
    assert!(said.err.contains("nowhere/index.db"), "{}", said.err);
}

#[test]
fn the_default_index_is_a_file_in_this_directory() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let said = site.run(&["reindex", "archive"]).exits(0);
    assert!(site.path("pacs-index.db").exists());
    assert!(said.out.contains("sqlite:pacs-index.db: complete"), "{}", said.out);
    assert!(said.out.contains("Files cannot bring back"), "{}", said.out);
    assert!(!fs::read_dir(site.path("state/pacs-index")).unwrap().any(|_| true), "an empty list is not left");
}
