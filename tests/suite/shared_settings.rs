//! One settings file for several commands, and options that contradict each other.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::import::put;
use crate::support::Site;

#[test]
fn a_value_of_the_wrong_type_is_named_with_the_type_it_needs() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let archive = site.archive().display().to_string();
    let cases: [(&str, &str, &str); 3] = [
        ("json = true", "audit", "`json`"),
        ("plan = true", "audit", "`plan`"),
        ("duplicates = true", "reindex", "`duplicates`"),
    ];
    for (text, command, key) in cases {
        fs::write(site.path("site.toml"), text).unwrap();
        let said = site.run(&[command, &archive, "--config", "site.toml", "--index", "sqlite:index.db"]).exits(2);
        assert!(said.err.contains(key) && said.err.contains("a text in quotes"), "{text}: {}", said.err);
    }
}

#[test]
fn a_directory_with_two_names_is_refused_by_every_command() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    put(&site, "cd/1.2.4", json!({"SOPInstanceUID": "1.2.4"}));
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let archive = site.archive().display().to_string();
    site.add("1.2.5", json!({"SOPInstanceUID": "1.2.5"}));
    site.run(&["audit", &archive, "--index", &index.url, "--recheck-after", "0s", "--quiet", "--plan", "plan"])
        .exits(1);
    symlink(site.archive(), site.path("link")).unwrap();
    let link = site.path("link").display().to_string();
    let same = format!("{archive}=D:/A");
    let pairs = [
        format!("{archive}=E:/B"),
        format!("{archive}/=D:/B"),
        format!("{link}=E:/B"),
        format!("{archive}/../archive=E:/B"),
    ];
    let before = index.dump();
    for other in &pairs {
        for maps in [[&same, other], [other, &same]] {
            let maps = ["--path-map", maps[0], "--path-map", maps[1], "--index", &index.url];
            let commands: [&[&str]; 4] = [
                &["reindex", &archive, "--min-age", "0s", "--allow-unmapped-paths"],
                &["import", "cd", "--archive", &archive, "--layout", "flat", "--allow-unmapped-paths"],
                &["audit", &archive, "--recheck-after", "0s", "--quiet"],
                &["repair", "plan", "--undo-file", "undo", "--yes"],
            ];
            for command in commands {
                let said = site.run(&[command, &maps].concat()).exits(2);
                assert!(said.err.contains("two names"), "{command:?} {maps:?}: {}", said.err);
                assert_eq!(index.dump(), before, "{command:?}");
            }
        }
    }
    // One name in two spellings.
    let again = format!("{archive}/=d:\\a\\");
    let more = ["--path-map", &same, "--path-map", &again, "--allow-unmapped-paths"];
    site.reindex(&index, &more).exits(0);
}
