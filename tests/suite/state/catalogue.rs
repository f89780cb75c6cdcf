//! One catalogue for each database, whatever the roots and however the URL of the database is
//! written.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::*;
use crate::support::{ROOT_UID, walk};

/// Two roots with ten instances each.
fn two_roots(site: &Site) {
    for (root, study) in [("a", 1), ("b", 2)] {
        site.add_series(root, study, 1, 10);
    }
}

fn run(site: &Site, url: &str, roots: &[&str]) -> Said {
    let mut command = site.program(&["reindex"]);
    command.args(roots).args([
        "--index",
        url,
        "--quiet",
        "--min-age",
        "0s",
        "--state",
        "kept",
        "--allow-unmapped-paths",
    ]);
    said(command.env("PACS_INDEX_PASSWORD", crate::support::PASSWORD))
}

/// Overwrites all files without changing their size or mtime, so that a run that reads one rejects
/// it.
fn spoil(site: &Site) {
    for file in walk(&site.archive()) {
        let metadata = fs::metadata(&file).unwrap();
        fs::write(&file, vec![b'x'; metadata.len() as usize]).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(metadata.modified().unwrap()).unwrap();
    }
}

/// Returns the names of the state directories.
fn directories(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.path("kept")).unwrap().map(|entry| entry.unwrap());
    let entries = entries.filter(|entry| entry.path().is_dir());
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Asserts that a run reads no file and inserts no row.
#[track_caller]
fn assert_knows_all(said: Said, files: u64) {
    let said = said.exits(0);
    let figures = (said.figure("unchanged"), said.figure("inserted"), said.figure("rejected"));
    assert_eq!(figures, (files, 0, 0), "{}{}", said.out, said.err);
    assert!(!said.out.contains("resumes an interrupted run"), "{}", said.out);
}

/// Removes the end mark of the last run, as if the run had been killed just before.
fn kill_last(log: &Path) {
    let mut bytes = fs::read(log).unwrap();
    let frame = bytes.len() - 9;
    assert_eq!(bytes[frame], 5, "the last frame is no end of a run");
    bytes.truncate(frame);
    fs::write(log, bytes).unwrap();
}

#[test]
fn a_server_has_one_catalogue_however_its_url_is_written() {
    let site = Site::new();
    two_roots(&site);
    let index = Index::mariadb(&site);
    run(&site, &index.url, &["archive"]).exits(0);
    spoil(&site);
    let socket = index.rows("SELECT @@socket").remove(0);
    let (server, name) = (index.url.replace("127.0.0.1", "localhost"), index.name().to_owned());
    for url in [server, format!("mysql://pacs@localhost/{name}?socket={socket}"), index.url.replace("pacs@", "PACS@")] {
        let url = url.replace("PACS@", "pacs@");
        assert_knows_all(run(&site, &url, &["archive"]), 20);
        assert_eq!(directories(&site).len(), 1, "{url}: {:?}", directories(&site));
    }
    assert!(directories(&site)[0].starts_with("catalogue-"), "{:?}", directories(&site));
}

#[test]
fn a_file_has_one_catalogue_however_its_path_is_written() {
    let site = Site::new();
    two_roots(&site);
    let index = site.sqlite();
    run(&site, &index.url, &["archive"]).exits(0);
    spoil(&site);
    std::os::unix::fs::symlink(site.path("index.db"), site.path("link.db")).unwrap();
    for url in ["sqlite:index.db", "sqlite:./archive/../index.db", "sqlite:link.db"] {
        assert_knows_all(run(&site, url, &["archive"]), 20);
        assert_eq!(directories(&site).len(), 1, "{url}: {:?}", directories(&site));
    }
}

#[test]
fn other_databases_have_catalogues_of_their_own() {
    let site = Site::new();
    two_roots(&site);
    let (first, second) = (Index::mariadb(&site), Index::mariadb(&site));
    for index in [&first, &second, &site.sqlite()] {
        assert_eq!(run(&site, &index.url, &["archive"]).exits(0).figure("inserted"), 20);
    }
    assert_eq!(directories(&site).len(), 3);
}

