//! Runs that are killed at any moment and resume with the same result.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value as Json, json};

use crate::support::{Index, ROOT_UID, Said, Site, beyond, walk};

/// The mark in the log that a run has finalized everything: its kind, zero length, no checksum.
const ENDED: [u8; 9] = [5, 0, 0, 0, 0, 0, 0, 0, 0];

fn is_long() -> bool {
    std::env::var_os("PACS_INDEX_TEST_LONG").is_some()
}

/// Studies whose instances disagree at every level, in an order in which later instances correct
/// earlier rows: before the rows are finalized, most values are wrong.
pub fn site_with(files: u32) -> Site {
    let site = Site::in_memory();
    put_studies(&site, files, |_, _| {});
    site
}

/// Returns the path, below the archive, of a file of [`put_studies`].
pub fn path_of(n: u32) -> String {
    let study = n / PER_STUDY;
    format!("2021-11-{:02}-FRI/{study}/{n}", 10 + study % 15)
}

/// Consecutive files of one series, and of one study.
pub const PER_SERIES: u32 = 100;
pub const PER_STUDY: u32 = 3 * PER_SERIES;

/// Adds the files of [`site_with`] to the archive of a site. `vary` may change the attributes of
/// each file.
pub fn put_studies(site: &Site, files: u32, mut vary: impl FnMut(u32, &mut Json)) {
    for n in 0..files {
        let (series, study) = (n / PER_SERIES, n / PER_STUDY);
        // Some files are the second file of an instance.
        let instance = if n % 37 == 36 { n - 1 } else { n };
        let uid = format!("{ROOT_UID}.{study}.{series}.{instance}");
        let name =
            if study % 5 == 4 && series % 2 == 1 { "Other^Person".into() } else { format!("Family^Given{}", n % 3) };
        let mut change = json!({
            "PatientID": format!("T{}", study % 11), "PatientName": name, "PatientComments": format!("comment {}", n % 4),
            "StudyInstanceUID": format!("{ROOT_UID}.{study}"), "StudyDescription": format!("part {}", n % 7),
            "SeriesInstanceUID": format!("{ROOT_UID}.{study}.{series}"), "SeriesDescription": format!("view {}", n % 5),
            "SOPInstanceUID": uid, "InstanceNumber": n.to_string(), "Modality": if n % 2 == 0 { "CT" } else { "MR" },
        });
        vary(n, &mut change);
        site.add(&path_of(n), change);
    }
    for n in 0..files / 100 {
        site.write(
            &format!("2021-11-10-WED/notes {n}"),
            b"no DICOM, and long enough to be looked into for one all the same",
        );
    }
    let then = SystemTime::now() - Duration::from_secs(86_400 * 30);
    for file in walk(&site.archive()) {
        fs::OpenOptions::new().write(true).open(file).unwrap().set_modified(then).unwrap();
    }
}

/// The rows and the output of a run, except for times.
#[derive(Debug, PartialEq)]
struct Outcome {
    rows: Vec<String>,
    listed: Vec<String>,
    account: Vec<String>,
}

fn outcome(site: &Site, index: &Index, said: &Said) -> Outcome {
    let mut listed: Vec<String> = site.listing().iter().map(ToString::to_string).collect();
    listed.sort();
    let is_timeless = |line: &&str| {
        !["reindex into", "resumes", "files to look", "directories"].iter().any(|what| line.starts_with(what))
            && !line.contains("covered in")
            && !line.contains("rows of the index with")
    };
    let account = said.out.lines().filter(is_timeless).map(str::to_owned).collect();
    Outcome { rows: index.dump(), listed, account }
}

#[track_caller]
fn assert_same(one: &Outcome, other: &Outcome) {
    for (one, other) in one.rows.iter().zip(&other.rows) {
        assert_eq!(one, other);
    }
    assert_eq!(beyond(&one.listed, &other.listed), [""; 0], "lines that are missing");
    assert_eq!(beyond(&other.listed, &one.listed), [""; 0], "lines that are too many");
    assert_eq!(one.account, other.account);
    assert_eq!((one.rows.len(), one.listed.len()), (other.rows.len(), other.listed.len()));
}

