//! Entries that are put by, to be written in the order of their keys.
//!
//! A table lies in the order of its primary key. Scanners count, so that what is read together is written to one place.
//! UIDs that are made of random numbers (PS3.5 B.2) send each row to another place, and a table that is larger than the
//! memory of its server is then read and written page by page, for each row. Of many entries in the order of their keys
//! several meet on a page.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::dicom::Level;
use crate::index::Entry;
use crate::positioned::{read_at, write_at};

/// So many entries are written at a time. Of more, more would meet on a page of the table; but the pages of its other
/// keys, which go by series, would not stay in a server's smallest memory (128 MiB) any more.
const MOST: usize = 300_000;

/// Then what is put by is written, as soon as what came before is: a run that is killed has not much to read again. A
/// table keeps up with what comes so slowly in any order.
const LONGEST: Duration = Duration::from_secs(300);

/// The file is written in pieces of this size.
const PIECE: usize = 1 << 20;

/// In key order: when entries are put by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Their UIDs are random, and the table has outgrown the server's memory.
    Outgrown,
    Always,
    Never,
}

/// Shared by all writers, so that they write to one place of the table. While the entries that came before are written
/// more can be put by.
pub struct PutBy {
    state: Mutex<State>,
    /// A writer has no more to put by.
    ended: Condvar,
}

struct State {
    coming: Sorter,
    going: Sorter,
    /// Those that may still put some by.
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

    /// No more are to be put by for now.
    pub fn is_full(&self) -> bool {
        self.lock().coming.is_full()
    }

    /// So many are put by.
    pub fn entries(&self) -> usize {
        let state = self.lock();
        state.coming.len() + state.going.len()
    }

    /// The next entries in key order, if there are enough of them, or no more come.
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

    /// What nobody is going to take.
    pub fn leave(&self) -> usize {
        let mut state = self.lock();
        state.coming.clear() + state.going.clear()
    }

    /// A writer that may put some by, until it ends or fails.
    pub fn contributor(&self) -> Contributor<'_> {
        Contributor(Some(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A writer that may put some by. Behind the last of them nothing more comes.
pub struct Contributor<'a>(Option<&'a PutBy>);

impl Contributor<'_> {
    /// Ends, and waits until there is something to take or all have ended.
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

/// Entries on disk, taken by their keys when all are there.
struct Sorter {
    /// Without a name, and gone with the run.
    file: File,
    written: u32,
    /// What stands behind that.
    tail: Vec<u8>,
    places: Vec<Place>,
    /// When the first was put.
    since: Option<Instant>,
    disk_is_full: bool,
}

struct Place {
    /// The key, as far as there is room: entries whose keys begin alike come in any order.
    key: [u8; KEY],
    at: u32,
    length: u32,
}

/// A root and fourteen digits of a random number, or more: enough for all pages of a table.
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
                // What cannot be written stays here, and is taken from here.
                Err(_) => self.disk_is_full = true,
            }
        }
    }

    /// The last is taken first.
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

    /// How many there were.
    fn clear(&mut self) -> usize {
        (self.written, self.since, self.disk_is_full) = (0, None, false);
        self.tail = Vec::new();
        // Room that is not given back is used again.
        let _ = self.file.set_len(0);
        std::mem::take(&mut self.places).len()
    }
}

/// Digits that a number has which stands for a UUID, nearly always, and no counter or date.
const DIGITS: usize = 34;

/// Whether a UID was made of random numbers: of a UUID, or by programs that anonymise.
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

    /// A disk that takes nothing, and one that does.
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
            // Ends by itself, as one does that has failed.
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