#[test]
fn runs_over_other_roots_share_what_is_known() {
    crate::support::on_both_databases(|site, index| {
        two_roots(site);
        run(site, &index.url, &["archive/a"]).exits(0);
        run(site, &index.url, &["archive/b"]).exits(0);
        spoil(site);
        assert_knows_all(run(site, &index.url, &["archive"]), 20);
        assert_knows_all(run(site, &index.url, &["archive/b"]), 10);
        assert_knows_all(run(site, &index.url, &["archive/a", "archive/b"]), 20);
        assert_eq!(directories(site).len(), 1);
    });
}

#[test]
fn a_killed_run_is_continued_after_a_run_over_other_roots() {
    crate::support::on_both_databases(|site, index| {
        two_roots(site);
        run(site, &index.url, &["archive/a"]).exits(0);
        kill_last(&site.kept("kept", "catalogue").join("log"));
        // Rows of a run that was killed are unfinished.
        index.execute("UPDATE series SET instances = NULL");
        index.execute("UPDATE study SET modalities = NULL");
        let other = run(site, &index.url, &["archive/b"]).exits(0);
        assert!(
            !other.out.contains("resumes an interrupted run") && other.figure("files found") == 10,
            "{}",
            other.out
        );
        spoil(site);
        let continued = run(site, &index.url, &["archive/a"]).exits(0);
        assert!(continued.out.contains("resumes an interrupted run"), "{}", continued.out);
        assert_eq!((continued.figure("files found"), continued.figure("inserted")), (10, 10), "{}", continued.out);
        assert_eq!(index.rows("SELECT DISTINCT instances FROM series"), ["10"]);
        // In one more run, all files are unchanged and all rows are final.
        assert_knows_all(run(site, &index.url, &["archive"]), 20);
    });
}

#[test]
fn a_run_over_more_roots_finishes_the_rows_of_a_killed_one() {
    crate::support::on_both_databases(|site, index| {
        two_roots(site);
        run(site, &index.url, &["archive/a"]).exits(0);
        kill_last(&site.kept("kept", "catalogue").join("log"));
        index.execute("UPDATE series SET instances = NULL");
        index.execute("UPDATE study SET modalities = NULL");
        let said = run(site, &index.url, &["archive"]).exits(0);
        assert!(!said.out.contains("resumes an interrupted run"), "{}", said.out);
        assert_eq!((said.figure("unchanged"), said.figure("inserted")), (10, 10), "{}", said.out);
        assert_eq!(index.rows("SELECT DISTINCT instances FROM series"), ["10"], "{}", said.out);
        assert_eq!(index.rows("SELECT COUNT(*) FROM study WHERE modalities IS NULL"), ["0"], "{}", said.out);
    });
}

/// Returns the directory and the note that version 0.1.0 kept for a database and its roots.
fn former_journal(site: &Site, name: &str, roots: &[PathBuf]) -> (PathBuf, String) {
    let roots: String = roots.iter().map(|root| format!("root {}\n", root.display())).collect();
    let key = format!("index {name}\n{roots}");
    let digits: String = Sha256::digest(&key).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    (site.path("kept").join(format!("journal-{digits}")), key)
}

#[test]
fn the_journal_of_an_earlier_version_becomes_the_catalogue() {
    let site = Site::new();
    two_roots(&site);
    let index = site.sqlite();
    run(&site, &index.url, &["archive"]).exits(0);
    let name = format!("sqlite:{}", fs::canonicalize(site.path("index.db")).unwrap().display());
    let (journal, key) = former_journal(&site, &name, &[fs::canonicalize(site.archive()).unwrap()]);
    fs::rename(site.kept("kept", "catalogue"), &journal).unwrap();
    fs::write(journal.join("about"), key).unwrap();
    spoil(&site);
    assert_knows_all(run(&site, &index.url, &["archive"]), 20);
    assert_eq!(directories(&site).len(), 1);
    assert!(directories(&site)[0].starts_with("catalogue-"), "{:?}", directories(&site));
    assert_knows_all(run(&site, "sqlite:./index.db", &["archive/a"]), 10);
}

