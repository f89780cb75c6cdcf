//! Tables of fixed-size records on disk, sorted by their bytes and searched by a prefix. The
//! records are not kept in memory, neither while a table is written nor while it is searched.
//!
//! A table is written by an external sort: portions that fit into memory are sorted and written to
//! temporary files, which are merged at the end. The records are followed by fences, the first
//! record of each block, so that a lookup reads only one or two blocks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::full_disk;
use crate::positioned::read_at;

/// The number of bytes that are sorted in memory at a time; several sorters run at once.
const PORTION: usize = 2 << 20;

/// The maximum number of sorted portions on disk. When it is reached, all are merged into one, so
/// that the number of open files is bounded.
const MOST_PORTIONS: usize = 64;

/// The number of bytes that a lookup reads at a time: a page.
const BLOCK: usize = 4096;

/// Caller-defined numbers that are stored in a table.
pub type Note = [u64; 6];

/// The size of the note, the number of records, and a checksum of the fences and of these numbers,
/// in bytes.
const FOOTER: usize = 8 * (NOTE + 1) + 4;
const NOTE: usize = size_of::<Note>() / 8;

/// Collects records in any order.
pub struct Sorter<const N: usize> {
    directory: PathBuf,
    portion: Vec<[u8; N]>,
    /// The size of a portion, in bytes.
    limit: usize,
    put_aside: Vec<File>,
}

impl<const N: usize> Sorter<N> {
    /// Creates a sorter that stores portions in unnamed files in this directory.
    pub fn new(directory: &Path) -> Self {
        Sorter { directory: directory.to_owned(), portion: Vec::new(), limit: PORTION, put_aside: Vec::new() }
    }

    pub fn push(&mut self, record: [u8; N]) -> io::Result<()> {
        self.portion.push(record);
        if self.portion.len() * N < self.limit {
            return Ok(());
        }
        self.put_aside().map_err(|error| full_disk::named(&self.directory, error))
    }

    fn put_aside(&mut self) -> io::Result<()> {
        self.portion.sort_unstable();
        if self.put_aside.len() == MOST_PORTIONS {
            let former = std::mem::take(&mut self.put_aside);
            let sources = former.into_iter().map(|file| Box::new(records(file, u64::MAX)) as Source<N>).collect();
            let merged = self.write_portion(|write| merge(sources, write))?;
            self.put_aside.push(merged);
        }
        let portion = std::mem::take(&mut self.portion);
        let written = self.write_portion(|write| portion.iter().copied().try_for_each(write))?;
        self.put_aside.push(written);
        self.portion = portion;
        self.portion.clear();
        Ok(())
    }

    /// Writes sorted records to an unnamed file, and rewinds the file for reading.
    fn write_portion(
        &self,
        write_all: impl FnOnce(&mut dyn FnMut([u8; N]) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<File> {
        let mut out = BufWriter::new(tempfile::tempfile_in(&self.directory)?);
        write_all(&mut |record| out.write_all(&record))?;
        let mut file = out.into_inner()?;
        file.rewind()?;
        Ok(file)
    }

    /// Writes a table of these records, and of the records of other tables, to an empty file. Of
    /// the records that share the first `prefix` bytes, only the last one is kept.
    pub fn finish(self, others: &[Table<N>], prefix: usize, note: Note, file: File) -> io::Result<Table<N>> {
        let directory = self.directory.clone();
        self.merge_into(others, prefix, note, file).map_err(|error| full_disk::named(&directory, error))
    }

    fn merge_into(mut self, others: &[Table<N>], prefix: usize, note: Note, file: File) -> io::Result<Table<N>> {
        self.portion.sort_unstable();
        let mut sources: Vec<Source<N>> = vec![Box::new(self.portion.into_iter().map(Ok))];
        sources.extend(self.put_aside.into_iter().map(|file| Box::new(records(file, u64::MAX)) as Source<N>));
        for table in others {
            sources.push(Box::new(table.records()?));
        }
        let mut out = TableWriter::new(file);
        let mut last: Option<[u8; N]> = None;
        merge(sources, |record| match last.replace(record) {
            Some(before) if before[..prefix] != record[..prefix] => out.write(&before),
            _ => Ok(()),
        })?;
        last.iter().try_for_each(|record| out.write(record))?;
        out.finish(note)
    }
}

type Source<const N: usize> = Box<dyn Iterator<Item = io::Result<[u8; N]>>>;

fn merge<const N: usize>(
    mut sources: Vec<Source<N>>,
    mut each: impl FnMut([u8; N]) -> io::Result<()>,
) -> io::Result<()> {
    let mut heads = BinaryHeap::new();
    for (n, source) in sources.iter_mut().enumerate() {
        heads.extend(source.next().transpose()?.map(|record| Reverse((record, n))));
    }
    while let Some(Reverse((record, n))) = heads.pop() {
        each(record)?;
        heads.extend(sources[n].next().transpose()?.map(|record| Reverse((record, n))));
    }
    Ok(())
}

/// Returns `count` records of a file from its current position, or with `u64::MAX` all records up
/// to its end.
fn records<const N: usize>(file: File, count: u64) -> impl Iterator<Item = io::Result<[u8; N]>> {
    let mut file = BufReader::new(file);
    let mut left = count;
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let mut record = [0; N];
        match file.read_exact(&mut record) {
            Ok(()) => Some(Ok(record)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && count == u64::MAX => None,
            Err(error) => Some(Err(error)),
        }
    })
}

struct TableWriter<const N: usize> {
    out: BufWriter<File>,
    fences: Vec<[u8; N]>,
    count: u64,
}

impl<const N: usize> TableWriter<N> {
    fn new(file: File) -> Self {
        TableWriter { out: BufWriter::with_capacity(1 << 16, file), fences: Vec::new(), count: 0 }
    }

