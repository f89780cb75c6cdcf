//! Each kept file, damaged in each way: the run completes with the same rows.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::support::walk;

type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 8] = [
    ("removed", |file| fs::remove_file(file).unwrap()),
    ("empty", |file| fs::write(file, b"").unwrap()),
    ("cut in half", |file| change(file, |bytes| bytes.truncate(bytes.len() / 2))),
    ("garbage", |file| fs::write(file, b"\xff\x00garbage\n".repeat(500)).unwrap()),
    ("text of something else", |file| fs::write(file, b"index sqlite:/other.db\nroot /other\n").unwrap()),
    ("another version", |file| {
        change(file, |bytes| {
            bytes.iter_mut().filter(|byte| byte.is_ascii_digit()).take(20).for_each(|byte| *byte = b'9')
        })
    }),
    ("huge lengths", |file| {
        change(file, |bytes| {
            let from = bytes.len().min(33);
            bytes[from..].iter_mut().for_each(|byte| *byte = 0xff);
        })
    }),
    ("a directory in its place", |file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
        fs::write(file.join("within"), b"x").unwrap();
    }),
];

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

/// Restores a state directory from a copy.
fn restore(site: &Site, from: &str, to: &str) {
    let _ = fs::remove_dir_all(site.path(to));
    for file in walk(&site.path(from)) {
        let target = site.path(to).join(file.strip_prefix(site.path(from)).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, &target).unwrap();
    }
    let mut all = std::process::Command::new("chown");
    let owner = if site.path("pacs-index").exists() { "65534:65534" } else { "0:0" };
    // SAFETY: geteuid only returns a number.
    if unsafe { libc::geteuid() } == 0 {
        assert!(all.args(["-R", owner]).arg(site.path(to)).status().unwrap().success());
    }
}

/// Runs a command with each kept file of a kind damaged in each way. No file of the user is
/// deleted.
fn each_damage(site: &Site, kind: &str, files: &[&str], run: impl Fn(&str)) {
    fs::rename(site.path("kept"), site.path("good")).unwrap();
    for file in files {
        for (damage, apply) in DAMAGES {
            restore(site, "good", "kept");
            let directory = site.kept("kept", kind);
            let file = if file.is_empty() { directory } else { directory.join(file) };
            // The log of a newer program counts as intact.
            let is_newer = damage == "another version" && file.ends_with("log");
            if file.exists() && !is_newer {
                apply(&file);
                run(&format!("{}: {damage}", file.file_name().unwrap().to_string_lossy()));
                let is_lost = damage == "a directory in its place"
                    && !walk(&site.path("kept")).iter().any(|file| file.ends_with("within"));
                assert!(!is_lost, "{}: {damage}: the directory in its place was deleted", file.display());
            }
        }
    }
}

#[test]
fn a_journal_that_is_damaged_in_any_way_costs_time_only() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    let reindex = || {
        let mut command = site.program_as_nobody(&["reindex", "archive", "--index", &index.url, "--quiet"]);
        said(command.args(["--min-age", "0s", "--state", "kept", "--rejected", "list"]))
    };
    // Two runs, so that there is a table of states.
    for _ in 0..2 {
        reindex().exits(0);
    }
    let dump = index.dump();
    each_damage(&site, "journal", &["about", "log", "states", "lock"], |damage| {
        for run in ["the run after it", "a further run"] {
            let done = reindex();
            assert_eq!(done.exit, 0, "{damage}: {run}: {}{}", done.out, done.err);
            assert_eq!((done.figure("unchanged"), index.dump() == dump), (10, true), "{damage}: {run}: {}", done.out);
            assert!(!done.out.contains("could not be kept"), "{damage}: {run}: {}", done.out);
            assert!(done.err.lines().count() <= 1, "{damage}: {run}: {}", done.err);
            if run == "a further run" {
                assert_eq!(done.err, "", "{damage}");
            }
        }
    });
}

#[test]
fn a_journal_whose_directory_is_damaged_costs_time_only() {
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
    let journal = site.kept("kept", "journal");
    fs::remove_dir_all(&journal).unwrap();
    fs::write(&journal, b"a file").unwrap();
    let done = reindex().exits(0);
    assert_eq!((done.figure("unchanged"), index.dump() == dump), (10, true), "{}", done.out);
    assert!(done.err.contains("damaged"), "{}", done.err);
    assert!(walk(&site.path("kept")).iter().any(|file| fs::read(file).is_ok_and(|bytes| bytes == b"a file")));
}

#[test]
fn findings_of_the_last_audit_that_are_damaged_cost_the_comparison_only() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::remove_file(walk(&site.archive()).remove(0)).unwrap();
    fs::set_permissions(site.path("index.db"), fs::Permissions::from_mode(0o666)).unwrap();
    let root = site.archive().display().to_string();
    let audit = || {
        let mut command = site.program_as_nobody(&["audit", &root, "--index", &index.url, "--quiet"]);
        said(command.args(["--recheck-after", "0s", "--state", "kept"]))
    };
    audit().exits(1);
    assert!(audit().exits(1).out.contains("0 new, 1 still there"));
    each_damage(&site, "audit", &[""], |damage| {
        let done = audit();
        assert_eq!(done.exit, 1, "{damage}: {}{}", done.out, done.err);
        assert!(done.out.contains("missing-file"), "{damage}: {}", done.out);
        assert!(!done.out.contains("still there"), "{damage}: {}", done.out);
        assert!(done.err.lines().count() <= 1, "{damage}: {}", done.err);
        let done = audit();
        assert!(done.out.contains("0 new, 1 still there"), "{damage}: {}{}", done.out, done.err);
    });
}

#[test]
fn the_state_of_an_import_that_is_damaged_in_any_way_costs_time_only() {
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
    fs::set_permissions(site.archive(), fs::Permissions::from_mode(0o777)).unwrap();
    import().exits(0);
    let (dump, files) = (index.dump(), walk(&site.archive()).len());
    each_damage(&site, "import", &["about", "import", "lock"], |damage| {
        let done = import();
        assert_eq!(done.exit, 0, "{damage}: {}{}", done.out, done.err);
        assert_eq!((index.dump() == dump, walk(&site.archive()).len()), (true, files), "{damage}: {}", done.out);
        assert_eq!(import().exits(0).err, "", "{damage}");
    });
}

#[test]
fn a_shard_whose_note_is_damaged_is_named_and_can_be_run_again() {
    let site = Site::new();
    for n in 1..=9 {
        site.add_series(&format!("d{n}"), n, 1, 2);
    }
    let index = site.sqlite();
    let shard = |n: u32| {
        let (shard, state) = (format!("{n}/2"), format!("state-{n}"));
        let mut command = site.program(&["reindex", "archive", "--quiet", "--min-age", "0s", "--rejected", "list"]);
        said(command.args(["--shard", &shard, "--state", &state])).exits(0)
    };
    let merge = || site.run(&["reindex", "--index", &index.url, "--quiet", "--merge-shards", "state-1", "state-2"]);
    shard(1);
    shard(2);
    fs::write(site.kept("state-2", "shard").join("about"), b"\xff\xff").unwrap();
    let failed = merge().exits(2);
    assert!(failed.err.contains("state-2") && failed.err.contains("shard"), "{}", failed.err);
    shard(2);
    assert_eq!(merge().exits(0).figure("files found"), 18);
}
