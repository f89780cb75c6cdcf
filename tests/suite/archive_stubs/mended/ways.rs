//! The targets of links and pointers.

use super::*;

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
    // The mount point of the second tier, and the link by which it is named.
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
fn shards_do_not_recall_each_as_much_as_one_run_may() {
    let site = Site::new();
    for day in 10..26 {
        site.write(&format!("2021-11-{day:02}-FRI/1.2.{day}"), &large(&format!("1.2.{day}")));
    }
    let archive = site.archive().display().to_string();
    let config = settings(&site, "recall-files = 3");
    let more = ["--nearline", &archive, "--config", &config, "--allow-recall"];
    let mut command = site.program(&["reindex", "archive", "--shard", "1/2", "--state", "shard-1"]);
    let said = Said::of(command.args(more)).exits(2);
    assert!(
        ["'--allow-recall'", "--shard", "cannot be used with"].iter().all(|text| said.err.contains(text)),
        "{}",
        said.err
    );
}

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
