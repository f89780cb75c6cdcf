//! A file that several threads append to. A background thread can begin to write it to disk before
//! a caller has to wait for that.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crossbeam_channel::{Sender, bounded};

use crate::positioned::write_at;

pub struct SyncedFile {
    shared: Arc<Shared>,
    /// Wakes the thread that syncs ahead. The thread ends when the sender is dropped.
    wake: OnceLock<Sender<()>>,
}

struct Shared {
    file: File,
    state: Mutex<State>,
    /// The offset up to which the file is on disk.
    synced: Mutex<u64>,
}

struct State {
    end: u64,
    /// The first error. Nothing is appended after it.
    failed: Option<io::Error>,
}

impl SyncedFile {
    /// Wraps a file to which the next bytes are appended at `end`.
    pub fn new(file: File, end: u64) -> Self {
        let state = Mutex::new(State { end, failed: None });
        SyncedFile { shared: Arc::new(Shared { file, state, synced: Mutex::new(0) }), wake: OnceLock::new() }
    }

    pub fn file(&self) -> &File {
        &self.shared.file
    }

    /// Returns the offset at which the next bytes are appended.
    pub fn end(&self) -> u64 {
        self.shared.lock().end
    }

    pub fn set_end(&self, end: u64) {
        self.shared.lock().end = end;
    }

    /// Returns the error that prevented a write to the file, if there was one.
    pub fn failure(&self) -> Option<io::Error> {
        self.shared.lock().failed.as_ref().map(copy)
    }

    /// Appends bytes, unless an earlier write has failed: a gap in the file would mislead its
    /// readers. Returns the offset of the bytes.
    pub fn append(&self, bytes: &[u8]) -> u64 {
        let mut state = self.shared.lock();
        let at = state.end;
        if state.failed.is_some() {
            return at;
        }
        match write_at(&self.shared.file, bytes, at) {
            Ok(()) => state.end += bytes.len() as u64,
            Err(error) => {
                // Cuts off a partial write, so that readers find the last complete frame.
                let _ = self.shared.file.set_len(at);
                state.failed = Some(error);
            }
        }
        at
    }

    /// Writes to disk all bytes that were appended before this call. Concurrent calls share the
    /// work.
    pub fn sync(&self) {
        self.shared.sync();
    }

    /// Begins to write to disk all bytes that were appended before this call, without waiting. If
    /// the thread cannot be started, [`SyncedFile::sync`] does all the work.
    pub fn sync_ahead(&self) {
        let wake = self.wake.get_or_init(|| {
            let (wake, woken) = bounded(1);
            let shared = self.shared.clone();
            let sync = move || woken.iter().for_each(|()| shared.sync());
            let _ = std::thread::Builder::new().name("sync".into()).spawn(sync);
            wake
        });
        // If the channel is full, the thread has not started on the request before, which will
        // include these bytes.
        let _ = wake.try_send(());
    }
}

impl Shared {
    fn sync(&self) {
        let appended = self.lock().end;
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= appended {
            return;
        }
        let end = self.lock().end;
        match self.file.sync_data() {
            Ok(()) => *synced = end,
            Err(error) => drop(self.lock().failed.get_or_insert(error)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a copy of an error.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_synced_ahead_are_on_disk_when_a_caller_has_waited() {
        let file = SyncedFile::new(tempfile::tempfile().unwrap(), 0);
        for n in 1..=50 {
            file.append(b"some bytes");
            file.sync_ahead();
            file.append(b"more");
            file.sync();
            assert_eq!(*file.shared.synced.lock().unwrap(), n * 14);
        }
        assert!(file.failure().is_none());
    }

    #[test]
    fn a_file_that_cannot_be_written_keeps_its_first_error() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = SyncedFile::new(File::open(path.path()).unwrap(), 0);
        assert_eq!((file.append(b"one"), file.append(b"two"), file.end()), (0, 0, 0));
        file.sync_ahead();
        assert!(file.failure().is_some());
    }
}
