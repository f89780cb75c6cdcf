//! The repairs that an audit has planned are applied, and undone.

use std::fs;

use serde_json::{Value as Json, json};

use crate::support::{Index, PASSWORD, ROOT_UID as UID, Said, Site, on_both_databases};

fn audit(site: &Site, index: &Index, more: &[&str]) -> Said {
    let archive = site.archive().display().to_string();
    let mut command = site.program(&["audit", &archive, "--index", &index.url, "--recheck-after", "0s", "--quiet"]);
    Said::of(command.args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
}

fn repair(site: &Site, index: &Index, more: &[&str]) -> Said {
    let mut command = site.program(&["repair", "--index", &index.url]);
    Said::of(command.args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
}

/// An archive and its index, with one damage of each repairable kind.
fn damaged(site: &Site, index: &Index) {
    for study in 1..=3 {
        site.add_series("2021-11-12-FRI", study, 1, 4);
    }
    site.reindex(index, &[]).exits(0);
    let file = |name: &str| site.archive().join("2021-11-12-FRI").join(format!("{UID}.{name}"));
    fs::create_dir(site.archive().join("elsewhere")).unwrap();
    fs::rename(file("1.1.1"), site.archive().join("elsewhere/moved")).unwrap();
    fs::remove_file(file("2.1.1")).unwrap();
    // Files of an existing series, and of a patient without a row.
    let new = |uid: &str, study: &str, patient: &str| {
        json!({"SOPInstanceUID": uid, "StudyInstanceUID": study, "SeriesInstanceUID": format!("{study}.1"),
               "PatientID": patient, "Modality": "CT"})
    };
    site.add("2021-11-12-FRI/1.2.1", new("1.2.1", &format!("{UID}.1"), "T1"));
    site.add("2021-11-12-FRI/1.2.2", new("1.2.2", "1.3", "NEW"));
    let mut sql = index.connect();
    sql.execute(&format!("UPDATE series SET instances = 9 WHERE uuid = '{UID}.3.1'"));
    sql.execute(&format!("UPDATE study SET reviewed = '' WHERE uuid = '{UID}.3'"));
}

fn enable_all(site: &Site, plan: &str) {
    let text = fs::read_to_string(site.path(plan)).unwrap();
    fs::write(site.path(plan), text.replace("\"enabled\":false", "\"enabled\":true")).unwrap();
}

#[test]
fn a_plan_is_applied_and_taken_back() {
    on_both_databases(|site, index| {
        damaged(site, index);
        let before = index.dump();
        audit(site, index, &["--plan", "plan.jsonl"]).exits(1);
        let text = fs::read_to_string(site.path("plan.jsonl")).unwrap();
        let steps: Vec<Json> = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut told: Vec<_> =
            steps.iter().map(|step| (step["check"].as_str().unwrap(), step["enabled"] == true)).collect();
        told.sort();
        let expected = [
            ("instances-differ", true),
            ("missing-file", false),
            ("moved-file", true),
            ("reviewed-empty", false),
            ("unindexed-file", true),
            ("unindexed-file", true),
        ];
        assert_eq!(told, expected);
        // The steps that are enabled by default.
        let root = site.archive().display().to_string();
        let said = repair(site, index, &["plan.jsonl", "--undo-file", "undo-1.jsonl", "--root", &root]).exits(2);
        assert!(said.err.contains("--yes"), "{}", said.err);
        assert_eq!(index.dump(), before);
        let said =
            repair(site, index, &["plan.jsonl", "--undo-file", "undo-1.jsonl", "--yes", "--root", &root]).exits(0);
        assert!(said.out.contains("2 images inserted, 2 values set, 0 rows removed"), "{}", said.out);
        assert_eq!(index.count("image"), 14);
        let rest = audit(site, index, &["--fail-on", "info"]).exits(1);
        assert!(rest.out.contains("missing-file") && rest.out.contains("reviewed-empty"), "{}", rest.out);
        for mended in ["moved-file", "instances-differ", "unindexed-file"] {
            assert!(!rest.out.contains(mended), "{}", rest.out);
        }
        // The steps that a person enables; completed steps are skipped.
        enable_all(site, "plan.jsonl");
        let said =
            repair(site, index, &["plan.jsonl", "--undo-file", "undo-2.jsonl", "--yes", "--root", &root]).exits(1);
        assert!(said.out.contains("0 images inserted, 1 values set, 1 rows removed"), "{}", said.out);
        assert!(said.out.contains("0 rows put back, 4 steps skipped"), "{}", said.out);
        audit(site, index, &["--check", "missing-file", "--check", "reviewed-empty", "--fail-on", "info"]).exits(0);
        for undo in ["undo-2.jsonl", "undo-1.jsonl"] {
            repair(site, index, &["--undo", undo, "--yes"]).exits(0);
        }
        assert_eq!(index.dump(), before);
        let undone = repair(site, index, &["--undo", "undo-1.jsonl", "--yes"]).exits(1);
        assert!(undone.out.contains("0 values set, 0 rows removed"), "{}", undone.out);
        assert!(!undone.out.contains("NEW"), "{}", undone.out);
        assert_eq!(index.dump(), before);
    });
}

#[test]
fn rows_that_have_changed_since_the_plan_are_left() {
    on_both_databases(|site, index| {
        damaged(site, index);
        audit(site, index, &["--plan", "plan.jsonl"]).exits(1);
        enable_all(site, "plan.jsonl");
        index.connect().execute(&format!("UPDATE series SET instances = 7 WHERE uuid = '{UID}.3.1'"));
        index.connect().execute(&format!("UPDATE study SET reviewed = 'somebody' WHERE uuid = '{UID}.3'"));
        // The file has come back.
        site.add(&format!("2021-11-12-FRI/{UID}.2.1.1"), json!({"SOPInstanceUID": format!("{UID}.2.1.1")}));
        let before = index.dump();
        let root = site.archive().display().to_string();
        let said = repair(site, index, &["plan.jsonl", "--undo-file", "undo.jsonl", "--yes", "--root", &root]).exits(1);
        assert!(said.out.contains("1 values set, 0 rows removed, 0 rows put back, 3 steps skipped"), "{}", said.out);
        assert!(!said.out.contains("somebody"), "{}", said.out);
        repair(site, index, &["--undo", "undo.jsonl", "--yes"]).exits(0);
        assert_eq!(index.dump(), before);
    });
}

#[test]
fn a_plan_that_was_edited_wrongly_changes_nothing() {
    let site = Site::new();
    let index = site.sqlite();
    damaged(&site, &index);
    let before = index.dump();
    let head = json!({"plan": 2, "index": index.url, "roots": [site.archive()], "path-map": []}).to_string();
    let step = |table: &str, column: &str| {
        json!({"enabled": true, "check": "moved-file", "action": "set", "table": table, "key": "1", "column": column,
               "from": null, "to": "1"})
        .to_string()
    };
    let cases = [
        (String::new(), "it is empty"),
        (head.replace(&index.url, "sqlite:other.db"), "it is for the index sqlite:other.db"),
        (json!({"plan": 3, "index": index.url}).to_string(), "another version"),
        (format!("{head}\nnonsense"), "line 2"),
        (format!("{head}\n{}", step("patient", "lastname")), "nothing that a repair may set"),
        (format!("{head}\n{}", step("image", "path` = 'x' --")), "nothing that a repair may set"),
        (format!("{head}\n{}", step("study", "reviewed").replace("\"set\"", "\"drop\"")), "line 2"),
    ];
    for (plan, told) in cases {
        fs::write(site.path("plan.jsonl"), plan).unwrap();
        let said = repair(&site, &index, &["plan.jsonl", "--undo-file", "undo.jsonl", "--yes"]).exits(2);
        assert!(said.err.contains(told), "{told}: {}", said.err);
        assert!(!site.path("undo.jsonl").exists());
    }
    assert_eq!(index.dump(), before);
}

#[test]
fn an_alarm_makes_no_plan() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 60);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::remove_dir_all(site.archive().join("2021-11-12-FRI")).unwrap();
    site.add("one", json!({"SOPInstanceUID": "1.2.3"}));
    let said = audit(&site, &index, &["--plan", "plan.jsonl"]).exits(1);
    assert!(!site.path("plan.jsonl").exists());
    assert!(said.out.contains("not written, because of the alarm: plan.jsonl"), "{}", said.out);
}

