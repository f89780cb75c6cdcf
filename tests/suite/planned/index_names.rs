//! The index to which a plan, an undo file and kept findings belong: one database under any
//! spelling of its name.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::{lines, plan, repair, run, run_in};
use crate::support::{Index, PASSWORD, ROOT_UID as UID, Site};

/// Two directories, each with an index `a.db` whose counts are wrong. Returns the two indexes.
fn twins(site: &Site) -> [Index; 2] {
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    ["one", "two"].map(|directory| {
        fs::create_dir(site.path(directory)).unwrap();
        let index = Index::sqlite(site.path(directory).join("a.db"));
        site.reindex(&index, &[]).exits(0);
        index.execute("UPDATE series SET instances = 9");
        index
    })
}

fn audit_one(site: &Site, index: &str) {
    let more = ["--recheck-after", "0s", "--quiet", "--fail-on", "info", "--plan", "../plan.jsonl"];
    run_in(site, "one", &[&["audit", "../archive", "--index", index][..], &more].concat()).exits(1);
}

#[test]
fn a_plan_and_an_undo_file_of_one_sqlite_file_are_refused_for_another_of_the_same_name() {
    let site = Site::new();
    let [_, two] = twins(&site);
    audit_one(&site, "sqlite:a.db");
    let before = two.dump();
    let apply = ["repair", "../plan.jsonl", "--undo-file", "../undo.jsonl", "--yes", "--index", "sqlite:a.db"];
    let said = run_in(&site, "two", &apply).exits(2);
    assert!(said.err.contains("it is for the index") && said.err.contains("with --index"), "{}", said.err);
    assert_eq!((two.dump(), site.path("undo.jsonl").exists()), (before, false));
    run_in(&site, "one", &apply).exits(0);
    two.execute("UPDATE series SET instances = 3");
    let before = two.dump();
    let said = run_in(&site, "two", &["repair", "--undo", "../undo.jsonl", "--yes", "--index", "sqlite:a.db"]).exits(2);
    assert!(said.err.contains("it is for the index") && said.err.contains("with --index"), "{}", said.err);
    assert_eq!(two.dump(), before);
}

#[test]
fn a_plan_of_an_sqlite_file_is_applied_under_every_name_of_that_file() {
    let site = Site::new();
    let [one, _] = twins(&site);
    symlink(site.path("one"), site.path("link")).unwrap();
    let absolute = format!("sqlite://{}", site.path("one/a.db").display());
    let names = ["sqlite:a.db", "sqlite:./a.db", "sqlite:../one/a.db", "sqlite:../link/a.db", &absolute];
    for audited in names {
        for repaired in names {
            one.execute("UPDATE series SET instances = 9");
            audit_one(&site, audited);
            let apply = ["repair", "../plan.jsonl", "--undo-file", "../undo.jsonl", "--yes", "--index", repaired];
            run_in(&site, "one", &apply).exits(0);
            let undo = ["repair", "--undo", "../undo.jsonl", "--yes", "--index", audited];
            run_in(&site, "one", &undo).exits(0);
            assert_eq!(one.rows("SELECT instances FROM series"), ["9"], "{audited} {repaired}");
            fs::remove_file(site.path("undo.jsonl")).unwrap();
        }
    }
}

/// Returns URLs of one index: unchanged, with another user, without a user, with parameters, and
/// with the other scheme.
fn spellings(index: &Index, user: &str) -> [String; 4] {
    let url = &index.url;
    [
        url.clone(),
        url.replace("pacs@", &format!("{user}@")),
        url.replace("pacs@", "") + "?charset=utf8mb4",
        url.replace("mysql://", "mariadb://") + "?ssl-mode=preferred",
    ]
}

