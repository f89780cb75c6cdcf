//! Copies a file: the copy is written under a temporary name in its target directory, synced, read
//! back and compared by hash, and only then renamed. An existing file is never overwritten. The
//! copies of a portion are synced one after the other after all of them are written.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use tempfile::NamedTempFile;
use xxhash_rust::xxh3::Xxh3;

use super::candidate::Origin;
use super::compare::{self, Content};
use super::ledger::fingerprint;
use super::{Candidate, Destination, Importer, disk, place};
use crate::archive::{FileState, skip};
use crate::dicom::Rejection;
use crate::error::Error;
use crate::full_disk;
use crate::pipeline::Reception;
use crate::positioned;
use crate::progress::text;

/// The reason why no further file can be copied.
pub enum Failed {
    Full(String),
    Target(PathBuf, io::Error),
}

impl Failed {
    pub fn told(self, archive: &Path) -> Error {
        let advice = "What was copied and indexed stays, and no source was touched. Run the same command again: it goes on \
                      from there.";
        match self {
            Failed::Full(what) => Error::unfinished(
                format!("the disk of the archive {} is full: {what}", archive.display()),
                format!("Make room there. {advice}"),
            ),
            Failed::Target(path, error) => Error::unfinished(
                format!("the archive cannot be written: {}: {error}", path.display()),
                format!("Is it mounted, and may you write there? {advice}"),
            ),
        }
    }
}

/// Number of bytes at which a batch is completed without waiting for further copies.
const MOST_BYTES: u64 = 256 << 20;
const BUFFER: usize = 1 << 20;

pub struct Batch<'a> {
    importer: &'a Importer<'a>,
    to: &'a Destination,
    pub reception: &'a Reception<'a>,
    copies: Vec<Copy>,
    bytes: u64,
}

/// A copy under its temporary name.
struct Copy {
    origin: Origin,
    target: PathBuf,
    file: NamedTempFile,
    hash: u128,
    size: u64,
}

/// The reason why a file was not copied.
enum Trouble {
    Source(io::Error),
    Target(io::Error),
}

impl<'a> Batch<'a> {
    pub fn new(importer: &'a Importer<'a>, to: &'a Destination, reception: &'a Reception<'a>) -> Self {
        Batch { importer, to, reception, copies: Vec::new(), bytes: 0 }
    }

