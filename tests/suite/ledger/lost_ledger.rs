//! The state directory of a killed run is lost.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;

use serde_json::json;

use super::snapshot::{Difference, Row, Snapshot};
use super::store::{Reference, finished, size, wait_for_images};
use crate::support::{Index, ROOT_UID, Site};

/// The tables whose rows belong to a person.
const PEOPLE: [&str; 4] = ["patient", "patientspeciescode", "patientbreedcode", "breedregistration"];

/// Returns the ID in the files, without the suffix that distinguishes people with the same ID.
fn base(patient: &str) -> String {
    patient.split('[').next().unwrap().to_lowercase()
}

/// Returns the studies of each patient row. The databases compare Patient IDs case-insensitively.
fn studies_by_patient(snapshot: &Snapshot) -> BTreeMap<String, BTreeSet<String>> {
    let mut studies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (study, row) in snapshot.table("study") {
        studies.entry(row["patientid"].to_lowercase()).or_default().insert(study.to_owned());
    }
    studies
}

/// Returns the IDs that several people share in one of two snapshots, or whose spelling differs
/// between the snapshots: keys stay.
fn contested(snapshots: [&Snapshot; 2]) -> BTreeSet<String> {
    let mut rows: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (key, _) in snapshots.into_iter().flat_map(|snapshot| snapshot.table("patient")) {
        rows.entry(base(key)).or_default().insert(key);
    }
    rows.into_iter().filter(|(_, keys)| keys.len() > 1).map(|(id, _)| id).collect()
}

/// The exceptions that `--existing complete` may leave.
struct Exceptions<'a> {
    reference: &'a Snapshot,
    completed: &'a Snapshot,
    contested: BTreeSet<String>,
    reported: HashSet<String>,
}

impl Exceptions<'_> {
    /// Returns whether a difference between the reference and the completed index is allowed and,
    /// if necessary, was reported.
    fn allow(&self, difference: &Difference) -> bool {
        let Difference { table, key, column, before, after } = difference;
        let is_reported = self.reported.contains(key);
        match (*table, column.as_str(), before, after) {
            // The codes of an animal belong to the patient row.
            (table, ..) if PEOPLE.contains(&table) => self.contested.contains(&base(key)),
            ("study", "patientid", Some(before), Some(after)) => {
                let is_other_spelling = before.eq_ignore_ascii_case(after);
                let is_contested = base(before) == base(after) && self.contested.contains(&base(before));
                (is_other_spelling || is_contested) && is_reported
            }
            ("study", "received", Some(before), Some(after)) => after != "-" && after > before && is_reported,
            // A row that is named only by a file that was not chosen.
            ("study" | "series", "*", None, Some(_)) => self.has_no_images(table, key) && is_reported,
            _ => false,
        }
    }

    fn has_no_images(&self, table: &str, key: &str) -> bool {
        let images_below = |series: &str| self.completed.table("image").any(|(_, image)| image["seriesuid"] == series);
        match table {
            "series" => !images_below(key),
            _ => !self.completed.table("series").any(|(series, row)| row["studyuid"] == key && images_below(series)),
        }
    }

    /// Returns the people whose studies are the same in both snapshots although their values differ
    /// in a column other than the key.
    fn changed_people(&self) -> Vec<String> {
        let of_reference = studies_by_patient(self.reference);
        let mut changed = Vec::new();
        for (patient, studies) in studies_by_patient(self.completed) {
            let same = of_reference.iter().find(|(_, others)| **others == studies).map(|(patient, _)| patient);
            for table in PEOPLE {
                let row = values_of(self.completed, table, &patient);
                if table == "patient" && row.is_none() {
                    changed.push(format!("the patient of {studies:?} has no row"));
                }
                let other = same.map(|patient| values_of(self.reference, table, patient));
                if other.as_ref().is_some_and(|other| *other != row) {
                    changed.push(format!("{table} of {patient}, {studies:?}: {other:?} -> {row:?}"));
                }
            }
        }
        changed
    }
}

/// Returns the values of a person's row in a table, without the key.
fn values_of(snapshot: &Snapshot, table: &'static str, patient: &str) -> Option<Row> {
    let mut rows = snapshot.table(table).filter(|(key, _)| key.eq_ignore_ascii_case(patient));
    let mut row = rows.next()?.1.clone();
    row.retain(|column, _| !["origid", "patientid"].contains(&column.as_str()));
    Some(row)
}