#[test]
fn a_plan_of_an_index_on_a_server_is_applied_by_another_user() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = Index::pacsone();
    site.reindex(&index, &[]).exits(0);
    let user = format!("rw_{}", index.name());
    index.execute(&format!(
        "CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON {}.* TO {user}@'%'",
        index.name()
    ));
    fs::write(site.path("my.cnf"), "[client]\nuser = pacs\n").unwrap();
    for audited in spellings(&index, &user) {
        for repaired in spellings(&index, &user) {
            index.execute("UPDATE series SET instances = 9");
            let option_file = ["--defaults-file", "my.cnf"];
            let head = plan(&site, "archive", &audited, &[&option_file[..], &["--fail-on", "info"]].concat()).remove(0);
            assert!(!head["index"].as_str().unwrap().contains('@'), "{head}");
            repair(&site, &repaired, &option_file).exits(0);
            let undo = ["repair", "--undo", "undo.jsonl", "--yes", "--index", &audited];
            run(&site, &[&undo[..], &option_file].concat()).exits(0);
            assert_eq!(index.rows("SELECT instances FROM series"), ["9"], "{audited} {repaired}");
            fs::remove_file(site.path("undo.jsonl")).unwrap();
        }
    }
    index.execute(&format!("DROP USER {user}@'%'"));
    let other = Index::pacsone();
    let said = repair(&site, &other.url, &[]).exits(2);
    assert!(said.err.contains(other.name()) && said.err.contains("with --index"), "{}", said.err);
}

#[test]
fn the_findings_of_one_sqlite_file_are_not_compared_with_those_of_another() {
    let site = Site::new();
    twins(&site);
    let audit = |directory: &str, index: &str| {
        let more = ["--recheck-after", "0s", "--quiet", "--json", "../findings.jsonl"];
        run_in(&site, directory, &[&["audit", "../archive", "--index", index][..], &more].concat()).exits(0);
        !lines(&site, "findings.jsonl")[0]["since"].is_null()
    };
    assert!(!audit("one", "sqlite:a.db"));
    assert!(!audit("two", "sqlite:a.db"), "another file of the same name");
    for name in ["sqlite:../one/a.db", &format!("sqlite:{}", site.path("one/a.db").display())] {
        assert!(audit("two", name), "{name}");
    }
}

#[test]
fn the_findings_of_an_index_on_a_server_are_kept_for_another_user() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = Index::pacsone();
    site.reindex(&index, &[]).exits(0);
    index.execute(&format!("UPDATE series SET instances = 9 WHERE uuid = '{UID}.1.1'"));
    fs::write(site.path("my.cnf"), "[client]\nuser = pacs\n").unwrap();
    let since = spellings(&index, "pacs").map(|url| {
        plan(&site, "archive", &url, &["--defaults-file", "my.cnf", "--fail-on", "info", "--json", "findings.jsonl"]);
        let findings = lines(&site, "findings.jsonl");
        (!findings[0]["since"].is_null(), findings[1]["new"].clone())
    });
    assert!(!since[0].0);
    for (n, since) in since.iter().enumerate().skip(1) {
        assert_eq!(*since, (true, json!(false)), "{n}");
    }
    site.kept("state/pacs-index", "audit");
}

#[test]
fn a_plan_and_an_undo_file_are_refused_for_an_sqlite_file_in_another_directory_whose_name_is_not_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let site = Site::new();
    let _twins = twins(&site);
    let [one, two] = [&b"\xfe"[..], b"\xff"].map(|name| site.path(".").join(OsStr::from_bytes(name)));
    for (from, to) in [("one", &one), ("two", &two)] {
        fs::rename(site.path(from), to).unwrap();
    }
    let run_in = |directory: &std::path::Path, arguments: &[&str]| {
        crate::support::Said::of(site.program(arguments).current_dir(directory))
    };
    let audit =
        ["audit", "../archive", "--index", "sqlite:a.db", "--recheck-after", "0s", "--quiet", "--fail-on", "info"];
    run_in(&one, &[&audit[..], &["--plan", "../plan.jsonl"]].concat()).exits(1);
    let apply = ["repair", "../plan.jsonl", "--undo-file", "../undo.jsonl", "--yes", "--index", "sqlite:a.db"];
    let said = run_in(&two, &apply).exits(2);
    assert!(said.err.contains("it is for the index"), "{}", said.err);
    run_in(&one, &apply).exits(0);
    let undo = ["repair", "--undo", "../undo.jsonl", "--yes", "--index", "sqlite:a.db"];
    let said = run_in(&two, &undo).exits(2);
    assert!(said.err.contains("it is for the index"), "{}", said.err);
    run_in(&one, &undo).exits(0);
}
