//! The scope that a report states, and how an audit compares its findings with the previous one.

use super::report_files::interrupted;
use super::*;

/// A site from which some files were lost.
fn with_lost_files(count: u32) -> (Site, Index) {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    for study in 1..=count {
        lose(&site, study);
    }
    (site, index)
}

fn lose(site: &Site, study: u32) {
    fs::remove_file(site.archive().join("2021-11-12-FRI").join(format!("{UID}.{study}.1.1"))).unwrap();
}

/// Returns the first line of the list of findings.
fn scope(site: &Site, name: &str) -> Json {
    let text = fs::read_to_string(site.path(name)).unwrap();
    let scope: Json = serde_json::from_str(text.lines().next().expect("a line")).unwrap();
    assert_eq!(scope["report"], "audit", "{text}");
    scope
}

#[test]
fn an_audit_of_one_check_says_that_it_was_one_of_many() {
    let (site, index) = with_lost_files(1);
    let more = ["--check", "reviewed-empty", "--html", "page.html", "--csv", "studies.csv"];
    let said = audit(&site, &index, &more).exits(0);
    let all = said.out.split("1 of ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
    assert!(all.parse::<u32>().is_ok_and(|all| all > 30), "{}", said.out);
    let first = said.out.lines().next().unwrap();
    assert!(first.ends_with(&format!("nothing found by 1 of {all} checks")), "{first}");
    assert!(said.out.contains("reviewed-empty"), "{}", said.out);
    assert_eq!(scope(&site, "findings.jsonl")["checks"], json!(["reviewed-empty"]));
    let page = fs::read_to_string(site.path("page.html")).unwrap();
    assert!(page.contains(&format!("1 of {all} checks")) && page.contains("reviewed-empty"), "{page}");
    let csv = fs::read_to_string(site.path("studies.csv")).unwrap();
    assert!(csv.lines().next().unwrap().contains(&format!("1 of {all} checks")), "{csv}");
}

#[test]
fn a_report_names_level_roots_path_maps_and_the_checks_that_were_not_made() {
    let (site, index) = with_lost_files(0);
    let map = format!("{}=D:/DICOM", site.path("elsewhere").display());
    fs::create_dir(site.path("elsewhere")).unwrap();
    site.write("../elsewhere/x", b"");
    let elsewhere = site.path("elsewhere").display().to_string();
    let said = audit(&site, &index, &["--path-map", &map, &elsewhere, "--html", "page.html"]);
    let page = fs::read_to_string(site.path("page.html")).unwrap();
    let scope = scope(&site, "findings.jsonl");
    for text in [&said.out, &page] {
        for told in
            ["level exists", &site.archive().display().to_string(), &elsewhere, "D:/DICOM", "cut-file", "damaged-file"]
        {
            assert!(text.contains(told), "{told}: {text}");
        }
    }
    assert_eq!((&scope["level"], &scope["complete"]), (&json!("exists"), &json!(true)));
    assert_eq!(scope["roots"].as_array().unwrap().len(), 2);
    assert_eq!(scope["path_maps"], json!([map]));
    assert!(scope["checks_not_made"]["damaged-file"].as_str().unwrap().contains("--level full"), "{scope}");
    // At the deepest level, only checks that this index does not support are left out.
    audit(&site, &index, &["--level", "full"]);
    let scope = self::scope(&site, "findings.jsonl");
    assert!(scope["checks_not_made"]["damaged-file"].is_null(), "{scope}");
    assert!(scope["checks_not_made"]["notes-without-study"].is_string(), "{scope}");
}

#[test]
fn a_part_of_the_archive_is_not_reported_as_all_of_it() {
    let (site, index) = with_lost_files(0);
    let said = audit(&site, &index, &["--part", "2/2", "--html", "page.html", "--csv", "studies.csv"]).exits(0);
    let scope = scope(&site, "findings.jsonl");
    assert_eq!((&scope["part"], &scope["complete"]), (&json!("2/2"), &json!(false)), "{scope}");
    // The first part makes the checks that need only tables.
    assert!(scope["checks_not_made"]["reviewed-empty"].is_string(), "{scope}");
    for text in [
        said.out,
        fs::read_to_string(site.path("page.html")).unwrap(),
        fs::read_to_string(site.path("studies.csv")).unwrap(),
    ] {
        assert!(text.contains("part 2/2") && text.contains("not complete"), "{text}");
    }
}

#[test]
fn an_interrupted_audit_calls_no_finding_gone_and_says_that_it_is_not_complete() {
    let (site, index) = with_lost_files(3);
    audit(&site, &index, &[]).exits(1);
    let files = ["--json", "new.jsonl", "--html", "new.html", "--csv", "new.csv", "--plan", "new.plan"];
    let stopped = interrupted(&site, &index, &files);
    assert!(!stopped.out.contains("gone"), "{}", stopped.out);
    assert!(stopped.out.contains("not complete: interrupted"), "{}", stopped.out);
    let scope = scope(&site, "new.jsonl");
    assert_eq!((&scope["complete"], &scope["incomplete_because"][0]), (&json!(false), &json!("interrupted")));
    for name in ["new.html", "new.csv"] {
        let text = fs::read_to_string(site.path(name)).unwrap();
        assert!(text.contains("not complete: interrupted") && !text.contains("Nothing was found"), "{name}: {text}");
    }
    let plan = fs::read_to_string(site.path("new.plan")).unwrap();
    let head: Json = serde_json::from_str(plan.lines().next().unwrap()).unwrap();
    assert_eq!(head["incomplete_because"], json!(["interrupted"]));
    let repaired = site.run(&["repair", "new.plan", "--index", &index.url, "--undo-file", "undo", "--yes"]);
    assert!(repaired.out.contains("the audit of this plan was not complete: interrupted"), "{}", repaired.out);
    // The baseline is still the last complete audit.
    let said = audit(&site, &index, &[]).exits(1);
    assert!(said.out.contains("0 new, 3 still there, 0 gone"), "{}", said.out);
}

#[test]
fn only_what_both_audits_covered_is_compared() {
    let (site, index) = with_lost_files(2);
    index.execute(&format!("UPDATE study SET reviewed = '' WHERE uuid = '{UID}.3'"));
    let last = |more: &[&str]| audit(&site, &index, &[&["--baseline", "last"], more].concat());
    last(&[]).exits(1);
    // With a single check, the findings of the others do not count as gone.
    let said = last(&["--check", "reviewed-empty"]).exits(1);
    assert!(said.out.contains("0 new, 1 still there, 0 gone"), "{}", said.out);
    // With all checks again, the findings of the others do not count as new, because the previous
    // audit did not look for them.
    let said = last(&[]).exits(1);
    assert!(said.out.contains("0 new, 1 still there, 0 gone"), "{}", said.out);
    assert!(said.out.contains("2 findings") && said.out.contains("not compared"), "{}", said.out);
    let lines = fs::read_to_string(site.path("findings.jsonl")).unwrap();
    let missing = lines.lines().find(|line| line.contains("missing-file")).unwrap();
    assert!(!missing.contains("\"new\""), "{missing}");
}

#[test]
fn audits_of_other_roots_or_levels_are_not_compared_as_if_they_were_the_same() {
    let (site, index) = with_lost_files(1);
    site.write("2021-11-12-FRI/cut", &crate::support::instance_file(json!({"SOPInstanceUID": "1.2.9"}))[..200]);
    let last = |more: &[&str]| audit(&site, &index, &[&["--baseline", "last"], more].concat());
    last(&["--level", "full"]).exits(1);
    let said = last(&["--level", "exists"]).exits(1);
    assert!(!said.out.contains(" gone"), "a shallower audit does not see what a deeper one did: {}", said.out);
    fs::create_dir(site.path("other")).unwrap();
    site.write("../other/x", b"x");
    let mut command =
        site.program(&["audit", "other", "--index", &index.url, "--recheck-after", "0s", "--baseline", "last"]);
    let said = Said::of(&mut command);
    assert!(!said.out.contains("gone") && !said.out.contains(" new,"), "{}", said.out);
}

#[test]
fn the_audit_before_is_named_by_its_time() {
    let (site, index) = with_lost_files(1);
    let said = audit(&site, &index, &[]).exits(1);
    assert!(!said.out.contains("since the audit of"), "{}", said.out);
    assert_eq!(scope(&site, "findings.jsonl")["since"], Json::Null);
    let first = scope(&site, "findings.jsonl")["made_at"].clone();
    let said = audit(&site, &index, &[]).exits(1);
    let year = first.as_str().unwrap()[..4].to_owned();
    assert!(said.out.contains(&format!("since the audit of {year}-")), "{}", said.out);
    assert_eq!(scope(&site, "findings.jsonl")["since"], first);
}
