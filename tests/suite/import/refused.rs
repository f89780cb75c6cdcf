//! Files that are not imported but reported.

use std::fs;

use serde_json::json;

use super::{LAYOUTS, assert_clean, contents, import, put, put_bytes, site_and_index};
use crate::support::walk;

#[test]
fn hostile_uids_and_ids_make_no_names() {
    let uids = ["../../../tmp/x", "..", "1.2/3", ".1.2", "1.2.", "...", "1\\2", "CON"];
    let ids = ["../../x", "..", ".hidden", "a/b", "con", "NUL.1", "x ", "a:b", "", "@eaDir", "tab\there"];
    for layout in LAYOUTS {
        let (site, index) = site_and_index();
        for (n, uid) in uids.iter().enumerate() {
            put(&site, &format!("cd/uid{n}"), json!({"SOPInstanceUID": uid, "PatientID": "P1"}));
        }
        for (n, uid) in uids.iter().enumerate() {
            let change = json!({
                "StudyInstanceUID": uid, "SeriesInstanceUID": format!("1.2.5.{n}"), "SOPInstanceUID": format!("1.2.7.{n}"),
                "PatientID": "P1",
            });
            put(&site, &format!("cd/study{n}"), change);
        }
        for (n, id) in ids.iter().enumerate() {
            let change = json!({
                "PatientID": id, "StudyInstanceUID": format!("1.2.6.{n}"), "SeriesInstanceUID": format!("1.2.5.1.{n}"),
                "SOPInstanceUID": format!("1.2.8.{n}"),
            });
            put(&site, &format!("cd/id{n:02}"), change);
        }
        let undated = json!({
            "StudyDate": null, "SOPInstanceUID": "1.2.9", "PatientID": "P1", "StudyInstanceUID": "1.2.4",
            "SeriesInstanceUID": "1.2.4.1",
        });
        put(&site, "cd/undated", undated);
        let outside: Vec<_> = walk(&site.path("cd"));
        let said = import(&site, "cd", &index, &["--layout", layout]).exits(1);
        if layout == "patient" {
            for line in site.listing() {
                println!(
                    "{:<8} {:<12} {}",
                    name(&line),
                    line["reason"].as_str().unwrap(),
                    line["detail"].as_str().unwrap()
                );
            }
        }
        let rejected = site.findings("rejected");
        let count = |reason: &str, file: &str| {
            rejected.iter().filter(|line| line.starts_with(reason) && line.contains(file)).count()
        };
        assert_eq!(count("invalid-uid", " uid"), uids.len(), "{rejected:?}");
        assert_eq!(count("invalid-uid", " study"), uids.len(), "{rejected:?}");
        // Trailing spaces of an ID are padding; a tab in an ID is an ordinary character to the
        // index.
        assert_eq!(count("unsafe-name", " id"), if layout == "patient" { 10 } else { 0 }, "{rejected:?}");
        assert_eq!(count("unsafe-name", " undated"), usize::from(layout == "patient"));
        assert_eq!(said.figure("inserted") as usize, walk(&site.archive()).len());
        // No file was written elsewhere.
        let archive = site.archive();
        let all = walk(archive.parent().unwrap());
        let elsewhere: Vec<_> = all
            .iter()
            .filter(|file| !file.starts_with(&archive) && !outside.contains(file))
            .filter(|file| !file.starts_with(site.path("state")) && !file.to_string_lossy().contains("index.db"))
            .filter(|file| !file.ends_with("rejected.jsonl"))
            .collect();
        assert!(elsewhere.is_empty(), "{elsewhere:?}");
        assert!(!site.path("rejected.jsonl").to_string_lossy().contains("hidden"));
        assert_clean(&site, &index);
    }
}

fn name(line: &serde_json::Value) -> &str {
    line["path"].as_str().unwrap().rsplit('/').next().unwrap()
}

#[test]
fn another_content_of_an_instance_is_a_conflict_and_overwrites_nothing() {
    for layout in LAYOUTS {
        let (site, index) = site_and_index();
        put(&site, "cd/1", json!({"SOPInstanceUID": "1.2.3"}));
        import(&site, "cd", &index, &["--layout", layout]).exits(0);
        let (files, rows) = (contents(&site.archive()), index.dump());
        let other =
            json!({"SOPInstanceUID": "1.2.3", "ImageComments": "edited", "StudyDate": "20200101", "PatientID": "P2"});
        put(&site, "cd/1", other);
        let said = import(&site, "cd", &index, &["--layout", layout, "--move"]).exits(1);
        assert_eq!(said.figure("duplicates not chosen"), 1, "{}", said.out);
        assert_eq!(site.findings("conflict"), ["different-content 1"]);
        if layout == "flat" {
            println!("{}", site.listing()[0]);
        }
        assert_eq!((contents(&site.archive()), index.dump()), (files, rows));
        assert!(site.path("cd/1").exists(), "it is not removed");
    }
}

#[test]
fn two_files_of_one_instance_on_a_medium() {
    let (site, index) = site_and_index();
    let same = json!({"SOPInstanceUID": "1.2.3"});
    put(&site, "cd/a", same.clone());
    put(&site, "cd/b", same);
    put(&site, "cd/c", json!({"SOPInstanceUID": "1.2.3", "ImageComments": "edited", "StudyInstanceUID": "1.2.77"}));
    let said = import(&site, "cd", &index, &["--layout", "study"]).exits(1);
    let figures = ["inserted", "unchanged", "duplicates not chosen"].map(|label| said.figure(label));
    // The order of the files is not defined.
    assert!([[1, 1, 1], [1, 0, 2]].contains(&figures), "{}", said.out);
    assert_eq!(walk(&site.archive()).len(), 1);
    assert_clean(&site, &index);
}

