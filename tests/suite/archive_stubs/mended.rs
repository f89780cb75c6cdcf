//! What went wrong with links, pointers and recalls when somebody tried: each of these failed once. Tests that end in
//! `_control` held, and show that the arrangement was not to blame.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::{large, listed, move_away, not_run, write_beside};
use crate::support::stubs::{LinkInfo, ShellLink};
use crate::support::virtual_archive::{Behaviour, Options, VirtualArchive};
use crate::support::{FATES, Index, PASSWORD, Said, Site, beyond, instance_file, walk};

const FIRST: &str = "2021-11-13-SAT";
const BETWEEN: &str = "2021-11-12-FRI";
const LAST: &str = "2021-11-11-THU";

fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

/// A shell link to a file of `tier2`, by its relative path from a day of the archive.
fn to_tier2(name: &str) -> Vec<u8> {
    let relative = format!(r"..\..\tier2\{name}");
    ShellLink { relative: Some(&relative), ..ShellLink::default() }.bytes()
}

/// Files that stand between two others on the way to the index, so that these come in batches of their own.
fn fill(site: &Site) {
    (0..1100).for_each(|n| site.add(&format!("{BETWEEN}/9.{n}"), json!({"SOPInstanceUID": format!("9.{n}")})));
}

fn settings(site: &Site, text: &str) -> String {
    let path = site.path("site.toml");
    fs::write(&path, format!("recall = 'allow'\nrecalls-a-minute = 0\n{text}\n")).unwrap();
    path.display().to_string()
}

fn adds_up(said: &Said) {
    assert_eq!(FATES.iter().map(|fate| said.figure(fate)).sum::<u64>(), said.figure("files found"), "{}", said.out);
}

/// The sum of a column of the table of stubs, over lines of an outcome.
fn told_of_stubs(said: &Said, outcome: &str) -> u64 {
    let lines = said.out.lines().skip_while(|line| !line.starts_with("stubs and links")).skip(1);
    let lines = lines.take_while(|line| !line.is_empty()).filter(|line| line.ends_with(&format!("  {outcome}")));
    let files = |line: &str| {
        let words: Vec<&str> = line.trim_end_matches(outcome).split_whitespace().collect();
        let at = words.iter().position(|w| ["online", "nearline", "offline", "unavailable", "unknown"].contains(w));
        words[at.unwrap() + 1].replace(',', "").parse::<u64>().unwrap()
    };
    lines.map(files).sum()
}

// --- Several files of one instance, one of them behind a pointer ---------------------------------------------------

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
    // The image was moved to tier2 long ago, and the pointer was made lately.
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
    // The storage system brings it back to where it was.
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

// --- What the journal remembers of a pointer -----------------------------------------------------------------------

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
        // As old as each other: a copy that keeps whole seconds.
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
        // It is not what was wanted: once more, from nothing.
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
    // It comes back to where it was, as old as it was. The index is made anew.
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

// --- Accidental recalls --------------------------------------------------------------------------------------------

#[test]
fn what_is_declared_nearline_by_one_name_is_not_read_by_another() {
    let site = Site::new();
    write_beside(&site, "volume7/1.2.1", &large("1.2.1"));
    symlink("volume7", site.path("tape")).unwrap();
    site.write(&format!("{FIRST}/1.2.2"), &large("1.2.2"));
    symlink("../../tape/1.2.1", site.archive().join(FIRST).join("link")).unwrap();
    let said = site.reindex(&site.sqlite(), &["--nearline", "tape", "--target-root", "tape"]);
    assert_eq!((said.figure("inserted"), said.figure("stubs not read")), (1, 1), "{}", said.out);
}

#[test]
fn a_part_of_an_archive_that_is_declared_nearline_is_not_read_though_its_root_is_a_link() {
    let site = Site::new();
    site.write("tape/1.2.1", &large("1.2.1"));
    site.write("disk/1.2.2", &large("1.2.2"));
    symlink("archive", site.path("dicom")).unwrap();
    let nearline = site.archive().join("tape").display().to_string();
    let said = site.reindex_root(&site.path("dicom"), &site.sqlite(), &["--nearline", &nearline]);
    assert_eq!((said.figure("inserted"), said.figure("stubs not read")), (1, 1), "{}", said.out);
}