    /// Whether the batch is large enough to be completed.
    pub fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES
    }

    /// Records that the archive already contains this file. Indexes the file unless it is known to
    /// be indexed.
    pub fn has(&self, origin: &Origin, at: PathBuf, state: FileState, is_indexed: bool) {
        if let Some(brought) = &self.importer.brought {
            brought.add(origin, &at, state);
        }
        match is_indexed {
            true => self.reception.has(),
            false => self.reception.receive(vec![at]),
        }
    }

    /// Copies a file under a temporary name. A file that fails with an error counts as not reached.
    pub fn copy(&mut self, candidate: Candidate, target: PathBuf, buffer: &mut Vec<u8>) -> Result<(), Failed> {
        let copied = self.try_copy(candidate, target, buffer);
        self.reception.not_reached(copied.is_err().into());
        copied
    }

    fn try_copy(&mut self, candidate: Candidate, target: PathBuf, buffer: &mut Vec<u8>) -> Result<(), Failed> {
        let directory = target.parent().unwrap_or(&self.to.filing.archive).to_owned();
        let content = match self.content(&candidate) {
            Ok(content) => content,
            Err(error) => {
                self.unreadable(&candidate, error);
                return Ok(());
            }
        };
        let size = content.size();
        if let Some(room) = disk::room(&self.to.filing.archive).filter(|room| *room < size) {
            let [size, room] = [size, room].map(text::bytes);
            return Err(Failed::Full(format!("the next file takes {size}, and there is room for {room}")));
        }
        self.to.ledger.copies_into(&directory).map_err(|error| failed(&directory, error))?;
        if let Err(error) = self.to.mark.make_directory(&directory, &self.to.access) {
            return self.shut_out(&candidate.origin, &directory, error);
        }
        let mut named = tempfile::Builder::new();
        // Only the owner may read the temporary file until it gets the access of the archive.
        named.prefix(&self.to.ledger.prefix).suffix(skip::COPY_ENDS);
        let mut file = match named.tempfile_in(&directory) {
            Ok(file) => file,
            Err(error) => return self.shut_out(&candidate.origin, &directory, error),
        };
        match write(content, file.as_file_mut(), buffer) {
            Ok((hash, written)) if written == size && !candidate.open.may_be_mixed() => {
                self.to.access.give_file(file.as_file()).map_err(|error| failed(&target, error))?;
                // Only the origin of the candidate is kept, so that the source file is closed: many
                // copies may wait.
                self.copies.push(Copy { origin: candidate.origin, target, file, hash, size });
            }
            Ok(_) => self.unreadable(&candidate, io::Error::other("the file changed while it was read")),
            Err(Trouble::Source(error)) => self.unreadable(&candidate, error),
            Err(Trouble::Target(error)) => return Err(failed(&target, error)),
        }
        self.bytes += size;
        Ok(())
    }

    /// Handles a directory that cannot be written to. If the archive itself is writable, only this
    /// file is rejected. Otherwise, the import fails.
    fn shut_out(&self, origin: &Origin, directory: &Path, error: io::Error) -> Result<(), Failed> {
        let archive = &self.to.filing.archive;
        let is_of_it = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
        let probe =
            || tempfile::Builder::new().prefix(&self.to.ledger.prefix).suffix(skip::COPY_ENDS).tempfile_in(archive);
        if !is_of_it || probe().is_err() {
            return Err(failed(directory, error));
        }
        let detail = format!("{}: {error}", directory.display());
        self.reception.refuse(&origin.path, "not-writable", detail);
        Ok(())
    }

    fn content<'c>(&self, candidate: &'c Candidate) -> io::Result<Content<'c>> {
        if !self.importer.plan.completes {
            return Ok(candidate.plain());
        }
        Ok(match candidate.completed()? {
            Some(Ok(content)) => content,
            Some(Err(why)) => {
                let detail =
                    format!("copied unchanged, without a preamble or file meta information: {}", why.describe());
                self.reception.note(&candidate.origin.path, "not-completed", &detail);
                candidate.plain()
            }
            None => candidate.plain(),
        })
    }

    fn unreadable(&self, candidate: &Candidate, error: io::Error) {
        self.reception.reject(&candidate.origin.path, &Rejection::Unreadable(error));
    }

    /// Syncs and verifies the copies, and puts them in their places.
    pub fn end(self, buffer: &mut Vec<u8>) -> Result<(), Failed> {
        buffer.resize(BUFFER, 0);
        let batch = Batch { copies: Vec::new(), ..self };
        let mut copies = self.copies.into_iter();
        let (mut placed, mut outcome) = (Vec::new(), Ok(()));
        while let (Ok(()), Some(copy)) = (&outcome, copies.next()) {
            match copy.verify(buffer).and_then(|()| batch.put(copy)) {
                Ok(copy) => placed.extend(copy),
                Err(failed) => {
                    batch.reception.not_reached(1 + copies.len());
                    outcome = Err(failed);
                }
            }
        }
        let synced = sync_directories(&placed);
        match &synced {
            Ok(()) => batch.receive(placed),
            // The copies are in their places, where the next run finds them.
            Err(_) => batch.reception.not_reached(placed.len()),
        }
        outcome.and(synced)
    }

    /// Renames a copy to its final name. A file that another program created under this name is not
    /// overwritten.
    fn put(&self, copy: Copy) -> Result<Option<Placed>, Failed> {
        let Copy { origin, target, file, hash, size } = copy;
        self.to.mark.check().map_err(|error| failed(&target, error))?;
        match file.persist_noclobber(&target) {
            Ok(file) => {
                let state = file.metadata().map(|metadata| FileState::of(&metadata));
                let state = state.map_err(|error| failed(&target, error))?;
                Ok(Some(Placed { origin, target, state, size }))
            }
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                match compare::holding(&self.importer.plan.stored.locator, &target, size, hash) {
                    Some(state) => self.has(&origin, target, state, false),
                    None => {
                        self.importer.in_conflict.fetch_add(1, Relaxed);
                        self.reception.conflicts(&origin.path, place::OTHER, &place::other(&target));
                    }
                }
                Ok(None)
            }
            Err(error) => Err(failed(&target, error.error)),
        }
    }

    fn receive(&self, placed: Vec<Placed>) {
        let same = placed.iter().filter(|placed| placed.origin.state.tells_changes());
        let same = same.map(|p| fingerprint((&p.origin.path, p.origin.state), (&p.target, p.state)));
        self.to.ledger.verified(same);
        for Placed { origin, target, state, size } in placed {
            self.importer.copied.fetch_add(1, Relaxed);
            self.importer.copied_bytes.fetch_add(size, Relaxed);
            self.has(&origin, target, state, false);
        }
    }
}

