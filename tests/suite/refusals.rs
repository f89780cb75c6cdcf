//! Rows that a database will not hold: found, reported, and the others written.

use crate::support::{Site, on_both_databases};

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

/// Makes the database refuse rows, as a site's own constraint would.
fn refuse(site: &Site, index: &crate::support::Index, table: &str, condition: &str) {
    if index.url.starts_with("sqlite:") {
        site.run(&["init", "--index", &index.url]).exits(0);
        let condition = format!("NEW.{condition}");
        index.execute(&format!(
            "CREATE TRIGGER no BEFORE INSERT ON {table} WHEN {condition} BEGIN SELECT RAISE(ABORT, 'no'); END"
        ));
    } else {
        index.execute(&format!("ALTER TABLE {table} ADD CONSTRAINT no CHECK (NOT ({condition}))"));
    }
}
