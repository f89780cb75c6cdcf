//! The paths that the index stores: they must be the ones by which the PACS finds its files.

mod compared;
mod corrected;
mod misleading;
mod planned;
mod planned_limits;
mod planned_undo;

use std::fs;

use crate::support::{Index, PASSWORD, Said, Site};

/// An archive of two studies, and the database of a PACS on Windows that calls it D:/DICOM.
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
    let mut command = site.program(&["audit", &archive, "--index", &index.url, "--settle", "0s", "--quiet"]);
    Said::of(command.args(["--json", "findings.jsonl"]).args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
}

fn repair(site: &Site, index: &Index, more: &[&str]) -> Said {
    let mut command = site.program(&["repair", "--index", &index.url]);
    Said::of(command.args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
}

/// The number of images whose path begins like this.
fn images_below(index: &Index, directory: &str) -> u64 {
    let paths = index.rows("SELECT path FROM image");
    paths.iter().filter(|path| path.starts_with(&format!("{directory}/"))).count() as u64
}
