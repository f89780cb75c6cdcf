//! The settings file of a site, which `repair` shares with the commands whose work it repairs.

use std::fs;

use serde_json::json;

use super::{lines, plan, repair, run};
use crate::support::{Index, PASSWORD, Said, Site};

const APPLY: [&str; 7] = ["repair", "--config", "site.toml", "plan.jsonl", "--undo-file", "undo.jsonl", "--yes"];

fn settings(site: &Site, index: &Index, more: &str) {
    let text = format!("roots = ['archive']\nindex = '{}'\n{more}", index.url);
    fs::write(site.path("site.toml"), text).unwrap();
}

/// Adds instances whose rows depend on settings: patients with conflicting names, received times,
/// and an older second file.
fn conflicting(site: &Site) {
    for (n, name) in ["Testmann^Theo", "Other^Olga", "Third^Tilo"].iter().enumerate() {
        let change = json!({"SOPInstanceUID": format!("1.2.{n}.1.1"), "SeriesInstanceUID": format!("1.2.{n}.1"),
            "StudyInstanceUID": format!("1.2.{n}"), "PatientName": name, "PatientBirthDate": format!("195{n}0101"),
            "StudyDate": "20150102", "StudyTime": "232500"});
        site.add(&format!("2021-11-1{n}-FRI/1.2.{n}.1.1"), change);
    }
    let second = site.archive().join("second");
    fs::copy(site.archive().join("2021-11-10-FRI/1.2.0.1.1"), &second).unwrap();
    let older = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000);
    fs::File::options().write(true).open(second).unwrap().set_modified(older).unwrap();
}

#[test]
fn a_repair_inserts_the_rows_that_a_reindex_with_the_same_settings_inserts() {
    for more in [
        "",
        "duplicates = 'oldest'",
        "timezone = 'Asia/Tokyo'\nreceived-from = ['mtime']",
        "timezone = 'America/New_York'\nreceived-from = ['study-date']",
        "received-from = ['path']\npatient-conflicts = 'merge'",
        "reconnect-timeout = '1m'\ninsert-order = 'key'\nio-threads = 2\nwait = true\nquiet = true\nprogress = 'json'",
    ] {
        let site = Site::new();
        conflicting(&site);
        let [one, two] = ["one.db", "two.db"].map(|name| Index::sqlite(site.path(name)));
        settings(&site, &one, more);
        let reindexed = run(&site, &["reindex", "--config", "site.toml", "--min-age", "0s"]).exit;
        settings(&site, &two, more);
        run(&site, &["init", "--index", &two.url]).exits(0);
        plan(&site, "archive", &two.url, &[]);
        run(&site, &APPLY).exits(reindexed);
        assert_eq!(two.count("image"), 3, "{more}");
        assert_eq!(two.dump(), one.dump(), "{more}");
    }
}

#[test]
fn settings_of_other_runs_do_not_keep_a_repair_from_inserting() {
    for more in [
        "dry-run = true",
        "force = true\nallow-unread-stubs = true",
        "since = '2099-01-01'",
        "files = 'none'",
        "min-age = '2000h'",
        "path-map = ['/another/root=E:/DICOM']",
        "existing = 'refresh'",
        "recall = 'allow'\nrecall-files = 1",
        "recall = 'never'",
        "fail-on = 'info'\nlevel = 'full'\njson = 'x.jsonl'\ncsv = 'x.csv'\nlayout = 'flat'",
        "undo = 'other-undo.jsonl'\nrejected = 'other.jsonl'\nstate = 'other-state'",
    ] {
        let site = Site::new();
        conflicting(&site);
        let index = site.sqlite();
        run(&site, &["init", "--index", &index.url]).exits(0);
        settings(&site, &index, more);
        plan(&site, "archive", &index.url, &[]);
        let said = run(&site, &APPLY);
        assert_eq!((index.count("image"), said.exit), (3, 1), "{more}: {}{}", said.out, said.err);
        for name in ["other-undo.jsonl", "other.jsonl", "x.jsonl"] {
            assert!(!site.path(name).exists(), "{more}: {name}");
        }
    }
}

