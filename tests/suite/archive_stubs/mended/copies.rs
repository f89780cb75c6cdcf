//! Several files of one instance, one of them behind a pointer.

use super::*;

fn newest_behind_a_pointer(pointer: &str, copy: &str, more: &[&str]) -> Vec<String> {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    site.write(&format!("{pointer}/pointer"), &to_tier2("x"));
    site.write(&format!("{copy}/copy"), &large("1.2.1"));
    age(&site.path("tier2/x"), 100);
    fill(&site);
    let index = site.sqlite();
    let said = site.reindex(&index, &[&["--target-root", "tier2", "--io-threads", "1"], more].concat());
    adds_up(&said);
    let paths = index.rows("SELECT path FROM image WHERE uuid = '1.2.1'");
    paths.iter().map(|path| path.rsplit('/').take(2).collect::<Vec<_>>().join(" of ")).collect()
}

#[test]
fn the_newest_copy_is_indexed_when_the_older_one_comes_first_control() {
    assert_eq!(newest_behind_a_pointer(LAST, FIRST, &[]), ["x of tier2"]);
}

#[test]
fn the_newest_copy_is_indexed_when_it_lies_behind_a_pointer_that_comes_first() {
    assert_eq!(newest_behind_a_pointer(FIRST, LAST, &[]), ["x of tier2"]);
}

fn oldest_target_behind_a_young_pointer(pointer: &str, copy: &str) -> Vec<String> {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    site.write(&format!("{pointer}/pointer"), &to_tier2("x"));
    site.write(&format!("{copy}/copy"), &large("1.2.1"));
    // The image was moved to tier2 long ago; the pointer is recent.
    age(&site.path("tier2/x"), 9000);
    age(&site.archive().join(pointer).join("pointer"), 60);
    fill(&site);
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2", "--io-threads", "1", "--stub-path", "link"]);
    let paths = index.rows("SELECT path FROM image WHERE uuid = '1.2.1'");
    paths.iter().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
}

#[test]
fn with_stub_path_link_the_choice_does_not_depend_on_which_file_comes_first() {
    let copy_first = oldest_target_behind_a_young_pointer(LAST, FIRST);
    let pointer_first = oldest_target_behind_a_young_pointer(FIRST, LAST);
    assert_eq!(copy_first, pointer_first);
}

#[test]
fn two_pointers_to_one_image_are_one_new_row() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    site.write(&format!("{FIRST}/pointer"), &to_tier2("x"));
    site.write(&format!("{LAST}/pointer"), &to_tier2("x"));
    fill(&site);
    let index = site.sqlite();
    let said = site.reindex(&index, &["--target-root", "tier2", "--io-threads", "1"]);
    adds_up(&said);
    assert_eq!(said.figure("inserted"), index.count("image"), "{}", said.out);
}

#[test]
fn a_row_follows_an_image_that_came_back_from_the_second_tier() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    write_beside(&site, "tier2/another", &large("1.2.2"));
    site.write(&format!("{FIRST}/1.2.1"), &to_tier2("x"));
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2"]).exits(0);
    // The storage system restores the image to its former path.
    fs::remove_file(site.path("tier2/x")).unwrap();
    site.write(&format!("{FIRST}/1.2.1"), &large("1.2.1"));
    let said = site.reindex(&index, &["--target-root", "tier2"]);
    let path = index.rows("SELECT path FROM image WHERE uuid = '1.2.1'").remove(0);
    assert!(Path::new(&path).exists(), "the row names {path}, which is not there\n{}", said.out);
}

#[test]
fn a_row_follows_a_pointer_whose_image_was_moved_within_the_second_tier() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    site.write(&format!("{FIRST}/1.2.1"), &to_tier2("x"));
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2"]).exits(0);
    fs::create_dir(site.path("tier2/2021")).unwrap();
    fs::rename(site.path("tier2/x"), site.path("tier2/2021/x")).unwrap();
    site.write(&format!("{FIRST}/1.2.1"), &to_tier2(r"2021\x"));
    let said = site.reindex(&index, &["--target-root", "tier2"]);
    let path = index.rows("SELECT path FROM image WHERE uuid = '1.2.1'").remove(0);
    assert!(Path::new(&path).exists(), "the row names {path}, which is not there\n{}", said.out);
}

#[test]
fn a_row_that_the_pacs_wrote_with_backslashes_is_that_of_the_pointer() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    let info = LinkInfo { local: Some(r"Z:\ARCHIVE"), suffix: "x", ..LinkInfo::default() };
    let pointer = ShellLink { info: Some(info), ..ShellLink::default() }.bytes();
    site.write(&format!("{FIRST}/1.2.1"), &pointer);
    let index = site.sqlite();
    let map = format!("{}=Z:/ARCHIVE", site.path("tier2").display());
    let settings = ["--target-root", "tier2", "--path-map", &map];
    site.reindex(&index, &settings).exits(0);
    index.execute(r"UPDATE image SET path = 'Z:\ARCHIVE\x'");
    let said = site.reindex(&index, &[&settings[..], &["--force"]].concat());
    let figures = (said.figure("unchanged"), said.figure("duplicates not chosen"));
    assert_eq!((figures, said.exit), ((1, 0), 0), "{}", said.out);
}

#[test]
fn a_run_that_finds_all_as_it_was_tells_the_same_of_two_pointers_to_one_image() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    site.write(&format!("{FIRST}/pointer"), &to_tier2("x"));
    site.write(&format!("{LAST}/pointer"), &to_tier2("x"));
    let index = site.sqlite();
    let first = site.reindex(&index, &["--target-root", "tier2"]);
    let second = site.reindex(&index, &["--target-root", "tier2"]);
    let told = |said: &Said| (said.figure("duplicates not chosen"), said.exit);
    assert_eq!(told(&second), told(&first), "{}\n{}", first.out, second.out);
}
