//! Settings: paths and access to the database.

use std::fs;

use serde_json::json;

use crate::support::{Index, Said, Site};

#[test]
fn an_archive_that_is_not_there_is_an_error_before_anything_is_written() {
    let site = Site::new();
    fs::write(site.path("file"), "").unwrap();
    fs::create_dir(site.path("full")).unwrap();
    fs::write(site.path("full/file"), "").unwrap();
    fs::create_dir_all(site.path("unmounted/2021/11")).unwrap();
    let cases: [(&[&str], &str); 12] = [
        (&["missing"], "Is it mounted?"),
        (&["archive"], "archive is empty"),
        (&["file"], "is not a directory"),
        (&["full", "."], "hold the same files"),
        (&["full", "full"], "hold the same files"),
        (&["/etc", "--require-mount"], "not on a mount"),
        (&["unmounted"], "unmounted is empty"),
        (&["full", "--path-map", "/mnt/typo=D:/DICOM"], "no root is there"),
        (&["full", "--index", "sqlite:full/index.db"], "is in the archive"),
        (&["full", "--rejected", "full/list"], "is in the archive"),
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
    let mut state = fs::read_dir(site.path("state/pacs-index")).unwrap().map(|entry| entry.unwrap().path());
    assert!(state.all(|path| path.is_dir()), "an empty list is not left");
}

#[test]
fn settings_come_from_a_file_and_what_is_typed_wins() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let text = "roots = ['missing']\nindex = 'sqlite:of-the-file.db'\nrejected = 'list'\npath-map = ['/typo=D:/DICOM']\nquiet = true\n";
    fs::write(site.path("site.toml"), text).unwrap();
    let mapping = format!("{}=D:/DICOM", site.archive().display());
    let typed = ["reindex", "archive", "--config", "site.toml", "--path-map", &mapping, "--index", "sqlite:index.db"];
    let said = site.run(&typed).exits(0);
    assert!(said.err.is_empty() && !site.path("of-the-file.db").exists(), "{}", said.err);
    assert_eq!(site.sqlite().rows("SELECT path FROM image"), ["D:/DICOM/1.2.3"]);
    fs::write(site.path("site.toml"), "roots = ['archive']\nindex = 'sqlite:of-the-file.db'\n").unwrap();
    site.run(&["reindex", "--config", "site.toml"]).exits(0);
    assert!(site.path("of-the-file.db").exists());
}

#[test]
fn an_unknown_setting_is_an_error_that_names_the_nearest() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let cases = [
        ("io_threads = 4", ["site.toml", "`io_threads`", "`io-threads`"]),
        ("io-threads = 'many'", ["site.toml", "`io-threads`", "a whole number"]),
        ("password = 'secret'", ["site.toml", "`password`", "PACS_INDEX_PASSWORD"]),
        ("index = 'mysql://pacs:secret@db/dicom'", ["index", "password", "PACS_INDEX_PASSWORD"]),
        ("quiet = true", ["required", "ROOT", "Usage"]),
    ];
    for (text, told) in cases {
        fs::write(site.path("site.toml"), text).unwrap();
        let roots: &[&str] = if text.starts_with("quiet") { &[] } else { &["archive"] };
        let said = site.run(&[&["reindex", "--config", "site.toml"], roots].concat()).exits(2);
        assert!(told.iter().all(|word| said.err.contains(word)), "{text}: {}", said.err);
        assert!(!said.err.contains("secret") && !site.path("pacs-index.db").exists(), "{text}: {}", said.err);
    }
    site.run(&["reindex", "archive", "--config", "missing.toml"]).exits(2);
}

/// Writes the INI file of a PACS that uses this database.
fn write_ini(site: &Site, index: &Index) {
    let (host, database) = index.url.trim_start_matches("mysql://pacs@").split_once('/').unwrap();
    let (host, port) = host.split_once(':').unwrap();
    let text = format!(
        "; PacsOne\nDatabase = {database}\nDatabaseHost = {host}\nMysqlPort = {port}\nUsername = pacs\nPassword = wrong\n"
    );
    fs::write(site.path("PACS.ini"), text).unwrap();
}

