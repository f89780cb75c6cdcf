//! Kept files that a run has no permission to open: they may be intact, so the run leaves them
//! unchanged and continues without them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::support::walk;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs a command while each kept file of a kind, or the directory itself, cannot be opened.
/// `check` checks a run; its second argument is true if the run reads the kept files.
fn each_unreadable(site: &Site, kind: &str, files: &[&str], run: impl Fn() -> Said, check: impl Fn(&Said, bool)) {
    let directory = site.kept("kept", kind);
    for file in files {
        let path = if file.is_empty() { directory.clone() } else { directory.join(file) };
        let (mode, bytes) = (fs::metadata(&path).unwrap().permissions().mode(), fs::read(&path).ok());
        let all_names = || [walk(&site.path("kept")), vec![directory.clone()]].concat();
        let before = all_names();
        set_mode(&path, 0o000);
        for _ in 0..2 {
            let done = run();
            let context = format!("{file:?}: {}{}", done.out, done.err);
            assert!(done.err.contains("cannot be read"), "{context}");
            assert!(done.err.contains("continues without it") && done.err.lines().count() == 1, "{context}");
            check(&done, false);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o000, "{context}");
            assert_eq!(fs::read(&path).ok(), bytes, "{context}");
            assert_eq!(all_names(), before, "{context}");
        }
        set_mode(&path, mode);
        let done = run();
        assert_eq!(done.err, "", "{file:?}");
        check(&done, true);
    }
}

#[test]
fn a_journal_that_cannot_be_opened_is_left_unchanged() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    let reindex = || {
        let mut command = site.program_as_nobody(&["reindex", "archive", "--index", &index.url, "--quiet"]);
        said(command.args(["--min-age", "0s", "--state", "kept", "--rejected", "list"]))
    };
    for _ in 0..2 {
        reindex().exits(0);
    }
    let dump = index.dump();
    each_unreadable(&site, "journal", &["about", "log", "states", "lock", ""], reindex, |done, _| {
        assert_eq!((done.exit, done.figure("unchanged"), index.dump() == dump), (0, 10, true), "{}", done.out);
    });
}

#[test]
fn a_shard_whose_records_cannot_be_opened_is_an_error() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    let shard = || {
        let mut command = site.program_as_nobody(&["reindex", "archive", "--quiet", "--min-age", "0s"]);
        said(command.args(["--state", "kept", "--rejected", "list", "--shard", "1/1"]))
    };
    shard().exits(0);
    let log = site.kept("kept", "shard").join("log");
    set_mode(&log, 0o000);
    let failed = shard().exits(2);
    assert!(failed.err.contains("log cannot be read") && failed.err.contains("--state"), "{}", failed.err);
    let merge =
        || said(&mut site.program_as_nobody(&["reindex", "--index", &index.url, "--quiet", "--merge-shards", "kept"]));
    let failed = merge().exits(2);
    assert!(failed.err.contains("ermission denied") && !failed.err.contains("damaged"), "{}", failed.err);
    let about = site.kept("kept", "shard").join("about");
    set_mode(&log, 0o600);
    set_mode(&about, 0o000);
    let failed = merge().exits(2);
    assert!(failed.err.contains("ermission denied") && !failed.err.contains("damaged"), "{}", failed.err);
}

#[test]
fn the_state_of_an_import_that_cannot_be_opened_is_left_unchanged() {
    let site = Site::new();
    archive(&site);
    for n in 1..=4 {
        crate::import::put(&site, &format!("cd/{n}"), json!({"SOPInstanceUID": format!("1.2.{n}")}));
    }
    let index = site.sqlite();
    let import = || {
        let mut command = site.program_as_nobody(&["import", "cd", "--archive", "archive", "--index", &index.url]);
        said(command.args(["--quiet", "--state", "kept", "--rejected", "list"]))
    };
    set_mode(&site.archive(), 0o777);
    // Two imports, so that the catalogue has all of its files.
    for _ in 0..2 {
        import().exits(0);
    }
    let (dump, files) = (index.dump(), walk(&site.archive()).len());
    each_unreadable(&site, "import", &["about", "import", "lock", ""], import, |done, _| {
        assert_eq!((done.exit, index.dump() == dump), (0, true), "{}{}", done.out, done.err);
        assert_eq!(walk(&site.archive()).len(), files, "{}", done.out);
    });
}

#[test]
fn findings_of_the_last_audit_that_cannot_be_opened_are_left_unchanged() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::remove_file(walk(&site.archive()).remove(0)).unwrap();
    set_mode(&site.path("index.db"), 0o666);
    let root = site.archive().display().to_string();
    let audit = || {
        let mut command = site.program_as_nobody(&["audit", &root, "--index", &index.url, "--quiet"]);
        said(command.args(["--recheck-after", "0s", "--state", "kept"]))
    };
    audit().exits(1);
    each_unreadable(&site, "audit", &[""], audit, |done, reads| {
        assert_eq!(done.exit, 1, "{}{}", done.out, done.err);
        assert_eq!(done.out.contains("0 new, 1 still there"), reads, "{}", done.out);
    });
}
