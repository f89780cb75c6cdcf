//! Real files that nobody here wrote: those that the Python package pydicom brings for its own tests. `tests/run` puts
//! them into a cache; where it cannot, tests say that they did not run on them.

use std::path::PathBuf;

use super::walk;

/// Their directory.
pub fn directory() -> Option<PathBuf> {
    let files = std::env::var_os("PACS_INDEX_TEST_PYDICOM").map(PathBuf::from).filter(|files| files.is_dir());
    if files.is_none() {
        eprintln!("\n*** NOT RUN: pydicom's files are not here. tests/run gets them over the network. ***\n");
    }
    files
}

/// All of them, in one order.
pub fn files() -> Vec<PathBuf> {
    let mut files = directory().map(|directory| walk(&directory)).unwrap_or_default();
    files.sort();
    files
}
