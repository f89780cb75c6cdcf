//! Studies that a PACS files under patient rows of this program.

use super::edits::{mariadb, myisam};
use super::store::{Reference, STATE, finished, size, wait_for_images};
use crate::support::pacs::{Arrival, Pacs};
use crate::support::{Index, Site};

/// Makes a PACS receive a study of each person whose row is in the index now, and link it to that
/// row.
fn receive_studies(index: &Index) -> Vec<(String, String)> {
    let mut pacs = Pacs::of(index);
    let mut received = Vec::new();
    for (n, row) in index.rows("SELECT origid, lastname, firstname FROM patient ORDER BY origid").iter().enumerate() {
        let [patient, last, first] = row.split('|').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
        received.push((format!("9.9.{n}"), format!("{last}|{first}")));
        pacs.receive(&Arrival {
            patient,
            name: [last, first],
            study: format!("9.9.{n}"),
            series: format!("9.9.{n}.1"),
            image: format!("9.9.{n}.1.1"),
        });
    }
    assert_eq!(pacs.errors, [""; 0]);
    pacs.close();
    received
}

/// Asserts that each study of the PACS still has the name that the PACS gave it, and that each
/// study of the archive has a name that one of its files contains.
#[track_caller]
fn assert_names(index: &Index, received: &[(String, String)], what: &str) {
    let name = "SELECT lastname, firstname FROM study JOIN patient ON origid = patientid WHERE uuid =";
    let wrong: Vec<_> = received
        .iter()
        .map(|(study, name_given)| (study, name_given, index.rows(&format!("{name} '{study}'"))))
        .filter(|(_, given, now)| *now != [given.as_str()])
        .collect();
    println!("{what}: {} of {} studies are under a wrong name", wrong.len(), received.len());
    assert!(wrong.is_empty(), "{what}: {wrong:?}");
    for study in index.rows("SELECT uuid FROM study WHERE uuid NOT LIKE '9.9.%'") {
        let number: u32 = study.rsplit('.').next().unwrap().parse().unwrap();
        let found = index.rows(&format!("{name} '{study}'"));
        let is_stranger = number % 4 == 3;
        let is_right = |name: &String| match is_stranger {
            true => *name == format!("Stranger|S{}", number % 2),
            false => name.starts_with("Family|Given") || number % 5 == 4 && name == "Other|Person",
        };
        assert!(found.len() == 1 && is_right(&found[0]), "{what}: study {number} is under {found:?}");
    }
}

#[test]
fn a_study_that_a_pacs_files_under_a_row_of_a_killed_run_keeps_its_name() {
    for make in [mariadb as fn(&Site) -> Index, myisam] {
        let (files, rounds) = size(2, 10);
        let reference = Reference::new(files, make);
        for round in 0..rounds {
            let index = reference.fresh_index();
            reference.kill_a_run_at(&index, f64::from(round + 1) / f64::from(rounds + 1));
            let received = receive_studies(&index);
            reference.rerun(&index, &[]);
            assert_names(&index, &received, &format!("round {round}, the rerun"));
            reference.rerun(&index, &["--force"]);
            assert_names(&index, &received, &format!("round {round}, a later run"));
        }
    }
}

#[test]
fn a_study_that_a_pacs_files_under_a_row_of_a_running_run_keeps_its_name() {
    for make in [mariadb as fn(&Site) -> Index, myisam] {
        let (files, rounds) = size(1, 10);
        let mut reference = Reference::new(files, make);
        for round in 0..rounds {
            let index = reference.fresh_index();
            let mut run = reference.site.start_reindex(&index, &[&STATE[..], &["--io-threads", "1"]].concat());
            let part = 0.3 + reference.random.below(30) as f64 / 100.0;
            wait_for_images(&mut run, &index, (reference.images() as f64 * part) as u64);
            let received = receive_studies(&index);
            assert!(!run.is_over(), "the studies came too late");
            finished(run.end());
            assert_names(&index, &received, &format!("round {round}, the same run"));
            reference.rerun(&index, &["--force"]);
            assert_names(&index, &received, &format!("round {round}, a later run"));
        }
    }
}