#[test]
fn a_budget_of_bytes_covers_what_a_recalled_pointer_leads_to() {
    let site = Site::new();
    // Two gigabytes, of which only the header is on the disk.
    write_beside(&site, "tape/x", &large("1.2.1"));
    File::options().write(true).open(site.path("tape/x")).unwrap().set_len(2_000_000_000).unwrap();
    let pointer = ShellLink { relative: Some(r"..\..\tape\x"), ..ShellLink::default() }.bytes();
    site.write(&format!("{FIRST}/pointer"), &pointer);
    let archive = site.archive().display().to_string();
    let config = settings(&site, "recall-gigabytes = 1");
    let more = ["--nearline", &archive, "--nearline", "tape", "--target-root", "tape", "--config", &config];
    let said = site.reindex(&site.sqlite(), &[&more[..], &["--allow-recall"]].concat());
    assert_eq!((said.figure("inserted"), said.figure("stubs not read")), (0, 1), "{}", said.out);
}

#[test]
fn a_run_that_goes_on_keeps_to_the_budget_of_the_one_that_was_killed() {
    let site = Site::new();
    let mut options = Options::new(40);
    options.tree.per_day = 10;
    options.behaviour = Arc::new(|_| Behaviour::Offline(Duration::ZERO));
    let archive = match VirtualArchive::mount(&site.archive(), options) {
        Ok(archive) => archive,
        Err(error) => return not_run("a virtual archive", error),
    };
    let config = settings(&site, "recall-files = 10\nrecalls-at-a-time = 1");
    let config = config.as_str();
    // Typed options stand against those of the file: slow enough to be killed in between.
    let slow = ["--config", config, "--allow-recall", "--recalls-a-minute", "60"];
    let index = site.sqlite();
    let run = site.start_reindex(&index, &slow);
    let deadline = Instant::now() + Duration::from_secs(60);
    while archive.counts().recall.load(Relaxed) < 5 && Instant::now() < deadline {
        sleep(Duration::from_millis(50));
    }
    sleep(Duration::from_millis(500));
    run.kill();
    let before = archive.counts().recall.load(Relaxed);
    assert!((5..10).contains(&before), "{before}");
    let said = site.reindex(&index, &["--config", config, "--allow-recall"]);
    let all = archive.counts().recall.load(Relaxed);
    assert!(all <= 10, "{before} before it was killed, {all} at the end; {} rows\n{}", index.count("image"), said.out);
}

// --- Recalls that do not come about --------------------------------------------------------------------------------

#[test]
fn a_recall_of_files_that_the_pacs_is_still_at_comes_to_an_end() {
    let site = Site::new();
    site.write(&format!("{FIRST}/1.2.9"), &large("1.2.9"));
    for n in 0..4 {
        let path = format!("tape/1.2.{n}");
        site.write(&path, &large(&format!("1.2.{n}")));
        age(&site.archive().join(path), 1);
    }
    let tape = site.archive().join("tape").display().to_string();
    let config = settings(&site, "recalls-at-a-time = 2");
    let more = ["--nearline", &tape, "--config", &config, "--allow-recall", "--settle", "1h"];
    let mut run = site.start_reindex(&site.sqlite(), &more);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !run.is_over() && Instant::now() < deadline {
        sleep(Duration::from_millis(100));
    }
    if !run.is_over() {
        run.interrupt();
        let said = run.end();
        panic!("it hangs\n{}\n{}", said.out, said.err);
    }
}

