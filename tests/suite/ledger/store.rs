//! The archive and the index that the tests of ownership share, and an undisturbed run over them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value as Json, json};

use crate::killed::{path_of, put_studies};
use crate::support::random::Random;
use crate::support::{Index, Running, Said, Site};

pub const STATE: [&str; 2] = ["--state", "state"];

pub fn is_long() -> bool {
    std::env::var_os("PACS_INDEX_TEST_LONG").is_some()
}

/// The number of files, and the number of rounds in the short and in the long form.
pub fn size(short: u32, long: u32) -> (u32, u32) {
    if is_long() { (12_000, long) } else { (2000, short) }
}

/// A generator of random numbers. `PACS_INDEX_TEST_SEED` selects another sequence.
pub fn random() -> Random {
    let seed = std::env::var("PACS_INDEX_TEST_SEED").map_or(1, |seed| seed.parse::<u64>().expect("a number"));
    // Small seeds begin with small numbers.
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for _ in 0..20 {
        random.next();
    }
    random
}

/// Values that the instances of a study or series disagree about. An empty value is an empty
/// attribute.
const VALUES: [(&str, &[&str]); 13] = [
    ("PatientBirthDate", &["19610314", "19610315", ""]),
    ("PatientBirthTime", &["101500", "101501", ""]),
    ("PatientSex", &["M", "F", ""]),
    ("PatientWeight", &["70.5", "71", ""]),
    ("EthnicGroup", &["one", "another"]),
    ("StudyDate", &["20211112", "20211113", ""]),
    ("StudyTime", &["101500", "101501", ""]),
    ("AccessionNumber", &["A1", "A2", ""]),
    ("ReferringPhysicianName", &["Weber^Ute", "Stein^Eva", ""]),
    ("SeriesDate", &["20211112", "20211113", ""]),
    ("BodyPartExamined", &["ABDOMEN", "CHEST", ""]),
    ("SeriesNumber", &["1", "2", "3"]),
    ("Rows", &["4", "8"]),
];

/// A code sequence with one item.
fn code(n: usize) -> Json {
    json!([{"CodeValue": format!("C{n}"), "CodingSchemeDesignator": "99EX", "CodeMeaning": format!("meaning {n}")}])
}

/// Fills the archive of a site: studies over several days whose instances disagree, duplicates
/// whose copies disagree, patients with one ID and several names in several studies, IDs that
/// differ in case, and truncated files. Returns the numbers of the files of each instance.
pub fn fill(site: &Site, files: u32) -> HashMap<String, Vec<u32>> {
    fill_with(site, files, |_, _| {})
}

