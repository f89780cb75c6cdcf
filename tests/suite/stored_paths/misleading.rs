//! Evidence that seems to confirm a wrong path: rows and directories that prove nothing about the
//! paths of a root.

use std::fs;

use serde_json::json;

use super::{audit, configure, images_below, map, windows_pacs};
use crate::import::{import, put};
use crate::support::{Index, PASSWORD, Said, Site};

/// Indexes the archive with its right path map, and returns all rows.
fn indexed(site: &Site, index: &Index, directory: &str) -> Vec<String> {
    site.reindex(index, &["--path-map", &map(site, "archive", directory)]).exits(0);
    index.dump()
}

#[test]
fn a_path_map_that_is_a_level_too_short_is_refused_although_rows_are_below_it() {
    for (configured, wrong) in [
        ("D:/DICOM", "D:/"),
        ("//nas/share/DICOM", "//nas/share"),
        ("/data/dicom", "/data"),
        ("/data/dicom", "/"),
        (r"d:\pacs\dicom", "D:/pacs"),
    ] {
        let (site, index) = windows_pacs();
        configure(&index, configured);
        let right = indexed(&site, &index, configured);
        let said = site.reindex(&index, &["--path-map", &map(&site, "archive", wrong)]).exits(2);
        assert!(said.err.contains("nothing was written"), "{wrong}: {}", said.err);
        assert_eq!(index.dump(), right, "{wrong}");
    }
    let site = Site::new();
    site.add_series("2019-01-12-SAT", 1, 1, 3);
    let index = site.sqlite();
    let right = indexed(&site, &index, "D:/DICOM");
    site.reindex(&index, &["--path-map", &map(&site, "archive", "D:/")]).exits(2);
    assert_eq!(index.dump(), right);
}

#[test]
fn a_path_map_of_another_level_is_refused_although_the_pacs_has_its_directory() {
    for (layout, root, right, wrong) in [
        ("2019/01/12", "archive/2019", "D:/DICOM", "D:/DICOM"),
        ("2019/01/12", "archive/2019", "D:/DICOM", "D:/DICOM/2018"),
        ("2019/01/12", "archive", "D:/DICOM", "D:/DICOM/dicom"),
        ("2019-01-12-SAT", "archive/2019-01-12-SAT", "D:/DICOM", "D:/DICOM"),
        (".", "archive", "D:/DICOM/x", "D:/DICOM"),
    ] {
        let (site, index) = windows_pacs();
        fs::remove_dir_all(site.archive()).unwrap();
        site.add_series(layout, 1, 1, 3);
        let rows = indexed(&site, &index, right);
        let said = site.reindex_root(&site.path(root), &index, &["--path-map", &map(&site, root, wrong)]).exits(2);
        assert!(said.err.contains("--path-map"), "{root} {wrong}: {}", said.err);
        assert_eq!(index.dump(), rows, "{root} {wrong}");
        let all = map(&site, "archive", right);
        site.reindex_root(&site.path(root), &index, &["--path-map", &all]).exits(0);
    }
}

#[test]
fn a_copy_of_a_row_in_another_directory_is_a_duplicate_unless_it_has_the_same_place_and_content() {
    let (site, index) = windows_pacs();
    indexed(&site, &index, "D:/DICOM");
    // Without the state of that run, the rows count as rows of a PACS.
    fs::remove_dir_all(site.path("state")).unwrap();
    index.execute("UPDATE image SET path = REPLACE(path, 'D:/DICOM/', 'E:/LT2015/2018/x/')");
    let rows = index.dump();
    fs::create_dir(site.path("usb")).unwrap();
    for copy in crate::support::walk(&site.archive().join("2019-01-12-SAT")) {
        fs::copy(&copy, site.path("usb").join(copy.file_name().unwrap())).unwrap();
    }
    let usb = map(&site, "usb", "D:/DICOM/usb");
    let said = import(&site, "usb", &index, &["--in-place", "--path-map", &usb, "--yes"]);
    assert_eq!((said.figure("updated"), index.dump() == rows), (0, true), "{}", said.out);
    let said = site.reindex_root(&site.path("usb"), &index, &["--path-map", &usb]);
    assert_eq!((said.figure("updated"), index.dump() == rows), (0, true), "{}", said.out);
    // The same relative path in a former directory, but a different file, as its transfer syntax
    // shows.
    index.execute("UPDATE image SET path = REPLACE(path, 'E:/LT2015/2018/x/', 'E:/LT2015/')");
    index.execute("UPDATE image SET xfersyntax = '1.2.840.10008.1.2.4.70'");
    let rows = index.dump();
    let said = site.reindex(&index, &["--path-map", &map(&site, "archive", "D:/DICOM")]);
    assert_eq!((said.figure("updated"), index.dump() == rows), (0, true), "{}", said.out);
}

