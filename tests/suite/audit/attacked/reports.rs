//! Reports, and large indexes.

use super::*;

#[test]
fn a_report_that_cannot_be_written_is_told_before_the_work() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::remove_file(file(&site, "1.1.1")).unwrap();
    fs::write(site.path("old.jsonl"), b"no report").unwrap();
    let begun = Instant::now();
    let said = audit(&site, &index, &["--recheck-after", "4s", "--json", "old.jsonl"]).exits(2);
    assert!(
        begun.elapsed() < Duration::from_secs(3) || said.out.contains("missing-file"),
        "{:?}: {}{}",
        begun.elapsed(),
        said.out,
        said.err
    );
}

#[test]
fn a_patient_who_differs_for_the_first_time_is_new() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    index.execute("UPDATE patient SET sex = 'O' WHERE origid = 'T1'");
    audit(&site, &index, &ALL).exits(1);
    index.execute("UPDATE patient SET sex = 'M' WHERE origid = 'T1'");
    index.execute("UPDATE patient SET sex = 'O' WHERE origid = 'T2'");
    let said = audit(&site, &index, &ALL).exits(1);
    assert!(said.out.contains("1 new, 0 still there, 1 gone"), "{}", said.out);
}

#[test]
fn an_audit_of_one_check_does_not_make_all_others_new() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::remove_file(file(&site, "1.1.1")).unwrap();
    audit(&site, &index, &[]).exits(1);
    audit(&site, &index, &["--check", "reviewed-empty"]).exits(0);
    let said = audit(&site, &index, &[]).exits(1);
    assert!(said.out.contains("0 new, 1 still there"), "{}", said.out);
}

#[test]
fn what_stands_in_the_index_cannot_steer_the_terminal() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::rename(file(&site, "1.1.1"), site.archive().join("\u{1b}[2J moved")).unwrap();
    let said = audit(&site, &index, &[]).exits(1);
    assert!(!said.out.contains('\u{1b}'), "{:?}", said.out);
}

#[test]
fn an_index_that_is_lost_ends_the_audit_at_once() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 300);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    // Listing 300 files takes three seconds, and reading them three more.
    let begun = Instant::now();
    let said = audit_while(
        &site,
        &index,
        &["--level", "header", "--max-rate", "100", "--io-threads", "1"],
        Duration::from_millis(4000),
        || {
            index.execute("DROP TABLE series");
        },
    );
    println!("{:?} {} {}", begun.elapsed(), said.exit, said.err);
    assert_eq!(said.exit, 3);
    assert!(begun.elapsed() < Duration::from_millis(5500), "{:?}", begun.elapsed());
}

#[test]
fn tables_of_different_character_sets_are_compared_by_their_keys() {
    let site = Site::new();
    let index = Index::pacsone();
    archive(&site);
    index.execute("ALTER TABLE image ENGINE=MyISAM, CONVERT TO CHARACTER SET latin1; ALTER TABLE series CONVERT TO CHARACTER SET utf8mb4");
    site.reindex(&index, &[]).exits(0);
    index.execute(&format!("INSERT INTO series (uuid, studyuid, modality, instances) SELECT CONCAT('{UID}.4.9.', seq), '{UID}.4', 'CT', 20 FROM seq_1_to_2000"));
    index.execute(&format!("INSERT INTO image (uuid, seriesuid, path) SELECT CONCAT('{UID}.4.9.', 1 + seq % 2000, '.', seq), CONCAT('{UID}.4.9.', 1 + seq % 2000), CONCAT('/x/', seq) FROM seq_1_to_40000"));
    let begun = Instant::now();
    let said = audit(&site, &index, &["--check", "instances-differ", "--check", "empty-series"]);
    println!("{:?} {}", begun.elapsed(), said.out);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn an_audit_that_is_interrupted_while_it_settles_ends_at_once() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::remove_file(file(&site, "1.1.1")).unwrap();
    let child = command(&site, &[&site.archive()], &index, &["--recheck-after", "1000000h"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    sleep(Duration::from_millis(1500));
    // SAFETY: kill has no memory effects; the child is not reaped yet.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let said = Said::new(child.wait_with_output().unwrap());
    assert_eq!(said.exit, 130, "{}{}", said.out, said.err);
}