#[test]
fn a_pacsone_ini_names_the_database() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let index = Index::pacsone();
    write_ini(&site, &index);
    fs::write(site.path("password"), "pacs-test\n").unwrap();
    let ini = ["reindex", "archive", "--quiet", "--pacsone-ini", "PACS.ini", "--min-age", "0s"];
    let said = site.run(&[&ini[..], &["--password-file", "password"]].concat()).exits(0);
    assert!(said.out.contains(&index.url), "{}", said.out);
    assert_eq!(index.count("image"), 1);
    let said = site.run(&[&ini[..], &["--index", &index.url]].concat()).exits(2);
    assert!(said.err.contains("cannot be used with"), "{}", said.err);
    site.run(&ini).exits(2);
    site.run(&["reindex", "archive", "--pacsone-ini", "missing.ini"]).exits(2);
}

#[test]
fn an_oracle_site_is_refused() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    fs::write(site.path("PACS.ini"), "Database = dicom\nSchema = PACS\n").unwrap();
    fs::write(site.path("database.oracle"), "").unwrap();
    let said = site.run(&["reindex", "archive", "--pacsone-ini", "PACS.ini"]).exits(2);
    assert!(said.err.contains("PACS.ini") && said.err.contains("Oracle"), "{}", said.err);
}

/// Runs on the directories that the index names.
fn reindex_named(site: &Site, index: &Index, more: &[&str]) -> Said {
    let mut command =
        site.program(&["reindex", "--roots-from-index", "--index", &index.url, "--quiet", "--min-age", "0s"]);
    Said::new(command.args(more).env("PACS_INDEX_PASSWORD", "pacs-test").output().unwrap())
}

#[test]
fn the_roots_are_those_that_the_pacs_is_configured_with() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    site.add("CT/1.2.4", json!({"SOPInstanceUID": "1.2.4"}));
    fs::create_dir(site.path("old")).unwrap();
    fs::copy(site.archive().join("1.2.3"), site.path("old/1.2.3")).unwrap();
    let old = site.path("old").display().to_string();
    let index = Index::pacsone();
    index.execute(&format!(
        "DELETE FROM config; DELETE FROM applentity; INSERT INTO config (archivedir, longtermdir) VALUES ('d:\\\\dicom\\\\', '{old}/'); \
         INSERT INTO applentity (title, archivedir, longtermdir) VALUES ('A', 'D:/DICOM/CT', ''), ('B', 'D:/DICOM', NULL)"
    ));
    let mapping = format!("{}=D:/DICOM", site.archive().display());
    let said = reindex_named(&site, &index, &["--path-map", &mapping]).exits(1);
    assert!(said.out.contains(&format!("names it: {}\n", site.archive().display())), "{}", said.out);
    assert!(said.out.contains(&format!("names it: {old}\n")), "{}", said.out);
    assert_eq!((said.figure("files found"), said.figure("duplicates")), (3, 1));
    assert_eq!(index.rows("SELECT path FROM image WHERE uuid = '1.2.4'"), ["D:/DICOM/CT/1.2.4"]);
    let said = reindex_named(&site, &index, &[]).exits(2);
    assert!(said.err.contains("d:\\dicom\\") && said.err.contains("--path-map"), "{}", said.err);
    let said = reindex_named(&site, &index, &["archive"]).exits(2);
    assert!(said.err.contains("cannot be used with"), "{}", said.err);
}

#[test]
fn an_index_that_names_no_directory_is_told() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let index = Index::mariadb(&site);
    let said = reindex_named(&site, &index, &[]).exits(2);
    assert!(said.err.contains("names no archive directory"), "{}", said.err);
    index.execute(&format!(
        "CREATE TABLE config (archivedir VARCHAR(255)); INSERT INTO config VALUES (NULL), ('{}')",
        site.archive().display()
    ));
    reindex_named(&site, &index, &[]).exits(0);
    let said = reindex_named(&site, &site.sqlite(), &[]).exits(2);
    assert!(said.err.contains("does not say where the archive is"), "{}", said.err);
}
