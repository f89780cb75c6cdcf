//! The findings of an audit: each kind of damage is found once, and nothing is found where nothing
//! is wrong.

mod attacked;
mod many;
mod outputs;
mod report_files;
mod scope;
mod unreadable;

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value as Json, json};

use crate::support::{Index, Said, Site, on_both_databases};

/// Four studies, each with two series of three images.
fn archive(site: &Site) {
    for study in 1..=4 {
        for series in 1..=2 {
            site.add_series("2021-11-12-FRI", study, series, 3);
        }
    }
}

const UID: &str = crate::support::ROOT_UID;

fn audit(site: &Site, index: &Index, more: &[&str]) -> Said {
    let _ = fs::remove_file(site.path("findings.jsonl"));
    let archive = site.archive().display().to_string();
    let mut command = site.program(&["audit", &archive, "--index", &index.url]);
    if !more.contains(&"--recheck-after") {
        command.args(["--recheck-after", "0s"]);
    }
    command.args(["--json", "findings.jsonl"]).args(more).env("PACS_INDEX_PASSWORD", crate::support::PASSWORD);
    Said::of(&mut command)
}

/// Returns the check, and the UID or the name of the file, of each finding.
fn found(site: &Site) -> Vec<(String, String)> {
    let text = fs::read_to_string(site.path("findings.jsonl")).unwrap_or_default();
    // The first line is the scope of the audit.
    let lines = text.lines().skip(1).map(|line| serde_json::from_str::<Json>(line).unwrap());
    let mut found: Vec<_> = lines
        .map(|line| {
            let text = |key: &str| line[key].as_str().map(str::to_owned);
            let name = || text("path").map(|path| path.rsplit('/').next().unwrap().to_owned());
            (text("check").unwrap(), text("uid").or_else(name).unwrap_or_default())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn an_archive_and_its_index_agree() {
    on_both_databases(|site, index| {
        archive(site);
        site.reindex(index, &[]).exits(0);
        let said = audit(site, index, &["--level", "size", "--fail-on", "info"]).exits(0);
        assert!(said.out.contains("24 files and 24 rows") && said.out.contains("nothing found"), "{}", said.out);
        assert_eq!(found(site), []);
    });
}

#[test]
fn one_of_every_damage_is_found_once() {
    on_both_databases(|site, index| {
        archive(site);
        let large = json!({
            "SOPInstanceUID": "1.2.77", "Rows": "512", "Columns": "512", "BitsAllocated": "16", "SamplesPerPixel": "1",
            "StudyInstanceUID": format!("{UID}.4"), "SeriesInstanceUID": format!("{UID}.4.2"), "PatientID": "T4",
        });
        site.add("2021-11-12-FRI/1.2.77", large);
        site.reindex(index, &[]).exits(0);
        let file = |name: &str| site.archive().join("2021-11-12-FRI").join(format!("{UID}.{name}"));
        let mut expected: Vec<(&str, String)> = Vec::new();
        let mut damage = |check, what: String| expected.push((check, what));
        damage("cut-file", "1.2.77".into());
        fs::remove_file(file("1.1.1")).unwrap();
        damage("missing-file", format!("{UID}.1.1.1"));
        fs::write(file("1.1.2"), b"").unwrap();
        damage("empty-file", format!("{UID}.1.1.2"));
        fs::create_dir(site.archive().join("elsewhere")).unwrap();
        fs::rename(file("1.1.3"), site.archive().join("elsewhere/moved")).unwrap();
        damage("moved-file", format!("{UID}.1.1.3"));
        fs::copy(file("1.2.1"), site.archive().join("copy")).unwrap();
        damage("two-files-identical", format!("{UID}.1.2.1"));
        site.add("other", json!({"SOPInstanceUID": format!("{UID}.1.2.2"), "PatientName": "OTHER"}));
        damage("two-files-different", format!("{UID}.1.2.2"));
        site.add("2021-11-12-FRI/1.2.88", json!({"SOPInstanceUID": "1.2.88"}));
        damage("unindexed-file", "1.2.88".into());
        let whole = fs::read(file("2.1.1")).unwrap();
        site.write("cut", &whole[..200]);
        damage("unreadable-file", "cut".into());
        symlink("nowhere", site.archive().join("link")).unwrap();
        damage("dangling-stub", "link".into());
        let mut sql = index.connect();
        let mut run = |statement: String| sql.execute(&statement);
        let path = file("2.1.1").display().to_string();
        run(format!("UPDATE image SET path = '{path}' WHERE uuid = '{UID}.2.1.2'"));
        damage("two-rows-one-path", format!("{UID}.2.1.1"));
        damage("two-rows-one-path", format!("{UID}.2.1.2"));
        // The row's own file is also found, as a file that the row does not name.
        damage("two-files-different", format!("{UID}.2.1.2"));
        run(format!("UPDATE image SET path = '/elsewhere/x' WHERE uuid = '{UID}.2.1.3'"));
        damage("outside-roots", format!("{UID}.2.1.3"));
        damage("two-files-not-compared", format!("{UID}.2.1.3"));
        run(format!("UPDATE image SET seriesuid = '1.2.0' WHERE uuid = '{UID}.2.2.1'"));
        damage("image-without-series", format!("{UID}.2.2.1"));
        damage("instances-differ", format!("{UID}.2.2"));
        run(format!("UPDATE series SET studyuid = '1.2.0' WHERE uuid = '{UID}.3.1'"));
        damage("series-without-study", format!("{UID}.3.1"));
        run("DELETE FROM patient WHERE origid = 'T3'".into());
        damage("study-without-patient", format!("{UID}.3"));
        run(format!("INSERT INTO series (uuid, studyuid, modality) VALUES ('{UID}.4.9', '{UID}.4', 'CT')"));
        damage("empty-series", format!("{UID}.4.9"));
        run(format!(
            "INSERT INTO study (uuid, patientid, private, received) VALUES ('{UID}.9', 'T4', 0, '2021-11-12 00:00:00')"
        ));
        damage("empty-study", format!("{UID}.9"));
        run("INSERT INTO patient (origid, lastname, firstname, private) VALUES ('T9', 'Nine', 'X', 0)".into());
        damage("empty-patient", String::new());
        run(format!("UPDATE study SET reviewed = '' WHERE uuid = '{UID}.1'"));
        damage("reviewed-empty", format!("{UID}.1"));
        run(format!("UPDATE study SET received = NULL WHERE uuid = '{UID}.2'"));
        damage("received-null", format!("{UID}.2"));
        run(format!("UPDATE series SET modality = NULL WHERE uuid = '{UID}.4.1'"));
        damage("no-modality", format!("{UID}.4.1"));
        run(format!("UPDATE study SET modalities = NULL WHERE uuid = '{UID}.4'"));
        damage("modalities-null", format!("{UID}.4"));
        let said = audit(site, index, &["--level", "size"]).exits(1);
        println!("{}", said.out);
        let mut expected: Vec<_> = expected.into_iter().map(|(check, what)| (check.to_owned(), what)).collect();
        expected.sort();
        assert_eq!(found(site), expected);
        assert!(!said.out.contains("Nine") && !said.out.contains("T9"), "a patient's data: {}", said.out);
    });
}

#[test]
fn a_root_that_is_not_mounted_is_one_alarm() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::rename(site.archive(), site.path("elsewhere")).unwrap();
    fs::create_dir(site.archive()).unwrap();
    let said = audit(&site, &index, &[]).exits(2);
    assert!(said.err.contains("Is it mounted?"), "{}", said.err);
    // Only a part of the archive is mounted.
    site.add("one", json!({"SOPInstanceUID": "1.2.3"}));
    let said = audit(&site, &index, &[]).exits(1);
    assert!(said.out.contains("ALARM") && said.out.contains("of 24 rows have no file"), "{}", said.out);
    let alarms: Vec<_> = found(&site).into_iter().filter(|(check, _)| check != "unindexed-file").collect();
    assert_eq!(alarms, [("archive-gone".to_owned(), String::new())]);
}

#[test]
fn stubs_are_neither_missing_nor_read() {
    use crate::support::virtual_archive::{Behaviour, Options, VirtualArchive};
    let site = Site::new();
    let offline = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut options = Options::new(200);
    options.ttl = std::time::Duration::ZERO;
    let is_offline = offline.clone();
    options.behaviour = std::sync::Arc::new(move |_| match is_offline.load(std::sync::atomic::Ordering::Relaxed) {
        true => Behaviour::Offline(std::time::Duration::ZERO),
        false => Behaviour::Ordinary,
    });
    let Ok(archive) = VirtualArchive::mount(&site.archive(), options) else {
        println!("*** No virtual archive can be mounted here: the test of stubs DID NOT RUN ***");
        return;
    };
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    offline.store(true, std::sync::atomic::Ordering::Relaxed);
    let said = audit(&site, &index, &["--level", "size", "--fail-on", "info"]).exits(0);
    assert!(said.out.contains("200 stubs"), "{}", said.out);
    assert_eq!(archive.counts().recall.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn only_the_checks_that_are_named_are_made() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    index.connect().execute("UPDATE study SET reviewed = ''");
    fs::write(site.archive().join("2021-11-12-FRI").join(format!("{UID}.1.1.1")), b"").unwrap();
    audit(&site, &index, &["--check", "reviewed-empty"]).exits(1);
    assert_eq!(found(&site).len(), 4);
    let said = audit(&site, &index, &["--check", "reviewed"]).exits(2);
    assert!(said.err.contains("There are: missing-file"), "{}", said.err);
    let said = audit(&site, &site.sqlite(), &["--index", "sqlite:nowhere.db"]);
    assert_ne!(said.exit, 0);
    assert!(!site.path("nowhere.db").exists());
}

#[test]
fn a_row_that_says_something_else_than_its_file_is_found_by_its_columns() {
    on_both_databases(|site, index| {
        archive(site);
        site.reindex(index, &[]).exits(0);
        audit(site, index, &["--level", "header", "--fail-on", "info"]).exits(0);
        let mut sql = index.connect();
        let mut run = |statement: String| sql.execute(&statement);
        run(format!("UPDATE image SET instance = 99 WHERE uuid = '{UID}.1.1.1'"));
        run(format!("UPDATE series SET seriesnumber = 9, modality = 'US' WHERE uuid = '{UID}.1.2'"));
        run(format!("UPDATE study SET description = 'other', reviewed = 'somebody' WHERE uuid = '{UID}.2'"));
        run("UPDATE patient SET sex = 'O', comments = 'x' WHERE origid = 'T3'".into());
        // Edits by the PACS are not findings.
        run("UPDATE patient SET lastname = 'Edited' WHERE origid = 'T4'".into());
        run(format!("UPDATE study SET patientid = 'T4[1]', studydate = '1999-01-01' WHERE uuid = '{UID}.4'"));
        run("INSERT INTO patient (origid, lastname, firstname, private) VALUES ('T4[1]', 'Doe', 'Jane', 0)".into());
        let said = audit(site, index, &["--level", "header", "--check", "header-differs", "--fail-on", "warning"]);
        let said = said.exits(1);
        let text = fs::read_to_string(site.path("findings.jsonl")).unwrap();
        let mut told: Vec<String> = text
            .lines()
            .skip(1)
            .map(|line| {
                let line: Json = serde_json::from_str(line).unwrap();
                format!("{} {}", line["uid"].as_str().unwrap_or("-"), line["detail"].as_str().unwrap())
            })
            .collect();
        told.sort();
        let expected = [
            format!("- patient: sex (of study {UID}.3)"),
            format!("{UID}.1.1.1 image: instance"),
            format!("{UID}.1.2 series: modality, seriesnumber"),
        ];
        assert_eq!(told, expected);
        assert!(!said.out.contains("Edited") && !said.out.contains("somebody"), "{}", said.out);
    });
}

#[test]
fn a_pacs_that_receives_meanwhile_gives_no_finding() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    on_both_databases(|site, index| {
        archive(site);
        site.reindex(index, &[]).exits(0);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // As a PACS does: first the file, and a moment later its row.
            scope.spawn(|| {
                let mut sql = index.connect();
                for n in 0.. {
                    if stop.load(Relaxed) {
                        return;
                    }
                    let uid = format!("{UID}.1.1.{}", 1000 + n);
                    let path = format!("2021-11-12-FRI/{uid}");
                    site.add(
                        &path,
                        json!({"SOPInstanceUID": uid, "StudyInstanceUID": format!("{UID}.1"),
                        "SeriesInstanceUID": format!("{UID}.1.1"), "PatientID": "T1"}),
                    );
                    std::thread::sleep(std::time::Duration::from_millis(3));
                    let path = site.archive().join(path).display().to_string();
                    sql.execute(&format!(
                        "INSERT INTO image (uuid, seriesuid, path) VALUES ('{uid}', '{UID}.1.1', '{path}')"
                    ));
                }
            });
            for _ in 0..if std::env::var_os("PACS_INDEX_TEST_LONG").is_some() { 20 } else { 5 } {
                let said = audit(site, index, &["--recheck-after", "300ms", "--level", "size"]);
                assert_eq!(said.exit, 0, "{}{}", said.out, said.err);
            }
            stop.store(true, Relaxed);
        });
    });
}