/// Like [`fill`], but `vary` may add to or change the attributes of each file.
pub fn fill_with(site: &Site, files: u32, mut vary: impl FnMut(u32, &mut Json)) -> HashMap<String, Vec<u32>> {
    let mut random = random();
    let mut instances: HashMap<String, Vec<u32>> = HashMap::new();
    put_studies(site, files, |n, change| {
        let study = n / crate::killed::PER_STUDY;
        let letter = if random.below(6) == 0 { 't' } else { 'T' };
        change["PatientID"] = json!(format!("{letter}{}", study % 5));
        if study % 4 == 3 {
            change["PatientName"] = json!(format!("Stranger^S{}", study % 2));
        }
        if random.below(2) == 0 {
            let name = change["PatientName"].as_str().unwrap().to_owned();
            change["PatientName"] = json!(format!("{name}=\u{5c71}\u{7530}^{}", n % 2));
        }
        for (keyword, values) in VALUES {
            change[keyword] = json!(values[random.below(values.len())]);
        }
        change["SpecificCharacterSet"] = json!("ISO_IR 192");
        let earlier = random.below(1 + n as usize % crate::killed::PER_SERIES as usize) as u32;
        if random.below(40) == 0 {
            let series = change["SeriesInstanceUID"].as_str().unwrap().to_owned();
            change["SOPInstanceUID"] = json!(format!("{series}.{}", n - earlier));
        }
        // Either all copies of an instance are reports, or none.
        let uid = change["SOPInstanceUID"].as_str().unwrap().to_owned();
        if uid.rsplit('.').next().unwrap().parse::<u32>().unwrap() % 8 == 0 {
            change["SOPClassUID"] = json!("1.2.840.10008.5.1.4.1.1.88.11");
            change["ConceptNameCodeSequence"] = code(random.below(3));
            change["PatientSpeciesCodeSequence"] = code(random.below(3));
        }
        instances.entry(uid).or_default().push(n);
        vary(n, change);
    });
    for n in 0..files {
        let file = fs::OpenOptions::new().write(true).open(site.archive().join(path_of(n))).unwrap();
        if random.below(50) == 0 {
            file.set_len(file.metadata().unwrap().len() - 20).unwrap();
        }
        let age = 86_400 * 30 + 60 * random.below(20_000) as u64;
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    instances
}

/// A site with a filled archive, and the dump of the index that an undisturbed run makes of it.
pub struct Reference {
    pub site: Site,
    make: fn(&Site) -> Index,
    pub expected: Vec<String>,
    /// The duration of the undisturbed run.
    pub duration: Duration,
    pub random: Random,
    /// The instances of the shared archive that have several files.
    pub duplicated: Vec<String>,
}

impl Reference {
    pub fn new(files: u32, make: fn(&Site) -> Index) -> Self {
        let site = Site::in_memory();
        let instances = fill(&site, files);
        let mut reference = Self::of(site, make);
        reference.duplicated = instances.into_iter().filter(|(_, files)| files.len() > 1).map(|(uid, _)| uid).collect();
        reference
    }

    pub fn of(site: Site, make: fn(&Site) -> Index) -> Self {
        let mut reference = Reference {
            site,
            make,
            expected: Vec::new(),
            duration: Duration::ZERO,
            random: random(),
            duplicated: Vec::new(),
        };
        let index = reference.fresh_index();
        let begun = Instant::now();
        finished(reference.site.reindex(&index, &STATE));
        reference.duration = begun.elapsed();
        reference.expected = index.dump();
        reference
    }

    /// An index without rows, and no state directory.
    pub fn fresh_index(&self) -> Index {
        let _ = fs::remove_dir_all(self.site.path("state"));
        for end in ["", "-wal", "-shm", "-run"] {
            let _ = fs::remove_file(self.site.path(&format!("index.db{end}")));
        }
        let index = (self.make)(&self.site);
        if index.url.starts_with("sqlite") {
            self.site.run(&["init", "--index", &index.url]).exits(0);
        }
        index
    }

    /// Starts a run and kills it at a random moment, its last step included. Returns whether it was
    /// still running.
    pub fn kill_a_run(&mut self, index: &Index, more: &[&str]) -> bool {
        let run = self.site.start_reindex(index, &[&STATE, more].concat());
        self.kill(run, index)
    }

    /// Kills a run that has just started at a random moment.
    pub fn kill(&mut self, mut run: Running, index: &Index) -> bool {
        let part = self.random.below(1200) as f64 / 1000.0;
        self.wait_for_part(&mut run, index, part);
        let was_running = !run.is_over();
        run.kill();
        was_running
    }

    /// Waits until the index contains this part of the images. More than 1 is a moment of the last
    /// step.
    pub fn wait_for_part(&self, run: &mut Running, index: &Index, part: f64) {
        wait_for_images(run, index, (self.images() as f64 * part.min(1.0)) as u64);
        sleep(self.duration.mul_f64((part - 1.0).max(0.0)));
    }

    /// Starts a run and kills it once the index contains this part of the images. More than 1 is a
    /// moment of the last step.
    pub fn kill_a_run_at(&self, index: &Index, part: f64) {
        let mut run = self.site.start_reindex(index, &STATE);
        self.wait_for_part(&mut run, index, part);
        run.kill();
    }

    /// The number of images of the undisturbed run.
    pub fn images(&self) -> usize {
        self.expected.iter().filter(|line| line.starts_with("image: ")).count()
    }

    pub fn rerun(&self, index: &Index, more: &[&str]) -> Said {
        finished(self.site.reindex(index, &[&STATE, more].concat()))
    }

    #[track_caller]
    pub fn assert_reached(&self, dump: &[String], what: &str) {
        assert_equal(&self.expected, dump, what);
    }
}

/// Waits until a run has committed a number of images, or is over.
pub fn wait_for_images(run: &mut Running, index: &Index, images: u64) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut connection = index.connect();
    while connection.rows("SELECT COUNT(*) FROM image")[0].parse::<u64>().unwrap() < images && !run.is_over() {
        assert!(Instant::now() < deadline, "the run makes no progress");
        sleep(Duration::from_millis(2));
    }
    connection.close();
}

