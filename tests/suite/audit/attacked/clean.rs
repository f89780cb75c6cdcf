//! Any archive agrees with the index that was built from it.

use super::*;

/// Returns the findings of an audit at header level after a run, except for files that the run has
/// listed.
fn beyond_the_list(site: &Site, roots: &[&Path], index: &Index, more: &[&str]) -> Vec<Json> {
    let said = Said::of(&mut command(site, roots, index, &[&ALL[..], more].concat()));
    println!("{}{}", said.out, said.err);
    assert!(said.exit < 2, "{}{}", said.out, said.err);
    let listed: Vec<String> =
        site.listing().iter().filter_map(|line| line["path"].as_str().map(str::to_owned)).collect();
    let told = lines(site).into_iter();
    told.filter(|line| !line["path"].as_str().is_some_and(|path| listed.iter().any(|listed| listed == path))).collect()
}

#[test]
fn the_fixtures_agree_with_their_index() {
    on_both_databases(|site, index| {
        let root = fixture_archive(site);
        site.reindex(index, &[]).exits(1);
        assert_eq!(beyond_the_list(site, &[&root], index, &[]), [] as [Json; 0]);
    });
}

#[test]
fn the_fixtures_agree_with_a_database_of_before_6_2_1() {
    let site = Site::new();
    let index = Index::pacsone();
    index.execute(
        "ALTER TABLE study CHANGE uuid uid VARCHAR(64) NOT NULL, CHANGE studydate date DATE NULL, CHANGE studytime time TIME NULL; \
         ALTER TABLE series CHANGE uuid uid VARCHAR(64) NOT NULL, CHANGE seriesnumber number INT NULL, CHANGE seriesdate date DATE NULL, \
         CHANGE seriestime time TIME NULL, DROP protocolname, DROP institution, DROP stationname, DROP department; \
         ALTER TABLE image CHANGE uuid uid VARCHAR(64) NOT NULL, CHANGE instancedate date DATE NULL, CHANGE instancetime time TIME NULL; \
         ALTER TABLE dbjob CHANGE uuid uid VARCHAR(128) NULL; DROP TABLE conceptname",
    );
    let root = fixture_archive(&site);
    site.reindex(&index, &[]).exits(1);
    assert_eq!(beyond_the_list(&site, &[&root], &index, &["--html", "page.html", "--csv", "x.csv"]), [] as [Json; 0]);
}

#[test]
fn the_fixtures_agree_with_a_myisam_database_in_latin1() {
    let site = Site::new();
    let index = Index::pacsone();
    for table in ["patient", "study", "series", "image", "conceptname"] {
        index.execute(&format!("ALTER TABLE {table} ENGINE=MyISAM, CONVERT TO CHARACTER SET latin1"));
    }
    let root = fixture_archive(&site);
    site.reindex(&index, &[]).exits(1);
    assert_eq!(beyond_the_list(&site, &[&root], &index, &["--html", "page.html", "--csv", "x.csv"]), [] as [Json; 0]);
}

#[test]
fn a_server_with_other_modes_is_audited_as_any() {
    let site = Site::new();
    let index = Index::pacsone();
    let root = fixture_archive(&site);
    site.reindex(&index, &[]).exits(1);
    index.execute("ALTER TABLE series MODIFY modality CHAR(16) NULL, MODIFY uuid CHAR(64) NOT NULL");
    index.execute("SET GLOBAL sql_mode = 'ANSI,ONLY_FULL_GROUP_BY,PAD_CHAR_TO_FULL_LENGTH'");
    let beyond = beyond_the_list(&site, &[&root], &index, &["--html", "page.html", "--csv", "x.csv"]);
    index.execute("SET GLOBAL sql_mode = DEFAULT");
    assert_eq!(beyond, [] as [Json; 0]);
}

