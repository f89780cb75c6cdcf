//! The files that an audit writes: replaced atomically, dated and pruned, and readable only by
//! their owner.

use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::Duration;

use super::*;

const REPORTS: [&str; 8] =
    ["--json", "reports/a.jsonl", "--csv", "reports/a.csv", "--html", "reports/a.html", "--plan", "reports/plan.jsonl"];

fn audited(site: &Site, index: &Index, more: &[&str]) -> Said {
    let archive = site.archive().display().to_string();
    let mut command = site.program(&["audit", &archive, "--index", &index.url, "--quiet"]);
    if !more.contains(&"--recheck-after") {
        command.args(["--recheck-after", "0s"]);
    }
    Said::of(command.args(more).env("PACS_INDEX_PASSWORD", crate::support::PASSWORD))
}

/// A site with an archive, its index, and a directory for reports.
fn indexed() -> (Site, Index) {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::create_dir(site.path("reports")).unwrap();
    (site, index)
}

fn lose(site: &Site, name: &str) {
    fs::remove_file(site.archive().join("2021-11-12-FRI").join(format!("{UID}.{name}"))).unwrap();
}

fn report(site: &Site, name: &str) -> String {
    fs::read_to_string(site.path("reports").join(name)).unwrap_or_default()
}

fn reports(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.path("reports")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_reports_of_the_second_night_replace_those_of_the_first() {
    let (site, index) = indexed();
    audited(&site, &index, &REPORTS).exits(0);
    assert_eq!(reports(&site), ["a.csv", "a.html", "a.jsonl", "plan.jsonl"]);
    lose(&site, "1.1.1");
    audited(&site, &index, &REPORTS).exits(1);
    assert_eq!(reports(&site), ["a.csv", "a.html", "a.jsonl", "plan.jsonl"], "nothing is left beside the reports");
    for name in reports(&site) {
        assert!(report(&site, &name).contains(&format!("{UID}.1")), "{name} is not of the second night");
        let mode = fs::metadata(site.path("reports").join(&name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}: {mode:o}");
    }
}

#[test]
fn lists_of_a_run_are_readable_by_their_owner_alone() {
    let site = Site::new();
    site.write("2021-11-12-FRI/text", &b"no DICOM data set, only a text that is long enough. ".repeat(10));
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(1);
    assert_eq!(fs::metadata(site.path("rejected.jsonl")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn an_audit_that_fails_leaves_the_former_reports() {
    let (site, index) = indexed();
    lose(&site, "1.1.1");
    audited(&site, &index, &REPORTS).exits(1);
    let before: Vec<String> = reports(&site).iter().map(|name| report(&site, name)).collect();
    index.execute("ALTER TABLE image RENAME TO elsewhere");
    let failed = audited(&site, &index, &REPORTS);
    assert!(matches!(failed.exit, 2 | 3), "{}: {}", failed.exit, failed.err);
    assert_eq!(reports(&site).iter().map(|name| report(&site, name)).collect::<Vec<_>>(), before);
    assert_eq!(before.len(), 4);
}

#[test]
fn an_audit_that_is_interrupted_leaves_the_former_reports() {
    let (site, index) = indexed();
    lose(&site, "1.1.1");
    audited(&site, &index, &REPORTS).exits(1);
    let before: Vec<String> = reports(&site).iter().map(|name| report(&site, name)).collect();
    lose(&site, "2.1.1");
    let stopped = interrupted(&site, &index, &REPORTS);
    assert_eq!(reports(&site).iter().map(|name| report(&site, name)).collect::<Vec<_>>(), before);
    assert!(
        stopped.out.contains("a.jsonl"),
        "the summary does not mention the report that it has left: {}",
        stopped.out
    );
}

/// Runs an audit and interrupts it while it waits for the recheck.
pub(super) fn interrupted(site: &Site, index: &Index, more: &[&str]) -> Said {
    let archive = site.archive().display().to_string();
    let mut command =
        site.program(&["audit", &archive, "--index", &index.url, "--recheck-after", "1h", "--progress", "lines"]);
    command.args(more).env("PACS_INDEX_PASSWORD", crate::support::PASSWORD);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    // SAFETY: kill has no memory effects; the child is not reaped yet.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let said = Said::new(child.wait_with_output().unwrap()).exits(130);
    assert!(said.err.contains("settling"), "it was not waiting: {}", said.err);
    said
}

#[test]
fn a_file_that_is_no_report_is_not_replaced() {
    let (site, index) = indexed();
    for (name, bytes) in
        [("notes.txt", &b"mine"[..]), ("data.json", b"{\"mine\": 1}"), ("table.csv", b"a,b\r\n1,2\r\n")]
    {
        fs::write(site.path(name), bytes).unwrap();
        for option in ["--json", "--csv", "--html", "--plan"] {
            let failed = audited(&site, &index, &[option, name]).exits(2);
            assert!(failed.err.contains(option) && failed.err.contains(name), "{}", failed.err);
            assert_eq!(fs::read(site.path(name)).unwrap(), bytes, "{option}");
        }
    }
    let before = index.dump();
    audited(&site, &index, &["--json", "index.db"]).exits(2);
    audited(&site, &index, &["--json", "reports"]).exits(2);
    audited(&site, &index, &["--json", "reports/a", "--html", "reports/a"]).exits(2);
    assert_eq!((index.dump(), reports(&site)), (before, vec![]));
}

#[test]
fn a_report_behind_a_link_is_replaced_and_the_link_stays() {
    let (site, index) = indexed();
    symlink("real.jsonl", site.path("reports/link.jsonl")).unwrap();
    fs::write(site.path("reports/real.jsonl"), b"").unwrap();
    audited(&site, &index, &["--json", "reports/link.jsonl"]).exits(0);
    assert!(fs::symlink_metadata(site.path("reports/link.jsonl")).unwrap().is_symlink());
    assert!(report(&site, "real.jsonl").contains("\"level\":\"exists\""));
}

#[test]
fn a_report_can_be_written_to_a_pipe() {
    let (site, index) = indexed();
    let said = audited(&site, &index, &["--json", "/dev/stdout"]).exits(0);
    assert!(said.out.contains("\"level\":\"exists\""), "{}", said.out);
}

#[test]
fn dated_reports_are_pruned_and_nothing_else() {
    let (site, index) = indexed();
    let put = |name: &str| fs::write(site.path("reports").join(name), b"").unwrap();
    // One report is dated in the future, from a time when the clock was wrong.
    let dated = ["audit-2025-12-31.jsonl", "audit-2026-01-02.jsonl", "audit-2999-01-01.jsonl"];
    let others = [
        "audit-2020-01-01.jsonl.bak",
        "audit-2020-13-45.jsonl",
        "audit-20200101.jsonl",
        "audit-2020-1-1.jsonl",
        "my-audit-2020-01-01.jsonl",
        "audit-%Y-%m-%d.jsonl",
        "audit-2020-01-01.html",
        "audit-.jsonl",
    ];
    dated.iter().chain(&others).for_each(|name| put(name));
    fs::create_dir(site.path("reports/audit-2020-01-02.jsonl")).unwrap();
    symlink("audit-2025-12-31.jsonl", site.path("reports/audit-2020-01-03.jsonl")).unwrap();
    let json = ["--json", "reports/audit-%Y-%m-%d.jsonl"];
    audited(&site, &index, &[&json[..], &["--keep", "3"]].concat()).exits(0);
    let mut expected: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
    expected.extend(["audit-2020-01-02.jsonl", "audit-2020-01-03.jsonl"].map(str::to_owned));
    expected.extend(dated[1..].iter().map(|name| (*name).to_owned()));
    let new: Vec<String> = reports(&site).into_iter().filter(|name| !expected.contains(name)).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    assert!(report(&site, &new[0]).contains("\"level\":\"exists\""));
    assert_eq!(reports(&site).len(), expected.len() + 1, "{:?}", reports(&site));
    // Without --keep nothing is pruned; an interrupted audit prunes nothing.
    audited(&site, &index, &json).exits(0);
    lose(&site, "1.1.1");
    interrupted(&site, &index, &[&json[..], &["--keep", "1"]].concat());
    assert_eq!(reports(&site).len(), expected.len() + 1);
}

#[test]
fn reports_of_each_kind_are_dated_and_pruned_by_the_time_in_their_names() {
    let (site, index) = indexed();
    for (n, pattern) in ["a-%F.csv", "b-%Y%m%d-%H%M%S.html", "plan-%d.%m.%Y.jsonl", "c-%Y-%m.jsonl"].iter().enumerate()
    {
        let option = ["--csv", "--html", "--plan", "--json"][n];
        let old = ["a-2026-01-02.csv", "b-20260102-235959.html", "plan-02.01.2026.jsonl", "c-2026-01.jsonl"][n];
        let older = ["a-2025-12-30.csv", "b-20260102-000000.html", "plan-30.12.2025.jsonl", "c-2025-12.jsonl"][n];
        [old, older].iter().for_each(|name| fs::write(site.path("reports").join(name), b"").unwrap());
        audited(&site, &index, &[option, &format!("reports/{pattern}"), "--keep", "2"]).exits(0);
        assert!(site.path("reports").join(old).exists() && !site.path("reports").join(older).exists(), "{pattern}");
    }
    assert_eq!(reports(&site).len(), 8);
}

#[test]
fn keep_deletes_neither_an_edited_plan_nor_a_file_that_is_no_report() {
    let (site, index) = indexed();
    let notes = site.path("reports/audit-2025-12-30.jsonl");
    fs::write(&notes, "notes of a person\n").unwrap();
    audited(&site, &index, &["--plan", "reports/plan-2025-12-30.jsonl"]);
    let edited = site.path("reports/plan-2025-12-30.jsonl");
    let plan = fs::read_to_string(&edited).unwrap();
    fs::write(&edited, plan + "\n").unwrap();
    let reports = ["--json", "reports/audit-%F.jsonl", "--plan", "reports/plan-%F.jsonl", "--keep", "1"];
    audited(&site, &index, &reports).exits(0);
    assert!(notes.exists() && edited.exists());
}

#[test]
fn keep_needs_a_report_with_a_date() {
    let (site, index) = indexed();
    let refused: [&[&str]; 6] = [
        &["--keep", "3"],
        &["--keep", "3", "--json", "reports/audit.jsonl"],
        &["--keep", "3", "--json", "reports/audit-%H.jsonl"],
        &["--keep", "0", "--json", "reports/audit-%F.jsonl"],
        &["--json", "reports/audit-%K.jsonl"],
        &["--json", "reports/audit-%D.jsonl"],
    ];
    for more in refused {
        let failed = audited(&site, &index, more).exits(2);
        assert!(failed.err.contains("--keep") || failed.err.contains("--json"), "{more:?}: {}", failed.err);
    }
    assert_eq!(reports(&site), [""; 0]);
    audited(&site, &index, &["--json", "reports/100%%.jsonl"]).exits(0);
    assert_eq!(reports(&site), ["100%.jsonl"]);
}

#[test]
fn a_plan_that_was_edited_is_not_replaced() {
    let (site, index) = indexed();
    index.execute("UPDATE series SET instances = 9");
    index.execute("UPDATE study SET reviewed = ''");
    let plan = ["--plan", "reports/plan.jsonl"];
    audited(&site, &index, &plan).exits(1);
    let untouched = report(&site, "plan.jsonl");
    audited(&site, &index, &plan).exits(1);
    assert_eq!(report(&site, "plan.jsonl"), untouched);
    let lines: Vec<&str> = untouched.lines().collect();
    assert!(lines.len() > 3, "{untouched}");
    let edited = [
        untouched.replacen("\"enabled\":false", "\"enabled\":true", 1),
        lines[..lines.len() - 1].join("\n") + "\n",
        untouched.clone() + "\n",
        lines[1..].join("\n") + "\n",
    ];
    for edited in edited {
        assert_ne!(edited, untouched);
        fs::write(site.path("reports/plan.jsonl"), &edited).unwrap();
        let failed = audited(&site, &index, &plan).exits(2);
        assert!(failed.err.contains("--plan reports/plan.jsonl"), "{}", failed.err);
        assert_eq!(report(&site, "plan.jsonl"), edited);
    }
}

#[test]
fn a_table_of_studies_cannot_run_a_formula_in_a_spreadsheet() {
    let (site, index) = indexed();
    let uids = ["=HYPERLINK(\"http://x\")", "+1", "-1+1", "@SUM(1,2)", "\tx", "\rx", "1,2", "a\"b", "\u{ff1d}1"];
    for (n, uid) in uids.iter().enumerate() {
        let [series, image] = [format!("9.{n}"), format!("9.{n}.1")];
        index.execute(&format!("INSERT INTO study (uuid, patientid, private) VALUES ('{uid}', 'T1', 0)"));
        index.execute(&format!("INSERT INTO series (uuid, studyuid, modality) VALUES ('{series}', '{uid}', 'CT')"));
        let path = site.archive().join("lost").join(&image);
        index.execute(&format!(
            "INSERT INTO image (uuid, seriesuid, path) VALUES ('{image}', '{series}', '{}')",
            path.display()
        ));
    }
    audited(&site, &index, &["--csv", "reports/a.csv"]).exits(1);
    let csv = report(&site, "a.csv");
    for line in [
        "\"'=HYPERLINK(\"\"http://x\"\")\",1,1,0\r\n",
        "'+1,1,1,0\r\n",
        "'-1+1,1,1,0\r\n",
        "\"'@SUM(1,2)\",1,1,0\r\n",
        "\"'\tx\",1,1,0\r\n",
        "\"'\rx\",1,1,0\r\n",
        "\"1,2\",1,1,0\r\n",
        "\"a\"\"b\",1,1,0\r\n",
        "'\u{ff1d}1,1,1,0\r\n",
    ] {
        assert!(csv.contains(line), "{line:?} is not in {csv:?}");
    }
}
