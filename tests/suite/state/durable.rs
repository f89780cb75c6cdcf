//! The order in which a run writes to disk and commits, by its system calls.

use std::path::Path;

use super::*;
use crate::support::PASSWORD;

/// A system call on a file or a directory of the run.
#[derive(Debug, PartialEq)]
enum Call {
    /// A batch is appended to the log.
    Batch,
    SyncLog,
    SyncDirectory,
    /// A file of the journal is replaced.
    Rename,
    /// The database writes to its own log.
    Database,
}

/// Runs a command below strace. Returns its calls in their order, or prints why the test does not
/// run.
fn calls(site: &Site, arguments: &[&str]) -> Option<Vec<Call>> {
    let program = site.program(arguments);
    let trace = site.path("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "1", "-e", "trace=pwrite64,fdatasync,fsync,rename,renameat,renameat2", "-o"]);
    strace.arg(&trace).arg(program.get_program()).args(program.get_args()).current_dir(site.path("."));
    strace.env("PACS_INDEX_PASSWORD", PASSWORD).env("TZ", "UTC").env("XDG_STATE_HOME", site.path("state"));
    match strace.output() {
        Ok(done) if trace.exists() => assert_eq!(done.status.code(), Some(0), "{done:?}"),
        failed => {
            println!("*** strace is missing or may not trace here ({failed:?}): this test DID NOT RUN ***");
            return None;
        }
    }
    Some(fs::read_to_string(trace).unwrap().lines().filter_map(call).collect())
}

fn call(line: &str) -> Option<Call> {
    let (_, call) = line.split_once(' ')?;
    let (name, rest) = call.trim_start().split_once('(')?;
    let file = rest.split_once('<').and_then(|(_, file)| file.split_once('>')).map_or("", |(file, _)| file);
    let is_in_catalogue = file.contains("/catalogue-");
    match name {
        "pwrite64" if is_in_catalogue && file.ends_with("/log") && rest.contains("\"\\2\"") => Some(Call::Batch),
        "pwrite64" if file.ends_with(".db-wal") => Some(Call::Database),
        "fdatasync" | "fsync" if is_in_catalogue && file.ends_with("/log") => Some(Call::SyncLog),
        "fdatasync" | "fsync" if is_in_catalogue && Path::new(file).is_dir() => Some(Call::SyncDirectory),
        "rename" | "renameat" | "renameat2" if rest.contains("/catalogue-") => Some(Call::Rename),
        _ => None,
    }
}

#[test]
fn each_batch_is_synced_before_the_database_commits_it() {
    let site = Site::new();
    for study in 1..=4 {
        site.add_series("2021-11-12-FRI", study, 1, 300);
    }
    let index = site.sqlite();
    site.run(&["init", "--index", &index.url]).exits(0);
    let arguments = ["reindex", "archive", "--index", &index.url, "--quiet", "--min-age", "0s", "--state", "kept"];
    for round in ["new", "known"] {
        let Some(calls) = calls(&site, &arguments) else { return };
        let batches = calls.iter().filter(|call| **call == Call::Batch).count();
        assert!(round == "known" || batches >= 2, "{batches} batches");
        let mut unsynced = false;
        for (n, call) in calls.iter().enumerate() {
            match call {
                Call::Batch => unsynced = true,
                Call::SyncLog => unsynced = false,
                Call::Database => assert!(!unsynced, "{round}: call {n}: the database is ahead of the log"),
                Call::Rename | Call::SyncDirectory => {}
            }
        }
        let renamed = calls.iter().rposition(|call| *call == Call::Rename).expect("the note or the table is renamed");
        let synced = calls.iter().rposition(|call| *call == Call::SyncDirectory);
        assert!(synced > Some(renamed), "{round}: a renamed file may be lost: {calls:?}");
    }
}
