//! The payloads of frames with files: first the state of each file, then the records in blocks.

use std::io::{self, ErrorKind};

use super::log::{Frame, Kind, Log};
use super::record::{BLOCK_HEAD, PER_BLOCK, Record, put_block, records, take_block, take_length};
use super::states::{SIZE, State};
use crate::dicom::PackedForm;

/// Encodes pairs of group and block for a frame.
pub fn group_bytes(groups: &[(u64, u64)]) -> Vec<u8> {
    groups.iter().flat_map(|(topic, block)| [topic.to_le_bytes(), block.to_le_bytes()].concat()).collect()
}

/// Returns the groups in a frame: the hash of each group, and the offset of a block of records.
pub fn groups(log: &Log, frame: &Frame) -> io::Result<Vec<(u64, u64)>> {
    let payload = log.payload(frame)?;
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    Ok(payload.chunks_exact(16).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect())
}

/// Encodes states and blocks of records. Sets in each state the offset of its block in the payload.
/// Returns these offsets.
pub fn put_files(mut states: Vec<State>, records: &[impl AsRef<[u8]>], payload: &mut Vec<u8>) -> Vec<u64> {
    let mut blocks = Vec::new();
    payload.extend((states.len() as u32).to_le_bytes());
    let places = payload.len();
    payload.resize(places + states.len() * SIZE, 0);
    let mut block = Vec::new();
    for (states, records) in states.chunks_mut(PER_BLOCK).zip(records.chunks(PER_BLOCK)) {
        blocks.push(payload.len() as u64);
        for (member, state) in states.iter_mut().enumerate() {
            (state.at, state.member) = (payload.len() as u64, member as u16);
        }
        block.clear();
        records.iter().for_each(|record| block.extend_from_slice(record.as_ref()));
        put_block(&block, payload);
    }
    for (state, place) in states.iter().zip(payload[places..].chunks_mut(SIZE)) {
        place.copy_from_slice(&state.encode());
    }
    blocks
}

pub fn take_states(from: &mut &[u8]) -> io::Result<Vec<State>> {
    let count = take_length(from)?;
    let bytes = count.checked_mul(SIZE).and_then(|length| from.split_off(..length)).ok_or(ErrorKind::InvalidData)?;
    Ok(bytes.as_chunks().0.iter().map(State::decode).collect())
}

/// Returns the states of the files in a frame.
pub fn states(log: &Log, frame: &Frame) -> io::Result<Vec<State>> {
    let payload = log.payload(frame)?;
    let mut rest = payload.as_slice();
    if frame.kind == Kind::Batch {
        take_length(&mut rest)?;
    }
    let states = take_states(&mut rest)?;
    Ok(states.into_iter().map(|state| State { at: frame.at + state.at, ..state }).collect())
}

/// Decodes the records in a frame of files without an entry.
pub fn noted_records(mut payload: &[u8], form: &PackedForm) -> io::Result<Vec<Record>> {
    let count = take_states(&mut payload)?.len();
    take_records(count, &mut payload, form)
}

pub fn take_records(count: usize, from: &mut &[u8], form: &PackedForm) -> io::Result<Vec<Record>> {
    let mut all = Vec::new();
    for _ in 0..count.div_ceil(PER_BLOCK) {
        all.extend(records(&take_block(from)?, form)?);
    }
    if all.len() == count { Ok(all) } else { Err(ErrorKind::InvalidData.into()) }
}

/// Returns the records of the block at an offset of the log.
pub fn block(log: &Log, at: u64) -> io::Result<Vec<Record>> {
    let length = take_length(&mut log.read(at, 4)?.as_slice())?;
    let block = log.read(at, length.saturating_add(BLOCK_HEAD))?;
    records(&take_block(&mut block.as_slice())?, log.form_at(at)?)
}
