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
    fs::create_dir_all(site.path("unmounted/2021/11")).unwrap();
    let cases: [(&[&str], &str); 12] = [
        (&["missing"], "Is the archive mounted?"),
        (&["archive"], "archive is empty"),
        (&["file"], "is not a directory"),
        (&["full", "."], "hold the same files"),
        (&["full", "full"], "hold the same files"),
        (&["/etc", "--require-mount"], "not on a mount"),
        (&["unmounted"], "unmounted is empty"),
        (&["full", "--path-map", "/mnt/typo=D:/DICOM"], "no root lies there"),
        (&["full", "--index", "sqlite:full/index.db"], "lies in the archive"),
        (&["full", "--rejected", "full/list"], "lies in the archive"),
        (&["full", "--rejected", "file"], "does not exist yet"),
        (&["full", "--rejected", "typo/list"], "does not exist yet"),
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
    let mut typed =
        site.program(&["reindex", "archive", "--quiet", "--index", &index.url, "--password-file", "password"]);
    let stale = typed.env("PACS_INDEX_PASSWORD", "stale").output().unwrap();
    assert_eq!(stale.status.code(), Some(0), "what is typed has the last word");
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
fn a_time_zone_that_is_none_is_an_error() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let output = site.program(&["reindex", "archive"]).env("TZ", "Europe/Nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_dry_run_leaves_the_file_of_an_index_as_it_is() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]).exits(0);
    index.execute("PRAGMA journal_mode = DELETE");
    let before = fs::read(site.path("index.db")).unwrap();
    site.reindex(&index, &["--dry-run"]).exits(0);
    assert!(fs::read(site.path("index.db")).unwrap() == before);
    index.execute("DROP TABLE patient");
    let before = fs::read(site.path("index.db")).unwrap();
    site.reindex(&index, &[]).exits(2);
    assert!(fs::read(site.path("index.db")).unwrap() == before, "a file that is no index is refused as it is");
}

#[test]
fn a_reader_that_has_gone_does_not_fail_the_run() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = site.program(&["reindex", "archive"]);
    let status = command.stdout(full.try_clone().unwrap()).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        site.program(&["reindex", "missing"]).stderr(fs::File::open("/dev/null").unwrap()).status().unwrap().code(),
        Some(2)
    );
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
