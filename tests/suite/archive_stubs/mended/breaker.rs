//! Regressions on slow storage.

use super::*;

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
