//! Values that people and a PACS change while rows are unfinished, and afterwards.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::snapshot::Snapshot;
use super::store::{Reference, STATE, finished, size, wait_for_images};
use crate::support::{Connected, Index, Site};

/// Edits of each class of value: table, column, and the new value.
const EDITS: [(&str, &str, &str); 32] = [
    ("study", "description", "'edited'"),
    ("study", "description", "UPPER(description)"),
    ("study", "description", "CONCAT(description, ' ')"),
    ("series", "description", "REPLACE(description, 'e', '\u{e9}')"),
    ("series", "description", "UPPER(description)"),
    ("series", "bodypart", "'Abdomen'"),
    ("series", "bodypart", "CONCAT(bodypart, ' ')"),
    ("patient", "comments", "REPLACE(comments, 'o', '\u{f3}')"),
    ("patient", "lastname", "LOWER(lastname)"),
    ("patient", "firstname", "'Edited'"),
    ("patient", "ideographic", "'edited'"),
    ("patient", "ethnicgroup", "UPPER(ethnicgroup)"),
    ("study", "referringphysician", "REPLACE(referringphysician, 'e', '\u{e9}')"),
    ("study", "studydate", "'2001-02-03'"),
    ("study", "studytime", "'01:02:03'"),
    ("series", "seriesdate", "'2001-02-03'"),
    ("patient", "birthdate", "'1901-02-03'"),
    ("patient", "birthtime", "'01:02:03'"),
    ("series", "seriesnumber", "77"),
    ("patient", "weight", "55.5"),
    ("series", "modality", "'US'"),
    ("patient", "sex", "'O'"),
    ("study", "accessionnum", "LOWER(accessionnum)"),
    ("study", "received", "'2001-02-03 04:05:06'"),
    ("study", "sourceae", "'Test'"),
    ("study", "patientid", "'EDITED'"),
    ("series", "studyuid", "'9.9.9'"),
    ("image", "path", "'D:/DICOM/edited'"),
    ("image", "instance", "777"),
    ("image", "numrows", "99"),
    ("conceptname", "meaning", "UPPER(meaning)"),
    ("patientspeciescode", "value", "LOWER(value)"),
];

/// Derived values, which are edited in finished rows only, because they show that a row is
/// unfinished.
const DERIVED: [(&str, &str, &str); 3] =
    [("series", "instances", "77"), ("study", "modalities", "'XX'"), ("study", "modalities", "LOWER(modalities)")];

fn key_of(table: &str) -> &'static str {
    crate::support::TABLES.iter().find(|(name, _)| *name == table).unwrap().1
}

/// An edited value: a query for its bytes, and the result.
#[derive(Debug)]
struct EditedValue {
    query: String,
    bytes: Vec<String>,
}

/// Changes values of different rows. Returns them, and the edits for which there was no row to
/// change.
///
/// Only images that have several files are changed: the others are final from the start.
fn edit(
    reference: &Reference,
    connection: &mut Connected,
    edits: &[(&str, &str, &str)],
) -> (Vec<EditedValue>, Vec<String>) {
    let duplicated = format!("uuid IN ('{}')", reference.duplicated.join("', '"));
    let (mut edited, mut without_rows) = (Vec::new(), Vec::new());
    for (n, (table, column, value)) in edits.iter().enumerate() {
        let key = key_of(table);
        // Hexadecimal digits of different values differ in every collation.
        let is_meant = if *table == "image" { &duplicated } else { "1 = 1" };
        let is_change = format!("{column} IS NOT NULL AND HEX({value}) <> HEX({column}) AND {is_meant}");
        let keys = connection.rows(&format!("SELECT {key} FROM {table} WHERE {is_change} ORDER BY {key}"));
        // Several rows for each edit; edits of one column hit different rows.
        let chosen: Vec<_> = keys.iter().skip(n % 3).step_by(3.max(keys.len() / 8)).collect();
        if chosen.is_empty() {
            without_rows.push(format!("{table}.{column} = {value}"));
        }
        for row in chosen {
            connection.execute(&format!("UPDATE {table} SET {column} = {value} WHERE {key} = '{row}'"));
            let query = format!("SELECT HEX({column}) FROM {table} WHERE {key} = '{row}'");
            edited.retain(|one: &EditedValue| one.query != query);
            edited.push(EditedValue { bytes: connection.rows(&query), query });
        }
    }
    (edited, without_rows)
}

#[track_caller]
fn assert_kept(index: &Index, edited: &[EditedValue], what: &str) {
    let lost: Vec<_> = edited.iter().filter(|one| index.rows(&one.query) != one.bytes).collect();
    println!("{what}: {} of {} edits were lost", lost.len(), edited.len());
    for one in lost.iter().take(5) {
        println!("{} = {:?}, now {:?}", one.query, one.bytes, index.rows(&one.query));
    }
    assert!(lost.is_empty(), "{what}: {} of {} edits were lost", lost.len(), edited.len());
}

