//! A DICOMDIR and the actual names of its files on the medium.

use serde_json::{Value as Json, json};

use super::{import, put, site_and_index};
use crate::support::{Index, Site, file_set};

/// The names of files in a DICOMDIR, and their names on the medium.
const NAMES: [(&str, &str); 22] = [
    (r"DICOM\IM000001", "DICOM/IM000001"),
    (r"DICOM\IM000002", "DICOM/IM000002.dcm"),
    (r"DICOM\IM000003", "DICOM/IM000003.DCM"),
    (r"DICOM\IM000004", "dicom/im000004.dcm"),
    (r"DICOM\IM000005", "DICOM/IM000005.;1"),
    (r"DICOM\IM000006", "DICOM/IM000006.DCM;1"),
    (r"DICOM\IM000007", "DICOM/IM000007."),
    ("DICOM/IM000008", "DICOM/IM000008"),
    ("DICOM/IM000009", "DICOM/IM000009.dcm"),
    (r".\DICOM\IM000010", "DICOM/IM000010"),
    ("./DICOM/IM000011", "DICOM/IM000011"),
    (r"\DICOM\IM000012", "DICOM/IM000012"),
    ("/DICOM/IM000013", "DICOM/IM000013"),
    (r"DICOM\.\IM000014", "DICOM/IM000014"),
    (r"DICOM\\IM000015", "DICOM/IM000015"),
    (r".\DICOM/SUB\IM000016.dcm", "dicom/sub/im000016"),
    (r"DICOM\IM000017.DCM", "DICOM/IM000017"),
    (r"dicom\im000018.dcm", "DICOM/IM000018.DCM;1"),
    (r"DICOM \ IM000019", "DICOM/IM000019"),
    (r"D:\DICOM\IM000020", "DICOM/IM000020"),
    // Renamed when the medium was copied: the instance is found by its UID.
    (r"DICOM\IM000021", "DICOM/CT.1.2.3"),
    (r"DICOM\SE0001\IM000022", "flat/22"),
];

fn uid(n: usize) -> String {
    format!("1.2.3.{n}")
}

fn medium(site: &Site, names: &[(&str, &str)]) {
    for (n, (_, name)) in names.iter().enumerate() {
        put(site, &format!("cd/{name}"), json!({"SOPInstanceUID": uid(n)}));
    }
    let records: Vec<(&str, String)> = names.iter().enumerate().map(|(n, (file, _))| (*file, uid(n))).collect();
    super::put_bytes(site, "cd/DICOMDIR", &file_set::dicomdir(&records));
}

fn list(site: &Site, index: &Index) -> (i32, Json) {
    let said = import(site, "cd", index, &["--list", "--format", "json"]);
    (said.exit, serde_json::from_str(&said.out).unwrap())
}

#[test]
fn files_of_a_dicomdir_are_found_by_whatever_name_the_medium_gives_them() {
    for name in NAMES {
        let (site, index) = site_and_index();
        medium(&site, &[name]);
        let (exit, json) = list(&site, &index);
        let medium = &json["media"][0];
        assert_eq!(medium["names"], 1, "{name:?}: {medium}");
        assert_eq!((&medium["missing"], &medium["not_named"]), (&json!([]), &json!(0)), "{name:?}: {medium}");
        assert_eq!(exit, 0, "{name:?}");
    }
    let (site, index) = site_and_index();
    medium(&site, &NAMES);
    let (exit, json) = list(&site, &index);
    assert_eq!((&json["media"][0]["missing"], &json["media"][0]["names"]), (&json!([]), &json!(NAMES.len())));
    assert_eq!(exit, 0, "{json:#}");
    let said = import(&site, "cd", &index, &[]).exits(0);
    assert_eq!(said.figure("inserted"), NAMES.len() as u64, "{}", said.out);
}

#[test]
fn a_file_that_is_not_on_the_medium_is_missing_whatever_is_named_alike() {
    let (site, index) = site_and_index();
    medium(&site, &NAMES[..2]);
    let records = [(r"DICOM\IM000001", uid(0)), (r"DICOM\IM000002", uid(1)), (r"DICOM\IM000003", uid(2))];
    super::put_bytes(&site, "cd/DICOMDIR", &file_set::dicomdir(&records));
    put(&site, "cd/DICOM/IM000003x", json!({"SOPInstanceUID": "1.2.9"}));
    put(&site, "elsewhere/IM000003", json!({"SOPInstanceUID": uid(2)}));
    let (exit, json) = list(&site, &index);
    assert_eq!((exit, json["media"][0]["missing"].as_array().map(Vec::len)), (1, Some(1)), "{json:#}");
    assert_eq!(json["media"][0]["not_named"], 1);
    let said = import(&site, "cd", &index, &[]).exits(1);
    assert!(said.out.contains("1 files that a DICOMDIR names are not on the medium"), "{}", said.out);
}

#[test]
fn of_files_whose_names_differ_by_their_ending_the_right_one_is_compared() {
    let (site, index) = site_and_index();
    put(&site, "cd/IM1", json!({"SOPInstanceUID": uid(1)}));
    put(&site, "cd/IM1.dcm", json!({"SOPInstanceUID": uid(2)}));
    put(&site, "cd/im1", json!({"SOPInstanceUID": uid(3)}));
    let records = [("IM1", uid(1)), ("IM1.DCM", uid(2)), ("im1", uid(3))];
    super::put_bytes(&site, "cd/DICOMDIR", &file_set::dicomdir(&records));
    let (exit, json) = list(&site, &index);
    assert_eq!((exit, &json["media"][0]["other_instances"]), (0, &json!([])), "{json:#}");
}

#[test]
fn a_record_without_a_uid_names_whatever_its_file_holds() {
    let (site, index) = site_and_index();
    put(&site, "cd/IM1", json!({"SOPInstanceUID": uid(1)}));
    super::put_bytes(&site, "cd/DICOMDIR", &file_set::dicomdir(&[("IM1", String::new())]));
    let (exit, json) = list(&site, &index);
    assert_eq!(exit, 0, "{json:#}");
    import(&site, "cd", &index, &[]).exits(0);
}
