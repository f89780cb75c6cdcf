//! False positives: findings although nothing was wrong.

use super::*;

#[test]
fn an_attachment_of_a_note_on_an_image_is_no_finding() {
    let site = Site::new();
    let index = Index::pacsone();
    archive(&site);
    site.reindex(&index, &[]).exits(0);
    index.execute(&format!("INSERT INTO imagenotes (uuid, headline) VALUES ('{UID}.1.1.1', 'x')"));
    index.execute(&format!("INSERT INTO attachment (id, uuid, path) VALUES (1, '{UID}.1.1.1', '/x')"));
    audit(&site, &index, &[]);
    assert_eq!(found(&site), []);
}

#[test]
fn user_data_of_unknown_studies_and_images_is_found() {
    let site = Site::new();
    let index = Index::pacsone();
    archive(&site);
    site.reindex(&index, &[]).exits(0);
    index.execute("INSERT INTO imagenotes (uuid, headline) VALUES ('1.2.1', 'x')");
    index.execute("INSERT INTO studynotes (uuid, headline) VALUES ('1.2.2', 'x')");
    index.execute("INSERT INTO attachment (id, uuid, path) VALUES (1, '1.2.3', '/x')");
    audit(&site, &index, &[]);
    let expected = [
        is("attachment-without-study", "1.2.3"),
        is("notes-without-image", "1.2.1"),
        is("notes-without-study", "1.2.2"),
    ];
    assert_eq!(found(&site), expected);
}

#[test]
fn a_patient_who_has_grown_is_no_finding_of_any_part() {
    on_both_databases(|site, index| {
        growing_patient(site);
        site.reindex(index, &[]).exits(0);
        audit(site, index, &ALL).exits(0);
        let mut all = Vec::new();
        for part in ["1/3", "2/3", "3/3"] {
            audit(site, index, &[&ALL[..], &["--part", part]].concat());
            all.extend(lines(site));
        }
        assert_eq!(all, [] as [Json; 0]);
    });
}

