//! `--nearline DIR`: gateways to tape or to a cloud that show a file like any other. Only the site
//! knows about them.

use super::{Confidence, Facts, Locality, Stub};

pub fn nearline(facts: &Facts) -> Option<Stub> {
    facts.is_below(&facts.declared.nearline).then(|| Stub {
        confidence: Confidence::Configured,
        ..Stub::proven("declared nearline", Locality::Nearline, "below a directory of --nearline")
    })
}
