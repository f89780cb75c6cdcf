//! The paths that the index stores: the PACS must find its files by them.

mod compared;
mod corrected;
mod misleading;
mod planned;
mod planned_limits;
mod planned_undo;
mod planned_unmapped;

use std::fs;

use crate::support::{Index, PASSWORD, Said, Site};

/// An archive of two studies, and the database of a PACS on Windows whose path of the archive is
/// D:/DICOM.
fn windows_pacs() -> (Site, Index) {
    let site = Site::new();
    site.add_series("2019-01-12-SAT", 1, 1, 3);
    site.add_series("2019-01-14-MON", 2, 1, 2);
    let index = Index::pacsone();
    configure(&index, "D:/DICOM");
    (site, index)
}

/// Makes this the only archive directory of the PACS.
fn configure(index: &Index, directory: &str) {
    let directory = directory.replace('\\', "\\\\");
    index.execute(&format!("UPDATE config SET archivedir = '{directory}'"));
}

/// A path map of a directory of the site.
fn map(site: &Site, directory: &str, to: &str) -> String {
    format!("{}={to}", site.path(directory).display())
}

fn audit(site: &Site, index: &Index, more: &[&str]) -> Said {
    let _ = fs::remove_file(site.path("findings.jsonl"));
    let archive = site.archive().display().to_string();
    let mut command = site.program(&["audit", &archive, "--index", &index.url, "--recheck-after", "0s", "--quiet"]);
    Said::of(command.args(["--json", "findings.jsonl"]).args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
}

fn repair(site: &Site, index: &Index, more: &[&str]) -> Said {
    let mut command = site.program(&["repair", "--index", &index.url]);
    Said::of(command.args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
}

/// Returns the number of images whose path begins with a directory.
fn images_below(index: &Index, directory: &str) -> u64 {
    let paths = index.rows("SELECT path FROM image");
    paths.iter().filter(|path| path.starts_with(&format!("{directory}/"))).count() as u64
}

#[test]
fn a_file_name_that_windows_cannot_have_gets_no_row_below_a_map_to_windows() {
    let site = Site::new();
    let names = [r"a\1.2.0", "1.2.1.", "b:1.2.2", r"c\d/1.2.3", "1.2.4 ", "e?/1.2.5", "f*\t/1.2.6"];
    for (n, name) in names.iter().chain(&["ü 1/1.2.9"]).enumerate() {
        site.add(name, serde_json::json!({"SOPInstanceUID": format!("1.2.{n}")}));
    }
    let rows = |name: &str, to: &str| {
        let index = Index::sqlite(site.path(name));
        let maps = if to.is_empty() { vec![] } else { vec!["--path-map".to_owned(), map(&site, "archive", to)] };
        let said = site.reindex(&index, &maps.iter().map(String::as_str).collect::<Vec<_>>());
        let rejected = site.findings("rejected");
        let paths = index.rows("SELECT path FROM image");
        (said.exit, paths, rejected.into_iter().filter(|line| line.starts_with("not-on-windows ")).count())
    };
    for to in ["D:/X", r"\\nas\share"] {
        let expected = format!("{}/ü 1/1.2.9", to.replace('\\', "/"));
        assert_eq!(rows("windows.db", to), (1, vec![expected], names.len()), "{to}");
        fs::remove_file(site.path("windows.db")).unwrap();
        // The audit offers no insertion that a repair would reject.
        let index = Index::sqlite(site.path("windows.db"));
        site.reindex(&index, &["--path-map", &map(&site, "archive", to)]).exits(1);
        audit(&site, &index, &["--path-map", &map(&site, "archive", to), "--plan", "plan.jsonl"]).exits(1);
        let plan = fs::read_to_string(site.path("plan.jsonl")).unwrap();
        assert!(!plan.contains("insert"), "{plan}");
        ["plan.jsonl", "windows.db"].iter().for_each(|file| fs::remove_file(site.path(file)).unwrap());
    }
    for (n, to) in ["/dicom", ""].into_iter().enumerate() {
        let (exit, paths, rejected) = rows(&format!("unix{n}.db"), to);
        assert_eq!((exit, paths.len(), rejected), (0, names.len() + 1, 0), "{to}");
    }
}