#[test]
fn rows_of_one_root_do_not_confirm_the_paths_of_another() {
    for is_pacsone in [false, true] {
        let site = Site::new();
        site.add_series("2019-01-12-SAT", 1, 1, 3);
        let index = if is_pacsone { Index::pacsone() } else { site.sqlite() };
        site.reindex(&index, &[]).exits(0);
        put(&site, "lt/2018-01-12-FRI/1.2.3", json!({"SOPInstanceUID": "1.2.3"}));
        let lt = site.path("lt");
        let said = site.reindex(&index, &[&lt.display().to_string()]).exits(2);
        assert!(said.err.contains(&format!("files below {}", lt.display())), "{}", said.err);
        site.reindex_root(&lt, &index, &[]).exits(2);
        assert_eq!(index.count("image"), 3);
        // Another day of the same archive needs no confirmation.
        site.add_series("2019-01-15-TUE", 3, 1, 1);
        let said = site.reindex_root(&site.archive().join("2019-01-15-TUE"), &index, &[]).exits(0);
        assert_eq!((said.figure("inserted"), said.err.as_str()), (1, ""));
    }
}

#[test]
fn files_beside_the_configured_directory_are_not_part_of_the_archive() {
    for to in [None, Some("D:/")] {
        let (site, index) = windows_pacs();
        fs::create_dir(site.path("up")).unwrap();
        fs::rename(site.archive(), site.path("up/DICOM")).unwrap();
        let own = site.path("up/DICOM").display().to_string();
        configure(&index, to.map_or(own.as_str(), |_| "D:/DICOM"));
        let maps = to.map(|to| map(&site, "up", to));
        let more: Vec<&str> = maps.iter().flat_map(|map| ["--path-map", map.as_str()]).collect();
        assert_eq!(site.reindex_root(&site.path("up"), &index, &more).exits(0).figure("inserted"), 5);
        let rows = index.dump();
        put(&site, "up/old-backup/1.2.3", json!({"SOPInstanceUID": "1.2.3"}));
        let said = site.reindex_root(&site.path("up"), &index, &more).exits(2);
        assert!(!said.err.contains("--path-map /") || !said.err.contains("=D:/DICOM"), "{}", said.err);
        assert_eq!(index.dump(), rows);
    }
}

#[test]
fn rows_of_an_earlier_run_do_not_confirm_the_same_wrong_path_map() {
    let (site, index) = windows_pacs();
    let typo = map(&site, "archive", "E:/TYPO");
    site.reindex(&index, &["--path-map", &typo, "--allow-unmapped-paths"]).exits(0);
    site.add_series("2019-01-15-TUE", 3, 1, 1);
    let said = site.reindex(&index, &["--path-map", &typo]).exits(2);
    assert!(said.err.contains("D:/DICOM"), "{}", said.err);
    assert_eq!(index.count("image"), 5);
    site.reindex(&index, &["--path-map", &typo, "--allow-unmapped-paths"]).exits(0);
}

#[test]
fn two_directories_with_one_name_are_refused() {
    for (first, second) in [("D:/DICOM", r"d:\dicom"), ("D:/DICOM", "D:/DICOM/2019-01-12-SAT")] {
        let (site, index) = windows_pacs();
        put(&site, "lt/2018-01-12-FRI/1.2.3", json!({"SOPInstanceUID": "1.2.3"}));
        let (lt, first) = (site.path("lt").display().to_string(), map(&site, "archive", first));
        let said = site.reindex(&index, &[&lt, "--path-map", &first]).exits(2);
        assert!(!said.err.contains("=D:/DICOM"), "advice that cannot be followed: {}", said.err);
        let second = map(&site, "lt", second);
        for more in [&[][..], &["--allow-unmapped-paths"], &["--dry-run"]] {
            let all = [&[lt.as_str(), "--path-map", &first, "--path-map", &second], more].concat();
            let said = site.reindex(&index, &all).exits(2);
            assert!(said.err.contains("two directories"), "{more:?}: {}", said.err);
        }
        assert_eq!(index.count("image"), 0);
    }
}

