//! Rows that point to the right file by a path that the PACS does not know.

use std::fs;

use serde_json::Value as Json;

use super::{audit, configure, images_below, map, repair, windows_pacs};
use crate::support::{Index, ROOT_UID as UID, Site};

fn found(site: &Site) -> Vec<String> {
    let text = fs::read_to_string(site.path("findings.jsonl")).unwrap_or_default();
    // The first line states the scope of the audit.
    let lines = text.lines().skip(1).map(|line| serde_json::from_str::<Json>(line).unwrap());
    let mut checks: Vec<String> = lines.map(|line| line["check"].as_str().unwrap().to_owned()).collect();
    checks.sort();
    checks
}

/// Makes an index like those of the program before it compared paths: five rows with local paths.
fn ruined(site: &Site, index: &Index) {
    site.reindex(index, &["--allow-unmapped-paths"]).exits(0);
    assert_eq!(images_below(index, &site.archive().display().to_string()), 5);
}

#[test]
fn a_ruined_index_is_mended_by_a_rerun_and_by_a_repair() {
    let (site, index) = windows_pacs();
    let map = map(&site, "archive", "D:/DICOM");
    let shown = |what: &str, said: &crate::support::Said| {
        println!("--- {what}: exit {}\n{}{}", said.exit, said.err, said.out);
        println!("image.path: {:?}", index.rows("SELECT path FROM image ORDER BY uuid LIMIT 2"));
    };
    shown("no map", &site.reindex(&index, &[]).exits(2));
    assert_eq!(index.count("image"), 0);
    ruined(&site, &index);
    let said = site.reindex(&index, &["--path-map", &map]).exits(0);
    shown("a rerun with the map", &said);
    assert_eq!((said.figure("updated"), said.figure("inserted"), images_below(&index, "D:/DICOM")), (5, 0, 5));
    let right = index.dump();
    assert_eq!(site.reindex(&index, &["--path-map", &map]).exits(0).figure("unchanged"), 5);
    assert_eq!(audit(&site, &index, &["--path-map", &map, "--fail-on", "info"]).exits(0).exit, 0);
    // The same damage by SQL, repaired by a plan.
    index.execute(&format!("UPDATE image SET path = REPLACE(path, 'D:/DICOM', '{}')", site.archive().display()));
    let ruined = index.dump();
    let said = audit(&site, &index, &["--path-map", &map, "--plan", "plan.jsonl"]).exits(1);
    shown("an audit", &said);
    assert_eq!(found(&site), ["unmapped-path"; 5]);
    let said = repair(&site, &index, &["plan.jsonl", "--undo-file", "undo.jsonl", "--yes"]).exits(0);
    shown("a repair", &said);
    assert_eq!(index.dump(), right);
    repair(&site, &index, &["--undo", "undo.jsonl", "--yes"]).exits(0);
    assert_eq!(index.dump(), ruined);
    // The same damage repaired by a rerun, although all files in the journal are unchanged.
    let said = site.reindex(&index, &["--path-map", &map]).exits(0);
    assert_eq!((said.figure("updated"), index.dump() == right), (5, true), "{}", said.out);
}

#[test]
fn a_path_map_that_was_wrong_is_corrected() {
    let (site, index) = windows_pacs();
    let (old, new) = (map(&site, "archive", "D:/OLD"), map(&site, "archive", "D:/DICOM"));
    site.reindex(&index, &["--path-map", &old, "--allow-unmapped-paths"]).exits(0);
    assert_eq!(images_below(&index, "D:/OLD"), 5);
    audit(&site, &index, &["--path-map", &new, "--plan", "plan.jsonl"]).exits(1);
    assert_eq!(found(&site), ["unmapped-path"; 5]);
    let said = site.reindex(&index, &["--path-map", &new]).exits(0);
    assert_eq!((said.figure("updated"), images_below(&index, "D:/DICOM")), (5, 5), "{}", said.out);
    assert_eq!(audit(&site, &index, &["--path-map", &new, "--fail-on", "info"]).exits(0).exit, 0);
}

#[test]
fn a_mount_that_has_moved_since_is_corrected() {
    let (site, index) = windows_pacs();
    ruined(&site, &index);
    fs::rename(site.archive(), site.path("mnt")).unwrap();
    let said = site.reindex_root(&site.path("mnt"), &index, &["--path-map", &map(&site, "mnt", "D:/DICOM")]).exits(0);
    assert_eq!((said.figure("updated"), images_below(&index, "D:/DICOM")), (5, 5), "{}", said.out);
}

#[test]
fn a_path_map_that_changes_is_followed_where_the_journal_knows_whose_the_rows_are() {
    let site = Site::new();
    site.add_series("2019-01-12-SAT", 1, 1, 3);
    let index = site.sqlite();
    site.reindex(&index, &["--path-map", &map(&site, "archive", "D:/OLD")]).exits(0);
    let new = map(&site, "archive", "D:/DICOM");
    site.reindex(&index, &["--path-map", &new]).exits(2);
    let said = site.reindex(&index, &["--path-map", &new, "--allow-unmapped-paths"]).exits(0);
    assert_eq!((said.figure("updated"), images_below(&index, "D:/DICOM")), (3, 3), "{}", said.out);
}

