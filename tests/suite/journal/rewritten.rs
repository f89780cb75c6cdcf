//! A log that is rewritten, settings that change, and batches that are killed in unusual places.

use std::fs;
use std::path::{Path, PathBuf};

use crate::conflicts::put;
use crate::support::{Index, PASSWORD, Said, Site, beyond, walk};

use crate::shards::site::*;

/// Makes every file unreadable as DICOM without changing its size or mtime.
fn spoil(directory: &Path) {
    for file in walk(directory) {
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        let length = fs::metadata(&file).unwrap().len() as usize;
        fs::write(&file, vec![b'x'; length]).unwrap();
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    }
}

#[test]
fn a_log_that_was_written_anew_knows_what_it_knew() {
    let site = Site::new();
    for n in 1..=100 {
        put(&site, &format!("a/x/{n}"), 1 + u64::from(n), instance(1 + n / 20, n));
    }
    put(&site, "a/x/twice", 200, instance(1, 1));
    fs::write(
        site.path("a/x/notes"),
        b"no DICOM at all, and longer than a header would need to be so that it is looked at",
    )
    .unwrap();
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
    fs::File::options().write(true).open(site.path("a/x/notes")).unwrap().set_modified(then).unwrap();
    let index = site.sqlite();
    let run = |more: &[&str]| {
        let all = [&["--min-age", "0s", "--state", "one"], more, &["a"]].concat();
        command(&site, &index, "list-one", &all)
    };
    run(&[]).exits(1);
    let (dump, list) = (index.dump(), listed(&site, &["list-one"]));
    let mut length = 0;
    let mut shrunk = 0;
    for n in 0..12 {
        let more: &[&str] = match n % 3 {
            0 => &["--force"],
            1 => &["--force", "--duplicates", "oldest"],
            _ => &["--force", "--duplicates", "first-root"],
        };
        run(more).exits(1);
        let now = fs::metadata(site.kept("one", "journal").join("log")).unwrap().len();
        shrunk += u32::from(now < length);
        length = now;
    }
    assert!(shrunk > 0);
    run(&["--force"]);
    // The last run has the settings of the first one, and therefore the same list.
    assert_eq!(listed(&site, &["list-one"]), list);
    spoil(&site.path("a"));
    for lost in
        ["DELETE FROM image", "DELETE FROM patient", "DELETE FROM series WHERE uuid LIKE '%.2.1'", "DELETE FROM study"]
    {
        index.execute(lost);
        let said = run(&[]).exits(1);
        assert_eq!((index.dump(), listed(&site, &["list-one"])), (dump.clone(), list.clone()), "{lost}: {}", said.out);
        assert_eq!(said.figure("rejected"), 1, "{}", said.out);
    }
}

#[test]
fn a_disk_without_room_for_a_log_that_is_written_anew_loses_nothing() {
    let site = Site::new();
    for n in 1..=100 {
        put(&site, &format!("a/x/{n}"), 1 + u64::from(n), instance(n, 1));
    }
    let index = Index::mariadb(&site);
    let run = |limit: &str, more: &str| {
        let _ = fs::remove_file(site.path("list-one"));
        let script = format!(
            "trap '' XFSZ; ulimit -f {limit}; exec {} reindex a --index {} --quiet --rejected list-one --min-age 0s \
             --state one {more}",
            env!("CARGO_BIN_EXE_pacs-index"),
            index.url
        );
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &script]).current_dir(site.path(".")).env("PACS_INDEX_PASSWORD", PASSWORD).env("TZ", "UTC");
        Said::of(command.env("XDG_STATE_HOME", site.path("state")))
    };
    run("unlimited", "").exits(0);
    for _ in 0..3 {
        run("unlimited", "--force").exits(0);
    }
    // There is space for the table of states, but not for more of the log.
    let said = run("8", "").exits(3);
    assert!(said.err.contains("catalogue-") && said.err.contains("run the same command again"), "{}", said.err);
    run("unlimited", "--force").exits(0);
    // Most of the log is garbage now.
    run("8", "").exits(3);
    let dump = index.dump();
    spoil(&site.path("a"));
    let said = run("unlimited", "").exits(0);
    assert_eq!((said.figure("unchanged"), said.figure("rejected")), (100, 0), "{}", said.out);
    assert_eq!(index.dump(), dump);
}

