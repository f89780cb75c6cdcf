//! The content of one file of the archive, for the checks before a run.

use std::path::Path;

use crate::archive::{FoundFile, Locator, Standing};
use crate::dicom::{HeaderReader, Instance};

/// The content of a file, as far as it may be read.
pub enum Content {
    Instance(Box<Instance>),
    /// A stub, which is not recalled.
    Stub,
    /// No instance, or no file.
    Other,
}

impl Content {
    pub fn of(file: &Path, locator: &Locator) -> Self {
        let found = FoundFile::named(file.into());
        let location = match locator.look(&found).map(|seen| seen.standing) {
            Ok(Standing::Readable(location)) => location,
            Ok(Standing::Stub(_)) => return Content::Stub,
            // A link to another file below the roots gets no row.
            Ok(Standing::MetElsewhere(_)) | Err(_) => return Content::Other,
        };
        let Ok(Some(open)) = location.open() else { return Content::Other };
        // A panic of the reader is ignored here: the run reads the file again, and reports the
        // defect.
        let read = || HeaderReader::new().read(&open).and_then(Instance::from_header);
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)) {
            Ok(Ok(instance)) => Content::Instance(Box::new(instance)),
            _ => Content::Other,
        }
    }
}