#[test]
fn links_that_lead_out_do_not_use_up_the_budget_of_recalls() {
    let site = Site::new();
    site.write(&format!("{LAST}/1.2.1"), &large("1.2.1"));
    fs::create_dir(site.archive().join(FIRST)).unwrap();
    fs::create_dir(site.path("elsewhere")).unwrap();
    symlink("../../elsewhere", site.archive().join(FIRST).join("directory")).unwrap();
    let tape = site.archive().join(LAST).display().to_string();
    let config = settings(&site, "recall-files = 1");
    let said = site.reindex(&site.sqlite(), &["--nearline", &tape, "--config", &config, "--allow-recall"]);
    adds_up(&said);
    assert_eq!(said.figure("inserted"), 1, "{}", said.out);
}

#[test]
fn the_table_of_stubs_tells_each_file_once() {
    let site = Site::new();
    write_beside(&site, "tape/x", &large("1.2.1"));
    site.write(&format!("{FIRST}/1.2.9"), &large("1.2.9"));
    symlink("../../tape/x", site.archive().join(FIRST).join("link")).unwrap();
    let config = settings(&site, "");
    let more = ["--nearline", "tape", "--target-root", "tape", "--config", &config, "--allow-recall"];
    let said = site.reindex(&site.sqlite(), &more);
    assert_eq!(said.figure("inserted"), 2);
    assert_eq!(told_of_stubs(&said, "read"), 1, "{}", said.out);
}

#[test]
fn the_table_of_stubs_does_not_tell_that_a_directory_was_read() {
    let site = Site::new();
    site.write(&format!("{FIRST}/1.2.9"), &large("1.2.9"));
    fs::create_dir(site.path("elsewhere")).unwrap();
    symlink("../../elsewhere", site.archive().join(FIRST).join("directory")).unwrap();
    let config = settings(&site, "");
    let said = site.reindex(&site.sqlite(), &["--config", &config, "--allow-recall"]);
    assert_eq!((said.figure("stubs not read"), told_of_stubs(&said, "read")), (1, 0), "{}", said.out);
}

// --- Files that are lost, and rows that are wrong -------------------------------------------------------------------

#[test]
fn a_link_to_where_the_walk_does_not_go_is_not_lost_without_a_word() {
    let site = Site::new();
    site.write(&format!("{FIRST}/1.2.9"), &large("1.2.9"));
    site.write("#recycle/1.2.1", &large("1.2.1"));
    symlink("../#recycle/1.2.1", site.archive().join(FIRST).join("1.2.1")).unwrap();
    let index = site.sqlite();
    let said = site.reindex(&index, &[]);
    let is_indexed = index.count("image") == 2;
    assert!(is_indexed || said.exit == 1, "exit {}: neither a row nor a finding\n{}", said.exit, said.out);
}

#[test]
fn a_link_to_a_file_whose_name_is_no_text_is_indexed_by_its_own_name() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    let odd = site.path("tier2").join(OsStr::from_bytes(b"R\xF6ntgen"));
    fs::rename(site.path("tier2/x"), &odd).unwrap();
    fs::create_dir(site.archive().join(FIRST)).unwrap();
    symlink(&odd, site.archive().join(FIRST).join("1.2.1")).unwrap();
    let index = site.sqlite();
    let said = site.reindex(&index, &["--target-root", "tier2"]);
    assert_eq!(said.figure("inserted"), 1, "{}\n{:?}", said.out, site.listing());
}

#[test]
fn a_pointer_that_leads_back_and_forth_is_named_as_the_pacs_sees_it() {
    let site = Site::new();
    // Where the second tier is mounted, and how it is called.
    write_beside(&site, "volume7/x", &large("1.2.1"));
    symlink("volume7", site.path("tier2")).unwrap();
    site.write(&format!("{FIRST}/pointer"), &to_tier2("x"));
    let map = format!("{}=Z:/ARCHIVE", site.path("tier2").display());
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2", "--path-map", &map]).exits(0);
    assert_eq!(index.rows("SELECT path FROM image"), ["Z:/ARCHIVE/x"]);
}

