//! The limits of a repair: rows that a plan must not remove, files that it must not name, and
//! inserts that did not happen.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::planned::{APPLY, indexed, lines, planned, set, with, write};
use super::{map, repair};
use crate::import::put;
use crate::support::{ROOT_UID as UID, Site};

fn remove(image: &str, path: &str) -> Json {
    json!({"enabled": true, "check": "missing-file", "action": "remove-image", "key": image, "path": path})
}

fn insert(image: &str, file: &Path) -> Json {
    json!({"enabled": true, "check": "unindexed-file", "action": "insert", "key": image, "file": file})
}

/// Removes the undo file of a repair that has changed nothing.
fn forget_undo(site: &Site) {
    assert_eq!(lines(site, "undo.jsonl").len(), 1, "a change was recorded");
    fs::remove_file(site.path("undo.jsonl")).unwrap();
}

#[test]
fn a_plan_with_another_directory_as_the_archive_removes_no_row() {
    let (site, index, head) = indexed();
    let before = index.dump();
    let image = format!("{UID}.1.1.1");
    let path = format!("D:/DICOM/2019-01-12-SAT/{image}");
    // A single file, as on a mount point whose storage unit is not mounted.
    put(&site, "other/notes", json!({"SOPInstanceUID": "1.2.3"}));
    let other = with(head.clone(), "roots", json!([site.path("other")]));
    let other = with(other, "path-map", json!([map(&site, "other", "D:/DICOM")]));
    write(&site, "plan.jsonl", &[other, remove(&image, &path)]);
    let said = repair(&site, &index, &APPLY).exits(1);
    assert!(said.out.contains("directory is missing, too"), "{}", said.out);
    forget_undo(&site);
    assert_eq!(index.dump(), before);
    // The same with a path that the PACS does not use for the directory.
    let unknown = with(head.clone(), "path-map", json!([map(&site, "archive", "E:/X")]));
    write(&site, "plan.jsonl", &[unknown, remove(&image, &format!("E:/X/2019-01-12-SAT/{image}x"))]);
    let said = repair(&site, &index, &APPLY).exits(2);
    assert!(said.err.contains("E:/X"), "{}", said.err);
    assert_eq!((index.dump(), site.path("undo.jsonl").exists()), (before, false));
    // The file is gone, but its directory exists.
    fs::remove_file(site.archive().join("2019-01-12-SAT").join(&image)).unwrap();
    write(&site, "plan.jsonl", &[head, remove(&image, &path)]);
    repair(&site, &index, &APPLY).exits(0);
    assert_eq!(index.count("image"), 4);
}

#[test]
fn a_row_is_removed_where_a_directory_above_its_file_is_left() {
    let (site, index, head) = indexed();
    let image = format!("{UID}.1.1.1");
    let path = format!("D:/DICOM/2019-01-12-SAT/gone/{image}");
    index.execute(&format!("UPDATE image SET path = '{path}' WHERE uuid = '{image}'"));
    write(&site, "plan.jsonl", &[head.clone(), remove(&image, &path)]);
    repair(&site, &index, &APPLY).exits(0);
    assert_eq!(index.count("image"), 4);
    fs::remove_file(site.path("undo.jsonl")).unwrap();
    // A path directly below the root.
    let (second, path) = (format!("{UID}.1.1.2"), format!("D:/DICOM/{UID}.1.1.2"));
    index.execute(&format!("UPDATE image SET path = '{path}' WHERE uuid = '{second}'"));
    write(&site, "plan.jsonl", &[head, remove(&second, &path)]);
    repair(&site, &index, &APPLY).exits(0);
    assert_eq!(index.count("image"), 3);
}

