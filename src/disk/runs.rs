//! An external merge sort: returns entries in the order of their keys, in memory that does not grow
//! with their number.
//!
//! Entries are collected in memory and sorted. When they take too much memory, they are written to
//! an unnamed file, called a run. Reading merges the runs, and can be repeated. Entries with the
//! same key are returned in the order in which they were added.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::full_disk;
use crate::positioned::read_at;

/// The number of runs of one level that are merged into one. Reading keeps a block of each run in
/// memory.
const FAN_IN: usize = 16;

/// The uncompressed size of a block, in bytes.
const BLOCK: usize = 32 << 10;

/// The size of a block header in bytes: the compressed length and a checksum.
const BLOCK_HEAD: usize = 8;

/// The size of an entry header in bytes: the lengths of key and value.
const ENTRY_HEAD: usize = 8;

/// A key and a value, in a block of entries.
#[derive(Clone, Debug)]
pub struct Entry {
    block: Arc<Vec<u8>>,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// The offset of the key.
    start: usize,
    key: usize,
    value: usize,
}

impl Place {
    /// Reads the place of the entry at offset `at` of a block.
    fn read(block: &[u8], at: usize) -> io::Result<Self> {
        let head = block.get(at..at + ENTRY_HEAD).ok_or(ErrorKind::InvalidData)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let place = Place { start: at + ENTRY_HEAD, key: number(0), value: number(4) };
        if place.end() <= block.len() { Ok(place) } else { Err(ErrorKind::InvalidData.into()) }
    }

    fn end(&self) -> usize {
        self.start + self.key + self.value
    }

    fn key<'b>(&self, block: &'b [u8]) -> &'b [u8] {
        &block[self.start..self.start + self.key]
    }

    /// Returns the entry with its header.
    fn whole<'b>(&self, block: &'b [u8]) -> &'b [u8] {
        &block[self.start - ENTRY_HEAD..self.end()]
    }
}

impl Entry {
    pub fn key(&self) -> &[u8] {
        self.place.key(&self.block)
    }

    pub fn value(&self) -> &[u8] {
        &self.block[self.place.start + self.place.key..self.place.end()]
    }

    fn whole(&self) -> &[u8] {
        self.place.whole(&self.block)
    }
}

/// Unsorted entries in memory.
#[derive(Default)]
pub struct Buffer {
    block: Vec<u8>,
    places: Vec<Place>,
}

impl Buffer {
    /// Adds an entry. `write` appends the value.
    pub fn push_with(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let head = self.block.len();
        self.block.extend((key.len() as u32).to_le_bytes());
        self.block.extend([0; 4]);
        self.block.extend_from_slice(key);
        let start = self.block.len();
        write(&mut self.block);
        let value = self.block.len() - start;
        self.block[head + 4..head + ENTRY_HEAD].copy_from_slice(&(value as u32).to_le_bytes());
        self.places.push(Place { start: head + ENTRY_HEAD, key: key.len(), value });
    }

    /// Returns the number of bytes of memory in use.
    fn weight(&self) -> usize {
        self.block.len() + self.places.len() * size_of::<Place>()
    }

    fn sort(&mut self) {
        let block = &self.block;
        self.places.sort_by(|one, other| one.key(block).cmp(other.key(block)));
    }
}

/// The sorted runs of a set of entries.
#[derive(Clone)]
pub struct Runs {
    directory: PathBuf,
    runs: Vec<Run>,
}

#[derive(Clone)]
struct Run {
    data: Data,
    /// The number of merges that each entry of the run has passed through.
    level: u32,
}

#[derive(Clone)]
enum Data {
    Memory { block: Arc<Vec<u8>>, places: Arc<[Place]> },
    File { file: Arc<File>, length: u64 },
}

impl Runs {
    /// Creates an empty set. Runs are written to unnamed files in a directory.
    pub fn new(directory: &Path) -> Self {
        Runs { directory: directory.to_owned(), runs: Vec::new() }
    }

    /// Writes entries to disk, and empties the buffer. The error names the directory if its disk is
    /// full. Entries that cannot be written stay in the buffer.
    pub fn write(&mut self, buffer: &mut Buffer) -> io::Result<()> {
        buffer.sort();
        let entries = buffer.places.iter().map(|place| place.whole(&buffer.block));
        let data = write_run(&self.directory, entries.map(Ok));
        let data = data.map_err(|error| full_disk::named(&self.directory, error))?;
        *buffer = Buffer::default();
        self.runs.push(Run { data, level: 0 });
        self.merge_equal().map_err(|error| full_disk::named(&self.directory, error))
    }