#[test]
fn files_that_disagree_agree_with_their_index() {
    for seed in [11, 12, 13] {
        on_both_databases(|site, index| {
            crate::conflicts::put_conflicts(site, seed);
            let roots = ["a", "b", "c"].map(|root| site.path(root));
            let mut command = site.reindexing(&roots[0], index, &[]);
            Said::of(command.args(&roots[1..])).exits(1);
            let roots: Vec<&Path> = roots.iter().map(|root| root.as_path()).collect();
            let beyond = beyond_the_list(site, &roots, index, &[]);
            let listed: Vec<String> =
                site.listing().iter().filter_map(|line| line["uid"].as_str().map(str::to_owned)).collect();
            let beyond: Vec<Json> = beyond
                .into_iter()
                .filter(|line| !line["uid"].as_str().is_some_and(|uid| listed.iter().any(|listed| listed == uid)))
                .collect();
            assert_eq!(beyond, [] as [Json; 0]);
        });
    }
}

#[test]
fn the_files_of_pydicom_agree_with_their_index() {
    let Some(files) = pydicom::directory() else { return };
    on_both_databases(|site, index| {
        site.reindex_root(&files, index, &[]).exits(1);
        // Two files really are truncated, and some series have no modality.
        let known = ["chrKoreanMulti.dcm", "chrJapMultiExplicitIR6.dcm"];
        let beyond = beyond_the_list(site, &[&files], index, &[]).into_iter().filter(|line| {
            line["check"] != "no-modality"
                && !known.iter().any(|name| line["path"].as_str().is_some_and(|path| path.ends_with(name)))
        });
        assert_eq!(beyond.collect::<Vec<_>>(), [] as [Json; 0]);
    });
}

#[test]
fn a_windows_pacs_agrees_with_its_archive() {
    on_both_databases(|site, index| {
        let root = fixture_archive(site);
        let map = format!("{}=D:/DICOM", root.display());
        site.reindex(index, &["--path-map", &map]).exits(1);
        index.execute(r"UPDATE image SET path = REPLACE(REPLACE(path, '/', CHAR(92)), 'D:', 'd:')");
        println!("{:?}", index.rows("SELECT path FROM image LIMIT 1"));
        assert_eq!(beyond_the_list(site, &[&root], index, &["--path-map", &map]), [] as [Json; 0]);
    });
}

#[test]
fn values_that_columns_cannot_hold_are_no_findings() {
    let site = Site::new();
    site.add("a", json!({"InstanceNumber": "70000", "SeriesNumber": "-5", "Rows": "500", "StudyID": "text",
        "SeriesDescription": "a very long description that is cut", "PatientWeight": "71.123456789", "StudyDate": "20211301"}));
    let index = Index::mariadb(&site);
    index.execute(
        "ALTER TABLE image MODIFY instance SMALLINT NULL, MODIFY numrows TINYINT UNSIGNED NULL; \
         ALTER TABLE series MODIFY seriesnumber INT UNSIGNED NULL, MODIFY description VARCHAR(10); ALTER TABLE study MODIFY id INT NULL; \
         ALTER TABLE patient MODIFY sex CHAR(8) NULL",
    );
    site.reindex(&index, &[]).exits(0);
    assert_eq!(beyond_the_list(&site, &[&site.archive()], &index, &[]), [] as [Json; 0]);
}

#[test]
fn spellings_of_one_patient_id_are_no_findings() {
    on_both_databases(|site, index| {
        for (n, id) in ["P1", "p1", "P1 ", " P1", "Ü1", "ü1", "X[1]", "straße", "STRASSE"].iter().enumerate() {
            site.add(&format!("a/{n}"), json!({"SpecificCharacterSet": "ISO_IR 192", "PatientID": id,
                "StudyInstanceUID": format!("1.2.{n}"), "SeriesInstanceUID": format!("1.2.{n}.1"), "SOPInstanceUID": format!("1.2.{n}.1.1")}));
        }
        site.reindex(index, &[]);
        assert_eq!(beyond_the_list(site, &[&site.archive()], index, &[]), [] as [Json; 0]);
    });
}

