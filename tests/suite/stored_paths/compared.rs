//! Before a run writes, it compares the paths that it would store with the archive directories of
//! the PACS and with existing rows.

use std::fs;

use serde_json::json;

use super::{configure, images_below, map, repair, windows_pacs};
use crate::import::{import, medium, put};
use crate::support::{Index, PASSWORD, Said, Site};

#[test]
fn a_forgotten_path_map_ends_the_run_before_anything_is_written() {
    let (site, index) = windows_pacs();
    fs::write(site.path("list"), format!("{}\n", crate::support::walk(&site.archive())[0].display())).unwrap();
    let none: [String; 0] = [];
    for more in [&[][..], &["--yes"], &["--files", "list"]] {
        let said = site.reindex(&index, more).exits(2);
        let told = ["D:/DICOM", "--path-map", "=D:/DICOM", "--allow-unmapped-paths", "nothing was written"];
        assert!(told.iter().all(|text| said.err.contains(text)), "{more:?}: {}", said.err);
        assert_eq!(index.dump(), none, "{more:?}");
        let left = ["state", "rejected.jsonl"].map(|name| site.path(name).exists());
        assert_eq!(left, [false; 2], "{more:?}");
    }
    let said = site.reindex(&index, &["--path-map", &map(&site, "archive", "D:/DICOM")]).exits(0);
    assert!(said.out.contains("paths are stored as D:/DICOM/2019-01-1"), "{}", said.out);
    assert_eq!(images_below(&index, "D:/DICOM"), 5);
}

#[test]
fn a_dry_run_shows_the_path_and_the_doubt() {
    let (site, index) = windows_pacs();
    let said = site.reindex(&index, &["--dry-run"]).exits(0);
    assert!(said.err.contains("D:/DICOM") && said.err.contains("--path-map"), "{}", said.err);
    let literal = format!("paths are stored as {}/2019-01-1", site.archive().display());
    assert!(said.out.contains(&literal), "{}", said.out);
    let map = map(&site, "archive", "D:/DICOM");
    let mut command = site.program(&["reindex", "archive", "--index", &index.url, "--dry-run", "--path-map", &map]);
    let said = Said::of(command.args(["--progress", "lines"]).env("PACS_INDEX_PASSWORD", PASSWORD)).exits(0);
    let shown =
        |text: &str| text.lines().filter(|line| line.contains("paths are stored as D:/DICOM/2019-01-1")).count();
    assert_eq!((shown(&said.err), shown(&said.out)), (1, 1), "{}\n{}", said.err, said.out);
}

#[test]
fn unmapped_paths_are_stored_only_on_request() {
    let (site, index) = windows_pacs();
    let said = site.reindex(&index, &["--allow-unmapped-paths"]).exits(0);
    assert!(said.err.contains("D:/DICOM"), "{}", said.err);
    assert_eq!(images_below(&index, &site.archive().display().to_string()), 5);
    // The rows of such a run do not justify another one.
    site.add_series("2019-01-15-TUE", 3, 1, 1);
    site.reindex(&index, &[]).exits(2);
    site.reindex(&index, &["--yes"]).exits(2);
    assert_eq!(index.count("image"), 5);
}