    /// Adds entries that stay in memory.
    pub fn keep(&mut self, mut buffer: Buffer) {
        if !buffer.places.is_empty() {
            buffer.sort();
            let data = Data::Memory { block: buffer.block.into(), places: buffer.places.into() };
            self.runs.push(Run { data, level: 0 });
        }
    }

    /// Merges the last runs as long as there are at least [`FAN_IN`] of the same level. Only
    /// adjacent runs are merged, so that entries with the same key keep their order.
    fn merge_equal(&mut self) -> io::Result<()> {
        while let Some(last) = self.runs.last() {
            let level = last.level;
            let equal = self.runs.iter().rev().take_while(|run| run.level == level).count();
            if equal < FAN_IN {
                break;
            }
            let first = self.runs.len() - equal;
            let data = write_run(&self.directory, merge(&self.runs[first..])?)?;
            self.runs.truncate(first);
            self.runs.push(Run { data, level: level + 1 });
        }
        Ok(())
    }

    /// Returns all entries, in the order of their keys.
    pub fn entries(&self) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<>> {
        merge(&self.runs)
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The directory of temporary files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Collects entries in any order.
pub struct Sorter {
    runs: Runs,
    buffer: Buffer,
    limit: usize,
}

impl Sorter {
    /// Creates an empty sorter, which keeps entries of up to `limit` bytes in memory.
    pub fn new(directory: &Path, limit: usize) -> Self {
        Sorter { runs: Runs::new(directory), buffer: Buffer::default(), limit }
    }

    pub fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.push_with(key, |buffer| buffer.extend_from_slice(value))
    }

    /// Adds an entry. `write` appends the value.
    pub fn push_with(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.buffer.push_with(key, write);
        if self.buffer.weight() < self.limit { Ok(()) } else { self.runs.write(&mut self.buffer) }
    }

    /// Ends the sort.
    pub fn finish(mut self) -> Runs {
        self.runs.keep(self.buffer);
        self.runs
    }
}

/// Writes a run. Each block is compressed and has a checksum.
fn write_run<E: AsRef<[u8]>>(directory: &Path, entries: impl Iterator<Item = io::Result<E>>) -> io::Result<Data> {
    let file = tempfile::tempfile_in(directory)?;
    let mut out = BufWriter::new(&file);
    let (mut block, mut length) = (Vec::with_capacity(BLOCK + (BLOCK >> 2)), 0);
    for entry in entries {
        block.extend_from_slice(entry?.as_ref());
        if block.len() >= BLOCK {
            length += write_block(&mut out, &mut block)?;
        }
    }
    length += write_block(&mut out, &mut block)?;
    out.flush()?;
    drop(out);
    Ok(Data::File { file: Arc::new(file), length })
}

/// Writes and empties a block. Returns the number of bytes written.
fn write_block(out: &mut impl Write, block: &mut Vec<u8>) -> io::Result<u64> {
    if block.is_empty() {
        return Ok(0);
    }
    let compressed = lz4_flex::compress_prepend_size(block);
    out.write_all(&(compressed.len() as u32).to_le_bytes())?;
    out.write_all(&crc32fast::hash(&compressed).to_le_bytes())?;
    out.write_all(&compressed)?;
    block.clear();
    Ok((BLOCK_HEAD + compressed.len()) as u64)
}

impl AsRef<[u8]> for Entry {
    fn as_ref(&self) -> &[u8] {
        self.whole()
    }
}

/// A reader of the entries of one run.
struct RunReader {
    run: Run,
    /// The index of the next entry in memory, or the offset of the next block in the file.
    next: u64,
    block: Arc<Vec<u8>>,
    /// The offset of the next entry in the block.
    at: usize,
}

impl RunReader {
    fn next(&mut self) -> io::Result<Option<Entry>> {
        match &self.run.data {
            Data::Memory { block, places } => {
                let place = places.get(self.next as usize);
                self.next += 1;
                Ok(place.map(|place| Entry { block: block.clone(), place: *place }))
            }
            Data::File { file, length } => {
                if self.at == self.block.len() {
                    if self.next == *length {
                        return Ok(None);
                    }
                    let (block, size) = read_block(file, self.next)?;
                    (self.block, self.at, self.next) = (block.into(), 0, self.next + size);
                }
                let place = Place::read(&self.block, self.at)?;
                self.at = place.end();
                Ok(Some(Entry { block: self.block.clone(), place }))
            }
        }
    }
}

/// Reads a block. Returns also the number of bytes that it takes in the file.
fn read_block(file: &File, at: u64) -> io::Result<(Vec<u8>, u64)> {
    let mut head = [0; BLOCK_HEAD];
    read_at(file, &mut head, at)?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let mut compressed = vec![0; number(0) as usize];
    read_at(file, &mut compressed, at + BLOCK_HEAD as u64)?;
    if crc32fast::hash(&compressed) != number(4) {
        return Err(ErrorKind::InvalidData.into());
    }
    let block = lz4_flex::decompress_size_prepended(&compressed).map_err(|_| ErrorKind::InvalidData)?;
    Ok((block, (BLOCK_HEAD + compressed.len()) as u64))
}

/// The next entry of a run, ordered by key and then by the number of the run.
struct Head {
    entry: Entry,
    run: usize,
}

impl Head {
    fn place(&self) -> (&[u8], usize) {
        (self.entry.key(), self.run)
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

fn merge(runs: &[Run]) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<>> {
    let reader = |run: &Run| RunReader { run: run.clone(), next: 0, block: Arc::default(), at: 0 };
    let mut readers: Vec<RunReader> = runs.iter().map(reader).collect();
    let mut heads = BinaryHeap::with_capacity(readers.len());
    for (run, reader) in readers.iter_mut().enumerate() {
        heads.extend(reader.next()?.map(|entry| Reverse(Head { entry, run })));
    }
    Ok(std::iter::from_fn(move || {
        let Reverse(Head { entry, run }) = heads.pop()?;
        match readers[run].next() {
            Ok(next) => heads.extend(next.map(|entry| Reverse(Head { entry, run }))),
            Err(error) => {
                // A run that cannot be read ends the iteration.
                heads.clear();
                return Some(Err(error));
            }
        }
        Some(Ok(entry))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(count: u64, limit: usize) -> Runs {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(directory.path(), limit);
        for n in 0..count {
            let key = (n % 1000).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
            sorter.push(&key, &n.to_be_bytes()).unwrap();
        }
        sorter.finish()
    }

    fn all(runs: &Runs) -> Vec<(Box<[u8]>, u64)> {
        let entries = runs.entries().unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.key().into(), u64::from_be_bytes(entry.value().try_into().unwrap()))).collect()
    }

    #[test]
    fn entries_come_in_the_order_of_their_keys_and_those_of_one_key_as_they_were_added() {
        for (count, limit) in [(0, 100), (1, 100), (3000, 1 << 30), (3000, 1), (50_000, 2000), (50_000, 100_000)] {
            let runs = sorted(count, limit);
            let all = all(&runs);
            assert_eq!(all.len() as u64, count, "{limit}");
            assert!(all.is_sorted(), "{limit}");
            assert!(runs.runs.len() < 4 * FAN_IN, "{} runs", runs.runs.len());
        }
    }

    #[test]
    fn a_set_can_be_read_several_times_at_once() {
        let runs = sorted(20_000, 50_000);
        let pairs = runs.entries().unwrap().zip(runs.entries().unwrap());
        assert_eq!(
            pairs.filter(|(one, other)| one.as_ref().unwrap().whole() == other.as_ref().unwrap().whole()).count(),
            20_000
        );
    }

    #[test]
    fn a_run_that_is_damaged_is_an_error() {
        let runs = sorted(20_000, 100_000);
        let Data::File { file, length } = &runs.runs[0].data else { panic!("the first run is on disk") };
        crate::positioned::write_at(file, &[1, 2, 3], length / 2).unwrap();
        assert!(runs.entries().map_or(true, |mut entries| entries.any(|entry| entry.is_err())));
    }

    #[test]
    fn what_cannot_be_written_stays_in_memory() {
        let mut runs = Runs::new(Path::new("/nowhere"));
        let mut buffer = Buffer::default();
        buffer.push_with(b"key", |_| {});
        assert!(runs.write(&mut buffer).is_err());
        assert_eq!((buffer.places.len(), runs.is_empty()), (1, true), "nothing is lost");
    }
}
