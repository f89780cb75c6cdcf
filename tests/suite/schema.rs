//! Databases as found in hospitals: old names, old engines, old character sets, additional columns.

use serde_json::json;

use crate::support::{Index, PASSWORD, Said, Site, fixture_archive};

/// Returns the number of studies on a page of the front end, which joins the four tables and shows
/// studies that any user may see.
fn listed(index: &Index, key: &str) -> u64 {
    let join = format!(
        "SELECT COUNT(DISTINCT study.{key}) FROM study INNER JOIN patient ON patient.origid = study.patientid \
         INNER JOIN series ON series.studyuid = study.{key} INNER JOIN image ON image.seriesuid = series.{key} \
         WHERE study.private = 0 AND patient.private = 0 AND study.reviewed IS NULL AND study.received IS NOT NULL"
    );
    index.rows(&join)[0].parse().unwrap()
}

fn assert_everything_is_listed(site: &Site, index: &Index, key: &str) -> Said {
    let said = site.reindex_root(&fixture_archive(site), index, &[]).exits(1);
    println!("{}", said.out);
    assert_eq!(said.figure("inserted"), 36);
    assert_eq!(listed(index, key), 8);
    let again = site.reindex(index, &[]).exits(1);
    assert_eq!((again.figure("updated"), again.figure("unchanged")), (0, 36));
    said
}

#[test]
fn a_database_of_before_6_2_1_is_written_by_its_own_names() {
    let site = Site::new();
    let index = Index::pacsone();
    index.execute(
        "ALTER TABLE study CHANGE uuid uid VARCHAR(64) NOT NULL, CHANGE studydate date DATE NULL, CHANGE studytime time TIME NULL; \
         ALTER TABLE series CHANGE uuid uid VARCHAR(64) NOT NULL, CHANGE seriesnumber number INT NULL, CHANGE seriesdate date DATE NULL, \
         CHANGE seriestime time TIME NULL, DROP protocolname, DROP institution, DROP stationname, DROP department; \
         ALTER TABLE image CHANGE uuid uid VARCHAR(64) NOT NULL, CHANGE instancedate date DATE NULL, CHANGE instancetime time TIME NULL; \
         ALTER TABLE dbjob CHANGE uuid uid VARCHAR(128) NULL; DROP TABLE conceptname",
    );
    assert_everything_is_listed(&site, &index, "uid");
    assert_eq!(index.rows("SELECT date, time FROM study WHERE uid LIKE '%.1.1'"), ["2021-11-12|10:15:30"]);
    assert_eq!(index.rows("SELECT number FROM series WHERE uid LIKE '%.1.1.1'"), ["1"]);
    index.execute("UPDATE study SET description = 'edited'");
    site.reindex(&index, &["--existing", "refresh"]).exits(1);
    assert_eq!(index.rows("SELECT COUNT(*) FROM study WHERE description = 'edited' AND uid LIKE '%.1.1'"), ["0"]);
}

#[test]
fn a_myisam_database_in_latin1_holds_what_it_can_and_the_rest_is_told() {
    let site = Site::new();
    let index = Index::pacsone();
    for table in ["patient", "study", "series", "image", "conceptname"] {
        index.execute(&format!("ALTER TABLE {table} ENGINE=MyISAM, CONVERT TO CHARACTER SET latin1"));
    }
    let said = assert_everything_is_listed(&site, &index, "uuid");
    assert!(said.out.contains("substituted by ?"), "{}", said.out);
    assert_eq!(
        index.rows("SELECT lastname, firstname, charset FROM patient WHERE origid = 'FX-1002'"),
        ["Çelik|Jérôme|ISO_IR 100"]
    );
    assert_eq!(index.rows("SELECT ideographic FROM patient WHERE origid = 'FX-1003'"), ["??^??"]);
    site.reindex(&index, &["--force"]).exits(1);
    assert!(!site.findings("note").is_empty());
}

#[test]
fn the_index_does_not_depend_on_the_mode_of_the_server() {
    let mut dumps = Vec::new();
    for mode in ["", "TRADITIONAL,ONLY_FULL_GROUP_BY,PIPES_AS_CONCAT", "NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH"] {
        let site = Site::new();
        let index = Index::pacsone();
        index.execute(&format!("SET GLOBAL sql_mode = '{mode}'"));
        assert_everything_is_listed(&site, &index, "uuid");
        index.execute("SET GLOBAL sql_mode = DEFAULT");
        let root = site.archive().display().to_string();
        dumps.push(index.dump().into_iter().map(|row| row.replace(&root, "ARCHIVE")).collect::<Vec<_>>());
    }
    for (one, other) in dumps[0].iter().zip(&dumps[1]).chain(dumps[0].iter().zip(&dumps[2])) {
        assert_eq!(one, other);
    }
}

