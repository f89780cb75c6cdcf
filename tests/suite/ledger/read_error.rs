//! Files that one run cannot read or does not look for, and a later run reads: the rows do not
//! depend on which run read them.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::store::{Reference, STATE, assert_equal, fill, finished, random, size};
use crate::killed::{PER_SERIES, PER_STUDY, path_of};
use crate::support::failing_disk::{FailingDisk, Failure};
use crate::support::random::Random;
use crate::support::{Index, ROOT_UID, Said, Site, walk};

/// A site that any user can reach, and the number of files in its archive.
struct OpenSite {
    site: Site,
    files: u32,
}

impl OpenSite {
    fn new() -> Self {
        let (site, files) = (Site::new(), size(0, 0).0);
        fill(&site, files);
        OpenSite { site, files }
    }

    fn numbers(&self, mut is_meant: impl FnMut(u32) -> bool) -> Vec<u32> {
        (0..self.files).filter(|n| is_meant(*n)).collect()
    }
}

/// Runs as a user who is subject to permissions, even if the tests run as root.
fn reindex(site: &Site, index: &Index, roots: &[PathBuf], more: &[&str]) -> Said {
    let _ = fs::remove_file(site.path("rejected.jsonl"));
    let mut command = site.program_as_nobody(&["reindex", "--index", &index.url, "--quiet", "--state", "state"]);
    finished(Said::of(command.args(["--rejected", "rejected.jsonl"]).args(roots).args(more)))
}

/// Compares an undisturbed run with a first run over a part of the files followed by a second one
/// over all, on both databases.
fn compare(site: &Site, what: &str, first: impl Fn(&Index), second: impl Fn(&Index)) -> u32 {
    let mut lost = 0;
    for make in [Site::sqlite, Index::mariadb as fn(&Site) -> Index] {
        let fresh_index = || {
            let _ = (fs::remove_dir_all(site.path("state")), fs::remove_file(site.path("index.db")));
            make(site)
        };
        let index = fresh_index();
        second(&index);
        let expected = index.dump();
        drop(index);
        let index = fresh_index();
        first(&index);
        let images = index.count("image");
        second(&index);
        lost += u32::from(images < index.count("image"));
        assert_equal(&expected, &index.dump(), what);
    }
    lost
}

