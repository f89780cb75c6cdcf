//! Buffer on disk that sorts entries by primary key before they are inserted.
//!
//! A table is stored in the order of its primary key. Scanners use counters in their UIDs, so files
//! that are read together are written to one place of the table. UIDs made of random numbers (PS3.5
//! B.2) send each row to a different place, so that the server reads and writes a page for each row
//! of a table that is larger than its memory. If many entries are written in key order, several of
//! them share a page.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::dicom::Level;
use crate::index::Entry;
use crate::positioned::{read_at, write_at};

/// Maximum number of entries to sort at a time. With more entries, more rows would share a page of
/// the table; but the pages of its other keys, which are ordered by series, would no longer fit
/// into the smallest memory of a server (128 MiB).
const MOST: usize = 300_000;

/// Maximum age of the first buffered entry. After this time, the entries are written even if the
/// buffer is not full, once the previous ones are written, so that a killed run has little to read
/// again. If entries arrive this slowly, the table keeps up with them in any order.
const LONGEST: Duration = Duration::from_secs(300);

/// The file is written in chunks of this size, in bytes.
const PIECE: usize = 1 << 20;

/// When entries are buffered, to be written in key order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// If their UIDs are random and the table is larger than the memory of the server.
    Outgrown,
    Always,
    Never,
}

/// The buffer that all writers share, so that they write to one place of the table. More entries
/// can be added while the previous ones are written.
pub struct PutBy {
    state: Mutex<State>,
    /// Signals that a writer has no more entries to add, or that entries are ready to be taken.
    ended: Condvar,
}

struct State {
    coming: Sorter,
    going: Sorter,
    /// The number of writers that may still add entries.
    writers: usize,
}

impl PutBy {
    pub fn new(directory: &Path, writers: usize) -> io::Result<Self> {
        let sorter = || tempfile::tempfile_in(directory).map(Sorter::new);
        let state = State { coming: sorter()?, going: sorter()?, writers };
        Ok(PutBy { state: Mutex::new(state), ended: Condvar::new() })
    }