    fn write(&mut self, record: &[u8; N]) -> io::Result<()> {
        if self.count.is_multiple_of(Table::<N>::PER_BLOCK) {
            self.fences.push(*record);
        }
        self.count += 1;
        self.out.write_all(record)
    }

    fn finish(mut self, note: Note) -> io::Result<Table<N>> {
        self.fences.iter().try_for_each(|fence| self.out.write_all(fence))?;
        let mut footer = Vec::with_capacity(FOOTER);
        note.iter().chain([&self.count]).for_each(|number| footer.extend(number.to_le_bytes()));
        footer.extend(checksum(&self.fences, &footer).to_le_bytes());
        self.out.write_all(&footer)?;
        Ok(Table { file: self.out.into_inner()?, fences: self.fences, count: self.count, note })
    }
}

fn checksum<const N: usize>(fences: &[[u8; N]], footer: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fences.as_flattened());
    hasher.update(footer);
    hasher.finalize()
}

/// A sorted table on disk.
pub struct Table<const N: usize> {
    file: File,
    fences: Vec<[u8; N]>,
    pub count: u64,
    pub note: Note,
}

/// The block that was read last. Lookups in the order of the table read each block once.
pub struct Cursor<const N: usize> {
    block: Option<usize>,
    records: Vec<[u8; N]>,
}

impl<const N: usize> Default for Cursor<N> {
    fn default() -> Self {
        Cursor { block: None, records: Vec::new() }
    }
}

impl<const N: usize> Table<N> {
    const PER_BLOCK: u64 = (BLOCK / N) as u64;

    /// Opens an existing table. A truncated file, or one with damaged fences or a damaged footer,
    /// is an error.
    pub fn open(file: File) -> io::Result<Self> {
        let invalid = || io::Error::from(ErrorKind::InvalidData);
        let length = file.metadata()?.len();
        let mut footer = [0; FOOTER];
        let at = length.checked_sub(FOOTER as u64).ok_or_else(invalid)?;
        read_at(&file, &mut footer, at)?;
        let number = |n: usize| u64::from_le_bytes(footer[n * 8..n * 8 + 8].try_into().expect("eight bytes"));
        let count = number(NOTE);
        let blocks = count.div_ceil(Self::PER_BLOCK);
        let fences_at = count.checked_mul(N as u64).ok_or_else(invalid)?;
        if fences_at.checked_add(blocks * N as u64) != Some(at) {
            return Err(invalid());
        }
        let mut fences = vec![[0; N]; blocks as usize];
        read_at(&file, fences.as_flattened_mut(), fences_at)?;
        if footer[FOOTER - 4..] != checksum(&fences, &footer[..FOOTER - 4]).to_le_bytes() {
            return Err(invalid());
        }
        Ok(Table { file, fences, count, note: std::array::from_fn(number) })
    }

    /// Returns the first record that begins with a prefix.
    pub fn find(&self, prefix: &[u8], cursor: &mut Cursor<N>) -> io::Result<Option<[u8; N]>> {
        // The record may be at the end of the block before the first fence that is not smaller.
        let behind = self.fences.partition_point(|fence| fence[..] < *prefix);
        for block in behind.saturating_sub(1)..(behind + 1).min(self.fences.len()) {
            let records = self.block(block, cursor)?;
            let at = records.partition_point(|record| record[..] < *prefix);
            if let Some(record) = records.get(at) {
                return Ok(Some(*record).filter(|record| record.starts_with(prefix)));
            }
        }
        Ok(None)
    }

