//! The files recalled under each policy, counted by the file system; and a slow mount whose files
//! look online.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::{large, not_run};
use crate::support::virtual_archive::{Behaviour, Options, VirtualArchive};
use crate::support::{FATES, Site};

/// Mounts an archive of this number of files, a hundred per day. Every second file is offline.
/// Returns `None` if the archive cannot be mounted.
fn half_offline(site: &Site, files: u64) -> Option<VirtualArchive> {
    let mut options = Options::new(files);
    options.tree.per_day = 100;
    options.ttl = Duration::from_secs(3600);
    options.behaviour = Arc::new(|n| if n % 2 == 0 { Behaviour::Offline(Duration::ZERO) } else { Behaviour::Ordinary });
    mount(site, "archive", options)
}

fn mount(site: &Site, directory: &str, options: Options) -> Option<VirtualArchive> {
    let mounted = VirtualArchive::mount(&site.path(directory), options);
    mounted.map_err(|error| not_run("a virtual archive", error)).ok()
}

/// The number of files; the long form of the tests has more, with ten thousand offline.
fn files() -> u64 {
    if std::env::var_os("PACS_INDEX_TEST_LONG").is_some() { 20_000 } else { 2_000 }
}

fn allow(site: &Site, budget: &str) -> [String; 2] {
    let path = site.path("site.toml");
    fs::write(&path, format!("recall = 'allow'\nrecalls-a-minute = 0\n{budget}\n")).unwrap();
    ["--config".into(), path.display().to_string()]
}

#[test]
fn nothing_is_recalled_but_what_the_budget_allows() {
    let half = files() / 2;
    let site = Site::new();
    let Some(archive) = half_offline(&site, files()) else { return };
    let recalled = || archive.counts().recall.load(Relaxed);
    for policy in [&["--recall", "never"][..], &["--recall", "online-only"], &[]] {
        let _ = fs::remove_file(site.path("index.db"));
        let said = site.reindex(&site.sqlite(), &[policy, &["--force"]].concat()).exits(1);
        assert_eq!(said.figure("inserted") + said.figure("unchanged"), half, "{policy:?}");
        assert_eq!((said.figure("stubs not read"), recalled()), (half, 0), "{policy:?}");
        println!("{policy:?}: {} recalls by the file system", recalled());
    }
    let budget = half / 10;
    let config = allow(&site, &format!("recall-files = {budget}"));
    let config: Vec<&str> = config.iter().map(String::as_str).collect();
    // Neither the site's settings alone nor a dry run recall files.
    site.reindex(&site.sqlite(), &config).exits(1);
    let preview = site.reindex(&site.sqlite(), &[&config[..], &["--dry-run"]].concat()).exits(1);
    let shown = if budget < 1000 { budget.to_string() } else { format!("{},{:03}", budget / 1000, budget % 1000) };
    assert!(preview.out.contains(&format!("would recall {shown} of them")), "{}", preview.out);
    assert_eq!(recalled(), 0);
    let said = site.reindex(&site.sqlite(), &[&config[..], &["--allow-recall"]].concat()).exits(1);
    println!("allow, {budget} files: {} recalls by the file system\n{}", recalled(), said.out);
    assert_eq!((recalled(), said.figure("inserted")), (budget, budget));
    assert_eq!(said.figure("stubs not read"), half - budget);
    assert_eq!(FATES.iter().map(|fate| said.figure(fate)).sum::<u64>(), files());
    // The newest files, from the last days, are recalled.
    let index = site.sqlite();
    let oldest = index.rows(
        "SELECT COUNT(*) FROM image WHERE substr(uuid, length(uuid) - 8) % 2 = 0 AND path < \
         (SELECT path FROM image WHERE substr(uuid, length(uuid) - 8) % 2 = 0 ORDER BY path DESC LIMIT 1 OFFSET 99)",
    );
    assert_eq!(oldest, [budget.saturating_sub(100).to_string()]);
}

#[test]
fn a_budget_of_bytes_is_kept() {
    let site = Site::new();
    let Some(archive) = half_offline(&site, 400) else { return };
    let config = allow(&site, "recall-gigabytes = 0");
    let config: Vec<&str> = config.iter().map(String::as_str).collect();
    let said = site.reindex(&site.sqlite(), &[&config[..], &["--allow-recall"]].concat()).exits(1);
    assert_eq!((archive.counts().recall.load(Relaxed), said.figure("stubs not read")), (0, 200));
}

