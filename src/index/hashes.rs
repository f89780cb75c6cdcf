//! A set of hashes of images. Only the latest hashes are in memory, because the hashes of all
//! images of an archive may not fit. The others are stored on disk, in unnamed sorted tables.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::disk::filter::Filter;
use crate::sorted::{Cursor, Sorter, Table};

/// The default number of hashes in memory: the number that a hash table with 2^17 buckets holds
/// before it grows.
const LIMIT: usize = (1 << 17) / 8 * 7;

/// The maximum number of tables. The number is limited because a lookup may have to read a page of
/// each table. All tables are merged into one when another table would exceed the maximum.
const TABLES: usize = 16;

#[derive(Default)]
pub struct Hashes {
    latest: HashSet<u64>,
    /// The number of hashes in memory at which they are moved to a table.
    limit: usize,
    /// The directory of the tables. `None` after a table could not be created: all further hashes
    /// stay in memory.
    directory: Option<PathBuf>,
    tables: Vec<Table<8>>,
    /// A filter of the hashes in tables.
    filter: Filter,
    /// Hashes that were removed from the set, but may still be in a table.
    removed: HashSet<u64>,
    /// The error of a table that could not be read.
    failed: OnceLock<io::Error>,
}

impl Hashes {
    pub fn new(directory: &Path) -> Self {
        Self::with_limit(directory, LIMIT)
    }

    /// Creates a set that keeps another number of hashes in memory than the default.
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

    /// Returns whether the set contains a hash. After a failure, the result is unreliable: see
    /// [`Hashes::failure`].
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

    /// Moves the hashes from memory to a table. If the table cannot be written, for example because
    /// the disk is full, all hashes stay in memory from now on.
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
