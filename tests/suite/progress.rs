//! What a run shows while it runs.

use serde_json::{Value, json};

use crate::support::Site;

fn reindex(site: &Site, more: &[&str]) -> crate::support::Said {
    let mut all = vec!["reindex", "archive"];
    all.extend(more);
    site.run(&all)
}

#[test]
fn a_log_gets_lines_from_the_first_second_to_the_end() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 20);
    let said = reindex(&site, &[]).exits(0);
    let lines: Vec<&str> = said.err.lines().collect();
    assert!(lines[0].starts_with("0 s: indexing, "), "{}", said.err);
    assert!(lines.last().unwrap().contains("indexing, 20 of 20 files"), "{}", said.err);
    assert!(!said.err.contains('\x1b'), "no terminal, no escape sequences");
}

#[test]
fn a_program_gets_json_lines() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let said = reindex(&site, &["--progress", "json"]).exits(0);
    let lines: Vec<Value> = said.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["event"], &last["files_done"], &last["files_found"]), (&json!("end"), &json!(1), &json!(1)));
}

#[test]
fn a_quiet_run_shows_the_summary_only() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let said = reindex(&site, &["--quiet"]).exits(0);
    assert_eq!(said.err, "");
    assert_eq!(said.figure("inserted"), 1);
}