#[test]
fn a_rule_is_about_the_name_of_the_pointer_and_not_of_a_link_to_it() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    write_beside(&site, "tier2/1.2.1.stub", b"id = 7\npath = x\n");
    fs::create_dir(site.archive().join(FIRST)).unwrap();
    symlink("../../tier2/1.2.1.stub", site.archive().join(FIRST).join("1.2.1")).unwrap();
    let rule = r"\.stub$ => ^path\s*=\s*(.+)$";
    let index = site.sqlite();
    let said = site.reindex(&index, &["--target-root", "tier2", "--pointer-rule", rule]);
    assert_eq!(said.figure("inserted"), 1, "{}\n{:?}", said.out, site.listing());
}

#[test]
fn an_image_that_is_larger_than_the_budget_does_not_keep_all_others_from_being_recalled() {
    let site = Site::new();
    site.write(&format!("{FIRST}/1.2.1"), &large("1.2.1"));
    File::options().write(true).open(site.archive().join(FIRST).join("1.2.1")).unwrap().set_len(2_000_000_000).unwrap();
    (0..5).for_each(|n| site.write(&format!("{LAST}/1.3.{n}"), &large(&format!("1.3.{n}"))));
    let archive = site.archive().display().to_string();
    let config = settings(&site, "recall-gigabytes = 1");
    let said = site.reindex(&site.sqlite(), &["--nearline", &archive, "--config", &config, "--allow-recall"]);
    assert_eq!(said.figure("inserted"), 5, "{}", said.out);
}

#[test]
fn slices_do_not_recall_each_as_much_as_one_run_may() {
    let site = Site::new();
    for day in 10..26 {
        site.write(&format!("2021-11-{day:02}-FRI/1.2.{day}"), &large(&format!("1.2.{day}")));
    }
    let archive = site.archive().display().to_string();
    let config = settings(&site, "recall-files = 3");
    let more = ["--nearline", &archive, "--config", &config, "--allow-recall"];
    let more = [&more[..], &["--slice", "1/2", "--state", "slice-1"]].concat();
    let said = site.reindex(&site.sqlite(), &more).exits(2);
    assert!(said.err.contains("cannot be used with --slice"), "{}", said.err);
}

// --- The breaker ----------------------------------------------------------------------------------------------------

#[test]
fn a_second_tier_that_is_slow_to_look_at_does_not_stop_reading_of_the_first() {
    let site = Site::new();
    fs::create_dir(site.path("tier2")).unwrap();
    let mut options = Options::new(20);
    options.tree.per_day = 20;
    options.ttl = Duration::ZERO;
    options.latency.lookup = Duration::from_millis(200);
    options.latency.getattr = Duration::from_millis(50);
    let _tier2 = match VirtualArchive::mount(&site.path("tier2"), options) {
        Ok(archive) => archive,
        Err(error) => return not_run("a virtual archive", error),
    };
    for (n, file) in walk(&site.path("tier2")).into_iter().take(10).enumerate() {
        let to = file.strip_prefix(site.path("tier2")).unwrap().display().to_string().replace('/', "\\");
        site.write(&format!("{FIRST}/pointer {n}"), &to_tier2(&to));
    }
    (0..100).for_each(|n| site.write(&format!("{LAST}/1.2.{n}"), &large(&format!("1.2.{n}"))));
    let index = site.sqlite();
    let said = site.reindex(&index, &["--target-root", "tier2", "--slow-read", "250ms", "--io-threads", "1"]);
    let first_tier = index.rows("SELECT COUNT(*) FROM image WHERE uuid LIKE '1.2.%'");
    assert_eq!(first_tier, ["100"], "{}", said.out);
}

#[test]
fn a_limit_that_no_read_reaches_is_no_limit() {
    let site = Site::new();
    site.write("1.2.1", &large("1.2.1"));
    let said = site.reindex(&site.sqlite(), &["--slow-read", "9000000000000000000s"]);
    assert!(said.exit == 0 || said.exit == 2, "{}\n{}", said.out, said.err);
}

