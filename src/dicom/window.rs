//! A small window over a file: buffered bytes, and a position that can skip values without reading
//! them.
//!
//! [`PEEK_LIMIT`] bounds the memory, regardless of the lengths that a file declares. [`READ_LIMIT`]
//! bounds the number of bytes that are read from a file, and, with `READ_COST`, the number of
//! system calls.

use std::io;

/// The size of one read in bytes. Most headers end within it, so that larger reads cost more than
/// they save.
pub const WINDOW: usize = 8 * 1024;

/// The maximum number of buffered bytes: a long value, or the bytes up to the element behind a
/// doubtful one.
pub const PEEK_LIMIT: usize = 64 * 1024;

/// The maximum number of bytes that are read from one file. Values are skipped by position, so that
/// only a header with very many small elements comes near the limit.
pub const READ_LIMIT: u64 = 64 * 1024 * 1024;

/// The minimum number of bytes that a read counts as. On a network file system, a call takes a
/// round trip, however few bytes are read.
const READ_COST: u64 = 4 * 1024;

/// A source of bytes at an offset. Requested offsets never decrease by more than a window, unless
/// the size is known.
pub trait Source {
    /// Reads some bytes at `offset`; 0 means the end.
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Returns the size, if it is known before the end is reached. A source of known size can be
    /// read at any offset.
    fn size(&self) -> Option<u64>;
}

impl Source for &[u8] {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn size(&self) -> Option<u64> {
        Some(self.len() as u64)
    }
}

/// The reason why bytes could not be read.
#[derive(Debug)]
pub enum Trouble {
    Io(io::Error),
    /// [`READ_LIMIT`], or the allowed part of it, is used up.
    Limit,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Io(error)
    }
}

pub struct Window<'b, S> {
    source: S,
    buffer: &'b mut Vec<u8>,
    /// The offset of the first byte of the buffer.
    start: u64,
    filled: usize,
    position: u64,
    read: u64,
    limit: u64,
}

