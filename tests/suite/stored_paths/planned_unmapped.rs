//! Audits and plans of roots whose paths the PACS does not know.

use std::fs;

use super::planned::{APPLY, lines};
use super::{audit, configure, images_below, map, repair, windows_pacs};

/// The steps of `plan.jsonl` that store a path, and the number of enabled ones.
fn storing_steps(site: &crate::support::Site) -> (usize, usize) {
    let steps = lines(site, "plan.jsonl").into_iter().skip(1);
    let storing: Vec<_> = steps.filter(|step| step["action"] == "insert" || step["column"] == "path").collect();
    let enabled = storing.iter().filter(|step| step["enabled"] == true).count();
    (storing.len(), enabled)
}

#[test]
fn an_audit_enables_no_insert_below_a_root_whose_paths_the_pacs_does_not_know() {
    let (site, index) = windows_pacs();
    let cases: [(&[&str], usize); 4] =
        [(&[], 0), (&["--check", "unindexed-file"], 0), (&["--part", "1/1"], 0), (&["--allow-unmapped-paths"], 5)];
    for (more, enabled) in cases {
        let _ = fs::remove_file(site.path("plan.jsonl"));
        audit(&site, &index, &[&["--plan", "plan.jsonl"], more].concat()).exits(1);
        assert_eq!(storing_steps(&site), (5, enabled), "{more:?}");
    }
    // A directory with a map below a root without one.
    let _ = fs::remove_file(site.path("plan.jsonl"));
    let day = map(&site, "archive/2019-01-12-SAT", "D:/DICOM/2019-01-12-SAT");
    audit(&site, &index, &["--plan", "plan.jsonl", "--path-map", &day]).exits(1);
    assert_eq!(storing_steps(&site), (5, 3));
}

#[test]
fn an_audit_enables_no_path_of_a_moved_file_below_such_a_root() {
    let (site, index) = windows_pacs();
    let right = map(&site, "archive", "D:/DICOM");
    site.reindex(&index, &["--path-map", &right]).exits(0);
    fs::rename(site.archive().join("2019-01-12-SAT"), site.archive().join("moved")).unwrap();
    audit(&site, &index, &["--plan", "plan.jsonl", "--path-map", &right]).exits(1);
    assert_eq!(storing_steps(&site), (3, 3));
    fs::remove_file(site.path("plan.jsonl")).unwrap();
    configure(&index, "E:/DICOM");
    audit(&site, &index, &["--plan", "plan.jsonl", "--path-map", &right]).exits(1);
    assert_eq!(storing_steps(&site), (3, 0));
}

#[test]
fn a_repair_of_a_plan_without_the_path_map_asks_for_a_new_audit() {
    let (site, index) = windows_pacs();
    audit(&site, &index, &["--plan", "plan.jsonl"]).exits(1);
    let plan = fs::read_to_string(site.path("plan.jsonl")).unwrap();
    fs::write(site.path("plan.jsonl"), plan.replace("\"enabled\":false", "\"enabled\":true")).unwrap();
    let said = repair(&site, &index, &APPLY).exits(2);
    let right = map(&site, "archive", "D:/DICOM");
    assert!(said.err.contains(&format!("audit again with --path-map {right}")), "{}", said.err);
    assert!(!said.err.contains("add --path-map"), "{}", said.err);
    let said = repair(&site, &index, &[&APPLY[..], &["--path-map", &right]].concat()).exits(2);
    assert!(said.err.contains("audit again with this --path-map"), "{}", said.err);
    // The advice in the message works.
    fs::remove_file(site.path("plan.jsonl")).unwrap();
    audit(&site, &index, &["--plan", "plan.jsonl", "--path-map", &right]).exits(1);
    repair(&site, &index, &APPLY).exits(0);
    assert_eq!(images_below(&index, "D:/DICOM"), 5);
}

#[test]
fn an_unmapped_root_that_is_allowed_is_neither_gone_nor_new() {
    let (site, index) = windows_pacs();
    let since = |more: &[&str]| {
        let said = audit(&site, &index, more).exits(1);
        let text = said.out.lines().find(|line| line.contains("since the audit of")).unwrap_or_default().to_owned();
        text.split_once(": ").map(|(_, counts)| counts.to_owned()).unwrap_or_default()
    };
    since(&[]);
    let counts = since(&["--allow-unmapped-paths"]);
    assert!(counts.starts_with("0 new, 5 still there, 0 gone, 1 ") && counts.ends_with("not compared"), "{counts}");
    let counts = since(&[]);
    assert!(counts.starts_with("0 new, 5 still there, 0 gone, 1 ") && counts.ends_with("not compared"), "{counts}");
    assert_eq!(since(&[]), "0 new, 6 still there, 0 gone");
}
