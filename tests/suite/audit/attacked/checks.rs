//! Damage that was missed or misclassified.

use super::*;

#[test]
fn whoever_asks_for_moved_files_alone_is_told_of_them() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::rename(file(&site, "1.1.1"), site.archive().join("moved")).unwrap();
    audit(&site, &index, &["--check", "moved-file"]);
    assert_eq!(found(&site), [is("moved-file", format!("{UID}.1.1.1"))]);
}

#[test]
fn whoever_asks_for_missing_files_alone_is_not_told_of_moved_ones() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::rename(file(&site, "1.1.1"), site.archive().join("moved")).unwrap();
    audit(&site, &index, &["--check", "missing-file"]);
    assert_eq!(found(&site), []);
}

#[test]
fn whoever_asks_for_a_check_that_the_level_does_not_make_is_told_so() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    index.execute("UPDATE image SET instance = 99");
    let said = audit(&site, &index, &["--check", "header-differs", "--fail-on", "info"]);
    assert!(said.exit != 0 || said.out.contains("--level"), "{}", said.out);
}

#[test]
fn a_tenth_of_the_files_that_a_storage_unit_has_emptied_are_all_told() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 100);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    for n in 1..=30 {
        fs::write(file(&site, &format!("1.1.{n}")), b"").unwrap();
    }
    let said = audit(&site, &index, &[]).exits(1);
    let told = found(&site).len();
    assert!(told == 30 || said.out.contains("ALARM"), "{told} of 30 are told\n{}", said.out);
}

#[test]
fn a_file_that_was_overwritten_with_zeros_is_found_when_headers_are_read() {
    on_both_databases(|site, index| {
        archive(site);
        site.reindex(index, &[]).exits(0);
        let size = fs::metadata(file(site, "1.1.1")).unwrap().len() as usize;
        fs::write(file(site, "1.1.1"), vec![0; size]).unwrap();
        audit(site, index, &ALL);
        assert_eq!(found(site), [is("unreadable-file", format!("{UID}.1.1.1"))]);
    });
}

#[test]
fn a_file_of_a_row_that_is_cut_within_its_header_is_found_when_headers_are_read() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let bytes = fs::read(file(&site, "1.1.1")).unwrap();
    fs::write(file(&site, "1.1.1"), &bytes[..300]).unwrap();
    audit(&site, &index, &ALL);
    assert_eq!(found(&site).len(), 1, "{:?}", found(&site));
}

#[test]
fn a_file_that_holds_another_instance_than_its_row_is_found_when_headers_are_read() {
    on_both_databases(|site, index| {
        archive(site);
        site.reindex(index, &[]).exits(0);
        fs::copy(file(site, "2.1.1"), file(site, "1.1.1")).unwrap();
        audit(site, index, &ALL);
        assert!(!found(site).is_empty(), "nothing is told");
    });
}

#[test]
fn a_pointer_file_that_leads_to_nothing_is_found() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::create_dir(site.path("tier2")).unwrap();
    fs::write(site.path("tier2/another"), b"so that the directory is not empty").unwrap();
    site.write("1.2.9", &ShellLink { relative: Some(r"..\tier2\gone"), ..ShellLink::default() }.bytes());
    audit(&site, &index, &["--target-root", "tier2"]);
    assert_eq!(found(&site), [is("dangling-stub", "1.2.9")]);
}

#[test]
fn a_second_file_beside_a_moved_one_is_found() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::copy(file(&site, "1.1.1"), site.archive().join("one")).unwrap();
    fs::rename(file(&site, "1.1.1"), site.archive().join("two")).unwrap();
    audit(&site, &index, &[]);
    let found: Vec<String> = found(&site).into_iter().map(|(check, _)| check).collect();
    assert_eq!(found, ["moved-file", "two-files-identical"]);
}

#[test]
fn empty_series_are_found_where_tables_have_different_collations() {
    let site = Site::new();
    let index = Index::pacsone();
    archive(&site);
    index.execute("ALTER TABLE image CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
    site.reindex(&index, &[]).exits(0);
    index.execute(&format!("INSERT INTO series (uuid, studyuid, modality) VALUES ('{UID}.4.9', '{UID}.4', 'CT')"));
    let _ = fs::remove_file(site.path("page.html"));
    let said = audit(&site, &index, &["--fail-on", "warning"]);
    assert_eq!(found(&site), [is("empty-series", format!("{UID}.4.9"))], "{}", said.out);
}

#[test]
fn the_page_is_made_where_tables_have_different_collations() {
    let site = Site::new();
    let index = Index::pacsone();
    archive(&site);
    index.execute("ALTER TABLE image CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
    site.reindex(&index, &[]).exits(0);
    audit(&site, &index, &["--html", "page.html", "--csv", "studies.csv"]).exits(0);
}
