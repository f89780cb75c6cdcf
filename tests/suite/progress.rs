//! The progress display of a run.

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
    assert!(lines[0].starts_with("paths are stored as "), "{}", said.err);
    assert!(lines[1].starts_with("the records need about "), "{}", said.err);
    assert!(lines[2].starts_with("0 s: indexing, "), "{}", said.err);
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

/// A run in a terminal of a type and a width, over 20 files.
fn in_a_terminal(terminal_type: Option<&str>, columns: u16, more: &[&str]) -> String {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 20);
    let mut command = site.program(&["reindex", "archive"]);
    command.args(more).env_remove("TERM");
    if let Some(terminal_type) = terminal_type {
        command.env("TERM", terminal_type);
    }
    let (exit, shown) = crate::support::terminal::in_terminal(&mut command, columns);
    assert_eq!(exit, 0, "{shown}");
    shown
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_shows_progress_as_lines() {
    for terminal_type in [None, Some("dumb"), Some(""), Some("unknown")] {
        for columns in [0, 20, 80, 200] {
            for more in [&[][..], &["--progress", "bar"]] {
                let shown = in_a_terminal(terminal_type, columns, more);
                let what = format!("TERM={terminal_type:?}, {columns} columns, {more:?}: {shown:?}");
                assert!(shown.contains("0 s: indexing, ") && shown.contains("indexing, 20 of 20 files"), "{what}");
                assert!(!shown.contains('\x1b'), "{what}");
            }
        }
    }
}

#[test]
fn a_terminal_shows_a_bar_and_then_the_summary_at_any_width() {
    for columns in [0, 1, 20, 40, 80, 200] {
        let shown = in_a_terminal(Some("xterm"), columns, &[]);
        assert!(shown.contains('\x1b') && !shown.contains("0 s: indexing, "), "{columns}: {shown:?}");
        let (_, summary) = shown.split_once("reindex into").expect("a summary");
        assert!(!summary.contains('\x1b'), "{columns}: {shown:?}");
    }
}

#[test]
fn a_quiet_run_shows_no_progress_in_a_terminal_either() {
    for terminal_type in [None, Some("dumb"), Some("xterm")] {
        let shown = in_a_terminal(terminal_type, 80, &["--quiet"]);
        assert!(shown.starts_with("reindex into"), "{terminal_type:?}: {shown:?}");
    }
}
