//! A set of hashes of images. Only the latest of them are in memory: archives have more images than memory has room for.
//! The others lie on disk, in sorted tables without a name.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::disk::filter::Filter;
use crate::sorted::{Cursor, Sorter, Table};

/// The number of hashes in memory: what a table of 2^17 places holds before it grows.
const LIMIT: usize = (1 << 17) / 8 * 7;

/// Tables that a lookup may have to read of, a page each. More are merged.
const TABLES: usize = 16;

#[derive(Default)]
pub struct Hashes {
    latest: HashSet<u64>,
    /// The number of hashes in memory before they go to a table.
    limit: usize,
    /// Where tables lie. `None` once one could not be made: all stay in memory then.
    directory: Option<PathBuf>,
    tables: Vec<Table<8>>,
    /// The hashes in tables.
    filter: Filter,
    /// Those in tables that were taken out.
    removed: HashSet<u64>,
    /// A table that could not be read.
    failed: OnceLock<io::Error>,
}

impl Hashes {
    pub fn new(directory: &Path) -> Self {
        Self::with_limit(directory, LIMIT)
    }

    /// Creates a set with other than the usual number of hashes in memory.
    pub fn with_limit(directory: &Path, limit: usize) -> Self {
        Hashes { directory: Some(directory.to_owned()), limit, ..Hashes::default() }
    }

    pub fn insert(&mut self, hash: u64) {
        if self.latest.len() >= self.limit {
            self.put_aside();
        }
        self.removed.remove(&hash);
        self.latest.insert(hash);
    }

    pub fn remove(&mut self, hash: u64) {
        self.latest.remove(&hash);
        if !self.tables.is_empty() {
            self.removed.insert(hash);
        }
    }

    /// What is said after a failure must not be relied on: see [`Hashes::failure`].
    pub fn contains(&self, hash: u64) -> bool {
        let is_in_table = || self.tables.iter().any(|table| self.has(table, hash));
        self.latest.contains(&hash) || self.filter.may_contain(hash) && !self.removed.contains(&hash) && is_in_table()
    }

    fn has(&self, table: &Table<8>, hash: u64) -> bool {
        let found = table.find(&hash.to_be_bytes(), &mut Cursor::default());
        found.unwrap_or_else(|error| {
            let _ = self.failed.set(error);
            None
        }) == Some(hash.to_be_bytes())
    }

    pub fn failure(&self) -> Option<&io::Error> {
        self.failed.get()
    }

    /// Where there is no room for a table, there may be some in memory.
    fn put_aside(&mut self) {
        let Some(directory) = &self.directory else { return };
        match self.table(directory) {
            Ok(table) => {
                if self.tables.len() >= TABLES {
                    self.tables.clear();
                }
                self.tables.push(table);
                self.latest.drain().for_each(|hash| self.filter.insert(hash));
            }
            Err(_) => self.directory = None,
        }
    }

    fn table(&self, directory: &Path) -> io::Result<Table<8>> {
        let mut sorter = Sorter::new(directory);
        self.latest.iter().try_for_each(|hash| sorter.push(hash.to_be_bytes()))?;
        let merged = if self.tables.len() >= TABLES { self.tables.as_slice() } else { &[] };
        sorter.finish(merged, 8, Default::default(), tempfile::tempfile_in(directory)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn check(hashes: &Hashes, count: u64, is_removed: impl Fn(u64) -> bool) {
        for n in 0..count + 1000 {
            assert_eq!(hashes.contains(hash(n)), n < count && !is_removed(n), "{n} of {count}");
        }
        assert!(hashes.failure().is_none());
    }

    #[test]
    fn what_was_put_in_is_found_wherever_it_lies() {
        const COUNT: u64 = 20_000;
        let directory = tempfile::tempdir().unwrap();
        let mut hashes = Hashes::new(directory.path());
        for n in 0..COUNT {
            hashes.insert(hash(n));
            if n % 1000 == 999 {
                hashes.put_aside();
            }
        }
        assert!(hashes.tables.len() <= TABLES && hashes.latest.is_empty());
        check(&hashes, COUNT, |_| false);
        (0..COUNT).step_by(7).for_each(|n| hashes.remove(hash(n)));
        check(&hashes, COUNT, |n| n % 7 == 0);
        (0..COUNT).step_by(7).for_each(|n| hashes.insert(hash(n)));
        check(&hashes, COUNT, |_| false);
        hashes.put_aside();
        check(&hashes, COUNT, |_| false);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "no table has a name");
    }

    #[test]
    fn a_set_that_cannot_be_put_aside_stays_in_memory() {
        let mut hashes = Hashes::new(Path::new("/nowhere"));
        let count = LIMIT as u64 + 1000;
        (0..count).for_each(|n| hashes.insert(hash(n)));
        assert_eq!(hashes.latest.len() as u64, count);
        assert!((0..count).all(|n| hashes.contains(hash(n))) && !hashes.contains(hash(count)));
    }
}
