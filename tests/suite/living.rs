//! An archive in use: files are added, moved and removed during a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::support::pacs::{Arrival, Pacs};
use crate::support::{Connected, FATES, Index, ROOT_UID, Running, Said, Site};

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

/// Sets the mtime of a file to one hour ago.
fn age(site: &Site, path: &str) {
    modify(site, path, SystemTime::now() - Duration::from_secs(3600));
}

/// Sets the mtime of a file to now.
fn renew(site: &Site, path: &str) {
    modify(site, path, SystemTime::now());
}

fn modify(site: &Site, path: &str, at: SystemTime) {
    fs::OpenOptions::new().write(true).open(file(site, path)).unwrap().set_modified(at).unwrap();
}

/// A run that has listed and read all files, and waits for a row that another connection holds.
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
        // One batch waits; when the program is idle, the readers have read their remaining files.
        while run.works_within(Duration::from_millis(300)) {
            assert!(Instant::now() < deadline, "the run does not come to rest");
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
    renew(&site, &young);
    let said = site.reindex(&index, &["--min-age", "15m"]).exits(0);
    let figures = ["files found", "inserted", "left to the PACS (young)"].map(|label| said.figure(label));
    assert_eq!(figures, [21, 20, 1]);
    assert_eq!(index.count("image"), 20);
    age(&site, &young);
    let said = site.reindex(&index, &["--min-age", "15m"]).exits(0);
    assert_eq!((said.figure("inserted"), said.figure("unchanged")), (1, 20));
}

#[test]
fn a_file_that_was_young_is_taken_by_a_run_that_lasts() {
    let (site, index) = site_of_a_pacs();
    let [comes, goes] = ["1.2.3", "1.2.4"].map(|uid| format!("{DAY}/{uid}"));
    site.add(&comes, json!({"SOPInstanceUID": "1.2.3"}));
    site.add(&goes, json!({"SOPInstanceUID": "1.2.4"}));
    [&comes, &goes].into_iter().for_each(|path| renew(&site, path));
    let held = Held::start(&site, &index, &["--min-age", "15m"]);
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
    assert_eq!(site.reindex(&index, &[]).exits(0).figure("inserted"), 21, "those of the interrupted run, and one");
}

const PER_SERIES: u64 = 100;

/// The pause between two images that a PACS receives: about ninety per second, from several
/// scanners.
const PAUSE: Duration = Duration::from_millis(10);

/// An image that arrives at a PACS while a run processes a series of a generated store: a study of
/// its own; another image of a nearby series; or another image of any series.
fn arrival(n: u64, at: u64, series: u64) -> Arrival {
    let joined = match n % 3 {
        0 => None,
        1 => Some((at + 3 - n % 7).min(series - 1)),
        _ => Some(n * 7919 % series),
    };
    let Some(series) = joined else {
        let study = format!("{ROOT_UID}.{}", n / 12);
        let [series, image] = [format!("{study}.1"), format!("{study}.1.{n}")];
        return Arrival { patient: format!("OWN{}", n / 24), name: ["Own".into(), "".into()], study, series, image };
    };
    // The names that benches/generate.rs uses.
    let (study, patient) = (series / 3, series / 7);
    let study = format!("1.3.6.1.4.1.32473.5.{study}");
    Arrival {
        patient: format!("P{patient:07}"),
        name: [format!("Patient{patient}"), format!("Given{}", patient % 97)],
        image: format!("{study}.{series}.9{n:06}"),
        series: format!("{study}.{series}"),
        study,
    }
}

/// Makes a PACS receive images while `go_on` returns true.
fn receive(pacs: &mut Pacs, index: &Index, series: u64, numbers: &mut u64, go_on: impl Fn(u64) -> bool) {
    let mut watcher = index.connect();
    let begun = *numbers;
    let mut at = series - 1;
    while go_on(*numbers - begun) {
        if numbers.is_multiple_of(10) {
            // The run proceeds from the newest series to the oldest.
            let there: u64 = watcher.rows("SELECT COUNT(*) FROM series")[0].parse().unwrap();
            at = series.saturating_sub(there + 1).max(3);
        }
        pacs.receive(&arrival(*numbers, at, series));
        *numbers += 1;
        sleep(PAUSE);
    }
    watcher.close();
}

fn generate(directory: &Path, files: u64) {
    let program = Path::new(env!("CARGO_BIN_EXE_pacs-index")).with_file_name("examples").join("generate");
    let mut command = Command::new(&program);
    command.arg(directory).args(["--files", &files.to_string(), "--per-series", &PER_SERIES.to_string()]);
    let made = command.output().unwrap_or_else(|error| panic!("{}: {error}; cargo test builds it", program.display()));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn a_pacs_goes_on_receiving(engine: &str) {
    let files = if std::env::var_os("PACS_INDEX_TEST_LONG").is_some() { 50_000 } else { 2_000 };
    let (site, index) = (Site::new(), Index::pacsone());
    generate(&site.archive(), files);
    for table in ["patient", "study", "series", "image"] {
        index.execute(&format!("ALTER TABLE {table} ENGINE = {engine}"));
    }
    let series = files / PER_SERIES;
    let (mut pacs, mut numbers) = (Pacs::of(&index), 0);
    // The PACS stores its files elsewhere.
    let run = site.start_reindex(&index, &["--allow-unmapped-paths"]);
    let is_over = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        let ended = scope.spawn(|| {
            let said = run.end();
            is_over.store(true, Ordering::Relaxed);
            said
        });
        receive(&mut pacs, &index, series, &mut numbers, |_| !is_over.load(Ordering::Relaxed));
        ended.join().unwrap()
    });
    let (during, races, at_work) = (pacs.figures(), pacs.races, numbers);
    receive(&mut pacs, &index, series, &mut numbers, |n| n < files / 20);
    println!("{engine}, {files} files, {}", said.out.lines().find(|line| line.contains("covered")).unwrap());
    println!("  with the run:    {during}, {races} rows came between look and insert");
    println!("  without the run: {}", pacs.figures());
    // The server's information about a deadlock.
    if !pacs.errors.is_empty() {
        println!("{:?}", index.rows("SHOW ENGINE INNODB STATUS"));
    }
    assert_eq!(pacs.errors, Vec::<String>::new());
    pacs.close();
    assert!(said.exit <= 1 && at_work > 0, "{}{}", said.out, said.err);
    assert_eq!((said.figure("files found"), said.figure("inserted")), (files, files), "{}", said.out);
    assert_eq!(index.count("image"), files + numbers);
    for (table, link, above, key) in [
        ("image", "seriesuid", "series", "uuid"),
        ("series", "studyuid", "study", "uuid"),
        ("study", "patientid", "patient", "origid"),
    ] {
        let orphans = format!("SELECT COUNT(*) FROM {table} WHERE {link} NOT IN (SELECT {key} FROM {above})");
        assert_eq!(index.rows(&orphans), ["0"], "{table}");
    }
    // The run counts the images below a series when it ends; the PACS counts later ones, and is
    // responsible for rows that it inserted with NULL.
    let wrong = "SELECT COUNT(*) FROM series WHERE uuid LIKE '1.3.6.1.4.1.32473.5.%' AND instances < 100";
    assert_eq!(index.rows(wrong), ["0"]);
}

#[test]
fn a_pacs_on_innodb_goes_on_receiving_during_a_run() {
    a_pacs_goes_on_receiving("InnoDB");
}

#[test]
fn a_pacs_on_myisam_goes_on_receiving_during_a_run() {
    a_pacs_goes_on_receiving("MyISAM");
}