#[test]
fn a_former_plan_that_stays_because_of_an_alarm_is_reported() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 60);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    site.add("one", json!({"SOPInstanceUID": "1.2.3"}));
    audit(&site, &index, &["--plan", "plan.jsonl"]).exits(1);
    let plan = fs::read(site.path("plan.jsonl")).unwrap();
    fs::remove_dir_all(site.archive().join("2021-11-12-FRI")).unwrap();
    let said = audit(&site, &index, &["--plan", "plan.jsonl"]).exits(1);
    assert_eq!(fs::read(site.path("plan.jsonl")).unwrap(), plan);
    assert!(said.out.contains("not replaced, because of the alarm: plan.jsonl"), "{}", said.out);
}

#[test]
fn an_undo_names_its_own_file_and_the_rows_that_it_skips() {
    let site = Site::new();
    let index = site.sqlite();
    damaged(&site, &index);
    audit(&site, &index, &["--check", "missing-file", "--plan", "plan.jsonl"]).exits(1);
    enable_all(&site, "plan.jsonl");
    let image = format!("{UID}.2.1.1");
    let before = index.rows("SELECT path FROM image ORDER BY uuid");
    repair(&site, &index, &["plan.jsonl", "--undo-file", "undo.jsonl", "--yes"]).exits(0);
    let said = repair(&site, &index, &["--undo", "undo.jsonl"]).exits(2);
    assert!(said.err.contains("Read the undo file, and add --yes."), "{}", said.err);
    repair(&site, &index, &["--undo", "undo.jsonl", "--yes"]).exits(0);
    assert_eq!(index.rows("SELECT path FROM image ORDER BY uuid"), before);
    let said = repair(&site, &index, &["--undo", "undo.jsonl", "--yes"]).exits(1);
    assert!(said.out.contains(&format!("skipped: image {image}: its row is there again")), "{}", said.out);
    let series = format!("{UID}.2.1");
    index.execute(&format!("DELETE FROM image WHERE uuid = '{image}'"));
    index.execute(&format!("DELETE FROM series WHERE uuid = '{series}'"));
    let said = repair(&site, &index, &["--undo", "undo.jsonl", "--yes"]).exits(1);
    assert!(said.out.contains(&format!("skipped: image {image}: its series is missing")), "{}", said.out);
}