/// A run that is complete, with findings or without.
#[track_caller]
pub fn finished(said: Said) -> Said {
    assert!((0..=1).contains(&said.exit), "exit {}\n{}{}", said.exit, said.out, said.err);
    said
}

#[track_caller]
pub fn assert_equal(expected: &[String], dump: &[String], what: &str) {
    let [wanted, found]: [HashSet<&String>; 2] = [expected.iter().collect(), dump.iter().collect()];
    let missing: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
    let surplus: Vec<_> = dump.iter().filter(|line| !wanted.contains(line)).collect();
    println!("{what}: {} lines are missing, {} are surplus", missing.len(), surplus.len());
    for line in missing.iter().take(3).map(|line| format!("- {line}")) {
        println!("{line}");
    }
    for line in surplus.iter().take(3).map(|line| format!("+ {line}")) {
        println!("{line}");
    }
    assert_eq!((missing.len(), surplus.len(), dump.len()), (0, 0, expected.len()), "{what}");
}

#[test]
fn undisturbed_runs_over_the_shared_archive_make_equal_rows_in_any_order() {
    for make in [Site::sqlite, Index::mariadb as fn(&Site) -> Index] {
        let reference = Reference::new(size(0, 0).0, make);
        for (threads, order) in [("1", "key"), ("16", "found")] {
            let index = reference.fresh_index();
            let said = reference.rerun(&index, &["--io-threads", threads, "--insert-order", order]);
            reference.assert_reached(&index.dump(), &format!("{threads} threads, {order}"));
            assert!(said.figure("duplicates not chosen") > 25, "{}", said.out);
        }
        let count = |start: &str| reference.expected.iter().filter(|line| line.starts_with(start)).count();
        assert!(count("patient: ") > 5 && count("study: ") > 5 && count("series: ") > 15);
    }
}

#[test]
fn a_title_that_only_a_file_contains_which_is_not_chosen_leaves_the_same_rows_in_any_order() {
    let site = Site::in_memory();
    for n in 0..2000_u32 {
        let uid = format!("{}.1.1.{}", crate::support::ROOT_UID, n % 1000);
        let mut change = json!({"SOPInstanceUID": uid, "InstanceNumber": n.to_string()});
        if n < 1000 {
            change["SOPClassUID"] = json!("1.2.840.10008.5.1.4.1.1.88.11");
            change["ConceptNameCodeSequence"] = code(1);
        }
        site.add(&format!("2021-11-12-FRI/{:05}", n * 7919 % 10_000), change);
    }
    // The newer file of an instance, which is chosen, is alternately the report and the other file.
    for n in 0..2000_u32 {
        let file = site.archive().join(format!("2021-11-12-FRI/{:05}", n * 7919 % 10_000));
        let age = 86_400 * (30 + u64::from((n % 2 + n / 1000) % 2));
        let file = fs::OpenOptions::new().write(true).open(file).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    let reference = Reference::of(site, Site::sqlite);
    for (threads, order) in [("1", "key"), ("1", "found"), ("16", "found"), ("16", "key")] {
        let index = reference.fresh_index();
        reference.rerun(&index, &["--io-threads", threads, "--insert-order", order]);
        reference.assert_reached(&index.dump(), &format!("{threads} threads, {order}"));
    }
}
