//! Compares a candidate with the file at the place of its copy. The place may be free, or contain
//! the same or different content.

use std::io::{self, Cursor, Read};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::candidate::Origin;
use super::ledger::fingerprint;
use super::{Candidate, Importer, Ledger};
use crate::archive::{self, FileState, FoundFile, Locator, OpenFile};
use crate::dicom::part10::{self, Completion, Incomplete};
use crate::dicom::window::Source;

pub enum Standing {
    Free,
    Same(FileState),
    Other,
    /// The file cannot be read. Contains the reason.
    Unknown(String),
}

/// The content of a copy: the content of a file, of which the first bytes may be replaced.
pub struct Content<'a> {
    written: Cursor<Vec<u8>>,
    file: &'a OpenFile,
    at: u64,
}

impl Candidate {
    /// Returns the unchanged content of the file.
    pub fn plain(&self) -> Content<'_> {
        Content { written: Cursor::default(), file: &self.open, at: 0 }
    }

    /// Returns the content completed to the Part 10 format. `None` if the file already has this
    /// format.
    pub fn completed(&self) -> io::Result<Option<Result<Content<'_>, Incomplete>>> {
        let content = |Completion { written, instead_of }| Content {
            written: Cursor::new(written),
            file: &self.open,
            at: instead_of,
        };
        Ok(part10::completion(&self.open, &self.instance)?.map(|completion| completion.map(content)))
    }
}

impl Content<'_> {
    pub fn size(&self) -> u64 {
        self.written.get_ref().len() as u64 + self.file.state.size.saturating_sub(self.at)
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let written = self.written.read(buffer)?;
        if written > 0 {
            return Ok(written);
        }
        let mut file = self.file;
        let read = file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Importer<'_> {
    pub(super) fn standing(&self, candidate: &Candidate, path: &Path, ledger: &Ledger) -> Standing {
        let found = FoundFile::named(path.to_owned());
        let location = match self.plan.stored.locator.look(&found).map(|seen| seen.standing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Standing::Free,
            Err(error) => return Standing::Unknown(error.to_string()),
            Ok(archive::Standing::Readable(location)) => location,
            Ok(archive::Standing::Stub(stub) | archive::Standing::MetElsewhere(stub)) => {
                return Standing::Unknown(format!("{}: {}", stub.kind, stub.why));
            }
        };
        // In a move, the content is always compared, because the source is removed afterwards.
        let Origin { path: source, state, .. } = &candidate.origin;
        if !self.plan.moves && ledger.knows(fingerprint((source, *state), (path, location.state))) {
            return Standing::Same(location.state);
        }
        let is_same = |mut content: Content<'_>| -> io::Result<bool> {
            let mut there = location.open()?.ok_or_else(|| io::Error::other("it changes"))?;
            Ok(content.size() == there.state.size && are_same(&mut content, &mut there)?)
        };
        // The file may have been completed when it was copied.
        let is_completed = || match candidate.completed()? {
            Some(Ok(content)) => is_same(content),
            _ => Ok(false),
        };
        match is_same(candidate.plain()).and_then(|same| Ok(same || is_completed()?)) {
            Ok(true) => Standing::Same(location.state),
            Ok(false) => Standing::Other,
            Err(error) => Standing::Unknown(error.to_string()),
        }
    }
}

/// Returns the state of a file in the archive if the file has this size and hash.
pub fn holding(locator: &Locator, path: &Path, size: u64, hash: u128) -> Option<FileState> {
    let found = FoundFile::named(path.to_owned());
    let archive::Standing::Readable(location) = locator.look(&found).ok()?.standing else { return None };
    let mut open = location.open().ok()??;
    let (mut own, mut buffer) = (Xxh3::new(), vec![0; 1 << 16]);
    if open.state.size != size {
        return None;
    }
    loop {
        match open.read(&mut buffer).ok()? {
            0 => return (own.digest128() == hash).then_some(location.state),
            read => own.update(&buffer[..read]),
        }
    }
}

fn are_same(one: &mut impl Read, other: &mut impl Read) -> io::Result<bool> {
    let [mut left, mut right] = [vec![0; 1 << 16], vec![0; 1 << 16]];
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(other.read(&mut right)? == 0);
        }
        match other.read_exact(&mut right[..read]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if left[..read] != right[..read] {
            return Ok(false);
        }
    }
}