#[test]
fn a_lost_file_is_one_finding_and_not_one_of_its_patient_as_well() {
    let site = Site::new();
    growing_patient(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::remove_file(site.archive().join(format!("2021-11-12-FRI/{UID}.2.1.1"))).unwrap();
    audit(&site, &index, &ALL).exits(1);
    assert_eq!(found(&site), [is("missing-file", format!("{UID}.2.1.1"))]);
}

#[test]
fn a_patient_whom_the_pacs_has_edited_through_one_study_is_no_finding_through_another() {
    let site = Site::new();
    let index = Index::pacsone();
    growing_patient(&site);
    site.reindex(&index, &[]).exits(0);
    index.execute(&format!("UPDATE study SET matched = 1 WHERE uuid = '{UID}.1'; UPDATE patient SET sex = 'F'"));
    audit(&site, &index, &ALL);
    assert_eq!(found(&site), []);
}

#[test]
fn an_old_ultrasound_in_uncompressed_ybr_422_is_not_cut() {
    let site = Site::new();
    // Two samples per pixel (PS3.3 C.7.6.3.1.2).
    let mut bytes = instance_file(json!({
        "SOPInstanceUID": "1.2.77", "Rows": "480", "Columns": "640", "BitsAllocated": "8", "BitsStored": "8",
        "SamplesPerPixel": "3", "PhotometricInterpretation": "YBR_FULL_422",
    }));
    let pixels = 480 * 640 * 2u32;
    bytes.extend([0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0]);
    bytes.extend(pixels.to_le_bytes());
    bytes.resize(bytes.len() + pixels as usize, 0);
    site.write("2021-11-12-FRI/1.2.77", &bytes);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    audit(&site, &index, &["--level", "size"]);
    assert_eq!(found(&site), []);
}

fn tier2(site: &Site, count: usize) {
    archive(site);
    fs::create_dir(site.path("tier2")).unwrap();
    for n in 0..count {
        fs::write(site.path(&format!("tier2/{n}")), instance_file(json!({"SOPInstanceUID": format!("1.2.{n}")})))
            .unwrap();
        let target = format!(r"..\..\tier2\{n}");
        site.write(&format!("a/{n}"), &ShellLink { relative: Some(&target), ..ShellLink::default() }.bytes());
    }
}

#[test]
fn rows_that_name_the_targets_of_pointer_files_are_no_findings() {
    let site = Site::new();
    tier2(&site, 3);
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2"]).exits(0);
    audit(&site, &index, &["--target-root", "tier2", "--fail-on", "info"]);
    assert_eq!(found(&site), []);
}

#[test]
fn many_rows_that_name_the_targets_of_pointer_files_are_no_alarm() {
    let site = Site::new();
    tier2(&site, 30);
    let index = site.sqlite();
    site.reindex(&index, &["--target-root", "tier2"]).exits(0);
    audit(&site, &index, &["--target-root", "tier2", "--fail-on", "info"]);
    assert_eq!(found(&site), []);
}

#[test]
fn rows_that_name_pointer_files_themselves_are_not_cut() {
    let site = Site::new();
    fs::create_dir(site.path("tier2")).unwrap();
    archive(&site);
    let change = json!({"SOPInstanceUID": "1.2.1", "Rows": "512", "Columns": "512", "BitsAllocated": "16", "SamplesPerPixel": "1"});
    let mut bytes = instance_file(change);
    bytes.extend([0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0, 0, 0, 8, 0]);
    bytes.resize(bytes.len() + 524_288, 0);
    fs::write(site.path("tier2/x"), bytes).unwrap();
    site.write("a/1.2.1", &ShellLink { relative: Some(r"..\..\tier2\x"), ..ShellLink::default() }.bytes());
    let index = site.sqlite();
    let settings = ["--target-root", "tier2", "--stub-path", "link"];
    site.reindex(&index, &settings).exits(0);
    audit(&site, &index, &[&settings[..], &["--level", "size", "--fail-on", "info"]].concat());
    assert_eq!(found(&site), []);
}

#[test]
fn rows_that_name_the_targets_of_symbolic_links_are_no_findings() {
    let site = Site::new();
    archive(&site);
    fs::create_dir(site.path("tier2")).unwrap();
    fs::write(site.path("tier2/x"), instance_file(json!({"SOPInstanceUID": "1.2.1"}))).unwrap();
    symlink("../tier2/x", site.archive().join("1.2.1")).unwrap();
    let index = site.sqlite();
    let settings = ["--target-root", "tier2", "--stub-path", "target"];
    site.reindex(&index, &settings).exits(0);
    audit(&site, &index, &[&settings[..], &ALL].concat());
    assert_eq!(found(&site), []);
}

#[test]
fn an_archive_that_is_named_by_a_link_agrees_with_its_index() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    symlink(site.archive(), site.path("mnt")).unwrap();
    site.reindex(&index, &[]).exits(0);
    let said = site.reindex_root(&site.path("mnt"), &index, &[]);
    println!("{}", said.out);
    assert_eq!(said.figure("unchanged"), 24, "reindex takes them for the same");
    Said::of(&mut command(&site, &[&site.path("mnt")], &index, &ALL));
    assert_eq!(found(&site), []);
}

#[test]
fn rows_of_another_store_are_told_as_such_and_hide_no_lost_file() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::create_dir(site.path("second")).unwrap();
    for n in 0..30 {
        fs::write(site.path(&format!("second/{n}")), instance_file(json!({"SOPInstanceUID": format!("1.2.{n}")})))
            .unwrap();
    }
    site.reindex_root(&site.path("second"), &index, &["--allow-unmapped-paths"]).exits(0);
    fs::remove_file(file(&site, "1.1.1")).unwrap();
    audit(&site, &index, &[]);
    let missing: Vec<_> = found(&site).into_iter().filter(|(check, _)| check == "missing-file").collect();
    assert_eq!(missing, [is("missing-file", format!("{UID}.1.1.1"))], "{:?}", found(&site));
}

#[test]
fn rows_without_a_path_are_one_finding_each() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    fs::remove_file(file(&site, "1.1.1")).unwrap();
    fs::remove_file(file(&site, "1.1.2")).unwrap();
    index.execute(&format!("UPDATE image SET path = '' WHERE uuid IN ('{UID}.1.1.1', '{UID}.1.1.2')"));
    audit(&site, &index, &[]);
    assert_eq!(found(&site).len(), 2, "{:?}", found(&site));
}