/// Kills runs, each of which is followed by a run that ends. The moments are uniform over the bytes
/// that an undisturbed run writes to its log, which do not depend on the load of the machine.
pub fn kill(files: u32, kills: u32, make: fn(&Site) -> Index) {
    let site = site_with(files);
    let calm = make(&site);
    site.reindex(&calm, &["--state", "warm"]).exits(1);
    let _ = fs::remove_file(site.path("index.db"));
    let calm = make(&site);
    let begun = Instant::now();
    let said = site.reindex(&calm, &["--state", "calm"]).exits(1);
    let duration = begun.elapsed();
    let written = |state: &str| {
        let log = site.kept_by_now(state, "journal").map(|journal| journal.join("log"));
        log.and_then(|log| fs::metadata(log).ok()).map_or(0, |log| log.len())
    };
    let expected = outcome(&site, &calm, &said);
    let mut before_end = 0;
    for n in 0..kills {
        let _ = (fs::remove_dir_all(site.path("state")), fs::remove_file(site.path("index.db")));
        let index = make(&site);
        let order = if n % 2 == 0 { "found" } else { "key" };
        let mut killed = site.start_reindex(&index, &["--state", "state", "--insert-order", order]);
        let (part, of) = (2 * n + 1, 2 * kills);
        let at = duration * part / of;
        let deadline = begun.elapsed() + Duration::from_secs(60);
        while written("state") * u64::from(of) < written("calm") * u64::from(part) && begun.elapsed() < deadline {}
        let mut was_over = killed.is_over();
        killed.kill();
        // The run had finalized everything and was about to exit.
        was_over |= site
            .kept_by_now("state", "journal")
            .is_some_and(|journal| fs::read(journal.join("log")).is_ok_and(|log| log.ends_with(&ENDED)));
        before_end += u32::from(!was_over);
        let images = index.rows("SELECT COUNT(*) FROM image").first().cloned().unwrap_or_default();
        let said = site.reindex(&index, &["--state", "state"]).exits(1);
        println!("kill {n}, at {} of {} ms, {images} images, over: {was_over}", at.as_millis(), duration.as_millis());
        if !was_over {
            assert_same(&expected, &outcome(&site, &index, &said));
        }
    }
    println!("{before_end} of {kills} kills of a run over {files} files were before its end: each rerun equal");
    assert!(before_end * 4 >= kills * 3, "{before_end} of {kills} before the end");
}

fn size() -> (u32, u32) {
    if is_long() { (50_000, 20) } else { (4000, 4) }
}

#[test]
fn a_run_into_sqlite_that_is_killed_goes_on_as_if_it_had_not_been() {
    kill(size().0, size().1, Site::sqlite);
}

#[test]
fn a_run_into_mariadb_that_is_killed_goes_on_as_if_it_had_not_been() {
    kill(size().0, size().1, Index::mariadb);
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    let site = site_with(3000);
    let calm = Index::mariadb(&site);
    let said = site.reindex(&calm, &["--state", "calm"]).exits(1);
    let expected = outcome(&site, &calm, &said);
    let index = Index::mariadb(&site);
    let mut written = 0;
    for _ in 0..100 {
        let mut run = site.start_reindex(&index, &["--io-threads", "2"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while index.count("image") <= written && !run.is_over() && Instant::now() < deadline {}
        if run.is_over() {
            run.end().exits(1);
            written = index.count("image");
            break;
        }
        run.kill();
        written = index.count("image");
    }
    assert!(written > 2500, "{written}");
    let _ = fs::remove_file(site.path("rejected.jsonl"));
    let said = site.reindex(&index, &["--force"]).exits(1);
    assert_eq!(index.dump(), expected.rows);
    let _ = said;
}

#[test]
fn a_run_that_is_interrupted_goes_on_as_if_it_had_not_been() {
    let site = site_with(6000);
    for make in [Site::sqlite, Index::mariadb as fn(&Site) -> Index] {
        let _ = fs::remove_file(site.path("index.db"));
        let calm = make(&site);
        let said = site.reindex(&calm, &["--state", "calm"]).exits(1);
        let expected = outcome(&site, &calm, &said);
        let _ = (fs::remove_file(site.path("index.db")), fs::remove_dir_all(site.path("calm")));
        let index = make(&site);
        site.run(&["init", "--index", &index.url, "--not-the-pacsone-installer"]);
        let run = site.start_reindex(&index, &["--io-threads", "2"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while index.count("image") == 0 && Instant::now() < deadline {}
        run.interrupt();
        run.end().exits(130);
        assert!(index.count("image") < 5900);
        let finished = index.rows("SELECT COUNT(*) FROM series WHERE instances IS NOT NULL");
        assert_eq!(finished, ["0"], "rows of a run that goes on later are unfinished");
        let said = site.reindex(&index, &[]).exits(1);
        assert_same(&expected, &outcome(&site, &index, &said));
    }
}
