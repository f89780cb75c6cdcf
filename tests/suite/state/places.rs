//! The location and the contents of the state directory.

use super::*;

#[test]
fn a_service_keeps_its_state_in_the_first_directory_that_systemd_names() {
    let site = Site::new();
    archive(&site);
    let [first, second] = ["first", "second"].map(|name| site.path(name));
    let named = format!("{}:{}", first.display(), second.display());
    let mut command = reindexing(&site, &site.sqlite(), &[]);
    said(without_a_home(&mut command).env("STATE_DIRECTORY", named)).exits(0);
    assert_eq!(names(first), ["catalogue"]);
    assert!(!second.exists());
}

#[test]
fn one_option_moves_everything_that_is_kept() {
    let site = Site::new();
    archive(&site);
    add_text(&site);
    add_medium(&site);
    let index = site.sqlite();
    let root = site.archive().display().to_string();
    let run = |arguments: &[&str], exit: i32| {
        let mut command = site.program(arguments);
        said(without_a_home(&mut command).args(["--index", &index.url, "--quiet", "--state", "kept"])).exits(exit);
    };
    run(&["reindex", "archive", "--min-age", "0s"], 1);
    index.execute("UPDATE series SET modality = 'XX'");
    run(&["reindex", "archive", "--min-age", "0s", "--existing", "refresh"], 1);
    run(&["audit", &root, "--recheck-after", "0s"], 0);
    run(&["import", "cd", "--archive", "archive"], 0);
    assert_eq!(names(site.path("kept")), ["audit", "catalogue", "import", "rejected", "undo"]);
    assert!(!site.path("state").exists());
}

#[test]
fn the_environment_names_the_directory_where_no_option_does() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    let with = |variable: &str, more: &[&str]| {
        said(without_a_home(&mut reindexing(&site, &index, more)).env("PACS_INDEX_STATE", variable))
    };
    with("of-environment", &[]).exits(0);
    assert_eq!(names(site.path("of-environment")), ["catalogue"]);
    with("not-this", &["--state", "of-option"]).exits(0);
    assert_eq!(names(site.path("of-option")), ["catalogue"]);
    assert!(!site.path("not-this").exists());
    // An empty variable counts as unset.
    let mut command = reindexing(&site, &index, &[]);
    said(command.env("PACS_INDEX_STATE", "").env("STATE_DIRECTORY", "")).exits(0);
    assert_eq!(names(site.path("state/pacs-index")), ["catalogue"]);
}

#[test]
fn without_any_directory_the_error_names_the_option() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    let root = site.archive().display().to_string();
    let failed = said(without_a_home(&mut reindexing(&site, &index, &[]))).exits(2);
    assert!(failed.err.contains("--state DIR") && failed.err.contains("PACS_INDEX_STATE"), "{}", failed.err);
    assert!(!site.path("index.db").exists());
    said(&mut reindexing(&site, &index, &[])).exits(0);
    let mut audit = site.program(&["audit", &root, "--index", &index.url, "--recheck-after", "0s"]);
    let failed = said(without_a_home(&mut audit)).exits(2);
    assert!(failed.err.contains("--state DIR"), "{}", failed.err);
}

#[test]
fn a_command_that_keeps_nothing_needs_no_directory() {
    let site = Site::new();
    archive(&site);
    add_medium(&site);
    let index = site.sqlite();
    let run = |arguments: &[&str]| {
        let mut command = site.program(arguments);
        said(without_a_home(&mut command).args(["--index", &index.url]))
    };
    run(&["reindex", "archive", "--quiet", "--min-age", "0s", "--dry-run", "--rejected", "list"]).exits(0);
    run(&["import", "cd", "--list"]).exits(0);
    said(&mut reindexing(&site, &index, &[])).exits(0);
    site.add("2021-11-12-FRI/1.2.9", json!({"SOPInstanceUID": "1.2.9"}));
    let root = site.archive().display().to_string();
    run(&["audit", &root, "--recheck-after", "0s", "--quiet", "--plan", "plan", "--baseline", "last"]).exits(1);
    run(&["repair", "plan", "--undo-file", "undo", "--root", &root, "--yes"]).exits(0);
    assert_eq!(index.rows("SELECT COUNT(*) FROM image WHERE uuid = '1.2.9'"), ["1"]);
}