/// Kills a run that rewrites the log at moments from its start to its end. Afterwards, the next run
/// need not open any file that the log contained, and lost rows come back.
#[test]
fn a_run_that_is_killed_while_it_writes_the_log_anew_knows_what_it_knew() {
    let site = Site::in_memory();
    for n in 0..600 {
        let disagreeing = with(instance(1 + n / 50, n), "StudyDescription", &format!("part {}", n % 7));
        put(&site, &format!("archive/{}/{n}", n / 100), u64::from(n % 30), disagreeing);
    }
    put(&site, "archive/0/twice", 200, instance(1, 1));
    let run = |index: &Index, more: &[&str]| {
        command(&site, index, "list-one", &[&["--min-age", "0s", "--state", "journal"], more, &["archive"]].concat())
    };
    let first = Index::sqlite(site.path("first.db"));
    let url = Index::sqlite(site.path("index.db"));
    for _ in 0..3 {
        run(&url, &["--force"]).exits(1);
    }
    drop(first);
    let dump = url.dump();
    copy(&site, "index.db", "kept.db");
    let good: Vec<(PathBuf, Vec<u8>)> =
        walk(&site.archive()).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    let keep = |from: &str, to: &str| {
        let _ = fs::remove_dir_all(site.path(to));
        let journal = site.kept(from, "journal");
        let target = site.path(to).join(journal.file_name().unwrap());
        fs::create_dir_all(&target).unwrap();
        for name in ["log", "states", "about", "lock"] {
            let _ = fs::copy(journal.join(name), target.join(name));
        }
    };
    keep("journal", "kept");
    let whole = fs::metadata(site.journal("log")).unwrap().len();
    let (mut anew, mut within) = (0, 0);
    for n in 0..30u32 {
        keep("kept", "journal");
        let index = copy(&site, "kept.db", "index.db");
        let mut killed = site.start_reindex(&index, &["--state", "journal", "--force"]);
        let deadline = std::time::Instant::now() + std::time::Duration::from_micros(2000 + 1500 * u64::from(n));
        while std::time::Instant::now() < deadline {}
        if n % 5 == 0 {
            // In the middle of the rewrite.
            while !site.journal("log.new").exists() && !killed.is_over() {}
        }
        killed.kill();
        within += u32::from(site.journal("log.new").exists());
        anew += u32::from(fs::metadata(site.journal("log")).unwrap().len() < whole);
        spoil(&site.archive());
        if n % 2 == 0 {
            index.execute("DELETE FROM image WHERE rowid % 3 = 0");
            index.execute("DELETE FROM series WHERE rowid % 3 = 0");
        }
        let said = run(&index, &[]);
        assert_eq!(said.figure("rejected"), 0, "kill {n}: {}", said.out);
        let now = index.dump();
        assert_eq!((beyond(&dump, &now), beyond(&now, &dump)), (vec![], vec![]), "kill {n}: {}", said.out);
        for (file, bytes) in &good {
            let modified = fs::metadata(file).unwrap().modified().unwrap();
            fs::write(file, bytes).unwrap();
            fs::File::options().write(true).open(file).unwrap().set_modified(modified).unwrap();
        }
    }
    println!("KILL {anew} after the log was written anew, {within} within");
}