#[test]
fn a_file_that_stands_where_a_copy_belongs_is_never_overwritten() {
    let (site, index) = site_and_index();
    put(&site, "cd/1", json!({"SOPInstanceUID": "1.2.3"}));
    let taken = site.archive().join("1.3.6.1.4.1.32473.7.1/1.2.3");
    fs::create_dir_all(taken.parent().unwrap()).unwrap();
    fs::write(&taken, "notes").unwrap();
    import(&site, "cd", &index, &["--layout", "study"]).exits(1);
    assert_eq!(fs::read(&taken).unwrap(), b"notes");
    assert_eq!(site.findings("conflict"), ["different-content 1"]);
    // A symlink is not replaced either, wherever it points.
    fs::remove_file(&taken).unwrap();
    put_bytes(&site, "elsewhere", b"precious");
    std::os::unix::fs::symlink(site.path("elsewhere"), &taken).unwrap();
    import(&site, "cd", &index, &["--layout", "study"]).exits(1);
    assert_eq!(fs::read(site.path("elsewhere")).unwrap(), b"precious");
}

#[test]
fn a_row_whose_file_cannot_be_looked_at_is_not_doubled() {
    let (site, index) = site_and_index();
    put(&site, "cd/1", json!({"SOPInstanceUID": "1.2.3"}));
    import(&site, "cd", &index, &[]).exits(0);
    index.execute("UPDATE image SET path = 'D:/DICOM/1.2.3'");
    fs::remove_dir_all(site.archive()).unwrap();
    fs::create_dir(site.archive()).unwrap();
    let said = import(&site, "cd", &index, &[]).exits(2);
    assert!(said.err.contains("is empty, and the index is not: is it mounted?"), "{}", said.err);
    let said = import(&site, "cd", &index, &["--yes", "--move"]).exits(1);
    assert_eq!((said.figure("duplicates not chosen"), walk(&site.archive()).len()), (1, 0));
    assert_eq!(site.findings("conflict"), ["not-compared 1"]);
    assert!(site.path("cd/1").exists());
}

#[test]
fn what_the_index_could_not_hold_is_not_copied() {
    let (site, index) = site_and_index();
    put(&site, "cd/long", json!({"SOPInstanceUID": "1.2.3", "PatientID": "P".repeat(200)}));
    put(&site, "cd/short", json!({"SOPInstanceUID": "1.2.4"}));
    let said = import(&site, "cd", &index, &["--layout", "study"]).exits(1);
    assert_eq!((said.figure("too-long"), said.figure("inserted")), (1, 1));
    assert_eq!(walk(&site.archive()).len(), 1);
    assert_eq!(site.findings("rejected"), ["too-long long"]);
    assert_clean(&site, &index);
}

#[test]
fn a_row_that_has_lost_its_path_gets_a_file_again() {
    let (site, index) = site_and_index();
    put(&site, "cd/1", json!({"SOPInstanceUID": "1.2.3"}));
    import(&site, "cd", &index, &[]).exits(0);
    index.execute("UPDATE image SET path = ''");
    fs::remove_file(&walk(&site.archive())[0]).unwrap();
    let said = import(&site, "cd", &index, &["--yes"]).exits(0);
    assert_eq!(said.figure("updated"), 1);
    assert_eq!(walk(&site.archive()).len(), 1);
    assert_clean(&site, &index);
}

#[test]
fn a_path_map_without_a_root_or_with_a_name_taken_twice_is_an_error() {
    let (site, index) = site_and_index();
    put(&site, "A/1", json!({"SOPInstanceUID": "1.2.1"}));
    put(&site, "B/2", json!({"SOPInstanceUID": "1.2.2"}));
    let map = |from: &str, to: &str| format!("{}={to}", site.path(from).display());
    let (a, b, archive) = (map("A", "D:/DICOM"), map("B", "d:/dicom/"), map("archive", "D:/DICOM"));
    let cases: [(&[&str], &str); 5] = [
        (&["B", "--in-place", "--path-map", &a, "--path-map", &b], "would have one name"),
        (&["B", "--in-place", "--path-map", "/typo=D:/DICOM"], "no root is there"),
        (&["--path-map", "/typo=D:/DICOM"], "no root is there"),
        // Another archive of the PACS may be mapped if it exists.
        (&["--path-map", &archive, "--path-map", "/typo=E:/DICOM"], "no root is there"),
        // The source of a copying import is not a root of the archive.
        (&["--path-map", &a], "no root is there"),
    ];
    for (more, told) in cases {
        let said = import(&site, "A", &index, more).exits(2);
        assert!(said.err.contains(told), "{more:?}: {}", said.err);
        assert!(!site.path("index.db").exists() && walk(&site.archive()).is_empty(), "{more:?}");
    }
    let target = site.path("B").display().to_string();
    let with =
        |b: &str| import(&site, "A", &index, &["--path-map", &archive, "--path-map", b, "--target-root", &target]);
    with(&map("B", "E:/")).exits(0);
    let said = with(&b).exits(2);
    assert!(said.err.contains("would have one name"), "{}", said.err);
}