#[test]
fn a_value_that_a_column_cannot_hold_costs_the_value_and_not_the_row() {
    let site = Site::new();
    site.add("a", json!({"InstanceNumber": "70000", "SeriesNumber": "-5", "Rows": "500", "StudyID": "text"}));
    let index = Index::mariadb(&site);
    index.execute(
        "ALTER TABLE image MODIFY instance SMALLINT NULL, MODIFY numrows TINYINT UNSIGNED NULL; \
         ALTER TABLE series MODIFY seriesnumber INT UNSIGNED NULL; ALTER TABLE study MODIFY id INT NULL",
    );
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(index.rows("SELECT instance, numrows FROM image"), ["-|-"]);
    assert_eq!(index.rows("SELECT seriesnumber FROM series"), ["-"]);
    assert_eq!(index.rows("SELECT id FROM study"), ["-"]);
    assert!(said.out.contains("4 invalid or out-of-range dates, times, numbers and UIDs"), "{}", said.out);
}

#[test]
fn columns_of_the_site_s_own_get_the_zero_of_their_type() {
    let site = Site::new();
    site.add("a", json!({}));
    let index = Index::mariadb(&site);
    index.execute(
        "ALTER TABLE study ADD a VARCHAR(5) NOT NULL, ADD b INT NOT NULL, ADD c DATE NOT NULL, ADD d DATETIME NOT NULL, \
         ADD e DECIMAL(5,2) NOT NULL, ADD f ENUM('x', 'y') NOT NULL, ADD g TIME NOT NULL, ADD h TEXT NOT NULL, \
         ADD i BLOB NOT NULL, ADD j INT NOT NULL DEFAULT 7, ADD k INT NULL, ADD l TIMESTAMP NULL ON UPDATE CURRENT_TIMESTAMP",
    );
    let said = site.reindex(&index, &[]).exits(0);
    let row = "|0|0000-00-00|0000-00-00 00:00:00|0.00|x|00:00:00|||7|-|-";
    assert_eq!(index.rows("SELECT a, b, CAST(c AS CHAR), CAST(d AS CHAR), e, f, g, h, i, j, k, l FROM study"), [row]);
    let told = "study.a, study.b, study.c, study.d, study.e, study.f, study.g, study.h, study.i";
    assert!(said.out.contains(told), "{}", said.out);
}

#[test]
fn a_value_out_of_range_or_out_of_an_enumeration_is_null_and_counted() {
    let site = Site::new();
    site.add(
        "a",
        json!({
            "PatientSex": "X", "PatientWeight": "1000000", "PatientSize": "-1.5", "PatientAge": "999Y",
            "AcquisitionNumber": "1", "StudyID": "99999999999", "AccessionNumber": "1.5", "Modality": "OT",
            "BodyPartExamined": "KNEE", "SeriesNumber": "1850", "InstanceNumber": "123456", "Rows": "4",
            "NumberOfFrames": "3",
        }),
    );
    let index = Index::mariadb(&site);
    index.execute(
        "ALTER TABLE patient MODIFY sex ENUM('M', 'F', 'O') NULL, MODIFY weight DECIMAL(5,2) NULL, \
         MODIFY height FLOAT(4,2) UNSIGNED NULL, MODIFY age DECIMAL(2,0) NOT NULL; \
         ALTER TABLE study MODIFY id INT NULL, MODIFY accessionnum SMALLINT NULL; \
         ALTER TABLE series MODIFY modality ENUM('CT', 'MR') NOT NULL, MODIFY bodypart SET('HEAD', 'NECK') NULL, \
         MODIFY seriesnumber YEAR NULL; \
         ALTER TABLE image MODIFY instance VARCHAR(4) NULL, MODIFY numrows ENUM('2', '4') NULL, \
         MODIFY numframes BIT(2) NULL",
    );
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(said.figure("inserted"), 1);
    assert_eq!(index.rows("SELECT sex, weight, height, age FROM patient"), ["-|-|-|0"]);
    assert_eq!(index.rows("SELECT id, accessionnum FROM study"), ["-|-"]);
    assert_eq!(index.rows("SELECT modality, bodypart, seriesnumber FROM series"), ["CT|-|-"]);
    assert_eq!(index.rows("SELECT instance, numrows, numframes + 0 FROM image"), ["-|4|3"]);
    assert!(said.out.contains("10 invalid or out-of-range dates, times, numbers and UIDs"), "{}", said.out);
}

