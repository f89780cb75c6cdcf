//! Which of several files of an instance is indexed, and which of their values are used: complete
//! files and whole values.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};

use crate::import::importing;
use crate::support::random::Random;
use crate::support::{Index, ROOT_UID, Said, Site, encoded_instance_file, instance_file, walk};

/// A file that an interrupted copy left next to the complete file.
struct BrokenOff {
    what: &'static str,
    name: &'static str,
    /// Creates the complete file of an instance.
    make: fn(&str) -> Vec<u8>,
    /// The number of bytes missing from the complete file.
    missing: usize,
}

fn native(uid: &str) -> Vec<u8> {
    instance_file(
        json!({"SOPInstanceUID": uid, "Rows": "64", "Columns": "64", "SamplesPerPixel": "1", "BitsAllocated": "16",
                         "PixelData": {"hex": "00".repeat(8192)}}),
    )
}

fn native_of_unknown_size(uid: &str) -> Vec<u8> {
    instance_file(json!({"SOPInstanceUID": uid, "PixelData": {"hex": "00".repeat(8192)}}))
}

fn header(uid: &str) -> Vec<u8> {
    instance_file(json!({"SOPInstanceUID": uid, "Rows": null, "Columns": null, "ImageComments": "x".repeat(4000)}))
}

/// Pixel data of two fragments after an empty offset table (PS3.5 A.4).
fn encapsulated(uid: &str) -> Vec<u8> {
    let header = encoded_instance_file(json!({"SOPInstanceUID": uid}), "1.2.840.10008.1.2.4.50");
    let fragment = [&b"\xFE\xFF\x00\xE0\x00\x10\x00\x00"[..], &[7; 4096]].concat();
    let pixels = b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\0\0\0\0";
    [&header[..], pixels, &fragment, &fragment, b"\xFE\xFF\xDD\xE0\0\0\0\0"].concat()
}

/// Encapsulated pixel data after a sequence of functional groups, as in all enhanced images, or
/// after an overlay.
fn behind_bulk_data(uid: &str) -> Vec<u8> {
    let file = encapsulated(uid);
    let pixels = file.windows(6).position(|bytes| bytes == b"\xE0\x7F\x10\x00OB").unwrap();
    let overlay = [&b"\x00\x60\x00\x30OW\0\0\x00\x02\x00\x00"[..], &[1; 512]].concat();
    [&file[..pixels], &overlay, &file[pixels..]].concat()
}

/// Bytes that compress badly, deflated together with the data set (PS3.5 A.5).
fn deflated(uid: &str) -> Vec<u8> {
    let mut random = Random(7);
    let hex: String = (0..2048).map(|_| format!("{:08x}", random.next() as u32)).collect();
    encoded_instance_file(json!({"SOPInstanceUID": uid, "PixelData": {"hex": hex}}), "1.2.840.10008.1.2.1.99")
}

const BROKEN_OFF: [BrokenOff; 9] = [
    BrokenOff { what: "native pixel data", name: "1.2.3.filepart", make: native, missing: 4000 },
    BrokenOff { what: "pixel data of unknown size", name: "1.2.3 (1)", make: native_of_unknown_size, missing: 2 },
    BrokenOff { what: "a fragment", name: ".1.2.3.Ab12cD", make: encapsulated, missing: 4104 },
    BrokenOff { what: "the end of fragments", name: "1.2.3.tmp", make: encapsulated, missing: 8 },
    BrokenOff { what: "a header", name: "1.2.3.part", make: header, missing: 2000 },
    BrokenOff { what: "pixels behind bulk data", name: "1.2.3.a", make: behind_bulk_data, missing: 200 },
    BrokenOff { what: "all pixels", name: "1.2.3.b", make: native_of_unknown_size, missing: 8192 + 12 },
    BrokenOff { what: "a deflated data set", name: "1.2.3.c", make: deflated, missing: 3000 },
    BrokenOff { what: "the end of a deflated data set", name: "1.2.3.d", make: deflated, missing: 20 },
];

const UID: &str = "1.3.6.1.4.1.32473.7.1.1.1";

fn path(site: &Site, name: &str) -> PathBuf {
    site.archive().join("2021-11-12-FRI").join(name)
}