#[test]
fn rows_that_are_right_for_the_pacs_keep_their_spelling() {
    let (site, index) = windows_pacs();
    let map = map(&site, "archive", "D:/DICOM");
    site.reindex(&index, &["--path-map", &map]).exits(0);
    for spelled in [r"REPLACE(path, 'D:/DICOM', 'd:/dicom')", r"REPLACE(path, '/', '\\')"] {
        index.execute(&format!("UPDATE image SET path = {spelled}"));
        let before = index.dump();
        let said = site.reindex(&index, &["--path-map", &map]).exits(0);
        assert_eq!((said.figure("unchanged"), index.dump() == before), (5, true), "{spelled}: {}", said.out);
        audit(&site, &index, &["--path-map", &map, "--fail-on", "info"]).exits(0);
    }
    // A run without the map does not change the rows either.
    let before = index.dump();
    site.reindex(&index, &["--allow-unmapped-paths"]);
    assert_eq!(index.dump(), before);
}

#[test]
fn rows_elsewhere_are_left_to_the_pacs() {
    let (site, index) = windows_pacs();
    let map = map(&site, "archive", "D:/DICOM");
    index.execute("INSERT INTO applentity (title, longtermdir) VALUES ('CT1', 'E:/LONGTERM')");
    site.reindex(&index, &["--path-map", &map]).exits(0);
    index.execute("UPDATE image SET path = REPLACE(path, 'D:/DICOM', 'E:/LONGTERM')");
    let before = index.dump();
    site.reindex(&index, &["--path-map", &map]).exits(1);
    assert_eq!(index.dump(), before, "the PACS has moved them, and this run does not see where to");
}

#[test]
fn a_row_that_names_another_instance_is_not_an_unmapped_path() {
    let (site, index) = windows_pacs();
    let map = map(&site, "archive", "D:/DICOM");
    site.reindex(&index, &["--path-map", &map]).exits(0);
    let other = site.archive().join(format!("2019-01-12-SAT/{UID}.1.1.2"));
    index.execute(&format!("UPDATE image SET path = '{}' WHERE uuid = '{UID}.1.1.1'", other.display()));
    configure(&index, "D:/DICOM");
    audit(&site, &index, &["--path-map", &map, "--plan", "plan.jsonl"]).exits(1);
    repair(&site, &index, &["plan.jsonl", "--undo-file", "undo.jsonl", "--yes"]);
    let path = index.rows(&format!("SELECT path FROM image WHERE uuid = '{UID}.1.1.1'"));
    assert!(!path[0].ends_with(&format!("DICOM/2019-01-12-SAT/{UID}.1.1.2")), "{path:?}");
}

#[test]
fn a_path_that_the_database_refuses_is_not_reported_as_corrected() {
    let (site, index) = windows_pacs();
    ruined(&site, &index);
    index.execute("UPDATE image SET instance = NULL");
    index.execute(
        "CREATE TRIGGER keep_paths BEFORE UPDATE ON image FOR EACH ROW
         IF NEW.path <> OLD.path THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF",
    );
    let said = site.reindex(&index, &["--path-map", &map(&site, "archive", "D:/DICOM")]).exits(1);
    assert_eq!((said.figure("updated"), images_below(&index, "D:/DICOM")), (5, 0), "{}", said.out);
    assert_eq!(index.rows("SELECT COUNT(instance) FROM image"), ["5"]);
    let reasons: Vec<_> = site.listing().iter().map(|line| line["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["refused-by-index"; 5], "{}", said.out);
}

#[test]
fn a_path_of_a_missing_file_that_the_database_refuses_to_replace_is_not_reported_as_corrected() {
    let (site, index) = windows_pacs();
    let map = map(&site, "archive", "D:/DICOM");
    site.reindex(&index, &["--path-map", &map]).exits(0);
    index.execute("UPDATE image SET instance = NULL, path = ''");
    index.execute(
        "CREATE TRIGGER keep_paths BEFORE UPDATE ON image FOR EACH ROW
         IF NEW.path <> OLD.path THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF",
    );
    let said = site.reindex(&index, &["--path-map", &map, "--force"]).exits(1);
    assert_eq!(images_below(&index, "D:/DICOM"), 0, "{}", said.out);
    let lines = site.listing();
    assert!(lines.iter().all(|line| line["reason"] == "refused-by-index"), "{lines:?}");
    assert_eq!(lines.len(), 5, "{lines:?}");
}

#[test]
fn rows_of_a_run_without_a_path_map_are_corrected_once_the_user_allows_the_map() {
    let site = Site::new();
    site.add_series("2019-01-12-SAT", 1, 1, 3);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let map = map(&site, "archive", "D:/DICOM");
    let said = site.reindex(&index, &["--path-map", &map]).exits(2);
    assert!(said.err.contains("the index has rows with paths of this system"), "{}", said.err);
    assert!(said.err.contains("--allow-unmapped-paths") && !said.err.contains("add --path-map"), "{}", said.err);
    assert!(!said.err.contains("=NAME"), "{}", said.err);
    assert_eq!(images_below(&index, "D:/DICOM"), 0);
    let said = site.reindex(&index, &["--path-map", &map, "--allow-unmapped-paths"]).exits(0);
    assert_eq!((said.figure("updated"), images_below(&index, "D:/DICOM")), (3, 3), "{}", said.out);
    site.reindex(&index, &["--path-map", &map]).exits(0);
}
