//! A stub whose target does not exist. A stub whose target is offline is not reported.

use super::super::finding::Severity;
use super::{Asks, Check};
use crate::archive::locality::Locality;

pub const CHECK: Check = Check {
    name: "dangling-stub",
    severity: Severity::Error,
    about: "a link or stub points to a missing file",
    asks: Asks::Stub(|stub| {
        let is_gone = stub.locality == Locality::Unavailable;
        is_gone.then(|| format!("{}: {}", stub.kind, stub.why))
    }),
};
