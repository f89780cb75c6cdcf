//! The journal: the files that a run does not read again. Rows, findings and exit codes must not
//! depend on the journal.

mod continued;
mod directory;
mod later;
mod rewritten;
mod site;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::support::{Index, ROOT_UID, Said, Site, on_both_databases, walk};

const DAY: &str = "2021-11-12-FRI";

/// Ages the files like those of an archive: they were modified a while ago, so that a change is
/// visible.
fn age(site: &Site) {
    let then = SystemTime::now() - Duration::from_secs(86_400 * 30);
    for file in walk(&site.archive()) {
        fs::OpenOptions::new().write(true).open(file).unwrap().set_modified(then).unwrap();
    }
}

/// Three studies, a file that is not DICOM, a picture, and a second file of an instance.
fn site_with_findings() -> Site {
    let site = Site::new();
    put_findings(&site);
    site
}

fn put_findings(site: &Site) {
    for study in 1..=3 {
        site.add_series(DAY, study, 1, 20);
    }
    site.write("notes.txt", b"no DICOM at all, but longer than a header would need to be so that it is looked into");
    site.write("picture", b"\x89PNG\r\n\x1a\n and more of it, which is not looked at any more after its first bytes");
    site.add("twice", json!({
        "PatientID": "T1", "StudyInstanceUID": format!("{ROOT_UID}.1"), "SeriesInstanceUID": format!("{ROOT_UID}.1.1"),
        "SOPInstanceUID": format!("{ROOT_UID}.1.1.7"), "InstanceNumber": "7", "SeriesNumber": "1",
    }));
    age(site);
}

/// Makes every file unreadable as DICOM without changing its size or mtime, so that a run that
/// opens one is detected.
fn spoil(site: &Site) {
    for file in walk(&site.archive()) {
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        let length = fs::metadata(&file).unwrap().len() as usize;
        fs::write(&file, vec![b'x'; length]).unwrap();
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    }
}

fn listed(site: &Site) -> Vec<String> {
    let mut lines: Vec<String> = site.listing().iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}

fn file(site: &Site, study: u32, n: u32) -> PathBuf {
    site.archive().join(format!("{DAY}/{ROOT_UID}.{study}.1.{n}"))
}

#[test]
fn a_file_that_is_as_it_was_is_not_opened_again() {
    on_both_databases(|site, index| {
        put_findings(site);
        let first = site.reindex(index, &[]).exits(1);
        assert_eq!(first.figure("inserted"), 60);
        let (dump, list) = (index.dump(), listed(site));
        spoil(site);
        let second = site.reindex(index, &[]).exits(1);
        assert_eq!((second.figure("unchanged"), second.figure("inserted")), (60, 0), "{}", second.out);
        for fate in ["duplicates not chosen", "rejected", "skipped by rule"] {
            assert_eq!(second.figure(fate), first.figure(fate), "{}", second.out);
        }
        assert_eq!((index.dump(), listed(site)), (dump, list));
        // With `--force`, the run does read the files.
        let said = site.reindex(index, &["--force"]).exits(1);
        assert_eq!(said.figure("rejected"), 63, "{}", said.out);
    });
}

#[test]
fn a_file_that_changed_is_read_and_so_is_a_new_one() {
    let site = site_with_findings();
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(1);
    spoil(&site);
    let changed = json!({"SOPInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.1"});
    site.add(&format!("{DAY}/{ROOT_UID}.2.1.5"), changed);
    site.add(
        &format!("{DAY}/new"),
        json!({"SOPInstanceUID": "1.2.4", "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.1"}),
    );
    let said = site.reindex(&index, &[]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("unchanged")), (2, 59), "{}", said.out);
}

#[test]
fn rows_that_a_database_has_lost_are_written_again_without_opening_a_file() {
    on_both_databases(|site, index| {
        put_findings(site);
        site.reindex(index, &[]).exits(1);
        let dump = index.dump();
        spoil(site);
        // An older dump, a table that was repaired with losses, a partial restore: all lost rows
        // come back.
        for (lost, inserted) in [
            ("DELETE FROM image WHERE seriesuid LIKE '%.2.1'", 20),
            ("DELETE FROM image", 60),
            ("DELETE FROM series", 0),
            ("DELETE FROM study", 0),
            ("DELETE FROM patient", 0),
            ("DELETE FROM study WHERE uuid LIKE '%.1'", 0),
        ] {
            index.execute(lost);
            assert_ne!(index.dump(), dump);
            let said = site.reindex(index, &[]).exits(1);
            assert_eq!(said.figure("inserted"), inserted, "{lost}: {}", said.out);
            assert_eq!(index.dump(), dump, "{lost}");
        }
        for table in ["image", "series", "study", "patient"] {
            index.execute(&format!("DELETE FROM {table}"));
        }
        let said = site.reindex(index, &[]).exits(1);
        assert_eq!((said.figure("inserted"), index.dump()), (60, dump));
    });
}

