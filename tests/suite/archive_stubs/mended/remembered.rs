//! Links and pointers in the journal that have changed since.

use super::*;

#[test]
fn a_pointer_rule_that_is_added_after_the_first_run_is_heard() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    site.write(&format!("{FIRST}/1.2.1.stub"), b"id = 7\r\npath = ../../tier2/x\r\n");
    let index = site.sqlite();
    let said = site.reindex(&index, &["--target-root", "tier2"]).exits(1);
    assert_eq!(said.figure("rejected"), 1);
    let rule = r"\.stub$ => ^path\s*=\s*(.+)$";
    let said = site.reindex(&index, &["--target-root", "tier2", "--pointer-rule", rule]);
    assert_eq!((said.figure("inserted"), said.figure("rejected")), (1, 0), "{}", said.out);
}

#[test]
fn an_image_behind_a_pointer_that_was_damaged_is_indexed_when_it_is_whole() {
    let site = Site::new();
    write_beside(&site, "tier2/x", b"half of it, as it stands while a copy goes on, and no DICOM at all");
    site.write(&format!("{FIRST}/1.2.1"), &to_tier2("x"));
    let index = site.sqlite();
    let said = site.reindex(&index, &["--target-root", "tier2"]).exits(1);
    assert_eq!(said.figure("rejected"), 1);
    write_beside(&site, "tier2/x", &large("1.2.1"));
    let said = site.reindex(&index, &["--target-root", "tier2"]);
    assert_eq!((said.figure("inserted"), said.figure("rejected")), (1, 0), "{}", said.out);
}

#[test]
fn a_refresh_follows_an_image_that_changed_behind_its_pointer() {
    let site = Site::new();
    let image = |rows: &str| instance_file(json!({"SOPInstanceUID": "1.2.1", "StudyDescription": rows}));
    write_beside(&site, "tier2/x", &image("before"));
    site.write(&format!("{FIRST}/1.2.1"), &to_tier2("x"));
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2"]).exits(0);
    write_beside(&site, "tier2/x", &image("afterwards"));
    site.reindex(&index, &["--target-root", "tier2", "--existing", "refresh", "--undo", "undo.jsonl"]);
    assert_eq!(index.rows("SELECT description FROM study"), ["afterwards"]);
}

#[test]
fn a_link_that_leads_to_another_image_now_is_read_again() {
    let site = Site::new();
    write_beside(&site, "tier2/a", &large("1.2.1"));
    write_beside(&site, "tier2/b", &large("1.2.2"));
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    for name in ["a", "b"] {
        // Both files have the same mtime, as after a copy that keeps whole seconds.
        File::options().write(true).open(site.path("tier2").join(name)).unwrap().set_modified(then).unwrap();
    }
    fs::create_dir(site.archive().join(FIRST)).unwrap();
    let link = site.archive().join(FIRST).join("link");
    symlink("../../tier2/a", &link).unwrap();
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2"]).exits(0);
    fs::remove_file(&link).unwrap();
    symlink("../../tier2/b", &link).unwrap();
    site.reindex(&index, &["--target-root", "tier2"]);
    assert!(
        index.rows("SELECT uuid FROM image").contains(&"1.2.2".to_owned()),
        "{:?}",
        index.rows("SELECT uuid FROM image")
    );
}

#[test]
fn a_new_index_names_stubs_as_the_site_chooses_now() {
    let paths = |first: &[&str], then: &[&str]| {
        let site = Site::new();
        write_beside(&site, "tier2/x", &large("1.2.1"));
        site.write(&format!("{FIRST}/pointer"), &to_tier2("x"));
        let index = site.sqlite();
        site.reindex(&index, &[&["--target-root", "tier2"], first].concat()).exits(0);
        // The user wants another result and rebuilds the index from scratch.
        fs::remove_file(site.path("index.db")).unwrap();
        site.reindex(&index, &[&["--target-root", "tier2"], then].concat()).exits(0);
        let paths = index.rows("SELECT path FROM image");
        paths.iter().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&["--stub-path", "target"], &["--stub-path", "link"]), ["pointer"]);
}

#[test]
fn with_stub_path_target_an_image_that_took_the_place_of_its_link_is_named_as_it_lies_now() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    write_beside(&site, "tier2/another", &large("1.2.2"));
    fs::create_dir(site.archive().join(FIRST)).unwrap();
    let link = site.archive().join(FIRST).join("1.2.1");
    symlink("../../tier2/x", &link).unwrap();
    let index = site.sqlite();
    let more = ["--target-root", "tier2", "--stub-path", "target"];
    site.reindex(&index, &more).exits(0);
    // The image returns to its former path with its mtime unchanged. The index is rebuilt.
    fs::rename(site.path("tier2/x"), &link).unwrap();
    fs::remove_file(site.path("index.db")).unwrap();
    let said = site.reindex(&index, &more);
    let path = index.rows("SELECT path FROM image").remove(0);
    assert!(Path::new(&path).exists(), "the row names {path}, which is not there\n{}", said.out);
}

#[test]
fn a_file_and_the_link_that_its_row_names_are_no_duplicates() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    fs::create_dir(site.archive().join(FIRST)).unwrap();
    symlink("../../tier2/x", site.archive().join(FIRST).join("1.2.1")).unwrap();
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2"]).exits(0);
    // The second tier becomes a root of its own.
    let said = site.reindex(&index, &["tier2"]);
    assert_eq!((said.figure("duplicates not chosen"), said.exit), (0, 0), "{}", said.out);
}
