//! Where the copy of an instance belongs, beside what the index and the archive have of it.

use std::path::{Path, PathBuf};

use super::compare::Standing;
use super::{Candidate, Destination, Importer};
use crate::archive::FileState;
use crate::archive::filing::Unsafe;
use crate::index::duplicates::Archive;

pub enum Place {
    Free(PathBuf),
    /// The same bytes are there.
    Taken(PathBuf, FileState),
    /// It is not brought.
    No {
        reason: &'static str,
        detail: String,
    },
}

impl Importer<'_> {
    /// Where the copy of an instance belongs.
    pub(super) fn place(&self, to: &Destination, candidate: &Candidate, row: Option<&str>) -> Result<Place, Unsafe> {
        let target = to.filing.place(&candidate.instance)?;
        let stored = &self.plan.stored;
        let indexed = row.filter(|path| !stored.is_stale(path, candidate.instance.sop_instance_uid()));
        let at = match indexed {
            Some(path) => match self.plan.path_map.from_index(path) {
                Some(file) => file,
                None => return Ok(Place::unknown(path, "it is not mapped to a directory of this system")),
            },
            None => target.clone(),
        };
        Ok(match self.standing(candidate, &at, &to.ledger) {
            Standing::Free if indexed.is_none() => Place::Free(target),
            Standing::Free => Place::unknown(&at.to_string_lossy(), "its directory is not there"),
            Standing::Same(state) => Place::Taken(at, state),
            Standing::Other => Place::No { reason: OTHER, detail: other(&at) },
            Standing::Unknown(why) => Place::unknown(&at.to_string_lossy(), &why),
        })
    }
}

impl Place {
    fn unknown(path: &str, why: &str) -> Self {
        let detail = format!("{path} cannot be compared with it: {why}; it was not imported");
        Place::No { reason: "not-compared", detail }
    }
}

pub const OTHER: &str = "different-content";

pub fn other(at: &Path) -> String {
    format!("{} is another file of this instance; it was left as it is", at.display())
}