#[test]
fn parts_together_find_what_one_audit_finds() {
    let site = Site::new();
    for day in 1..=9 {
        site.add_series(&format!("2021-11-0{day}-MON"), day, 1, 4);
    }
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    for day in 1..=9 {
        let directory = site.archive().join(format!("2021-11-0{day}-MON"));
        fs::remove_file(directory.join(format!("{UID}.{day}.1.1"))).unwrap();
        site.add(&format!("2021-11-0{day}-MON/x"), json!({"SOPInstanceUID": format!("1.2.{day}")}));
    }
    index.connect().execute("UPDATE study SET reviewed = ''");
    audit(&site, &index, &[]).exits(1);
    let whole = found(&site);
    assert_eq!(whole.len(), 27);
    let mut parts = Vec::new();
    for part in ["1/3", "2/3", "3/3"] {
        audit(&site, &index, &["--part", part]);
        parts.extend(found(&site));
    }
    parts.sort();
    assert_eq!(parts, whole);
    audit(&site, &index, &["--part", "weekday"]);
    let said = audit(&site, &index, &["--part", "4/3"]).exits(2);
    assert!(said.err.contains("--part 4/3"), "{}", said.err);
}

#[test]
fn an_audit_tells_what_is_new_since_the_one_before() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let file = |name: &str| site.archive().join("2021-11-12-FRI").join(format!("{UID}.{name}"));
    let bytes = fs::read(file("1.1.1")).unwrap();
    fs::write(file("1.1.1"), b"").unwrap();
    fs::write(file("1.1.2"), b"").unwrap();
    let said = audit(&site, &index, &[]).exits(1);
    assert!(!said.out.contains("since the audit of"), "{}", said.out);
    fs::write(file("1.1.1"), bytes).unwrap();
    fs::write(file("1.1.3"), b"").unwrap();
    let said = audit(&site, &index, &[]).exits(1);
    assert!(said.out.contains("1 new, 1 still there, 1 gone"), "{}", said.out);
    let text = fs::read_to_string(site.path("findings.jsonl")).unwrap();
    let new: Vec<Json> =
        text.lines().skip(1).map(|line| serde_json::from_str::<Json>(line).unwrap()["new"].clone()).collect();
    assert_eq!(new, [json!(false), json!(true)]);
}