fn reported(site: &Site) -> HashSet<String> {
    site.listing().iter().filter_map(|line| line["uid"].as_str().map(str::to_owned)).collect()
}

const COMPLETE: [&str; 2] = ["--existing", "complete"];

fn complete_without_a_ledger(make: fn(&Site) -> Index) {
    let (files, rounds) = size(2, 10);
    let mut reference = Reference::new(files, make);
    let undisturbed = {
        let index = reference.fresh_index();
        reference.rerun(&index, &[]);
        Snapshot::of(&index)
    };
    for round in 0..rounds {
        let index = reference.fresh_index();
        if !reference.kill_a_run(&index, &[]) {
            println!("round {round}: the run was over");
        }
        fs::remove_dir_all(reference.site.path("state")).unwrap();
        let killed = Snapshot::of(&index);
        let has_unfinished = killed.table("series").any(|(_, row)| row["instances"] == "-");
        let said = reference.rerun(&index, &[]);
        let filled = Snapshot::of(&index);
        let changed: Vec<_> = killed
            .differences(&filled)
            .into_iter()
            .filter(|one| !matches!(one.before.as_deref(), None | Some("-")))
            .collect();
        let count = changed.len();
        assert!(changed.is_empty(), "round {round}: {count} values were changed: {:?}", &changed[..count.min(5)]);
        assert!(!has_unfinished || said.out.contains("unfinished"), "round {round}: not reported: {}", said.out);
        if round % 2 == 1 {
            reference.kill_a_run(&index, &COMPLETE);
        }
        let said = reference.site.reindex(&index, &[&super::store::STATE[..], &COMPLETE].concat());
        finished(said);
        let completed = Snapshot::of(&index);
        let exceptions = Exceptions {
            reference: &undisturbed,
            completed: &completed,
            contested: contested([&undisturbed, &completed]),
            reported: reported(&reference.site),
        };
        let differences = undisturbed.differences(&completed);
        let wrong: Vec<_> = differences.iter().filter(|one| !exceptions.allow(one)).collect();
        println!("round {round}: {} differences, {} of them not allowed", differences.len(), wrong.len());
        assert!(wrong.is_empty(), "round {round}: {:?}", &wrong[..wrong.len().min(5)]);
        assert_eq!(exceptions.changed_people(), [""; 0], "round {round}");
    }
}

#[test]
fn rows_in_sqlite_of_a_killed_run_without_its_state_are_reported_and_can_be_completed() {
    complete_without_a_ledger(Site::sqlite);
}

#[test]
fn rows_in_mariadb_of_a_killed_run_without_its_state_are_reported_and_can_be_completed() {
    complete_without_a_ledger(Index::mariadb);
}

/// After a killed run whose state is lost, the spelling of a link cannot be changed: links stay.
fn studies_spell_their_patient_as_its_row_does(make: fn(&Site) -> Index) {
    let site = Site::in_memory();
    for n in 0..600 {
        let study = format!("{ROOT_UID}.{n}");
        let id = format!("{}{}", if n / 7 % 2 == 0 { "P" } else { "p" }, n % 7);
        let change = json!({"PatientID": id, "StudyInstanceUID": study, "SeriesInstanceUID": format!("{study}.1"),
            "SOPInstanceUID": format!("{study}.1.1")});
        site.add(&format!("2021-11-12-FRI/{n}"), change);
    }
    let index = make(&site);
    if index.url.starts_with("sqlite") {
        site.run(&["init", "--index", &index.url]).exits(0);
    }
    let mut run = site.start_reindex(&index, &["--state", "state", "--portion", "7"]);
    wait_for_images(&mut run, &index, 200);
    run.kill();
    let snapshot = Snapshot::of(&index);
    let rows: BTreeSet<&str> = snapshot.table("patient").map(|(key, _)| key).collect();
    let mut links: BTreeSet<&str> = snapshot.table("study").map(|(_, row)| row["patientid"].as_str()).collect();
    assert!(links.len() >= 7, "{links:?}");
    links.retain(|link| !rows.contains(link));
    assert_eq!(links, BTreeSet::new(), "the rows are {rows:?}");
}

#[test]
fn studies_of_a_killed_run_spell_their_patient_as_the_row_of_the_patient_does() {
    studies_spell_their_patient_as_its_row_does(Site::sqlite);
    studies_spell_their_patient_as_its_row_does(Index::mariadb);
}