#[test]
fn a_wrong_setting_of_the_run_that_inserts_ends_a_repair_before_anything_is_written() {
    let site = Site::new();
    conflicting(&site);
    let index = site.sqlite();
    run(&site, &["init", "--index", &index.url]).exits(0);
    plan(&site, "archive", &index.url, &[]);
    for (more, key) in [
        ("timezone = 'Asia/Tokio'", "timezone"),
        ("received-from = ['paht']", "received-from"),
        ("max-replica-lag = '1s'", "--replica"),
    ] {
        settings(&site, &index, more);
        let said = run(&site, &APPLY).exits(2);
        assert!(said.err.contains(key) && !said.err.contains("defect"), "{}", said.err);
        assert_eq!((index.count("image"), site.path("undo.jsonl").exists()), (0, false));
    }
}

#[test]
fn a_replica_that_cannot_be_reached_ends_a_repair_before_anything_is_written() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = Index::pacsone();
    site.reindex(&index, &[]).exits(0);
    index.execute("UPDATE series SET instances = 9");
    site.add("2021-11-12-FRI/new", json!({"SOPInstanceUID": "1.2.3"}));
    plan(&site, "archive", &index.url, &[]);
    let before = index.dump();
    settings(&site, &index, "replica = ['mysql://pacs@127.0.0.1:1']");
    let said = run(&site, &APPLY);
    assert_ne!(said.exit, 0);
    assert!(said.err.contains("127.0.0.1:1"), "{}", said.err);
    assert_eq!((index.dump(), site.path("undo.jsonl").exists()), (before, false));
}

#[test]
fn a_repair_that_fails_prints_what_it_has_changed() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    index.execute("UPDATE series SET instances = 9; UPDATE study SET reviewed = ''");
    plan(&site, "archive", &index.url, &["--fail-on", "info"]);
    let mut all = lines(&site, "plan.jsonl");
    all.iter_mut().skip(1).for_each(|step| step["enabled"] = json!(true));
    let last = all.iter().position(|step| step["table"] == "study").unwrap();
    let last = all.remove(last);
    all.push(last);
    super::write(&site, "plan.jsonl", &all);
    index.execute("CREATE TRIGGER t BEFORE UPDATE ON study BEGIN SELECT RAISE(ABORT, 'no'); END");
    let said = repair(&site, &index.url, &[]);
    assert_ne!(said.exit, 0);
    assert!(said.out.contains("0 images inserted, 1 values set, 0 rows removed"), "{}{}", said.out, said.err);
    index.execute("DROP TRIGGER t");
    index.execute("CREATE TRIGGER t BEFORE UPDATE ON series BEGIN SELECT RAISE(ABORT, 'no'); END");
    let said = run(&site, &["repair", "--undo", "undo.jsonl", "--yes", "--index", &index.url]);
    assert_ne!(said.exit, 0);
    assert!(said.out.contains("0 images inserted, 0 values set, 0 rows removed"), "{}{}", said.out, said.err);
}

#[test]
fn a_settings_file_neither_confirms_a_repair_nor_names_what_it_does() {
    let site = Site::new();
    conflicting(&site);
    let index = site.sqlite();
    run(&site, &["init", "--index", &index.url]).exits(0);
    plan(&site, "archive", &index.url, &[]);
    settings(&site, &index, "yes = true\nplan = 'plan.jsonl'\nundo = 'undo.jsonl'\nallow-unmapped-paths = true");
    let without_yes = &APPLY[..APPLY.len() - 1];
    let said = run(&site, without_yes).exits(2);
    assert!(said.err.contains("--yes"), "{}", said.err);
    let said = run(&site, &["repair", "--config", "site.toml", "--undo-file", "undo.jsonl", "--yes"]).exits(2);
    assert!(said.err.contains("PLAN"), "{}", said.err);
    assert_eq!((index.count("image"), site.path("undo.jsonl").exists()), (0, false));
    run(&site, &APPLY).exits(1);
    let before = index.dump();
    let said = run(&site, &["repair", "--config", "site.toml", "--yes"]).exits(2);
    assert!(said.err.contains("PLAN"), "{}", said.err);
    let said = run(&site, &["repair", "--config", "site.toml", "--undo", "undo.jsonl"]).exits(2);
    assert!(said.err.contains("--yes"), "{}", said.err);
    assert_eq!(index.dump(), before);
}