#[test]
fn of_two_catalogues_of_one_database_the_newer_is_used_and_reported() {
    let site = Site::new();
    two_roots(&site);
    let index = site.sqlite();
    run(&site, &index.url, &["archive"]).exits(0);
    let catalogue = site.kept("kept", "catalogue");
    let other = catalogue.with_file_name("catalogue-0000000000000000");
    fs::create_dir(&other).unwrap();
    for name in ["about", "log"] {
        fs::copy(catalogue.join(name), other.join(name)).unwrap();
    }
    // The log of the other directory is older and has no records.
    let log = fs::File::options().write(true).open(other.join("log")).unwrap();
    log.set_len(32).unwrap();
    log.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600)).unwrap();
    spoil(&site);
    let done = run(&site, &index.url, &["archive"]);
    assert!(done.err.contains("catalogue-0000000000000000") && done.err.lines().count() == 1, "{}", done.err);
    assert_knows_all(done, 20);
    assert_eq!(fs::metadata(other.join("log")).unwrap().len(), 32, "the other directory was changed");
    assert!(index.rows("SELECT uuid FROM image")[0].starts_with(ROOT_UID));
}

#[test]
fn what_import_lists_of_files_and_repair_have_read_is_known_to_the_next_reindex() {
    crate::support::on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 4);
        let root = site.archive().display().to_string();
        let run = |arguments: &[&str]| {
            let mut command = site.program(arguments);
            command
                .args(["--index", &index.url, "--state", "kept"])
                .env("PACS_INDEX_PASSWORD", crate::support::PASSWORD);
            said(&mut command)
        };
        let reindex = ["reindex", "archive", "--quiet", "--min-age", "0s", "--allow-unmapped-paths"];
        run(&reindex).exits(0);
        // More files of the same study by each of the other commands.
        let of_study = |n: u32| {
            let [study, series] = ["", ".1"].map(|end| format!("{ROOT_UID}.1{end}"));
            json!({"PatientID": "T1", "StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": format!("{ROOT_UID}.1.1.{n}")})
        };
        crate::import::put(site, "cd/1", of_study(11));
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        fs::File::options().write(true).open(site.path("cd/1")).unwrap().set_modified(then).unwrap();
        run(&[
            "import",
            "cd",
            "--archive",
            "archive",
            "--quiet",
            "--layout",
            "flat",
            "--allow-unmapped-paths",
            "--yes",
        ])
        .exits(0);
        site.add("2021-11-12-FRI/named", of_study(12));
        fs::write(site.path("list"), format!("{root}/2021-11-12-FRI/named\n")).unwrap();
        run(&[&reindex[..], &["--files", "list"]].concat()).exits(0);
        site.add("2021-11-12-FRI/planned", of_study(13));
        run(&["audit", &root, "--recheck-after", "0s", "--quiet", "--plan", "plan"]).exits(1);
        run(&["repair", "plan", "--undo-file", "undo", "--root", &root, "--yes", "--allow-unmapped-paths"]).exits(0);
        assert_eq!(index.rows("SELECT instances FROM series"), ["7"]);
        assert_eq!(directories(site).iter().filter(|name| name.starts_with("catalogue-")).count(), 1);
        spoil(site);
        assert_knows_all(run(&reindex), 7);
    });
}

#[test]
fn a_killed_run_over_a_list_is_finished_by_the_next_reindex() {
    crate::support::on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 4);
        site.run(&["init", "--index", &index.url]);
        let files: Vec<String> = walk(&site.archive()).iter().map(|file| file.display().to_string()).collect();
        fs::write(site.path("list"), files.join("\n")).unwrap();
        let run = |more: &[&str]| {
            let mut command =
                site.program(&["reindex", "archive", "--index", &index.url, "--quiet", "--min-age", "0s"]);
            command.args(["--state", "kept", "--allow-unmapped-paths"]).args(more);
            said(command.env("PACS_INDEX_PASSWORD", crate::support::PASSWORD))
        };
        run(&["--files", "list"]).exits(0);
        kill_last(&site.kept("kept", "catalogue").join("log"));
        index.execute("UPDATE series SET instances = NULL");
        index.execute("UPDATE study SET modalities = NULL");
        spoil(site);
        run(&[]).exits(0);
        assert_eq!(index.rows("SELECT instances FROM series"), ["4"]);
        assert_eq!(index.rows("SELECT modalities FROM study"), ["CT"]);
        assert_knows_all(run(&[]), 4);
    });
}