#[test]
fn one_read_that_takes_a_while_does_not_give_up_a_disk_that_spins_up() {
    let site = Site::new();
    let mut options = Options::new(60);
    options.tree.per_day = 60;
    options.page_cache = false;
    options.behaviour =
        Arc::new(|n| if n == 0 { Behaviour::Slow(Duration::from_millis(1500)) } else { Behaviour::Ordinary });
    let _archive = match VirtualArchive::mount(&site.archive(), options) {
        Ok(archive) => archive,
        Err(error) => return not_run("a virtual archive", error),
    };
    let said = site.reindex(&site.sqlite(), &["--slow-read", "400ms", "--io-threads", "4"]);
    assert_eq!(said.figure("stubs not read"), 0, "{}", said.out);
}

#[test]
fn a_share_that_is_neither_a_root_nor_a_target_root_is_not_touched() {
    let site = Site::new();
    fs::create_dir(site.path("share")).unwrap();
    let mut options = Options::new(20);
    options.ttl = Duration::ZERO;
    let share = match VirtualArchive::mount(&site.path("share"), options) {
        Ok(archive) => archive,
        Err(error) => return not_run("a virtual archive", error),
    };
    let file = walk(&site.path("share")).remove(0);
    site.write(&format!("{FIRST}/1.2.9"), &large("1.2.9"));
    let before = (share.counts().lookup.load(Relaxed), share.counts().getattr.load(Relaxed));
    let url = format!("[InternetShortcut]\r\nURL=file://{}\r\n", file.display());
    site.reindex(&site.sqlite(), &[]).exits(0);
    let without = (share.counts().lookup.load(Relaxed), share.counts().getattr.load(Relaxed));
    assert_eq!(without, before, "a run without the pointer");
    site.write(&format!("{FIRST}/pointer"), url.as_bytes());
    site.reindex(&site.sqlite(), &[]).exits(1);
    let after = (share.counts().lookup.load(Relaxed), share.counts().getattr.load(Relaxed));
    assert_eq!(after, before, "lookups and questions for attributes");
}

#[test]
fn pointers_of_another_case_to_two_large_directories_take_no_longer_than_to_one() {
    let site = Site::new();
    for directory in ["A", "B"] {
        fs::create_dir_all(site.path("tier2").join(directory)).unwrap();
        (0..30_000)
            .for_each(|n| drop(File::create(site.path("tier2").join(directory).join(format!("file {n}"))).unwrap()));
    }
    let map = format!("{}=Z:/ARCHIVE", site.path("tier2").display());
    let took = |is_both: bool| {
        let _ = fs::remove_dir_all(site.archive());
        for n in 0..200 {
            let directory = if is_both && n % 2 == 1 { "B" } else { "A" };
            let suffix = format!(r"{directory}\FILE {n}");
            let info = LinkInfo { local: Some(r"Z:\ARCHIVE"), suffix: &suffix, ..LinkInfo::default() };
            site.write(&format!("{FIRST}/{n:03}"), &ShellLink { info: Some(info), ..ShellLink::default() }.bytes());
        }
        let begun = Instant::now();
        let more = ["--target-root", "tier2", "--path-map", &map, "--io-threads", "1", "--force"];
        site.reindex(&site.sqlite(), &more);
        begun.elapsed()
    };
    let (one, both) = (took(false), took(true));
    assert!(both < one * 5, "{one:?} for pointers to one directory, {both:?} for as many to two");
}

// --- Slices ---------------------------------------------------------------------------------------------------------

fn in_slices(site: &Site, index: &Index, more: &[&str]) -> Said {
    for n in 1..=2 {
        let (slice, state, list) = (format!("{n}/2"), format!("slice-{n}"), format!("list-{n}"));
        let mut command = site.program(&["reindex", "archive", "--index", &index.url, "--quiet", "--settle", "0s"]);
        command.args(["--slice", &slice, "--state", &state, "--rejected", &list]).args(more);
        let said = Said::of(command.env("PACS_INDEX_PASSWORD", PASSWORD));
        assert!(said.exit <= 1, "{}\n{}", said.out, said.err);
    }
    let mut command = site.program(&["reindex", "--index", &index.url, "--quiet", "--rejected", "list-end"]);
    command.args(more).args(["--finish", "slice-1", "slice-2"]);
    Said::of(command.env("PACS_INDEX_PASSWORD", PASSWORD))
}

