//! Directories that an audit cannot list or has no permission to list.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};

use super::{UID, archive, audit};
use crate::support::{Index, Said, Site, on_both_databases};

/// Runs an audit as a user who is subject to permissions, even if the tests run as root.
fn audit_as_nobody(site: &Site, index: &Index, more: &[&str]) -> Said {
    let _ = fs::remove_file(site.path("findings.jsonl"));
    let archive = site.archive().display().to_string();
    let own = [
        "audit",
        &archive,
        "--index",
        &index.url,
        "--recheck-after",
        "0s",
        "--json",
        "findings.jsonl",
        "--baseline",
        "last",
    ];
    Said::of(site.program_as_nobody(&own).args(more))
}

/// Returns check, path and detail of each finding.
fn findings(site: &Site) -> Vec<(String, PathBuf, String)> {
    let text = fs::read_to_string(site.path("findings.jsonl")).unwrap_or_default();
    // The first line states the scope of the audit.
    let lines = text.lines().skip(1).map(|line| serde_json::from_str::<Json>(line).unwrap());
    let text = |line: &Json, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    lines.map(|line| (text(&line, "check"), text(&line, "path").into(), text(&line, "detail"))).collect()
}

#[track_caller]
fn assert_reported(site: &Site, said: &Said, directory: &Path, rows: u64, why: &str) {
    assert_eq!(said.exit, 1, "{}{}", said.out, said.err);
    let own: Vec<_> = findings(site).into_iter().filter(|(check, ..)| check == "unreadable-directory").collect();
    assert_eq!(own.iter().map(|(_, path, _)| path.as_path()).collect::<Vec<_>>(), [directory], "{own:?}");
    assert!(own[0].2.contains(why) && own[0].2.contains(&format!("{rows} rows")), "{own:?}");
    assert!(said.out.contains(&format!("{rows} rows")), "{}", said.out);
}

#[test]
fn a_directory_without_permission_is_named_and_the_rest_is_compared() {
    on_both_databases(|site, index| {
        archive(site);
        site.add_series("closed/2021-11-13-SAT", 5, 1, 7);
        site.reindex(index, &[]).exits(0);
        fs::remove_file(site.archive().join("2021-11-12-FRI").join(format!("{UID}.1.1.1"))).unwrap();
        let closed = site.archive().join("closed");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        for level in ["exists", "size", "header", "full"] {
            let said = audit_as_nobody(site, index, &["--level", level]);
            println!("{}", said.out);
            assert_reported(site, &said, &closed, 7, "ermission denied");
            let others: Vec<_> = findings(site).into_iter().filter(|(_, path, _)| *path != closed).collect();
            assert_eq!(others.len(), 1, "{others:?}");
            assert_eq!(others[0].0, "missing-file", "{others:?}");
        }
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        audit(site, index, &["--fail-on", "info"]).exits(1);
    });
}

#[test]
fn a_lost_and_found_directory_does_not_trouble_an_audit() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::create_dir(site.archive().join("lost+found")).unwrap();
    fs::set_permissions(site.archive().join("lost+found"), fs::Permissions::from_mode(0o700)).unwrap();
    let said = audit_as_nobody(&site, &index, &["--fail-on", "info"]);
    assert_eq!(said.exit, 0, "{}{}", said.out, said.err);
}

#[test]
fn a_directory_that_may_be_listed_and_not_entered_is_reported() {
    let site = Site::new();
    archive(&site);
    site.add_series("half", 5, 1, 3);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let half = site.archive().join("half");
    fs::set_permissions(&half, fs::Permissions::from_mode(0o744)).unwrap();
    let said = audit_as_nobody(&site, &index, &["--level", "size"]);
    fs::set_permissions(&half, fs::Permissions::from_mode(0o755)).unwrap();
    assert_reported(&site, &said, &half, 3, "ermission denied");
    assert_eq!(findings(&site).len(), 1, "{:?}", findings(&site));
}

/// A directory whose path is too long for a system call. This fails for root, too.
fn too_deep(site: &Site) -> PathBuf {
    let name = "a directory with a long name, of which many lie below each other ".repeat(3);
    let script =
        format!("cd archive && for n in $(seq 30); do mkdir '{name}' && cd -P '{name}' || exit 1; done; >1.2.3");
    let made = Command::new("bash").arg("-c").arg(script).current_dir(site.path(".")).status().unwrap();
    assert!(made.success());
    let mut path = site.archive();
    while path.as_os_str().len() + name.len() < 4095 {
        path.push(&name);
    }
    path.push(&name);
    path
}

