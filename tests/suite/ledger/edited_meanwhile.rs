//! Values that a user edits during a run.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::killed::site_with;
use crate::support::{Index, Site};

/// Edits that the collation of a column does not see as a change, one for each class of value.
const EDITS: [(&str, &str, &str); 4] = [
    ("study", "description", "UPPER(description)"),
    ("series", "description", "CONCAT(description, ' ')"),
    ("patient", "comments", "REPLACE(comments, 'o', '\u{f3}')"),
    ("patient", "lastname", "LOWER(lastname)"),
];

/// The number of rows of each table that are edited.
const ROWS: usize = 6;

/// Edits rows as soon as a run has committed them and before it finalizes them. Returns a query for
/// each edited value, with its result.
fn edit_during_a_run(site: &Site, index: &Index) -> Vec<(String, Vec<String>)> {
    let mut run = site.start_reindex(index, &["--io-threads", "1"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut connection = index.connect();
    while connection.rows("SELECT 1 FROM series LIMIT 6").len() < ROWS {
        assert!(!run.is_over() && Instant::now() < deadline, "the run inserted no series");
        sleep(Duration::from_millis(2));
    }
    let mut edited = Vec::new();
    for (table, column, edit) in EDITS {
        let key = if table == "patient" { "origid" } else { "uuid" };
        let keys = connection.rows(&format!("SELECT {key} FROM {table} WHERE {column} IS NOT NULL LIMIT {ROWS}"));
        for one in keys {
            let select = format!("SELECT HEX({column}) FROM {table} WHERE {key} = '{one}'");
            let before = connection.rows(&select);
            connection.execute(&format!("UPDATE {table} SET {column} = {edit} WHERE {key} = '{one}'"));
            let after = connection.rows(&select);
            assert_ne!(before, after, "{table}.{column}");
            edited.push((select, after));
        }
    }
    let is_open = connection.rows("SELECT 1 FROM series WHERE instances IS NULL LIMIT 1").len();
    assert!(is_open == 1 && !run.is_over(), "the edits came too late");
    connection.close();
    let said = run.end();
    assert_eq!(said.exit, 1, "{}{}", said.out, said.err);
    edited
}

#[test]
fn an_edit_during_a_run_that_the_collation_takes_for_no_change_stays() {
    for engine in ["InnoDB", "MyISAM"] {
        let site = site_with(6000);
        let index = Index::mariadb(&site);
        for table in ["patient", "study", "series", "image"] {
            index.execute(&format!("ALTER TABLE {table} ENGINE = {engine}"));
        }
        let edited = edit_during_a_run(&site, &index);
        assert!(edited.len() >= 2 * ROWS, "{edited:?}");
        let lost: Vec<_> = edited.iter().filter(|(select, value)| index.rows(select) != *value).collect();
        assert!(lost.is_empty(), "{engine}: {} of {} edits were lost: {lost:?}", lost.len(), edited.len());
    }
}
