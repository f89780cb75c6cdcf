//! Every file found in an archive is counted in the summary.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::json;

use crate::support::{FATES, Site, fixtures};

#[test]
fn links_pipes_and_sockets_are_counted_and_never_opened() {
    let site = Site::new();
    site.add("a/1.2.3", json!({}));
    symlink(site.archive().join("a/1.2.3"), site.archive().join("link")).unwrap();
    symlink("/", site.archive().join("link to a directory")).unwrap();
    symlink("nowhere", site.archive().join("dangling")).unwrap();
    assert!(Command::new("mkfifo").arg(site.archive().join("fifo")).status().unwrap().success());
    let _socket = UnixListener::bind(site.archive().join("socket")).unwrap();
    let said = site.reindex(&site.sqlite(), &[]).exits(1);
    assert_eq!(said.figure("files found"), 6);
    let figures = ["inserted", "links within the archive", "stubs not read", "skipped by rule"];
    assert_eq!(figures.map(|figure| said.figure(figure)), [1, 1, 2, 2]);
    assert_eq!(said.figure("FIFO, socket or device"), 2);
    assert_eq!(site.listed("dangling"), [("stub".into(), "symbolic link".into())]);
    assert_eq!(FATES.iter().map(|fate| said.figure(fate)).sum::<u64>(), 6);
}

#[test]
fn a_directory_that_cannot_be_read_is_a_finding_and_not_the_end() {
    let site = Site::new();
    site.add("open/1.2.3", json!({}));
    site.add("closed/1.2.4", json!({"SOPInstanceUID": "1.2.4"}));
    site.add("open/unreadable", json!({"SOPInstanceUID": "1.2.5"}));
    let set =
        |path: &str, mode| fs::set_permissions(site.archive().join(path), fs::Permissions::from_mode(mode)).unwrap();
    set("closed", 0o000);
    set("open/unreadable", 0o000);
    // Permissions restrict only users other than root.
    let index = site.sqlite();
    let arguments = site.reindexing(&site.archive(), &index, &["--state", "state"]);
    let output = site.program_as_nobody(&[]).args(arguments.get_args()).output().unwrap();
    set("closed", 0o755);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("DIRECTORIES UNREADABLE 1"), "{out}");
    assert_eq!(site.listed("closed"), [("directory".into(), "unreadable".into())]);
    assert_eq!(site.listed("open/unreadable"), [("unreadable".into(), "unreadable".into())]);
    assert_eq!(index.count("image"), 1);
}

#[test]
fn a_path_that_the_index_cannot_hold_is_rejected_and_never_cut() {
    let site = Site::new();
    let odd = site.archive().join(std::ffi::OsStr::from_bytes(b"odd \xff name"));
    site.add("deep/1.2.3", json!({}));
    fs::rename(site.archive().join("deep/1.2.3"), &odd).unwrap();
    let deep = format!("{}/1.2.4", ["directory with a long name"; 20].join("/"));
    site.add(&deep, json!({"SOPInstanceUID": "1.2.4"}));
    let index = site.sqlite();
    let said = site.reindex(&index, &[]).exits(1);
    assert_eq!((said.figure("path-not-text"), said.figure("too-long")), (1, 1));
    let line = site.listing().into_iter().find(|line| line["reason"] == "path-not-text").unwrap();
    assert!(line["path_hex"].as_str().unwrap().ends_with("6f646420ff206e616d65"), "{line}");
    assert_eq!(index.count("image"), 0);
}

#[test]
fn snapshots_and_waste_baskets_of_the_storage_unit_are_left_alone() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    site.add(".snapshot/nightly/1.2.4", json!({"SOPInstanceUID": "1.2.4"}));
    let said = site.reindex(&site.sqlite(), &[]).exits(0);
    assert_eq!(said.figure("files found"), 1);
    assert!(said.out.contains("directories skipped by rule 1"), "{}", said.out);
    assert_eq!(site.listed(".snapshot"), [("directory".into(), "system-directory".into())]);
}

#[test]
fn no_patient_data_reaches_messages_or_lists() {
    let site = Site::new();
    let index = site.sqlite();
    let mut command = site.reindexing(&fixtures().join("archive"), &index, &["--progress", "json"]);
    let args: Vec<_> = command.get_args().filter(|a| *a != "--quiet").map(|a| a.to_owned()).collect();
    let output = site.program(&[]).args(args).output().unwrap();
    command.output().unwrap();
    let listing = fs::read_to_string(site.path("rejected.jsonl")).unwrap();
    let said = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr), listing.into()];
    for secret in ["Meyer", "FX-1001", "Jérôme", "Yamada", "19610314", "Weber", "ACC0001", "王"] {
        for text in &said {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn an_existing_list_of_rejected_files_is_not_overwritten() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    fs::write(site.path("precious"), "precious").unwrap();
    let arguments = ["reindex", "archive", "--rejected", "precious"];
    let said = site.run(&arguments).exits(2);
    assert!(said.err.contains("precious") && said.err.contains("--rejected FILE"), "{}", said.err);
    assert_eq!(fs::read_to_string(site.path("precious")).unwrap(), "precious");
}