#[test]
fn a_journal_that_is_lost_or_damaged_costs_time_and_nothing_else() {
    let site = site_with_findings();
    let index = site.sqlite();
    let first = site.reindex(&index, &["--state", "journal"]).exits(1);
    let (dump, list) = (index.dump(), listed(&site));
    // A second run, so that there is a table of states.
    site.reindex(&index, &["--state", "journal"]).exits(1);
    let journal = |name: &str| site.journal(name);
    type Damage = fn(&mut Vec<u8>);
    let damage: [(&str, Damage); 6] = [
        ("states", |bytes| bytes.truncate(bytes.len() / 2)),
        ("states", |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x55)),
        ("log", |bytes| bytes.truncate(bytes.len() / 2)),
        ("log", |bytes| bytes.iter_mut().skip(100).step_by(97).for_each(|byte| *byte ^= 1)),
        ("log", |bytes| bytes.truncate(10)),
        ("states", |bytes| bytes.clear()),
    ];
    for (n, (name, damage)) in damage.into_iter().enumerate() {
        // The previous run keeps no damaged file, so there may be none of this name.
        let mut bytes = fs::read(journal(name)).unwrap_or_default();
        damage(&mut bytes);
        fs::write(journal(name), bytes).unwrap();
        let said = site.reindex(&index, &["--state", "journal"]).exits(1);
        assert_eq!(said.figure("unchanged"), 60, "damage {n}: {}", said.out);
        for fate in ["duplicates not chosen", "rejected", "skipped by rule"] {
            assert_eq!(said.figure(fate), first.figure(fate), "damage {n}: {}", said.out);
        }
        assert_eq!((index.dump(), listed(&site)), (dump.clone(), list.clone()), "damage {n}");
    }
    fs::remove_dir_all(site.path("journal")).unwrap();
    site.reindex(&index, &["--state", "journal"]).exits(1);
    assert_eq!((index.dump(), listed(&site)), (dump, list));
}

#[test]
fn a_file_that_was_moved_is_found_and_one_that_is_gone_is_forgotten() {
    let site = site_with_findings();
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(1);
    fs::create_dir(site.archive().join("elsewhere")).unwrap();
    fs::rename(file(&site, 3, 4), site.archive().join("elsewhere/moved")).unwrap();
    fs::remove_file(file(&site, 3, 5)).unwrap();
    let said = site.reindex(&index, &[]).exits(1);
    assert_eq!((said.figure("updated"), said.figure("unchanged")), (1, 58), "{}", said.out);
    assert_eq!(index.rows("SELECT COUNT(*) FROM image WHERE path LIKE '%/elsewhere/moved'"), ["1"]);
    assert_eq!(index.count("image"), 60, "no row is deleted");
    let said = site.reindex(&index, &[]).exits(1);
    assert_eq!((said.figure("updated"), said.figure("unchanged")), (0, 59), "{}", said.out);
}

#[test]
fn refresh_compares_files_that_are_as_they_were_without_opening_them() {
    let site = site_with_findings();
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(1);
    let dump = index.dump();
    spoil(&site);
    index.execute("UPDATE series SET modality = 'XX'");
    site.reindex(&index, &["--existing", "refresh"]).exits(1);
    assert_eq!(index.dump(), dump);
}

#[test]
fn a_second_run_leaves_or_waits_as_it_is_asked() {
    let site = site_with_findings();
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]).exits(0);
    let mut other = index.connect();
    other.execute("BEGIN IMMEDIATE");
    let first = site.start_reindex(&index, &["--state", "journal"]);
    while !site.kept_by_now("journal", "journal").is_some_and(|journal| journal.join("lock").exists()) {}
    std::thread::sleep(Duration::from_millis(200));
    let list = ["--rejected", "second.jsonl", "--state", "journal"];
    let second = |more: &[&str]| {
        let mut command = site.program(&["reindex", "archive", "--quiet", "--min-age", "0s", "--index", &index.url]);
        command
            .args(list)
            .args(more)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    // The root is given as in the first run.
    let said = Said::new(second(&[]).wait_with_output().unwrap()).exits(3);
    assert!(said.err.contains("another run is at work") && said.err.contains("--wait"), "{}", said.err);
    let waiting = second(&["--wait"]);
    std::thread::sleep(Duration::from_millis(300));
    other.execute("ROLLBACK");
    other.close();
    first.end().exits(1);
    let said = Said::new(waiting.wait_with_output().unwrap()).exits(1);
    assert_eq!((said.figure("unchanged"), said.figure("inserted")), (60, 0), "{}", said.out);
}

#[test]
fn a_journal_of_another_index_is_not_used_and_none_is_kept_in_the_archive() {
    let site = site_with_findings();
    site.reindex(&site.sqlite(), &["--state", "journal"]).exits(1);
    let other = Index::sqlite(site.path("other.db"));
    let said = site.reindex(&other, &["--state", "journal"]).exits(1);
    assert_eq!(said.figure("inserted"), 60, "{}", said.out);
    let said = site.reindex(&other, &["--state", "archive/journal"]).exits(2);
    assert!(said.err.contains("is in the archive"), "{}", said.err);
}

#[test]
fn nobody_else_may_read_a_journal() {
    use std::os::unix::fs::MetadataExt;
    let site = site_with_findings();
    site.reindex(&site.sqlite(), &["--state", "journal"]).exits(1);
    assert_eq!(fs::metadata(site.path("journal")).unwrap().mode() & 0o077, 0);
}