fn duplicates(site: &Site, lists: &[&str]) -> Vec<String> {
    let text = |name: &&str| fs::read_to_string(site.path(name)).unwrap_or_default();
    let all: String = lists.iter().map(text).collect();
    let mut lines: Vec<String> = all.lines().filter(|line| line.contains("\"duplicate\"")).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Pointers and copies of their images, in directories of both slices; of each pair one is newer.
fn pairs(site: &Site) {
    for day in 10..26 {
        let other = 10 + (day * 7 + 3) % 16;
        let name = format!("1.2.{day}");
        write_beside(site, &format!("tier2/{name}"), &large(&name));
        site.write(&format!("2021-11-{day:02}-FRI/{name}"), &to_tier2(&name));
        site.write(&format!("2021-11-{other:02}-FRI/copy of {name}"), &large(&name));
        age(&site.path("tier2").join(&name), if day % 2 == 0 { 100 } else { 9000 });
    }
}

#[test]
fn slices_make_the_index_of_one_run_where_pointers_lead_to_copies() {
    let site = Site::new();
    pairs(&site);
    let index = site.sqlite();
    let more = ["--target-root", "tier2"];
    site.reindex_root(Path::new("archive"), &index, &more).exits(1);
    let (once, told) =
        (index.rows("SELECT uuid, path FROM image ORDER BY uuid"), duplicates(&site, &["rejected.jsonl"]));
    fs::remove_file(site.path("index.db")).unwrap();
    site.run(&["init", "--index", &index.url]);
    let said = in_slices(&site, &index, &more);
    let sliced = index.rows("SELECT uuid, path FROM image ORDER BY uuid");
    assert_eq!(sliced, once, "{}\n{}", said.out, said.err);
    assert_eq!(duplicates(&site, &["list-1", "list-2", "list-end"]), told);
}

#[test]
fn the_end_of_slices_does_not_call_the_indexed_file_a_duplicate() {
    let site = Site::new();
    pairs(&site);
    // Those behind pointers are the best.
    for day in 10..26 {
        age(&site.path("tier2").join(format!("1.2.{day}")), 10);
    }
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]);
    in_slices(&site, &index, &["--target-root", "tier2"]);
    let listed = duplicates(&site, &["list-1", "list-2", "list-end"]);
    let rows = index.rows("SELECT uuid FROM image WHERE path LIKE '%/tier2/%'");
    let wrong: Vec<_> =
        listed.iter().filter(|line| rows.iter().any(|uid| line.contains(&format!("FRI/{uid}\"")))).collect();
    assert!(wrong.is_empty(), "{} rows lead through pointers that are listed as duplicates: {wrong:?}", wrong.len());
}

/// Forty files, and beside them a pointer that somebody has called by a name of the former code page.
fn with_a_pointer_of_an_odd_name(site: &Site) {
    write_beside(site, "tier2/x", &large("1.2.1"));
    for n in 0..40 {
        let change = json!({"SOPInstanceUID": format!("1.3.{n}"), "Modality": if n % 2 == 0 { "CT" } else { "MR" },
            "SeriesInstanceUID": format!("1.4.{}", n % 2), "StudyDescription": format!("part {n}")});
        site.add(&format!("{FIRST}/{n}"), change);
    }
    site.write(&format!("{FIRST}/pointer"), &to_tier2("x"));
    let day = site.archive().join(FIRST);
    fs::rename(day.join("pointer"), day.join(OsStr::from_bytes(b"R\xF6ntgen"))).unwrap();
}