#[test]
fn a_settings_file_does_not_let_a_repair_store_unmapped_paths() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = Index::pacsone();
    index.execute("UPDATE config SET archivedir = 'D:/DICOM'");
    fs::write(site.path("password"), PASSWORD).unwrap();
    settings(&site, &index, "password-file = 'password'\nyes = true\nallow-unmapped-paths = true\n");
    plan(&site, "archive", &index.url, &["--allow-unmapped-paths"]);
    let said = run(&site, &APPLY).exits(2);
    assert!(said.err.contains("--allow-unmapped-paths"), "{}", said.err);
    assert_eq!((index.count("image"), site.path("undo.jsonl").exists()), (0, false));
    run(&site, &[&APPLY[..], &["--allow-unmapped-paths"]].concat()).exits(0);
    assert_eq!(index.count("image"), 3);
}

#[test]
fn one_settings_file_serves_reindex_audit_import_and_repair() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = site.sqlite();
    let more = "insert-order = 'found'\nlevel = 'header'\nfail-on = 'info'\nlayout = 'flat'\nrecheck-after = '0s'\n\
                part10 = true\nundo-file = 'u'\n";
    settings(&site, &index, more);
    run(&site, &["reindex", "--config", "site.toml"]).exits(0);
    run(&site, &["audit", "--config", "site.toml"]).exits(0);
    run(&site, &["import", "archive", "--config", "site.toml", "--list"]).exits(0);
    settings(&site, &index, "no-such-key = 1\n");
    for command in ["reindex", "audit", "import", "repair"] {
        let said = run(&site, &[command, "--config", "site.toml"]).exits(2);
        assert!(said.err.contains(&format!("`no-such-key` is not a setting of {command}")), "{}", said.err);
    }
}

/// An index on a server that needs one row inserted and one removed.
fn to_insert_and_remove(site: &Site) -> Index {
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = Index::pacsone();
    site.reindex(&index, &["--allow-unmapped-paths"]).exits(0);
    fs::remove_file(site.archive().join("2021-11-12-FRI").join(format!("{}.1.1.1", crate::support::ROOT_UID))).unwrap();
    site.add("2021-11-12-FRI/new", json!({"SOPInstanceUID": "1.2.3"}));
    index
}

fn enable_all(site: &Site) {
    let mut all = lines(site, "plan.jsonl");
    assert_eq!(all.len(), 3);
    all.iter_mut().skip(1).for_each(|step| step["enabled"] = json!(true));
    super::write(site, "plan.jsonl", &all);
}

fn count(said: &Said, text: &str) -> usize {
    said.err.matches(text).count()
}

#[test]
fn a_repair_with_an_insert_and_a_removal_reports_each_doubt_and_each_rule_once() {
    let site = Site::new();
    let index = to_insert_and_remove(&site);
    index.execute(
        "UPDATE config SET archivedir = 'D:/DICOM'; \
         INSERT INTO autopurge (directory, enable, aging) VALUES ('D:/DICOM', 1, 365)",
    );
    plan(&site, "archive", &index.url, &[]);
    enable_all(&site);
    let (doubt, rule) = ("would be stored as", "autopurge is on for D:/DICOM");
    let said = repair(&site, &index.url, &[]).exits(2);
    assert_eq!((count(&said, doubt), index.count("image")), (1, 3), "{}", said.err);
    let said = run(
        &site,
        &["repair", "plan.jsonl", "--index", &index.url, "--undo-file", "undo.jsonl", "--allow-unmapped-paths"],
    );
    let said = said.exits(2);
    assert_eq!((count(&said, doubt), count(&said, rule)), (1, 1), "before the question: {}", said.err);
    let said = repair(&site, &index.url, &["--allow-unmapped-paths"]).exits(0);
    assert_eq!((count(&said, doubt), count(&said, rule)), (1, 1), "{}", said.err);
    assert!(said.out.contains("1 images inserted, 0 values set, 1 rows removed"), "{}", said.out);
}

#[test]
fn a_repair_reports_each_missing_right_once() {
    let site = Site::new();
    let index = to_insert_and_remove(&site);
    let user = format!("blind_{}", index.name());
    index.execute(&format!("CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}'"));
    for table in ["patient", "study", "series", "image"] {
        index.execute(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{table}` TO {user}@'%'"));
    }
    plan(&site, "archive", &index.url, &[]);
    enable_all(&site);
    let url = index.url.replace("pacs@", &format!("{user}@"));
    let said = repair(&site, &url, &[]);
    index.execute(&format!("DROP USER {user}@'%'"));
    let said = said.exits(0);
    for text in ["archive directories of the PACS cannot be read: ", "cannot read whether the PACS purges"] {
        assert_eq!(count(&said, text), 1, "{}", said.err);
    }
}
