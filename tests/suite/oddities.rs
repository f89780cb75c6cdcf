//! Unusual databases and rows. An unusual row fails alone and affects no other.

use serde_json::json;

use crate::support::{Index, ROOT_UID, Site, on_both_databases};

/// Returns the attributes of a separate study, by number.
fn study(n: u32, change: serde_json::Value) -> serde_json::Value {
    let mut all = json!({
        "StudyInstanceUID": format!("1.2.{n}"), "SeriesInstanceUID": format!("1.2.{n}.1"),
        "SOPInstanceUID": format!("1.2.{n}.1.1"),
    });
    all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    all
}

#[test]
fn an_edited_patient_is_left_however_its_studies_spell_the_id() {
    let site = Site::new();
    site.add("a", json!({}));
    let index = Index::pacsone();
    site.reindex(&index, &[]).exits(0);
    index.execute(&format!(
        "UPDATE study SET patientid = 't1'; UPDATE patient SET lastname = 'Edited'; \
         INSERT INTO dbjob (type, class, uuid, status) VALUES ('resolve', 'study', '{ROOT_UID}.1', 'failed')"
    ));
    site.reindex(&index, &["--existing", "refresh"]);
    assert_eq!(index.rows("SELECT lastname FROM patient"), ["Edited"]);
}

#[test]
fn a_unique_key_of_the_site_s_own_costs_the_row_that_breaks_it() {
    let site = Site::new();
    site.add("a", study(1, json!({"AccessionNumber": "A1"})));
    site.add("b", study(2, json!({"AccessionNumber": "A1"})));
    let index = Index::mariadb(&site);
    index.execute("ALTER TABLE study ADD UNIQUE (accessionnum), ADD site INT NULL");
    let said = site.reindex(&index, &["--io-threads", "1"]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("refused-by-index")), (1, 1));
    assert_eq!((index.count("study"), index.count("series"), index.count("image")), (1, 1, 1));
    index.execute("UPDATE study SET accessionnum = NULL; INSERT INTO study (uuid, patientid, accessionnum) VALUES ('9', 'X', 'A1')");
    let said = site.reindex(&index, &[]).exits(1);
    assert!(said.out.contains("complete, with findings"), "{}", said.out);
}

#[test]
fn a_patient_that_is_kept_apart_and_has_a_value_that_is_refused_still_has_a_row() {
    let site = Site::new();
    site.add("a", study(1, json!({"PatientName": "Doe^Jane"})));
    site.add("b", study(2, json!({"PatientName": "Doe^John", "PatientSex": "X"})));
    let index = Index::mariadb(&site);
    index.execute("ALTER TABLE patient ADD CONSTRAINT sexes CHECK (sex IN ('M', 'F', 'O'))");
    site.reindex(&index, &[]).exits(1);
    let shown = "SELECT study.uuid, patient.firstname, patient.sex FROM study INNER JOIN patient ON origid = patientid ORDER BY 1";
    assert_eq!(index.rows(shown), ["1.2.1|Jane|M", "1.2.2|John|-"]);
}

#[test]
fn tables_of_different_collations_are_one_index() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 3);
    let index = Index::pacsone();
    index.execute(
        "ALTER TABLE image CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci; \
         ALTER TABLE dbjob CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    );
    site.reindex(&index, &[]).exits(0);
    assert_eq!(index.rows("SELECT modalities, (SELECT instances FROM series) FROM study"), ["CT|3"]);
    site.reindex(&index, &["--existing", "refresh"]).exits(0);
}

#[test]
fn columns_that_the_server_computes_are_left_to_it() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 2);
    let index = Index::mariadb(&site);
    index.execute(
        "ALTER TABLE series DROP instances, ADD instances INT AS (7) VIRTUAL; \
         ALTER TABLE patient DROP middlename, ADD middlename VARCHAR(9) AS ('x') STORED",
    );
    site.reindex(&index, &[]).exits(0);
    assert_eq!(index.rows("SELECT instances FROM series"), ["7"]);
    assert_eq!(index.rows("SELECT modalities FROM study"), ["CT"]);
}