#[test]
fn a_value_that_fits_its_column_is_stored_as_the_column_spells_it() {
    let site = Site::new();
    site.add(
        "a",
        json!({
            "PatientSex": "m", "PatientWeight": "70.126", "PatientSize": "1.5", "StudyID": "007",
            "BodyPartExamined": "head,Neck", "SeriesNumber": "1999", "StudyDescription": "12345678901234567",
        }),
    );
    let index = Index::mariadb(&site);
    index.execute(
        "ALTER TABLE patient MODIFY sex ENUM('M', 'F', 'O') NULL, MODIFY weight DECIMAL(5,2) NULL, \
         MODIFY height INT NULL, MODIFY occupation ENUM('it''s, one', 'b') NOT NULL; \
         ALTER TABLE study MODIFY id INT NULL, MODIFY description BIGINT NULL; \
         ALTER TABLE series MODIFY bodypart SET('HEAD', 'NECK') NULL, MODIFY seriesnumber YEAR NULL",
    );
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(index.rows("SELECT sex, weight, height, occupation FROM patient"), ["M|70.13|2|it's, one"]);
    assert_eq!(index.rows("SELECT id, description FROM study"), ["7|12345678901234567"]);
    assert_eq!(index.rows("SELECT bodypart, seriesnumber FROM series"), ["HEAD,NECK|1999"]);
    assert!(!said.out.contains("invalid or out-of-range dates"), "{}", said.out);
    // Rows that match their files are neither rewritten nor reported.
    let again = site.reindex(&index, &["--force", "--existing", "refresh"]).exits(0);
    assert_eq!((again.figure("updated"), again.figure("unchanged")), (0, 1), "{}", again.out);
    let archive = site.archive().display().to_string();
    let check = ["--level", "header", "--check", "header-differs", "--fail-on", "info", "--recheck-after", "0s"];
    let mut audit = site.program(&["audit", &archive, "--index", &index.url]);
    Said::of(audit.args(check).env("PACS_INDEX_PASSWORD", PASSWORD)).exits(0);
}

#[test]
fn a_date_in_a_column_of_another_type_is_converted_or_null_and_never_cut() {
    let site = Site::new();
    site.add(
        "a",
        json!({
            "PatientBirthDate": "19500102", "StudyDate": "20211112", "StudyTime": "101530", "ContentDate": "20211113",
            "ObservationDateTime": "20211114101530", "InstanceCreationDate": "20211115", "StudyDescription": "20211116",
        }),
    );
    let index = Index::mariadb(&site);
    index.execute(
        "ALTER TABLE patient MODIFY birthdate TIMESTAMP NULL; \
         ALTER TABLE study MODIFY studydate DATETIME NULL, MODIFY studytime DATE NULL, MODIFY description DATE NULL; \
         ALTER TABLE image MODIFY contentdate VARCHAR(8) NULL, MODIFY observationdatetime DATE NULL, \
         MODIFY instancedate TIMESTAMP NULL",
    );
    let said = site.reindex(&index, &[]).exits(0);
    assert_eq!(index.rows("SELECT CAST(birthdate AS CHAR) FROM patient"), ["-"]);
    let study = index.rows("SELECT CAST(studydate AS CHAR), CAST(studytime AS CHAR), description FROM study");
    assert_eq!(study, ["2021-11-12 00:00:00|-|-"]);
    let image = "SELECT contentdate, CAST(observationdatetime AS CHAR), CAST(instancedate AS CHAR) FROM image";
    assert_eq!(index.rows(image), ["-|2021-11-14|2021-11-15 00:00:00"]);
    assert!(said.out.contains("4 invalid or out-of-range dates, times, numbers and UIDs"), "{}", said.out);
    let again = site.reindex(&index, &["--force", "--existing", "refresh"]).exits(0);
    assert_eq!(again.figure("updated"), 0, "{}", again.out);
}

#[test]
fn a_column_of_bits_is_compared_by_its_number() {
    let site = Site::new();
    site.add("a", json!({"SeriesNumber": "5", "InstanceNumber": "200", "NumberOfFrames": "1", "Rows": "512"}));
    let index = Index::mariadb(&site);
    index.execute(
        "ALTER TABLE series MODIFY seriesnumber BIT(12) NULL; \
         ALTER TABLE image MODIFY instance BIT(8) NULL, MODIFY numframes BIT(1) NULL, MODIFY numrows BIT(16) NULL",
    );
    site.reindex(&index, &[]).exits(0);
    let again = site.reindex(&index, &["--force", "--existing", "refresh"]).exits(0);
    assert_eq!((again.figure("updated"), again.figure("unchanged")), (0, 1), "{}", again.out);
    let archive = site.archive().display().to_string();
    let audit = || {
        let check = ["--level", "header", "--check", "header-differs", "--fail-on", "info", "--recheck-after", "0s"];
        let mut audit = site.program(&["audit", &archive, "--index", &index.url]);
        Said::of(audit.args(check).env("PACS_INDEX_PASSWORD", PASSWORD))
    };
    audit().exits(0);
    index.execute("UPDATE series SET seriesnumber = 6; UPDATE image SET instance = 201");
    let found = audit().exits(1);
    assert!(found.out.contains("seriesnumber") && found.out.contains("instance"), "{}", found.out);
    site.reindex(&index, &["--force", "--existing", "refresh"]).exits(0);
    assert_eq!(index.rows("SELECT seriesnumber + 0, instance + 0 FROM series, image"), ["5|200"]);
    audit().exits(0);
}
