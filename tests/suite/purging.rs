//! A PACS that automatically deletes or moves studies, and the warnings that a user gets before
//! anything is written.

use std::fs;

use crate::support::{Index, PASSWORD, Said, Site};

#[test]
fn a_pacs_that_purges_is_told_of_and_asked_about() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = Index::pacsone();
    index.execute(
        "INSERT INTO autopurge (directory, enable, aging) VALUES ('D:/DICOM', 1, 365), ('F:/OFF', 0, 7); \
         INSERT INTO config (archiveage, longtermdir) VALUES (90, 'E:/LONGTERM')",
    );
    let told = [
        "autopurge is on for D:/DICOM: studies received more than 365 days ago are deleted",
        "studies received more than 90 days ago are moved to E:/LONGTERM",
    ];
    let map = format!("{}=E:/LONGTERM", site.archive().display());
    let said = site.reindex(&index, &["--path-map", &map]).exits(2);
    assert!(told.iter().all(|line| said.err.contains(line)), "{}", said.err);
    assert!(said.err.contains("--yes") && !said.err.contains("F:/OFF"), "{}", said.err);
    assert_eq!((index.count("image"), index.count("patient")), (0, 0));
    assert!(!site.path("rejected.jsonl").exists());
    let said = site.reindex(&index, &["--path-map", &map, "--dry-run"]).exits(0);
    assert!(told.iter().all(|line| said.err.contains(line)), "{}", said.err);
    let said = site.reindex(&index, &["--path-map", &map, "--yes"]).exits(0);
    assert!(told.iter().all(|line| said.err.contains(line)), "{}", said.err);
    assert_eq!(index.count("image"), 3);
}

#[test]
fn a_pacs_that_keeps_everything_is_not_asked_about() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = Index::pacsone();
    index.execute("INSERT INTO config (archiveage) VALUES (0); INSERT INTO autopurge (enable, aging) VALUES (0, 7)");
    assert_eq!(site.reindex(&index, &[]).exits(0).err, "");
}

#[test]
fn an_old_pacs_without_some_columns_is_asked_about_what_it_has() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = Index::mariadb(&site);
    index.execute("CREATE TABLE autopurge (directory TEXT, AGING INT); INSERT INTO autopurge VALUES ('D:/DICOM', 30)");
    let said = site.reindex(&index, &[]).exits(2);
    assert!(said.err.contains("for D:/DICOM: studies received more than 30 days ago are deleted"), "{}", said.err);
}

#[test]
fn a_user_of_four_tables_is_told_what_could_not_be_asked() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = Index::pacsone();
    let user = format!("few_{}", index.name());
    index.execute(&format!("CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}'"));
    for table in ["patient", "study", "series", "image"] {
        index.execute(&format!("GRANT SELECT, INSERT, UPDATE ON `{table}` TO {user}@'%'"));
    }
    let url = index.url.replace("pacs@", &format!("{user}@"));
    let run = |arguments: &[&str]| {
        let mut command = site.program(arguments);
        Said::of(command.args(["--index", &url]).env("PACS_INDEX_PASSWORD", PASSWORD))
    };
    fs::create_dir(site.path("cd")).unwrap();
    fs::write(site.path("cd/1.2.3"), crate::support::instance_file(serde_json::json!({"SOPInstanceUID": "1.2.3"})))
        .unwrap();
    let import = ["import", "cd", "--archive", "archive", "--layout", "flat", "--yes"];
    let all = [
        (vec!["reindex", "archive"], 1),
        (vec!["reindex", "archive", "--dry-run", "--progress", "json"], 1),
        (import.to_vec(), 1),
        (vec!["reindex", "archive", "--quiet"], 0),
        ([&import[..], &["--quiet"]].concat(), 0),
        (vec!["audit", "archive", "--recheck-after", "0s"], 0),
        (vec!["audit", "archive", "--recheck-after", "0s", "--quiet"], 0),
    ];
    let all = all.map(|(arguments, count)| (run(&arguments), arguments, count));
    index.execute(&format!("DROP USER {user}@'%'"));
    let grants = ["config", "applentity", "autopurge"]
        .map(|table| format!("GRANT SELECT ON `{}`.`{table}` TO '{user}'@'%';", index.name()));
    for (said, arguments, count) in all {
        let said = said.exits(0);
        let found = said.err.matches("REPLICATION CLIENT (SLAVE MONITOR").count();
        assert_eq!(found, count, "{arguments:?}: {}", said.err);
        let is_written = arguments[0] != "audit";
        assert_eq!(grants.iter().all(|grant| said.err.contains(grant)), is_written, "{}", said.err);
    }
}
