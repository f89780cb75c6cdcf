//! The write-ahead log: a sequence of frames in which runs record the files they read and the rows
//! they write. A frame is appended by one write and has a checksum: the log ends at a torn frame.
//!
//! The frame of a batch is appended before the database commits the batch, and a mark is appended
//! after the commit. Therefore the log contains everything that a killed run has committed. For a
//! batch without a mark, the rows in the database show whether it was committed.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::claim::sync_directory;
use super::form::{self, LoggedForm};
use super::synced_file::SyncedFile;
use crate::dicom::PackedForm;
use crate::positioned::{read_at, write_at};

/// The magic bytes, which precede the number of the format.
const MAGIC: &[u8; 15] = b"pacs-index log ";

/// The number of the format, which does not depend on the version of the program. A program reads
/// its own format, and converts format 4. A new kind of frame needs a new format, because a frame
/// of an unknown kind ends the log.
const FORMAT: u8 = b'5';
const FORMER: u8 = b'4';

/// The size of the header of the log in bytes: magic bytes and format, the offset of the last frame
/// that describes the form of records, and an ID that is unique to the log.
pub const HEAD: u64 = 32;

/// The size of the header of a frame in bytes: kind, length and checksum.
const FRAME_HEAD: usize = 9;

/// The maximum length of a frame in bytes, so that a damaged length is not allocated.
const LARGEST: u32 = 1 << 30;

/// Whether a program can use a file as its log, according to the first bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Usable,
    /// An earlier version of this program wrote the log, and it cannot be converted.
    Outdated,
    /// A newer version of this program wrote the log.
    Newer,
    NotALog,
}

impl LogFormat {
    pub fn of(head: &[u8]) -> Self {
        if !crate::damaged::begins_with(head, MAGIC) {
            return LogFormat::NotALog;
        }
        match head.get(MAGIC.len()) {
            // The process that created the file was killed at once.
            None | Some(&FORMAT) => LogFormat::Usable,
            Some(&FORMER) if head.get(16..24) == Some(&form::former_meaning().to_le_bytes()) => LogFormat::Usable,
            Some(format) if *format > FORMAT => LogFormat::Newer,
            Some(_) => LogFormat::Outdated,
        }
    }
}

/// The kind of a frame. Only logs that this version does not use contain the values 5 and 8, which
/// an earlier version wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A run begins.
    Begun,
    /// A batch, before its commit.
    Batch,
    /// The commit of the last batch of a writer.
    Committed,
    /// Files without an entry.
    Noted,
    /// The end of a run that has finalized all of its rows.
    Closed,
    /// Invalidates the outcomes of all files recorded before. A run that was not finalized before
    /// it is not resumed.
    Distrusted = 6,
    /// Files of former runs, when the log was rewritten.
    Kept = 7,
    /// Suffixed patient IDs, before their patients are inserted.
    Given = 9,
    Recalled,
    /// Batches that were committed, but that the index has lost since.
    Lost,
    /// Values of rows, before their commit.
    Rows,
    /// Which blocks of records belong to which patients, studies and series.
    Groups,
    /// The attributes of all later records.
    Form,
    /// The offset of a frame of rows whose commit was in doubt, but has succeeded.
    RowsCommitted,
}

const KINDS: [Kind; 14] = [
    Kind::Begun,
    Kind::Batch,
    Kind::Committed,
    Kind::Noted,
    Kind::Closed,
    Kind::Distrusted,
    Kind::Kept,
    Kind::Given,
    Kind::Recalled,
    Kind::Lost,
    Kind::Rows,
    Kind::Groups,
    Kind::Form,
    Kind::RowsCommitted,
];

impl Kind {
    pub fn has_files(self) -> bool {
        matches!(self, Kind::Batch | Kind::Noted | Kind::Kept)
    }
}

/// A frame, by the offset of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub at: u64,
    length: u32,
    checksum: u32,
}

impl Frame {
    pub fn start(&self) -> u64 {
        self.at - FRAME_HEAD as u64
    }

    pub fn end(&self) -> u64 {
        self.at + u64::from(self.length)
    }
}

pub struct Log {
    file: SyncedFile,
    /// Unique to this log.
    pub id: u64,
    /// The forms of the records, the latest first.
    forms: Vec<LoggedForm>,
    /// The offset of the frame with the latest form; 0 if the log has none.
    last_form: u64,
    /// Whether the log has format 4, whose records have the form of this program.
    is_former: bool,
}

