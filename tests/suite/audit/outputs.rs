//! Output paths of an audit that name existing files of the user, or that cannot be written.

use super::*;

fn audited(site: &Site, index: &Index, more: &[&str]) -> Said {
    let archive = site.archive().display().to_string();
    site.run(&[&["audit", &archive, "--index", &index.url, "--quiet", "--recheck-after", "0s"], more].concat())
}

/// A site whose archive has lost a file, and its index.
fn indexed() -> (Site, Index) {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::remove_file(site.archive().join(format!("2021-11-12-FRI/{UID}.1.1.1"))).unwrap();
    (site, index)
}

#[test]
fn an_audit_keeps_its_findings_in_no_file_that_is_something_else() {
    let (site, index) = indexed();
    fs::write(site.path("notes.txt"), "notes").unwrap();
    fs::create_dir(site.path("directory")).unwrap();
    fs::hard_link(site.path("index.db"), site.path("hard.db")).unwrap();
    std::os::unix::fs::symlink("index.db", site.path("link.db")).unwrap();
    std::os::unix::fs::symlink("nowhere/at/all", site.path("dangling")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(site.path("fifo")).status().unwrap().success());
    audited(&site, &index, &["--json", "former.jsonl"]).exits(1);
    let kept = ["index.db", "notes.txt", "former.jsonl"];
    let before = kept.map(|name| fs::read(site.path(name)).unwrap());
    let others = ["directory", "hard.db", "link.db", "dangling", "fifo", "index.db-wal", "index.db-journal"];
    for name in kept.into_iter().chain(others) {
        let said = audited(&site, &index, &["--baseline", name]).exits(2);
        assert!(said.err.contains(&format!("--baseline {name}")), "{name}: {}", said.err);
        assert_eq!(kept.map(|name| fs::read(site.path(name)).unwrap()), before, "{name}");
        assert!(!site.path(&format!("{name}.damaged")).exists(), "{name}");
    }
}

#[test]
fn findings_that_an_audit_kept_are_replaced_and_an_empty_file_is_filled() {
    let (site, index) = indexed();
    fs::write(site.path("last"), b"").unwrap();
    assert!(!audited(&site, &index, &["--baseline", "last"]).exits(1).out.contains("still there"));
    assert!(audited(&site, &index, &["--baseline", "last"]).exits(1).out.contains("0 new, 1 still there"));
    // With a damaged baseline, only the comparison is lost.
    let mut bytes = fs::read(site.path("last")).unwrap();
    bytes.truncate(bytes.len() - 5);
    fs::write(site.path("last"), bytes).unwrap();
    assert!(audited(&site, &index, &["--baseline", "last"]).exits(1).err.contains("damaged"));
    assert!(audited(&site, &index, &["--baseline", "last"]).exits(1).out.contains("0 new, 1 still there"));
}

#[test]
fn two_outputs_of_an_audit_with_one_name_are_refused_before_any_work() {
    let (site, index) = indexed();
    fs::create_dir(site.path("reports")).unwrap();
    std::os::unix::fs::symlink("reports", site.path("link")).unwrap();
    for (one, other) in [
        (["--json", "a"], ["--html", "./a"]),
        (["--json", "reports/a"], ["--csv", "link/a"]),
        (["--json", "reports/a"], ["--plan", "reports/../reports/a"]),
        (["--json", "a"], ["--baseline", "a"]),
        (["--csv", "reports/a"], ["--baseline", "link/a"]),
    ] {
        let said = audited(&site, &index, &[one, other].concat()).exits(2);
        assert!(said.err.contains("are to be written to"), "{one:?} {other:?}: {}", said.err);
        assert!(said.out.is_empty() && !site.path("a").exists() && !site.path("reports/a").exists());
    }
}

#[test]
fn a_report_that_cannot_be_written_costs_that_report_alone() {
    let (site, index) = indexed();
    let more = ["--json", "/dev/full", "--csv", "a.csv", "--html", "a.html", "--plan", "a.plan", "--baseline", "last"];
    let said = audited(&site, &index, &more).exits(3);
    assert!(said.out.contains("missing-file"), "the summary: {}", said.out);
    assert!(said.err.contains("--json /dev/full") && !said.err.contains("former report"), "{}", said.err);
    for name in ["a.csv", "a.html", "a.plan", "last"] {
        assert!(fs::metadata(site.path(name)).is_ok_and(|file| file.len() > 0), "{name}");
    }
}
