//! A later version of the program, which indexes more attributes, resumes a killed run; an earlier
//! version does not.
//!
//! The later version is built from the source of this one, which takes minutes: these tests run in
//! the long form only. `state::formats` has a short form.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::snapshot::{Difference, Snapshot};
use super::store::{Reference, STATE, fill_with, finished, is_long, size};
use crate::support::newer_program::{self, ATTRIBUTES};
use crate::support::{Index, Running, Said, Site, TABLES};

/// Adds the columns of the new attributes, which the earlier version does not write.
fn add_columns(index: &Index) {
    for [table, column, kind, ..] in ATTRIBUTES {
        index.execute(&format!("ALTER TABLE {} ADD COLUMN {column} {kind} NULL", table.to_lowercase()));
    }
}

/// The two versions of the program, an archive, and the index that an undisturbed run of the newer
/// version makes of it.
struct Upgrade {
    reference: Reference,
    expected: Snapshot,
}

impl Upgrade {
    fn new(make: fn(&Site) -> Index) -> Self {
        let site = Site::in_memory();
        fill_with(&site, size(0, 0).0, |n, change| {
            for (at, [.., keyword, _]) in ATTRIBUTES.iter().enumerate() {
                // The instances of a row disagree, and some have no value.
                let value = (n.wrapping_mul(2_654_435_769) >> (8 + at)) % 5;
                change[*keyword] = json!(if value == 4 { String::new() } else { value.to_string() });
            }
        });
        let mut upgrade = Upgrade { reference: Reference::of(site, make), expected: Snapshot::default() };
        let index = upgrade.fresh_index();
        finished(upgrade.run_newer(&index));
        upgrade.expected = Snapshot::of(&index);
        for [table, column, ..] in ATTRIBUTES {
            let table = table.to_lowercase();
            let values: BTreeSet<&str> = upgrade.expected.table(&table).map(|(_, row)| row[column].as_str()).collect();
            assert!(values.len() > 2, "{table}.{column} has no values");
        }
        upgrade
    }

    fn fresh_index(&self) -> Index {
        let index = self.reference.fresh_index();
        add_columns(&index);
        index
    }

    /// Returns the same command for the newer version.
    fn newer(&self, index: &Index) -> Command {
        let site = &self.reference.site;
        let this = site.reindexing(&site.archive(), index, &STATE);
        let mut newer = Command::new(newer_program::path());
        newer.args(this.get_args()).current_dir(this.get_current_dir().unwrap());
        for (name, value) in this.get_envs() {
            match value {
                Some(value) => newer.env(name, value),
                None => newer.env_remove(name),
            };
        }
        newer
    }

    fn run_newer(&self, index: &Index) -> Said {
        Said::of(&mut self.newer(index))
    }

    /// Kills, at a random moment, a run that resumes another.
    fn kill_soon(&mut self, mut run: Running) -> bool {
        sleep(self.reference.duration.mul_f64(self.reference.random.below(1200) as f64 / 1000.0));
        let was_running = !run.is_over();
        run.kill();
        was_running
    }

    fn assert_reached(&self, index: &Index, edited: &[Edit], what: &str) {
        let mut lost: Vec<&Edit> = edited.iter().collect();
        let mut wrong = self.expected.differences(&Snapshot::of(index));
        wrong.retain(|one| {
            let edit = lost.iter().position(|edit| edit.explains(one));
            edit.map(|n| lost.remove(n)).is_none()
        });
        println!("{what}: {} values are wrong, {} of {} edits are lost", wrong.len(), lost.len(), edited.len());
        wrong.iter().take(5).for_each(|one| println!("{one:?}"));
        lost.iter().take(5).for_each(|edit| println!("{edit:?}"));
        assert!(wrong.is_empty() && lost.is_empty(), "{what}: {} values are wrong, {} lost", wrong.len(), lost.len());
    }
}

/// A value that a user has set to `edited`.
#[derive(Debug)]
struct Edit {
    table: &'static str,
    key: String,
    column: &'static str,
}

impl Edit {
    /// The spelling of a Patient ID is not final before the last step.
    fn explains(&self, one: &Difference) -> bool {
        (self.table, self.column) == (one.table, &one.column)
            && self.key.eq_ignore_ascii_case(&one.key)
            && one.after.as_deref() == Some("edited")
    }
}