impl Log {
    /// Opens a usable log, or creates one. The caller must call [`Log::begin_form`] once the end of
    /// the log is known.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = super::private().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut head = [0; HEAD as usize];
        let is_whole = read_at(&file, &mut head, 0).is_ok() && LogFormat::of(&head) == LogFormat::Usable;
        if !is_whole {
            let id = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            head = head_of(0, id.as_nanos() as u64);
            file.set_len(0)?;
            write_at(&file, &head, 0)?;
            path.parent().map_or(Ok(()), sync_directory)?;
        }
        let is_former = head[MAGIC.len()] == FORMER;
        let mut log = Log {
            file: SyncedFile::new(file, HEAD),
            id: number_at(&head, 24),
            forms: Vec::new(),
            last_form: if is_former { 0 } else { number_at(&head, 16) },
            is_former,
        };
        log.forms = log.forms_from(log.last_form);
        Ok(log)
    }

    /// Opens a log that another process may be writing.
    pub fn open_to_read(path: &Path) -> io::Result<Self> {
        let file = open_file(path)?;
        let mut head = [0; HEAD as usize];
        read_at(&file, &mut head, 0)?;
        if LogFormat::of(&head) != LogFormat::Usable || head[MAGIC.len()] != FORMAT {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut log = Log {
            file: SyncedFile::new(file, HEAD),
            id: number_at(&head, 24),
            forms: Vec::new(),
            last_form: 0,
            is_former: false,
        };
        log.learn_forms()?;
        Ok(log)
    }

    /// Returns the unique ID of the log in a file.
    pub fn id_of(path: &Path) -> io::Result<u64> {
        let mut head = [0; HEAD as usize];
        read_at(&open_file(path)?, &mut head, 0)?;
        Ok(number_at(&head, 24))
    }

    /// Reads the forms of the records, the latest first. A damaged chain ends early: records before
    /// the damage cannot be read.
    fn forms_from(&self, last: u64) -> Vec<LoggedForm> {
        let mut forms = Vec::new();
        let mut at = last;
        while at >= HEAD
            && let Ok(Some(frame)) = self.frame_at(at)
            && frame.kind == Kind::Form
            && let Ok((logged, previous)) = self.payload(&frame).and_then(|payload| form::decode_form(&payload))
            && previous < at
        {
            forms.push(logged);
            at = previous;
        }
        forms
    }

    /// Reads the forms of records that another process has appended.
    pub fn learn_forms(&mut self) -> io::Result<()> {
        let mut head = [0; HEAD as usize];
        read_at(self.file.file(), &mut head, 0)?;
        self.last_form = number_at(&head, 16);
        self.forms = self.forms_from(self.last_form);
        Ok(())
    }

    /// Records that all later records have the form of this program, unless they do already.
    pub fn begin_form(&mut self) -> io::Result<()> {
        if self.forms.first().is_some_and(|last| last.form.is_current()) {
            return Ok(());
        }
        let start = self.end();
        let from = if self.is_former { HEAD } else { start };
        self.append(Kind::Form, &form::payload(from, self.last_form));
        self.sync();
        self.failure().map_or(Ok(()), Err)?;
        write_at(self.file.file(), &head_of(start, self.id), 0)?;
        self.file.file().sync_data()?;
        (self.is_former, self.last_form) = (false, start);
        self.forms.insert(0, LoggedForm { from, form: PackedForm::current(), is_newer: false });
        Ok(())
    }

    /// Returns whether a newer version of this program, which indexes more attributes, has written
    /// to the log.
    pub fn has_newer_form(&self) -> bool {
        self.forms.iter().any(|logged| logged.is_newer)
    }

    /// Returns the form of the records at an offset.
    pub fn form_at(&self, at: u64) -> io::Result<&PackedForm> {
        let logged = self.forms.iter().find(|logged| logged.from <= at);
        logged.map(|logged| &logged.form).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// Returns the frame that starts at an offset.
    pub fn frame_at(&self, start: u64) -> io::Result<Option<Frame>> {
        self.frame(start, self.file.file().metadata()?.len())
    }

    /// Returns the frames from an offset on, which must be the end of a frame. The next frame is
    /// appended behind the last of them, over a torn one.
    pub fn frames(&self, from: u64) -> io::Result<Vec<Frame>> {
        let length = self.file.file().metadata()?.len();
        let mut frames = Vec::new();
        let mut at = from.max(HEAD);
        while let Some(frame) = self.frame(at, length)? {
            at = frame.end();
            frames.push(frame);
        }
        self.file.set_end(at);
        Ok(frames)
    }

    fn frame(&self, at: u64, length: u64) -> io::Result<Option<Frame>> {
        let mut head = [0; FRAME_HEAD];
        if at + FRAME_HEAD as u64 > length {
            return Ok(None);
        }
        read_at(self.file.file(), &mut head, at)?;
        let number = |n: usize| u32::from_le_bytes([head[n], head[n + 1], head[n + 2], head[n + 3]]);
        let kind = KINDS.into_iter().find(|kind| *kind as u8 + 1 == head[0]);
        let frame = kind.map(|kind| Frame { kind, at: at + FRAME_HEAD as u64, length: number(1), checksum: number(5) });
        let Some(frame) = frame.filter(|frame| frame.length <= LARGEST && frame.end() <= length) else {
            return Ok(None);
        };
        // The checksum of a payload is verified when the payload is read, except for the last
        // frame, which may be torn.
        let is_last = frame.end() + FRAME_HEAD as u64 > length;
        Ok((!is_last || self.payload(&frame).is_ok()).then_some(frame))
    }

    /// Returns the payload of a frame. A damaged payload is an error.
    pub fn payload(&self, frame: &Frame) -> io::Result<Vec<u8>> {
        let mut payload = vec![0; frame.length as usize];
        read_at(self.file.file(), &mut payload, frame.at)?;
        match crc32fast::hash(&payload) == frame.checksum {
            true => Ok(payload),
            false => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// Reads a part of a payload.
    pub fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        if length > LARGEST as usize {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        read_at(self.file.file(), &mut bytes, at)?;
        Ok(bytes)
    }

    /// Appends a frame. After the first failure nothing is appended, because a gap would mislead a
    /// later run. Returns the offset of the payload.
    pub fn append(&self, kind: Kind, payload: &[u8]) -> u64 {
        let mut frame = Vec::with_capacity(FRAME_HEAD + payload.len());
        frame.push(kind as u8 + 1);
        frame.extend((payload.len() as u32).to_le_bytes());
        frame.extend(crc32fast::hash(payload).to_le_bytes());
        frame.extend(payload);
        self.file.append(&frame) + FRAME_HEAD as u64
    }

    /// Returns the offset at which the log ends.
    pub fn end(&self) -> u64 {
        self.file.end()
    }

    /// Returns the error that prevented a write to the log, if there was one.
    pub fn failure(&self) -> Option<io::Error> {
        self.file.failure()
    }

    /// Writes to disk all frames that were appended before this call.
    pub fn sync(&self) {
        self.file.sync();
    }

    /// Begins to write to disk all frames that were appended before this call, without waiting.
    pub fn sync_ahead(&self) {
        self.file.sync_ahead();
    }

    /// Cuts off the bytes behind the last frame, which a run was writing when it was killed.
    pub fn cut(&self) -> io::Result<()> {
        self.file.file().set_len(self.end())
    }
}

/// Opens a file for reading. Anything but a regular file is an error, because a FIFO would block.
fn open_file(path: &Path) -> io::Result<File> {
    match path.symlink_metadata()?.is_file() {
        true => File::open(path),
        false => Err(ErrorKind::InvalidData.into()),
    }
}

fn number_at(head: &[u8; HEAD as usize], at: usize) -> u64 {
    u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"))
}

fn head_of(last_form: u64, id: u64) -> [u8; HEAD as usize] {
    let mut head = [0; HEAD as usize];
    head[..15].copy_from_slice(MAGIC);
    head[15] = FORMAT;
    head[16..24].copy_from_slice(&last_form.to_le_bytes());
    head[24..].copy_from_slice(&id.to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path) -> (Log, Vec<Frame>) {
        let log = Log::open(&directory.join("log")).unwrap();
        let frames = log.frames(0).unwrap();
        (log, frames)
    }

    #[test]
    fn a_log_ends_where_it_is_torn_and_goes_on_from_there() {
        let directory = tempfile::tempdir().unwrap();
        let (log, frames) = open(directory.path());
        assert!(frames.is_empty());
        log.append(Kind::Begun, b"one");
        log.append(Kind::Batch, b"two");
        let whole = std::fs::read(directory.path().join("log")).unwrap();
        let lengths = [whole.len(), whole.len() - 1, whole.len() - 11, whole.len() - 12, HEAD as usize + 1];
        for (length, left) in lengths.into_iter().zip([2, 1, 1, 1, 0]) {
            std::fs::write(directory.path().join("log"), &whole[..length]).unwrap();
            let (log, frames) = open(directory.path());
            assert_eq!(frames.len(), left, "{length}");
            log.cut().unwrap();
            log.append(Kind::Closed, b"three");
            let (log, frames) = open(directory.path());
            assert_eq!(frames.len(), left + 1);
            assert_eq!(log.payload(&frames[left]).unwrap(), b"three");
        }
    }

    #[test]
    fn damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let (log, _) = open(directory.path());
        log.append(Kind::Batch, &[1; 100]);
        log.append(Kind::Closed, b"");
        let path = directory.path().join("log");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEAD as usize + 50] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (log, frames) = open(directory.path());
        assert!(log.payload(&frames[0]).is_err());
    }

    #[test]
    fn a_log_knows_the_form_of_its_records() {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, _) = open(directory.path());
        assert!(log.form_at(HEAD).is_err());
        log.begin_form().unwrap();
        let end = log.end();
        let (mut again, frames) = open(directory.path());
        again.begin_form().unwrap();
        assert_eq!((frames.len(), again.end(), again.id), (1, end, log.id));
        assert!(again.form_at(end).unwrap().is_current());
    }

    #[test]
    fn formats_are_told_apart() {
        let format = |head: &[u8]| LogFormat::of(head);
        let former = [b"pacs-index log 4", form::former_meaning().to_le_bytes().as_slice(), &[0; 8]].concat();
        assert_eq!(format(&former), LogFormat::Usable);
        assert_eq!(format(&[b"pacs-index log 4".as_slice(), &[0; 16]].concat()), LogFormat::Outdated);
        assert_eq!(format(b"pacs-index log 3 and more"), LogFormat::Outdated);
        assert_eq!(format(b"pacs-index log 6 and more"), LogFormat::Newer);
        assert_eq!((format(b"pacs-"), format(b"garbage")), (LogFormat::Usable, LogFormat::NotALog));
    }
}
