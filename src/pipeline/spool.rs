//! Records that are kept on disk until the end of a run, so that an archive of any size costs no
//! memory.
//!
//! The file is created in the directory of the list of rejected files, has no name, and is deleted
//! when the run ends. A record stores only its difference from the previous one: paths of one
//! directory take few bytes each.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::full_disk;

pub struct Spool(Mutex<State>);

struct State {
    directory: PathBuf,
    out: BufWriter<File>,
    last: Vec<u8>,
    /// The first error. It is reported at the end: files are still worth indexing.
    failed: Option<io::Error>,
}

impl Spool {
    pub fn create(directory: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(directory).map_err(|error| full_disk::named(directory, error))?;
        let state =
            State { directory: directory.to_owned(), out: BufWriter::new(file), last: Vec::new(), failed: None };
        Ok(Spool(Mutex::new(state)))
    }

    pub fn append<T: AsRef<[u8]>>(&self, records: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        for record in records {
            if state.failed.is_none()
                && let Err(error) = state.append(record.as_ref())
            {
                state.failed = Some(full_disk::named(&state.directory, error));
            }
        }
    }

    /// Calls `each` with all records in order, until it breaks.
    pub fn replay(&self, each: impl FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<()> {
        let mut state = self.lock();
        match state.failed.take() {
            Some(error) => Err(error),
            None => state.replay(each).map_err(|error| full_disk::named(&state.directory, error)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let most = record.len().min(self.last.len()).min(u16::MAX.into());
        let shared = (0..most).find(|n| record[*n] != self.last[*n]).unwrap_or(most);
        let rest = &record[shared..];
        let length = u16::try_from(rest.len()).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        self.out.write_all(&(shared as u16).to_le_bytes())?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(rest)?;
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
        Ok(())
    }

    fn replay(&mut self, mut each: impl FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<()> {
        self.out.flush()?;
        let mut file = self.out.get_ref();
        file.rewind()?;
        let mut records = BufReader::new(file);
        let mut record = Vec::new();
        let mut lengths = [0; 4];
        while !records.fill_buf()?.is_empty() {
            records.read_exact(&mut lengths)?;
            let [shared, rest] = [[lengths[0], lengths[1]], [lengths[2], lengths[3]]].map(u16::from_le_bytes);
            record.resize(usize::from(shared) + usize::from(rest), 0);
            records.read_exact(&mut record[shared.into()..])?;
            if each(&record).is_break() {
                break;
            }
        }
        file.seek(SeekFrom::End(0)).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spool: &Spool) -> Vec<String> {
        let mut found = Vec::new();
        let each = |record: &[u8]| {
            found.push(String::from_utf8(record.to_vec()).unwrap());
            ControlFlow::Continue(())
        };
        spool.replay(each).unwrap();
        found
    }

    #[test]
    fn records_come_back_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::create(directory.path()).unwrap();
        let records = ["/d/1.2.3", "/d/1.2.4", "", "/d/1.2", "/d/1.2.33", "/d/1.2.33"];
        spool.append(records);
        assert_eq!(all(&spool), records);
        spool.append(["/e"]);
        assert_eq!(all(&spool).len(), 7, "one that was read can be written on");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "it has no name");
    }

    #[test]
    fn a_record_that_cannot_be_kept_is_an_error_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::create(directory.path()).unwrap();
        spool.append([vec![b'x'; 70_000]]);
        assert!(spool.replay(|_| ControlFlow::Continue(())).is_err());
    }
}