#[test]
fn recalling_takes_two_who_want_it() {
    let site = Site::new();
    site.write("1.2.1", &large("1.2.1"));
    let index = site.sqlite();
    let cases: [(&[&str], &str); 2] = [
        (&["--recall", "allow", "--allow-recall"], "is accepted in a settings file only"),
        (&["--allow-recall"], "do not allow"),
    ];
    for (typed, told) in cases {
        let said = site.reindex(&index, typed).exits(2);
        assert!(said.err.contains(told), "{}", said.err);
    }
    fs::write(site.path("site.toml"), "recall = 'allow'\nallow-recall = true").unwrap();
    let said = site.reindex(&index, &["--config", "site.toml"]).exits(2);
    assert!(said.err.contains("`allow-recall` is not a setting of"), "{}", said.err);
}

/// A gateway that shows files on tape like any others, but reads them slowly.
fn slow(files: u64, each: Duration) -> Options {
    let mut options = Options::new(files);
    options.tree.per_day = 100;
    options.ttl = Duration::from_secs(3600);
    options.behaviour = Arc::new(move |_| Behaviour::Slow(each));
    options
}

#[test]
fn a_mount_that_answers_slowly_is_left_and_the_rest_is_complete() {
    let is_long = std::env::var_os("PACS_INDEX_TEST_LONG").is_some();
    let each = if is_long { Duration::from_secs(3) } else { Duration::from_millis(300) };
    let site = Site::new();
    fs::create_dir(site.archive().join("tape")).unwrap();
    let Some(archive) = mount(&site, "archive/tape", slow(1000, each)) else { return };
    (0..50).for_each(|n| site.write(&format!("1.2.{n}"), &large(&format!("1.2.{n}"))));
    let begun = Instant::now();
    let slow_read = if is_long { "2s" } else { "200ms" };
    let said = site.reindex(&site.sqlite(), &["--slow-read", slow_read]).exits(1);
    let read = archive.counts().read.load(Relaxed);
    println!("{read} files were read in {:?} before reading there was given up\n{}", begun.elapsed(), said.out);
    assert_eq!(read, 3);
    assert_eq!((said.figure("inserted"), said.figure("stubs not read")), (53, 997));
    assert!(said.out.contains("tape was given up"), "{}", said.out);
    let one = site.listing().into_iter().find(|line| line["what"] == "stub").unwrap();
    assert_eq!((&one["reason"], &one["locality"]), (&"on a mount that answers slowly".into(), &"unknown".into()));
}

#[test]
fn a_directory_is_declared_nearline_or_online() {
    let site = Site::new();
    let Some(archive) = half_offline(&site, 200) else { return };
    let root = site.archive().display().to_string();
    let said = site.reindex(&site.sqlite(), &["--nearline", &root]).exits(1);
    assert_eq!((said.figure("stubs not read"), archive.counts().open.load(Relaxed)), (200, 0));
    let day = fs::read_dir(&root).unwrap().next().unwrap().unwrap().path().display().to_string();
    let said = site.reindex(&site.sqlite(), &["--online", &day]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("stubs not read")), (150, 50));
    assert_eq!(archive.counts().recall.load(Relaxed), 50, "whoever says so wrongly recalls");
    let said = site.reindex(&site.sqlite(), &["--online", "nowhere"]).exits(2);
    assert!(said.err.contains("--online nowhere"), "{}", said.err);
}

#[test]
fn a_mount_without_any_blocks_is_asked_about() {
    let site = Site::new();
    let mut options = Options::new(300);
    options.behaviour = Arc::new(|_| Behaviour::Offline(Duration::ZERO));
    let Some(archive) = mount(&site, "archive", options) else { return };
    let said = site.reindex(&site.sqlite(), &[]).exits(1);
    assert!(said.out.contains("none of 300 files on") && said.out.contains("--online DIR"), "{}", said.out);
    assert_eq!(archive.counts().open.load(Relaxed), 0);
    assert!(site.listing().iter().all(|line| line["availability"] == "NEARLINE"));
}