#[test]
fn a_pointer_with_a_windows_target_is_no_finding() {
    let site = Site::new();
    archive(&site);
    fs::create_dir(site.path("tier2")).unwrap();
    fs::write(site.path("tier2/x"), instance_file(json!({"SOPInstanceUID": "1.2.1"}))).unwrap();
    let info = LinkInfo { local: Some(r"Z:\ARCHIVE"), suffix: "x", ..LinkInfo::default() };
    site.write("a/1.2.1", &ShellLink { info: Some(info), ..ShellLink::default() }.bytes());
    let index = site.sqlite();
    let map = format!("{}=Z:/ARCHIVE", site.path("tier2").display());
    let settings = ["--target-root", "tier2", "--path-map", &map];
    site.reindex(&index, &settings).exits(0);
    assert_eq!(beyond_the_list(&site, &[&site.archive()], &index, &settings), [] as [Json; 0]);
}

#[test]
fn a_patient_whose_last_study_has_no_middle_name_is_no_finding() {
    on_both_databases(|site, index| {
        for (study, day, name) in [(1, "2021-11-11-THU", "Doe^Jane^Mary"), (2, "2021-11-12-FRI", "Doe^Jane")] {
            site.add(
                &format!("{day}/{UID}.{study}.1.1"),
                json!({
                    "PatientName": name, "StudyInstanceUID": format!("{UID}.{study}"),
                    "SeriesInstanceUID": format!("{UID}.{study}.1"), "SOPInstanceUID": format!("{UID}.{study}.1.1"),
                }),
            );
        }
        site.reindex(index, &[]).exits(0);
        println!("{:?}", index.rows("SELECT origid, lastname, firstname, middlename FROM patient"));
        assert_eq!(beyond_the_list(site, &[&site.archive()], index, &[]), [] as [Json; 0]);
    });
}

#[test]
fn a_study_whose_series_have_no_modality_is_one_finding() {
    let site = Site::new();
    site.add("a", json!({"Modality": null}));
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    audit(&site, &index, &[]);
    assert_eq!(found(&site), [is("no-modality", format!("{UID}.1.1"))]);
}

#[test]
fn a_patient_flag_that_hides_all_of_the_patient_s_studies_is_found() {
    let site = Site::new();
    let index = Index::pacsone();
    archive(&site);
    site.reindex(&index, &[]).exits(0);
    index.execute(
        "ALTER TABLE patient MODIFY private TINYINT NULL; UPDATE patient SET private = NULL WHERE origid = 'T1'",
    );
    audit(&site, &index, &[]);
    assert!(!found(&site).is_empty(), "nothing is told");
}

#[test]
fn a_day_that_was_moved_to_another_disk_behind_a_link_is_no_alarm() {
    let site = Site::new();
    archive(&site);
    site.add_series("2021-11-13-SAT", 5, 1, 3);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::create_dir(site.path("disk2")).unwrap();
    fs::rename(site.archive().join("2021-11-12-FRI"), site.path("disk2/2021-11-12-FRI")).unwrap();
    symlink(site.path("disk2/2021-11-12-FRI"), site.archive().join("2021-11-12-FRI")).unwrap();
    audit(&site, &index, &[]);
    assert_eq!(found(&site), []);
}

#[test]
fn a_copy_of_an_image_that_is_offline_is_not_said_to_differ() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::copy(file(&site, "1.1.1"), site.archive().join("copy")).unwrap();
    let offline = fs::File::create(file(&site, "1.1.1")).unwrap();
    offline.set_len(1_000_000).unwrap();
    let said = audit(&site, &index, &[]);
    assert!(said.out.contains("1 stubs"), "{}", said.out);
    assert!(found(&site).iter().all(|(check, _)| check != "two-files-different"), "{:?}", found(&site));
}

