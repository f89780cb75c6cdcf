//! Unfinished rows, which have NULL in `series.instances` and `study.modalities`.

use serde_json::json;

use super::store::STATE;
use crate::shards::site::write_unsettled;
use crate::support::{Index, ROOT_UID, Site, on_both_databases};

fn derived(index: &Index) -> Vec<String> {
    let mut rows = index.rows("SELECT uuid, instances FROM series ORDER BY uuid");
    rows.extend(index.rows("SELECT uuid, modalities FROM study ORDER BY uuid"));
    rows.into_iter().map(|row| row.trim_start_matches(ROOT_UID).to_owned()).collect()
}

/// Makes a run that has written all rows but finalized none, so that another run must resume it.
fn unsettled(site: &Site, index: &Index) {
    write_unsettled(site, index, &site.archive(), "unsettled");
}

/// Resumes the run.
fn settle(site: &Site, index: &Index) {
    let said = site.reindex(index, &["--state", "unsettled"]);
    assert!(said.exit <= 1, "{}{}", said.out, said.err);
}

#[test]
fn rows_stay_unfinished_until_they_are_settled() {
    on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 3);
        site.add("no modality", json!({"StudyInstanceUID": "1.2.1", "SeriesInstanceUID": "1.2.1.1", "SOPInstanceUID": "1.2.1.1.1", "Modality": null}));
        unsettled(site, index);
        assert_eq!(derived(index), ["1.2.1.1|-", ".1.1|-", "1.2.1|-", ".1|-"]);
        settle(site, index);
        assert_eq!(
            derived(index),
            ["1.2.1.1|1", ".1.1|3", "1.2.1|", ".1|CT"],
            "a study without a modality is finished too"
        );
    });
}

#[test]
fn a_row_that_was_there_is_counted_again_with_what_is_inserted_below_it() {
    on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 3);
        site.reindex(index, &[]).exits(0);
        site.add_series("2021-11-13-SAT", 1, 1, 5);
        site.add_series("2021-11-13-SAT", 1, 2, 2);
        let other = json!({"StudyInstanceUID": format!("{ROOT_UID}.1"), "SeriesInstanceUID": format!("{ROOT_UID}.1.3"),
            "SOPInstanceUID": format!("{ROOT_UID}.1.3.1"), "Modality": "MR"});
        site.add("2021-11-13-SAT/mr", other);
        unsettled(site, index);
        assert_eq!(derived(index), [".1.1|5", ".1.2|-", ".1.3|-", ".1|CT MR"]);
        settle(site, index);
        assert_eq!(derived(index), [".1.1|5", ".1.2|2", ".1.3|1", ".1|CT MR"]);
    });
}

/// A PACS leaves the derived columns NULL. Rows of a PACS below which a run inserts images stay
/// unfinished, although the run has ended.
#[test]
fn a_run_that_ended_is_not_continued_because_rows_of_a_pacs_look_unfinished() {
    on_both_databases(|site, index| {
        site.add_series("2021-11-12-FRI", 1, 1, 3);
        site.add_series("2021-11-12-FRI", 2, 1, 2);
        site.reindex(index, &STATE).exits(0);
        std::fs::remove_dir_all(site.path("state")).unwrap();
        for statement in [
            format!("DELETE FROM image WHERE uuid = '{ROOT_UID}.1.1.3' OR seriesuid = '{ROOT_UID}.2.1'"),
            format!("DELETE FROM series WHERE uuid = '{ROOT_UID}.2.1'"),
            format!("DELETE FROM study WHERE uuid = '{ROOT_UID}.2'"),
            "UPDATE study SET patientid = 'T1'".into(),
            "UPDATE series SET instances = NULL".into(),
            "UPDATE study SET modalities = NULL".into(),
        ] {
            index.execute(&statement);
        }
        let said = site.reindex(index, &STATE).exits(0);
        assert_eq!(said.figure("inserted"), 3, "{}", said.out);
        index.execute("UPDATE patient SET firstname = 'ANNA'");
        let before = index.dump();
        for _ in 0..2 {
            let said = site.reindex(index, &STATE).exits(0);
            assert_eq!((said.figure("inserted"), said.figure("unchanged")), (0, 5), "{}", said.out);
            assert!(!said.err.contains("continues"), "{}", said.err);
            assert_eq!(index.dump(), before);
        }
    });
}
