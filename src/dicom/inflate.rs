//! A deflated data set (PS3.5 A.5) as a source: inflated as far as the scan goes, through one small buffer.
//!
//! Memory is that of the inflater (about 50 KiB) and one window; [`READ_LIMIT`](super::window::READ_LIMIT) bounds
//! what is kept, [`INFLATE_LIMIT`] what is passed over.

use std::io::{self, Read};

use flate2::read::DeflateDecoder;

use super::window::Source;

/// A header of real life inflates to some kilobytes; a bomb is left here.
const INFLATE_LIMIT: u64 = 256 * 1024 * 1024;

pub struct Inflated<S> {
    inflater: DeflateDecoder<Reader<S>>,
    position: u64,
}

impl<S: Source> Inflated<S> {
    pub fn new(source: S, offset: u64) -> Self {
        let reader = Reader { source, offset };
        Inflated { inflater: DeflateDecoder::new_with_buf(reader, vec![0; 4096]), position: 0 }
    }
}

impl<S: Source> Source for Inflated<S> {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let gap = offset.checked_sub(self.position).ok_or(io::ErrorKind::InvalidInput)?;
        if offset > INFLATE_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "inflates without end"));
        }
        let passed = io::copy(&mut (&mut self.inflater).take(gap), &mut io::sink())?;
        self.position += passed;
        if passed < gap {
            return Ok(0);
        }
        let n = self.inflater.read(buffer)?;
        self.position += n as u64;
        Ok(n)
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

struct Reader<S> {
    source: S,
    offset: u64,
}

impl<S: Source> Read for Reader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read_at(buffer, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}