/// Settings that change from run to run, most of which are killed; then two runs that are not
/// killed, over unreadable files.
#[test]
fn settings_that_change_between_killed_runs_cost_no_row_and_no_look_into_a_file() {
    let site = Site::in_memory();
    for n in 0..600 {
        let disagreeing = with(instance(1 + n / 50, n), "StudyDescription", &format!("part {}", n % 7));
        put(&site, &format!("archive/{}/{n}", n / 100), u64::from(n % 30), disagreeing);
    }
    put(&site, "archive/0/twice", 200, instance(1, 1));
    let settings: [&[&str]; 5] = [
        &[],
        &["--duplicates", "oldest"],
        &["--patient-conflicts", "merge"],
        &["--received-from", "mtime"],
        &["--since", "2026-01-01"],
    ];
    let good: Vec<(PathBuf, Vec<u8>)> =
        walk(&site.archive()).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    let mut chance = 7u64;
    let mut below = |n: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % n
    };
    for round in 0..12 {
        let _ = (fs::remove_dir_all(site.path("journal")), fs::remove_file(site.path("index.db")));
        let index = site.sqlite();
        let run = |more: &[&str]| {
            command(
                &site,
                &index,
                "list-one",
                &[&["--min-age", "0s", "--state", "journal"], more, &["archive"]].concat(),
            )
        };
        run(&[]).exits(1);
        let dump = index.dump();
        for _ in 0..6 {
            let more = settings[below(5) as usize];
            let run = site.start_reindex(&index, &[&["--state", "journal"], more].concat());
            std::thread::sleep(std::time::Duration::from_millis(2 + below(40)));
            run.kill();
            if below(2) == 0 {
                index.execute("DELETE FROM image WHERE rowid % 3 = 0");
            }
            if below(3) == 0 {
                index.execute("DELETE FROM series WHERE rowid % 3 = 0; DELETE FROM patient");
            }
        }
        spoil(&site.archive());
        for _ in 0..2 {
            let said = run(&[]);
            assert_eq!(said.figure("rejected"), 0, "round {round}: {}", said.out);
        }
        let now = index.dump();
        let nulls = "SELECT (SELECT COUNT(*) FROM series WHERE instances IS NULL) + (SELECT COUNT(*) FROM study WHERE modalities IS NULL)";
        println!("KILL round {round}: {} rows differ, {:?} nulls", beyond(&dump, &now).len(), index.rows(nulls));
        beyond(&dump, &now)
            .iter()
            .zip(beyond(&now, &dump))
            .take(2)
            .for_each(|(a, b)| println!("KILL   {a}\nKILL   {b}"));
        assert_eq!((dump.len(), index.rows(nulls)), (now.len(), vec!["0".to_owned()]));
        for (file, bytes) in &good {
            let modified = fs::metadata(file).unwrap().modified().unwrap();
            fs::write(file, bytes).unwrap();
            fs::File::options().write(true).open(file).unwrap().set_modified(modified).unwrap();
        }
    }
}

#[test]
fn a_run_that_is_killed_when_it_has_just_written_a_series_that_was_lost_settles_it() {
    let site = Site::new();
    let of = |n: u32, text: &str| with(instance(1, n), "SeriesDescription", text);
    put(&site, "a/x/1", 1, of(1, "first"));
    put(&site, "a/x/2", 2, of(2, "last"));
    let index = site.sqlite();
    let run =
        || command(&site, &index, "list-one", &["--min-age", "0s", "--received-from", "mtime", "--state", "one", "a"]);
    run().exits(0);
    assert_eq!(index.rows("SELECT description FROM series"), ["last"]);
    index.execute("DELETE FROM series");
    run();
    // Simulates a run that is killed after the database has committed its batch and before the log
    // records that.
    unmark(&site, "one", "journal");
    let log = site.kept("one", "journal").join("log");
    let mut bytes = fs::read(&log).unwrap();
    let frame = bytes.len() - 13;
    assert_eq!(bytes[frame], 3);
    bytes.truncate(frame);
    fs::write(&log, bytes).unwrap();
    index.execute("UPDATE series SET description = 'first', instances = NULL");
    run();
    assert_eq!(index.rows("SELECT description, instances FROM series"), ["last|2"]);
}

fn myisam(site: &Site) -> Index {
    let index = Index::mariadb(site);
    for table in ["patient", "study", "series", "image"] {
        index.execute(&format!("ALTER TABLE {table} ENGINE = MyISAM"));
    }
    index
}

#[test]
fn a_run_into_myisam_that_is_killed_at_any_moment_goes_on_as_if_it_had_not_been() {
    crate::killed::kill(3000, 6, myisam);
}

#[test]
fn files_that_lost_one_after_the_other_are_listed_as_before_after_a_kill() {
    let site = Site::new();
    let index = site.sqlite();
    // The newest file is read first: each file is better than those before it and has a transaction
    // of its own.
    for n in 1..=4_u64 {
        put(&site, &format!("a/2021-11-1{n}-FRI/{n}"), n, instance(1, 1));
    }
    let options = ["--portion", "1", "--io-threads", "1", "--duplicates", "oldest"];
    let (said, expected) = ordinary(&site, &index, &["a"], &options);
    said.exits(1);
    assert_eq!(expected.len(), 3);
    let rows = index.dump();
    unmark(&site, "one", "journal");
    let (_, found) = again(&site, &index, &["a"], &options);
    assert_same(&expected, &found, "findings");
    assert_eq!(index.dump(), rows);
}