fn set_mode(site: &Site, files: &[u32], mode: u32) {
    for n in files {
        fs::set_permissions(site.archive().join(path_of(*n)), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Tests files that are unreadable in the first run and readable in the second.
fn is_read_by_the_next_run(what: &str, is_meant: impl FnMut(u32) -> bool) {
    let open = OpenSite::new();
    let (site, files) = (&open.site, open.numbers(is_meant));
    let roots = [site.archive()];
    let first = |index: &Index| {
        set_mode(site, &files, 0);
        let said = reindex(site, index, &roots, &["--min-age", "0s"]);
        set_mode(site, &files, 0o644);
        assert_eq!(said.figure("unreadable"), files.len() as u64, "{}", said.out);
    };
    let second = |index: &Index| drop(reindex(site, index, &roots, &["--min-age", "0s"]));
    assert_eq!(compare(site, what, first, second), 2, "{what}: the first run lacked no image");
}

#[test]
fn first_files_of_series_that_the_next_run_reads_count_as_if_the_first_had_read_them() {
    is_read_by_the_next_run("the first of each series", |n| n % PER_SERIES == 0);
}

#[test]
fn last_files_of_series_that_the_next_run_reads_count_as_if_the_first_had_read_them() {
    is_read_by_the_next_run("the last of each series", |n| n % PER_SERIES >= PER_SERIES - 3);
}

#[test]
fn files_that_name_their_patient_count_whichever_run_reads_them() {
    // The first run learns two of the three names in each study.
    is_read_by_the_next_run("one name of three", |n| n % 3 == 0);
}

#[test]
fn any_files_that_the_next_run_reads_count_as_if_the_first_had_read_them() {
    let mut random = random();
    is_read_by_the_next_run("a twentieth", |_| random.below(20) == 0);
}

#[test]
fn most_files_that_the_next_run_reads_count_as_if_the_first_had_read_them() {
    is_read_by_the_next_run("all but a few", |n| n % PER_STUDY != 5);
}

#[test]
fn young_files_that_the_next_run_takes_count_as_if_the_first_had_read_them() {
    let open = OpenSite::new();
    let (site, files) = (&open.site, open.numbers(|n| n % 3 == 0 || n % 7 == 0));
    let roots = [site.archive()];
    let modified = |n: u32| fs::metadata(site.archive().join(path_of(n))).unwrap().modified().unwrap();
    let times: Vec<SystemTime> = files.iter().map(|n| modified(*n)).collect();
    let set = |n: u32, time: SystemTime| {
        fs::OpenOptions::new().write(true).open(site.archive().join(path_of(n))).unwrap().set_modified(time).unwrap();
    };
    let settle = ["--min-age", "1h"];
    let first = |index: &Index| {
        files.iter().for_each(|n| set(*n, SystemTime::now() - Duration::from_secs(60)));
        let said = reindex(site, index, &roots, &settle);
        files.iter().zip(&times).for_each(|(n, time)| set(*n, *time));
        assert_eq!(said.figure("left to the PACS (young)"), files.len() as u64, "{}", said.out);
    };
    let second = |index: &Index| drop(reindex(site, index, &roots, &settle));
    assert_eq!(compare(site, "young files", first, second), 2);
}

#[test]
fn files_of_a_second_root_count_as_if_the_first_run_had_read_them() {
    let open = OpenSite::new();
    let site = &open.site;
    // The second root contains a third of the files of each series.
    let roots = [site.archive(), site.path("second")];
    move_files(site, &open.numbers(|n| n % 3 == 0), &roots[1]);
    let run = |index: &Index, roots: &[PathBuf]| {
        drop(reindex(site, index, roots, &["--min-age", "0s", "--allow-unmapped-paths"]));
    };
    assert_eq!(compare(site, "a second root", |index| run(index, &roots[..1]), |index| run(index, &roots)), 2);
}

#[test]
fn files_from_before_a_day_count_as_if_the_first_run_had_read_them() {
    let open = OpenSite::new();
    let site = &open.site;
    // A part of the files of each study is in a directory of an earlier day.
    move_files(site, &open.numbers(|n| n % 4 == 0), &site.archive().join("2021-11-02-TUE"));
    let roots = [site.archive()];
    let run = |index: &Index, more: &[&str]| drop(reindex(site, index, &roots, &[&["--min-age", "0s"], more].concat()));
    let first = |index: &Index| run(index, &["--since", "2021-11-09"]);
    assert_eq!(compare(site, "--since", first, |index| run(index, &[])), 2);
}

fn move_files(site: &Site, files: &[u32], directory: &Path) {
    for n in files {
        let target = directory.join(path_of(*n));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::rename(site.archive().join(path_of(*n)), target).unwrap();
    }
}

/// The first run indexes the oldest file of each instance. The second one finds two newer ones,
/// mostly in different batches.
#[test]
fn the_best_of_several_files_that_the_next_run_reads_is_indexed_whichever_it_reads_first() {
    const DIRECTORIES: [&str; 3] = ["2021-11-10-WED", "2021-11-11-THU", "2021-11-12-FRI"];
    for (make, ages) in [(Site::sqlite as fn(&Site) -> Index, [3, 2, 1]), (Index::mariadb, [3, 1, 2])] {
        let site = Site::in_memory();
        for (directory, age) in DIRECTORIES.into_iter().zip(ages) {
            for n in 0..700_u32 {
                let change =
                    json!({"SOPInstanceUID": format!("{ROOT_UID}.1.1.{n}"), "InstanceNumber": age.to_string()});
                let path = format!("{directory}/{n}");
                site.add(&path, change);
                let file = fs::OpenOptions::new().write(true).open(site.archive().join(path)).unwrap();
                file.set_modified(SystemTime::now() - Duration::from_secs(86_400 * age)).unwrap();
            }
        }
        let reference = Reference::of(site, make);
        let index = reference.fresh_index();
        let first = reference.site.archive().join(DIRECTORIES[0]);
        finished(reference.site.reindex_root(&first, &index, &STATE));
        let said = reference.rerun(&index, &["--io-threads", "1", "--insert-order", "found"]);
        assert_eq!(said.figure("inserted"), 0, "{}", said.out);
        reference.assert_reached(&index.dump(), &format!("ages {ages:?}"));
    }
}

/// Moves the archive of a site to a disk on which reads can be made to fail. Returns `None` if this
/// system has no FUSE or does not allow it.
fn mount_archive(site: &Site) -> Option<FailingDisk> {
    let source = site.path("source");
    fs::rename(site.archive(), &source).unwrap();
    fs::create_dir(site.archive()).unwrap();
    // Written to stderr directly, because the test harness hides the output of tests that pass.
    let not_run = |error| writeln!(io::stderr(), "\n*** NOT RUN: a file system cannot be mounted: {error} ***\n");
    FailingDisk::mount(&source, &site.archive()).map_err(not_run).ok()
}

/// Makes about one in `rarity` files unreadable, and one directory. Returns the failures by their
/// paths below the archive.
fn bad_blocks(random: &mut Random, files: &[(PathBuf, u64)], rarity: usize) -> HashMap<PathBuf, Failure> {
    let mut failures = HashMap::new();
    for (path, size) in files {
        if random.below(rarity) == 0 {
            let failure = match random.below(4) {
                0 => Failure::Stat,
                1 => Failure::Open,
                2 => Failure::Read(0),
                // These files contain only their headers.
                _ => Failure::Read(1 + random.below(*size as usize - 1) as u64),
            };
            failures.insert(path.clone(), failure);
        }
    }
    let (path, _) = &files[random.below(files.len())];
    failures.insert(path.parent().unwrap().to_owned(), Failure::Open);
    failures
}

/// Returns the failing call, without the offset.
fn kind(failure: &Failure) -> &'static str {
    match failure {
        Failure::Stat => "stat",
        Failure::Open => "open",
        Failure::Read(0) => "first read",
        Failure::Read(_) => "later read",
    }
}

fn io_errors_of_one_run(make: fn(&Site) -> Index) {
    let (files, rounds) = size(2, 10);
    let mut reference = Reference::new(files, make);
    let Some(disk) = mount_archive(&reference.site) else { return };
    let source = reference.site.path("source");
    let size_of = |file: &PathBuf| fs::metadata(file).unwrap().len();
    let below = |file: PathBuf| (file.strip_prefix(&source).unwrap().to_owned(), size_of(&file));
    let mut files: Vec<_> = walk(&source).into_iter().map(below).collect();
    files.sort();
    for round in 0..rounds {
        let index = reference.fresh_index();
        let rarity = [40, 2, 10][round as usize % 3];
        disk.fail(bad_blocks(&mut reference.random, &files, rarity));
        let said = reference.rerun(&index, &[]);
        let errors = disk.errors();
        let kinds: BTreeSet<_> = errors.values().map(kind).collect();
        assert_eq!(kinds.len(), 4, "{kinds:?}");
        let failed = errors.keys().filter(|path| source.join(path).is_file()).count() as u64;
        assert_eq!((said.exit, said.figure("unreadable or vanished")), (1, failed), "{}", said.out);
        println!("round {round}: {failed} files had errors; {} of {} images", index.count("image"), reference.images());
        assert!((index.count("image") as usize) < reference.images());
        disk.fail(HashMap::new());
        let said = reference.rerun(&index, &[]);
        assert_eq!(said.figure("unreadable or vanished"), 0, "{}", said.out);
        reference.assert_reached(&index.dump(), &format!("round {round}"));
    }
}

#[test]
fn files_with_io_errors_in_one_run_into_sqlite_count_in_the_next_as_if_the_first_had_read_them() {
    io_errors_of_one_run(Site::sqlite);
}

#[test]
fn files_with_io_errors_in_one_run_into_mariadb_count_in_the_next_as_if_the_first_had_read_them() {
    io_errors_of_one_run(Index::mariadb);
}
