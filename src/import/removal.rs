//! The end of a move. A source file is removed after its copy in the archive was verified and a
//! committed row names the copy, if the source and the copy are unchanged. If there is any doubt,
//! the source is kept.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::candidate::Origin;
use super::{Plan, Rows, TOGETHER};
use crate::archive::{FileState, skip};
use crate::error::{Error, Result};
use crate::pipeline::Stop;
use crate::pipeline::spool::Spool;
use crate::report::listing::Listing;

/// The imported files of a move, buffered on disk until the end of the import.
pub struct Brought {
    moves: Spool,
    /// The number of files whose path is not valid Unicode and cannot be serialized. They are kept.
    not_text: AtomicU64,
}

/// The numbers of source files that a move removed and kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Removed {
    pub files: u64,
    /// The number of imported source files that were kept. Each one whose path can be serialized is
    /// listed.
    pub left: u64,
}

#[derive(Serialize, Deserialize)]
struct Move {
    sop_instance_uid: String,
    source: PathBuf,
    of_source: FileState,
    copy: PathBuf,
    of_copy: FileState,
}

impl Brought {
    pub fn new(directory: &Path) -> Result<Self> {
        let moves = Spool::create(directory).map_err(not_kept)?;
        Ok(Brought { moves, not_text: AtomicU64::new(0) })
    }

    /// Records an imported file. A file that was read through a link or a pointer file does not
    /// belong to the sources, and is kept.
    pub fn add(&self, origin: &Origin, copy: &Path, of_copy: FileState) {
        if !origin.is_own {
            return;
        }
        let Origin { path, state, sop_instance_uid, .. } = origin.clone();
        let moved = Move { sop_instance_uid, source: path, of_source: state, copy: copy.to_owned(), of_copy };
        match postcard::to_stdvec(&moved) {
            Ok(record) => self.moves.append([record]),
            Err(_) => drop(self.not_text.fetch_add(1, Relaxed)),
        }
    }

    pub fn remove(&self, rows: &Rows, plan: &Plan<'_>, stop: &Stop, listing: &Listing) -> Result<Removed> {
        let mut removed = Removed { files: 0, left: self.not_text.load(Relaxed) };
        let (mut portion, mut failed, mut aliases) = (Vec::new(), None, Aliases::default());
        let mut part = |portion: &mut Vec<Move>| {
            let done = remove(std::mem::take(portion), rows, plan, listing, &mut removed, &mut aliases);
            failed = done.err();
            if failed.is_some() || stop.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let replayed = self.moves.replay(|record| {
            portion.extend(postcard::from_bytes::<Move>(record).ok());
            if portion.len() < TOGETHER { ControlFlow::Continue(()) } else { part(&mut portion) }
        });
        replayed.map_err(not_kept)?;
        if !stop.is_set() {
            let _ = part(&mut portion);
        }
        failed.map_or(Ok(removed), Err)
    }
}

fn remove(
    portion: Vec<Move>,
    rows: &Rows,
    plan: &Plan<'_>,
    listing: &Listing,
    removed: &mut Removed,
    aliases: &mut Aliases,
) -> Result<()> {
    let uids: Vec<&str> = portion.iter().map(|moved| moved.sop_instance_uid.as_str()).collect();
    let Some(paths) = rows.paths(&uids)? else { return Ok(()) };
    for moved in &portion {
        let row = paths.get(&moved.sop_instance_uid);
        let is_named = row.and_then(|path| plan.path_map.from_index(path)).is_some_and(|file| file == moved.copy);
        let done = match is_named {
            true if plan.stored.roots.paths().iter().any(|root| moved.copy.starts_with(root)) => moved
                .check(aliases)
                .and_then(|()| std::fs::remove_file(&moved.source).map_err(|error| error.to_string())),
            true => Err("its row names a file outside of the archive".into()),
            false => Err("no row names its copy".into()),
        };
        match done {
            Ok(()) => removed.files += 1,
            Err(why) => {
                removed.left += 1;
                listing.add("note", &moved.source, "not-removed", &why);
            }
        }
    }
    Ok(())
}

impl Move {
    /// Checks that the source and its copy are unchanged, and are not the same file.
    fn check(&self, aliases: &mut Aliases) -> Result<(), String> {
        let now = |path: &Path| -> io::Result<_> {
            let metadata = path.symlink_metadata()?;
            Ok((metadata.is_file(), FileState::of(&metadata), number(&metadata)))
        };
        let (is_file, source, of_source) = now(&self.source).map_err(|error| error.to_string())?;
        let (is_copy, copy, of_copy) = now(&self.copy).map_err(|error| format!("its copy: {error}"))?;
        if !is_file || source != self.of_source {
            Err("it has changed since it was copied".into())
        } else if !is_copy || copy != self.of_copy {
            Err("its copy has changed since it was verified".into())
        } else if of_source == of_copy && source == copy || aliases.are_one_file(&self.source, &self.copy) {
            Err("it is the file in the archive itself".into())
        } else {
            Ok(())
        }
    }
}

/// Caches whether a source directory and an archive directory are the same directory, for example
/// through two mounts of the same storage. Inode numbers may differ between mounts, so a file is
/// created in one directory and searched for in the other.
#[derive(Default)]
struct Aliases(HashMap<(PathBuf, PathBuf), bool>);

impl Aliases {
    fn are_one_file(&mut self, source: &Path, copy: &Path) -> bool {
        let (Some(source_in), Some(copy_in)) = (source.parent(), copy.parent()) else { return false };
        // A file with another name is a different file, or a hard link whose removal leaves the
        // name in the archive intact.
        source.file_name() == copy.file_name()
            && *self.0.entry((source_in.into(), copy_in.into())).or_insert_with(|| are_one(source_in, copy_in))
    }
}

/// Whether two directories are the same. Returns true if this cannot be determined.
fn are_one(source: &Path, copy: &Path) -> bool {
    let probe = tempfile::Builder::new().prefix(skip::COPY_BEGINS).suffix(skip::COPY_ENDS).tempfile_in(copy);
    probe.map_or(true, |probe| {
        probe.path().file_name().is_some_and(|name| !matches!(source.join(name).try_exists(), Ok(false)))
    })
}

/// Returns the inode number of a file.
#[cfg(unix)]
fn number(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> u64 {
    0
}

fn not_kept(error: io::Error) -> Error {
    Error::unfinished(
        format!("cannot keep the list of imported files on disk: {error}"),
        "No source was removed that was not safe. Make room beside the list of rejected files, and run the command again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_directory_that_is_the_same_by_another_way_is_known() {
        let site = tempfile::tempdir().unwrap();
        let [archive, other, again] = ["archive", "other", "again"].map(|name| site.path().join(name));
        std::fs::create_dir(&archive).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&archive, &again).unwrap();
        let are_one = |a: &Path, b: &str| Aliases::default().are_one_file(&a.join("1.2.3"), &archive.join(b));
        assert!(are_one(&again, "1.2.3"));
        assert!(!are_one(&again, "1.2.4") && !are_one(&other, "1.2.3"));
        assert_eq!(std::fs::read_dir(&archive).unwrap().count(), 0, "nothing is left there");
    }
}