impl<'b, S: Source> Window<'b, S> {
    /// Creates a window. `buffer` is reused from file to file.
    pub fn new(source: S, buffer: &'b mut Vec<u8>) -> Self {
        // A long value grows the buffer; the next file releases the memory.
        buffer.truncate(WINDOW);
        buffer.shrink_to(WINDOW);
        buffer.resize(WINDOW, 0);
        Window { source, buffer, start: 0, filled: 0, position: 0, read: 0, limit: READ_LIMIT }
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn size(&self) -> Option<u64> {
        self.source.size()
    }

    /// Returns the next `n` bytes, or fewer at the end. `n` is at most [`PEEK_LIMIT`].
    #[inline]
    pub fn peek(&mut self, n: usize) -> Result<&[u8], Trouble> {
        if self.at_hand(self.position) < n {
            self.fill(n)?;
        }
        let from = (self.position - self.start).min(self.filled as u64) as usize;
        Ok(&self.buffer[from..(from + n).min(self.filled)])
    }

    /// Returns the `N` bytes that are `ahead` bytes behind the position. `None` if the file ends
    /// before them, or if they are too far away for a source that is only read forwards.
    pub fn look_ahead<const N: usize>(&mut self, ahead: u64) -> Result<Option<[u8; N]>, Trouble> {
        let near = usize::try_from(ahead).ok().filter(|ahead| *ahead <= PEEK_LIMIT - N);
        match near {
            Some(near) if near < WINDOW || self.source.size().is_none() => {
                let bytes = self.peek(near + N)?;
                Ok(bytes.get(near..).and_then(|bytes| bytes.first_chunk()).copied())
            }
            _ if self.source.size().is_some() => self.read_aside(self.position.saturating_add(ahead)),
            _ => Ok(None),
        }
    }

    /// Reads bytes at any offset without moving the window.
    fn read_aside<const N: usize>(&mut self, place: u64) -> Result<Option<[u8; N]>, Trouble> {
        let (mut bytes, mut filled) = ([0; N], 0);
        while filled < N {
            if self.read >= self.limit {
                return Err(Trouble::Limit);
            }
            self.read += READ_COST;
            match self.source.read_at(&mut bytes[filled..], place.saturating_add(filled as u64)) {
                Ok(0) => return Ok(None),
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(bytes))
    }

    pub fn advance(&mut self, n: u64) {
        self.position = self.position.saturating_add(n);
    }

    /// Moves back to an offset that the window has passed. Returns whether the source can be read
    /// there again.
    pub fn return_to(&mut self, place: u64) -> bool {
        let can_return = place >= self.start || self.source.size().is_some();
        if can_return {
            self.position = place;
        }
        can_return
    }

    /// Returns whether the next `n` bytes are buffered.
    pub fn has_read(&self, n: u64) -> bool {
        self.at_hand(self.position) as u64 >= n
    }

    /// Returns whether the next `n` bytes are known to extend beyond the end.
    pub fn ends_within(&self, n: u64) -> bool {
        self.source.size().is_some_and(|size| self.position.saturating_add(n) > size)
    }

    /// Returns whether only reading shows the end of the source.
    pub fn has_unknown_size(&self) -> bool {
        self.source.size().is_none()
    }

    /// Limits all further reads to `more` bytes in total.
    pub fn allow(&mut self, more: u64) {
        self.limit = self.limit.min(self.read + more);
    }

    /// Allows reading all of a file, and [`READ_LIMIT`] more bytes for look-aheads. A source of
    /// unknown size has no limit, because it is only read forwards.
    pub fn allow_all(&mut self) {
        self.limit = self.source.size().map_or(u64::MAX, |size| size.saturating_add(READ_LIMIT));
    }

    pub fn into_source(self) -> S {
        self.source
    }

    fn at_hand(&self, position: u64) -> usize {
        // For a position before the start, the difference wraps to more than `filled`.
        let from = position.wrapping_sub(self.start);
        if from > self.filled as u64 { 0 } else { self.filled - from as usize }
    }

    #[cold]
    fn fill(&mut self, n: usize) -> Result<(), Trouble> {
        debug_assert!(n <= PEEK_LIMIT);
        let kept = self.at_hand(self.position);
        if kept > 0 {
            let from = (self.position - self.start) as usize;
            self.buffer.copy_within(from..from + kept, 0);
        }
        self.start = self.position;
        self.filled = kept;
        // Make room for a read that is worth a call.
        let room = n.max(kept + READ_COST as usize);
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        while self.filled < n {
            let at = self.start + self.filled as u64;
            if self.source.size().is_some_and(|size| at >= size) {
                break;
            }
            if self.read >= self.limit {
                return Err(Trouble::Limit);
            }
            match self.source.read_at(&mut self.buffer[self.filled..], at) {
                Ok(0) => break,
                Ok(got) => {
                    self.filled += got;
                    self.read += READ_COST.max(got as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_window_gives_the_same_bytes_however_far_it_moves() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        let mut buffer = Vec::new();
        let mut window = Window::new(bytes.as_slice(), &mut buffer);
        for step in [0u64, 1, 8_190, 5, 20_000, 3, 60_000] {
            window.advance(step);
            let at = window.position() as usize;
            assert_eq!(window.peek(12).unwrap(), &bytes[at..at + 12]);
        }
        let rest = bytes.len() as u64 - window.position();
        window.advance(rest - 3);
        assert_eq!(window.peek(12).unwrap().len(), 3);
        window.advance(4_000_000_000);
        assert!(window.peek(12).unwrap().is_empty());
    }

    #[test]
    fn a_look_ahead_reads_little_and_leaves_the_window_where_it_is() {
        let bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        let mut buffer = Vec::new();
        let mut window = Window::new(bytes.as_slice(), &mut buffer);
        window.advance(100);
        for ahead in [0usize, 7, WINDOW, PEEK_LIMIT, 250_000, 299_892] {
            let expected = bytes[100 + ahead..].first_chunk::<8>().copied();
            assert_eq!(window.look_ahead(ahead as u64).unwrap(), expected, "{ahead}");
        }
        assert_eq!(window.look_ahead::<8>(299_893).unwrap(), None);
        assert_eq!(window.look_ahead::<8>(u64::MAX).unwrap(), None);
        assert!(window.read < 5 * WINDOW as u64, "{} bytes", window.read);
        assert_eq!(window.peek(12).unwrap(), &bytes[100..112]);
    }

    /// A file that counts the reads.
    struct CountedFile<'a> {
        bytes: &'a [u8],
        reads: &'a Cell<usize>,
    }

    impl Source for CountedFile<'_> {
        fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            self.reads.set(self.reads.get() + 1);
            self.bytes.read_at(buffer, offset)
        }

        fn size(&self) -> Option<u64> {
            self.bytes.size()
        }
    }

    #[test]
    fn a_file_that_asks_for_look_aheads_without_end_reaches_the_limit_of_one_file() {
        let (bytes, mut buffer) = (vec![7u8; 300_000], Vec::new());
        for is_audit in [false, true] {
            let reads = Cell::new(0);
            let mut window = Window::new(CountedFile { bytes: &bytes, reads: &reads }, &mut buffer);
            if is_audit {
                window.allow_all();
            }
            let outcome = (0..100_000).try_for_each(|_| window.look_ahead::<8>(250_000).map(drop));
            assert!(matches!(outcome, Err(Trouble::Limit)), "{} reads", reads.get());
            assert!(reads.get() < 20_000, "{} reads", reads.get());
        }
    }

    #[test]
    fn a_window_that_moves_in_small_steps_reads_in_large_ones() {
        let (bytes, mut buffer) = (vec![7u8; 300_000], Vec::new());
        for peeked in [WINDOW, PEEK_LIMIT] {
            let reads = Cell::new(0);
            let mut window = Window::new(CountedFile { bytes: &bytes, reads: &reads }, &mut buffer);
            while window.position() < 200_000 {
                assert_eq!(window.peek(peeked).unwrap().len(), peeked);
                window.advance(16);
            }
            assert!(reads.get() < 300_000 / 4096, "{} reads", reads.get());
        }
    }

    #[test]
    fn a_long_value_does_not_keep_its_memory() {
        let bytes = vec![7u8; 100_000];
        let mut buffer = Vec::new();
        assert_eq!(Window::new(bytes.as_slice(), &mut buffer).peek(PEEK_LIMIT).unwrap().len(), PEEK_LIMIT);
        let _ = Window::new(bytes.as_slice(), &mut buffer);
        assert!(buffer.capacity() <= 2 * WINDOW);
    }
}