#[test]
fn the_case_and_the_slashes_of_the_configured_directory_do_not_matter() {
    let cases = [
        (r"d:\dicom\", "D:/DICOM"),
        ("D:/DICOM/", r"d:\Dicom"),
        (r"\\NAS01\Archive\dicom", "//nas01/archive/DICOM"),
        (r"\\?\D:\DICOM", "D:/DICOM"),
        ("/PACS/dicom", "/pacs/dicom"),
    ];
    for (configured, to) in cases {
        let (site, index) = windows_pacs();
        configure(&index, configured);
        let said = site.reindex(&index, &["--path-map", &map(&site, "archive", to)]).exits(0);
        assert_eq!((said.figure("inserted"), said.err.as_str()), (5, ""), "{configured} {to}");
    }
    for (configured, to) in [("D:/DICOM", "D:/DICOM2"), ("D:/DICOM", "E:/DICOM"), ("//nas/dicom", "/nas/dicom")] {
        let (site, index) = windows_pacs();
        configure(&index, configured);
        site.reindex(&index, &["--path-map", &map(&site, "archive", to)]).exits(2);
        assert_eq!(index.count("image"), 0, "{configured} {to}");
    }
}

#[test]
fn each_root_is_compared_by_itself() {
    let (site, index) = windows_pacs();
    put(&site, "longterm/2018-01-12-FRI/1.2.3", json!({"SOPInstanceUID": "1.2.3"}));
    let (longterm, first) = (site.path("longterm").display().to_string(), map(&site, "archive", "D:/DICOM"));
    let said = site.reindex(&index, &[&longterm, "--path-map", &first]).exits(2);
    assert!(said.err.contains(&longterm) && !said.err.contains(&first), "{}", said.err);
    assert_eq!(index.count("image"), 0);
    let second = map(&site, "longterm", "E:/OLD/2018");
    site.reindex(&index, &[&longterm, "--path-map", &first, "--path-map", &second]).exits(2);
    index.execute("INSERT INTO applentity (title, longtermdir) VALUES ('CT1', 'e:\\\\old')");
    let said = site.reindex(&index, &[&longterm, "--path-map", &first, "--path-map", &second]).exits(0);
    let shown = ["paths are stored as D:/DICOM/2019-01-1", "paths are stored as E:/OLD/2018/2018-01-12-FRI/..."];
    assert!(shown.iter().all(|text| said.out.contains(text)), "{}", said.out);
}

#[test]
fn a_root_above_or_below_the_configured_directory_is_the_same_archive() {
    let (site, index) = windows_pacs();
    let all = map(&site, "", "D:/").replace("/=", "=");
    configure(&index, "D:/ARCHIVE");
    site.reindex_root(&site.path(""), &index, &["--path-map", &all, "--dry-run", "--rejected", "/dev/shm/none"])
        .exits(2);
    let below = site.archive().join("2019-01-12-SAT");
    site.reindex_root(&below, &index, &["--path-map", &all]).exits(0);
    assert_eq!(images_below(&index, "D:/archive/2019-01-12-SAT"), 3);
    // The PACS and this program use the same path.
    let same = Index::pacsone();
    configure(&same, &site.archive().display().to_string());
    fs::create_dir(site.path("around")).unwrap();
    fs::rename(site.archive(), site.path("around/archive")).unwrap();
    configure(&same, &site.path("around/archive").display().to_string());
    assert_eq!(site.reindex_root(&site.path("around"), &same, &[]).exits(0).figure("inserted"), 5);
}

#[test]
fn files_beside_a_mapped_directory_are_unmapped() {
    let (site, index) = windows_pacs();
    fs::create_dir(site.path("mnt")).unwrap();
    fs::rename(site.archive(), site.path("mnt/dicom")).unwrap();
    let map = map(&site, "mnt/dicom", "D:/DICOM");
    fs::create_dir(site.path("mnt/lost+found")).unwrap();
    let root = site.path("mnt");
    site.reindex_root(&root, &index, &["--path-map", &map, "--dry-run"]).exits(0);
    fs::write(site.path("mnt/notes.txt"), "moved in 2019").unwrap();
    std::os::unix::fs::symlink("dicom", site.path("mnt/current")).unwrap();
    let said = site.reindex_root(&root, &index, &["--path-map", &map, "--dry-run"]);
    assert_eq!(said.err, "", "files without an instance get no row");
    put(&site, "mnt/beside/1.2.3", json!({"SOPInstanceUID": "1.2.3"}));
    let said = site.reindex_root(&root, &index, &["--path-map", &map]).exits(2);
    assert!(said.err.contains(&root.display().to_string()), "{}", said.err);
    assert_eq!(index.count("image"), 0);
    // A list that names only mapped files is accepted.
    let listed = crate::support::walk(&site.path("mnt/dicom"));
    fs::write(site.path("list"), format!("{}\n", listed[0].display())).unwrap();
    assert_eq!(
        site.reindex_root(&root, &index, &["--path-map", &map, "--files", "list"]).exits(0).figure("inserted"),
        1
    );
}

#[test]
fn rows_show_what_the_archive_is_called_where_the_pacs_names_no_directory() {
    let site = Site::new();
    site.add_series("2019-01-12-SAT", 1, 1, 3);
    let index = site.sqlite();
    let map = map(&site, "archive", "D:/DICOM");
    site.reindex(&index, &["--path-map", &map]).exits(0);
    site.add_series("2019-01-14-MON", 2, 1, 2);
    let said = site.reindex(&index, &[]).exits(2);
    assert!(said.err.contains("--path-map") && !said.err.contains("T1"), "{}", said.err);
    assert_eq!(site.reindex(&index, &["--path-map", &map]).exits(0).figure("inserted"), 2);
    assert_eq!(images_below(&index, "D:/DICOM"), 5);
}

#[test]
fn an_index_that_knows_no_path_is_not_asked_about() {
    let site = Site::new();
    site.add_series("2019-01-12-SAT", 1, 1, 3);
    assert_eq!(site.reindex(&site.sqlite(), &[]).exits(0).err, "");
    assert_eq!(site.reindex(&Index::pacsone(), &[]).exits(0).err, "");
    // The index names the files of this archive by their local paths, so new files of it are not in
    // doubt.
    site.add_series("2019-01-14-MON", 2, 1, 1);
    assert_eq!(site.reindex(&site.sqlite(), &[]).exits(0).err, "");
}

#[test]
fn rows_do_not_count_against_a_configuration_that_has_changed() {
    let (site, index) = windows_pacs();
    let map = map(&site, "archive", "E:/DICOM");
    site.reindex(&index, &["--path-map", &map]).exits(2);
    configure(&index, "E:/DICOM");
    site.reindex(&index, &["--path-map", &map]).exits(0);
    configure(&index, "F:/NEW");
    site.add_series("2019-01-15-TUE", 3, 1, 1);
    site.reindex(&index, &["--path-map", &map]).exits(2);
    site.reindex(&index, &[]).exits(2);
    let said = site.reindex(&index, &["--path-map", &map, "--allow-unmapped-paths"]).exits(0);
    assert_eq!(said.figure("inserted"), 1);
}

#[test]
fn a_patient_id_in_a_path_is_not_shown() {
    let (site, index) = windows_pacs();
    fs::remove_dir_all(site.archive()).unwrap();
    site.add("4711/20190112/1.2.3", json!({"SOPInstanceUID": "1.2.3"}));
    site.add("2019/20190112/1.2.4", json!({"SOPInstanceUID": "1.2.4"}));
    let map = map(&site, "archive", "D:/DICOM");
    let said = site.reindex(&index, &["--path-map", &map]).exits(0);
    assert!(said.out.contains("paths are stored as D:/DICOM/...\n"), "{}", said.out);
    fs::remove_dir_all(site.archive()).unwrap();
    site.add("2019/01/12/1.2.5", json!({"SOPInstanceUID": "1.2.5"}));
    let said = site.reindex(&index, &["--path-map", &map]);
    assert!(said.out.contains("paths are stored as D:/DICOM/2019/01/12/...\n"), "{}", said.out);
}

#[test]
fn the_targets_of_pointer_files_need_a_path_map_as_well() {
    let (site, index) = windows_pacs();
    put(&site, "tier2/1.2.3", json!({"SOPInstanceUID": "1.2.3"}));
    let (archive, tier2) = (map(&site, "archive", "D:/DICOM"), map(&site, "tier2", "Z:/TIER2"));
    let more = ["--target-root", "tier2", "--path-map", &archive];
    let said = site.reindex(&index, &more).exits(2);
    assert!(said.err.contains(&site.path("tier2").display().to_string()), "{}", said.err);
    site.reindex(&index, &[&more[..], &["--stub-path", "link"]].concat()).exits(0);
    site.reindex(&index, &[&more[..], &["--path-map", &tier2]].concat()).exits(0);
}

#[test]
fn a_configuration_that_cannot_be_read_is_reported_once_and_rows_are_compared() {
    let (site, index) = windows_pacs();
    let map = map(&site, "archive", "D:/DICOM");
    site.reindex(&index, &["--path-map", &map]).exits(0);
    site.add_series("2019-01-15-TUE", 3, 1, 1);
    let user = format!("blind_{}", index.name());
    index.execute(&format!("CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}'"));
    for table in ["patient", "study", "series", "image"] {
        index.execute(&format!("GRANT SELECT, INSERT, UPDATE ON `{table}` TO {user}@'%'"));
    }
    let url = index.url.replace("pacs@", &format!("{user}@"));
    let run = |more: &[&str]| {
        let mut command = site.program(&["reindex", "archive", "--quiet", "--min-age", "0s", "--index", &url]);
        Said::of(command.args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
    };
    let (unmapped, mapped) = (run(&[]), run(&["--path-map", &map]));
    let mut audit =
        site.program(&["audit", "archive", "--quiet", "--recheck-after", "0s", "--index", &url, "--path-map", &map]);
    let audit = Said::of(audit.args(["--html", "audit.html"]).env("PACS_INDEX_PASSWORD", PASSWORD));
    index.execute(&format!("DROP USER {user}@'%'"));
    for said in [unmapped.exits(2), mapped.exits(0)] {
        let lines: Vec<&str> =
            said.err.lines().filter(|line| line.contains("archive directories of the PACS cannot be read: ")).collect();
        assert_eq!(lines.len(), 1, "{}", said.err);
        for table in ["config", "applentity"] {
            let grant = format!("GRANT SELECT ON `{}`.`{table}` TO '{user}'", index.name());
            assert!(lines[0].contains(&grant), "{grant} in {}", lines[0]);
        }
    }
    assert_eq!(images_below(&index, "D:/DICOM"), 6);
    // A scheduled audit that mails its standard error stays silent.
    assert_eq!(audit.err, "", "{}", audit.out);
    let page = std::fs::read_to_string(site.path("audit.html")).unwrap();
    for report in [&audit.out, &page] {
        assert_eq!(report.matches("archive directories of the PACS cannot be read: GRANT").count(), 1, "{report}");
    }
}

#[test]
fn an_import_is_compared_like_a_reindex() {
    let (site, index) = windows_pacs();
    medium(&site, 3);
    for more in [&["--in-place"][..], &["--in-place", "--yes"], &["--layout", "flat", "--yes"]] {
        let said = import(&site, "cd", &index, more).exits(2);
        let told = ["--path-map", "=D:/DICOM", "--allow-unmapped-paths"];
        assert!(told.iter().all(|text| said.err.contains(text)), "{more:?}: {}", said.err);
        assert_eq!((index.count("image"), site.path("state").exists()), (0, false), "{more:?}");
    }
    let map = map(&site, "archive", "D:/DICOM");
    let said = import(&site, "cd", &index, &["--layout", "flat", "--path-map", &map]).exits(0);
    assert!(said.out.contains("paths are stored as D:/DICOM/20"), "{}", said.out);
    assert_eq!(images_below(&index, "D:/DICOM"), 3);
    import(&site, "cd", &index, &["--in-place", "--allow-unmapped-paths"]).exits(1);
}

#[test]
fn the_merge_of_shards_is_compared_like_a_reindex() {
    let (site, index) = windows_pacs();
    let run = |more: &[&str]| {
        let mut command = site.program(&["reindex", "--index", &index.url, "--quiet"]);
        Said::of(command.args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
    };
    for (part, state) in [("1/2", "one"), ("2/2", "two")] {
        let more = ["reindex", "archive", "--quiet", "--min-age", "0s", "--shard", part, "--state", state];
        Said::of(&mut site.program(&more)).exits(0);
    }
    let said = run(&["--merge-shards", "one", "two"]).exits(2);
    assert!(said.err.contains("--allow-unmapped-paths"), "{}", said.err);
    run(&["--allow-unmapped-paths", "--merge-shards", "one", "two"]).exits(0);
}

#[test]
fn a_repair_is_compared_like_a_reindex() {
    let (site, index) = windows_pacs();
    super::audit(&site, &index, &["--plan", "plan.jsonl", "--allow-unmapped-paths"]).exits(1);
    let said = repair(&site, &index, &["plan.jsonl", "--undo-file", "undo.jsonl", "--yes"]).exits(2);
    assert!(said.err.contains("--allow-unmapped-paths"), "{}", said.err);
    assert_eq!((index.count("image"), site.path("undo.jsonl").exists()), (0, false));
    let more = ["plan.jsonl", "--undo-file", "undo.jsonl", "--yes", "--allow-unmapped-paths"];
    repair(&site, &index, &more).exits(0);
    assert_eq!(index.count("image"), 5);
}