/// The default collation of an index ignores case, accents and trailing spaces.
pub fn mariadb(site: &Site) -> Index {
    let index = Index::mariadb(site);
    let folds = "SELECT 'Abd\u{f3}men ' COLLATE utf8mb4_general_ci = 'ABDOMEN', table_collation FROM \
                 information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'series'";
    assert_eq!(index.rows(folds), ["1|utf8mb4_general_ci"]);
    index
}

pub fn myisam(site: &Site) -> Index {
    let index = mariadb(site);
    for (table, _) in crate::support::TABLES {
        index.execute(&format!("ALTER TABLE {table} ENGINE = MyISAM"));
    }
    index
}

/// The rows to which edits of links point.
const TARGETS: &str = "INSERT INTO patient (origid, lastname, firstname) VALUES ('EDITED', 'Edited', 'Row'); \
                       INSERT INTO study (uuid, patientid) VALUES ('9.9.9', 'EDITED')";

/// Edited paths are those of another machine.
const FOREIGN_PATHS: &str = "--allow-unmapped-paths";

fn edits_after_a_kill_stay(make: fn(&Site) -> Index) {
    let (files, rounds) = size(1, 10);
    let mut reference = Reference::new(files, make);
    for round in 0..rounds {
        let index = reference.fresh_index();
        let part = 0.4 + 0.5 * reference.random.below(100) as f64 / 100.0;
        reference.kill_a_run_at(&index, part);
        let mut connection = index.connect();
        connection.execute(TARGETS);
        let (edited, without_rows) = edit(&reference, &mut connection, &EDITS);
        connection.close();
        assert!(without_rows.len() < EDITS.len() / 3, "rows are missing for {without_rows:?}");
        reference.rerun(&index, &[FOREIGN_PATHS]);
        assert_kept(&index, &edited, &format!("round {round}, the rerun"));
        reference.rerun(&index, &[FOREIGN_PATHS, "--force"]);
        assert_kept(&index, &edited, &format!("round {round}, a later run"));
    }
}

#[test]
fn edits_between_a_kill_and_the_rerun_stay_in_sqlite() {
    edits_after_a_kill_stay(Site::sqlite);
}

#[test]
fn edits_between_a_kill_and_the_rerun_stay_in_mariadb() {
    edits_after_a_kill_stay(mariadb);
}

#[test]
fn edits_between_a_kill_and_the_rerun_stay_in_myisam() {
    edits_after_a_kill_stay(myisam);
}

fn edits_between_batches_stay(make: fn(&Site) -> Index) {
    let (files, rounds) = size(1, 10);
    let mut reference = Reference::new(files, make);
    for round in 0..rounds {
        let index = reference.fresh_index();
        let mut run = reference.site.start_reindex(&index, &[&STATE[..], &["--io-threads", "1"]].concat());
        let mut edited: Vec<EditedValue> = Vec::new();
        let mut connection = index.connect();
        connection.execute(TARGETS);
        let mut in_time = 0;
        for nth in 0..3 {
            let part = 0.2 * f64::from(nth + 1) + reference.random.below(15) as f64 / 100.0;
            wait_for_images(&mut run, &index, (reference.images() as f64 * part) as u64);
            // The classes of values differ each time.
            let edits: Vec<_> = EDITS.into_iter().skip((nth + round) as usize % 3).step_by(3).collect();
            let (more, _) = edit(&reference, &mut connection, &edits);
            edited.retain(|one| more.iter().all(|other| other.query != one.query));
            edited.extend(more);
            in_time += u32::from(!run.is_over());
        }
        assert!(in_time > 0, "the edits came too late");
        connection.close();
        finished(run.end());
        assert_kept(&index, &edited, &format!("round {round}, the same run"));
        reference.rerun(&index, &[FOREIGN_PATHS, "--force"]);
        assert_kept(&index, &edited, &format!("round {round}, a later run"));
    }
}

#[test]
fn edits_of_a_living_pacs_between_batches_stay_in_sqlite() {
    edits_between_batches_stay(Site::sqlite);
}

#[test]
fn edits_of_a_living_pacs_between_batches_stay_in_mariadb() {
    edits_between_batches_stay(mariadb);
}

#[test]
fn edits_of_a_living_pacs_between_batches_stay_in_myisam() {
    edits_between_batches_stay(myisam);
}