/// A copy under its final name.
struct Placed {
    origin: Origin,
    target: PathBuf,
    state: FileState,
    size: u64,
}

impl Copy {
    /// Syncs the copy to disk, and checks that the data on disk match the data read from the
    /// source.
    fn verify(&self, buffer: &mut [u8]) -> Result<(), Failed> {
        let file = self.file.as_file();
        let read = file.sync_data().and_then(|()| {
            forget(file);
            hash_of(file, self.size, buffer)
        });
        match read {
            Ok(hash) if hash == self.hash => Ok(()),
            Ok(_) => {
                let what = "the copy differs from the bytes that were written: is the disk damaged?";
                Err(failed(&self.target, io::Error::other(what)))
            }
            Err(error) => Err(failed(&self.target, error)),
        }
    }
}

fn write(mut content: Content<'_>, file: &mut File, buffer: &mut Vec<u8>) -> Result<(u128, u64), Trouble> {
    buffer.resize(BUFFER, 0);
    let (mut hash, mut written) = (Xxh3::new(), 0);
    loop {
        let read = content.read(buffer).map_err(Trouble::Source)?;
        if read == 0 {
            return Ok((hash.digest128(), written));
        }
        hash.update(&buffer[..read]);
        file.write_all(&buffer[..read]).map_err(Trouble::Target)?;
        written += read as u64;
    }
}

fn hash_of(file: &File, size: u64, buffer: &mut [u8]) -> io::Result<u128> {
    if file.metadata()?.len() != size {
        return Err(io::Error::other("it has not the length that was written"));
    }
    let (mut hash, mut at) = (Xxh3::new(), 0);
    while at < size {
        let part = (size - at).min(buffer.len() as u64) as usize;
        positioned::read_at(file, &mut buffer[..part], at)?;
        hash.update(&buffer[..part]);
        at += part as u64;
    }
    Ok(hash.digest128())
}

/// Drops the file from the page cache, so that the next read comes from the disk.
#[cfg(target_os = "linux")]
fn forget(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &File) {}

fn failed(path: &Path, error: io::Error) -> Failed {
    match full_disk::is_full(&error) {
        true => Failed::Full(format!("{}: {error}", path.display())),
        false => Failed::Target(path.to_owned(), error),
    }
}

/// Syncs the directories of the copies, so that the names are on disk too.
fn sync_directories(placed: &[Placed]) -> Result<(), Failed> {
    let directories: BTreeSet<&Path> = placed.iter().filter_map(|placed| placed.target.parent()).collect();
    directories
        .into_iter()
        .try_for_each(|directory| disk::sync_directory(directory).map_err(|error| failed(directory, error)))
}
