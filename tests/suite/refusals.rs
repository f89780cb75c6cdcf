//! Rows that a database rejects: they are found and reported, and the others are written.

use serde_json::json;

use crate::support::{Index, ROOT_UID, Site, TABLES, on_both_databases};

#[test]
fn one_bad_row_is_found_and_the_others_are_written() {
    on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 300);
        refuse(site, index, "image", "instance = 77");
        let said = site.reindex(index, &[]).exits(1);
        assert_eq!((said.figure("inserted"), said.figure("refused-by-index")), (299, 1));
        assert_eq!(site.listed(".1.1.77"), [("rejected".into(), "refused-by-index".into())]);
        assert_eq!(index.count("image"), 299);
    });
}

#[test]
fn instances_whose_parent_is_refused_are_rejected_with_it() {
    on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 5);
        site.add_series("2021-11-12-FRI", 2, 1, 5);
        refuse(site, index, "study", "patientid = 'T2'");
        let said = site.reindex(index, &[]).exits(1);
        assert_eq!((said.figure("inserted"), said.figure("refused-by-index")), (5, 5));
        assert_eq!((index.count("study"), index.count("series"), index.count("image")), (1, 1, 5));
    });
}

#[test]
fn a_series_that_one_instance_spoils_is_indexed_as_the_others_tell() {
    on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 7);
        let spoilt = json!({"SOPInstanceUID": format!("{ROOT_UID}.1.1.0"), "SeriesDescription": "spoilt"});
        site.add("2021-11-12-FRI/0", spoilt);
        refuse(site, index, "series", "description = 'spoilt'");
        let said = site.reindex(index, &["--io-threads", "1"]).exits(1);
        assert_eq!(said.figure("inserted"), 8);
        assert_eq!(site.findings("conflict"), [format!("refused-by-index {ROOT_UID}.1.1")]);
    });
}

#[test]
fn a_message_of_the_server_gives_no_patient_away() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 2);
    site.add_series("2021-11-12-FRI", 2, 1, 2);
    let index = Index::mariadb(&site);
    index.execute(
        "CREATE TRIGGER tell BEFORE INSERT ON patient FOR EACH ROW \
         IF NEW.origid = 'T2' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = NEW.lastname; END IF",
    );
    let said = site.reindex(&index, &[]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("refused-by-index")), (2, 2));
    let list = std::fs::read_to_string(site.path("rejected.jsonl")).unwrap();
    assert!(!list.contains("Testmann") && !said.err.contains("Testmann"), "{list}{}", said.err);
}

#[test]
fn tables_that_know_no_transactions_are_counted_right() {
    let site = Site::new();
    site.add_series("2021-11-12-FRI", 1, 1, 200);
    let index = Index::mariadb(&site);
    for (table, _) in TABLES {
        index.execute(&format!("ALTER TABLE {table} ENGINE=MyISAM"));
    }
    refuse(&site, &index, "image", "instance = 77");
    let said = site.reindex(&index, &[]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("unchanged"), said.figure("refused-by-index")), (199, 0, 1));
    assert_eq!(index.rows("SELECT instances FROM series"), ["199"]);
}

/// `tests/run` starts its server with a small maximum packet size, like that of old servers.
#[test]
fn rows_that_are_large_together_are_sent_in_parts() {
    let site = Site::new();
    let index = Index::mariadb(&site);
    assert_eq!(index.rows("SELECT @@max_allowed_packet"), ["1048576"]);
    let history = "長".repeat(10_240);
    for n in 0..60 {
        let uid = format!("{ROOT_UID}.{n}");
        let change = json!({
            "PatientID": format!("L{n}"), "StudyInstanceUID": uid, "SeriesInstanceUID": format!("{uid}.1"),
            "SOPInstanceUID": format!("{uid}.1.1"), "SpecificCharacterSet": "ISO_IR 192",
            "AdditionalPatientHistory": history, "PatientComments": history,
        });
        site.add(&uid, change);
    }
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(said.figure("inserted"), 60);
    assert_eq!(index.rows("SELECT DISTINCT CHAR_LENGTH(history) FROM patient"), ["10240"]);
}

/// Makes the database reject rows, as a constraint of a site would.
fn refuse(site: &Site, index: &crate::support::Index, table: &str, condition: &str) {
    if index.url.starts_with("sqlite:") {
        site.run(&["init", "--index", &index.url]).exits(0);
        let condition = format!("NEW.{condition}");
        for event in ["INSERT", "UPDATE"] {
            index.execute(&format!(
                "CREATE TRIGGER no_{event} BEFORE {event} ON {table} WHEN {condition} BEGIN SELECT RAISE(ABORT, 'no'); END"
            ));
        }
    } else {
        index.execute(&format!("ALTER TABLE {table} ADD CONSTRAINT no CHECK (NOT ({condition}))"));
    }
}