/// Sets values of finished rows back to those that the same run had committed earlier.
fn set_back(index: &Index, earlier: &Snapshot) -> Vec<EditedValue> {
    let finished = Snapshot::of(index);
    let mut connection = index.connect();
    let mut edited = Vec::new();
    for one in earlier.differences(&finished) {
        let is_finished = match one.table {
            "series" => finished.row("series", &one.key).is_some_and(|row| row["instances"] != "-"),
            "study" => finished.row("study", &one.key).is_some_and(|row| row["modalities"] != "-"),
            _ => true,
        };
        let (Some(before), Some(_)) = (&one.before, &one.after) else { continue };
        // Links are set back only to rows that exist.
        let is_row = one.column == "*" || one.column == "patientid" && finished.row("patient", before).is_none();
        if !is_finished || is_row || before == "-" || edited.len() > 400 {
            continue;
        }
        let (table, column, key) = (one.table, &one.column, key_of(one.table));
        connection.execute(&format!("UPDATE {table} SET {column} = '{before}' WHERE {key} = '{}'", one.key));
        let query = format!("SELECT HEX({column}) FROM {table} WHERE {key} = '{}'", one.key);
        edited.push(EditedValue { bytes: connection.rows(&query), query });
    }
    connection.close();
    edited
}

/// Changes the derived values of some rows, whose other values stay unchanged.
fn edit_derived(reference: &Reference, index: &Index) -> Vec<EditedValue> {
    let mut connection = index.connect();
    let (edited, without_rows) = edit(reference, &mut connection, &DERIVED);
    connection.close();
    assert!(without_rows.is_empty(), "{without_rows:?}");
    edited
}

fn earlier_values_stay(make: fn(&Site) -> Index) {
    let (files, rounds) = size(1, 10);
    let mut reference = Reference::new(files, make);
    for round in 0..rounds {
        let _ = fs::remove_dir_all(reference.site.archive().join(NEW_FILES));
        let index = reference.fresh_index();
        let mut run = reference.site.start_reindex(&index, &[&STATE[..], &["--io-threads", "1"]].concat());
        let part = 0.4 + reference.random.below(20) as f64 / 100.0;
        wait_for_images(&mut run, &index, (reference.images() as f64 * part) as u64);
        let earlier = Snapshot::of(&index);
        finished(run.end());
        let edited = set_back(&index, &earlier);
        assert!(edited.len() > 20, "{edited:?}");
        let derived = edit_derived(&reference, &index);
        reference.rerun(&index, &["--force"]);
        assert_kept(&index, &edited, &format!("round {round}, a run over all files"));
        assert_kept(&index, &derived, &format!("round {round}, a run over all files"));
        add_new_instances(&reference, files);
        let said = reference.rerun(&index, &[]);
        assert!(said.figure("inserted") > 0, "{}", said.out);
        assert_kept(&index, &edited, &format!("round {round}, a run that inserts below the rows"));
    }
}

const NEW_FILES: &str = "2021-11-10-WED/new";

/// Adds new instances to each series, so that their rows are written to again.
fn add_new_instances(reference: &Reference, files: u32) {
    for n in (0..files).step_by(50) {
        let bytes = fs::read(reference.site.archive().join(crate::killed::path_of(n))).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let uid =
            text.split(crate::support::ROOT_UID).nth(1).unwrap().split(|c: char| c != '.' && !c.is_numeric()).next();
        let old = format!("{}{}", crate::support::ROOT_UID, uid.unwrap());
        // A UID of the same length below another root.
        let new = old.replacen("1.3.6", "1.3.5", 1);
        reference.site.write(&format!("{NEW_FILES}/{n}"), &replaced(&bytes, old.as_bytes(), new.as_bytes()));
    }
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<_> = (0..=bytes.len() - old.len()).filter(|at| &bytes[*at..at + old.len()] == old).collect();
    // Longer UIDs of other levels have the same beginning: only whole values are replaced.
    for at in places {
        if bytes.get(at + old.len()).is_none_or(|next| *next != b'.' && !next.is_ascii_digit()) {
            bytes[at..at + old.len()].copy_from_slice(new);
        }
    }
    bytes
}

#[test]
fn a_finished_row_that_is_set_back_to_an_earlier_value_keeps_it_in_sqlite() {
    earlier_values_stay(Site::sqlite);
}

#[test]
fn a_finished_row_that_is_set_back_to_an_earlier_value_keeps_it_in_mariadb() {
    earlier_values_stay(mariadb);
}

#[test]
fn a_finished_row_that_is_set_back_to_an_earlier_value_keeps_it_in_myisam() {
    earlier_values_stay(myisam);
}