    pub fn put<'e>(&self, entries: impl IntoIterator<Item = &'e Entry>) {
        let mut state = self.lock();
        entries.into_iter().for_each(|entry| state.coming.put(entry));
    }

    /// Returns whether the buffer accepts no more entries for now.
    pub fn is_full(&self) -> bool {
        self.lock().coming.is_full()
    }

    /// Returns the number of buffered entries.
    pub fn entries(&self) -> usize {
        let state = self.lock();
        state.coming.len() + state.going.len()
    }

    /// Takes the next entries in key order, if enough are buffered or no writer will add more.
    pub fn take(&self, most: usize, term: &'static str) -> io::Result<Vec<Entry>> {
        let mut state = self.lock();
        if state.going.len() == 0 && (state.coming.is_due() || (state.writers == 0 && state.coming.len() > 0)) {
            let State { coming, going, .. } = &mut *state;
            std::mem::swap(coming, going);
            going.sort();
            self.ended.notify_all();
        }
        state.going.take(most, term)
    }

    /// Discards the entries that no writer will take. Returns their number.
    pub fn leave(&self) -> usize {
        let mut state = self.lock();
        state.coming.clear() + state.going.clear()
    }

    /// Returns a guard for a writer that may add entries until the guard ends or is dropped.
    pub fn contributor(&self) -> Contributor<'_> {
        Contributor(Some(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guard for a writer that may add entries. After the last guard has ended, no more entries are
/// added.
pub struct Contributor<'a>(Option<&'a PutBy>);

impl Contributor<'_> {
    /// Ends this guard, and waits until entries can be taken or all guards have ended.
    pub fn end(&mut self) {
        let Some(put_by) = self.0.take() else { return };
        let mut state = put_by.lock();
        state.writers -= 1;
        put_by.ended.notify_all();
        while state.writers > 0 && state.going.len() == 0 {
            state = put_by.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Contributor<'_> {
    fn drop(&mut self) {
        if let Some(put_by) = self.0 {
            put_by.lock().writers -= 1;
            put_by.ended.notify_all();
        }
    }
}

/// Entries on disk, which are taken in key order once all are added.
struct Sorter {
    /// A file without a name, which the system deletes when the run ends.
    file: File,
    written: u32,
    /// The entries behind the written part of the file.
    tail: Vec<u8>,
    places: Vec<Place>,
    /// When the first entry was added.
    since: Option<Instant>,
    disk_is_full: bool,
}

struct Place {
    /// A prefix of the key. Entries whose keys have the same prefix come in any order.
    key: [u8; KEY],
    at: u32,
    length: u32,
}

/// Length of a key prefix in bytes: a UID root and at least fourteen digits of a random number,
/// enough to distinguish all pages of a table.
const KEY: usize = 40;

impl Sorter {
    fn new(file: File) -> Self {
        Sorter { file, written: 0, tail: Vec::new(), places: Vec::new(), since: None, disk_is_full: false }
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    fn is_full(&self) -> bool {
        self.len() >= MOST || self.written >= u32::MAX / 2 || self.disk_is_full
    }

    fn is_due(&self) -> bool {
        self.is_full() || self.since.is_some_and(|since| since.elapsed() >= LONGEST)
    }

    fn put(&mut self, entry: &Entry) {
        let from = self.tail.len();
        entry.pack(&mut self.tail);
        let (at, length) = (self.written + from as u32, (self.tail.len() - from) as u32);
        let mut key = [0; KEY];
        key.iter_mut().zip(entry.key(Level::Instance).bytes()).for_each(|(key, byte)| *key = byte);
        if self.places.capacity() == 0 {
            self.places.reserve_exact(MOST);
        }
        self.since.get_or_insert_with(Instant::now);
        self.places.push(Place { key, at, length });
        if self.tail.len() >= PIECE && !self.disk_is_full {
            match write_at(&self.file, &self.tail, self.written.into()) {
                Ok(()) => {
                    self.written += self.tail.len() as u32;
                    self.tail.clear();
                }
                // Entries that cannot be written stay in memory and are taken from there.
                Err(_) => self.disk_is_full = true,
            }
        }
    }

    /// Sorts in descending order, because entries are taken from the end.
    fn sort(&mut self) {
        self.places.sort_unstable_by(|a, b| b.key.cmp(&a.key).then(b.at.cmp(&a.at)));
    }

    fn take(&mut self, most: usize, term: &'static str) -> io::Result<Vec<Entry>> {
        let rest = self.len().saturating_sub(most);
        let entries = self.places[rest..].iter().rev().map(|place| self.entry(place, term));
        let entries = entries.collect::<io::Result<Vec<_>>>()?;
        self.places.truncate(rest);
        if self.places.is_empty() {
            self.clear();
        }
        Ok(entries)
    }

    fn entry(&self, place: &Place, term: &'static str) -> io::Result<Entry> {
        let mut bytes = vec![0; place.length as usize];
        match place.at.checked_sub(self.written) {
            Some(at) => bytes.copy_from_slice(&self.tail[at as usize..][..place.length as usize]),
            None => read_at(&self.file, &mut bytes, place.at.into())?,
        }
        Entry::unpack(&bytes, term).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Empties the sorter. Returns the number of entries that it contained.
    fn clear(&mut self) -> usize {
        (self.written, self.since, self.disk_is_full) = (0, None, false);
        self.tail = Vec::new();
        // If the file cannot be truncated, its space is reused.
        let _ = self.file.set_len(0);
        std::mem::take(&mut self.places).len()
    }
}

/// Minimum number of digits of a last UID component that counts as random. Nearly every UUID in
/// decimal is this long; counters and dates are shorter.
const DIGITS: usize = 34;

/// Returns whether a UID is made of random numbers: of a UUID, or by a program that anonymizes.
pub fn is_random(uid: &str) -> bool {
    uid.rsplit('.').next().is_some_and(|last| last.len() >= DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::FileState;
    use crate::dicom::{Instance, Table};
    use crate::index::entry::FileRecord;
    use crate::index::entry::StoredFile;

    fn entry(n: u32) -> Entry {
        let uid = format!("2.25.{}", u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let keys = Table::CORE.map(|table| (table, table.key(), uid.as_str()));
        let instance = Instance::with_texts(&keys);
        let file = StoredFile { path: format!("/store/{n}").into(), modified: -5, size: 7, root: 1 };
        let state = FileState { size: 7, modified: 3 };
        let received = jiff::civil::date(2021, 11, 12).at(1, 2, 3, 0);
        Entry::new(
            instance,
            file,
            format!("D:/{n}"),
            received,
            "UTF-8",
            FileRecord { state, leads_on: false, bytes: vec![8; 3000] },
        )
    }

    fn keys(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|entry| entry.key(Level::Instance).to_owned()).collect()
    }

    /// Covers a disk that is full and one that is not.
    #[test]
    fn entries_come_back_in_key_order_and_as_they_were_though_the_disk_be_full() {
        let full = File::options().read(true).write(true).open("/dev/full").unwrap();
        for (file, is_full) in [(tempfile::tempfile().unwrap(), false), (full, true)] {
            let mut sorter = Sorter::new(file);
            let entries: Vec<Entry> = (0..1000).map(entry).collect();
            entries.iter().for_each(|entry| sorter.put(entry));
            assert_eq!((sorter.len(), sorter.is_full()), (1000, is_full));
            sorter.sort();
            let mut back = Vec::new();
            while sorter.len() > 0 {
                back.extend(sorter.take(300, "UTF-8").unwrap());
            }
            let mut sorted = keys(&entries);
            sorted.sort();
            assert_eq!(keys(&back), sorted);
            let shown = |entry: &Entry| format!("{:?} {:?} {:?}", entry.file, entry.record, entry.received());
            let (mut back, mut put) =
                (Vec::from_iter(back.iter().map(shown)), Vec::from_iter(entries.iter().map(shown)));
            back.sort();
            put.sort();
            assert_eq!(back, put);
        }
    }

    #[test]
    fn what_is_put_by_is_taken_when_no_writer_has_more() {
        let directory = tempfile::tempdir().unwrap();
        let put_by = PutBy::new(directory.path(), 2).unwrap();
        let (mut one, two) = (put_by.contributor(), put_by.contributor());
        put_by.put(&[entry(1), entry(2)]);
        assert!(put_by.take(10, "UTF-8").unwrap().is_empty(), "more may come");
        std::thread::scope(|scope| {
            scope.spawn(move || one.end());
            // Ends by itself, like a writer that has failed.
            drop(two);
        });
        assert_eq!(put_by.take(10, "UTF-8").unwrap().len(), 2);
    }

    #[test]
    fn uids_of_scanners_are_told_from_random_ones() {
        let random = [
            "2.25.329800735698586629295641978511506172918",
            "1.2.826.0.1.3680043.8.498.52037166120934811926143190837460182734",
        ];
        let counted = [
            "1.2.840.113619.2.55.3.604688119.971.1318585301.17",
            "1.3.12.2.1107.5.2.30.25538.30000006042812183417400009214",
            "1.2.3",
            "",
        ];
        assert!(random.into_iter().all(is_random) && !counted.into_iter().any(is_random));
    }
}
