//! Recycle bins, snapshots and other directories that a storage system keeps next to the images.

use std::fs;

use serde_json::{Value as Json, json};

use crate::support::{Index, PASSWORD, Said, Site, walk};

const DAY: &str = "2021-11-12-FRI";

/// Names of directories that vendors use, each with the words of the summary for its kind.
const VENDOR_DIRECTORIES: [(&str, &str); 59] = [
    // QNAP
    ("@Recycle", "recycle bin"),
    ("@Recently-Snapshot", "snapshot"),
    ("share/@Recycle/alice", "recycle bin"),
    (".@__thumb", "system data"),
    (".@upload_cache", "system data"),
    // Synology
    ("#recycle", "recycle bin"),
    ("#snapshot/GMT+01-2021.11.12-10.00.00", "snapshot"),
    ("@eaDir", "system data"),
    ("@tmp", "system data"),
    ("@sharesnap", "snapshot"),
    // Samba, Unraid, freedesktop.org, HDFS, JuiceFS, GlusterFS, Buffalo, Netgear
    (".recycle/alice", "recycle bin"),
    (".Recycle.Bin", "recycle bin"),
    (".Trash/1000/files", "recycle bin"),
    (".Trash-1000/files", "recycle bin"),
    (".Trash-0", "recycle bin"),
    (".Trash-4294967294", "recycle bin"),
    (".Trash-root/files", "recycle bin"),
    ("share/.Trash-john.doe", "recycle bin"),
    (".trash", "recycle bin"),
    (".trashcan", "recycle bin"),
    ("trashbox", "recycle bin"),
    ("Recycle Bin", "recycle bin"),
    // Windows
    ("$RECYCLE.BIN/S-1-5-21-1-2-3-1001", "recycle bin"),
    ("$Recycle.Bin", "recycle bin"),
    ("RECYCLER/S-1-5-21-1-2-3-500", "recycle bin"),
    ("System Volume Information", "system data"),
    ("SYSTEM VOLUME INFORMATION", "system data"),
    ("$Extend", "system data"),
    ("deleted.sav", "recycle bin"),
    ("DfsrPrivate", "system data"),
    ("FOUND.000", "recovered fragments"),
    ("found.017", "recovered fragments"),
    ("@GMT-2021.11.12-10.00.00", "snapshot"),
    // NetApp, ZFS, snapper, GPFS, Isilon, VNX, Ceph, rsnapshot-like exports
    ("~snapshot/hourly.0", "snapshot"),
    ("~Snapshot", "snapshot"),
    (".snapshot/nightly.0", "snapshot"),
    (".snapshots/1/snapshot", "snapshot"),
    (".snaps/daily", "snapshot"),
    ("deep/volume/.snaps/daily", "snapshot"),
    (".zfs/snapshot/daily", "snapshot"),
    (".ckpt", "snapshot"),
    (".snap/daily", "snapshot"),
    ("deep/share/.snapshot", "snapshot"),
    // File systems
    ("lost+found", "recovered fragments"),
    ("deep/disk1/lost+found", "recovered fragments"),
    (".glusterfs", "system data"),
    (".SpaceMan", "system data"),
    // Apple
    (".Trashes/501", "recycle bin"),
    (".TemporaryItems", "system data"),
    (".AppleDouble", "system data"),
    (".AppleDB", "system data"),
    (".DocumentRevisions-V100", "snapshot"),
    (".MobileBackups", "snapshot"),
    (".Spotlight-V100", "system data"),
    (".fseventsd", "system data"),
    ("Network Trash Folder", "recycle bin"),
    // Synchronisation
    (".stversions", "snapshot"),
    (".sync/Archive", "snapshot"),
    (".dropbox.cache", "system data"),
];

/// Directories that a PACS or an administrator creates, although their names resemble those above.
const ARCHIVE_DIRECTORIES: [&str; 29] = [
    "recycle",
    "snapshot",
    "Recycled",
    "trash",
    "snap",
    "tmp",
    "sync",
    "zfs",
    "recycler",
    "RECYCLER-1",
    "sub/RECYCLER",
    "sub/trashbox",
    "TRASHBOX",
    "@Recycle2",
    "my@Recycle",
    "Trash-1000",
    ".Trash-",
    "Trash-john",
    ".snaps2",
    "sub/FOUND.001",
    "sub/DELETED.SAV",
    "@GMT-P4711",
    "@GMT-2021.11.12",
    "found",
    "FOUND.1",
    "FOUND.0000",
    "lost",
    "stowrs",
    "1.2.840.113619.2",
];

/// Patient IDs that are also names of system directories.
const PATIENT_IDS: [&str; 7] =
    ["RECYCLER", "trashbox", "Recycle Bin", "Network Trash Folder", "FOUND.001", "found.123", "DELETED.SAV"];

