//! Inspects a file of the sources, and reads its instance if the file may be read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::archive::skip::{self, Rule};
use crate::archive::{FileState, FoundFile, Locator, OpenFile, Standing, Stub, companions};
use crate::audit::checks;
use crate::dicom::{HeaderReader, Instance, Rejection};

/// An instance that may be imported, with its file open.
pub struct Candidate {
    pub origin: Origin,
    pub open: OpenFile,
    pub instance: Instance,
    /// The link or pointer file through which the instance was read.
    pub through: Option<Box<Stub>>,
}

/// The source file of an instance.
#[derive(Clone, Debug)]
pub struct Origin {
    pub path: PathBuf,
    pub state: FileState,
    pub sop_instance_uid: String,
    /// Whether the file was read directly, and not through a link or pointer file.
    pub is_own: bool,
}

/// The kind of a file of the sources.
pub enum Met {
    Instance(Box<Candidate>),
    Stub(Stub),
    Elsewhere(Stub),
    Skipped(Rule),
}

/// Maximum number of attempts to read a file: a pointer may point to another pointer, and a file
/// may change while it is inspected.
const LONGEST_WAY: usize = 8;

/// Number of bytes that are read to detect a text. Larger files are judged by their beginning.
const TEXT: u64 = 4096;

/// Inspects a file of the sources. Nothing is recalled: a file that is not online is a stub.
pub fn look(locator: &Locator, reader: &mut HeaderReader, file: &FoundFile) -> Result<Met, Rejection> {
    let path = file.path();
    if let Some(rule) = path.file_name().and_then(skip::by_name) {
        return Ok(Met::Skipped(rule));
    }
    let mut seen = locator.look(file).map_err(Rejection::Unreadable)?;
    for _ in 0..LONGEST_WAY {
        let location = match seen.standing {
            Standing::Readable(location) => location,
            Standing::Stub(stub) => return Ok(Met::Stub(stub)),
            Standing::MetElsewhere(stub) => return Ok(Met::Elsewhere(stub)),
        };
        if location.state.size == 0 {
            return Err(Rejection::Empty);
        }
        let Some(open) = location.open().map_err(Rejection::Unreadable)? else {
            seen = locator.look(file).map_err(Rejection::Unreadable)?;
            continue;
        };
        match read(reader, &open) {
            Ok(instance) => {
                let (state, through) = (open.state, location.through);
                let (path, sop_instance_uid) = (path.to_owned(), instance.sop_instance_uid().to_owned());
                let origin = Origin { path, state, sop_instance_uid, is_own: through.is_none() };
                let candidate = Candidate { origin, open, instance, through };
                return Ok(Met::Instance(Box::new(candidate)));
            }
            Err(Rejection::Dicomdir) => return Ok(Met::Skipped(Rule::Dicomdir)),
            Err(Rejection::NotDicom { first_bytes }) => {
                let head = open.head(TEXT).map_err(Rejection::Unreadable)?;
                let rule = skip::by_content(&first_bytes);
                let pointer = locator.pointer(location.path(), &open).map_err(Rejection::Unreadable)?;
                let is_program_archive = || companions::rule(path, &head) == Some(Rule::Program);
                let Some(pointer) = pointer.filter(|pointer| !pointer.is_container || !is_program_archive()) else {
                    let rule = rule.or_else(|| companions::rule(path, &head));
                    return rule.map(Met::Skipped).ok_or(Rejection::NotDicom { first_bytes });
                };
                seen = locator.follow(&pointer, location.path(), None, seen.state);
            }
            Err(rejection) => return Err(rejection),
        }
    }
    Ok(Met::Stub(Stub::too_far()))
}

/// Damage that an audit would find in the file after its row is inserted.
pub struct Damage {
    /// The name of the check.
    pub check: &'static str,
    pub detail: String,
}

/// Reads the file of a candidate to its end, as an audit at the level `full` does.
pub fn damage(reader: &mut HeaderReader, candidate: &Candidate) -> Option<Damage> {
    let open = &candidate.open;
    let damaged = catch_unwind(AssertUnwindSafe(|| reader.damage(open))).unwrap_or_else(|_| {
        *reader = HeaderReader::new();
        Some("the reader fails, which is a defect: please report it".into())
    });
    let cut = || checks::cut(open.state.size, candidate.instance.least_size());
    let damaged = damaged.map(|detail| Damage { check: checks::DAMAGED, detail });
    damaged.or_else(|| Some(Damage { check: checks::CUT, detail: cut()? }))
}

/// Reads an instance. A panic of the reader rejects only this file.
fn read(reader: &mut HeaderReader, open: &OpenFile) -> Result<Instance, Rejection> {
    let read = catch_unwind(AssertUnwindSafe(|| reader.read(open).and_then(Instance::from_header)));
    read.unwrap_or_else(|_| {
        *reader = HeaderReader::new();
        Err(Rejection::Panicked)
    })
}