#[test]
fn a_study_of_two_days_is_no_finding_of_any_part() {
    let site = Site::new();
    for (n, day, description) in [(1, "2021-11-11-THU", "one"), (2, "2021-11-12-FRI", "two")] {
        for study in 1..=6 {
            site.add(
                &format!("{day}/{UID}.{study}.{n}.1"),
                json!({
                    "PatientID": format!("T{study}"), "StudyDescription": description, "StudyInstanceUID": format!("{UID}.{study}"),
                    "SeriesInstanceUID": format!("{UID}.{study}.{n}"), "SOPInstanceUID": format!("{UID}.{study}.{n}.1"),
                }),
            );
        }
    }
    let index = site.sqlite();
    site.reindex(&index, &[]);
    audit(&site, &index, &ALL).exits(0);
    let mut all = Vec::new();
    for part in ["1/3", "2/3", "3/3"] {
        audit(&site, &index, &[&ALL[..], &["--part", part]].concat());
        all.extend(lines(&site));
    }
    assert_eq!(all, [] as [Json; 0]);
}

#[test]
fn a_study_of_which_an_image_bears_another_name_is_no_finding() {
    on_both_databases(|site, index| {
        for (n, name) in [(1, "Miller^Jorg^Peter"), (2, "Doe^John")] {
            site.add(
                &format!("2021-11-12-FRI/{UID}.1.1.{n}"),
                json!({"PatientName": name, "SOPInstanceUID": format!("{UID}.1.1.{n}")}),
            );
        }
        site.reindex(index, &[]);
        println!(
            "{:?} {:?}",
            index.rows("SELECT origid, lastname, firstname, middlename FROM patient"),
            site.listing()
        );
        assert_eq!(beyond_the_list(site, &[&site.archive()], index, &[]), [] as [Json; 0]);
    });
}

#[test]
fn an_audit_that_is_interrupted_while_it_lists_says_nothing_of_an_alarm() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 100);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let more = ["--max-rate", "10", "--io-threads", "1"];
    let child = command(&site, &[&site.archive()], &index, &more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    sleep(Duration::from_millis(1500));
    // SAFETY: kill has no memory effects; the child is not reaped yet.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let begun = Instant::now();
    let said = Said::new(child.wait_with_output().unwrap());
    assert_eq!((said.exit, found(&site)), (130, vec![]), "{}{}", said.out, said.err);
    assert!(begun.elapsed() < Duration::from_secs(3) && !said.out.contains("ALARM"), "{}", said.out);
}

#[test]
fn a_patient_whose_latest_images_are_offline_is_no_finding() {
    let site = Site::new();
    growing_patient(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let offline = fs::File::create(site.archive().join(format!("2021-11-12-FRI/{UID}.2.1.1"))).unwrap();
    offline.set_len(1_000_000).unwrap();
    let said = audit(&site, &index, &ALL);
    assert!(said.out.contains("1 stubs"), "{}", said.out);
    assert_eq!(found(&site), []);
}

#[test]
fn rows_that_name_symbolic_links_are_no_findings() {
    let site = Site::new();
    archive(&site);
    fs::create_dir(site.path("tier2")).unwrap();
    fs::write(site.path("tier2/x"), instance_file(json!({"SOPInstanceUID": "1.2.1"}))).unwrap();
    symlink("../tier2/x", site.archive().join("1.2.1")).unwrap();
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2"]).exits(0);
    assert_eq!(beyond_the_list(&site, &[&site.archive()], &index, &["--target-root", "tier2"]), [] as [Json; 0]);
}

#[test]
fn two_rows_whose_paths_were_exchanged_are_found_when_headers_are_read() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    for (uid, path) in [("1.1.1", "1.1.2"), ("1.1.2", "1.1.1")] {
        index.execute(&format!("UPDATE image SET path = '{}' WHERE uuid = '{UID}.{uid}'", file(&site, path).display()));
    }
    audit(&site, &index, &ALL);
    assert!(!found(&site).is_empty(), "nothing is told");
}
