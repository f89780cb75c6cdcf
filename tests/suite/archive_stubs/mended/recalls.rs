//! Unwanted recalls, and wanted recalls that did not happen.

use super::*;

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
    // A file of two gigabytes, of which only the header is on disk.
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
    // Command-line options override the settings file. The limit makes the run slow enough to be
    // killed halfway.
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
    let more = ["--nearline", &tape, "--config", &config, "--allow-recall", "--min-age", "1h"];
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
