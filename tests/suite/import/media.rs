//! Real media with a DICOMDIR.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{LAYOUTS, assert_clean, import, site_and_index};
use crate::support::{Index, Site, pydicom, walk};

/// The directory of the CDs that pydicom ships.
fn cds() -> Option<PathBuf> {
    pydicom::files().into_iter().find(|file| file.ends_with("TINY_ALPHA/DICOMDIR")).map(|file| {
        let tiny = file.parent().unwrap();
        tiny.parent().unwrap().to_owned()
    })
}

/// Makes a copy that may be altered.
fn copy(from: &Path, to: &Path) {
    for file in walk(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

#[test]
fn the_cds_of_pydicom_go_into_each_layout() {
    let Some(cds) = cds() else { return };
    let check = |site: &Site, index: &Index, layout: &str| {
        let said = import(site, cds.to_str().unwrap(), index, &["--layout", layout]).exits(0);
        // In addition to the media, there are two texts, and DICOMDIRs.
        let figures = ["inserted", "rejected", "skipped by rule"].map(|label| said.figure(label));
        assert_eq!(figures, [81, 0, 10], "{}", said.out);
        assert_clean(site, index);
        let files = walk(&site.archive());
        let below = |file: &PathBuf| file.strip_prefix(site.archive()).unwrap().parent().unwrap().to_owned();
        let directories: BTreeSet<PathBuf> = files.iter().map(below).collect();
        println!(
            "{layout:<12} {:<8} {} files in {} directories, the first {}; audit clean",
            index.url.split(':').next().unwrap(),
            files.len(),
            directories.len(),
            directories.first().unwrap().display()
        );
        (files.len(), directories.len())
    };
    let expected = [(81, 1), (81, 1), (81, 7), (81, 7), (81, 5)];
    for (layout, expected) in LAYOUTS.into_iter().zip(expected) {
        let (site, index) = site_and_index();
        assert_eq!(check(&site, &index, layout), expected, "{layout}");
        let site = Site::new();
        let index = Index::mariadb(&site);
        assert_eq!(check(&site, &index, layout), expected, "{layout}");
    }
}

#[test]
fn a_medium_is_listed_and_what_is_missing_on_it() {
    let Some(cds) = cds() else { return };
    let (site, index) = site_and_index();
    copy(&cds.join("TINY_ALPHA"), &site.path("cd"));
    fs::remove_file(site.path("cd/PT000000/ST000000/SE000000/IM00000J")).unwrap();
    let list_all = |more: &[&str]| import(&site, "cd", &index, &[&["--list"], more].concat());
    let list = |more: &[&str]| list_all(more).exits(1);
    let said = list(&["--wide"]);
    println!("{}", said.out);
    assert!(!site.path("index.db").exists() && walk(&site.archive()).is_empty(), "nothing is written");
    for told in [
        "12345678  Citizen^Jan",
        "series  1  CT",
        "DICOMDIR\n  names 50 files\n1 of them missing on the medium\n",
        "1.2.826.0.1.3680043.8.498.64108189007039777171766333999874882472",
        "PT000000/ST000000/SE000000/IM00000J (1.2.826.0.1.3680043.8.498.",
    ] {
        assert!(said.out.contains(told), "{told} in:\n{}", said.out);
    }
    let narrow = list(&[]).out;
    println!("{narrow}");
    assert!(narrow.lines().take(4).all(|line| line.chars().count() <= 80), "{narrow}");
    let json: Json = serde_json::from_str(&list(&["--format", "json"]).out).unwrap();
    println!("{json:#}");
    assert_eq!((&json["instances"], &json["state"]), (&49.into(), &"new".into()));
    assert_eq!(json["media"][0]["missing"][0]["file"], "PT000000/ST000000/SE000000/IM00000J");
    let series = |json: &Json| json["patients"][0]["studies"][0]["series"][0].clone();
    assert_eq!((&series(&json)["modality"], &series(&json)["instances"]), (&"CT".into(), &49.into()));
    // After the import, the state is complete except for the missing file.
    let said = import(&site, "cd", &index, &[]).exits(1);
    assert_eq!(said.figure("inserted"), 49);
    assert!(said.out.contains("1 files that a DICOMDIR names are not on the medium, listed"), "{}", said.out);
    assert_eq!(site.findings("medium"), ["not-on-medium DICOMDIR"]);
    let json: Json = serde_json::from_str(&list(&["--format", "json"]).out).unwrap();
    assert_eq!((&json["state"], &series(&json)["indexed"]), (&"complete".into(), &49.into()));
    // The medium is complete again.
    copy(&cds.join("TINY_ALPHA"), &site.path("cd"));
    let json: Json = serde_json::from_str(&list_all(&["--format", "json"]).exits(0).out).unwrap();
    assert_eq!((&json["state"], &json["media"][0]["missing"]), (&"partly".into(), &Json::Array(vec![])));
    import(&site, "cd", &index, &[]).exits(0);
    assert_clean(&site, &index);
}

#[test]
fn a_dicomdir_that_names_another_instance_is_told() {
    let Some(cds) = cds() else { return };
    let (site, index) = site_and_index();
    copy(&cds.join("TINY_ALPHA"), &site.path("cd"));
    let series = site.path("cd/PT000000/ST000000/SE000000");
    fs::copy(series.join("IM000001"), series.join("IM000002")).unwrap();
    let said = import(&site, "cd", &index, &["--list", "--format", "json"]).exits(1);
    let json: Json = serde_json::from_str(&said.out).unwrap();
    let other = &json["media"][0]["other_instances"];
    assert_eq!((other.as_array().map(Vec::len), json["further_files"].as_u64()), (Some(1), Some(1)), "{json:#}");
    assert!(other[0]["uid"] != other[0]["found"]);
}

#[test]
fn directories_that_are_not_looked_into_are_listed() {
    let (site, index) = site_and_index();
    super::put(&site, "cd/@eaDir/1", serde_json::json!({}));
    super::put(&site, "cd/2", serde_json::json!({"SOPInstanceUID": "1.2.3"}));
    let said = import(&site, "cd", &index, &["--list"]).exits(0);
    assert!(said.out.contains("1 directories not looked into"), "{}", said.out);
}