#[test]
fn a_link_whose_target_comes_meanwhile_is_no_finding() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    // A suspicious value, so that the audit waits before the recheck.
    index.execute("UPDATE study SET reviewed = ''");
    symlink("coming", site.archive().join("link")).unwrap();
    audit_while(
        &site,
        &index,
        &["--recheck-after", "3s", "--check", "dangling-stub", "--check", "reviewed-empty"],
        Duration::from_millis(1500),
        || {
            fs::rename(file(&site, "1.1.1"), site.archive().join("coming")).unwrap();
            index.execute("UPDATE study SET reviewed = NULL");
        },
    );
    assert_eq!(found(&site), []);
}

#[test]
fn two_rows_of_one_path_that_were_mended_meanwhile_are_no_finding() {
    on_both_databases(|site, index| {
        archive(site);
        site.reindex(index, &[]).exits(0);
        let [one, two] = ["1.1.1", "1.1.2"].map(|name| file(site, name).display().to_string());
        index.execute(&format!("UPDATE image SET path = '{one}' WHERE uuid = '{UID}.1.1.2'"));
        audit_while(site, index, &["--recheck-after", "3s"], Duration::from_millis(1500), || {
            index.execute(&format!("UPDATE image SET path = '{two}' WHERE uuid = '{UID}.1.1.2'"));
        });
        assert_eq!(found(site), []);
    });
}

#[test]
fn a_file_that_the_pacs_rewrites_after_its_row_is_no_finding() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    index.execute(&format!("UPDATE image SET instance = 99 WHERE uuid = '{UID}.1.1.1'"));
    audit_while(&site, &index, &["--recheck-after", "3s", "--level", "header"], Duration::from_millis(1500), || {
        let change = json!({"PatientID": "T1", "SOPInstanceUID": format!("{UID}.1.1.1"), "InstanceNumber": "99"});
        fs::write(file(&site, "1.1.1"), instance_file(change)).unwrap();
    });
    assert_eq!(found(&site), []);
}

#[test]
fn a_pacs_that_receives_much_during_the_walk_gives_no_alarm() {
    let site = Site::new();
    archive(&site);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let more = ["--max-rate", "10", "--io-threads", "1", "--recheck-after", "1s"];
    let said = audit_while(&site, &index, &more, Duration::from_millis(1000), || {
        // Files in a directory that was already listed.
        site.add_series("2021-11-12-FRI", 1, 1, 40);
        let mut sql = index.connect();
        for n in 4..=40 {
            let path = file(&site, &format!("1.1.{n}")).display().to_string();
            sql.execute(&format!(
                "INSERT INTO image (uuid, seriesuid, path) VALUES ('{UID}.1.1.{n}', '{UID}.1.1', '{path}')"
            ));
        }
        sql.execute(&format!("UPDATE series SET instances = 40 WHERE uuid = '{UID}.1.1'"));
        sql.close();
    });
    assert_eq!(found(&site), [], "{}{}", said.out, said.err);
}

#[test]
fn a_pacs_that_purges_during_the_walk_lets_the_audit_finish() {
    let site = Site::new();
    archive(&site);
    site.add_series("2020-01-01-WED", 5, 1, 3);
    let index = site.sqlite();
    site.reindex(&index, &[]).exits(0);
    let more = ["--max-rate", "10", "--io-threads", "1"];
    let said = audit_while(&site, &index, &more, Duration::from_millis(1000), || {
        for sql in ["DELETE FROM image WHERE seriesuid", "DELETE FROM series WHERE uuid"] {
            index.execute(&format!("{sql} = '{UID}.5.1'"));
        }
        index.execute(&format!("DELETE FROM study WHERE uuid = '{UID}.5'"));
        index.execute("DELETE FROM patient WHERE origid = 'T5'");
        fs::remove_dir_all(site.archive().join("2020-01-01-WED")).unwrap();
    });
    assert_eq!(said.exit, 0, "{}{}", said.out, said.err);
}