/// Columns that users edit, some of which only the newer version knows.
const EDITED: [(&str, &str); 7] = [
    ("patient", "comments"),
    ("patient", "religion"),
    ("study", "description"),
    ("study", "comments"),
    ("series", "bodypart"),
    ("series", "laterality"),
    ("study", "accessionnum"),
];

/// Sets values of some rows of each table.
fn edit(index: &Index) -> Vec<Edit> {
    let mut edited = Vec::new();
    let mut connection = index.connect();
    for (n, (table, column)) in EDITED.into_iter().enumerate() {
        let key = TABLES.iter().find(|(name, _)| *name == table).unwrap().1;
        for row in
            connection.rows(&format!("SELECT {key} FROM {table} ORDER BY {key}")).into_iter().skip(n % 2).step_by(3)
        {
            connection.execute(&format!("UPDATE {table} SET {column} = 'edited' WHERE {key} = '{row}'"));
            edited.push(Edit { table, key: row, column });
        }
    }
    connection.close();
    edited
}

fn continue_by_a_newer_version(make: fn(&Site) -> Index) {
    if !is_long() {
        return;
    }
    let mut upgrade = Upgrade::new(make);
    for round in 0..10 {
        let index = upgrade.fresh_index();
        let was_running = upgrade.reference.kill_a_run(&index, &[]);
        println!("round {round}: {} images, running: {was_running}", index.count("image"));
        let edited = if round % 3 == 1 { edit(&index) } else { Vec::new() };
        if round % 3 == 2 {
            let run = upgrade.reference.site.start(&mut upgrade.newer(&index));
            println!("round {round}: the newer version was killed, running: {}", upgrade.kill_soon(run));
        }
        finished(upgrade.run_newer(&index));
        upgrade.assert_reached(&index, &edited, &format!("round {round}"));
        // All values are final, also for the next run.
        let said = finished(upgrade.run_newer(&index));
        assert_eq!((said.figure("inserted"), said.figure("updated")), (0, 0), "{}", said.out);
        upgrade.assert_reached(&index, &edited, &format!("round {round}, the next run"));
    }
}

#[test]
fn a_killed_run_into_sqlite_is_continued_by_a_newer_version_with_more_attributes() {
    continue_by_a_newer_version(Site::sqlite);
}

#[test]
fn a_killed_run_into_mariadb_is_continued_by_a_newer_version_with_more_attributes() {
    continue_by_a_newer_version(Index::mariadb);
}

/// Waits until the log contains records of the newer version: its head points to a frame with the
/// new attributes.
fn wait_for_new_records(site: &Site) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let has_new_form = || {
        let bytes = fs::read(site.kept_by_now("state", "catalogue")?.join("log")).ok()?;
        let form = usize::try_from(u64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?)).ok()?;
        let name = b"patient.religion";
        Some(form > 0 && bytes.get(form..)?.windows(name.len()).any(|part| part == name))
    };
    while has_new_form() != Some(true) {
        assert!(Instant::now() < deadline, "the newer version writes no records");
        sleep(Duration::from_millis(2));
    }
}

fn refuse_by_an_earlier_version(make: fn(&Site) -> Index) {
    if !is_long() {
        return;
    }
    let mut upgrade = Upgrade::new(make);
    for round in 0..4 {
        let index = upgrade.fresh_index();
        if round % 2 == 1 {
            upgrade.reference.kill_a_run(&index, &[]);
        }
        let run = upgrade.reference.site.start(&mut upgrade.newer(&index));
        wait_for_new_records(&upgrade.reference.site);
        let was_running = upgrade.kill_soon(run);
        println!("round {round}: {} images, running: {was_running}", index.count("image"));
        let before = Snapshot::of(&index);
        let refused = upgrade.reference.site.reindex(&index, &STATE).exits(2);
        assert!(refused.err.contains("a newer version of this program has written the journal"), "{}", refused.err);
        assert!(Snapshot::of(&index) == before, "round {round}: the earlier version has changed the index");
        finished(upgrade.run_newer(&index));
        upgrade.assert_reached(&index, &[], &format!("round {round}"));
    }
}

#[test]
fn a_killed_run_of_a_newer_version_into_sqlite_is_refused_by_an_earlier_one_and_goes_on() {
    refuse_by_an_earlier_version(Site::sqlite);
}

#[test]
fn a_killed_run_of_a_newer_version_into_mariadb_is_refused_by_an_earlier_one_and_goes_on() {
    refuse_by_an_earlier_version(Index::mariadb);
}
