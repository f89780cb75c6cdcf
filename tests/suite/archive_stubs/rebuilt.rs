//! Files that were indexed while they were online stay known after their data has moved away.

use std::fs;

use serde_json::json;

use super::{large, listed, move_away};
use crate::support::{Index, Site, on_both_databases};

fn site(files: usize) -> Site {
    let site = Site::new();
    (0..files).for_each(|n| site.write(&format!("2021-11-12-FRI/1.2.{n}"), &large(&format!("1.2.{n}"))));
    site
}

fn move_all_away(site: &Site) {
    for file in fs::read_dir(site.archive().join("2021-11-12-FRI")).unwrap() {
        move_away(&file.unwrap().path());
    }
}

#[test]
fn instances_that_were_indexed_before_they_were_moved_away_are_rebuilt_without_them() {
    on_both_databases(|_, index| {
        let site = site(30);
        let index = index_of(&site, index);
        site.reindex(&index, &[]).exits(0);
        let before = index.dump();
        move_all_away(&site);
        let kept = site.reindex(&index, &[]).exits(0);
        assert_eq!(kept.figure("unchanged"), 30);
        index.connect().execute("DELETE FROM image");
        index.connect().execute("DELETE FROM series");
        let rebuilt = site.reindex(&index, &[]).exits(0);
        assert_eq!((rebuilt.figure("inserted"), rebuilt.figure("stubs not read")), (30, 0));
        assert_eq!(index.dump(), before);
    });
}

fn index_of(site: &Site, of_kind: &Index) -> Index {
    if of_kind.url.starts_with("sqlite") { site.sqlite() } else { Index::mariadb(site) }
}

#[test]
fn a_stub_that_was_not_read_keeps_its_row_and_is_not_missing() {
    let site = site(5);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let before = index.dump();
    move_all_away(&site);
    // Without the state of former runs.
    let said = site.reindex(&index, &["--state", "elsewhere"]).exits(1);
    assert_eq!((said.figure("stubs not read"), said.figure("inserted")), (5, 0));
    assert_eq!(index.dump(), before);
    let line = listed(&site, "1.2.3");
    assert_eq!(
        (&line["claimed_size"], &line["confidence"]),
        (&json!(fs::metadata(site.archive().join("2021-11-12-FRI/1.2.3")).unwrap().len()), &json!("heuristic"))
    );
    let accepted = site.reindex(&index, &["--state", "elsewhere", "--allow-unread-stubs"]).exits(0);
    assert_eq!(accepted.figure("stubs not read"), 5);
    // Another file of the instance does not take over the row, because the row's file cannot be
    // read for comparison.
    site.write("copy", &large("1.2.3"));
    site.reindex(&index, &["--state", "elsewhere", "--allow-unread-stubs"]).exits(1);
    assert_eq!(index.dump(), before);
}

#[test]
fn what_a_pointer_leads_to_is_rebuilt_under_the_same_path() {
    use crate::support::stubs::ShellLink;
    let site = Site::new();
    super::write_beside(&site, "tier2/a", &large("1.2.1"));
    site.write(
        "2021-11-12-FRI/pointer",
        &ShellLink { relative: Some(r"..\..\tier2\a"), ..ShellLink::default() }.bytes(),
    );
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2"]).exits(0);
    let before = index.dump();
    fs::remove_file(site.path("tier2/a")).unwrap();
    index.connect().execute("DELETE FROM image");
    site.reindex(&index, &["--target-root", "tier2"]).exits(0);
    assert_eq!(index.dump(), before);
}