    /// Calls a function with each record that begins with a prefix, in their order.
    pub fn scan(&self, prefix: &[u8], cursor: &mut Cursor<N>, mut each: impl FnMut(&[u8; N])) -> io::Result<()> {
        let behind = self.fences.partition_point(|fence| fence[..] < *prefix);
        for block in behind.saturating_sub(1)..self.fences.len() {
            let records = self.block(block, cursor)?;
            let from = records.partition_point(|record| record[..] < *prefix);
            for record in &records[from..] {
                if !record.starts_with(prefix) {
                    return Ok(());
                }
                each(record);
            }
        }
        Ok(())
    }

    fn block<'c>(&self, block: usize, cursor: &'c mut Cursor<N>) -> io::Result<&'c [[u8; N]]> {
        if cursor.block != Some(block) {
            cursor.block = None;
            let first = block as u64 * Self::PER_BLOCK;
            cursor.records.resize((self.count - first).min(Self::PER_BLOCK) as usize, [0; N]);
            read_at(&self.file, cursor.records.as_flattened_mut(), first * N as u64)?;
            cursor.block = Some(block);
        }
        Ok(&cursor.records)
    }

    /// Returns all records, in their order.
    pub fn records(&self) -> io::Result<impl Iterator<Item = io::Result<[u8; N]>> + use<N>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(records(file, self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64) -> [u8; 16] {
        let mut record = [0; 16];
        record[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        record[8..].copy_from_slice(&n.to_be_bytes());
        record
    }

    #[test]
    fn every_record_is_found_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        for count in [0, 1, 255, 256, 257, 20_000] {
            let mut sorter = Sorter::new(directory.path());
            for n in 0..count {
                sorter.push(record(n)).unwrap();
                if n % 5000 == 4999 {
                    sorter.put_aside().unwrap();
                }
            }
            let path = directory.path().join(format!("table-{count}"));
            let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
            sorter.finish(&[], 8, [1, 2, 3, 4, 5, 6], file).unwrap();
            let table = Table::<16>::open(File::open(&path).unwrap()).unwrap();
            assert_eq!((table.count, table.note), (count, [1, 2, 3, 4, 5, 6]));
            let mut cursor = Cursor::default();
            for n in 0..count + 100 {
                let found = table.find(&record(n)[..8], &mut cursor).unwrap();
                assert_eq!(found, (n < count).then(|| record(n)), "{n} of {count}");
            }
        }
    }

    #[test]
    fn records_of_more_portions_than_are_kept_apart_are_sorted() {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(directory.path());
        sorter.limit = 160;
        let count = 10 * 3 * MOST_PORTIONS as u64 + 5;
        for n in 0..count {
            sorter.push(record(n)).unwrap();
            assert!(sorter.put_aside.len() <= MOST_PORTIONS);
        }
        let table = sorter.finish(&[], 8, Note::default(), tempfile::tempfile().unwrap()).unwrap();
        let found: Vec<[u8; 16]> = table.records().unwrap().map(Result::unwrap).collect();
        let mut expected: Vec<[u8; 16]> = (0..count).map(record).collect();
        expected.sort_unstable();
        assert!(found == expected);
    }

    #[test]
    fn of_records_with_one_prefix_the_last_stays() {
        let directory = tempfile::tempdir().unwrap();
        let with = |prefix: u8, rest: u8| [prefix, rest, 0, 0];
        let table = |records: &[[u8; 4]], others: &[Table<4>]| {
            let mut sorter = Sorter::new(directory.path());
            records.iter().for_each(|record| sorter.push(*record).unwrap());
            sorter.finish(others, 1, Note::default(), tempfile::tempfile().unwrap()).unwrap()
        };
        let old = table(&[with(1, 1), with(2, 1), with(1, 2)], &[]);
        let new = table(&[with(2, 3), with(3, 1)], &[old]);
        let all: Vec<[u8; 4]> = new.records().unwrap().map(Result::unwrap).collect();
        assert_eq!(all, [with(1, 2), with(2, 3), with(3, 1)]);
    }

    #[test]
    fn a_table_that_is_not_whole_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("table");
        let mut sorter = Sorter::new(directory.path());
        (0..1000).for_each(|n| sorter.push(record(n)).unwrap());
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        sorter.finish(&[], 8, Note::default(), file).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 10, whole.len() - 1, whole.len() - 100] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Table::<16>::open(File::open(&path).unwrap()).is_err(), "{length}");
        }
        for at in [16_010, whole.len() - 1, whole.len() - 6] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert!(Table::<16>::open(File::open(&path).unwrap()).is_err(), "{at}");
        }
    }
}