/// Tests a run that is killed in its last step, when some rows are finished and some are not.
#[test]
fn a_finished_row_that_is_set_back_before_the_last_step_goes_on_keeps_the_earlier_value() {
    for make in [Site::sqlite, mariadb as fn(&Site) -> Index, myisam] {
        let (files, rounds) = size(1, 10);
        let reference = Reference::new(files, make);
        let mut done = 0;
        for tried in 0..10 * rounds {
            let index = reference.fresh_index();
            let earlier = kill_in_the_last_step(&reference, &index, Duration::from_millis(u64::from(tried % 10)));
            let is_mixed = index.rows("SELECT 1 FROM study WHERE modalities IS NULL LIMIT 1").len() == 1;
            // Other rows have no column that shows whether they are finished.
            let has_mark = |one: &EditedValue| one.query.contains("FROM series") || one.query.contains("FROM study");
            let edited: Vec<_> = set_back(&index, &earlier).into_iter().filter(has_mark).collect();
            if is_mixed && !edited.is_empty() {
                done += 1;
                reference.rerun(&index, &[]);
                assert_kept(&index, &edited, "the rerun");
            }
            if done == rounds {
                break;
            }
        }
        assert_eq!(done, rounds, "too few kills were between two rows of the last step");
    }
}

/// Kills a run a while after it has finished its first series. Returns the values from before the
/// last step.
fn kill_in_the_last_step(reference: &Reference, index: &Index, later: Duration) -> Snapshot {
    let mut run = reference.site.start_reindex(index, &STATE);
    wait_for_images(&mut run, index, reference.images() as u64 * 3 / 4);
    let earlier = Snapshot::of(index);
    let deadline = Instant::now() + Duration::from_secs(60);
    let first_finished = "SELECT 1 FROM series WHERE instances IS NOT NULL LIMIT 1";
    let mut connection = index.connect();
    while connection.rows(first_finished).is_empty() && !run.is_over() && Instant::now() < deadline {
        sleep(Duration::from_micros(500));
    }
    sleep(later);
    connection.close();
    run.kill();
    earlier
}

/// A series of an earlier run loses values together with an image that was linked to another series
/// by hand. The columns derived from child rows are not stale then.
fn derived_values_stay(make: fn(&Site) -> Index) {
    let site = Site::new();
    for (series, n, description) in [(1, 1, "first"), (1, 2, "second"), (2, 3, "first")] {
        site.add(
            &format!("2021-11-12-FRI/{n}"),
            json!({"StudyInstanceUID": "1.2", "SeriesInstanceUID": format!("1.2.{series}"), "Modality": "CT",
                "SOPInstanceUID": format!("1.2.{series}.{n}"), "SeriesDescription": description}),
        );
    }
    let index = make(&site);
    site.reindex(&index, &STATE);
    let descriptions = "SELECT description FROM series ORDER BY uuid";
    assert_eq!(index.rows(descriptions), ["second", "first"]);
    index.execute("UPDATE image SET seriesuid = '1.2.2' WHERE uuid = '1.2.1.2'");
    index.execute("UPDATE series SET instances = 77 WHERE uuid = '1.2.1'");
    index.execute("UPDATE study SET modalities = 'ct'");
    finished(site.reindex(&index, &[&STATE[..], &["--force"]].concat()));
    assert_eq!(index.rows(descriptions), ["first", "first"], "the row says what its images say");
    assert_eq!(index.rows("SELECT instances FROM series WHERE uuid = '1.2.1'"), ["77"]);
    assert_eq!(index.rows("SELECT modalities FROM study"), ["ct"]);
}

#[test]
fn derived_values_that_were_edited_stay_when_a_series_loses_values() {
    for make in [Site::sqlite as fn(&Site) -> Index, mariadb, myisam] {
        derived_values_stay(make);
    }
}

#[test]
fn derived_values_that_were_edited_stay_when_the_files_of_an_instance_are_read_again_one_after_the_other() {
    for make in [Site::sqlite as fn(&Site) -> Index, mariadb, myisam] {
        let site = Site::new();
        let add = |name: &str, days: u64| {
            let file = json!({"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.1", "SOPInstanceUID": "1.2.1.1",
                "Modality": "CT", "SeriesDescription": name});
            crate::conflicts::put(&site, &format!("archive/2021-11-12-FRI/{name}"), days, file);
        };
        let index = make(&site);
        // The row of the image is inserted for one file, and later pointed to a better one.
        let one_by_one = ["--portion", "1", "--io-threads", "1"];
        add("older", 1);
        site.reindex(&index, &[&STATE[..], &one_by_one].concat());
        add("newer", 2);
        site.reindex(&index, &[&STATE[..], &one_by_one].concat());
        assert_eq!(index.rows("SELECT description FROM series"), ["newer"]);
        index.execute("UPDATE series SET instances = 77");
        index.execute("UPDATE study SET modalities = 'ct'");
        finished(site.reindex(&index, &[&STATE[..], &one_by_one, &["--force"]].concat()));
        assert_eq!(index.rows("SELECT instances FROM series"), ["77"]);
        assert_eq!(index.rows("SELECT modalities FROM study"), ["ct"]);
    }
}
