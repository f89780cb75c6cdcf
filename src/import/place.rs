//! The place where the copy of an instance belongs, given its row in the index and its file in the
//! archive.

use std::path::{Path, PathBuf};

use super::compare::Standing;
use super::{Candidate, Destination, Importer, Rows};
use crate::archive::filing::Unsafe;
use crate::archive::{FileState, Filing, PathMap};
use crate::dicom::Instance;
use crate::merge::duplicates::Archive;

pub enum Place {
    Free(PathBuf),
    /// The archive contains a file with the same content.
    Taken(PathBuf, FileState),
    /// The index would reject the row.
    Refused {
        code: &'static str,
        detail: String,
    },
    /// The file is not imported.
    No {
        reason: &'static str,
        detail: String,
    },
}

impl Importer<'_> {
    /// Returns the place of the copy of an instance.
    pub(super) fn place(&self, to: &Destination, candidate: &Candidate, row: Option<&str>) -> Result<Place, Unsafe> {
        let target = to.place(&candidate.instance)?;
        let stored = &self.plan.stored;
        let is_useful = |path: &&str| !path.is_empty() && !stored.is_stale(path, candidate.instance.sop_instance_uid());
        let indexed = row.filter(is_useful);
        let at = match indexed {
            Some(path) => match self.plan.path_map.from_index(path) {
                Some(file) => file,
                None => return Ok(Place::unknown(path, "it is not mapped to a directory of this system")),
            },
            None => {
                if let Err(refusal) = self.rows.takes(&candidate.instance, &target, self.plan.path_map) {
                    return Ok(refusal);
                }
                target.clone()
            }
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

impl Destination {
    /// Returns the path for the copy of an instance. A copy that a killed import left behind is
    /// filed under the day on which that import began.
    fn place(&self, instance: &Instance) -> Result<PathBuf, Unsafe> {
        for day in &self.ledger.earlier {
            let then = Filing { day: *day, ..self.filing.clone() }.place(instance)?;
            if then.symlink_metadata().is_ok() {
                return Ok(then);
            }
        }
        self.filing.place(instance)
    }
}

impl Rows {
    /// Checks that the index can store the row of an instance. Otherwise its copy would be in the
    /// archive without a row.
    fn takes(&self, instance: &Instance, path: &Path, path_map: &PathMap) -> Result<(), Place> {
        let refused = |code, detail| Place::Refused { code, detail };
        let indexed = path_map.to_index(path).map_err(|why| refused(why.code(), why.to_string()))?;
        let fits = self.tables.check_path(&indexed).and_then(|()| self.tables.fit(&mut instance.clone()));
        fits.map(|_| ()).map_err(|refusal| refused(refusal.code, refusal.detail))
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
    format!("{} is another file of this instance; it was not changed", at.display())
}