#[test]
fn an_audit_keeps_to_its_rate() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 60);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let begun = std::time::Instant::now();
    audit(&site, &index, &["--max-rate", "60"]).exits(0);
    assert!(begun.elapsed() >= std::time::Duration::from_millis(800));
}

#[test]
fn studies_that_have_lost_images_are_told_in_a_table_and_all_on_a_page() {
    on_both_databases(|site, index| {
        archive(site);
        site.reindex(index, &[]).exits(0);
        let file = |name: &str| site.archive().join("2021-11-12-FRI").join(format!("{UID}.{name}"));
        fs::remove_file(file("1.1.1")).unwrap();
        fs::write(file("1.2.2"), b"").unwrap();
        fs::write(file("3.1.1"), b"").unwrap();
        site.add("<b>&x", json!({"SOPInstanceUID": "1.2.3"}));
        let _ = (fs::remove_file(site.path("studies.csv")), fs::remove_file(site.path("page.html")));
        audit(site, index, &["--csv", "studies.csv", "--html", "page.html"]).exits(1);
        let csv = fs::read_to_string(site.path("studies.csv")).unwrap();
        assert_eq!(csv, format!("study,expected,lost,unreadable\r\n{UID}.1,6,1,1\r\n{UID}.3,6,0,1\r\n"));
        let page = fs::read_to_string(site.path("page.html")).unwrap();
        for told in ["missing-file", "2021-11-12", "Images by modality", "&lt;b&gt;&amp;x", &format!("{UID}.1.1.1")] {
            assert!(page.contains(told), "{told}");
        }
        assert!(!page.contains("<b>") && !page.contains("http:") && !page.contains("https:") && !page.contains("src="));
        if let Some(keep) = std::env::var_os("PACS_INDEX_TEST_KEEP") {
            fs::copy(site.path("page.html"), keep).unwrap();
        }
    });
}

