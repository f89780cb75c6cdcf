//! Commands other than `reindex` of whole roots, killed between such runs: they own the rows that
//! they write, too.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::store::{Reference, STATE, fill, finished, size};
use crate::killed::path_of;
use crate::support::{Index, PASSWORD, Said, Site};

/// Constructors of an index in both databases.
const MAKE: [fn(&Site) -> Index; 2] = [Site::sqlite, Index::mariadb];

/// Returns a command of the program with the state directory of the runs.
fn command(site: &Site, index: &Index, arguments: &[&str]) -> Command {
    let mut command = site.program(arguments);
    command.args(["--index", &index.url]).env("PACS_INDEX_PASSWORD", PASSWORD);
    command.env("PACS_INDEX_STATE", site.path("state"));
    command
}

/// Starts a command and kills it once it has inserted a number of images, or a while after the last
/// of them.
fn kill_after(mut command: Command, index: &Index, more: u64) {
    let limit = index.count("image") + more;
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while index.count("image") < limit && run.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(30)
    {
        sleep(Duration::from_millis(2));
    }
    let _ = run.kill();
    run.wait().unwrap();
}

/// Returns a reference, and a random half of its instances, each with all of its files.
fn reference_and_half(make: fn(&Site) -> Index) -> (Reference, Vec<PathBuf>, Vec<u32>) {
    let site = Site::in_memory();
    let instances = fill(&site, size(0, 0).0);
    let mut random = super::store::random();
    let mut groups: Vec<_> = instances.into_values().collect();
    groups.sort();
    let half: Vec<Vec<u32>> = groups.into_iter().filter(|_| random.below(2) == 0).collect();
    let single = half.iter().filter(|files| files.len() == 1).flatten().copied().collect();
    let files = half.iter().flatten().map(|n| site.archive().join(path_of(*n))).collect();
    (Reference::of(site, make), files, single)
}

#[test]
fn runs_over_a_list_of_files_that_are_killed_between_runs_over_all_leave_the_same_rows() {
    for make in MAKE {
        let (mut reference, files, _) = reference_and_half(make);
        let list: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
        fs::write(reference.site.path("list"), list).unwrap();
        for round in 0..size(1, 10).1 {
            let index = reference.fresh_index();
            let more = 100 + reference.random.below(800) as u64;
            let some_files = || {
                reference.site.reindexing(
                    &reference.site.archive(),
                    &index,
                    &[&STATE[..], &["--files", "list"]].concat(),
                )
            };
            // Rounds alternate between starting with the list and starting with the whole archive.
            if round % 2 == 0 {
                kill_after(some_files(), &index, more);
                reference.kill_a_run_at(&index, 0.6);
            } else {
                reference.kill_a_run_at(&index, 0.3);
                kill_after(some_files(), &index, more);
            }
            finished(Said::of(&mut some_files()));
            reference.rerun(&index, &[]);
            reference.assert_reached(&index.dump(), &format!("round {round}"));
        }
    }
}

#[test]
fn imports_that_are_killed_between_runs_leave_the_same_rows() {
    for make in MAKE {
        let (mut reference, _, singles) = reference_and_half(make);
        // A part of the instances of each series comes from a medium.
        for n in singles.iter().step_by(3) {
            let target = reference.site.path("cd").join(path_of(*n));
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::rename(reference.site.archive().join(path_of(*n)), target).unwrap();
        }
        let fresh = |reference: &Reference| {
            // Imports of earlier rounds have filed their copies in directories by study.
            for entry in fs::read_dir(reference.site.archive()).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.file_name().unwrap().to_string_lossy().starts_with("1.3.6") {
                    fs::remove_dir_all(entry).unwrap();
                }
            }
            reference.fresh_index()
        };
        let import = |reference: &Reference, index: &Index| {
            let arguments = ["import", "cd", "--archive", "archive", "--layout", "study", "--quiet"];
            command(&reference.site, index, &[&arguments[..], &STATE].concat())
        };
        for round in 0..size(1, 10).1 {
            let index = fresh(&reference);
            let more = 50 + reference.random.below(300) as u64;
            if round % 2 == 0 {
                kill_after(import(&reference, &index), &index, more);
                reference.kill_a_run_at(&index, 0.5);
            } else {
                reference.kill_a_run_at(&index, 0.5);
                kill_after(import(&reference, &index), &index, more);
            }
            finished(Said::of(&mut import(&reference, &index)));
            reference.rerun(&index, &[]);
            // Copies have the received times of their import, so each round needs its own
            // reference.
            let dump = index.dump();
            drop(index);
            let index = reference.fresh_index();
            reference.rerun(&index, &[]);
            super::store::assert_equal(&index.dump(), &dump, &format!("round {round}"));
        }
    }
}

#[test]
fn repairs_that_insert_rows_and_are_killed_between_runs_leave_the_same_rows() {
    for make in MAKE {
        let (mut reference, _, _) = reference_and_half(make);
        for round in 0..size(1, 10).1 {
            let index = reference.fresh_index();
            let archive = reference.site.archive().display().to_string();
            let part = 0.1 + 0.4 * reference.random.below(100) as f64 / 100.0;
            reference.kill_a_run_at(&index, part);
            let plan = [
                "audit",
                &archive,
                "--recheck-after",
                "0s",
                "--quiet",
                "--check",
                "unindexed-file",
                "--plan",
                "plan.jsonl",
            ];
            let _ = fs::remove_file(reference.site.path("plan.jsonl"));
            Said::of(&mut command(&reference.site, &index, &plan)).exits(1);
            for undo in ["undo-1.jsonl", "undo-2.jsonl"] {
                let _ = fs::remove_file(reference.site.path(undo));
            }
            let repair = |undo: &str| {
                command(
                    &reference.site,
                    &index,
                    &["repair", "plan.jsonl", "--yes", "--root", &archive, "--undo-file", undo],
                )
            };
            kill_after(repair("undo-1.jsonl"), &index, 50 + u64::from(round) * 37 % 300);
            let images = index.count("image");
            if round % 2 == 0 {
                finished(Said::of(&mut repair("undo-2.jsonl")));
                // The first repair may have finished before it was killed.
                let has_missing = (images as usize) < reference.images();
                assert!(!has_missing || index.count("image") > images, "the second repair inserted nothing");
            }
            reference.rerun(&index, &[]);
            reference.assert_reached(&index.dump(), &format!("round {round}"));
        }
    }
}
