//! Virtual archives that are not stored on disk: the requests of the program to a storage unit, and
//! its handling of bad ones.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::virtual_archive::tree::Shape;
use crate::support::virtual_archive::{Behaviour, Options, VirtualArchive};
use crate::support::{Index, Site, walk};

/// Mounts a virtual archive as the archive of a site. Returns `None` if this system has no FUSE or
/// does not allow it.
fn mount(site: &Site, options: Options) -> Option<VirtualArchive> {
    let mounted = VirtualArchive::mount(&site.archive(), options);
    // Written to stderr directly, because the test harness hides the output of tests that pass.
    let not_run = |error| writeln!(io::stderr(), "\n*** NOT RUN: a virtual archive cannot be mounted: {error} ***\n");
    mounted.map_err(not_run).ok()
}

/// A hundred files per day. The kernel caches names and attributes for longer than any test runs.
fn options(files: u64) -> Options {
    let mut options = Options::new(files);
    options.tree.per_day = 100;
    options.ttl = Duration::from_secs(3600);
    options
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

#[test]
fn each_file_is_looked_up_opened_and_read_once() {
    let site = Site::new();
    let Some(archive) = mount(&site, options(300)) else { return };
    let index = site.sqlite();
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!((said.figure("files found"), said.figure("inserted")), (300, 300));
    let counts = archive.counts();
    assert_eq!(count(&counts.open), 300);
    // The kernel repeats an interrupted read, for example if the machine was suspended.
    let reads = count(&counts.read);
    assert!((300..=303).contains(&reads), "a header ends within what is read first: {reads} reads");
    assert_eq!(count(&counts.lookup), 300 + 3, "each file and each day");
    assert!(count(&counts.getattr) < 10, "what came with the lookup is not asked again: {}", counts.to_json());
}

#[test]
fn the_index_tells_what_stands_in_files_that_were_never_written() {
    let site = Site::new();
    let Some(_archive) = mount(&site, options(700)) else { return };
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let counts = ["patient", "study", "series", "image"].map(|table| index.count(table));
    assert_eq!(counts, [2, 3, 7, 700], "series of a hundred, three in a study, two studies of a patient");
    let row = "SELECT image.instance, series.seriesnumber, series.modality, image.numrows, study.id, study.studydate, \
               study.received, patient.origid, patient.lastname, patient.firstname FROM image \
               JOIN series ON series.uuid = seriesuid JOIN study ON study.uuid = studyuid \
               JOIN patient ON patient.origid = patientid WHERE image.uuid LIKE '%.1000000623'";
    assert_eq!(
        index.rows(row),
        ["24|1|MR|256|2|2010-01-07|2010-01-07 19:52:48|P0000000001|Patient0000000001|Given"],
        "the study was received when its last file was"
    );
}

#[test]
fn every_name_that_is_listed_leads_to_its_file() {
    for (per_day, per_directory, random_uids) in [(1000, None, false), (7, Some(3), false), (100, Some(1), true)] {
        let site = Site::new();
        let mut options = options(500);
        options.tree.per_day = per_day;
        options.tree.per_directory = per_directory;
        options.tree.random_uids = random_uids;
        let Some(archive) = mount(&site, options) else { return };
        let files = walk(archive.path());
        assert_eq!(files.len(), 500);
        for file in files {
            let uid = file.file_name().unwrap().to_str().unwrap().as_bytes();
            let mut start = [0; 1024];
            File::open(&file).unwrap().read_exact_at(&mut start, 0).unwrap();
            assert!(start.windows(uid.len()).any(|bytes| bytes == uid), "{} holds its own UID", file.display());
        }
        let unknown = fs::metadata(archive.path().join("2010-01-01-FRI/1.3.6.1.4.1.32473.6.1.1.1000000500"));
        assert_eq!(unknown.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

#[test]
fn files_that_are_gone_or_cannot_be_read_are_counted_and_the_others_indexed() {
    let site = Site::new();
    let mut options = options(200);
    options.behaviour = Arc::new(|file| match file % 10 {
        3 => Behaviour::Vanished,
        7 => Behaviour::Broken,
        8 => Behaviour::Slow(Duration::from_millis(20)),
        _ => Behaviour::Ordinary,
    });
    let Some(_archive) = mount(&site, options) else { return };
    let index = site.sqlite();
    let said = site.reindex(&index, &[]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("unreadable or vanished")), (160, 40));
}

#[test]
fn a_file_whose_data_lie_elsewhere_shows_it_and_a_read_brings_them_back() {
    let site = Site::new();
    let mut options = options(2);
    let recall = Duration::from_millis(50);
    options.behaviour = Arc::new(move |file| if file == 0 { Behaviour::Offline(recall) } else { Behaviour::Ordinary });
    let Some(archive) = mount(&site, options) else { return };
    let mut files = walk(archive.path());
    files.sort();
    let blocks = |file: &PathBuf| fs::metadata(file).map(|metadata| (metadata.size() > 0, metadata.blocks() > 0));
    assert_eq!((blocks(&files[0]).unwrap(), blocks(&files[1]).unwrap()), ((true, false), (true, true)));
    fs::read(&files[1]).unwrap();
    assert_eq!(count(&archive.counts().recall), 0);
    let started = Instant::now();
    File::open(&files[0]).unwrap().read_exact_at(&mut [0; 8], 0).unwrap();
    assert!(started.elapsed() >= recall);
    assert!(count(&archive.counts().recall) > 0);
}

#[test]
fn many_readers_wait_for_storage_together() {
    let site = Site::new();
    let mut options = options(64);
    // The kernel caches no names: all readers look up the path of each file at the same time.
    options.ttl = Duration::ZERO;
    let latency = Duration::from_millis(10);
    (options.latency.lookup, options.latency.open, options.latency.read) = (latency, latency, latency);
    let Some(archive) = mount(&site, options) else { return };
    let files = walk(archive.path());
    let (one_by_one, together) = files.split_at(32);
    let started = Instant::now();
    one_by_one.iter().for_each(|file| read_start(file));
    let alone = started.elapsed();
    let started = Instant::now();
    thread::scope(|scope| together.iter().for_each(|file| drop(scope.spawn(|| read_start(file)))));
    let together = started.elapsed();
    assert!(alone >= latency * 3 * 32, "each of them waits three times: {alone:?}");
    assert!(together * 4 < alone, "32 readers take {together:?}, and one of them {alone:?}");
}

/// Returns the peak memory of a run over this number of files, in bytes. The run is a separate
/// process, and this process serves the storage.
fn peak_memory(files: u64) -> Option<u64> {
    let site = Site::new();
    let _archive = mount(&site, Options::new(files))?;
    let (said, peak) = site.start_reindex(&site.sqlite(), &[]).end_with_peak();
    assert_eq!(said.exits(0).figure("inserted"), files);
    println!("{files} files: {peak} bytes");
    Some(peak)
}

#[test]
fn a_large_archive_takes_hardly_more_memory_than_a_small_one() {
    // A tenth of the memory that a run needs for a file while it reads it. The memory at the start
    // of a run is larger, and varies.
    let (few, many, per_file) = (20_000, 80_000, 128);
    let (Some(small), Some(large)) = (peak_memory(few), peak_memory(many)) else { return };
    let most = small + (many - few) * per_file;
    assert!(large < most, "{small} bytes for {few} files, {large} for {many}");
    if std::env::var_os("PACS_INDEX_TEST_LONG").is_some() {
        assert!(peak_memory(10_000_000) < Some(256 << 20));
    }
}

fn read_start(file: &Path) {
    File::open(file).unwrap().read_exact_at(&mut [0; 8192], 0).unwrap();
}

#[test]
fn an_archive_is_unmounted_when_a_test_fails_and_a_file_is_still_open() {
    let site = Site::new();
    let mut open = None;
    let failed = catch_unwind(AssertUnwindSafe(|| {
        let Some(archive) = mount(&site, options(1)) else { return };
        open = Some(File::open(&walk(archive.path())[0]).unwrap());
        resume_unwind(Box::new("a failing test"));
    }));
    assert_eq!(failed.is_err(), open.is_some());
    assert!(walk(&site.archive()).is_empty());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(site.archive().to_str().unwrap()), "{table}");
}

#[test]
fn a_database_from_an_older_dump_is_completed_without_opening_a_file() {
    for make in [Site::sqlite as fn(&Site) -> Index, Index::mariadb] {
        let site = Site::new();
        let Some(archive) = mount(&site, options(2000)) else { return };
        let index = make(&site);
        site.reindex(&index, &[]).exits(0);
        let dump = index.dump();
        // The dump is from a day on which half of the files had not arrived yet.
        for lost in [
            "DELETE FROM image WHERE uuid > (SELECT u FROM (SELECT MAX(uuid) u FROM image WHERE uuid LIKE '%.10000009__') x)",
            "DELETE FROM series WHERE uuid NOT IN (SELECT seriesuid FROM image)",
            "DELETE FROM study WHERE uuid NOT IN (SELECT studyuid FROM series)",
            "DELETE FROM patient WHERE origid NOT IN (SELECT patientid FROM study)",
        ] {
            index.execute(lost);
        }
        let left = index.count("image");
        assert!((500..1500).contains(&left), "{left}");
        let opened = count(&archive.counts().open);
        let said = site.reindex(&index, &[]).exits(0);
        assert_eq!((said.figure("inserted"), said.figure("unchanged")), (2000 - left, left));
        assert_eq!((count(&archive.counts().open) - opened, count(&archive.counts().open)), (0, 2000));
        println!("{} rows were missing: {} files opened", 2000 - left, count(&archive.counts().open) - opened);
        assert_eq!(index.dump(), dump);
    }
}

/// Even a reader that always has files to read records the files that it has read.
#[test]
fn files_that_a_killed_run_has_rejected_are_not_opened_again() {
    let site = Site::new();
    let mut options = options(6000);
    options.tree.shape = Shape::Rejected;
    options.tree.per_day = 6000;
    let Some(archive) = mount(&site, options) else { return };
    let index = site.sqlite();
    let one_reader = ["--state", "state", "--io-threads", "1"];
    let mut run = site.start_reindex(&index, &one_reader);
    let opened = || count(&archive.counts().open);
    while opened() < 4000 {
        assert!(!run.is_over(), "the run was over after {} files", opened());
        thread::sleep(Duration::from_millis(1));
    }
    run.kill();
    let of_killed = opened();
    let said = site.reindex(&index, &one_reader).exits(1);
    assert_eq!(said.figure("rejected"), 6000);
    let again = opened() - 6000;
    assert!(again <= 600, "{of_killed} files were opened, then {again} of these again");
}
