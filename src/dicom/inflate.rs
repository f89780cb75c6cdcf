//! A deflated data set (PS3.5 A.5) as a source: inflated only as far as the scan reads, through one
//! small buffer.
//!
//! The memory in use is that of the inflater (about 50 KiB) and one window.
//! [`READ_LIMIT`](super::window::READ_LIMIT) bounds the bytes that are kept, and [`INFLATE_LIMIT`]
//! those that are skipped.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};

use super::window::Source;

/// The maximum number of inflated bytes. Real headers inflate to some kilobytes; the limit stops
/// decompression bombs.
const INFLATE_LIMIT: u64 = 256 * 1024 * 1024;

const INPUT: usize = 4096;

pub struct Inflated<S> {
    source: S,
    /// The offset of the next bytes to read.
    offset: u64,
    input: Vec<u8>,
    /// The number of input bytes that were inflated.
    used: usize,
    inflater: Decompress,
}

impl<S: Source> Inflated<S> {
    /// Creates the source. A deflated data set has no zlib or gzip header (PS3.5 A.5), but some
    /// writers let their library write one, which is skipped.
    pub fn new(source: S, offset: u64) -> io::Result<Self> {
        let inflater = Decompress::new(false);
        let mut inflated = Inflated { source, offset, input: Vec::with_capacity(INPUT), used: 0, inflater };
        inflated.refill()?;
        inflated.used = header_size(&inflated.input).min(inflated.input.len());
        Ok(inflated)
    }

    /// Inflates the next bytes; 0 means the end. Bytes before damage are returned before the damage
    /// is reported.
    fn inflate(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.used == self.input.len() {
                self.refill()?;
            }
            let (read, inflated) = (self.inflater.total_in(), self.inflater.total_out());
            let status = self.inflater.decompress(&self.input[self.used..], buffer, FlushDecompress::None);
            self.used += (self.inflater.total_in() - read) as usize;
            let inflated = (self.inflater.total_out() - inflated) as usize;
            if inflated > 0 {
                return Ok(inflated);
            }
            match status {
                Ok(Status::StreamEnd) => return Ok(0),
                // The file ends before the stream does.
                Ok(_) if self.input.is_empty() => return Ok(0),
                Ok(_) => {}
                Err(damage) => return Err(io::Error::new(io::ErrorKind::InvalidData, damage)),
            }
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.used = 0;
        self.input.resize(INPUT, 0);
        let read = self.source.read_at(&mut self.input, self.offset);
        self.input.truncate(*read.as_ref().unwrap_or(&0));
        self.offset += read? as u64;
        Ok(())
    }
}

/// Returns the size of a header of zlib (RFC 1950) or gzip (RFC 1952). Neither can begin a deflate
/// stream: a zlib header would be a stored block with bits set that writers leave zero, and a gzip
/// header has a block type that does not exist.
fn header_size(bytes: &[u8]) -> usize {
    match *bytes {
        [0x1F, 0x8B, 8, flags, _, _, _, _, _, _, ..] => gzip_header_size(bytes, flags),
        [method, flags, ..] => {
            let is_deflate = method & 0x0F == 8 && method >> 4 <= 7;
            let has_dictionary = flags & 0x20 != 0;
            let checks = u16::from_be_bytes([method, flags]) % 31 == 0;
            if is_deflate && checks && !has_dictionary { 2 } else { 0 }
        }
        _ => 0,
    }
}

/// Returns the size of a gzip header: ten bytes that every header has, and the optional fields that
/// its flags announce.
fn gzip_header_size(bytes: &[u8], flags: u8) -> usize {
    let mut size = 10;
    if flags & 4 != 0 {
        let extra = bytes.get(size..size + 2).map_or(0, |two| u16::from_le_bytes([two[0], two[1]]));
        size += 2 + usize::from(extra);
    }
    // A file name and a comment, each of which ends with a NUL.
    for _ in 0..(flags >> 3 & 1) + (flags >> 4 & 1) {
        let text = bytes.get(size..).unwrap_or_default();
        size += text.iter().position(|byte| *byte == 0).map_or(text.len(), |nul| nul + 1);
    }
    if flags & 2 != 0 { size + 2 } else { size }
}

impl<S: Source> Source for Inflated<S> {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset > INFLATE_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "inflates without end"));
        }
        let mut gap = offset.checked_sub(self.inflater.total_out()).ok_or(io::ErrorKind::InvalidInput)?;
        let mut passed = [0; INPUT];
        while gap > 0 {
            match self.inflate(&mut passed[..gap.min(INPUT as u64) as usize])? {
                0 => return Ok(0),
                n => gap -= n as u64,
            }
        }
        self.inflate(buffer)
    }

    fn size(&self) -> Option<u64> {
        None
    }
}
