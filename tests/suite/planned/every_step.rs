//! A repair can perform each step that an audit plans, and skips a step that it cannot perform.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value as Json, json};

use super::{lines, plan, repair, write};
use crate::support::{Index, ROOT_UID as UID, Site};

const DAY: &str = "2021-11-12-FRI";

/// Five images of one series, and their index.
fn indexed(more: &[&str]) -> (Site, Index) {
    let site = Site::new();
    site.add_series(DAY, 1, 1, 5);
    let index = site.sqlite();
    site.reindex(&index, more).exits(0);
    (site, index)
}

fn image(n: u32) -> String {
    format!("{UID}.1.1.{n}")
}

/// Sets the path in the row of an image.
fn set_path(index: &Index, n: u32, path: &str) {
    index.execute(&format!("UPDATE image SET path = '{path}' WHERE uuid = '{}'", image(n)));
}

/// Audits, enables every step, and applies the plan. Returns the actions of the plan, in order.
#[track_caller]
fn apply_all(site: &Site, index: &Index, root: &str, more: &[&str]) -> Vec<String> {
    let mut all = plan(site, root, &index.url, more);
    all.iter_mut().skip(1).for_each(|step| step["enabled"] = json!(true));
    write(site, "plan.jsonl", &all);
    let said = repair(site, &index.url, &["--allow-unmapped-paths"]).exits(0);
    assert!(said.out.contains(" 0 steps skipped"), "{}", said.out);
    let mut actions: Vec<String> = all[1..].iter().map(|step| step["action"].as_str().unwrap().to_owned()).collect();
    actions.sort();
    actions
}

#[test]
fn a_plan_is_applied_where_the_root_is_named_by_a_link_and_rows_are_not() {
    let (site, index) = indexed(&[]);
    symlink(site.archive(), site.path("link")).unwrap();
    let root = site.path("link").display().to_string();
    let day = site.archive().join(DAY);
    fs::remove_file(day.join(image(1))).unwrap();
    fs::rename(day.join(image(2)), day.join("moved")).unwrap();
    fs::create_dir(site.archive().join("gone")).unwrap();
    set_path(&index, 3, &site.archive().join("gone").join(image(3)).display().to_string());
    fs::remove_file(day.join(image(3))).unwrap();
    let actions = apply_all(&site, &index, &root, &["--fail-on", "info"]);
    assert_eq!(actions, ["remove-image", "remove-image", "set"]);
    assert_eq!(index.count("image"), 3);
}

#[test]
fn a_plan_is_applied_where_rows_name_files_below_a_target_root() {
    let site = Site::new();
    site.add_series(DAY, 1, 1, 5);
    fs::create_dir(site.path("far")).unwrap();
    for n in 1..=3 {
        let (from, to) = (site.archive().join(DAY).join(image(n)), site.path("far").join(image(n)));
        fs::rename(&from, &to).unwrap();
        symlink(&to, &from).unwrap();
    }
    let index = site.sqlite();
    let maps = ["archive=D:/DICOM", "far=F:/FAR"].map(|map| format!("{}/{map}", site.path(".").display()));
    let maps = maps.map(|map| map.replace("/./", "/"));
    let far = site.path("far").display().to_string();
    let more = ["--target-root", &far, "--stub-path", "target", "--path-map", &maps[0], "--path-map", &maps[1]];
    site.reindex(&index, &more).exits(0);
    assert_eq!(index.rows("SELECT count(*) FROM image WHERE path LIKE 'F:/FAR/%'"), ["3"]);
    for file in [site.archive().join(DAY).join(image(1)), site.path("far").join(image(1))] {
        fs::remove_file(file).unwrap();
    }
    // The path map was forgotten.
    set_path(&index, 2, &site.path("far").join(image(2)).display().to_string());
    let actions = apply_all(&site, &index, "archive", &more);
    assert_eq!(actions, ["remove-image", "set"]);
    assert_eq!(
        index.rows(&format!("SELECT path FROM image WHERE uuid = '{}'", image(2))),
        [format!("F:/FAR/{}", image(2))]
    );
    assert_eq!(index.count("image"), 4);
}

