//! Imports that are killed at any moment while they move their sources.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{assert_clean, contents, importing, medium};
use crate::support::{Index, Said, Site, walk};

const MOVE: [&str; 5] = ["--layout", "combination", "--move", "--copies-at-a-time", "3"];

/// Asserts that every instance is complete in the source, or in the archive with its row, and that
/// no final name belongs to an incomplete file.
fn assert_none_lost(site: &Site, index: &Index, all: &BTreeMap<Vec<u8>, String>) -> (usize, usize, usize) {
    let left: Vec<_> = contents(&site.path("cd")).into_values().collect();
    let (mut archived, mut unfinished) = (BTreeMap::new(), 0);
    for file in walk(&site.archive()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with(".pacs-index-") {
            unfinished += 1;
            continue;
        }
        let bytes = fs::read(&file).unwrap();
        assert_eq!(all.get(&bytes), Some(&name), "{} is not what its name says", file.display());
        archived.insert(name, file);
    }
    // A run may be killed before it has created the database or its tables.
    let has_table = || index.rows("SELECT 1 FROM sqlite_schema WHERE name = 'image'").len() == 1;
    let has_images = !index.url.starts_with("sqlite") || site.path("index.db").exists() && has_table();
    let rows = if has_images { index.rows("SELECT path FROM image") } else { Vec::new() };
    for path in &rows {
        assert!(fs::exists(path).unwrap(), "the row of {path} has no file");
    }
    for (bytes, uid) in all {
        let is_archived = archived.get(uid).is_some_and(|file| rows.iter().any(|row| row == file.to_str().unwrap()));
        assert!(left.contains(bytes) || is_archived, "{uid} is lost");
    }
    (left.len(), rows.len(), unfinished)
}

fn kill(instances: u32, kills: u32, make: fn(&Site) -> Index) {
    let fresh = || {
        let site = Site::new();
        medium(&site, instances);
        let index = make(&site);
        (site, index)
    };
    let (site, index) = fresh();
    let all: BTreeMap<Vec<u8>, String> = contents(&site.path("cd"))
        .into_iter()
        .map(|(name, bytes)| (bytes, super::uid(name.trim_start_matches("IM").parse().unwrap())))
        .collect();
    assert_eq!(all.len() as u32, instances);
    let begun = Instant::now();
    Said::of(&mut importing(&site, "cd", &index, &MOVE)).exits(0);
    let duration = begun.elapsed();
    let mut before_end = 0;
    for n in 0..=kills {
        let (site, index) = fresh();
        let mut running = importing(&site, "cd", &index, &MOVE).stdout(Stdio::null()).spawn().unwrap();
        // One more run is killed while it removes sources, which takes a moment.
        match n < kills {
            true => sleep(duration * (2 * n + 1) / (2 * kills)),
            false => while walk(&site.path("cd")).len() as u32 == instances && running.try_wait().unwrap().is_none() {},
        }
        let was_over = running.try_wait().unwrap().is_some();
        running.kill().unwrap();
        running.wait().unwrap();
        before_end += u32::from(!was_over);
        let (left, rows, unfinished) = assert_none_lost(&site, &index, &all);
        let mut again = importing(&site, "cd", &index, &MOVE);
        let said = if left > 0 { Some(Said::of(&mut again).exits(0)) } else { None };
        let again = said.map_or("nothing to do".into(), |said| {
            format!("inserted {}, unchanged {}", said.figure("inserted"), said.figure("unchanged"))
        });
        println!(
            "kill {n} at {} of {} ms, over: {was_over}: in the source {left}, rows {rows}, unfinished {unfinished}; \
             again: {again}",
            (duration * (2 * n + 1) / (2 * kills)).as_millis(),
            duration.as_millis()
        );
        assert!(walk(&site.path("cd")).is_empty());
        let (_, rows, unfinished) = assert_none_lost(&site, &index, &all);
        assert_eq!((rows as u32, unfinished), (instances, 0));
        assert_clean(&site, &index);
    }
    assert!(before_end * 4 >= kills * 3, "only {before_end} of {kills} came before the end");
}

fn is_long() -> bool {
    std::env::var_os("PACS_INDEX_TEST_LONG").is_some()
}

