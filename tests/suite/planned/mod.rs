//! Plans written by an audit, and their repair.

mod every_step;
mod index_names;
mod odd_columns;
mod site_settings;

use std::fs;

use serde_json::Value as Json;

use crate::support::{PASSWORD, Said, Site};

/// Runs the program in a directory of the site.
fn run_in(site: &Site, directory: &str, arguments: &[&str]) -> Said {
    let mut command = site.program(arguments);
    Said::of(command.current_dir(site.path(directory)).env("PACS_INDEX_PASSWORD", PASSWORD))
}

fn run(site: &Site, arguments: &[&str]) -> Said {
    run_in(site, ".", arguments)
}

/// Audits a root into `plan.jsonl`.
fn plan(site: &Site, root: &str, index: &str, more: &[&str]) -> Vec<Json> {
    let audit = ["audit", root, "--index", index, "--recheck-after", "0s", "--quiet", "--plan", "plan.jsonl"];
    run(site, &[&audit[..], more].concat()).exits(1);
    lines(site, "plan.jsonl")
}

fn lines(site: &Site, file: &str) -> Vec<Json> {
    let text = fs::read_to_string(site.path(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn write(site: &Site, file: &str, lines: &[Json]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(site.path(file), text).unwrap();
}

/// Applies `plan.jsonl`.
fn repair(site: &Site, index: &str, more: &[&str]) -> Said {
    run(site, &[&["repair", "plan.jsonl", "--index", index, "--undo-file", "undo.jsonl", "--yes"], more].concat())
}