#[test]
fn ids_are_one_where_the_collation_says_so_and_keep_apart_where_bytes_count() {
    for (kind, patients) in [
        ("VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", 1),
        ("VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", 2),
        ("VARBINARY(64)", 2),
    ] {
        let site = Site::new();
        site.add("a", study(1, json!({"PatientID": "Pe1"})));
        site.add("b", study(2, json!({"PatientID": "Pé1", "SpecificCharacterSet": "ISO_IR 192"})));
        let index = Index::mariadb(&site);
        index.execute(&format!(
            "ALTER TABLE patient MODIFY origid {kind} NOT NULL; ALTER TABLE study MODIFY patientid {kind} NOT NULL"
        ));
        site.reindex(&index, &[]);
        assert_eq!(index.count("patient"), patients, "{kind}");
        let before = index.dump();
        let said = site.reindex(&index, &[]);
        assert_eq!((index.dump(), said.figure("unchanged")), (before, 2), "{kind}");
        assert!(!site.findings("conflict").iter().any(|finding| finding.contains("link-differs")), "{kind}");
    }
}

#[test]
fn a_patient_s_row_without_a_name_is_not_another_patient() {
    let site = Site::new();
    site.add("a", study(1, json!({})));
    let index = Index::mariadb(&site);
    index.execute("ALTER TABLE patient MODIFY lastname VARCHAR(64) NULL, MODIFY firstname VARCHAR(64) NULL");
    index.execute("INSERT INTO patient (origid, lastname, firstname) VALUES ('T1', NULL, NULL)");
    site.reindex(&index, &[]).exits(0);
    assert_eq!(index.rows("SELECT origid, lastname, firstname FROM patient"), ["T1|Testmann|Theo"]);
}

#[test]
fn a_path_that_is_spelled_otherwise_or_missing_is_no_duplicate() {
    let site = Site::new();
    site.add("2021-11-12-FRI/1.2.3", json!({}));
    let index = Index::mariadb(&site);
    let map = format!("{}=D:/DICOM", site.archive().display());
    site.reindex(&index, &["--path-map", &map]).exits(0);
    index.execute("UPDATE image SET path = 'd:\\\\dicom\\\\2021-11-12-FRI\\\\1.2.3'");
    let said = site.reindex(&index, &["--path-map", &map]).exits(0);
    assert_eq!(said.figure("unchanged"), 1);
    index.execute("ALTER TABLE image MODIFY path VARCHAR(512) NULL");
    index.execute("UPDATE image SET path = NULL");
    let said = site.reindex(&index, &["--path-map", &map]).exits(0);
    assert_eq!(said.figure("updated"), 1);
    assert_eq!(index.rows("SELECT path FROM image"), ["D:/DICOM/2021-11-12-FRI/1.2.3"]);
}

#[test]
fn a_damaged_file_keeps_its_row_s_path() {
    on_both_databases(|site, index| {
        site.add("old/1.2.3", json!({}));
        site.reindex(index, &[]).exits(0);
        site.write("old/1.2.3", &[0; 4096]);
        site.add("new/1.2.3", json!({}));
        let said = site.reindex(index, &[]).exits(1);
        assert_eq!((said.figure("updated"), said.figure("duplicates"), said.figure("zeroed")), (0, 1, 1));
    });
}

#[test]
fn a_user_who_may_not_change_rows_is_refused_before_one_is_written() {
    let site = Site::new();
    site.add("a", json!({}));
    let index = Index::mariadb(&site);
    let name = index.url.rsplit('/').next().unwrap().to_owned();
    index.execute(&format!(
        "CREATE OR REPLACE USER 'only_insert'@'%' IDENTIFIED BY 'pacs-test'; GRANT SELECT, INSERT ON {name}.* TO 'only_insert'@'%'"
    ));
    let url = index.url.replace("pacs@", "only_insert@");
    let arguments = ["reindex", "archive", "--quiet", "--index", &url];
    let said = crate::support::Said::of(site.program(&arguments).env("PACS_INDEX_PASSWORD", "pacs-test")).exits(2);
    assert!(said.err.contains("GRANT UPDATE ON"), "{}", said.err);
    assert_eq!(index.count("patient"), 0);
}
