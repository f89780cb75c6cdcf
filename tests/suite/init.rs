//! `pacs-index init`.

use std::fs;

use crate::support::{Index, Site};

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