/// Writes a file whose age is given in hours.
fn write(site: &Site, name: &str, bytes: &[u8], age: u64) {
    let path = path(site, name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    let modified = SystemTime::now() - Duration::from_secs(3600 * age);
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

fn reindex(site: &Site, index: &Index, choice: &str) -> Said {
    site.reindex(index, &["--duplicates", choice])
}

fn indexed_file(index: &Index) -> String {
    let paths = index.rows("SELECT path FROM image");
    assert_eq!(paths.len(), 1);
    paths[0].rsplit('/').next().unwrap().to_owned()
}

#[test]
fn a_complete_file_is_indexed_and_not_a_younger_or_older_copy_that_was_broken_off() {
    for copy in BROKEN_OFF {
        let bytes = (copy.make)(UID);
        let cut = &bytes[..bytes.len() - copy.missing];
        for choice in ["newest", "oldest"] {
            let age_of_copy = if choice == "newest" { 1 } else { 100 };
            for order in ["at once", "complete file first", "copy first"] {
                let what = format!("{}, {choice}, {order}", copy.what);
                let site = Site::in_memory();
                let index = site.sqlite();
                if order != "copy first" {
                    write(&site, "1.2.3", &bytes, 50);
                }
                if order == "complete file first" {
                    assert!(reindex(&site, &index, choice).exit <= 1);
                }
                write(&site, copy.name, cut, age_of_copy);
                if order == "copy first" {
                    assert!(reindex(&site, &index, choice).exit <= 1);
                    assert_eq!(indexed_file(&index), copy.name, "{what}");
                    write(&site, "1.2.3", &bytes, 50);
                }
                let said = reindex(&site, &index, choice);
                assert_eq!(indexed_file(&index), "1.2.3", "{what}");
                assert_eq!(said.figure("duplicates not chosen"), 1, "{what}");
                reindex(&site, &index, choice);
                assert_eq!(indexed_file(&index), "1.2.3", "{what}, later");
            }
        }
    }
}

#[test]
fn of_copies_that_were_all_broken_off_the_newest_is_indexed_and_a_copy_that_is_completed_later_wins() {
    for copy in BROKEN_OFF {
        let site = Site::in_memory();
        let index = site.sqlite();
        let bytes = (copy.make)(UID);
        let cut = &bytes[..bytes.len() - copy.missing];
        write(&site, "old", cut, 50);
        write(&site, "new", cut, 40);
        reindex(&site, &index, "newest");
        assert_eq!(indexed_file(&index), "new", "{}", copy.what);
        write(&site, "old", &bytes, 45);
        reindex(&site, &index, "newest");
        assert_eq!(indexed_file(&index), "old", "{}", copy.what);
    }
}

#[test]
fn bytes_behind_the_pixels_do_not_make_a_file_incomplete() {
    for make in [native, encapsulated, behind_bulk_data] {
        for tail in [&b"\0"[..], b"\r\n", b"garbage"] {
            let site = Site::in_memory();
            let index = site.sqlite();
            write(&site, "old", &make(UID), 50);
            write(&site, "new", &[&make(UID), tail].concat(), 40);
            reindex(&site, &index, "newest");
            assert_eq!(indexed_file(&index), "new");
        }
    }
}

#[test]
fn an_import_copies_one_of_several_damaged_files_and_reports_only_what_it_takes() {
    for layout in ["flat", "patient"] {
        for patients in [["P", "P"], ["P", "Q"]] {
            let site = Site::in_memory();
            let index = site.sqlite();
            fs::create_dir_all(site.path("cd")).unwrap();
            for (n, patient) in patients.iter().enumerate() {
                let bytes = instance_file(json!({"PatientID": patient, "PixelData": {"hex": "00".repeat(8192)}}));
                fs::write(site.path(&format!("cd/{n}")), &bytes[..bytes.len() - 100]).unwrap();
            }
            let said = Said::of(&mut importing(&site, "cd", &index, &["--layout", layout])).exits(1);
            assert_eq!(walk(&site.archive()).len(), 1, "{layout} {patients:?}");
            assert!(said.out.contains("1 damaged files"), "{}", said.out);
            let is_same = patients[0] == patients[1];
            assert_eq!(said.figure("unchanged"), u64::from(is_same), "{}", said.out);
            assert_eq!(said.figure("duplicates not chosen"), u64::from(!is_same), "{}", said.out);
        }
    }
}

#[test]
fn an_import_takes_the_complete_file_whichever_it_meets_first() {
    for copy in BROKEN_OFF {
        let site = Site::in_memory();
        let index = site.sqlite();
        for n in 0..40 {
            let directory = site.path(&format!("cd/{n:02}"));
            fs::create_dir_all(&directory).unwrap();
            let bytes = (copy.make)(&format!("{ROOT_UID}.1.1.1{n:02}"));
            let (first, second) = if n % 2 == 0 { ("a", "b") } else { ("b", "a") };
            fs::write(directory.join(first), &bytes).unwrap();
            fs::write(directory.join(second), &bytes[..bytes.len() - copy.missing]).unwrap();
        }
        Said::of(&mut importing(&site, "cd", &index, &[])).exits(1);
        let paths = index.rows("SELECT path FROM image");
        assert_eq!(paths.len(), 40, "{}", copy.what);
        for path in paths {
            let complete = (copy.make)(path.rsplit('/').next().unwrap()).len() as u64;
            assert_eq!(fs::metadata(&path).unwrap().len(), complete, "{}: {path}", copy.what);
        }
    }
}

#[test]
fn an_import_takes_a_damaged_file_that_no_other_file_replaces() {
    // A data set that ends exactly after an element shows no damage.
    for copy in BROKEN_OFF.into_iter().filter(|copy| copy.what != "all pixels") {
        let site = Site::in_memory();
        let index = site.sqlite();
        let bytes = (copy.make)(UID);
        fs::create_dir_all(site.path("cd")).unwrap();
        fs::write(site.path("cd/1"), &bytes[..bytes.len() - copy.missing]).unwrap();
        let said = Said::of(&mut importing(&site, "cd", &index, &[])).exits(1);
        assert_eq!(index.count("image"), 1, "{}", copy.what);
        assert!(said.out.contains("1 damaged files"), "{}", said.out);
    }
}

#[test]
fn a_name_and_a_date_with_its_time_are_taken_whole_from_one_file() {
    let site = Site::in_memory();
    let put = |n: u32, day: &str, change: Json| {
        let mut all = json!({"SOPInstanceUID": format!("{ROOT_UID}.1.1.{n}"), "PatientID": "P1"});
        all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        site.write(&format!("{day}/{n}"), &instance_file(all));
    };
    put(
        1,
        "2021-11-11-THU",
        json!({"PatientName": "DOE^JANE", "StudyDate": "20211111", "StudyTime": "101500",
        "SeriesDate": "20211111", "SeriesTime": "101500", "PatientBirthDate": "19610314", "PatientBirthTime": "0800"}),
    );
    put(
        2,
        "2021-11-12-FRI",
        json!({"PatientName": "DOE JANE", "StudyDate": "20211112", "StudyTime": "",
        "SeriesDate": "20211112", "SeriesTime": "", "PatientBirthDate": "19610315", "PatientBirthTime": ""}),
    );
    let expected = |index: &Index| {
        assert_eq!(index.rows("SELECT lastname, COALESCE(NULLIF(firstname, ''), '-') FROM patient"), ["DOE JANE|-"]);
        assert_eq!(index.rows("SELECT studydate, COALESCE(NULLIF(studytime, ''), '-') FROM study"), ["2021-11-12|-"]);
        assert_eq!(
            index.rows("SELECT seriesdate, COALESCE(NULLIF(seriestime, ''), '-') FROM series"),
            ["2021-11-12|-"]
        );
        assert_eq!(index.rows("SELECT birthdate, COALESCE(NULLIF(birthtime, ''), '-') FROM patient"), ["1961-03-15|-"]);
    };
    for index in [site.sqlite(), Index::mariadb(&site)] {
        site.reindex(&index, &[]);
        expected(&index);
    }
    // Refreshed rows of another program get whole values, too.
    let _ = fs::remove_dir_all(site.path("state"));
    let index = Index::sqlite(site.path("other.db"));
    site.run(&["init", "--index", &index.url]).exits(0);
    index.execute("INSERT INTO patient (origid, lastname, firstname) VALUES ('P1', 'DOE', 'JANE')");
    index.execute(&format!(
        "INSERT INTO study (uuid, patientid, studydate, studytime) VALUES ('{ROOT_UID}.1', 'P1', '2021-11-11', '10:15:00')"
    ));
    site.reindex(&index, &["--existing", "refresh", "--undo", "undo"]);
    assert_eq!(index.rows("SELECT lastname, COALESCE(NULLIF(firstname, ''), '-') FROM patient"), ["DOE JANE|-"]);
    assert_eq!(index.rows("SELECT studydate, COALESCE(NULLIF(studytime, ''), '-') FROM study"), ["2021-11-12|-"]);
}

#[test]
fn a_better_file_that_was_missing_in_a_run_takes_its_row_again() {
    let site = Site::new();
    let index = site.sqlite();
    write(&site, "former", &native(UID), 50);
    reindex(&site, &index, "newest").exits(0);
    write(&site, "better", &native(UID), 10);
    reindex(&site, &index, "newest").exits(1);
    assert_eq!(indexed_file(&index), "better");
    let (better, outside) = (path(&site, "better"), site.path("outside"));
    fs::rename(&better, &outside).unwrap();
    assert!(reindex(&site, &index, "newest").exit <= 1);
    assert_eq!(indexed_file(&index), "former");
    fs::rename(&outside, &better).unwrap();
    reindex(&site, &index, "newest").exits(1);
    assert_eq!(indexed_file(&index), "better");
}
