//! A plan contains its roots and path maps. Neither a plan nor an undo file can set anything that
//! no audit would plan.

use std::fs;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::{audit, images_below, map, repair, windows_pacs};
use crate::import::put;
use crate::support::{Index, PASSWORD, ROOT_UID as UID, Said, Site};

/// A plan that inserts five instances, made with a path map.
pub(super) fn planned() -> (Site, Index) {
    let (site, index) = windows_pacs();
    let map = map(&site, "archive", "D:/DICOM");
    audit(&site, &index, &["--path-map", &map, "--plan", "plan.jsonl"]).exits(1);
    (site, index)
}

pub(super) const APPLY: [&str; 4] = ["plan.jsonl", "--undo-file", "undo.jsonl", "--yes"];

pub(super) fn lines(site: &Site, file: &str) -> Vec<Json> {
    let text = fs::read_to_string(site.path(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Writes an undo file with the hashes that a repair would give these lines.
fn write_sealed(site: &Site, index: &Index, lines: &[Json]) {
    let mut text = String::new();
    let mut hash = String::new();
    for line in [&[json!({"undo-file": 2, "index": index.url})], lines].concat() {
        let open = line.to_string();
        let open = open.strip_suffix('}').unwrap();
        let digest = Sha256::digest(format!("{hash}{open}"));
        hash = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("{open},\"checksum\":\"{hash}\"}}\n");
    }
    fs::write(site.path("undo.jsonl"), text).unwrap();
}

pub(super) fn write(site: &Site, file: &str, lines: &[Json]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(site.path(file), text).unwrap();
}

#[test]
fn a_repair_uses_the_roots_and_the_path_maps_of_its_plan() {
    let (site, index) = planned();
    let head = &lines(&site, "plan.jsonl")[0];
    let archive = site.archive().display().to_string();
    assert_eq!((&head["roots"], &head["path-map"]), (&json!([archive]), &json!([format!("{archive}=D:/DICOM")])));
    let said = repair(&site, &index, &APPLY).exits(0);
    assert!(said.out.contains("paths are stored as D:/DICOM/2019-01-1"), "{}", said.out);
    assert_eq!(images_below(&index, "D:/DICOM"), 5);
}

#[test]
fn roots_and_path_maps_that_contradict_the_plan_are_refused() {
    let (site, index) = planned();
    put(&site, "other/1.2.3", json!({}));
    let [other, archive] = ["other", "archive"].map(|name| site.path(name).display().to_string());
    let wrong = map(&site, "archive", "D:/OLD");
    let below = map(&site, "archive/2019-01-12-SAT", "E:/X");
    let right_here = map(&site, "archive", "D:/DICOM");
    let cases: [&[&str]; 4] = [
        &["--root", &other],
        &["--path-map", &wrong],
        &["--root", &archive, "--path-map", &wrong],
        &["--path-map", &right_here, "--path-map", &below],
    ];
    for more in cases {
        let said = repair(&site, &index, &[&APPLY[..], more].concat()).exits(2);
        assert!(said.err.contains("the plan") && said.err.contains("Leave out"), "{more:?}: {}", said.err);
        assert_eq!((index.count("image"), site.path("undo.jsonl").exists()), (0, false));
    }
    let same: &[&str] = &["--root", &archive, "--root", &other, "--path-map", &right_here];
    repair(&site, &index, &[&APPLY[..], same].concat()).exits(0);
    assert_eq!(images_below(&index, "D:/DICOM"), 5);
}

#[test]
fn a_plan_of_the_first_form_needs_its_roots() {
    let (site, index) = planned();
    let mut plan = lines(&site, "plan.jsonl");
    plan[0] = json!({"plan": 1, "index": index.url});
    write(&site, "plan.jsonl", &plan);
    let said = repair(&site, &index, &APPLY).exits(2);
    assert!(said.err.contains("an earlier version") && said.err.contains("--root ROOT"), "{}", said.err);
    let archive = site.archive().display().to_string();
    let (root, map) = (["--root", archive.as_str()], map(&site, "archive", "D:/DICOM"));
    repair(&site, &index, &[&APPLY[..], &root].concat()).exits(2);
    assert_eq!(index.count("image"), 0, "the paths would be unmapped");
    repair(&site, &index, &[&APPLY[..], &root, &["--path-map", &map]].concat()).exits(0);
    assert_eq!(images_below(&index, "D:/DICOM"), 5);
}

#[test]
fn the_settings_file_of_a_site_serves_a_repair() {
    let (site, index) = planned();
    fs::write(site.path("password"), PASSWORD).unwrap();
    let archive = site.archive().display().to_string();
    let settings = format!(
        "roots = ['{archive}']\nindex = '{}'\npassword-file = 'password'\npath-map = ['{archive}=D:/DICOM']\n\
         require-mount = false\nio-threads = 4\nfail-on = 'warning'\n",
        index.url
    );
    fs::write(site.path("site.toml"), &settings).unwrap();
    Said::of(&mut site.program(&["repair", "--config", "site.toml", APPLY[0], APPLY[1], APPLY[2], APPLY[3]])).exits(0);
    assert_eq!(images_below(&index, "D:/DICOM"), 5);
    Said::of(&mut site.program(&["repair", "--config", "site.toml", "--undo", "undo.jsonl", "--yes"])).exits(0);
    assert_eq!(index.count("image"), 0);
    fs::write(site.path("site.toml"), settings + "path-maps = []\n").unwrap();
    let said = Said::of(&mut site.program(&["repair", "--config", "site.toml", "plan.jsonl"])).exits(2);
    assert!(said.err.contains("`path-maps` is not a setting of repair"), "{}", said.err);
}

/// The five rows, and the head of a plan.
pub(super) fn indexed() -> (Site, Index, Json) {
    let (site, index) = planned();
    repair(&site, &index, &APPLY).exits(0);
    fs::remove_file(site.path("undo.jsonl")).unwrap();
    let head = lines(&site, "plan.jsonl").remove(0);
    (site, index, head)
}

pub(super) fn set(table: &str, key: &str, column: &str, from: Json, to: Json) -> Json {
    json!({"enabled": true, "check": "moved-file", "action": "set", "table": table, "key": key, "column": column,
           "from": from, "to": to})
}

pub(super) fn with(mut line: Json, key: &str, value: Json) -> Json {
    line[key] = value;
    line
}

#[test]
fn a_plan_sets_nothing_that_no_audit_would_plan() {
    let (site, index, head) = indexed();
    put(&site, "outside/1.2.3", json!({"SOPInstanceUID": format!("{UID}.1.1.1")}));
    let before = index.dump();
    let (study, series, image) = (format!("{UID}.1"), format!("{UID}.1.1"), format!("{UID}.1.1.1"));
    let path = format!("D:/DICOM/2019-01-12-SAT/{image}");
    let to_path = |to: &str| set("image", &image, "path", json!(path), json!(to));
    let outside = site.path("outside/1.2.3").display().to_string();
    let literal = site.archive().join(format!("2019-01-12-SAT/{image}")).display().to_string();
    let insert =
        |file: &str| json!({"enabled": true, "check": "moved-file", "action": "insert", "key": image, "file": file});
    let remove = |path: &str| json!({"enabled": true, "check": "moved-file", "action": "remove-image", "key": image, "path": path});
    let mut without_from = to_path(&path);
    without_from.as_object_mut().unwrap().remove("from");
    let impossible = [
        (to_path(&outside), "below no root"),
        (to_path("D:/DICOM/../outside/1.2.3"), "below no root"),
        (to_path("D:/DICOM"), "below no root"),
        (to_path("E:/DICOM/x"), "below no root"),
        (to_path(&literal), "not the path that the path maps"),
        (to_path(&path.replace('/', "\\")), "not the path that the path maps"),
        (to_path(&path.to_lowercase()), "not the path that the path maps"),
        (insert(&outside), "below no root"),
        (insert(&format!("{}/../outside/1.2.3", site.archive().display())), "below no root"),
        (remove("D:/OTHER/x"), "below no root"),
    ];
    let plan = |step: &Json, enabled: bool| {
        write(&site, "plan.jsonl", &[head.clone(), to_path(&path), with(step.clone(), "enabled", json!(enabled))]);
    };
    for (step, expected) in impossible {
        for (enabled, exit) in [(true, 1), (false, 0)] {
            plan(&step, enabled);
            let said = repair(&site, &index, &APPLY).exits(exit);
            assert_eq!(said.out.contains(expected), enabled, "{step}: {}", said.out);
            fs::remove_file(site.path("undo.jsonl")).unwrap();
        }
    }
    assert_eq!(index.dump(), before);
    let malformed = [
        (set("image", &image, "path", json!(path), Json::Null), "cannot be set to NULL"),
        (set("study", &study, "private", json!(null), json!("1")), "from NULL to 0"),
        (set("study", &study, "private", json!("1"), json!("0")), "from NULL to 0"),
        (set("study", &study, "reviewed", json!(""), json!("nobody")), "from an empty text to NULL"),
        (set("study", &study, "reviewed", json!("dr. who"), Json::Null), "from an empty text to NULL"),
        (set("series", &series, "instances", json!("3"), Json::Null), "to a number"),
        (set("series", &series, "instances", json!("3"), json!("-1")), "to a number"),
        (set("series", &series, "instances", json!("3"), json!("07")), "to a number"),
        (set("study", &study, "verified", Json::Null, json!("x")), "nothing that a repair may set"),
        (set("patient", "T1", "private", Json::Null, json!("0")), "nothing that a repair may set"),
        (set("users", "x", "path", Json::Null, json!("0")), "nothing that a repair may set"),
        (with(to_path(&path), "colunm", json!("x")), "the key `colunm` is unknown"),
        (without_from, "the key `from` is missing"),
        (json!({"enabled": true, "check": "moved-file", "action": "drop", "table": "image"}), ""),
    ];
    for (step, expected) in malformed {
        for enabled in [true, false] {
            plan(&step, enabled);
            let said = repair(&site, &index, &APPLY).exits(2);
            assert!(said.err.contains("line 3: ") && said.err.contains(expected), "{step}: {}", said.err);
            assert!(!site.path("undo.jsonl").exists());
        }
    }
    for head in [
        with(head.clone(), "extra", json!(1)),
        with(head.clone(), "roots", json!([])),
        with(head.clone(), "path-map", json!(["nonsense"])),
        with(head.clone(), "plan", json!(1)),
        with(head.clone(), "plan", json!(3)),
    ] {
        write(&site, "plan.jsonl", std::slice::from_ref(&head));
        let said = repair(&site, &index, &APPLY).exits(2);
        assert!(said.err.contains("line 1"), "{head}: {}", said.err);
    }
    assert_eq!(index.dump(), before);
}

#[test]
fn values_that_the_archive_and_the_tables_do_not_confirm_are_skipped() {
    let (site, index, head) = indexed();
    index.execute("UPDATE series SET instances = 9");
    let (series, image) = (format!("{UID}.1.1"), format!("{UID}.1.1.1"));
    let path = format!("D:/DICOM/2019-01-12-SAT/{image}");
    site.write("2019-01-12-SAT/text", b"no instance");
    let sparse = fs::File::create(site.archive().join("2019-01-12-SAT/nearline")).unwrap();
    sparse.set_len(500_000).unwrap();
    std::os::unix::fs::symlink(site.path("password"), site.archive().join("link")).unwrap();
    let before = index.dump();
    let to = |to: &str| set("image", &image, "path", json!(path), json!(to));
    let file = |name: &str| format!("{}/2019-01-12-SAT/{name}", site.archive().display());
    let insert =
        |file: &str| json!({"enabled": true, "check": "moved-file", "action": "insert", "key": image, "file": file});
    let steps = [
        (to(&format!("D:/DICOM/2019-01-12-SAT/{UID}.1.1.2")), "the file holds another instance"),
        (to("D:/DICOM/2019-01-12-SAT/text"), "holds no instance"),
        (to("D:/DICOM/2019-01-12-SAT/none"), "the file is missing"),
        (to("D:/DICOM/2019-01-12-SAT/nearline"), "the file is a stub"),
        (set("series", &series, "instances", json!("9"), json!("4")), "another number of images"),
        (insert(&file(&format!("{UID}.1.1.2"))), "does not hold this instance"),
    ];
    for (step, expected) in steps {
        write(&site, "plan.jsonl", &[head.clone(), step]);
        let said = repair(&site, &index, &APPLY).exits(1);
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
        assert_eq!(lines(&site, "undo.jsonl").len(), 1, "only the line that names the index");
        fs::remove_file(site.path("undo.jsonl")).unwrap();
    }
    assert_eq!(index.dump(), before);
    write(&site, "plan.jsonl", &[head, set("series", &series, "instances", json!("9"), json!("3"))]);
    repair(&site, &index, &APPLY).exits(0);
    assert_eq!(index.rows(&format!("SELECT instances FROM series WHERE uuid = '{series}'")), ["3"]);
}

#[test]
fn an_undo_file_reverts_nothing_that_no_repair_has_done() {
    let (site, index, _) = indexed();
    let before = index.dump();
    let (study, image) = (format!("{UID}.1"), format!("{UID}.1.1.1"));
    let path = format!("D:/DICOM/2019-01-12-SAT/{image}");
    let set = |table: &str, key: &str, column: &str, from: Json, to: Json| json!({"undo": "set", "table": table, "key": key, "column": column, "from": from, "to": to});
    let restore = |table: &str, key: &str, column: &str| json!({"undo": "restore", "table": table, "key": key, "columns": {column: [null, "x"]}});
    let cases = [
        set("study", &study, "private", json!("0"), json!("1")),
        set("study", &study, "reviewed", json!(null), json!("dr. who")),
        set("study", &study, "verified", json!(null), json!("x")),
        set("series", &format!("{UID}.1.1"), "instances", json!("3"), json!("many")),
        set("image", &image, "path", json!(null), json!("D:/DICOM/x")),
        set("image", &image, "path", json!(path), json!("D:/DICOM/".to_owned() + &"x".repeat(512))),
        with(set("image", &image, "path", json!(path), json!("D:/x")), "where", json!("1=1")),
        restore("study", &study, "private"),
        restore("study", &study, "patientid"),
        restore("study", &study, "reviewed"),
        restore("image", &image, "uuid` = 'x' -- "),
        restore("users", "x", "description"),
        json!({"undo": "put-back", "table": "study", "row": {"uuid": "1.2.3"}}),
        json!({"undo": "put-back", "table": "image", "row": {"uuid": "1.2.3", "nonsense": "x"}}),
        json!({"undo": "put-back", "table": "image", "row": {"seriesuid": "1.2.3"}}),
        json!({"undo": "remove", "table": "config", "key": "x", "row": {}}),
        json!({"undo": "remove", "table": "study", "key": study, "row": {"uuid": "1.2.3"}}),
        json!({"undo": "drop", "table": "study"}),
    ];
    let right = set("image", &image, "path", json!("D:/DICOM/other"), json!("D:/x"));
    for line in cases {
        write_sealed(&site, &index, &[right.clone(), line.clone()]);
        let said = repair(&site, &index, &["--undo", "undo.jsonl", "--yes"]).exits(2);
        assert!(said.err.contains("line 3: "), "{line}: {}", said.err);
    }
    // An undo leaves a value unchanged if it differs from the one that the repair wrote.
    let remove = json!({"undo": "remove", "table": "image", "key": image, "row": {"uuid": image}});
    write_sealed(&site, &index, &[right, remove]);
    repair(&site, &index, &["--undo", "undo.jsonl", "--yes"]).exits(1);
    assert_eq!(index.dump(), before);
}
