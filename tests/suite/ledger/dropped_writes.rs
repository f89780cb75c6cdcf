//! A machine that loses power: the program is killed, and all writes that were not synced are lost
//! from its state directory.

use std::fs;
use std::io::{self, Write};

use super::store::{Reference, size};
use crate::support::volatile::VolatileDisk;
use crate::support::{Index, Site};

/// Mounts a disk as the state directory. Returns `None` if this system has no FUSE or does not
/// allow it.
fn mount(site: &Site) -> Option<VolatileDisk> {
    let _ = fs::remove_dir_all(site.path("state"));
    let mounted = VolatileDisk::mount(&site.path("state"));
    // Written to stderr directly, because the test harness hides the output of tests that pass.
    let not_run = |error| writeln!(io::stderr(), "\n*** NOT RUN: a file system cannot be mounted: {error} ***\n");
    mounted.map_err(not_run).ok()
}

fn lose_unsynced_writes(make: fn(&Site) -> Index) {
    let (files, rounds) = size(3, 10);
    let mut reference = Reference::new(files, make);
    let mut lost = 0;
    for round in 0..rounds {
        let index = reference.fresh_index();
        let Some(disk) = mount(&reference.site) else { return };
        let was_running = reference.kill_a_run(&index, &[]);
        let images = index.count("image");
        let bytes = disk.lose_unsynced();
        println!("round {round}: {images} images, running: {was_running}; {bytes} bytes were not synced");
        lost += bytes;
        reference.rerun(&index, &[]);
        reference.assert_reached(&index.dump(), &format!("round {round}"));
    }
    // If each file is a transaction of its own, there may be no unsynced writes at the moment of
    // the kill.
    let is_by_file = std::env::var("PACS_INDEX_TEST_PORTION").is_ok_and(|portion| portion == "1");
    assert!(lost > 0 || is_by_file, "everything was synced at each moment");
}

#[test]
fn a_run_into_sqlite_on_a_machine_that_lost_power_goes_on_as_if_it_had_not() {
    lose_unsynced_writes(Site::sqlite);
}

#[test]
fn a_run_into_mariadb_on_a_machine_that_lost_power_goes_on_as_if_it_had_not() {
    lose_unsynced_writes(Index::mariadb);
}

#[test]
fn the_disk_of_these_tests_keeps_what_was_synced_and_nothing_else() {
    let site = Site::new();
    let Some(disk) = mount(&site) else { return };
    let path = |name: &str| site.path("state").join(name);
    let write = |name: &str, text: &str| {
        let mut file = fs::File::create(path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    fs::create_dir(path("a")).unwrap();
    write("a/synced", "one").sync_all().unwrap();
    let mut appended = write("a/appended", "one");
    appended.sync_data().unwrap();
    appended.write_all(b" two").unwrap();
    write("a/unsynced", "one");
    write("a/new", "two").sync_all().unwrap();
    fs::rename(path("a/new"), path("a/synced")).unwrap();
    assert_eq!(fs::read_to_string(path("a/synced")).unwrap(), "two");
    assert_eq!(disk.lose_unsynced(), 7);
    assert_eq!(fs::read_to_string(path("a/synced")).unwrap(), "one");
    assert_eq!(fs::read_to_string(path("a/new")).unwrap(), "two");
    assert_eq!(fs::read_to_string(path("a/appended")).unwrap(), "one");
    assert!(!path("a/unsynced").exists());
    fs::rename(path("a/new"), path("a/synced")).unwrap();
    fs::File::open(path("a")).unwrap().sync_all().unwrap();
    disk.lose_unsynced();
    assert_eq!(fs::read_to_string(path("a/synced")).unwrap(), "two");
    assert!(!path("a/new").exists());
}
