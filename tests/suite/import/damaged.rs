//! Files and directories that cannot be read or written during an import.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{assert_clean, import, medium, put_bytes, site_and_index};
use crate::support::{Small, instance_file, walk};

#[test]
fn damaged_files_are_listed_and_the_others_imported() {
    let (site, index) = site_and_index();
    medium(&site, 5);
    put_bytes(&site, "cd/cut", &instance_file(serde_json::json!({}))[..200]);
    put_bytes(&site, "cd/empty", b"");
    put_bytes(&site, "cd/autorun.inf", b"[autorun]\r\nopen=viewer.exe\r\n");
    let said = import(&site, "cd", &index, &[]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("rejected"), said.figure("text")), (5, 2, 1));
    assert_eq!(site.findings("rejected"), ["cut cut", "empty empty"]);
    assert_clean(&site, &index);
}

#[test]
fn an_archive_that_cannot_be_written_ends_the_import() {
    let (site, index) = site_and_index();
    medium(&site, 5);
    let Some(small) = Small::mount(site.path("small")) else {
        println!("*** No file system can be mounted here: the test of an archive that is read-only DID NOT RUN ***");
        return;
    };
    let mount = |how: &str| {
        let remounted = Command::new("mount").args(["-o", how]).arg(&small.0).status().unwrap();
        assert!(remounted.success());
    };
    mount("remount,ro");
    let said = import(&site, "cd", &index, &["--archive", "small", "--move"]).exits(3);
    assert!(said.err.contains("the archive cannot be written: "), "{}", said.err);
    assert_eq!((said.figure("not reached"), walk(&site.path("cd")).len()), (5, 5));
    mount("remount,rw");
    let said = import(&site, "cd", &index, &["--archive", "small", "--move"]).exits(0);
    assert_eq!((said.figure("inserted"), walk(&site.path("cd")).len()), (5, 0));
}

#[test]
fn a_file_in_the_way_of_a_directory_keeps_single_instances_out() {
    let (site, index) = site_and_index();
    medium(&site, 6);
    let in_the_way = site.archive().join("1.3.6.1.4.1.32473.7.0");
    fs::write(&in_the_way, "in the way").unwrap();
    let said = import(&site, "cd", &index, &["--layout", "study"]).exits(1);
    assert_eq!((said.figure("inserted"), site.findings("conflict").len()), (4, 2));
    fs::remove_file(in_the_way).unwrap();
    let said = import(&site, "cd", &index, &["--layout", "study"]).exits(0);
    assert_eq!((said.figure("inserted"), said.figure("unchanged")), (2, 4));
    assert_clean(&site, &index);
}

#[test]
fn copies_can_be_read_by_whoever_may_read_new_files() {
    let (site, index) = site_and_index();
    medium(&site, 1);
    import(&site, "cd", &index, &[]).exits(0);
    let plain = put_bytes(&site, "plain", b"x");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&walk(&site.archive())[0]), mode(&plain));
}

#[test]
fn a_file_that_is_cut_in_its_pixels_is_told() {
    let (site, index) = site_and_index();
    let mut whole = instance_file(serde_json::json!({"SOPInstanceUID": "1.2.3"}));
    whole.extend([0xE0, 0x7F, 0x10, 0, b'O', b'W', 0, 0, 100, 0, 0, 0, 1, 2, 3, 4]);
    put_bytes(&site, "cd/cut", &whole);
    let said = import(&site, "cd", &index, &[]).exits(1);
    assert_eq!(said.figure("inserted"), 1);
    assert!(said.out.contains("1 damaged files, imported unchanged"), "{}", said.out);
    assert_eq!(site.findings("damaged"), ["damaged-file cut"]);
}

#[test]
fn a_directory_that_cannot_be_written_to_keeps_out_only_what_belongs_there() {
    let (site, index) = site_and_index();
    medium(&site, 6);
    let Some(small) = Small::mount(site.archive().join("1.3.6.1.4.1.32473.7.0")) else {
        println!("*** No file system can be mounted here: the test of a read-only directory DID NOT RUN ***");
        return;
    };
    assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(&small.0).status().unwrap().success());
    let said = import(&site, "cd", &index, &["--layout", "study"]).exits(1);
    assert_eq!((said.figure("not-writable"), said.figure("inserted")), (2, 4));
}
