//! A disk that is full before all files are copied.

use std::process::Command;

use super::{contents, import, put, site_and_index, uid};
use crate::support::{Small, walk};

#[test]
fn a_disk_that_is_full_at_half_is_named_and_the_next_import_completes() {
    let (site, index) = site_and_index();
    // More files than the queue holds: the remaining ones are counted, too.
    for n in 0..60 {
        let change = serde_json::json!({"SOPInstanceUID": uid(n), "ImageComments": "x".repeat(64_000)});
        put(&site, &format!("cd/{n}"), change);
    }
    let Some(small) = Small::mount(site.path("small")) else {
        println!("*** No file system can be mounted here: the test of a full disk DID NOT RUN ***");
        return;
    };
    let to = ["--archive", "small", "--move", "--copies-at-a-time", "2"];
    let none = import(&site, "cd", &index, &to).exits(2);
    println!("without --yes: exit {}\n{}", none.exit, none.err);
    assert!(none.err.contains("the sources hold 3.9 MB, and on the disk of"), "{}", none.err);
    assert!(!site.path("index.db").exists() && walk(&site.path("small")).is_empty());
    let said = import(&site, "cd", &index, &[&to[..], &["--yes"]].concat()).exits(3);
    println!("with --yes: exit {}\n{}\n{}", said.exit, said.err, said.out);
    assert!(said.err.contains("the disk of the archive") && said.err.contains("is full"), "{}", said.err);
    let copied = said.figure("inserted");
    assert!(copied > 20 && copied < 40 && said.figure("not reached") == 60 - copied, "{}", said.out);
    assert_eq!(walk(&site.path("cd")).len(), 60, "no source is removed");
    assert_eq!(contents(&site.path("small")).len() as u64, copied, "and nothing unfinished is left");
    let more = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&small.0).status().unwrap();
    assert!(more.success());
    let again = import(&site, "cd", &index, &to).exits(0);
    println!("again: exit {}\n{}", again.exit, again.out);
    assert_eq!((again.figure("inserted"), again.figure("unchanged")), (60 - copied, copied));
    assert!(walk(&site.path("cd")).is_empty());
    let archive = site.path("small").display().to_string();
    let mut audit = site.program(&["audit", &archive, "--index", &index.url, "--quiet", "--recheck-after", "0s"]);
    crate::support::Said::of(audit.args(["--level", "full", "--fail-on", "info"])).exits(0);
}
