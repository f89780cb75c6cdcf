//! Joins the files of the archive with the rows of the index. Both are sorted on disk by a hash of
//! the path, so that ten million of each need no memory.

use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use crate::sorted::{Sorter, Table};

const HASH: usize = 16;
/// Number of bytes that are stored of a UID. PS3.5 9.1 limits a UID to 64 characters. A longer
/// value is not a valid UID; the recheck looks it up by the bytes stored here.
const UID: usize = 72;

pub const FILE: usize = HASH + 8;
/// Size of a row record: hash of the path, minimum file size, whether the path is unmapped, and
/// UID.
pub const ROW: usize = HASH + 8 + 1 + UID;

/// The size that is recorded for a stub. No file has this size.
pub const STUB: u64 = u64::MAX;

pub type Hash = [u8; HASH];

pub fn hash(path: &Path) -> Hash {
    xxh3_128(path.as_os_str().as_encoded_bytes()).to_be_bytes()
}

pub fn file(path: &Path, size: u64) -> [u8; FILE] {
    let mut record = [0; FILE];
    record[..HASH].copy_from_slice(&hash(path));
    record[HASH..].copy_from_slice(&size.to_be_bytes());
    record
}

pub fn row(path: &Path, uid: &str, least_size: u64, is_unmapped: bool) -> [u8; ROW] {
    let mut record = [0; ROW];
    record[..HASH].copy_from_slice(&hash(path));
    record[HASH..HASH + 8].copy_from_slice(&least_size.to_be_bytes());
    record[HASH + 8] = u8::from(is_unmapped);
    let uid = &uid.as_bytes()[..uid.len().min(UID)];
    record[HASH + 9..][..uid.len()].copy_from_slice(uid);
    record
}

/// Returns the UID in a row record.
pub fn uid(row: &[u8; ROW]) -> String {
    let uid = row[HASH + 9..].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(uid).into_owned()
}

/// The file and the rows with the same path.
pub struct AtOnePath {
    pub hash: Hash,
    /// The size of the file, if there is one.
    pub size: Option<u64>,
    pub rows: Vec<ListedRow>,
}

/// A row that names a path.
pub struct ListedRow {
    pub uid: String,
    pub least_size: u64,
    /// Whether the PACS knows the file by another path.
    pub is_unmapped: bool,
}

/// Calls `each` for each path, with its file and its rows.
pub fn side_by_side(
    files: &Table<FILE>,
    rows: &Table<ROW>,
    mut each: impl FnMut(AtOnePath) -> io::Result<()>,
) -> io::Result<()> {
    let (mut files, mut rows) = (files.records()?.peekable(), rows.records()?.peekable());
    loop {
        let hash_of = |record: &[u8]| Hash::try_from(&record[..HASH]).expect("a record begins with its hash");
        let next = [
            files.peek().and_then(|file| Some(hash_of(file.as_ref().ok()?))),
            rows.peek().and_then(|row| Some(hash_of(row.as_ref().ok()?))),
        ];
        // An error of a record is returned when the join reaches that record.
        files.next_if(Result::is_err).transpose()?;
        rows.next_if(Result::is_err).transpose()?;
        let Some(hash) = next.into_iter().flatten().min() else { return Ok(()) };
        let mut at = AtOnePath { hash, size: None, rows: Vec::new() };
        while let Some(file) = files.next_if(|file| file.as_ref().is_ok_and(|file| file[..HASH] == hash)) {
            at.size = Some(u64::from_be_bytes(file?[HASH..].try_into().expect("eight bytes")));
        }
        while let Some(row) = rows.next_if(|row| row.as_ref().is_ok_and(|row| row[..HASH] == hash)) {
            let row = row?;
            let least_size = u64::from_be_bytes(row[HASH..HASH + 8].try_into().expect("eight bytes"));
            at.rows.push(ListedRow { uid: uid(&row), least_size, is_unmapped: row[HASH + 8] != 0 });
        }
        each(at)?;
    }
}

/// Returns a sorted table of the collected records, in an unnamed temporary file.
pub fn table<const N: usize>(sorter: Sorter<N>, directory: &Path) -> io::Result<Table<N>> {
    sorter.finish(&[], N, Default::default(), tempfile::tempfile_in(directory)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_rows_of_a_path_come_together() {
        let directory = tempfile::tempdir().unwrap();
        let (mut files, mut rows) = (Sorter::new(directory.path()), Sorter::new(directory.path()));
        for n in 0..1000 {
            let path = format!("/archive/{n}");
            if n % 3 != 0 {
                files.push(file(path.as_ref(), n)).unwrap();
            }
            if n % 5 != 0 {
                rows.push(row(path.as_ref(), &format!("1.2.{n}"), 7, n == 1)).unwrap();
            }
        }
        rows.push(row("/archive/1".as_ref(), "1.2.3.4", 7, false)).unwrap();
        let (files, rows) = (table(files, directory.path()).unwrap(), table(rows, directory.path()).unwrap());
        let mut counts = [0; 4];
        side_by_side(&files, &rows, |at| {
            counts[usize::from(at.size.is_some()) + 2 * usize::from(!at.rows.is_empty())] += 1;
            if at.hash == hash("/archive/1".as_ref()) {
                let mut told: Vec<_> = at.rows.iter().map(|row| (row.uid.as_str(), row.is_unmapped)).collect();
                told.sort();
                assert_eq!(told, [("1.2.1", true), ("1.2.3.4", false)]);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(counts, [0, 133, 267, 533], "of a thousand, a third has no file, a fifth no row");
    }
}
