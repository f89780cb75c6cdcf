//! Rows with columns that a site has added, of types whose values cannot simply be written as text.

use std::fs;

use serde_json::json;

use super::{lines, plan, repair, run, write};
use crate::support::{Index, ROOT_UID as UID, Site};

const DAY: &str = "2021-11-12-FRI";

/// An index whose table of images has an additional column that contains a value.
fn with_column(site: &Site, definition: &str, value: &str) -> Index {
    site.add_series(DAY, 1, 1, 3);
    let index = Index::pacsone();
    site.reindex(&index, &[]).exits(0);
    index.execute(&format!("ALTER TABLE image ADD COLUMN x {definition}"));
    if !value.is_empty() {
        index.execute(&format!("UPDATE image SET x = {value}"));
    }
    fs::remove_file(site.archive().join(DAY).join(format!("{UID}.1.1.1"))).unwrap();
    let mut planned = plan(site, "archive", &index.url, &[]);
    planned.iter_mut().skip(1).for_each(|step| step["enabled"] = json!(true));
    write(site, "plan.jsonl", &planned);
    assert_eq!(lines(site, "plan.jsonl").len(), 2);
    index
}

#[test]
fn a_row_that_is_removed_and_put_back_keeps_all_values() {
    for (definition, value, shown) in [
        ("FLOAT", "1234567.875", "x + 0e0"),
        ("FLOAT", "1.72", "x + 0e0"),
        ("FLOAT UNSIGNED", "16777215", "x + 0e0"),
        ("DOUBLE", "0.1e0 + 0.2e0", "x"),
        ("DECIMAL(30,10)", "12345678901234567890.0123456789", "x"),
        ("DATETIME(6)", "'2021-11-12 01:02:03.456789'", "x"),
        ("BIT(8)", "b'01000001'", "x + 0"),
        ("BIT(8)", "NULL", "x + 0"),
        ("VARBINARY(8)", "X'C3BC41'", "HEX(x)"),
        ("BLOB", "X''", "HEX(x)"),
        ("INT AS (LENGTH(uuid) * 2) STORED", "", "x"),
        ("INT AS (LENGTH(uuid) * 2) VIRTUAL", "", "x"),
    ] {
        let site = Site::new();
        let index = with_column(&site, definition, value);
        let rows = format!("SELECT uuid, {shown} FROM image ORDER BY uuid");
        let before = index.rows(&rows);
        let said = repair(&site, &index.url, &[]).exits(0);
        assert!(said.out.contains(" 1 rows removed"), "{definition}: {}", said.out);
        assert_eq!(index.count("image"), 2, "{definition}");
        let said = run(&site, &["repair", "--undo", "undo.jsonl", "--yes", "--index", &index.url]).exits(0);
        assert!(said.out.contains(" 1 rows put back"), "{definition}: {}", said.out);
        assert_eq!(index.rows(&rows), before, "{definition} {value}");
    }
}

#[test]
fn a_row_that_an_undo_file_cannot_hold_is_not_removed() {
    for (definition, value) in [
        ("BIT(8)", "b'11001000'"),
        ("VARBINARY(8)", "X'C8FF41'"),
        ("BINARY(2)", "X'FF00'"),
        ("BLOB", "X'80'"),
        ("POINT", "ST_GeomFromText('POINT(1 -2)')"),
    ] {
        let site = Site::new();
        let index = with_column(&site, definition, value);
        let said = repair(&site, &index.url, &[]).exits(1);
        assert!(said.out.contains("0 rows removed, 0 rows put back, 1 steps skipped"), "{definition}: {}", said.out);
        assert!(said.out.contains("column `x`"), "{definition}: {}", said.out);
        assert_eq!(index.count("image"), 3, "{definition}");
    }
}
