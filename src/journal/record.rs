//! Records of files that were read, so that the files need not be read again.
//!
//! Records are stored in blocks that are compressed separately, because the records of a series are
//! nearly identical.

use std::io::{self, ErrorKind};

use serde::{Deserialize, Serialize};

use crate::archive::FileState;
use crate::archive::locator::NamedBy;
use crate::archive::skip::Rule;
use crate::dicom::{Instance, PackedForm, Rejection};
use crate::index::entry::FileRecord;

/// The number of records in a block. Larger blocks compress better, but reading one record takes
/// longer.
pub const PER_BLOCK: usize = 64;

/// The maximum size of a decompressed block in bytes. Only a damaged block declares more.
const LARGEST_BLOCK: usize = 64 << 20;

#[derive(Debug)]
pub struct Record {
    /// The path of the file on this host.
    pub path: String,
    pub state: FileState,
    /// The file that contains the bytes, if `path` is a link or a pointer.
    pub content: Option<Content>,
    pub reading: Reading,
}

/// The file that a link or a pointer points to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The path on this host.
    pub target: String,
    pub by_pointer: bool,
    pub state: FileState,
}

impl Content {
    /// Returns the path that is stored in the index, unless it is that of the link or pointer.
    pub fn named(&self, by: NamedBy) -> Option<&str> {
        by.is_target(self.by_pointer).then_some(self.target.as_str())
    }
}

impl Record {
    /// Returns the path that is stored in the index, before it is mapped to the path of the PACS.
    pub fn named(&self, by: NamedBy) -> &str {
        self.content.as_ref().and_then(|content| content.named(by)).unwrap_or(&self.path)
    }

    pub fn instance(&self) -> Option<&Instance> {
        match &self.reading {
            Reading::Instance(instance) => Some(instance),
            _ => None,
        }
    }

    /// Returns the instance, if the file contains one.
    pub fn into_instance(self) -> Option<Instance> {
        match self.reading {
            Reading::Instance(instance) => Some(instance),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub enum Reading {
    Instance(Instance),
    Skipped(Rule),
    Rejected {
        code: String,
        detail: String,
    },
    /// The file was found, but could not be read, or could not be judged without other files.
    Unread,
}

/// The header of a record. The instance follows, if the record has one.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    path: &'a str,
    state: FileState,
    content: Option<Content>,
    holds: Holds<'a>,
}

#[derive(Serialize, Deserialize)]
enum Holds<'a> {
    Instance,
    Skipped(Rule),
    Rejected { code: &'a str, detail: &'a str },
    Unread,
}

/// Returns the record of a file without an instance, or `None` if a later attempt may find an
/// instance.
pub fn of_rejection(path: &str, state: FileState, rejection: &Rejection, rule: Option<Rule>) -> Option<FileRecord> {
    let detail;
    let holds = match (rule, rejection) {
        (Some(rule), _) => Holds::Skipped(rule),
        (None, Rejection::Unreadable(_) | Rejection::Panicked) => return None,
        (None, rejection) => {
            detail = rejection.to_string();
            Holds::Rejected { code: rejection.code(), detail: &detail }
        }
    };
    Some(FileRecord { state, leads_on: false, bytes: encode(&Head { path, state, content: None, holds }) })
}

/// Returns the record of a file that was found but not read.
pub fn of_unread(path: &str) -> FileRecord {
    let state = FileState { size: 0, modified: i64::MIN };
    FileRecord { state, leads_on: false, bytes: encode(&Head { path, state, content: None, holds: Holds::Unread }) }
}

/// Returns the record of a file with an instance.
pub fn of_instance(path: &str, state: FileState, content: Option<Content>, instance: &Instance) -> FileRecord {
    let leads_on = content.is_some();
    let room = path.len() + instance.weight() + 256;
    let mut bytes = encode_into(&Head { path, state, content, holds: Holds::Instance }, Vec::with_capacity(room));
    instance.pack(&mut bytes);
    FileRecord { state, leads_on, bytes }
}

impl Record {
    pub fn encode(&self) -> Vec<u8> {
        let Record { path, state, content, reading } = self;
        let holds = match reading {
            Reading::Instance(instance) => return of_instance(path, *state, content.clone(), instance).bytes,
            Reading::Skipped(rule) => Holds::Skipped(*rule),
            Reading::Rejected { code, detail } => Holds::Rejected { code, detail },
            Reading::Unread => Holds::Unread,
        };
        encode(&Head { path, state: *state, content: None, holds })
    }