#[test]
fn a_plan_is_applied_where_names_have_line_feeds_and_other_odd_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let (site, index) = indexed(&[]);
    for (n, name) in ["a\nb/1.2.1", "1.2\n2", " 1.2.3 ", "ü/1.2.4", "a\r\n1.2.5\n"].iter().enumerate() {
        site.add(&format!("{DAY}/{name}"), json!({"SOPInstanceUID": format!("1.2.{n}")}));
    }
    site.add(&format!("{DAY}/binary"), json!({"SOPInstanceUID": "1.2.9"}));
    let day = site.archive().join(DAY);
    fs::rename(day.join("binary"), day.join(std::ffi::OsStr::from_bytes(b"1.2.\xff"))).unwrap();
    let actions = apply_all(&site, &index, "archive", &["--fail-on", "info"]);
    assert_eq!(actions, ["insert"; 5]);
    assert_eq!(index.count("image"), 10);
    assert_eq!(index.rows("SELECT uuid FROM image WHERE path LIKE '%a\nb/1.2.1'"), ["1.2.0"]);
}

#[test]
fn a_plan_is_applied_where_the_pacs_cannot_have_the_name_of_a_file() {
    let (site, index) = indexed(&[]);
    let map = format!("{}=D:/DICOM", site.archive().display());
    for n in 1..=5 {
        set_path(&index, n, &format!("D:/DICOM/{DAY}/{}", image(n)));
    }
    let day = site.archive().join(DAY);
    set_path(&index, 1, r"D:/DICOM/a\b");
    fs::rename(day.join(image(1)), site.archive().join(r"a\b")).unwrap();
    fs::rename(day.join(image(2)), day.join(r"c\d")).unwrap();
    fs::rename(day.join(image(3)), day.join("moved")).unwrap();
    let actions = apply_all(&site, &index, "archive", &["--path-map", &map]);
    assert_eq!(actions, ["set"], "the findings of the other files have no step");
    let path = format!("SELECT path FROM image WHERE uuid = '{}'", image(3));
    assert_eq!(index.rows(&path), [format!("D:/DICOM/{DAY}/moved")]);
}

#[test]
fn a_plan_is_applied_where_rows_name_missing_files_by_detours() {
    let (site, index) = indexed(&[]);
    fs::create_dir(site.path("outside")).unwrap();
    symlink(site.path("outside"), site.archive().join("out")).unwrap();
    let archive = site.archive().display().to_string();
    for n in 1..=4 {
        fs::remove_file(site.archive().join(DAY).join(image(n))).unwrap();
    }
    set_path(&index, 1, &format!("{archive}/x/../{DAY}/{}", image(1)));
    set_path(&index, 2, &format!("{archive}/out/{}", image(2)));
    set_path(&index, 3, &format!("{archive}//{DAY}/./{}", image(3)));
    let actions = apply_all(&site, &index, "archive", &[]);
    assert_eq!(actions, ["remove-image"; 2]);
    assert_eq!(index.rows("SELECT uuid FROM image ORDER BY uuid"), [image(1), image(2), image(5)]);
}

#[test]
fn a_path_with_a_line_feed_is_set_and_reverted() {
    let (site, index) = indexed(&[]);
    let day = site.archive().join(DAY);
    let (former, moved) = (day.join("a\nb"), day.join("c\r\nd"));
    set_path(&index, 1, &former.display().to_string());
    fs::rename(day.join(image(1)), &moved).unwrap();
    let before = index.dump();
    assert_eq!(apply_all(&site, &index, "archive", &[]), ["set"]);
    let path = format!("SELECT path FROM image WHERE uuid = '{}'", image(1));
    assert_eq!(index.rows(&path), [moved.display().to_string()]);
    super::run(&site, &["repair", "--undo", "undo.jsonl", "--yes", "--index", &index.url]).exits(0);
    assert_eq!(index.dump(), before);
}

