//! A large archive with damage at random places: the findings are exactly the damage done.

use std::fs;

use serde_json::json;

use super::{UID, audit, found};
use crate::support::on_both_databases;
use crate::support::random::Random;

/// The number of series. The long form of the tests has two hundred thousand images.
fn series() -> u32 {
    if std::env::var_os("PACS_INDEX_TEST_LONG").is_some() { 2000 } else { 20 }
}

const IN_SERIES: u32 = 100;
const DAMAGES: usize = 50;

#[test]
fn damages_at_random_places_are_found_and_nothing_else() {
    on_both_databases(|site, index| {
        let directory = |series: u32| format!("2021-11-{:02}-FRI", 1 + series % 28);
        (1..=series()).for_each(|n| site.add_series(&directory(n), 1 + n / 4, n, IN_SERIES));
        site.reindex(index, &[]).exits(0);
        let mut random = Random(0x2021);
        let mut sql = index.connect();
        let mut expected = Vec::new();
        let mut chosen = std::collections::HashSet::new();
        while chosen.len() < DAMAGES {
            let (n, m) = (1 + random.below(series() as usize) as u32, 1 + random.below(IN_SERIES as usize));
            if !chosen.insert((n, m)) {
                continue;
            }
            let uid = format!("{UID}.{}.{n}.{m}", 1 + n / 4);
            let file = site.archive().join(directory(n)).join(&uid);
            let check = match chosen.len() % 7 {
                0 => {
                    fs::remove_file(&file).unwrap();
                    "missing-file"
                }
                1 => {
                    fs::write(&file, b"").unwrap();
                    "empty-file"
                }
                2 => {
                    fs::rename(&file, site.archive().join(format!("moved {n} {m}"))).unwrap();
                    "moved-file"
                }
                3 => {
                    fs::copy(&file, site.archive().join(format!("copy {n} {m}"))).unwrap();
                    "two-files-identical"
                }
                4 => {
                    sql.execute(&format!("DELETE FROM image WHERE uuid = '{uid}'"));
                    "unindexed-file"
                }
                5 => {
                    sql.execute(&format!("UPDATE image SET instance = 777 WHERE uuid = '{uid}'"));
                    "header-differs"
                }
                _ => {
                    let bytes = fs::read(&file).unwrap();
                    fs::write(&file, &bytes[..180]).unwrap();
                    "unreadable-file"
                }
            };
            expected.push((check.to_owned(), uid));
        }
        // Another file, which never had a row.
        site.add("another", json!({"SOPInstanceUID": "1.2.3"}));
        expected.push(("unindexed-file".into(), "1.2.3".into()));
        expected.sort();
        let said = audit(site, index, &["--level", "header"]).exits(1);
        println!("{}", said.out);
        let mut told = found(site);
        // A series that lacks a row also has a wrong count, which is reported as information.
        told.retain(|(check, _)| check != "instances-differ");
        assert_eq!(told, expected);
    });
}
