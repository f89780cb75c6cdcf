//! `pacs-index init`.

use std::fs;

use serde_json::json;

use crate::import::{import, put};
use crate::support::{Index, Site, instance_file};

#[test]
fn an_empty_sqlite_index_is_made_once() {
    let site = Site::new();
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]).exits(0);
    assert_eq!(index.dump().len(), 0);
    let said = site.run(&["init", "--index", &index.url]).exits(2);
    assert!(said.err.contains("only fills an empty database"), "{}", said.err);
}

#[test]
fn on_mysql_the_pacsone_installer_is_named_unless_it_is_a_test_server() {
    let site = Site::new();
    let index = Index::empty_mariadb();
    let said = site.run(&["init", "--index", &index.url]).exits(2);
    assert!(said.err.contains("installer"), "{}", said.err);
    assert_eq!(index.rows("SHOW TABLES").len(), 0);
}

#[test]
fn a_database_that_is_not_empty_is_left_alone() {
    let site = Site::new();
    let index = Index::empty_mariadb();
    index.execute("CREATE TABLE something (x INT)");
    let mut command = site.program(&["init", "--index", &index.url, "--not-the-pacsone-installer"]);
    let output = command.env("PACS_INDEX_PASSWORD", "pacs-test").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(index.rows("SHOW TABLES"), ["something"]);
}

#[test]
fn a_file_that_is_no_index_is_left_alone() {
    let site = Site::new();
    site.write("1.2.3", b"");
    fs::write(site.path("index.db"), "this is no database, and it is precious").unwrap();
    site.reindex(&site.sqlite(), &[]).exits(2);
    assert_eq!(fs::read_to_string(site.path("index.db")).unwrap(), "this is no database, and it is precious");
}

#[test]
fn an_index_that_a_killed_run_left_without_tables_is_empty() {
    for has_been_written in [false, true] {
        let site = Site::new();
        site.write("1.2.3", &instance_file(json!({"SOPInstanceUID": "1.2.3"})));
        put(&site, "cd/IM1", json!({"SOPInstanceUID": "1.2.4"}));
        let index = site.sqlite();
        let leave_empty = || {
            fs::write(site.path("index.db"), b"").unwrap();
            if has_been_written {
                index.execute("CREATE TABLE t (c INTEGER)");
                index.execute("DROP TABLE t");
            }
        };
        leave_empty();
        let before = fs::read(site.path("index.db")).unwrap();
        import(&site, "cd", &index, &["--list"]).exits(0);
        site.run(&["reindex", "archive", "--index", &index.url, "--dry-run"]).exits(0);
        let said = site.run(&["audit", "archive", "--index", &index.url, "--recheck-after", "0s"]).exits(1);
        assert!(said.out.contains("unindexed"), "{}", said.out);
        assert_eq!(fs::read(site.path("index.db")).unwrap(), before);
        import(&site, "cd", &index, &[]).exits(0);
        assert_eq!(index.rows("SELECT uuid FROM image"), ["1.2.4"]);
    }
}

/// A run that is killed while it creates the tables leaves a transaction that must be rolled back.
#[test]
fn an_index_that_a_run_was_creating_when_it_was_killed_is_opened_by_all_commands() {
    for arguments in [
        &["reindex", "archive", "--min-age", "0s"][..],
        &["reindex", "archive", "--dry-run"],
        &["audit", "archive", "--recheck-after", "0s"],
        &["import", "cd", "--archive", "archive"],
        &["import", "cd", "--list"],
        &["init"],
    ] {
        let site = Site::new();
        site.write("1.2.3", &instance_file(json!({"SOPInstanceUID": "1.2.3"})));
        put(&site, "cd/IM1", json!({"SOPInstanceUID": "1.2.4"}));
        let database = site.path("index.db");
        // The journal records the size of the file before the transaction: zero.
        let index = site.sqlite();
        fs::write(&database, b"").unwrap();
        index.execute("CREATE TABLE t (c INTEGER)");
        fs::write(site.path("index.db-journal"), hot_journal()).unwrap();
        let said = site.run(&[arguments, &["--index", &index.url]].concat());
        assert!(said.exit <= 1, "{arguments:?}: {}{}", said.out, said.err);
        assert!(database.exists());
    }
}

/// The header of a rollback journal without pages, for a file without pages (file format of SQLite,
/// section 3).
fn hot_journal() -> Vec<u8> {
    let numbers = [0_u32, 0, 0, 512, 4096];
    let magic = [0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7];
    let mut header: Vec<u8> = magic.into_iter().chain(numbers.iter().flat_map(|number| number.to_be_bytes())).collect();
    header.resize(512, 0);
    header
}
