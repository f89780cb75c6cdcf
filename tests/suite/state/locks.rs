//! A lock file that is something other than a file: the run continues, and nothing blocks.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;

/// The longest time that a run with ten files may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a command, and fails if it blocks.
fn within_limit(command: &mut Command) -> Said {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("the run blocks: {:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Said::new(child.wait_with_output().unwrap())
}

/// A name, and a function that creates something at a path.
type Other = (&'static str, fn(&Path));

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_lock_that_is_a_fifo_or_a_link_ends_no_run() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    let reindex = || within_limit(&mut reindexing(&site, &index, &["--state", "kept"]));
    reindex().exits(0);
    fs::write(site.path("mine"), b"mine").unwrap();
    let others: [Other; 5] = [
        ("a FIFO", fifo),
        ("a link to itself", |lock| symlink(lock, lock).unwrap()),
        ("a dangling link", |lock| symlink("nowhere/at/all", lock).unwrap()),
        ("a link to a file", |lock| symlink("../../mine", lock).unwrap()),
        ("a link to a device", |lock| symlink("/dev/null", lock).unwrap()),
    ];
    for (what, make) in others {
        let lock = site.kept("kept", "journal").join("lock");
        fs::remove_file(&lock).unwrap();
        make(&lock);
        let done = reindex();
        assert_eq!((done.exit, done.figure("unchanged")), (0, 10), "{what}: {}{}", done.out, done.err);
        assert!(done.err.contains("damaged"), "{what}: {}", done.err);
        let again = reindex().exits(0);
        assert_eq!(again.err, "", "{what}");
    }
    assert_eq!(fs::read(site.path("mine")).unwrap(), b"mine");
}