#[test]
fn a_plan_is_applied_where_an_empty_text_has_blanks() {
    let site = Site::new();
    site.add_series(DAY, 1, 1, 1);
    let index = Index::pacsone();
    site.reindex(&index, &[]).exits(0);
    index.execute("UPDATE study SET reviewed = '  '");
    assert_eq!(apply_all(&site, &index, "archive", &[]), ["set"]);
    assert_eq!(index.rows("SELECT reviewed FROM study"), ["-"]);
    super::run(&site, &["repair", "--undo", "undo.jsonl", "--yes", "--index", &index.url]).exits(0);
    assert_eq!(index.rows("SELECT concat('[', reviewed, ']') FROM study"), ["[  ]"]);
}

#[test]
fn a_path_that_does_not_fit_the_column_is_a_skipped_step() {
    let site = Site::new();
    site.add_series(DAY, 1, 1, 2);
    let index = Index::pacsone();
    site.reindex(&index, &[]).exits(0);
    let deep = site.archive().join("d".repeat(200)).join("e".repeat(200)).join("f".repeat(200));
    fs::create_dir_all(&deep).unwrap();
    fs::rename(site.archive().join(DAY).join(image(1)), deep.join(image(1))).unwrap();
    fs::rename(site.archive().join(DAY).join(image(2)), site.archive().join("moved")).unwrap();
    plan(&site, "archive", &index.url, &[]);
    let said = repair(&site, &index.url, &[]).exits(1);
    assert!(said.out.contains(" 1 values set") && said.out.contains(" 1 steps skipped"), "{}", said.out);
    assert!(said.out.contains(&format!("image {}: the new path is too long", image(1))), "{}", said.out);
}

#[test]
fn a_root_that_a_plan_cannot_name_is_refused_before_the_audit() {
    use std::os::unix::ffi::OsStrExt;
    let (site, index) = indexed(&[]);
    let odd = site.path(".").join(std::ffi::OsStr::from_bytes(b"\xff"));
    symlink(site.archive(), &odd).unwrap();
    let mut command = site.program(&["audit", "--index", &index.url, "--recheck-after", "0s", "--plan", "plan.jsonl"]);
    let said = crate::support::Said::of(command.arg(&odd)).exits(2);
    assert!(said.err.contains("--plan") && said.err.contains("UTF-8"), "{}", said.err);
}

#[test]
fn a_plan_is_applied_where_the_root_is_typed_with_dots() {
    let (site, index) = indexed(&[]);
    site.add(&format!("{DAY}/new"), json!({"SOPInstanceUID": "1.2.3"}));
    fs::remove_file(site.archive().join(DAY).join(image(1))).unwrap();
    let root = format!("archive/{DAY}/../../archive/.");
    assert_eq!(apply_all(&site, &index, &root, &[]), ["insert", "remove-image"]);
}