#[test]
fn an_audit_reports_paths_that_the_pacs_does_not_know() {
    let (site, index) = windows_pacs();
    site.reindex(&index, &["--allow-unmapped-paths"]).exits(0);
    let said = audit(&site, &index, &[]).exits(1);
    assert!(said.out.contains("unmapped-path") && said.out.contains("D:/DICOM"), "{}", said.out);
    let findings = fs::read_to_string(site.path("findings.jsonl")).unwrap();
    assert!(findings.contains("--path-map"), "{findings}");
    let (right, wrong) = (map(&site, "archive", "D:/DICOM"), map(&site, "archive", "E:/X"));
    let said = audit(&site, &index, &["--path-map", &wrong]).exits(1);
    assert!(said.out.contains("unmapped-path"), "{}", said.out);
    assert!(fs::read_to_string(site.path("findings.jsonl")).unwrap().contains("D:/DICOM"));
    audit(&site, &index, &["--check", "missing-file"]).exits(0);
    site.reindex(&index, &["--path-map", &right]).exits(0);
    audit(&site, &index, &["--path-map", &right, "--fail-on", "info"]).exits(0);
}

#[test]
fn many_files_without_an_instance_beside_the_archive_need_no_path_map() {
    let (site, index) = windows_pacs();
    fs::create_dir_all(site.path("top/logs")).unwrap();
    fs::rename(site.archive(), site.path("top/dicom")).unwrap();
    for n in 0..120 {
        fs::write(site.path(&format!("top/logs/{n:03}.log")), "started").unwrap();
    }
    let map = map(&site, "top/dicom", "D:/DICOM");
    let run = |more: &[&str]| {
        let mut command =
            site.program(&["reindex", "top", "--index", &index.url, "--min-age", "0s", "--path-map", &map]);
        Said::of(command.arg("--quiet").args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
    };
    assert_eq!(run(&["--dry-run"]).err, "");
    put(&site, "top/logs/z/1.2.3", json!({"SOPInstanceUID": "1.2.3"}));
    let said = run(&[]).exits(2);
    assert!(!said.err.contains("=D:/DICOM"), "{}", said.err);
    assert_eq!(images_below(&index, "D:/DICOM"), 0);
}

#[test]
fn the_paths_of_a_table_are_compared_however_its_name_is_written() {
    let site = Site::new();
    site.add_series("2019-01-12-SAT", 1, 1, 3);
    let index = site.sqlite();
    indexed(&site, &index, "D:/DICOM");
    index.execute("ALTER TABLE image RENAME TO other; ALTER TABLE other RENAME TO IMAGE");
    let said = site.reindex(&index, &["--path-map", &map(&site, "archive", "D:/OTHER")]).exits(2);
    assert!(said.err.contains("nothing was written"), "{}", said.err);
    assert_eq!(images_below(&index, "D:/DICOM"), 3);
}

#[test]
fn a_path_map_that_drops_the_date_of_its_directory_is_asked_about() {
    let cases = [
        ("2019/01/12", "archive/2019", "D:/DICOM", false),
        ("2019/01/12", "archive/2019/01", "d:/dicom/2019", false),
        ("2019/01/12", "archive/2019", "D:/DICOM/2018", false),
        ("2019-01-12-SAT", "archive/2019-01-12-SAT", "D:/DICOM", false),
        ("2019/01/12", "archive/2019", "D:/DICOM/2019", true),
        ("2019/01/12", "archive/2019/01", "D:/DICOM/2019/01", true),
        ("2019-01-12-SAT", "archive/2019-01-12-SAT", "D:/DICOM/2019-01-12-SAT", true),
        ("2019/01/12", "archive", "D:/DICOM", true),
        ("2019/01/12", "archive", "D:/DICOM/2019", true),
    ];
    for (layout, root, to, is_right) in cases {
        let (site, index) = windows_pacs();
        fs::remove_dir_all(site.archive()).unwrap();
        site.add_series(layout, 1, 1, 3);
        let map = map(&site, root, to);
        let said = site.reindex_root(&site.path(root), &index, &["--path-map", &map]);
        assert_eq!(
            (said.exit, index.count("image")),
            if is_right { (0, 3) } else { (2, 0) },
            "{root} {to}: {}",
            said.err
        );
        assert_eq!(said.err.contains("names a date"), !is_right, "{root} {to}: {}", said.err);
        if !is_right {
            site.reindex_root(&site.path(root), &index, &["--path-map", &map, "--allow-unmapped-paths"]).exits(0);
            // The rows that were stored with the map confirm it.
            site.reindex_root(&site.path(root), &index, &["--path-map", &map]).exits(0);
        }
    }
}
