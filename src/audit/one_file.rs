//! Checks of a single file of the archive: the instance in it, its completeness, and its equality
//! with another file.

use std::cell::RefCell;
use std::io::Read as _;
use std::path::Path;

use super::Plan;
use super::checks::{Asks, Check};
use crate::archive::{FoundFile, Locator, OpenFile, Standing, Stub, skip};
use crate::dicom::{HeaderReader, Instance, Rejection};

thread_local! {
    static READER: RefCell<HeaderReader> = RefCell::default();
}

impl Plan<'_> {
    /// Returns the checks of stubs that have a finding for this stub, each with the detail.
    pub(super) fn tells(&self, stub: &Stub) -> impl Iterator<Item = (&'static Check, String)> {
        self.checks.iter().copied().filter_map(move |check| match check.asks {
            Asks::Stub(tells) => Some((check, tells(stub)?)),
            _ => None,
        })
    }

    /// Reads the instance in a file again. `None` if the file is a stub or no longer exists.
    pub fn instance_of(&self, path: &Path) -> Option<Result<Instance, Rejection>> {
        read_header(self.locator, &FoundFile::named(path.into()))
    }

    /// Returns the stub for a pointer file without a readable target. `None` for any other file.
    pub(super) fn pointer_of(&self, path: &Path) -> Option<Stub> {
        let found = FoundFile::named(path.into());
        let seen = self.locator.look(&found).ok()?;
        let state = seen.state;
        let Standing::Readable(location) = seen.standing else { return None };
        let open = location.open().ok()??;
        let pointer = self.locator.pointer(path, &open).ok()??;
        match self.locator.follow(&pointer, path, None, state).standing {
            Standing::Stub(stub) => Some(stub),
            _ => None,
        }
    }

    /// Returns the damage of a file with an instance, which is read to its end. `None` for a file
    /// without an instance: other checks report such a file.
    pub(super) fn damage(&self, file: &FoundFile) -> Option<String> {
        read_header(self.locator, file)?.ok()?;
        let mut open = open(self.locator, file.path())?;
        let damage = READER.with_borrow_mut(|reader| {
            let read = std::panic::AssertUnwindSafe(|| reader.damage(&open));
            std::panic::catch_unwind(read)
                .unwrap_or(Some("the reader fails, which is a defect: please report it".into()))
        });
        let mut buffer = vec![0; 1 << 20];
        damage.or_else(|| {
            loop {
                match open.read(&mut buffer) {
                    Ok(0) => return None,
                    Ok(_) => {}
                    Err(error) => return Some(format!("cannot be read to its end: {error}")),
                }
            }
        })
    }

    pub fn is_named(&self, named: &str, file: &Path) -> bool {
        let Some(named) = self.here(named) else { return false };
        named == file || named.canonicalize().is_ok_and(|named| file.canonicalize().is_ok_and(|file| named == file))
    }

    /// Whether two files have the same content. `None` if one of them cannot be read.
    pub(super) fn are_same(&self, one: &Path, other: &Path) -> Option<bool> {
        let mut one = open(self.locator, one)?;
        let [mut left, mut right] = [vec![0; 1 << 16], vec![0; 1 << 16]];
        // The second file is opened only after the first one was read successfully.
        let mut read = one.read(&mut left).ok()?;
        let mut other = open(self.locator, other)?;
        if one.state.size != other.state.size {
            return Some(false);
        }
        while read > 0 {
            other.read_exact(&mut right[..read]).ok()?;
            if left[..read] != right[..read] {
                return Some(false);
            }
            read = one.read(&mut left).ok()?;
        }
        Some(true)
    }
}

fn open(locator: &Locator, path: &Path) -> Option<OpenFile> {
    match locator.look(&FoundFile::named(path.into())).ok()?.standing {
        Standing::Readable(location) => location.open().ok()?,
        _ => None,
    }
}

/// Reads the instance in a file. `None` if the file is a stub, is skipped by its name, or no longer
/// exists.
pub(super) fn read_header(locator: &Locator, file: &FoundFile) -> Option<Result<Instance, Rejection>> {
    if file.path().file_name().and_then(skip::by_name).is_some() {
        return None;
    }
    let Standing::Readable(location) = locator.look(file).ok()?.standing else { return None };
    if location.state.size == 0 {
        return Some(Err(Rejection::Empty));
    }
    let open = match location.open() {
        Ok(open) => open?,
        Err(error) => return Some(Err(Rejection::Unreadable(error))),
    };
    READER.with_borrow_mut(|reader| {
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            reader.read(&open).and_then(Instance::from_header)
        }));
        Some(read.unwrap_or_else(|_| {
            *reader = HeaderReader::new();
            Err(Rejection::Panicked)
        }))
    })
}
