//! A bounded sample of the paths in existing rows, read in primary key order: `image.path` has no
//! index, and a search by path would read all of a table of ten million rows.

use std::path::Path;

use super::location::{Access, Location};
use super::sql::Database;
use super::sqlite::Sqlite;
use crate::dicom::Level;
use crate::error::Result;

/// The number of rows to read from each end of the key order and from each start key within.
const ROWS: usize = 100;

/// Start keys within the key order: the first arcs of manufacturers' UIDs and of UIDs that are
/// derived from UUIDs.
const WITHIN: [&str; 6] = ["1.2.8", "1.2.840.113619.", "1.3.", "1.3.46.", "2.", "2.25.5"];

/// Returns paths of existing rows, including those of the instances with the given UIDs. `uids` is
/// not called for an index without rows.
pub fn image_paths(location: &Location, uids: impl FnOnce() -> Vec<String>) -> Result<Vec<String>> {
    if !has_images(location)? {
        return Ok(Vec::new());
    }
    let tables = location.prepare(Access::DryRun)?;
    let mut index = location.connect(&tables, Access::DryRun)?;
    let (key, path) = (tables.key(Level::Instance), tables.of(Level::Instance).name("path"));
    let failed = |failure| location.unreachable(failure);
    let mut paths: Vec<String> = Vec::new();
    for order in ["", " DESC"] {
        let sql = format!("SELECT `{path}` FROM `image` ORDER BY `{key}`{order} LIMIT {ROWS}");
        paths.extend(index.ask(&sql, &[]).map_err(failed)?.into_iter().flatten().flatten());
    }
    let sql = format!("SELECT `{path}` FROM `image` WHERE `{key}` > ? ORDER BY `{key}` LIMIT {ROWS}");
    for place in WITHIN {
        paths.extend(index.ask(&sql, &[place]).map_err(failed)?.into_iter().flatten().flatten());
    }
    let uids = if paths.is_empty() { Vec::new() } else { uids() };
    let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
    for part in uids.chunks(ROWS) {
        let marks = vec!["?"; part.len()].join(",");
        let sql = format!("SELECT `{path}` FROM `image` WHERE `{key}` IN ({marks})");
        paths.extend(index.ask(&sql, part).map_err(failed)?.into_iter().flatten().flatten());
    }
    index.close();
    paths.retain(|path| !path.trim().is_empty());
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Returns `false` for an SQLite file that does not exist or has no tables yet. Creates nothing.
fn has_images(location: &Location) -> Result<bool> {
    let Location::Sqlite(path) = location else { return Ok(true) };
    if !Path::exists(path) {
        return Ok(false);
    }
    let failed = |failure| location.unreachable(failure);
    let mut database = Sqlite::read_only(path).map_err(failed)?;
    let names = database.table_names().map_err(failed);
    database.close();
    Ok(names?.iter().any(|name| name.eq_ignore_ascii_case("image")))
}
