//! The same files give the same rows on MySQL and on MariaDB.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::patience::is_long;
use crate::support::{Index, ROOT_UID, Site, fixture_archive, pydicom, server_of};

/// Tables with their keys.
const CORE: [(&str, &str); 4] = [("patient", "origid"), ("study", "uuid"), ("series", "uuid"), ("image", "uuid")];

/// Returns the URL of the MySQL server that `tests/run` starts, or prints that the test does not
/// run.
fn mysql() -> Option<String> {
    let url = std::env::var("PACS_INDEX_TEST_MYSQL").ok();
    if url.is_none() {
        println!("*** MySQL is missing (PACS_INDEX_TEST_MYSQL is not set): this test DID NOT RUN ***");
    }
    url
}

/// Indexes an archive on both servers, twice, and compares all columns of all rows in key order.
#[track_caller]
fn gives_equal_rows(site: &Site, root: &Path) {
    let Some(mysql) = mysql() else { return };
    let indexes = [mysql, server_of("PACS_INDEX_TEST_MARIADB")].map(|server| Index::mariadb_on(&server, site));
    for more in [&[][..], &["--force", "--existing", "refresh"]] {
        let said = indexes.each_ref().map(|index| site.reindex_root(root, index, more));
        assert!(said.iter().all(|said| said.exit <= 1), "{}\n{}", said[0].err, said[1].err);
        assert_eq!(said[0].figure("files found"), said[1].figure("files found"));
        for (table, key) in CORE {
            let [on_mysql, on_mariadb] =
                indexes.each_ref().map(|index| index.rows(&format!("SELECT * FROM `{table}` ORDER BY `{key}`")));
            assert!(!on_mysql.is_empty(), "{table} has no rows");
            assert_eq!(on_mysql.len(), on_mariadb.len(), "{table}");
            for (one, other) in on_mysql.iter().zip(&on_mariadb) {
                assert_eq!(one, other, "{table}");
            }
        }
    }
}

#[test]
fn the_fixtures_give_the_same_rows_on_mysql_and_mariadb() {
    let site = Site::new();
    let archive = fixture_archive(&site);
    gives_equal_rows(&site, &archive);
}

#[test]
fn the_files_of_pydicom_give_the_same_rows_on_mysql_and_mariadb() {
    let Some(files) = pydicom::directory() else { return };
    gives_equal_rows(&Site::new(), &files);
}

/// Selects one of several values by a number.
fn one_of<const N: usize>(values: [&str; N], n: u32) -> Json {
    values[n as usize % N].into()
}

/// An instance with values that servers may round, pad, fold or order differently.
fn instance(n: u32) -> Json {
    let (series, study, patient) = (n / 3, n / 7, n / 10);
    let ids =
        ["P{}", "p{}", "P-{}", "P_{}", "M\u{fc}ller {}", "Muller {}", "{}", "0{}", "stra\u{df}e {}", "strasse {}"];
    json!({
        "SpecificCharacterSet": "ISO_IR 192", "SOPInstanceUID": format!("{ROOT_UID}.{study}.{series}.{n}"),
        "StudyInstanceUID": format!("{ROOT_UID}.{study}"), "SeriesInstanceUID": format!("{ROOT_UID}.{study}.{series}"),
        "PatientID": ids[patient as usize % ids.len()].replace("{}", &(patient / 13).to_string()),
        "PatientName": one_of(["Weber^Ute", "M\u{fc}ller^J\u{f6}rg^K", "Yamada^Tarou=\u{5c71}\u{7530}^\u{592a}\u{90ce}", "O'Neill^\\", ""], study),
        "PatientBirthDate": one_of(["19610314", "19000101", "00010101", "20240229", "", "19610231"], study),
        "PatientBirthTime": one_of(["101500", "235959.999999", "000000.5", "10", ""], study),
        "PatientSize": one_of(["1.725", "1.7249999", "0.1", "2", "1e2", ""], study),
        "PatientWeight": one_of(["70.55", "70.549999", "123456.789", "0.0001", "3.4e38"], study),
        "PatientAge": one_of(["060Y", "007M", "003W", "013D", ""], study),
        "StudyDate": one_of(["20211112", "20200229", "19991231", ""], study),
        "StudyTime": one_of(["101500.123456", "101500.5", "101500.999999", "235959.999999", "1015", "240000", ""], study),
        "SeriesDate": one_of(["20211112", "2021.11.12", ""], series),
        "SeriesTime": one_of(["235959.5", "080500", "000000.499999", "000000.500000"], series),
        "SeriesNumber": one_of(["1", "-5", "2147483647", "2147483648", "+7", ""], series),
        "InstanceNumber": one_of(["1", "007", "-1", "2147483647", "99999999999"], n),
        "InstanceCreationDate": one_of(["20211112", "20211301", ""], n),
        "InstanceCreationTime": one_of(["081500.999", "23:59:59", "120000.000001"], n),
        "StudyDescription": one_of(["\u{1f600} chest", "a\u{301}", "CHEST", "chest", &"long \u{e4} ".repeat(30)], n),
        "AccessionNumber": one_of(["A1", "a1", "A1 2", "0001"], n),
        "ReferringPhysicianName": one_of(["Stein^Eva", "Stein^Eva^^Dr", "\u{15e}ahin^Ay\u{15f}e"], n),
        "SeriesDescription": one_of(["t1 'quoted'", "t1 \"quoted\"", "100 %", "_", "NULL"], n),
        "Modality": one_of(["CT", "MR", "US", "SR"], series),
        "NumberOfFrames": one_of(["1", "12", "0", ""], n), "Rows": (1 + n % 65_535).to_string(),
    })
}

#[test]
fn generated_files_give_the_same_rows_on_mysql_and_mariadb() {
    if mysql().is_none() {
        return;
    }
    let site = Site::new();
    for n in 0..if is_long() { 20_000 } else { 1500 } {
        site.add(&format!("2021-11-{:02}-FRI/{n}", 10 + n % 15), instance(n));
    }
    gives_equal_rows(&site, &site.archive());
}
