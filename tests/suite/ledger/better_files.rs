//! A run that is killed after the row of an image was pointed to a better file, and again to a
//! better one.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};

use super::store::{Reference, STATE, wait_for_images};
use crate::support::{Index, ROOT_UID, Site, instance_file};

/// The number of files of a batch.
const BATCH: u32 = 500;

/// The instance that has several files.
const UID: &str = "1.2.840.99999.1.0";

/// Writes the files of a series into the directory of a day, the newest day first, so that each day
/// is a batch.
fn put_day(site: &Site, day: u32, files: u32, series: &str, vary: impl Fn(u32, &mut Json)) {
    let directory = site.archive().join(format!("2021-11-{:02}-MON", 28 - day));
    fs::create_dir_all(&directory).unwrap();
    for n in 0..files {
        let mut change = json!({
            "PatientID": "P1",
            "StudyInstanceUID": format!("{ROOT_UID}.1"),
            "SeriesInstanceUID": format!("{ROOT_UID}.1.{series}"),
            "SOPInstanceUID": format!("{ROOT_UID}.1.{series}.{day}.{n}"),
            "SeriesDescription": "",
        });
        vary(n, &mut change);
        let path = directory.join(format!("{n:04}"));
        fs::write(&path, instance_file(change)).unwrap();
        let modified = SystemTime::now() - Duration::from_secs(86_400 * u64::from(60 - day));
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    }
}

fn series_keeps_its_values(make: fn(&Site) -> Index) {
    let site = Site::in_memory();
    let copy = |n: u32, change: &mut Json| {
        if n == BATCH / 2 {
            change["SOPInstanceUID"] = json!(UID);
            change["SeriesInstanceUID"] = json!(format!("{ROOT_UID}.1.1"));
        }
    };
    put_day(&site, 0, BATCH, "1", copy);
    // The batch that inserts the second series also points the row of the image to another file.
    put_day(&site, 1, BATCH, "2", copy);
    put_day(&site, 2, BATCH, "2", |_, change| change["SeriesDescription"] = json!("only in later files"));
    put_day(&site, 3, BATCH, "3", copy);
    put_day(&site, 4, 10 * BATCH, "4", |_, _| {});
    let reference = Reference::of(site, make);
    let has_value = |row: &String| row.starts_with("series: ") && row.contains("only in later files");
    assert!(reference.expected.iter().any(has_value));
    let one_reader = ["--io-threads", "1"];
    for _ in 0..3 {
        let index = reference.fresh_index();
        let mut run = reference.site.start_reindex(&index, &[&STATE[..], &one_reader].concat());
        wait_for_images(&mut run, &index, u64::from(4 * BATCH));
        run.kill();
        reference.rerun(&index, &one_reader);
        reference.assert_reached(&index.dump(), "killed");
    }
}

#[test]
fn a_series_keeps_the_values_of_all_files_if_an_instance_had_better_files_twice_in_sqlite() {
    series_keeps_its_values(Site::sqlite);
}

#[test]
fn a_series_keeps_the_values_of_all_files_if_an_instance_had_better_files_twice_in_mariadb() {
    series_keeps_its_values(Index::mariadb);
}