#[test]
fn a_directory_whose_path_is_too_long_is_named_and_the_rest_is_compared() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let deep = too_deep(&site);
    let row = deep.join("1.2.3").display().to_string();
    index.execute(&format!("INSERT INTO image (uuid, seriesuid, path) VALUES ('1.2.3', '{UID}.1.1', '{row}')"));
    let said = audit(&site, &index, &["--check", "missing-file"]);
    assert_reported(&site, &said, &deep, 1, "too long");
    assert_eq!(findings(&site).len(), 1, "{:?}", findings(&site));
    // Each part reports the directory that keeps it from seeing all of its rows.
    for part in ["1/3", "2/3", "3/3"] {
        let said = audit(&site, &index, &["--part", part]).exits(1);
        assert!(said.out.contains("unreadable-directory"), "{}", said.out);
    }
    fs::remove_dir_all(site.archive().join(deep.strip_prefix(site.archive()).unwrap().iter().next().unwrap())).unwrap();
}

#[test]
fn files_that_no_row_names_are_found_beside_an_unreadable_directory() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    site.add("2021-11-12-FRI/1.2.88", json!({"SOPInstanceUID": "1.2.88"}));
    let deep = too_deep(&site);
    let said = audit(&site, &index, &["--fail-on", "info"]).exits(1);
    let checks: Vec<String> = findings(&site).into_iter().map(|(check, ..)| check).collect();
    assert_eq!(checks, ["unindexed-file", "unreadable-directory"], "{}", said.out);
    assert!(deep.starts_with(site.archive()));
}

#[test]
fn an_unreadable_directory_is_new_then_still_there_then_gone() {
    let site = Site::new();
    archive(&site);
    site.add_series("closed/2021-11-13-SAT", 5, 1, 7);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let closed = site.archive().join("closed");
    audit_as_nobody(&site, &index, &[]).exits(0);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let audited = |more: &[&str], expected: &str| {
        let said = audit_as_nobody(&site, &index, more);
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
        let is_compared = !said.out.contains("findings that it did not");
        assert_eq!(is_compared, !expected.ends_with("gone"), "{}", said.out);
    };
    audited(&[], "1 new, 0 still there");
    audited(&[], "0 new, 1 still there");
    // The comparison ignores the number of rows that are left out, and the level.
    index.execute(&format!("DELETE FROM image WHERE uuid = '{UID}.5.1.1'"));
    index.execute(&format!("UPDATE series SET instances = 6 WHERE uuid = '{UID}.5.1'"));
    audited(&[], "0 new, 1 still there");
    audited(&["--level", "header"], "0 new, 1 still there");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    // The file whose row was deleted is below the directory that the previous audit could not list.
    audited(&["--level", "header"], "0 new, 0 still there, 1 gone");
}

#[test]
fn a_finding_below_a_directory_that_was_unreadable_the_night_before_is_not_new() {
    let site = Site::new();
    archive(&site);
    site.add_series("closed/2021-11-13-SAT", 5, 1, 7);
    let index = site.sqlite();
    let map = format!("{}=D:/DICOM", site.archive().display());
    site.reindex(&index, &["--path-map", &map]).exits(0);
    let closed = site.archive().join("closed");
    fs::remove_file(closed.join(format!("2021-11-13-SAT/{UID}.5.1.1"))).unwrap();
    site.add("closed/unindexed", json!({"SOPInstanceUID": "1.2.88"}));
    let night = |mode: u32, expected: &str| {
        fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
        let said = audit_as_nobody(&site, &index, &["--path-map", &map]);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
    };
    night(0o755, "");
    night(0o000, "1 new, 0 still there");
    // A finding elsewhere is still new.
    fs::remove_file(site.archive().join("2021-11-12-FRI").join(format!("{UID}.1.1.1"))).unwrap();
    night(0o755, "1 new, 0 still there, 1 gone, 2 findings");
    assert!(fs::read_to_string(site.path("findings.jsonl")).unwrap().matches("\"new\":").count() == 1);
    night(0o755, "0 new, 3 still there, 0 gone");
}