    /// Takes a record from the front of `from`.
    fn take(from: &mut &[u8], form: &PackedForm) -> io::Result<Self> {
        let (Head { path, state, content, holds }, rest) =
            postcard::take_from_bytes(from).map_err(|_| ErrorKind::InvalidData)?;
        *from = rest;
        // A file that another version of this program has read is read again.
        let state = if form.is_current() { state } else { FileState { modified: i64::MIN, ..state } };
        let reading = match holds {
            Holds::Instance => Reading::Instance(Instance::unpack(from, form).ok_or(ErrorKind::InvalidData)?),
            Holds::Skipped(rule) => Reading::Skipped(rule),
            Holds::Rejected { code, detail } => Reading::Rejected { code: code.into(), detail: detail.into() },
            Holds::Unread => Reading::Unread,
        };
        Ok(Record { path: path.into(), state, content, reading })
    }
}

pub fn encode(value: &impl Serialize) -> Vec<u8> {
    encode_into(value, Vec::new())
}

fn encode_into(value: &impl Serialize, into: Vec<u8>) -> Vec<u8> {
    // Encoding fails only for sequences of unknown length, which these values do not contain.
    postcard::to_extend(value, into).unwrap_or_default()
}

pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|_| ErrorKind::InvalidData.into())
}

/// The size of the header of a block in bytes: its length and its checksum. A block has a checksum
/// of its own because it is read without the frame that contains it.
pub const BLOCK_HEAD: usize = 8;

/// Compresses a block and appends it.
pub fn put_block(bytes: &[u8], into: &mut Vec<u8>) {
    let compressed = lz4_flex::compress_prepend_size(bytes);
    into.extend((compressed.len() as u32).to_le_bytes());
    into.extend(crc32fast::hash(&compressed).to_le_bytes());
    into.extend(compressed);
}

/// Takes a block that [`put_block`] has written from the front.
pub fn take_block(from: &mut &[u8]) -> io::Result<Vec<u8>> {
    let (length, checksum) = (take_length(from)?, take_length(from)?);
    let compressed = from.split_off(..length).ok_or(ErrorKind::InvalidData)?;
    if crc32fast::hash(compressed) as usize != checksum {
        return Err(ErrorKind::InvalidData.into());
    }
    inflate(compressed)
}

pub fn take_length(from: &mut &[u8]) -> io::Result<usize> {
    let length = from.split_off(..4).and_then(|length| length.try_into().ok()).ok_or(ErrorKind::InvalidData)?;
    Ok(u32::from_le_bytes(length) as usize)
}

fn inflate(compressed: &[u8]) -> io::Result<Vec<u8>> {
    let declared = compressed.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    if declared > LARGEST_BLOCK {
        return Err(ErrorKind::InvalidData.into());
    }
    lz4_flex::decompress_size_prepended(compressed).map_err(|_| ErrorKind::InvalidData.into())
}

/// Decodes the records of a decompressed block.
pub fn records(mut block: &[u8], form: &PackedForm) -> io::Result<Vec<Record>> {
    let mut records = Vec::with_capacity(PER_BLOCK);
    while !block.is_empty() {
        records.push(Record::take(&mut block, form)?);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were() {
        let state = FileState { size: 7, modified: -3 };
        let rejected = Reading::Rejected { code: "cut".into(), detail: "the header ends".into() };
        let all = [
            Record { path: "/a/b".into(), state, content: None, reading: rejected },
            Record { path: "/a/ü".into(), state, content: None, reading: Reading::Skipped(Rule::Dicomdir) },
        ];
        let mut bytes = Vec::new();
        let encoded: Vec<u8> = all.iter().flat_map(Record::encode).collect();
        put_block(&encoded, &mut bytes);
        let mut from = bytes.as_slice();
        let found = records(&take_block(&mut from).unwrap(), &PackedForm::current()).unwrap();
        assert!(from.is_empty());
        assert_eq!(format!("{found:?}"), format!("{all:?}"));
        for length in 0..bytes.len() {
            assert!(take_block(&mut &bytes[..length]).is_err());
        }
    }
}
