//! Real files from other sources: the Python package pydicom ships them for its own tests.
//! `tests/run` stores them in a cache; if that is not possible, tests report that they did not run
//! on them.

use std::path::PathBuf;

use super::walk;

/// Returns the directory of the files.
pub fn directory() -> Option<PathBuf> {
    let files = std::env::var_os("PACS_INDEX_TEST_PYDICOM").map(PathBuf::from).filter(|files| files.is_dir());
    if files.is_none() {
        eprintln!("\n*** NOT RUN: pydicom's files are not here. tests/run gets them over the network. ***\n");
    }
    files
}

/// Returns all files, in a fixed order.
pub fn files() -> Vec<PathBuf> {
    let mut files = directory().map(|directory| walk(&directory)).unwrap_or_default();
    files.sort();
    files
}