#[test]
fn the_end_of_slices_knows_all_files_with_a_pointer_control() {
    let site = Site::new();
    with_a_pointer_of_an_odd_name(&site);
    let day = site.archive().join(FIRST);
    fs::rename(day.join(OsStr::from_bytes(b"R\xF6ntgen")), day.join("pointer")).unwrap();
    let index = site.sqlite();
    site.reindex_root(Path::new("archive"), &index, &["--target-root", "tier2"]).exits(0);
    let once = index.dump();
    fs::remove_file(site.path("index.db")).unwrap();
    site.run(&["init", "--index", &index.url]);
    let said = in_slices(&site, &index, &["--target-root", "tier2"]);
    assert_eq!(said.figure("files found"), 41, "{}", said.out);
    let written = index.dump();
    assert_eq!((beyond(&once, &written), beyond(&written, &once)), (vec![], vec![]));
}

#[test]
fn a_duplicate_behind_a_pointer_of_an_odd_name_is_listed_by_its_name() {
    let site = Site::new();
    with_a_pointer_of_an_odd_name(&site);
    site.write(&format!("{LAST}/copy"), &large("1.2.1"));
    age(&site.archive().join(LAST).join("copy"), 60);
    site.reindex(&site.sqlite(), &["--target-root", "tier2", "--insert-order", "key"]).exits(1);
    let lines: Vec<_> = site.listing().into_iter().filter(|line| line["what"] == "duplicate").collect();
    assert!(lines.iter().all(|line| line["path"] != ""), "{lines:?}");
}

#[test]
fn with_recall_never_a_link_that_is_known_is_rebuilt_as_a_pointer_is() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    write_beside(&site, "tier2/y", &large("1.2.2"));
    site.write(&format!("{FIRST}/pointer"), &to_tier2("x"));
    symlink("../../tier2/y", site.archive().join(FIRST).join("link")).unwrap();
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2"]).exits(0);
    index.execute("DELETE FROM image");
    let said = site.reindex(&index, &["--target-root", "tier2", "--recall", "never"]);
    assert_eq!(index.rows("SELECT uuid FROM image ORDER BY uuid"), ["1.2.1", "1.2.2"], "{}", said.out);
}

#[test]
fn a_directory_that_is_exchanged_for_a_link_does_not_let_anything_out() {
    use std::sync::atomic::AtomicBool;
    let site = Site::new();
    write_beside(&site, "tier2/d/x", &large("1.2.1"));
    write_beside(&site, "elsewhere/x", &large("6.6.6"));
    symlink("../elsewhere", site.path("tier2/e")).unwrap();
    fs::create_dir(site.archive().join(FIRST)).unwrap();
    (0..4000).for_each(|n| symlink("../../tier2/d/x", site.archive().join(FIRST).join(n.to_string())).unwrap());
    let name = |path: &str| std::ffi::CString::new(site.path(path).as_os_str().as_bytes()).unwrap();
    let (d, e) = (name("tier2/d"), name("tier2/e"));
    let stop = AtomicBool::new(false);
    let index = site.sqlite();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                // SAFETY: two strings that end with a NUL.
                unsafe {
                    libc::renameat2(libc::AT_FDCWD, d.as_ptr(), libc::AT_FDCWD, e.as_ptr(), libc::RENAME_EXCHANGE)
                };
                std::thread::sleep(Duration::from_micros(5));
            }
        });
        let said = site.reindex(&index, &["--target-root", "tier2", "--io-threads", "4"]);
        stop.store(true, Relaxed);
        adds_up(&said);
    });
    assert_eq!(index.rows("SELECT uuid FROM image WHERE uuid = '6.6.6'"), [""; 0], "it lies out of all roots");
}

#[test]
fn an_index_in_slices_is_that_of_one_run_though_a_pointer_has_an_odd_name() {
    let site = Site::new();
    with_a_pointer_of_an_odd_name(&site);
    let index = site.sqlite();
    let more = ["--target-root", "tier2"];
    site.reindex_root(Path::new("archive"), &index, &more).exits(1);
    let once = index.dump();
    fs::remove_file(site.path("index.db")).unwrap();
    site.run(&["init", "--index", &index.url]);
    in_slices(&site, &index, &more);
    let written = index.dump();
    assert_eq!((beyond(&once, &written), beyond(&written, &once)), (vec![], vec![]));
}