fn uid(n: usize) -> String {
    format!("1.2.3.{n}")
}

fn add(site: &Site, directory: &str, uid: &str) {
    site.add(&format!("{directory}/{uid}"), json!({"SOPInstanceUID": uid}));
}

/// An archive with one live instance, and one below each directory of a vendor.
fn archive_with_all_kinds() -> Site {
    let site = Site::new();
    add(&site, DAY, "1.2.3");
    for (n, (directory, _)) in VENDOR_DIRECTORIES.into_iter().enumerate() {
        add(&site, &format!("{directory}/{DAY}"), &uid(n));
    }
    site
}

fn audit(site: &Site, root: &str, index: &Index, more: &[&str]) -> Said {
    let _ = fs::remove_file(site.path("findings.jsonl"));
    let mut command = site.program(&["audit", root, "--index", &index.url, "--quiet", "--recheck-after", "0s"]);
    Said::of(command.args(["--json", "findings.jsonl"]).args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
}

fn findings(site: &Site) -> Vec<(String, String)> {
    let text = fs::read_to_string(site.path("findings.jsonl")).unwrap_or_default();
    // The first line states the scope of the audit.
    let lines = text.lines().skip(1).map(|line| serde_json::from_str::<Json>(line).unwrap());
    let text = |line: &Json, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    lines.map(|line| (text(&line, "check"), text(&line, "uid"))).collect()
}

/// Returns text such as `3 snapshots`, as in a line that counts directories by kind.
fn of_kind(kind: &str) -> String {
    let count = VENDOR_DIRECTORIES.iter().filter(|(_, other)| *other == kind).count();
    format!("{kind} {count}")
}

#[test]
fn deleted_studies_in_recycle_bins_and_snapshots_do_not_come_back() {
    let site = archive_with_all_kinds();
    let index = site.sqlite();
    let said = site.reindex(&index, &[]);
    let rows = index.rows("SELECT path FROM image");
    assert_eq!(rows, [site.archive().join(DAY).join("1.2.3").display().to_string()], "{rows:#?}");
    let said = said.exits(0);
    println!("{}", said.out);
    let total = format!("directories skipped by rule {}: ", VENDOR_DIRECTORIES.len());
    let line = said.out.lines().find(|line| line.starts_with(&total)).unwrap_or_else(|| panic!("{}", said.out));
    for kind in ["recycle bin", "snapshot", "system data", "recovered fragments"] {
        assert!(line.contains(&of_kind(kind)), "{} in {line}", of_kind(kind));
    }
    assert!(site.listing().iter().any(|line| line["detail"].as_str().unwrap_or_default().contains("QNAP")));
}

#[test]
fn an_audit_skips_the_same_directories_as_a_run() {
    let site = archive_with_all_kinds();
    let index = site.sqlite();
    site.reindex(&index, &[]);
    let said = audit(&site, "archive", &index, &["--level", "full", "--fail-on", "info"]);
    assert_eq!(findings(&site), [], "{}", said.out);
    let said = said.exits(0);
    assert!(said.out.contains(&format!("directories skipped by rule {}", VENDOR_DIRECTORIES.len())), "{}", said.out);
    assert!(said.out.contains(&of_kind("snapshot")), "{}", said.out);
}

#[test]
fn an_import_skips_the_same_directories_as_a_run() {
    let site = Site::new();
    let index = site.sqlite();
    for (n, (directory, _)) in VENDOR_DIRECTORIES.into_iter().enumerate() {
        crate::import::put(&site, &format!("cd/{directory}/{n}"), json!({"SOPInstanceUID": uid(n)}));
    }
    crate::import::put(&site, "cd/live", json!({"SOPInstanceUID": "1.2.3"}));
    let said = crate::import::import(&site, "cd", &index, &["--list"]).exits(0);
    assert!(said.out.contains("instances 1,"), "{}", said.out);
    let said = crate::import::import(&site, "cd", &index, &[]).exits(0);
    assert_eq!((said.figure("files found"), said.figure("inserted")), (1, 1), "{}", said.out);
    assert!(said.out.contains(&of_kind("recycle bin")), "{}", said.out);
}

#[test]
fn a_patient_id_or_a_directory_of_the_pacs_is_never_taken_for_a_recycle_bin() {
    let site = Site::new();
    let index = site.sqlite();
    for (n, directory) in ARCHIVE_DIRECTORIES.into_iter().enumerate() {
        add(&site, directory, &uid(n));
    }
    // The layout by Patient ID, with IDs that are plain words which vendors use, too.
    for (n, id) in PATIENT_IDS.into_iter().enumerate() {
        add(&site, &format!("{id}/20211112"), &format!("1.2.4.{n}"));
        add(&site, &format!("{id}/20191231"), &format!("1.2.5.{n}"));
    }
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(index.count("image") as usize, ARCHIVE_DIRECTORIES.len() + 2 * PATIENT_IDS.len(), "{}", said.out);
    assert!(!said.out.contains("skipped by rule 1") && !said.out.contains("directories skipped"), "{}", said.out);
    audit(&site, "archive", &index, &["--fail-on", "info"]).exits(0);
}

#[test]
fn a_root_in_a_snapshot_or_a_recycle_bin_is_read() {
    let roots = [
        ".snapshot/hourly.0/dicom",
        ".snapshot",
        "@Recently-Snapshot/GMT+02_2021-11-12_1000/dicom",
        "#recycle",
        ".zfs/snapshot/daily/dicom",
        ".zfs",
        "@GMT-2021.11.12-10.00.00",
        "RECYCLER",
        "lost+found",
    ];
    for root in roots {
        let site = Site::new();
        let index = site.sqlite();
        for n in 0..3 {
            add(&site, &format!("{root}/{DAY}/study {n}"), &uid(n));
        }
        add(&site, &format!("{root}/@Recycle"), "1.2.9");
        let said = site.reindex_root(&site.archive().join(root), &index, &[]).exits(0);
        assert_eq!(index.count("image"), 3, "{root}: {}", said.out);
        audit(&site, &format!("archive/{root}"), &index, &["--fail-on", "info"]).exits(0);
    }
}

#[test]
fn a_root_that_holds_nothing_but_a_recycle_bin_is_reported_as_empty() {
    let site = Site::new();
    add(&site, "@Recycle", "1.2.3");
    add(&site, "lost+found", "1.2.4");
    let said = site.reindex(&site.sqlite(), &[]).exits(2);
    assert!(said.err.contains("is empty"), "{}", said.err);
}

#[test]
fn a_site_adds_directories_of_its_own() {
    let site = Site::new();
    for (n, directory) in ["old", "a/old", "OLD", "backup-2020", "backup", "x.bak"].into_iter().enumerate() {
        add(&site, directory, &uid(n));
    }
    let options = ["--skip-dir", "old", "--skip-dir", "backup-*", "--skip-dir", "?.bak"];
    let index = site.sqlite();
    let said = site.reindex(&index, &options).exits(0);
    let rows = index.rows("SELECT uuid FROM image ORDER BY uuid");
    assert_eq!(rows, [uid(2), uid(4)], "{}", said.out);
    assert!(said.out.contains("directories skipped by rule 4: --skip-dir 4"), "{}", said.out);
    audit(&site, "archive", &index, &[&options[..], &["--fail-on", "info"]].concat()).exits(0);
    audit(&site, "archive", &index, &["--fail-on", "info"]).exits(1);
    // The same rules in a settings file.
    fs::write(site.path("site.toml"), "skip-dir = ['old', 'backup-*', '?.bak']\n").unwrap();
    let other = Index::sqlite(site.path("other.db"));
    site.reindex(&other, &["--config", "site.toml"]).exits(0);
    assert_eq!(other.count("image"), 2);
    audit(&site, "archive", &other, &["--config", "site.toml", "--fail-on", "info"]).exits(0);
    let imported = Index::sqlite(site.path("imported.db"));
    fs::create_dir(site.path("to")).unwrap();
    let to = [&options[..], &["--archive", "to"]].concat();
    let said = crate::import::import(&site, "archive", &imported, &to).exits(0);
    assert_eq!(said.figure("inserted"), 2, "{}", said.out);
}

#[test]
fn a_name_that_cannot_be_one_of_a_directory_is_refused() {
    let site = Site::new();
    add(&site, DAY, "1.2.3");
    for name in ["", ".", "..", "a/b", "/mnt/old", "*", "**", "?*"] {
        let said = site.reindex(&site.sqlite(), &[&format!("--skip-dir={name}")]).exits(2);
        assert!(said.err.contains("--skip-dir"), "{name}: {}", said.err);
    }
}

#[test]
fn a_row_that_an_earlier_run_took_from_a_snapshot_is_found_and_corrected() {
    let site = Site::new();
    let index = site.sqlite();
    add(&site, ".snapshot/hourly.0", "1.2.3");
    add(&site, "@Recycle", "1.2.4");
    add(&site, DAY, "1.2.5");
    for root in [".snapshot/hourly.0", "@Recycle", DAY] {
        site.reindex_root(&site.archive().join(root), &index, &[]).exits(0);
    }
    let said = audit(&site, "archive", &index, &[]).exits(1);
    let mut found = findings(&site);
    found.sort();
    let finding = |uid: &str| ("skipped-directory".to_owned(), uid.to_owned());
    assert_eq!(found, [finding("1.2.3"), finding("1.2.4")], "{}", said.out);
    // The live file of the first instance exists; that of the second was deleted.
    add(&site, DAY, "1.2.3");
    site.reindex(&index, &[]).exits(0);
    let live = site.archive().join(DAY).join("1.2.3").display().to_string();
    assert_eq!(index.rows("SELECT path FROM image WHERE uuid = '1.2.3'"), [live]);
    audit(&site, "archive", &index, &[]).exits(1);
    assert_eq!(findings(&site), [finding("1.2.4")]);
}

#[test]
fn an_import_files_nothing_below_a_directory_that_no_run_searches() {
    let site = Site::new();
    let index = site.sqlite();
    for (n, id) in ["@Recycle", ".Trash-1000", "lost+found", "P-old", "P-new"].into_iter().enumerate() {
        let change = json!({"SOPInstanceUID": uid(n), "PatientID": id});
        crate::import::put(&site, &format!("cd/{n}"), change);
    }
    let said = crate::import::import(&site, "cd", &index, &["--layout", "patient", "--skip-dir", "*-old"]).exits(1);
    assert_eq!((said.figure("unsafe-name"), said.figure("inserted")), (4, 1), "{}", said.out);
}

/// Writes a list of all files of the archive for `--files`.
fn list_all_files(site: &Site) {
    let files = walk(&site.archive()).into_iter().map(|file| file.display().to_string() + "\n");
    fs::write(site.path("list"), files.collect::<String>()).unwrap();
}

#[test]
fn a_list_of_files_brings_nothing_back_from_a_recycle_bin_or_a_snapshot() {
    let site = archive_with_all_kinds();
    let index = site.sqlite();
    list_all_files(&site);
    let said = site.reindex(&index, &["--files", "list"]).exits(0);
    assert_eq!(index.rows("SELECT uuid FROM image"), ["1.2.3"], "{}", said.out);
    let skipped = VENDOR_DIRECTORIES.len();
    assert_eq!((said.figure("inserted"), said.figure("skipped by rule")), (1, skipped as u64), "{}", said.out);
    let notes = site.findings("note");
    assert_eq!(notes.len(), skipped, "{notes:?}");
    assert!(notes.iter().all(|note| note.starts_with("system-directory ")), "{notes:?}");
    // The same for a root in a recycle bin, for a name that the site configures, and for a link on
    // the path.
    site.reindex_root(&site.archive().join("@Recycle"), &Index::sqlite(site.path("bin.db")), &[]).exits(0);
    let own = Site::new();
    let index = own.sqlite();
    for (n, directory) in ["old", "live", ".snapshot/hourly.0"].into_iter().enumerate() {
        add(&own, directory, &uid(n));
    }
    std::os::unix::fs::symlink(".snapshot/hourly.0", own.archive().join("current")).unwrap();
    list_all_files(&own);
    let said = own.reindex(&index, &["--files", "list", "--skip-dir", "old"]).exits(0);
    assert_eq!(index.rows("SELECT uuid FROM image"), [uid(1)], "{}", said.out);
    assert_eq!(own.listed(&format!("old/{}", uid(0))), [("note".to_owned(), "skip-dir".to_owned())]);
    assert_eq!(own.listed(&format!("current/{}", uid(2))), [("note".to_owned(), "system-directory".to_owned())]);
    // A root in a snapshot is read, whatever its own name is.
    let root = own.archive().join(".snapshot/hourly.0");
    fs::write(own.path("list"), root.join(uid(2)).display().to_string()).unwrap();
    own.reindex_root(&root, &index, &["--files", "list"]).exits(0);
    assert_eq!(index.count("image"), 2);
}

#[test]
fn a_link_into_a_recycle_bin_is_reported_as_such() {
    let site = Site::new();
    let index = site.sqlite();
    add(&site, DAY, "1.2.3");
    add(&site, "@Recycle", "1.2.4");
    add(&site, "old", "1.2.5");
    for (target, link) in [("../@Recycle/1.2.4", "deleted"), ("../old/1.2.5", "former"), ("../@Recycle", "bin")] {
        std::os::unix::fs::symlink(target, site.archive().join(DAY).join(link)).unwrap();
    }
    site.reindex(&index, &["--skip-dir", "old"]).exits(1);
    let detail = |name: &str| {
        let line = site.listing().into_iter().find(|line| line["path"].as_str().unwrap().ends_with(name)).unwrap();
        line["detail"].as_str().unwrap().to_owned()
    };
    for (name, reason) in [("deleted", "recycle bin: QNAP"), ("former", "--skip-dir"), ("bin", "recycle bin: QNAP")] {
        let detail = detail(name);
        assert!(detail.contains(reason) && detail.contains("not searched"), "{name}: {detail}");
        assert!(!detail.contains("--target-root") && !detail.contains("name it as a root"), "{name}: {detail}");
    }
}
