//! Sources that are removed once they are in the archive.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::{assert_clean, contents, import, medium, put, put_bytes, site_and_index};
use crate::support::{on_both_databases, walk};

#[test]
fn a_source_is_removed_once_its_row_is_there() {
    on_both_databases(|site, index| {
        medium(site, 20);
        put_bytes(site, "cd/readme.txt", b"a text that comes with the medium, and stays there");
        let before = contents(&site.path("cd"));
        let said = import(site, "cd", index, &["--layout", "combination", "--move"]).exits(0);
        assert!(
            said.out.contains("source files removed 20, left in place 1; imported and kept nevertheless 0"),
            "{}",
            said.out
        );
        assert_eq!(contents(&site.path("cd")).into_keys().collect::<Vec<_>>(), ["readme.txt"]);
        let copies: Vec<_> = contents(&site.archive()).into_values().collect();
        assert!(before.iter().filter(|(name, _)| *name != "readme.txt").all(|(_, bytes)| copies.contains(bytes)));
        assert_clean(site, index);
    });
}

#[test]
fn what_the_index_does_not_take_stays_in_the_source() {
    let (site, index) = site_and_index();
    medium(&site, 3);
    import(&site, "cd", &index, &[]).exits(0);
    index.execute(
        "CREATE TRIGGER refuses BEFORE INSERT ON image WHEN NEW.uuid = '1.2.3' BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    put(&site, "cd/refused", json!({"SOPInstanceUID": "1.2.3"}));
    let said = import(&site, "cd", &index, &["--move"]).exits(1);
    assert!(
        said.out.contains("source files removed 3, left in place 1; imported and kept nevertheless 1"),
        "{}",
        said.out
    );
    assert_eq!(walk(&site.path("cd")), [site.path("cd/refused")]);
    assert_eq!(site.findings("note"), ["not-removed refused"]);
}

#[test]
fn what_is_one_file_with_that_in_the_archive_is_not_removed() {
    let (site, index) = site_and_index();
    medium(&site, 3);
    import(&site, "cd", &index, &[]).exits(0);
    // Files of the archive under other paths: a hard link and a symlink.
    let copies = walk(&site.archive());
    fs::create_dir(site.path("again")).unwrap();
    fs::hard_link(&copies[0], site.path("again/1")).unwrap();
    symlink(&copies[1], site.path("again/2")).unwrap();
    let said = import(&site, "again", &index, &["--move", "--target-root", "archive"]).exits(1);
    assert!(
        said.out.contains("source files removed 0, left in place 2; imported and kept nevertheless 1"),
        "{}",
        said.out
    );
    assert_eq!((walk(&site.path("again")).len(), walk(&site.archive()).len()), (2, 3));
    assert_clean(&site, &index);
}

#[test]
fn what_links_lead_to_is_copied_and_stays() {
    let (site, index) = site_and_index();
    let away = put(&site, "vault/1", json!({"SOPInstanceUID": "1.2.3"}));
    fs::create_dir(site.path("cd")).unwrap();
    symlink(&away, site.path("cd/link")).unwrap();
    let said = import(&site, "cd", &index, &["--move", "--target-root", "vault"]).exits(0);
    assert_eq!(said.figure("inserted"), 1, "{}", said.out);
    assert!(away.exists() && site.path("cd/link").is_symlink());
    assert!(!walk(&site.archive())[0].is_symlink());
    assert_clean(&site, &index);
}

#[cfg(target_os = "linux")]
#[test]
fn a_source_whose_path_is_no_text_is_copied_and_stays() {
    use std::os::unix::ffi::OsStrExt;

    let (site, index) = site_and_index();
    let odd = put(&site, "cd/1", json!({"SOPInstanceUID": "1.2.3"}));
    let renamed = odd.with_file_name(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::rename(odd, &renamed).unwrap();
    let said = import(&site, "cd", &index, &["--move"]).exits(1);
    assert_eq!(said.figure("inserted"), 1);
    assert!(
        said.out.contains("source files removed 0, left in place 1; imported and kept nevertheless 1")
            && renamed.exists(),
        "{}",
        said.out
    );
    assert_clean(&site, &index);
}

#[test]
fn a_source_is_removed_only_if_its_bytes_are_seen_in_the_archive_now() {
    let (site, index) = site_and_index();
    medium(&site, 2);
    import(&site, "cd", &index, &[]).exits(0);
    // Damage that changes neither size nor mtime.
    let copy = walk(&site.archive()).remove(0);
    let source = site.path("cd/DICOM/ST0/IM00000");
    let files = [copy, site.path("cd/DICOM/ST1/IM00001")];
    for file in &files {
        let modified = fs::metadata(file).unwrap().modified().unwrap();
        let mut bytes = fs::read(file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(file, bytes).unwrap();
        fs::OpenOptions::new().write(true).open(file).unwrap().set_modified(modified).unwrap();
    }
    let said = import(&site, "cd", &index, &["--move"]).exits(1);
    assert!(said.out.contains("source files removed 0"), "{}", said.out);
    assert!(source.exists() && files[1].exists());
    assert_eq!(site.findings("conflict").len(), 2);
}

#[test]
fn a_row_that_names_a_file_outside_of_the_archive_removes_nothing() {
    let (site, index) = site_and_index();
    medium(&site, 3);
    site.add(
        "2021-11-12-FRI/1",
        json!({"SOPInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.1"}),
    );
    import(&site, "cd", &index, &["--in-place"]).exits(0);
    crate::support::Said::of(std::process::Command::new("cp").arg("-rp").args([site.path("cd"), site.path("copy")]))
        .exits(0);
    let said = import(&site, "copy", &index, &["--move", "--allow-unmapped-paths"]).exits(1);
    assert!(said.out.contains("imported and kept nevertheless 3"), "{}", said.out);
    assert_eq!(walk(&site.path("copy")).len(), 3);
}