#[test]
fn a_file_that_is_damaged_behind_its_header_is_found_when_it_is_read_to_its_end() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 5);
    let pixels = json!({"SOPInstanceUID": "1.2.1", "PixelData": {"hex": "00".repeat(20_000)}});
    site.add("2021-11-12-FRI/whole", pixels.clone());
    let bytes = crate::support::instance_file(pixels);
    let uid = |n: &str| {
        let mut bytes = bytes.clone();
        // An instance with the same UID would be another finding.
        while let Some(at) = bytes.windows(5).position(|window| window == b"1.2.1") {
            bytes[at + 4] = n.as_bytes()[0];
        }
        bytes
    };
    site.write("2021-11-12-FRI/cut", &uid("2")[..bytes.len() - 1000]);
    site.write("2021-11-12-FRI/longer", &[uid("3"), b"garbage".repeat(100)].concat());
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    audit(&site, &index, &["--level", "header"]).exits(0);
    let said = audit(&site, &index, &["--level", "full"]).exits(1);
    println!("{}", said.out);
    let damaged = |uid: &str| ("damaged-file".to_owned(), uid.to_owned());
    assert_eq!(found(&site), [damaged("1.2.2"), damaged("1.2.3")]);
}

#[test]
fn what_pydicom_ships_can_be_read_to_its_end_or_is_known_not_to() {
    let Some(files) = crate::support::pydicom::directory() else { return };
    let site = Site::new();
    let index = site.sqlite();
    site.reindex_root(&files, &index, &[]);
    let mut command = site.program(&["audit", files.to_str().unwrap(), "--index", &index.url, "--recheck-after", "0s"]);
    let said = Said::of(command.args(["--level", "full", "--check", "damaged-file", "--json", "findings.jsonl"]));
    println!("{}", said.out);
    let text = fs::read_to_string(site.path("findings.jsonl")).unwrap_or_default();
    let lines = text.lines().skip(1).map(|line| serde_json::from_str::<Json>(line).unwrap());
    let mut names: Vec<String> =
        lines.map(|line| line["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names, DAMAGED, "{}", said.out);
}

/// Files that were damaged on purpose, as their names show.
const DAMAGED: [&str; 2] = ["MR_truncated.dcm", "rtplan_truncated.dcm"];