#[test]
fn steps_that_cannot_be_done_are_skipped_with_their_reason_and_the_others_are_done() {
    let (site, index) = indexed(&[]);
    let day = site.archive().join(DAY);
    site.add(&format!("{DAY}/new"), json!({"SOPInstanceUID": "1.2.3"}));
    fs::create_dir(site.archive().join("@Recycle")).unwrap();
    fs::copy(day.join(image(1)), site.archive().join("@Recycle/1.2")).unwrap();
    plan(&site, "archive", &index.url, &[]);
    let [head, insert] = lines(&site, "plan.jsonl").try_into().unwrap();
    let text = |path: std::path::PathBuf| path.display().to_string();
    let path = text(day.join(image(1)));
    let to = |to: String| {
        json!({"enabled": true, "check": "moved-file", "action": "set", "table": "image", "key": image(1),
               "column": "path", "from": path, "to": to})
    };
    let remove = |path: &str| json!({"enabled": true, "check": "missing-file", "action": "remove-image", "key": image(2), "path": path});
    let into = |file: String| json!({"enabled": true, "check": "unindexed-file", "action": "insert", "key": "1.2.4", "file": file});
    let steps = [
        (to(text(site.path("outside/1.2"))), "below no root"),
        (to(text(site.archive().join("@Recycle/1.2"))), "skipped directory"),
        (to(format!("{}/./{DAY}/{}", text(site.archive()), image(1))), "path maps"),
        (remove("D:/DICOM/1.2"), "below no root"),
        (into(text(site.path("outside/1.2"))), "below no root"),
        (into(text(site.archive().join("@Recycle/1.2"))), "skipped directory"),
    ];
    let all = |enabled: bool| {
        let mut all = vec![head.clone(), insert.clone()];
        all.extend(steps.iter().map(|(step, _)| {
            let mut step: Json = step.clone();
            step["enabled"] = json!(enabled);
            step
        }));
        all
    };
    let before = index.dump();
    write(&site, "plan.jsonl", &all(false));
    let said = repair(&site, &index.url, &[]).exits(0);
    assert!(said.out.contains("1 images inserted") && said.out.contains(" 0 steps skipped"), "{}", said.out);
    super::run(&site, &["repair", "--undo", "undo.jsonl", "--yes", "--index", &index.url]).exits(0);
    fs::remove_file(site.path("undo.jsonl")).unwrap();
    write(&site, "plan.jsonl", &all(true));
    let said = repair(&site, &index.url, &[]).exits(1);
    assert!(said.out.contains("1 images inserted") && said.out.contains(" 6 steps skipped"), "{}", said.out);
    let skipped: Vec<&str> = said.out.lines().filter(|line| line.contains("skipped: ")).collect();
    for ((step, reason), line) in steps.iter().zip(skipped) {
        assert!(line.contains(step["key"].as_str().unwrap()) && line.contains(reason), "{step}: {line}");
    }
    super::run(&site, &["repair", "--undo", "undo.jsonl", "--yes", "--index", &index.url]).exits(0);
    assert_eq!(index.dump(), before);
}

#[test]
fn no_row_is_removed_while_a_target_root_is_not_mounted() {
    let (site, index) = indexed(&[]);
    fs::create_dir(site.path("far")).unwrap();
    let (near, far) = (site.archive().join(DAY), site.path("far"));
    for n in 1..=3 {
        fs::rename(near.join(image(n)), far.join(image(n))).unwrap();
        set_path(&index, n, &far.join(image(n)).display().to_string());
    }
    // A link within the root to a directory of the target root.
    symlink(&far, near.join("link")).unwrap();
    set_path(&index, 2, &near.join("link").join(image(2)).display().to_string());
    // A directory of the target root.
    fs::create_dir(far.join("day")).unwrap();
    fs::rename(far.join(image(3)), far.join("day").join(image(3))).unwrap();
    set_path(&index, 3, &far.join("day").join(image(3)).display().to_string());
    let before = index.dump();
    for n in [1, 2] {
        fs::rename(far.join(image(n)), site.path(&image(n))).unwrap();
    }
    let target_root = far.display().to_string();
    let more = ["--target-root", &target_root];
    let mut planned = plan(&site, "archive", &index.url, &more);
    assert_eq!(planned.len(), 3, "the target root still holds a file: {planned:?}");
    planned.iter_mut().skip(1).for_each(|step| step["enabled"] = json!(true));
    write(&site, "plan.jsonl", &planned);
    fs::rename(far.join("day").join(image(3)), site.path(&image(3))).unwrap();
    let said = repair(&site, &index.url, &[]).exits(1);
    assert!(said.out.contains(" 0 rows removed, 0 rows put back, 2 steps skipped"), "{}", said.out);
    assert_eq!(said.out.matches("is it mounted?").count(), 2, "{}", said.out);
    assert_eq!(index.dump(), before);
    fs::remove_file(site.path("plan.jsonl")).unwrap();
    let planned = plan(&site, "archive", &index.url, &[&more[..], &["--json", "findings.jsonl"]].concat());
    assert_eq!(planned.len(), 1, "{planned:?}");
    let findings = lines(&site, "findings.jsonl");
    let unmounted = |finding: &&Json| finding.to_string().contains("is it mounted?");
    assert_eq!(findings.iter().filter(unmounted).count(), 3, "{findings:?}");
}
