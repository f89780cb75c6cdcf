//! Values by key that grow while a run reads files, in bounded memory.
//!
//! Values are kept in memory until they take too much. Then all are written to disk as parts, and a
//! key that recurs begins a new part. Reading merges the parts of each key, in the order in which
//! they were begun.

use std::io::{self, ErrorKind};
use std::marker::PhantomData;
use std::path::Path;

use foldhash::HashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::runs::{Buffer, Entry, Runs};

/// A part of a value.
pub trait Part: Default + Serialize + DeserializeOwned {
    /// Adds a part of the same key that was begun later.
    fn absorb(&mut self, later: Self);

    /// Returns the approximate number of bytes that the part takes in memory.
    fn weight(&self) -> usize;
}

/// Parts by key. Lookups find only the parts in memory.
pub struct Aggregate<V> {
    recent: HashMap<Box<[u8]>, V>,
    runs: Runs,
    /// The bytes of parts in memory above which all are written to disk.
    limit: usize,
    /// The number of lookups since the parts were last weighed.
    looks: usize,
    /// Whether parts could not be written to disk, and stay in memory.
    is_disk_full: bool,
}

/// The bytes of memory that a part takes in the table in addition to its key and value.
const OVERHEAD: usize = 48;

impl<V: Part> Aggregate<V> {
    pub fn new(directory: &Path, limit: usize) -> Self {
        let runs = Runs::new(directory);
        Aggregate { recent: HashMap::default(), runs, limit, looks: 0, is_disk_full: false }
    }

    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&V> {
        self.recent.get(key.as_ref())
    }

    pub fn get_mut(&mut self, key: impl AsRef<[u8]>) -> Option<&mut V> {
        self.looks += 1;
        self.recent.get_mut(key.as_ref())
    }

    /// Returns the part of a key in memory. Begins a new part if memory contains none.
    pub fn part(&mut self, key: impl AsRef<[u8]>) -> &mut V {
        self.looks += 1;
        self.recent.entry(key.as_ref().into()).or_default()
    }

    /// Writes all parts to disk if they take too much memory. Must be called while no part is in
    /// use.
    pub fn relieve(&mut self) {
        // Weighing visits all parts, so it is done only after a proportional number of lookups.
        if self.looks < self.recent.len() / 2 {
            return;
        }
        self.looks = 0;
        let weight = self.recent.iter().map(|(key, part)| key.len() + part.weight() + OVERHEAD).sum::<usize>();
        if weight > self.limit && !self.is_disk_full {
            match self.runs.write(&mut encode(&self.recent)) {
                Ok(()) => self.recent = HashMap::default(),
                Err(_) => self.is_disk_full = true,
            }
        }
    }

    /// Returns the values of all keys so far, in the order of the keys. A key that recurs begins a
    /// new part.
    pub fn values(&mut self) -> Aggregated<V> {
        self.runs.keep(encode(&std::mem::take(&mut self.recent)));
        Aggregated { runs: self.runs.clone(), of: PhantomData }
    }
}

fn encode<V: Part>(parts: &HashMap<Box<[u8]>, V>) -> Buffer {
    let mut buffer = Buffer::default();
    parts.iter().for_each(|(key, part)| buffer.push_with(key, |bytes| put(part, bytes)));
    buffer
}

/// Appends an encoded value.
pub fn put(value: &impl Serialize, bytes: &mut Vec<u8>) {
    // Encoding fails only for a value of unknown length.
    if let Ok(all) = postcard::to_extend(value, std::mem::take(bytes)) {
        *bytes = all;
    }
}

/// A snapshot of the values of an [`Aggregate`].
pub struct Aggregated<V> {
    runs: Runs,
    of: PhantomData<V>,
}

/// A key and its value.
pub type Keyed<V> = (Box<[u8]>, V);

impl<V: Part> Aggregated<V> {
    /// Returns the values, in the order of their keys.
    pub fn iter(&self) -> io::Result<impl Iterator<Item = io::Result<Keyed<V>>> + use<V>> {
        let mut entries = self.runs.entries()?.peekable();
        Ok(std::iter::from_fn(move || {
            let first = entries.next()?;
            let merged = first.and_then(|first| {
                let mut whole: V = decode(first.value())?;
                let is_same = |next: &io::Result<Entry>| next.as_ref().is_ok_and(|next| next.key() == first.key());
                while let Some(next) = entries.next_if(is_same) {
                    whole.absorb(decode(next?.value())?);
                }
                Ok((first.key().into(), whole))
            });
            Some(merged)
        }))
    }
}

/// Decodes a value that [`put`] has encoded.
pub fn decode<V: DeserializeOwned>(bytes: &[u8]) -> io::Result<V> {
    postcard::from_bytes(bytes).map_err(|_| ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Sum(Vec<u32>);

    impl Part for Sum {
        fn absorb(&mut self, later: Self) {
            self.0.extend(later.0);
        }

        fn weight(&self) -> usize {
            4 * self.0.len()
        }
    }

    fn all(sums: &mut Aggregate<Sum>) -> Vec<(Box<[u8]>, Vec<u32>)> {
        sums.values().iter().unwrap().map(Result::unwrap).map(|(key, sum)| (key, sum.0)).collect()
    }

    #[test]
    fn a_value_is_whole_whether_its_parts_are_in_memory_or_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        let [mut small, mut large] = [200, 1 << 30].map(|limit| Aggregate::<Sum>::new(directory.path(), limit));
        for n in 0..50_000_u32 {
            for sums in [&mut small, &mut large] {
                sums.part((n.wrapping_mul(0x9E37_79B9) % 300).to_be_bytes()).0.push(n);
                sums.relieve();
            }
            if n % 10_000 == 7 {
                assert_eq!(all(&mut small), all(&mut large), "and can go on growing");
            }
        }
        assert!(small.recent.len() < 200 && large.recent.len() == 300);
        assert_eq!(all(&mut small), all(&mut large));
    }

    #[test]
    fn parts_stay_in_memory_if_there_is_no_room_on_disk() {
        let mut sums = Aggregate::<Sum>::new(Path::new("/nowhere"), 10);
        for n in 0..1000_u32 {
            sums.part((n % 100).to_be_bytes()).0.push(n);
            sums.relieve();
        }
        assert_eq!(all(&mut sums).iter().map(|(_, sum)| sum.len()).sum::<usize>(), 1000);
    }
}