#[test]
fn an_import_into_sqlite_that_is_killed_loses_nothing() {
    let (instances, kills) = if is_long() { (3000, 20) } else { (1000, 4) };
    kill(instances, kills, |site| site.sqlite());
}

#[test]
fn an_import_into_mariadb_that_is_killed_loses_nothing() {
    let (instances, kills) = if is_long() { (3000, 20) } else { (1000, 4) };
    kill(instances, kills, Index::mariadb);
}

#[test]
fn what_a_killed_import_has_copied_on_another_day_is_found_there() {
    let (site, index) = super::site_and_index();
    medium(&site, 1000);
    let mut running = importing(&site, "cd", &index, &["--copies-at-a-time", "1"]).spawn().unwrap();
    let begun = Instant::now();
    let is_whole = |file: &std::path::PathBuf| !file.to_string_lossy().ends_with(".part");
    let copied = || walk(&site.archive()).into_iter().filter(is_whole).count();
    while copied() < 20 && begun.elapsed() < Duration::from_secs(60) {}
    running.kill().unwrap();
    running.wait().unwrap();
    // As if the killed run had been on another day.
    let state = walk(&site.path("state")).into_iter().find(|file| file.ends_with("import")).unwrap();
    let text = fs::read_to_string(&state).unwrap();
    let day = text.lines().find_map(|line| line.strip_prefix("day ")).unwrap().to_owned();
    fs::write(&state, text.replace(&format!("day {day}"), "day 2026-01-02")).unwrap();
    let today = fs::read_dir(site.archive()).unwrap().next().unwrap().unwrap().path();
    let then = site.archive().join("2026-01-02-FRI");
    fs::rename(today, &then).unwrap();
    if site.path("index.db").exists() {
        index.execute(&format!("UPDATE image SET path = '{}/' || uuid", then.display()));
    }
    for file in walk(&then).into_iter().filter(|file| file.to_string_lossy().contains(".part")) {
        fs::remove_file(file).unwrap();
    }
    let before = walk(&then).len() as u64;
    let said = Said::of(&mut importing(&site, "cd", &index, &[])).exits(0);
    assert!(
        (20..1000).contains(&before) && walk(&then).len() as u64 == before,
        "new ones belong to the day on which they come"
    );
    assert_eq!(said.figure("inserted") + said.figure("unchanged"), 1000);
    assert_eq!(walk(&site.archive()).len(), 1000, "and none is there twice");
    assert_clean(&site, &index);
    assert!(!fs::read_to_string(&state).unwrap().ends_with("day 2026-01-02\n"));
}

#[test]
fn an_import_that_is_interrupted_ends_in_order_and_goes_on() {
    let (site, index) = super::site_and_index();
    medium(&site, 2000);
    let running = importing(&site, "cd", &index, &["--copies-at-a-time", "1", "--move"]);
    let mut running = { running }.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while walk(&site.archive()).len() < 100 && running.try_wait().unwrap().is_none() {}
    // SAFETY: kill has no memory effects; the child is not reaped yet, so the process ID is still
    // its own.
    unsafe { libc::kill(running.id() as i32, libc::SIGINT) };
    let said = Said::new(running.wait_with_output().unwrap()).exits(130);
    let [found, brought, left] = ["files found", "inserted", "not reached"].map(|label| said.figure(label));
    assert!(left > 0 && left == found - brought, "{}", said.out);
    assert_eq!(walk(&site.path("cd")).len(), 2000, "no source is removed");
    assert!(walk(&site.archive()).iter().all(|file| !file.to_string_lossy().ends_with(".part")));
    let said = Said::of(&mut importing(&site, "cd", &index, &["--move"])).exits(0);
    assert!(said.out.contains("source files removed 2,000, left in place 0"), "{}", said.out);
    assert_clean(&site, &index);
}

#[test]
fn an_unfinished_copy_is_no_file_of_the_archive() {
    let (site, index) = super::site_and_index();
    medium(&site, 3);
    Said::of(&mut importing(&site, "cd", &index, &[])).exits(0);
    let copy = walk(&site.archive()).remove(0);
    fs::copy(&copy, copy.with_file_name(".pacs-index-0123456789abcdef-x.part")).unwrap();
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!((said.figure("unfinished copy"), said.figure("unchanged")), (1, 3));
    assert_clean(&site, &index);
}
