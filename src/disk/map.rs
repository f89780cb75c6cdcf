//! A map that keeps the latest values in memory and all others on disk.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use foldhash::HashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use super::aggregate::{decode, put};
use super::filter::Filter;
use crate::full_disk;
use crate::positioned::{read_at, write_at};
use crate::sorted::{Cursor, Sorter, Table};

/// The maximum number of tables of places that a lookup reads. When it is reached, the tables are
/// merged.
const TABLES: usize = 16;

/// The size in bytes of the length in front of an encoded value.
const HEAD: usize = 4;

/// A map from texts to values. Former versions of values stay on disk until the map is dropped.
pub struct DiskMap<V> {
    directory: PathBuf,
    latest: HashMap<Box<str>, V>,
    /// Encoded keys and values, one after the other.
    file: Option<File>,
    length: u64,
    /// The hash of each key with the offset of its value. A larger offset belongs to a later
    /// version.
    places: Vec<Table<16>>,
    filter: Filter,
    of: PhantomData<V>,
}

impl<V: Serialize + DeserializeOwned + Clone> DiskMap<V> {
    /// Creates an empty map. Values are written to unnamed files in a directory.
    pub fn new(directory: &Path) -> Self {
        DiskMap {
            directory: directory.to_owned(),
            latest: HashMap::default(),
            file: None,
            length: 0,
            places: Vec::new(),
            filter: Filter::default(),
            of: PhantomData,
        }
    }

    pub fn insert(&mut self, key: &str, value: V) {
        self.latest.insert(key.into(), value);
    }

    /// Removes a value that was inserted after the last call of [`DiskMap::write`].
    pub fn take_back(&mut self, key: &str) {
        self.latest.remove(key);
    }

    /// Returns the latest version of a value. The error names the directory if its disk is full.
    pub fn get(&self, key: &str) -> io::Result<Option<V>> {
        let hash = xxh3_64(key.as_bytes());
        match self.latest.get(key) {
            Some(value) => Ok(Some(value.clone())),
            None if self.filter.may_contain(hash) => self.get_from_disk(key, hash),
            None => Ok(None),
        }
    }

    fn get_from_disk(&self, key: &str, hash: u64) -> io::Result<Option<V>> {
        for table in self.places.iter().rev() {
            let mut places = Vec::new();
            table.scan(&hash.to_be_bytes(), &mut Cursor::default(), |record| {
                places.push(record[8..].iter().fold(0, |place, byte| place << 8 | u64::from(*byte)));
            })?;
            for place in places.into_iter().rev() {
                let (of, value): (Box<str>, V) = decode(&self.read(place)?)?;
                if *of == *key {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }

    fn read(&self, place: u64) -> io::Result<Vec<u8>> {
        let file = self.file.as_ref().ok_or(ErrorKind::InvalidData)?;
        let mut head = [0; HEAD];
        read_at(file, &mut head, place)?;
        let mut bytes = vec![0; u32::from_le_bytes(head) as usize];
        read_at(file, &mut bytes, place + HEAD as u64)?;
        Ok(bytes)
    }

    /// Writes the values in memory to disk if there are more than `limit`.
    pub fn write(&mut self, limit: usize) -> io::Result<()> {
        if self.latest.len() <= limit {
            return Ok(());
        }
        self.write_latest().map_err(|error| full_disk::named(&self.directory, error))
    }

    fn write_latest(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut places = Sorter::new(&self.directory);
        for (key, value) in &self.latest {
            let place = self.length + bytes.len() as u64;
            let hash = xxh3_64(key.as_bytes());
            let start = bytes.len();
            bytes.extend([0; HEAD]);
            put(&(key, value), &mut bytes);
            let size = (bytes.len() - start - HEAD) as u32;
            bytes[start..start + HEAD].copy_from_slice(&size.to_le_bytes());
            places.push((u128::from(hash) << 64 | u128::from(place)).to_be_bytes())?;
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.directory)?,
        };
        let written = write_at(&file, &bytes, self.length);
        self.file = Some(file);
        written?;
        let merged = if self.places.len() >= TABLES { self.places.as_slice() } else { &[] };
        let table = places.finish(merged, 16, Default::default(), tempfile::tempfile_in(&self.directory)?)?;
        if self.places.len() >= TABLES {
            self.places.clear();
        }
        self.places.push(table);
        self.length += bytes.len() as u64;
        self.latest.drain().for_each(|(key, _)| self.filter.insert(xxh3_64(key.as_bytes())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_version_is_found_in_memory_and_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        let mut map = DiskMap::new(directory.path());
        let key = |n: u64| format!("key {n}");
        for n in 0..20_000_u64 {
            map.insert(&key(n % 7000), n);
            map.write(100).unwrap();
        }
        assert!(map.latest.len() <= 100 && map.places.len() <= TABLES + 1);
        for n in 0..8000_u64 {
            let latest = [14_000, 7000, 0].map(|round| n + round).into_iter().find(|n| *n < 20_000);
            assert_eq!(map.get(&key(n)).unwrap(), latest.filter(|_| n < 7000), "{n}");
        }
        map.insert("new", 1);
        map.take_back("new");
        assert_eq!(map.get("new").unwrap(), None);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "no file has a name");
    }

    #[test]
    fn values_stay_in_memory_if_there_is_no_room_on_disk() {
        let mut map = DiskMap::new(Path::new("/nowhere"));
        map.insert("key", 1);
        assert!(map.write(0).is_err());
        assert_eq!(map.get("key").unwrap(), Some(1));
    }
}
