//! An archive that lives: files come, move and go while a run goes on.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::support::{Connected, Index, ROOT_UID, Running, Said, Site};

const FATES: [&str; 10] = [
    "inserted",
    "updated",
    "unchanged",
    "duplicates not chosen",
    "rejected",
    "unreadable or vanished",
    "links",
    "skipped by rule",
    "left to the PACS (young)",
    "not reached",
];

const DAY: &str = "2021-11-12-FRI";

/// The database of a PACS, and an archive that it filled a while ago: twenty instances of one day.
fn site_of_a_pacs() -> (Site, Index) {
    let site = Site::new();
    site.add_series(DAY, 1, 1, 20);
    for n in 1..=20 {
        age(&site, &format!("{DAY}/{}", uid(n)));
    }
    (site, Index::pacsone())
}

fn uid(n: u32) -> String {
    format!("{ROOT_UID}.1.1.{n}")
}

fn file(site: &Site, path: &str) -> PathBuf {
    site.archive().join(path)
}

/// Lets a file be an hour old.
fn age(site: &Site, path: &str) {
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::OpenOptions::new().write(true).open(file(site, path)).unwrap().set_modified(hour_ago).unwrap();
}

/// A run that has listed and read all that there is, and waits for a row that somebody holds.
struct Held {
    run: Running,
    holder: Connected,
}

impl Held {
    fn start(site: &Site, index: &Index, more: &[&str]) -> Self {
        let mut holder = index.connect();
        holder.execute("START TRANSACTION");
        holder.execute("INSERT INTO patient (origid, lastname, firstname) VALUES ('T1', '', '')");
        let run = site.start_reindex(index, more);
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() \
                       AND info LIKE 'INSERT INTO `patient`%' AND info NOT LIKE '%processlist%'";
        let deadline = Instant::now() + Duration::from_secs(30);
        while index.rows(waiting) == ["0"] {
            assert!(Instant::now() < deadline, "the run does not come to the row");
            sleep(Duration::from_millis(50));
        }
        Held { run, holder }
    }

    fn let_go(mut self) -> Said {
        self.holder.execute("ROLLBACK");
        self.holder.close();
        let said = self.run.end();
        assert_eq!(FATES.iter().map(|fate| said.figure(fate)).sum::<u64>(), said.figure("files found"), "{}", said.out);
        said
    }
}

#[test]
fn a_file_that_arrives_during_a_run_is_indexed_by_it() {
    let (site, index) = site_of_a_pacs();
    let held = Held::start(&site, &index, &[]);
    site.add_series(DAY, 1, 1, 21);
    site.add("2021-11-13-SAT/1.2.3/1.2.3.4", json!({"SOPInstanceUID": "1.2.3.4"}));
    site.write(&format!("{DAY}/letter"), b"no instance");
    let said = held.let_go().exits(1);
    assert_eq!((said.figure("files found"), said.figure("inserted"), said.figure("rejected")), (23, 22, 1));
    assert_eq!(index.rows("SELECT instances FROM series WHERE instances > 1"), ["22"], "counted with the others");
}

#[test]
fn a_young_file_is_left_and_the_next_run_takes_it() {
    let (site, index) = site_of_a_pacs();
    let young = format!("{DAY}/1.2.3");
    site.add(&young, json!({"SOPInstanceUID": "1.2.3"}));
    let said = site.reindex(&index, &["--settle", "15m"]).exits(0);
    let figures = ["files found", "inserted", "left to the PACS (young)"].map(|label| said.figure(label));
    assert_eq!(figures, [21, 20, 1]);
    assert_eq!(index.count("image"), 20);
    age(&site, &young);
    let said = site.reindex(&index, &["--settle", "15m"]).exits(0);
    assert_eq!((said.figure("inserted"), said.figure("unchanged")), (1, 20));
}

#[test]
fn a_file_that_was_young_is_taken_by_a_run_that_lasts() {
    let (site, index) = site_of_a_pacs();
    let [comes, goes] = ["1.2.3", "1.2.4"].map(|uid| format!("{DAY}/{uid}"));
    site.add(&comes, json!({"SOPInstanceUID": "1.2.3"}));
    site.add(&goes, json!({"SOPInstanceUID": "1.2.4"}));
    let held = Held::start(&site, &index, &["--settle", "15m"]);
    age(&site, &comes);
    fs::remove_file(file(&site, &goes)).unwrap();
    let said = held.let_go().exits(0);
    let figures = ["files found", "inserted", "left to the PACS (young)"].map(|label| said.figure(label));
    assert_eq!(figures, [22, 21, 1], "{}", said.out);
}

#[test]
fn files_that_the_pacs_moves_during_a_run_are_not_lost() {
    let (site, index) = site_of_a_pacs();
    let held = Held::start(&site, &index, &[]);
    fs::create_dir(file(&site, "longterm")).unwrap();
    for n in 1..=5 {
        fs::rename(file(&site, &format!("{DAY}/{}", uid(n))), file(&site, &format!("longterm/{}", uid(n)))).unwrap();
    }
    let said = held.let_go().exits(0);
    assert_eq!((said.figure("inserted"), said.figure("updated"), index.count("image")), (20, 5, 20), "{}", said.out);
    let paths = index.rows("SELECT path FROM image WHERE path LIKE '%/longterm/%'");
    assert_eq!(paths.iter().filter(|path| PathBuf::from(path).is_file()).count(), 5, "{paths:?}");
    assert_eq!(site.findings("note").len(), 5);
    assert_eq!(site.findings("conflict"), Vec::<String>::new());
}

#[test]
fn files_that_go_during_a_run_are_listed_and_their_rows_stay() {
    let (site, index) = site_of_a_pacs();
    site.add("gone/of another name", json!({"SOPInstanceUID": "1.2.3"}));
    let held = Held::start(&site, &index, &[]);
    fs::remove_file(file(&site, &format!("{DAY}/{}", uid(7)))).unwrap();
    fs::remove_dir_all(file(&site, "gone")).unwrap();
    let said = held.let_go().exits(1);
    assert_eq!((said.figure("inserted"), index.count("image")), (21, 21));
    assert!(said.out.contains("2 files that have gone since they were indexed"), "{}", said.out);
    assert_eq!(site.findings("conflict"), [format!("file-gone {}", uid(7)), "file-gone of another name".into()]);
}

#[test]
fn an_interrupted_run_does_not_look_again() {
    let (site, index) = site_of_a_pacs();
    let held = Held::start(&site, &index, &[]);
    site.add(&format!("{DAY}/1.2.3"), json!({"SOPInstanceUID": "1.2.3"}));
    held.run.interrupt();
    sleep(Duration::from_millis(300));
    let said = held.let_go().exits(130);
    assert_eq!((said.figure("files found"), said.figure("inserted")), (20, 20));
    assert_eq!(site.reindex(&index, &[]).exits(0).figure("inserted"), 1);
}