#[test]
fn one_directory_serves_several_indexes() {
    let site = Site::new();
    archive(&site);
    for name in ["one.db", "other.db"] {
        let index = Index::sqlite(site.path(name));
        let first = said(&mut reindexing(&site, &index, &["--state", "kept"])).exits(0);
        assert_eq!(first.figure("inserted"), 10, "{}", first.out);
        let second = said(&mut reindexing(&site, &index, &["--state", "kept"])).exits(0);
        assert_eq!(second.figure("unchanged"), 10, "{}", second.out);
    }
    let journals = fs::read_dir(site.path("kept"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("catalogue-"));
    assert_eq!(journals.count(), 2);
}

#[test]
fn a_directory_that_cannot_be_used_is_named_with_the_option() {
    let site = Site::new();
    archive(&site);
    add_medium(&site);
    fs::write(site.path("file"), b"mine").unwrap();
    let index = site.sqlite();
    let root = site.archive().display().to_string();
    let commands: [&[&str]; 3] = [
        &["reindex", "archive", "--min-age", "0s"],
        &["import", "cd", "--archive", "archive"],
        &["audit", &root, "--recheck-after", "0s"],
    ];
    for (n, arguments) in commands.iter().enumerate() {
        if n == 2 {
            said(&mut reindexing(&site, &index, &[])).exits(0);
        }
        for directory in ["file", "file/below", "/proc/pacs-index"] {
            let arguments = [arguments, &["--quiet", "--index", &index.url, "--state", directory][..]].concat();
            let failed = site.run(&arguments).exits(2);
            assert!(failed.err.contains(&format!("--state {directory}")), "{arguments:?}: {}", failed.err);
            let mut command = site.program(&arguments[..arguments.len() - 2]);
            let failed = said(command.env("PACS_INDEX_STATE", directory)).exits(2);
            assert!(failed.err.contains(&format!("PACS_INDEX_STATE={directory}")), "{arguments:?}: {}", failed.err);
        }
        assert_eq!(site.path("index.db").exists(), n == 2, "{arguments:?}");
    }
    assert_eq!(fs::read(site.path("file")).unwrap(), b"mine");
}

#[test]
fn a_merge_finds_the_shards_in_the_directories_of_state() {
    let site = Site::new();
    for n in 1..=9 {
        site.add_series(&format!("d{n}"), n, 1, 2);
    }
    for states in [&["shared", "shared"], &["one", "two"]] {
        let index = Index::sqlite(site.path(&format!("{}.db", states[0])));
        for (n, state) in states.iter().enumerate() {
            let shard = format!("{}/2", n + 1);
            let mut command = site.program(&["reindex", "archive", "--quiet", "--min-age", "0s", "--rejected", "list"]);
            said(command.args(["--shard", &shard, "--state", state])).exits(0);
        }
        let mut directories = states.to_vec();
        directories.dedup();
        let mut command = site.program(&["reindex", "--index", &index.url, "--quiet", "--merge-shards"]);
        let finished = said(command.args(&directories)).exits(0);
        assert_eq!(finished.figure("files found"), 18, "{}", finished.out);
    }
    // A shard is missing.
    let index = Index::sqlite(site.path("one.db"));
    let failed = site.run(&["reindex", "--index", &index.url, "--merge-shards", "one"]).exits(2);
    assert!(failed.err.contains("shard 2/2 is missing"), "{}", failed.err);
    let failed = site.run(&["reindex", "--index", &index.url, "--merge-shards", "nowhere"]).exits(2);
    assert!(failed.err.contains("nowhere"), "{}", failed.err);
}

#[test]
fn a_state_directory_within_the_archive_is_refused_however_many_parents_are_missing() {
    let site = Site::new();
    archive(&site);
    std::os::unix::fs::symlink(site.archive(), site.path("link")).unwrap();
    std::os::unix::fs::symlink(site.path("archive/absent"), site.path("dangling")).unwrap();
    let index = site.sqlite();
    let root = site.archive().display().to_string();
    let within = [
        "archive",
        "archive/new",
        "archive/new/state",
        "archive/new/2026/state",
        "link/new/state",
        "archive/../archive/new/state",
        "absent/../archive/new/state",
        "archive/new/../other/state",
        "dangling",
        "dangling/state",
    ];
    let refused = |arguments: &[&str], named: &str| {
        let delay = if arguments[0] == "audit" { "--recheck-after" } else { "--min-age" };
        let said = site.run(&[arguments, &["--index", &index.url, "--quiet", delay, "0s"]].concat()).exits(2);
        assert!(said.err.contains(named) && said.err.contains("is in the archive"), "{arguments:?}: {}", said.err);
        assert_eq!(names(site.archive()), ["2021"], "{arguments:?}");
    };
    for directory in within {
        refused(&["reindex", "archive", "--state", directory], directory);
    }
    refused(&["reindex", "archive", "--rejected", "archive/new/2026/list"], "--rejected");
    refused(&["reindex", "archive", "--rejected", "dangling"], "--rejected");
    said(&mut reindexing(&site, &index, &[])).exits(0);
    for directory in within {
        refused(&["audit", &root, "--state", directory], directory);
    }
    refused(&["audit", &root, "--baseline", "archive/new/2026/last"], "--baseline");
    // Missing parents outside the archive are created.
    for directory in ["archive/../new/2026/state", "archive-2/new/state"] {
        said(&mut reindexing(&site, &index, &["--state", directory])).exits(0);
    }
}

#[test]
fn no_command_writes_a_report_or_an_undo_file_into_the_archive() {
    let site = Site::new();
    archive(&site);
    std::os::unix::fs::symlink(site.archive(), site.path("link")).unwrap();
    let index = site.sqlite();
    said(&mut reindexing(&site, &index, &[])).exits(0);
    let root = site.archive().display().to_string();
    let run = |arguments: &[&str]| site.run(&[arguments, &["--index", &index.url]].concat());
    run(&["audit", &root, "--plan", "plan.jsonl", "--quiet", "--recheck-after", "0s"]).exits(0);
    let before = names(site.archive());
    for file in ["archive/u3.jsonl", "archive/new/u3", "link/u3", "archive/../archive/u3"] {
        let commands: [&[&str]; 7] = [
            &["repair", "plan.jsonl", "--yes", "--undo-file", file],
            &["audit", &root, "--recheck-after", "0s", "--quiet", "--json", file],
            &["audit", &root, "--recheck-after", "0s", "--quiet", "--plan", file],
            &["audit", &root, "--recheck-after", "0s", "--quiet", "--csv", file],
            &["audit", &root, "--recheck-after", "0s", "--quiet", "--html", file],
            &["audit", &root, "--recheck-after", "0s", "--quiet", "--baseline", file],
            &["reindex", "archive", "--min-age", "0s", "--quiet", "--existing", "refresh", "--undo", file],
        ];
        for arguments in commands {
            let said = run(arguments).exits(2);
            assert!(said.err.contains(file) && said.err.contains("is in the archive"), "{arguments:?}: {}", said.err);
            assert_eq!(names(site.archive()), before, "{arguments:?}");
        }
    }
    // A link with a date in its name.
    let dated = jiff::Zoned::now().strftime("report-%Y").to_string();
    std::os::unix::fs::symlink(site.archive().join("report"), site.path(&dated)).unwrap();
    for option in ["--json", "--plan", "--csv", "--html"] {
        let said = run(&["audit", &root, "--recheck-after", "0s", "--quiet", option, "report-%Y"]).exits(2);
        assert!(said.err.contains(option) && said.err.contains("is in the archive"), "{option}: {}", said.err);
    }
}