#[test]
fn a_plan_names_no_file_in_a_recycle_bin() {
    let (site, index, head) = indexed();
    let before = index.dump();
    let image = format!("{UID}.1.1.1");
    let day = site.archive().join("2019-01-12-SAT");
    let path = format!("D:/DICOM/2019-01-12-SAT/{image}");
    for directory in ["@Recycle", "2019-01-12-SAT/.snapshot/hourly.0", "#recycle/deep/er", "lost+found"] {
        let copy = site.archive().join(directory).join("copy");
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(day.join(&image), &copy).unwrap();
        let to = format!("D:/DICOM/{directory}/copy");
        for step in [set("image", &image, "path", json!(path), json!(to)), insert(&image, &copy)] {
            write(&site, "plan.jsonl", &[head.clone(), step]);
            let said = repair(&site, &index, &APPLY).exits(1);
            assert!(said.out.contains(" 1 steps skipped") && said.out.contains("skipped directory"), "{}", said.out);
            assert!(!site.path("undo.jsonl").exists());
        }
    }
    // A symlink hides the name of the skipped directory.
    std::os::unix::fs::symlink(site.archive().join("@Recycle"), site.archive().join("link")).unwrap();
    for step in [
        set("image", &image, "path", json!(path), json!("D:/DICOM/link/copy")),
        insert(&image, &site.archive().join("link/copy")),
    ] {
        write(&site, "plan.jsonl", &[head.clone(), step]);
        repair(&site, &index, &APPLY).exits(1);
    }
    assert_eq!(index.dump(), before);
    // A row whose file was deleted from a recycle bin is removed.
    index.execute(&format!("UPDATE image SET path = 'D:/DICOM/@Recycle/gone' WHERE uuid = '{image}'"));
    write(&site, "plan.jsonl", &[head, remove(&image, "D:/DICOM/@Recycle/gone")]);
    repair(&site, &index, &APPLY).exits(0);
    assert_eq!(index.count("image"), 4);
}

#[test]
fn an_instance_that_already_has_a_row_is_a_skipped_step() {
    let (site, index, head) = indexed();
    let before = index.dump();
    let image = format!("{UID}.1.1.1");
    let copy = site.archive().join("2019-01-12-SAT/copy");
    fs::copy(site.archive().join("2019-01-12-SAT").join(&image), &copy).unwrap();
    write(&site, "plan.jsonl", &[head, insert(&image, &copy)]);
    let said = repair(&site, &index, &APPLY).exits(1);
    assert!(said.out.contains("1 steps skipped") && said.out.contains("already has a row"), "{}", said.out);
    assert!(!said.out.contains("files to look at"), "{}", said.out);
    forget_undo(&site);
    assert_eq!(index.dump(), before);
}

#[test]
fn an_instance_that_the_database_rejects_is_a_skipped_step_with_a_list() {
    let (site, index) = planned();
    index.execute(
        "CREATE TRIGGER no_second BEFORE INSERT ON image FOR EACH ROW
         IF NEW.instance = 2 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF",
    );
    let said = repair(&site, &index, &APPLY).exits(1);
    assert!(said.out.contains("was not inserted"), "{}", said.out);
    let inserted = index.count("image");
    assert!((1..5).contains(&inserted), "{}", said.out);
    assert!(said.out.contains(&format!("{inserted} images inserted")), "{}", said.out);
    let list = said.out.lines().find_map(|line| line.strip_prefix("files to look at, one a line: ")).unwrap();
    let list = Path::new(list.rsplit_once(" (").unwrap().0);
    let listed = fs::read_to_string(list).unwrap();
    assert!(listed.contains(&format!("{UID}.1.1.2")), "{listed}");
    fs::remove_dir_all(list.parent().unwrap()).unwrap();
}

#[test]
fn a_plan_saved_by_an_editor_of_windows_is_read() {
    let (site, index) = planned();
    let plan = fs::read_to_string(site.path("plan.jsonl")).unwrap();
    fs::write(site.path("plan.jsonl"), format!("\u{feff}{}", plan.replace('\n', "\r\n"))).unwrap();
    repair(&site, &index, &APPLY).exits(0);
    assert_eq!(index.count("image"), 5);
}

#[test]
fn a_check_that_no_audit_makes_is_refused() {
    let (site, index) = planned();
    let mut plan = lines(&site, "plan.jsonl");
    plan[2]["check"] = json!("unindexed-fiel");
    write(&site, "plan.jsonl", &plan);
    let said = repair(&site, &index, &APPLY).exits(2);
    assert!(said.err.contains("line 3") && said.err.contains("unindexed-fiel"), "{}", said.err);
    assert_eq!(index.count("image"), 0);
}
