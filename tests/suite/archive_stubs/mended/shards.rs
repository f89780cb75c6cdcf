//! Shards of an archive with links and pointers.

use super::*;

fn in_shards(site: &Site, index: &Index, more: &[&str]) -> Said {
    for n in 1..=2 {
        let (shard, state, list) = (format!("{n}/2"), format!("shard-{n}"), format!("list-{n}"));
        let mut command = site.program(&["reindex", "archive", "--quiet", "--min-age", "0s"]);
        let said = Said::of(command.args(["--shard", &shard, "--state", &state, "--rejected", &list]).args(more));
        assert!(said.exit <= 1, "{}\n{}", said.out, said.err);
    }
    let mut command = site.program(&["reindex", "--index", &index.url, "--quiet", "--rejected", "list-end"]);
    command.args(["--min-age", "0s"]).args(more).args(["--merge-shards", "shard-1", "shard-2"]);
    Said::of(command.env("PACS_INDEX_PASSWORD", PASSWORD))
}

fn duplicates(site: &Site, lists: &[&str]) -> Vec<String> {
    let text = |name: &&str| fs::read_to_string(site.path(name)).unwrap_or_default();
    let all: String = lists.iter().map(text).collect();
    let mut lines: Vec<String> = all.lines().filter(|line| line.contains("\"duplicate\"")).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Adds pointers and copies of their images, in directories of both shards. Either the image or the
/// copy is newer.
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
fn shards_make_the_index_of_one_run_where_pointers_lead_to_copies() {
    let site = Site::new();
    pairs(&site);
    let index = site.sqlite();
    let more = ["--target-root", "tier2"];
    site.reindex_root(Path::new("archive"), &index, &more).exits(1);
    let (once, told) =
        (index.rows("SELECT uuid, path FROM image ORDER BY uuid"), duplicates(&site, &["rejected.jsonl"]));
    fs::remove_file(site.path("index.db")).unwrap();
    site.run(&["init", "--index", &index.url]);
    let said = in_shards(&site, &index, &more);
    let sliced = index.rows("SELECT uuid, path FROM image ORDER BY uuid");
    assert_eq!(sliced, once, "{}\n{}", said.out, said.err);
    assert_eq!(duplicates(&site, &["list-end"]), told);
}

#[test]
fn a_merge_of_shards_does_not_call_the_indexed_file_a_duplicate() {
    let site = Site::new();
    pairs(&site);
    // The images behind pointers are the newest files.
    for day in 10..26 {
        age(&site.path("tier2").join(format!("1.2.{day}")), 10);
    }
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]);
    in_shards(&site, &index, &["--target-root", "tier2"]);
    let listed = duplicates(&site, &["list-end"]);
    let rows = index.rows("SELECT uuid FROM image WHERE path LIKE '%/tier2/%'");
    let wrong: Vec<_> =
        listed.iter().filter(|line| rows.iter().any(|uid| line.contains(&format!("FRI/{uid}\"")))).collect();
    assert!(wrong.is_empty(), "{} rows lead through pointers that are listed as duplicates: {wrong:?}", wrong.len());
}

/// Forty files, and a pointer in the same directory whose name is encoded in a legacy code page.
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
fn a_merge_of_shards_knows_all_files_with_a_pointer_control() {
    let site = Site::new();
    with_a_pointer_of_an_odd_name(&site);
    let day = site.archive().join(FIRST);
    fs::rename(day.join(OsStr::from_bytes(b"R\xF6ntgen")), day.join("pointer")).unwrap();
    let index = site.sqlite();
    site.reindex_root(Path::new("archive"), &index, &["--target-root", "tier2"]).exits(0);
    let once = index.dump();
    fs::remove_file(site.path("index.db")).unwrap();
    site.run(&["init", "--index", &index.url]);
    let said = in_shards(&site, &index, &["--target-root", "tier2"]);
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
                // SAFETY: both strings are NUL-terminated.
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
fn an_index_in_shards_is_that_of_one_run_though_a_pointer_has_an_odd_name() {
    let site = Site::new();
    with_a_pointer_of_an_odd_name(&site);
    let index = site.sqlite();
    let more = ["--target-root", "tier2"];
    site.reindex_root(Path::new("archive"), &index, &more).exits(1);
    let once = index.dump();
    fs::remove_file(site.path("index.db")).unwrap();
    site.run(&["init", "--index", &index.url]);
    in_shards(&site, &index, &more);
    let written = index.dump();
    assert_eq!((beyond(&once, &written), beyond(&written, &once)), (vec![], vec![]));
}

#[test]
fn a_merge_of_shards_knows_all_files_though_a_pointer_has_an_odd_name() {
    let site = Site::new();
    with_a_pointer_of_an_odd_name(&site);
    let index = site.sqlite();
    let more = ["--target-root", "tier2"];
    let said = site.reindex_root(Path::new("archive"), &index, &more).exits(1);
    assert_eq!((said.figure("files found"), said.figure("path-not-text")), (41, 1));
    let once = index.dump();
    fs::remove_file(site.path("index.db")).unwrap();
    site.run(&["init", "--index", &index.url]);
    let said = in_shards(&site, &index, &more);
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
    // The files become unreadable as DICOM, so the run must use their entries in the journal.
    (0..40).for_each(|n| {
        let path = site.archive().join(FIRST).join(n.to_string());
        let (size, then) = (fs::metadata(&path).unwrap().len(), fs::metadata(&path).unwrap().modified().unwrap());
        fs::write(&path, vec![b'x'; size as usize]).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    });
    let said = site.reindex(&index, &more);
    assert_eq!(said.figure("rejected"), 1, "{}", said.out);
}
