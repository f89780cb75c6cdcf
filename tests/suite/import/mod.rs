//! Imports of media and restored folders into an archive.

mod access;
mod chosen;
mod companions;
mod damaged;
mod file_names;
mod full;
mod killed;
mod media;
mod moved;
mod refused;
mod same_judgement;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::support::{Index, PASSWORD, ROOT_UID, Said, Site, instance_file, walk};

pub const LAYOUTS: [&str; 5] = ["flat", "hierarchical", "study", "combination", "patient"];

/// Returns an `import` command from a directory of the site into its archive.
pub fn importing(site: &Site, source: &str, index: &Index, more: &[&str]) -> std::process::Command {
    let _ = fs::remove_file(site.path("rejected.jsonl"));
    let mut command = site.program(&["import", source, "--index", &index.url, "--quiet"]);
    command.args(["--rejected", "rejected.jsonl"]).args(more).env("PACS_INDEX_PASSWORD", PASSWORD);
    if !more.contains(&"--archive") && !more.contains(&"--in-place") && !more.contains(&"--list") {
        command.args(["--archive", "archive"]);
    }
    command
}

pub fn import(site: &Site, source: &str, index: &Index, more: &[&str]) -> Said {
    Said::of(&mut importing(site, source, index, more))
}

/// Asserts that a full audit of the archive finds nothing.
#[track_caller]
pub fn assert_clean(site: &Site, index: &Index) {
    let archive = site.archive().display().to_string();
    let mut command = site.program(&["audit", &archive, "--index", &index.url, "--quiet", "--recheck-after", "0s"]);
    command.args(["--level", "full", "--fail-on", "info"]).env("PACS_INDEX_PASSWORD", PASSWORD);
    Said::of(&mut command).exits(0);
}

/// Writes an instance into a directory of the site outside the archive.
pub fn put(site: &Site, path: &str, change: Json) -> PathBuf {
    put_bytes(site, path, &instance_file(change))
}

pub fn put_bytes(site: &Site, path: &str, bytes: &[u8]) -> PathBuf {
    let path = site.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_modified(then).unwrap();
    path
}

/// Instances of three studies of two patients below `cd`.
pub fn medium(site: &Site, instances: u32) {
    for n in 0..instances {
        let study = n % 3;
        let modality = if study == 1 { "MR" } else { "CT" };
        let change = json!({
            "PatientID": format!("P{}", study % 2), "StudyInstanceUID": format!("{ROOT_UID}.{study}"),
            "SeriesInstanceUID": format!("{ROOT_UID}.{study}.1"), "SOPInstanceUID": uid(n), "AccessionNumber": format!("A{study}"),
            "Modality": modality, "StudyDate": format!("202111{:02}", 10 + study),
            "InstanceNumber": n.to_string(), "ImageComments": "x".repeat(n as usize % 97),
        });
        put(site, &format!("cd/DICOM/ST{study}/IM{n:05}"), change);
    }
}

pub fn uid(n: u32) -> String {
    format!("{ROOT_UID}.{}.1.{n}", n % 3)
}

/// Returns the bytes of all files below a directory, by name.
pub fn contents(directory: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    walk(directory).iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

#[test]
fn a_folder_is_copied_indexed_and_whole_and_stays_as_it_was() {
    crate::support::on_both_databases(|site, index| {
        medium(site, 30);
        let before = contents(&site.path("cd"));
        let said = import(site, "cd", index, &["--layout", "flat"]).exits(0);
        assert_eq!((said.figure("files found"), said.figure("inserted")), (30, 30));
        assert!(said.out.contains("copied into the archive and verified 30 files"), "{}", said.out);
        assert_eq!(contents(&site.path("cd")), before);
        let copies = contents(&site.archive());
        for n in 0..30 {
            assert_eq!(copies[&uid(n)], before[&format!("IM{n:05}")]);
        }
        assert_clean(site, index);
        let dump = index.dump();
        let again = import(site, "cd", index, &["--layout", "flat"]).exits(0);
        assert_eq!((again.figure("unchanged"), again.figure("inserted")), (30, 0));
        assert!(again.out.contains("verified 0 files"), "{}", again.out);
        assert_eq!((index.dump(), contents(&site.archive())), (dump, copies));
    });
}

#[test]
fn what_the_archive_has_under_an_older_day_is_not_copied_again() {
    let (site, index) = site_and_index();
    medium(&site, 6);
    import(&site, "cd", &index, &[]).exits(0);
    let today = walk(&site.archive())[0].parent().unwrap().to_owned();
    let then = site.archive().join("2020-01-01-WED");
    fs::rename(today, &then).unwrap();
    site.reindex(&index, &[]);
    put(
        &site,
        "cd/new",
        json!({"SOPInstanceUID": "1.2.99", "StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.8"}),
    );
    let said = import(&site, "cd", &index, &[]).exits(0);
    assert_eq!((said.figure("unchanged"), said.figure("inserted")), (6, 1));
    assert_eq!(walk(&then).len(), 6);
    assert_clean(&site, &index);
}

/// A site with an SQLite index, which the first run creates.
pub fn site_and_index() -> (Site, Index) {
    let site = Site::new();
    let index = site.sqlite();
    (site, index)
}