#[test]
fn the_end_of_slices_knows_all_files_though_a_pointer_has_an_odd_name() {
    let site = Site::new();
    with_a_pointer_of_an_odd_name(&site);
    let index = site.sqlite();
    let more = ["--target-root", "tier2"];
    let said = site.reindex_root(Path::new("archive"), &index, &more).exits(1);
    assert_eq!((said.figure("files found"), said.figure("path-not-text")), (41, 1));
    let once = index.dump();
    fs::remove_file(site.path("index.db")).unwrap();
    site.run(&["init", "--index", &index.url]);
    let said = in_slices(&site, &index, &more);
    assert_eq!(said.figure("files found"), 40, "{}", said.out);
    assert_eq!(index.dump(), once);
}

#[test]
fn a_killed_run_goes_on_with_what_it_had_though_a_pointer_has_an_odd_name_control() {
    let site = Site::new();
    with_a_pointer_of_an_odd_name(&site);
    fill(&site);
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]);
    let more = ["--target-root", "tier2", "--io-threads", "1"];
    let run = site.start_reindex(&index, &more);
    let rows = || std::panic::catch_unwind(|| index.count("image")).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while rows() == 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(2));
    }
    run.kill();
    let written = rows();
    let said = site.reindex(&index, &more);
    adds_up(&said);
    assert_eq!((said.figure("inserted"), said.exit), (1140, 1), "{written} rows when it was killed\n{}", said.out);
}

#[test]
fn an_odd_name_beside_them_does_not_make_files_be_read_again() {
    let site = Site::new();
    with_a_pointer_of_an_odd_name(&site);
    let index = site.sqlite();
    let more = ["--target-root", "tier2"];
    site.reindex(&index, &more).exits(1);
    index.execute("DELETE FROM image");
    // None of them can be read now: what is known of them must do.
    (0..40).for_each(|n| {
        let path = site.archive().join(FIRST).join(n.to_string());
        let (size, then) = (fs::metadata(&path).unwrap().len(), fs::metadata(&path).unwrap().modified().unwrap());
        fs::write(&path, vec![b'x'; size as usize]).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    });
    let said = site.reindex(&index, &more);
    assert_eq!(said.figure("rejected"), 1, "{}", said.out);
}

// --- The same run twice ------------------------------------------------------------------------------------------------

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

// --- Others --------------------------------------------------------------------------------------------------------------

#[test]
fn nothing_is_written_into_the_second_tier() {
    let site = Site::new();
    write_beside(&site, "tier2/x", &large("1.2.1"));
    site.write(&format!("{FIRST}/pointer"), &to_tier2("x"));
    site.reindex(&site.sqlite(), &["--target-root", "tier2", "--state", "tier2/state"]).exits(2);
}

#[test]
fn pointers_that_claim_too_much_do_not_end_a_run() {
    let site = Site::new();
    site.write(&format!("{FIRST}/1.2.1"), &large("1.2.1"));
    for n in 0..2 {
        let lfs =
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n", "0".repeat(64), u64::MAX);
        site.write(&format!("{FIRST}/{n}"), lfs.as_bytes());
    }
    let said = site.reindex(&site.sqlite(), &[]);
    assert_eq!(said.exit, 1, "{}\n{}", said.out, said.err);
}

#[test]
fn a_stub_that_was_moved_away_is_told_as_one_control() {
    let site = Site::new();
    site.write(&format!("{FIRST}/1.2.1"), &large("1.2.1"));
    move_away(&site.archive().join(FIRST).join("1.2.1"));
    site.reindex(&site.sqlite(), &[]).exits(1);
    assert_eq!(listed(&site, "1.2.1")["locality"], "nearline");
}
